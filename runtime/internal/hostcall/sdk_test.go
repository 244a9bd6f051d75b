package hostcall_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/httpcap"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/sandbox"
)

type payer func(*hostcall.Payment) ([]byte, int32)

func (p payer) Pay(_ context.Context, payment *hostcall.Payment) ([]byte, int32) { return p(payment) }

// still is a world without time or chance.
type still struct{ hostcall.Live }

func (still) ClockNow() int64 { return 1 << 60 } // in 2006

func (still) RandBytes(b []byte) { copy(b, bytes.Repeat([]byte{1}, len(b))) }

// TestSDK runs an agent in standard Go that calls all that the SDK has, in a
// world with all its parts.
func TestSDK(t *testing.T) {
	wasm := filepath.Join(t.TempDir(), "probe.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", wasm, "./internal/probe")
	build.Dir = "../../../sdk"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(wasm)
	if err != nil {
		t.Fatal(err)
	}
	posted := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posted++
		}
		if r.URL.Path == "/long" {
			w.Write(make([]byte, 100_000))
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-A"), body)
	}))
	defer server.Close()
	m := parse(t, strings.Replace(everything, "api.example.com", strings.TrimPrefix(server.URL, "http://"), 1))
	store := kv.New(m.MaxStorage)
	for key, value := range map[string]string{"url": server.URL + "/", "big": strings.Repeat("v", 100_000)} {
		if err := store.Put([]byte(key), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	var paid []string
	p, err := sandbox.Compile(t.Context(), program, sandbox.Config{Manifest: m, Log: logger, Host: still{hostcall.Live{
		Log:      logger,
		Balance:  func() int64 { return 11 },
		Price:    func() int64 { return 22 },
		Receipts: func() [][]byte { return [][]byte{[]byte("first receipt")} },
		Web:      httpcap.New(m.HTTP),
		Payer: payer(func(p *hostcall.Payment) ([]byte, int32) {
			paid = append(paid, fmt.Sprint(p.Amount, " to ", p.Recipient, " for ", p.Memo))
			return []byte("receipt"), 0
		}),
		KV: store,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in, err := p.Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := func(want string) []byte {
		t.Helper()
		b, err := in.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b); got != strings.TrimSpace(want) {
			t.Errorf("got\n%s\nwant%s", got, want)
		}
		return b
	}
	if err := in.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	state(`
pay: wallet_pay: not allowed
post: http_request: not allowed`)
	if _, err := in.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	lived := state(`
now: 2006
rand: 4
rand: rand_bytes: input too long
balance: 11
price: 22
receipts: 1
receipt: first receipt
receipt: wallet_receipt: failed
pay: 7
post: POST b tick
get: 100000
get: http_request: not allowed
pay: wallet_pay: not allowed
pay: wallet_pay: amount over the cap
store: stored
load: 0
load: 100000
delete: deleted
delete: kv_delete: not found`)
	if strings.Join(paid, ", ") != "5 to bob for tick" || posted != 1 || !strings.Contains(log.String(), "says=probe") {
		t.Errorf("paid %q, posted %d, logged %s", paid, posted, log.String())
	}
	if in, err = p.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := in.Resume(t.Context(), lived); err != nil {
		t.Fatal(err)
	}
	state(string(lived) + `
unmarshal: stored
unmarshal at: 2006`)
}

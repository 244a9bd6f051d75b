//go:build !wasip1

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"igor.dev/sdk"
)

// a till settles payments, and remembers how often each memo came. Of some it does not
// say what became of them.
type till struct {
	mu   sync.Mutex
	came map[string]int
	dumb map[string]bool // by memo
}

func (b *till) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	receipt, _ := io.ReadAll(r.Body)
	_, memo, ok := strings.Cut(string(receipt), "order ")
	memo, _, _ = strings.Cut(memo, ";")
	if r.Method != "POST" || !ok {
		w.WriteHeader(500)
		return
	}
	b.came[memo]++
	if b.dumb[memo] {
		w.WriteHeader(500)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status": "settled", "nonce": %q, "amountMicrocents": "5"}`, r.Header.Get("Idempotency-Key"))
}

// TestFindings lives a payer in each language, whose ticks fail after a payment was
// made, or while nobody knows, and lets an operator find out by igor: no order is
// paid twice, and none is forgotten.
func TestFindings(t *testing.T) {
	tmp := withIgor(t)
	for _, language := range []string{"go", "rust", "c", "assemblyscript"} {
		t.Run(language, func(t *testing.T) {
			wasm := filepath.Join(tmp, "payer-"+language+".wasm")
			build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s", "-o", wasm, "./payer")
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
			if language != "go" {
				if out, err := exec.Command("make", "-s", "-C", "..", "has-"+language).CombinedOutput(); err != nil {
					t.Skipf("%s is not here: make tools-languages\n%s", language, out)
				}
				build = exec.Command("make", "-s", "-C", "..", "program-"+language, "FROM="+mustAbs(t, "payer/"+language), "NAME=payer", "TO="+wasm)
			}
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			testPayer(t, wasm)
		})
	}
}

func testPayer(t *testing.T, wasm string) {
	b := &till{came: map[string]int{}, dumb: map[string]bool{"3.1": true, "8.1": true, "13.1": true}}
	server := httptest.NewServer(b)
	defer server.Close()
	tmp := t.TempDir()
	life, manifest := filepath.Join(tmp, "life"), filepath.Join(tmp, "payer.manifest.json")
	if err := os.WriteFile(manifest, []byte(`{"capabilities": {"x402": {"version": 1, "options": {"allowed_recipients": ["bob"], "max_payment_microcents": 5}}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	igor := func(fails bool, args ...string) string {
		t.Helper()
		out, err := exec.Command("igor", args...).CombinedOutput()
		if (err != nil) != fails {
			t.Fatalf("igor %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	live := func(fails bool, command, what string, ticks int, more ...string) string {
		t.Helper()
		args := append([]string{command, what, "--pay-at=" + server.URL, "--tick-interval=0", "--checkpoint-every=3", fmt.Sprint("--ticks=", ticks)}, more...)
		return igor(fails, args...)
	}
	// state returns what is paid, and the effect log.
	state := func() (paid uint64, log *sdk.EffectLog) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(life, "history", "*.ckpt"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no history: %v", err)
		}
		checkpoint, err := os.ReadFile(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		const header = 209
		log = &sdk.EffectLog{}
		d := sdk.NewDecoder(checkpoint[header:], 1)
		paid, _ = d.Uint64(), d.Uint64()
		d.Value(log)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		return paid, log
	}
	want := func(when string, paid uint64, open, kept int) {
		t.Helper()
		got, log := state()
		if got != paid || len(log.Open()) != open || len(log.Kept()) != kept {
			t.Fatalf("%s: %d are paid, %d open and %d kept, want %d, %d and %d", when, got, len(log.Open()), len(log.Kept()), paid, open, kept)
		}
	}
	// finds resolves the one effect that is unresolved.
	finds := func(outcome string) {
		t.Helper()
		var list []struct{ ID string }
		out := igor(false, "effects", life, "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
			t.Fatalf("want one unresolved effect: %v\n%s", err, out)
		}
		igor(false, "effects", outcome, life, list[0].ID, "--note", "asked bob")
	}

	// Order 2 is paid in a tick that fails. In the one that asks for order 3, nobody
	// answers, and it fails too. The next ticks are told, and wait for the operator.
	live(false, "run", wasm, 8, "--dir="+life, "--manifest="+manifest)
	want("after order 3", 2, 1, 0)
	live(false, "resume", life, 3)
	want("as long as nobody knows", 2, 1, 0)
	finds("confirm")
	live(false, "resume", life, 20)
	// Orders 4 and 6 were paid in ticks that failed, and 8 is like 3.
	want("after order 8", 7, 1, 0)
	finds("compensate")
	live(false, "resume", life, 1)
	want("after order 8 was tried again", 8, 0, 0)
	// The operator finds out about 13 before the agent is told that it asked for it.
	live(false, "resume", life, 6)
	want("before order 13", 12, 0, 0)
	live(true, "resume", life, 1, "--max-failed-ticks=1")
	want("in the state before it", 12, 0, 0)
	finds("confirm")
	live(false, "resume", life, 1)
	want("told that it asked for order 13, and then that it happened", 12, 1, 0)
	live(false, "resume", life, 2)
	if paid, _ := state(); paid < 13 {
		t.Errorf("order 13 is not settled: %d are", paid)
	}
	live(false, "resume", life, 4)

	paid, log := state()
	if paid < 15 || len(log.Open()) != 0 {
		t.Errorf("%d orders are paid in the end, and %d open", paid, len(log.Open()))
	}
	wanted := map[string]int{}
	for order := range paid {
		wanted[fmt.Sprintf("%d.1", order+1)] = 1
	}
	wanted["8.2"] = 1
	if !maps.Equal(b.came, wanted) {
		t.Errorf("bob got %v, want %v", b.came, wanted)
	}
	igor(false, "verify", life)
	if out := igor(false, "replay", life); !strings.Contains(out, "replayed:") {
		t.Errorf("igor replay says\n%s", out)
	}
}

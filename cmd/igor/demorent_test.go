package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"igor.dev/verifier/receipt"
	"igor.dev/x402/evm"
)

// A landlord is a provider of computing: it makes copies of an agent with igor, is paid a
// lease for each by igor rent, and lets it live on what was paid.
type landlord struct {
	*demo
	payTo evm.Address
	price int64
	image string
	rent  *exec.Cmd
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	orders []*tenant
	wrong  []string
}

type tenant struct {
	did, folder   string
	name          string // of the deployment
	running, gone bool
	posts, leases int
}

func newLandlord(d *demo) *landlord {
	l := &landlord{demo: d, payTo: evm.Address{19: 8}, price: 20_000}
	const grants = `{"capabilities": {"log": {"version": 1}, "wallet": {"version": 1}, "http": {"version": 1}, "x402": {"version": 1}}}`
	if err := os.WriteFile(filepath.Join(d.dir, "copy.manifest.json"), []byte(grants), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.write("rent.json", map[string]any{"listen": "127.0.0.1:0", "ledger": "ledger", "folder": "rents", "network": d.network(), "asset": d.chain.Token.String(),
		"assetName": "USD Coin", "assetVersion": "2", "payTo": l.payTo.String(), "facilitator": d.facilitator.URL, "nodes": []string{d.chain.URL}, "confirmations": 1,
		"lease": map[string]any{"period": "1h", "price": "0.02"}})
	if err := os.Mkdir(filepath.Join(d.dir, "ledger"), 0o700); err != nil {
		d.t.Fatal(err)
	}
	l.let()
	d.t.Cleanup(l.evict)
	return l
}

// let starts igor rent.
func (l *landlord) let() {
	l.t.Helper()
	l.rent = l.command(l.t.Context(), "", "rent", "rent.json", "--json")
	l.rent.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l.rent.Stderr = os.Stderr
	out, err := l.rent.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.rent.Start(); err != nil {
		l.t.Fatal(err)
	}
	var said struct{ URL string }
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&said); err != nil {
		l.t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSuffix(said.URL, "/rent/DID"))
	if err != nil {
		l.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) }
	l.mu.Lock()
	l.proxy = proxy
	l.mu.Unlock()
}

func (l *landlord) evict() {
	l.rent.Process.Kill()
	l.rent.Wait()
}

func (l *landlord) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = io.NopCloser(io.LimitReader(r.Body, 1<<20))
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !strings.HasPrefix(r.URL.Path, "/rent/") {
		l.serve(w, r, string(body))
		return
	}
	l.mu.Lock()
	proxy := l.proxy
	for _, o := range l.orders {
		if r.Header.Get("PAYMENT-SIGNATURE") != "" && strings.HasSuffix(r.URL.Path, o.did) {
			o.leases++
		}
	}
	l.mu.Unlock()
	proxy.ServeHTTP(w, r)
}

func (l *landlord) serve(w http.ResponseWriter, r *http.Request, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, name, _ := strings.Cut(r.URL.Path[1:], "/")
	i := slices.IndexFunc(l.orders, func(o *tenant) bool { return o.folder == name || o.name == name })
	switch {
	case r.URL.Path == "/offer":
		o, err := l.copy(len(l.orders))
		if err != nil {
			l.wrong = append(l.wrong, err.Error())
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		l.orders = append(l.orders, o)
		json.NewEncoder(w).Encode(map[string]any{"order": o.folder, "image": l.image, "amount": fmt.Sprint(l.price), "payTo": "provider", "rent": "/rent/" + o.did})
	case r.URL.Path == "/deployments":
		l.deploy(w, r, body)
	case strings.HasPrefix(r.URL.Path, "/orders/") && i >= 0:
		o := l.orders[i]
		state, lease := "open", l.lease(o)
		if lease != nil {
			state = "paid"
		}
		if o.name != "" {
			state = "deployed"
		}
		json.NewEncoder(w).Encode(map[string]any{"state": state, "receipt": lease, "deployment": o.name})
	case strings.HasPrefix(r.URL.Path, "/deployments/") && i >= 0:
		state := "starting"
		switch {
		case l.orders[i].gone:
			state = "gone"
		case l.orders[i].running:
			state = "running"
		}
		json.NewEncoder(w).Encode(map[string]any{"state": state, "image": l.image, "did": l.orders[i].did})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// copy makes a copy of the agent, which has lived a tick and has no lease.
func (l *landlord) copy(i int) (*tenant, error) {
	folder := fmt.Sprintf("order-%d", i+1)
	if out, err := l.command(l.t.Context(), "", "run", "deployer.wasm", "--manifest", "copy.manifest.json", "--dir", folder, "--ledger", "ledger",
		"--budget=0.02", "--price=0.001", "--ticks=1", "--tick-interval=0", "--quiet").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	did, err := l.didOf(folder)
	return &tenant{did: did, folder: folder}, err
}

func (l *landlord) didOf(folder string) (string, error) {
	var report struct{ Verdict, DID string }
	out, err := l.command(l.t.Context(), "", "verify", "--json", folder).Output()
	if err == nil {
		err = json.Unmarshal(out, &report)
	}
	if err != nil || report.Verdict != "verified" {
		return "", fmt.Errorf("%s is %s: %w", folder, report.Verdict, err)
	}
	return report.DID, nil
}

// lease returns the receipt for the rent of a copy that the ledger has.
func (l *landlord) lease(o *tenant) []byte {
	b, err := os.ReadFile(filepath.Join(l.dir, "ledger", strings.TrimPrefix(o.did, "did:key:"), "rent", "receipts"))
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// deploy lets a copy live for which there is a lease.
func (l *landlord) deploy(w http.ResponseWriter, r *http.Request, body string) {
	order, image, _ := strings.Cut(body, " ")
	shown, err := base64.StdEncoding.DecodeString(r.Header.Get("X-RENT"))
	i := slices.IndexFunc(l.orders, func(o *tenant) bool { return o.folder == order })
	var rent *receipt.Rent
	if err == nil {
		var got receipt.Receipt
		if got, _, err = receipt.Parse(shown); err == nil {
			rent, _ = got.(*receipt.Rent)
		}
	}
	if err != nil || i < 0 || rent == nil || !rent.Authentic() || rent.Agent.DID() != l.orders[i].did || !bytes.Equal(l.lease(l.orders[i]), shown) || image != l.image {
		l.wrong = append(l.wrong, fmt.Sprintf("deployment of %q with %x: %v", body, shown, err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	o := l.orders[i]
	if o.posts++; o.name == "" {
		if out, err := l.command(l.t.Context(), "", "resume", o.folder, "--ledger", "ledger", "--ticks=2", "--tick-interval=0", "--quiet").CombinedOutput(); err != nil {
			l.wrong = append(l.wrong, fmt.Sprintf("%v\n%s", err, out))
		}
		o.name, o.running = "copy-of-"+order, true
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, o.name)
}

// TestDemoRent is a part of make demo-pay: agents/deployer rents a machine for a copy of
// itself. It pays the lease by x402 to igor rent, which keeps the receipt in its ledger, and
// everything is killed where it hurts: the agent, and the landlord.
func TestDemoRent(t *testing.T) {
	d := newDemo(t)
	l := newLandlord(d)
	web := httptest.NewServer(l)
	defer web.Close()
	host := strings.TrimPrefix(web.URL, "http://")
	d.agent("deployer", web.URL, l.payTo, 50_000, map[string]any{
		"http": map[string]any{"version": 1, "options": map[string]any{"allowed_hosts": []string{host}, "timeout_ms": 15000}}})
	wasm, err := os.ReadFile(filepath.Join(d.dir, "deployer.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	l.image = fmt.Sprintf("%x", sha256.Sum256(wasm))

	life := func(failpoint string, ticks int) (string, error) {
		args := []string{"resume", "deployer"}
		if _, err := os.Stat(filepath.Join(d.dir, "deployer")); err != nil {
			args = []string{"run", "deployer.wasm", "--dir", "deployer", "--budget=1", "--price=0.001"}
		}
		return d.run(failpoint, append(args, "--payments=payments.json", fmt.Sprintf("--ticks=%d", ticks), "--tick-interval=100ms")...)
	}
	t.Log("# A landlord lets machines: a lease of an hour for 20,000 base units of USDC. An agent rents one for a copy of itself, and dies when it has paid.")
	if out, err := life("paid-answered:1", 10); err == nil || d.balance(l.payTo) != 20_000 {
		t.Fatalf("it did not die, or not after it paid: %v\n%s", err, out)
	}
	t.Log("# It goes on: the node asks the chain, the order has the receipt, the copy runs.")
	out, err := life("", 8)
	if err != nil || !strings.Contains(out, "runs as did:key:z6Mk") {
		t.Errorf("it does not go on: %v", err)
	}
	if d.balance(l.payTo) != 20_000 {
		t.Errorf("the landlord has %d", d.balance(l.payTo))
	}

	t.Log("# The copy is gone. For the next one the landlord's process dies between the payment's settlement and its answer, and comes back.")
	l.mu.Lock()
	l.orders[0].gone = true
	l.mu.Unlock()
	died := make(chan struct{})
	go func() {
		defer close(died)
		for t.Context().Err() == nil && l.balance(l.payTo) < 40_000 {
			time.Sleep(2 * time.Millisecond)
		}
		l.evict()
		time.Sleep(200 * time.Millisecond)
		l.let()
	}()
	if out, err = life("", 15); err != nil || !strings.Contains(out, "copy 2 runs as did:key:z6Mk") {
		t.Errorf("it does not rent again: %v", err)
	}
	<-died

	for _, o := range l.orders {
		if o.leases != 1 || o.posts > 1 {
			t.Errorf("%+v", o)
		}
	}
	if len(l.wrong) > 0 || d.balance(l.payTo) != uint64(len(l.orders))*20_000 {
		t.Errorf("%d orders, the landlord has %d, and received %q", len(l.orders), d.balance(l.payTo), l.wrong)
	}
	for _, args := range [][]string{{"effects", "deployer"}, {"verify", "deployer"}, {"replay", "deployer"},
		{"receipts", "deployer", "--on-chain", "--payments", "payments.json"},
		{"receipts", filepath.Join("ledger", strings.TrimPrefix(l.orders[0].did, "did:key:"))},
		{"receipts", filepath.Join("ledger", strings.TrimPrefix(l.orders[0].did, "did:key:"), "rent", "receipts"), "--on-chain", "--payments", "payments.json"}} {
		out, err := d.run("", args...)
		if err != nil || args[0] == "effects" && out != "none\n" || strings.Contains(strings.Join(args, " "), "--on-chain") && !strings.Contains(out, "confirmed") {
			t.Errorf("igor %q: %v", args, err)
		}
	}
	t.Logf("# %d machines were rented and %d leases paid, each once. It took %s after the build.", len(l.orders), d.balance(l.payTo)/20_000, time.Since(d.began).Round(time.Second/10))
}

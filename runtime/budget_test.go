package runtime

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/pay/paytest"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// TestBudget checks that money is neither made nor lost: over random runs,
// crashes, top-ups, prices, payments, payments without an answer and what an
// operator says about them, initial + top-ups = cost + paid + held + left, to the
// microcent.
func TestBudget(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testBudget(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func testBudget(t *testing.T, rng *rand.Rand) {
	ledger := new(paytest.Ledger)
	mux := http.NewServeMux()
	mux.Handle("/pay", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch rng.IntN(4) {
		case 0:
			ledger.ServeHTTP(httptest.NewRecorder(), r) // paid, and the answer is lost
			panic(http.ErrAbortHandler)
		case 1:
			panic(http.ErrAbortHandler)
		}
		ledger.ServeHTTP(w, r)
	}))
	mux.Handle("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server := httptest.NewServer(mux)
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	wasm, err := os.ReadFile("../cmd/igor/testdata/agents/actor.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm = bytes.Replace(wasm, []byte("127.0.0.1:00000"), fmt.Appendf(nil, "127.0.0.1:%05s", strings.Split(host, ":")[1]), 1)
	const initial = int64(1 << 40)
	b := Birth{WASM: wasm, Budget: initial, Price: rng.Int64N(1 << 30), Manifest: fmt.Appendf(nil, `{"capabilities": {"clock": {"version": 1},
		"http": {"version": 1, "options": {"allowed_hosts": [%q]}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 1}}}}`, host)}
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	config := func() settings {
		c := ticks(1+rng.Uint64N(9), 1+rng.Uint64N(5))
		c.PayAt, c.NodeKey = server.URL+"/pay", node
		c.Replay = ReplayPolicy{Mode: ReplayFull, OnDivergence: DivergencePause}
		return c
	}
	result, err := Start(t.Context(), dir, b, config())
	if err != nil {
		t.Fatal(err)
	}
	topUps, compensated := int64(0), int64(0)
	for range 12 {
		if rng.IntN(3) == 0 && result.Tick > 0 { // the process ended between the seal and the checkpoint
			crash(t, dir, result.Tick)
		}
		if rng.IntN(2) == 0 {
			compensated += resolve(t, dir, rng)
		}
		c := config()
		if rng.IntN(2) == 0 {
			c.TopUp = rng.Int64N(1000)
			topUps += c.TopUp
		}
		if rng.IntN(3) == 0 {
			price := rng.Int64N(1 << 30)
			c.Price = &price
		}
		if result, err = Resume(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
	}
	cost, paid := accounts(t, dir)
	state := newest(t, dir, result.Tick).State
	told := int64(binary.LittleEndian.Uint64(state[48:])) // payments that the agent knows to be made
	open := int64(binary.LittleEndian.Uint64(state[56:])) // payments that it knows may be
	if told+open == 0 || cost == 0 {
		t.Errorf("%d payments, %d cost: nothing to see", told+open, cost)
	}
	if initial+topUps != cost+told+open-compensated+result.Budget {
		t.Errorf("%d + %d top-ups, and %d cost + %d paid + %d held or lost - %d given back + %d left = %d",
			initial, topUps, cost, told, open, compensated, result.Budget, cost+told+open-compensated+result.Budget)
	}
	if paid != told+open {
		t.Errorf("the receipts have %d paid, and the agent %d", paid, told+open)
	}
	if n, sum := ledger.Paid(); int64(n) < told || sum > told+open || ledger.Repeats() != 0 || ledger.Forged() != 0 {
		t.Errorf("the ledger has %d payments of %d, %d repeats, %d forged; the agent knows of %d, and of %d that may be",
			n, sum, ledger.Repeats(), ledger.Forged(), told, open)
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed || r.Ticks != result.Tick {
		t.Errorf("got %+v, %v", r, err)
	}
}

// crash takes back what comes after the seal of the newest segment.
func crash(t *testing.T, dir string, tick uint64) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "history", store.FileName(tick))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "events", eventlog.FileName(tick+1))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	// The receipt of that checkpoint is not there either.
	file := filepath.Join(dir, "receipts")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)-receipt.ExecutionSize], 0o644); err != nil {
		t.Fatal(err)
	}
}

// resolve says something about one unresolved payment, and returns what goes back.
func resolve(t *testing.T, dir string, rng *rand.Rand) int64 {
	t.Helper()
	all, err := Effects(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if e.Unresolved() && e.Kind == kindName(journal.Payment) {
			happened := rng.IntN(2) == 0
			if _, err := ResolveEffect(t.Context(), dir, e.ID, happened, ""); err != nil {
				t.Fatal(err)
			}
			if happened {
				return 0
			}
			return e.Held
		}
	}
	return 0
}

// accounts wants the receipts green, and returns their sums.
func accounts(t *testing.T, dir string) (cost, paid int64) {
	t.Helper()
	r := checkReceipts(t, dir)
	if r.Verdict != verifier.Verified {
		t.Fatalf("the receipts are not green: %+v", r)
	}
	for _, e := range r.Lived {
		cost, paid = cost+e.Cost, paid+e.Paid
	}
	return cost, paid
}

// A divergedNode is told of divergences.
type divergedNode struct {
	Node
	told int
}

func (n *divergedNode) Diverged() { n.told++ }

// TestOnDivergence checks what a run does when its ticks, run again, come to
// something else: here, they are held against the wrong checkpoint.
func TestOnDivergence(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	if _, err := Start(t.Context(), dir, b, ticks(4, 2)); err != nil {
		t.Fatal(err)
	}
	for _, do := range []OnDivergence{DivergenceLog, DivergencePause, DivergenceIntensify, DivergenceMigrate} {
		c := ticks(1, 0)
		node := &divergedNode{}
		c.Node = node
		c.Replay = ReplayPolicy{Mode: ReplayOnResume, OnDivergence: do}
		l, done := recovered(t, dir, b.WASM, c)
		if err := l.replay(t.Context(), l.checks.older, l.checks.newest); err != nil || l.checks.policy.Mode != ReplayOnResume {
			t.Errorf("%s: without a divergence: %v", do, err)
		}
		err := l.replay(t.Context(), nil, l.checks.newest)
		if (err != nil) != (do == DivergencePause) || (l.checks.policy.Mode == ReplayFull) != (do == DivergenceIntensify || do == DivergenceMigrate) || (node.told == 1) != (do == DivergenceMigrate) {
			t.Errorf("%s: got %v, mode %s", do, err, l.checks.policy.Mode)
		}
		done()
	}
}

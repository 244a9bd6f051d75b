package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/pay/paytest"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
)

// A payer pays one microcent in every tick, to a ledger that never has the payment
// of tick 3. Its time is free, so its budget says what it paid and what is held.
type payer struct {
	ledger *paytest.Ledger
	birth  Birth
	at     string
	third  func() // called while the payment of tick 3 is under way
	begun  int
	paid   int64 // before the crash
}

const payerBudget = 1000

func newPayer(t *testing.T, looks bool) *payer {
	t.Helper()
	p := &payer{ledger: new(paytest.Ledger)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.begun++; p.begun == 3 {
			if p.third != nil {
				p.third()
			}
			panic(http.ErrAbortHandler)
		}
		p.ledger.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.at = server.URL
	pay := wasmtest.Count + wasmtest.I64(1) + wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(4) + wasmtest.I32(0) + wasmtest.I32(0) +
		wasmtest.I32(2048) + wasmtest.I32(2048) + wasmtest.Call(0) + wasmtest.Drop + wasmtest.I32(1)
	if looks { // at the time, before it pays
		pay = wasmtest.Call(1) + wasmtest.Drop + pay
	}
	agent := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.WalletPay, wasmtest.ClockNow}, Data: "shop",
		Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: pay}}}
	p.birth = Birth{WASM: agent.Bytes(), Budget: payerBudget, Manifest: []byte(`{"capabilities": {"clock": {"version": 1},
		"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 1, "class": "idempotent"}}}}`)}
	return p
}

func (p *payer) config(n, every uint64) settings {
	c := ticks(n, every)
	c.PayAt = p.at
	return c
}

// left wants the budget of a life to be what it was given, less what was received.
func (p *payer) left(t *testing.T, dir string, given int64, r Result) {
	t.Helper()
	_, since := p.ledger.Paid()
	if paid := p.paid + since; r.Budget != given-paid {
		t.Errorf("%d are left of %d, and %d was paid: %d are missing", r.Budget, given, paid, given-paid-r.Budget)
	}
	report, err := Replay(t.Context(), dir, replayConfig(dir, p.birth))
	if err != nil || report.Verdict != Replayed || report.Ticks != r.Tick {
		t.Errorf("run again it is %+v, %v", report, err)
	}
}

// TestCompensated has an operator compensate an effect wherever a crash can have
// left it, and the process that goes on killed at each step. What the effect held
// goes back once, and what else comes in then does too.
func TestCompensated(t *testing.T) {
	for name, tt := range map[string]struct {
		looks bool
		crash func(t *testing.T, p *payer) (dir string)
	}{
		"in a tick of which nothing is recorded": {false, func(t *testing.T, p *payer) string { return underWay(t, p, 2) }},
		"in a tick of which some is recorded":    {true, func(t *testing.T, p *payer) string { return underWay(t, p, 2) }},
		"after a checkpoint":                     {true, func(t *testing.T, p *payer) string { return p.lived(t, 4) }},
		"before a checkpoint that was lost": {true, func(t *testing.T, p *payer) string {
			dir := p.lived(t, 6)
			p.lose(t, dir, 6)
			return dir
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPayer(t, tt.looks)
			crashed := tt.crash(t, p)
			open, err := Effects(t.Context(), crashed)
			if err != nil {
				t.Fatal(err)
			}
			resolved := 0
			for _, e := range open {
				if e.Unresolved() {
					if _, err := ResolveEffect(t.Context(), crashed, e.ID, false, ""); err != nil {
						t.Fatal(err)
					}
					resolved++
				}
			}
			if resolved != 1 {
				t.Fatalf("%d effects are unresolved: %+v", resolved, open)
			}
			steps, stride := 0, 1
			if !*everyStep {
				stride = 9
			}
			for n := 0; n <= steps; n += 1 + rand.IntN(2*stride-1) {
				for _, every := range []uint64{0, 1} {
					dir, disk := copyOf(t, crashed), waltest.NewDisk()
					p.ledger = new(paytest.Ledger)
					c := p.config(1, every)
					given := int64(payerBudget)
					if n == 0 {
						c.TopUp = 10
						given += 10
					} else {
						disk.FailAt(n, waltest.Fault{Err: errPower})
					}
					c.through = disk.Through
					if _, err := Resume(t.Context(), dir, c); err != nil && !errors.Is(err, errPower) {
						t.Fatal(err)
					}
					if n == 0 {
						steps, _ = disk.Steps()
					}
					t.Run(fmt.Sprintf("step %d, a checkpoint in %d", n, every), func(t *testing.T) {
						r, err := Resume(t.Context(), dir, p.config(1, 0))
						if err == nil {
							r, err = Resume(t.Context(), dir, p.config(2, 1))
						}
						if err != nil {
							t.Fatal(err)
						}
						p.left(t, dir, given, r)
					})
				}
			}
			if steps < 20 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// TestTopUpNotMade stops a run before money can come in: the operator is told.
func TestTopUpNotMade(t *testing.T) {
	p := newPayer(t, true)
	dir := underWay(t, p, 0)
	ctx, stop := context.WithCancel(t.Context())
	var said bytes.Buffer
	c := p.config(0, 0)
	c.Log, c.TopUp, c.Watch = slog.New(slog.NewTextHandler(&said, nil)), 10, func(Status) { stop() }
	r, err := Resume(ctx, dir, c)
	if err != nil || r.Reason != Stopped || r.Budget != payerBudget || strings.Count(said.String(), "the top-up was not made") != 1 {
		t.Errorf("got %+v, %v\n%s", r, err, said.String())
	}
	said.Reset()
	c.Watch, c.MaxTicks = nil, 1
	if r, err = Resume(t.Context(), dir, c); err != nil || r.Budget != payerBudget-3 || strings.Contains(said.String(), "not made") {
		t.Errorf("got %+v, %v\n%s", r, err, said.String())
	}
	if r, err := Resume(t.Context(), dir, p.config(1, 0)); err != nil || r.Budget != payerBudget-3+10-1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestCompensatedUnknown takes away the part of the event log that would say whether
// what an effect held went back: it stays out, until it is known.
func TestCompensatedUnknown(t *testing.T) {
	p := newPayer(t, true)
	crashed := p.lived(t, 4)
	open, err := Effects(t.Context(), crashed)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range open {
		if e.Unresolved() {
			if _, err := ResolveEffect(t.Context(), crashed, e.ID, false, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	went := copyOf(t, crashed)
	if _, err := Resume(t.Context(), went, p.config(2, 1)); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(file string, b []byte) error{
		"missing": func(file string, _ []byte) error { return os.Remove(file) },
		"damaged": func(file string, b []byte) error { b[len(b)-1] ^= 1; return os.WriteFile(file, b, 0o644) },
		"cut":     func(file string, b []byte) error { return os.WriteFile(file, b[:150], 0o644) },
	} {
		dir := copyOf(t, went)
		file := filepath.Join(dir, "events", eventlog.FileName(5)) // which has the release
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := damage(file, bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		p.ledger = new(paytest.Ledger)
		before := newest(t, dir, 6).Budget
		for n := int64(1); n <= 3; n++ {
			r, err := Resume(t.Context(), dir, p.config(1, 1))
			if err != nil {
				t.Fatal(err)
			}
			if r.Budget != before-n {
				t.Errorf("%s: %d are left of %d after %d payments", name, r.Budget, before, n)
			}
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := Resume(t.Context(), dir, p.config(1, 1)); err != nil || r.Budget != before-4 {
			t.Errorf("%s, and restored: %d are left of %d, %v", name, r.Budget, before, err)
		}
	}
}

// underWay returns what a crash leaves while the payment of tick 3 is under way.
func underWay(t *testing.T, p *payer, every uint64) (found string) {
	dir := filepath.Join(t.TempDir(), "agent")
	p.third = func() {
		found = copyOf(t, dir)
		_, p.paid = p.ledger.Paid()
	}
	if _, err := Start(t.Context(), dir, p.birth, p.config(3, every)); err != nil {
		t.Fatal(err)
	}
	return found
}

// lived returns a life of so many ticks, with a checkpoint in every second.
func (p *payer) lived(t *testing.T, n uint64) (dir string) {
	dir = filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, p.birth, p.config(n, 2)); err != nil {
		t.Fatal(err)
	}
	_, p.paid = p.ledger.Paid()
	return dir
}

// lose takes back the newest checkpoint, and what comes after its seal.
func (p *payer) lose(t *testing.T, dir string, tick uint64) {
	t.Helper()
	for _, name := range []string{filepath.Join("history", store.FileName(tick)), filepath.Join("events", eventlog.FileName(tick+1))} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

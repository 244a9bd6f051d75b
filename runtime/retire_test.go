package runtime

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/internal/testkit"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
)

// retire ends the life in dir.
func retire(t *testing.T, dir string, c settings) (Retirement, error) {
	t.Helper()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.Retire(t.Context(), dir)
}

// TestRetire ends a life: its budget goes back once, and no copy of it lives on.
func TestRetire(t *testing.T) {
	tmp := t.TempDir()
	dir, old := filepath.Join(tmp, "agent"), ""
	ledger, err := OpenLedger(filepath.Join(tmp, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	config := func(n uint64) settings {
		c := ticks(n, 2)
		c.Budgets, c.NodeKey = ledger, nodeKey(1)
		return c
	}
	r, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), config(5))
	if err != nil {
		t.Fatal(err)
	}
	old = copyOf(t, dir)
	for range 2 { // to ask again is no error
		got, err := retire(t, dir, config(0))
		if err != nil || got.Head != r.Head || got.Tick != 5 || got.Budget != r.Budget || got.Agent.DID() != r.DID {
			t.Fatalf("retired %+v, %v, and it was %+v", got, err, r)
		}
		if parsed, err := ParseRetirement(got.Append(nil)); err != nil || parsed != got {
			t.Errorf("%+v, %v", parsed, err)
		}
	}
	for _, gone := range []string{dir, old} {
		if _, err := Resume(t.Context(), gone, config(1)); !errors.Is(err, ErrRetired) || Temporary(err) {
			t.Errorf("it goes on: %v", err)
		}
	}
	if f, err := Fork(t.Context(), filepath.Join(tmp, "fork"), ForkConfig{Origin: Past{Dir: dir, WASM: birth(wasmtest.Agent{}).WASM, Manifest: birth(wasmtest.Agent{}).Manifest, Events: filepath.Join(dir, "events")}, At: 5, Log: quiet().Log}); err != nil || f.DID == r.DID {
		t.Errorf("a fork: %v", err)
	}
}

// TestRetireAlive retires an agent that ticks, by way of its socket: its run ends, its
// last word is of its last checkpoint, and the ledger of the process that ran it has it;
// also where that process did not come to tell the ledger.
func TestRetireAlive(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "agent")
	ledger, err := OpenLedger(filepath.Join(tmp, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	c := quiet()
	c.Control, c.TickInterval, c.Budgets, c.NodeKey = true, time.Millisecond, ledger, nodeKey(1)
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := e.Start(t.Context(), dir, birth(wasmtest.Agent{}), c.Config)
	if err := a.Continue(t.Context()); err != nil {
		t.Fatal(err)
	}
	remote, err := Connect(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Retire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Done():
	default:
		t.Error("it is retired, and its run has not ended")
	}
	r, err := a.Wait(t.Context())
	if err != nil || r.Reason != Retired || r.Head != got.Head || r.Tick != got.Tick || r.Budget != got.Budget || r.DID != got.Agent.DID() {
		t.Errorf("it ended as %+v, %v, and said %+v", r, err, got)
	}
	if kept, ok, err := ReadRetirement(dir); err != nil || !ok || kept != got {
		t.Errorf("the folder has %+v, %t, %v", kept, ok, err)
	}
	if _, err := remote.Retire(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
	if over, err := ledger.Retired(t.Context(), got.Agent); err != nil || !over {
		t.Errorf("the ledger: %t, %v", over, err)
	}
	counts(t, dir)

	// A process that ended before the ledger knew.
	its := filepath.Join(tmp, "ledger", strings.TrimPrefix(got.Agent.DID(), "did:key:"), "retired")
	if err := os.Remove(its); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Resume(t.Context(), dir, c.Config).Wait(t.Context()); !errors.Is(err, ErrRetired) {
		t.Errorf("it goes on: %v", err)
	}
	if _, err := os.Stat(its); err != nil {
		t.Errorf("the ledger is not told again: %v", err)
	}
}

// TestRetireUnresolved refuses to end a life of which nobody knows what it did, and goes on
// with it.
func TestRetireUnresolved(t *testing.T) {
	l := newTrading(t)
	l.begin()
	dir := copyOf(t, l.born)
	disk := waltest.NewDisk()
	c := ticks(8, 2)
	c.PayAt, c.NodeKey, c.through = l.pay, l.node, disk.Through
	for step := 10; ; step++ { // until an effect stays open
		disk.FailAt(step, waltest.Fault{Err: errPower})
		if _, err := Resume(t.Context(), dir, c); err == nil {
			t.Fatal("no kill left an effect open")
		}
		open, err := Effects(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(open, func(e Effect) bool { return !e.Over() }) {
			break
		}
		disk = waltest.NewDisk()
		c.through = disk.Through
	}
	live := quiet()
	live.PayAt, live.NodeKey, live.TickInterval, live.Paused = l.pay, l.node, time.Millisecond, true
	e, err := live.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := e.Resume(t.Context(), dir, live.Config)
	if _, err := a.Retire(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody knows whether side effect") {
		t.Fatalf("retired with an open effect: %v", err)
	}
	open, err := Effects(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range open {
		if !o.Over() {
			if _, err := a.ResolveEffect(t.Context(), o.ID, true, "seen"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := a.Retire(t.Context()); err != nil {
		t.Errorf("with none: %v", err)
	}
}

// TestRetireAtHome retires an agent whose home is a store, with its process killed at each
// step of its disk: the store knows it first, and nothing lives on from it.
func TestRetireAtHome(t *testing.T) {
	node := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	retired, again := 0, 0
	for step := 1; ; step++ {
		store := authoritytest.NewStore()
		dir := filepath.Join(t.TempDir(), "agent")
		config := func(n uint64) settings {
			c := ticks(n, 2)
			c.Home, c.NodeKey = at(store), node
			return c
		}
		r, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), config(3))
		if err != nil {
			t.Fatal(err)
		}
		disk := waltest.NewDisk()
		c := config(0)
		c.Paused, c.visit, c.through = true, true, disk.Through
		disk.FailAt(step, waltest.Fault{Err: errPower})
		e, err := c.engine()
		if err != nil {
			t.Fatal(err)
		}
		a := e.Resume(t.Context(), dir, c.Config)
		_, err = a.Retire(t.Context())
		a.Stop(t.Context())
		e.Close()
		_, failed := disk.Steps()
		agent := newest(t, dir, 3).AgentPubKey
		p, readErr := store.Read(t.Context(), agent)
		if readErr != nil {
			t.Fatal(readErr)
		}
		_, over, _ := ReadRetirement(dir)
		switch {
		case over && p.State != authority.Retired:
			t.Fatalf("step %d: the folder says so first", step)
		case p.State == authority.Retired:
			retired++
			if _, err := Resume(t.Context(), dir, config(1)); !errors.Is(err, ErrRetired) {
				t.Errorf("step %d: it goes on: %v", step, err)
			}
			got, ok, err := ReadRetirement(dir)
			if err != nil || !ok || got.Budget != r.Budget {
				t.Errorf("step %d: then the folder says %+v, %t, %v", step, got, ok, err)
			}
			key, err := fileKeys{}.Key(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(t.Context(), filepath.Join(t.TempDir(), "x"), RestoreConfig{Home: at(store), Key: key.(ed25519.PrivateKey), Node: node}); !errors.Is(err, ErrRetired) {
				t.Errorf("step %d: it is restored: %v", step, err)
			}
		default:
			again++
			if _, err := Resume(t.Context(), dir, config(1)); err != nil {
				t.Errorf("step %d: it does not go on: %v", step, err)
			}
		}
		if !failed {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if retired < 2 || again < 2 {
		t.Errorf("%d times it was retired, %d times not", retired, again)
	}
}

func TestRetirementSpec(t *testing.T) {
	b := testkit.SpecBytes(t, "../docs/spec", "retirement.md", "hex retirement")
	r, err := ParseRetirement(b)
	if err != nil || r.Tick != 4 || r.Budget != 1000000 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i := range b {
		other := bytes.Clone(b)
		other[i] ^= 1
		if _, err := ParseRetirement(other); err == nil {
			t.Errorf("byte %d changed: it is a retirement", i)
		}
		if _, err := ParseRetirement(b[:i]); err == nil {
			t.Errorf("cut at %d: it is a retirement", i)
		}
	}
}

func FuzzRetirement(f *testing.F) {
	if b, err := os.ReadFile("testdata/retirement"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRetirement(b); err == nil && !bytes.Equal(r.Append(nil), b) {
			t.Errorf("%x is %x", b, r.Append(nil))
		}
	})
}

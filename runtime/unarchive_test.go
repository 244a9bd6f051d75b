package runtime

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/authority/authoritytest"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/segment"
	"igor.dev/verifier"
)

// TestRecoverEvents: with the event log, what is recovered can be run again.
func TestRecoverEvents(t *testing.T) {
	l := newTrading(t)
	l.every = 2
	target := archivetest.New("one", 1)
	dir := l.fresh(t)
	source, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := source.(ed25519.PrivateKey)
	var r Result
	for round := range 3 {
		a, err := archive.New(archive.Config{Targets: []archive.Target{target}, Rule: segment.Rule{Checkpoints: 3}, Parts: append(archive.DefaultParts, archive.Events), Retry: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		c := l.config(7)
		c.through, c.Archive = nil, a
		if r, err = Resume(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(t.TempDir(), "again")
		if _, err := Recover(t.Context(), dir, RecoverConfig{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Targets: []archive.Target{target}, Key: key, Head: r.Head}); err != nil {
			t.Fatal(err)
		}
		got, err := Replay(t.Context(), filepath.Join(dir, "history"), replayConfig(dir, l.birth))
		if err != nil || got.Verdict != Replayed || got.LastTick != r.Tick || got.Replayed != got.Intervals {
			t.Fatalf("round %d: %+v, %v", round, got, err)
		}
	}
}

func archiverTo(t *testing.T, targets ...archive.Target) *archive.Archiver {
	t.Helper()
	a, err := archive.New(archive.Config{Targets: targets, Rule: segment.Rule{Checkpoints: 2}, Parts: archive.DefaultParts, Retry: time.Millisecond, Ask: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestRecover has a life go on, again and again, from what its archive has, and from its
// key and nothing else: it comes to the same as one that kept its folder.
func TestRecover(t *testing.T) {
	l := newTrading(t)
	l.every = 3
	target := archivetest.New("one", 1)
	dir := l.fresh(t)
	source, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := source.(ed25519.PrivateKey)
	agent := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	var r Result
	for n := range 6 {
		c := l.config(uint64(3 + n))
		c.through = nil
		c.Archive = archiverTo(t, target)
		if r, err = Resume(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
		if f, err := archive.FinalOf(dir); err != nil || f.Head != r.Head || f.Tick != r.Tick {
			t.Fatalf("%+v, %v is final, and it is at %+v", f, err, r)
		}
		receipts, err := os.ReadFile(filepath.Join(dir, receipt.Name))
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(t.TempDir(), "again")
		config := RecoverConfig{Agent: agent, Targets: []archive.Target{target}, Key: key}
		if _, err := Recover(t.Context(), dir, config); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), r.Head.CID()) {
			t.Fatalf("recovered what nobody says was the last: %v", err)
		}
		config.Head = r.Head
		got, err := Recover(t.Context(), dir, config)
		if err != nil || got.Head != r.Head || got.Tick != r.Tick || !got.Whole || len(got.Lost) > 0 {
			t.Fatalf("recovered %+v, %v, and it was %+v", got, err, r)
		}
		report, err := store.Verify(t.Context(), dir)
		if err != nil || report.Verdict() != verifier.Verified {
			t.Fatal(report, err)
		}
		if again, err := os.ReadFile(filepath.Join(dir, receipt.Name)); err != nil || !bytes.Equal(again, receipts) {
			t.Fatalf("%d bytes of receipts are recovered, and there were %d: %v", len(again), len(receipts), err)
		}
	}
	if want := uint64(1 + 3 + 4 + 5 + 6 + 7 + 8); r.Tick != want {
		t.Errorf("it is at tick %d, and lived %d", r.Tick, want)
	}
	if sent := len(l.shop.posts); sent < 8 {
		t.Errorf("the shop got %d posts", sent)
	}
	for id, n := range l.shop.posts {
		if n > 1 {
			t.Errorf("effect %s was sent %d times", id, n)
		}
	}
	if n, _ := l.shop.ledger.Paid(); n < 8 || l.shop.ledger.Repeats() > 0 {
		t.Errorf("the shop got %d payments, and %d again", n, l.shop.ledger.Repeats())
	}
}

// TestRecoverStore: where the agent's home is a store, that says where it goes on, and the
// archive has the history.
func TestRecoverStore(t *testing.T) {
	l := newTrading(t)
	l.every = 3
	home, target := authoritytest.NewStore(), archivetest.New("one", 1)
	dir := l.fresh(t)
	source, err := fileKeys{}.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := source.(ed25519.PrivateKey)
	config := func(n uint64) settings {
		c := l.config(n)
		c.through = nil
		c.Home = at(home)
		return c
	}
	named := func(n uint64) settings {
		c := config(n)
		c.Home.Name = "home"
		return c
	}
	c := named(8)
	c.Archive = archiverTo(t, target)
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
	r, err := Resume(t.Context(), dir, named(3)) // of which the archive has nothing
	if err != nil {
		t.Fatal(err)
	}
	rc := RecoverConfig{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Targets: []archive.Target{target}, Key: key, Head: verifier.Hash{1}}
	again := filepath.Join(t.TempDir(), "again")
	if _, err := Recover(t.Context(), again, rc); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "store") {
		t.Fatalf("recovered without its home: %v", err)
	}
	rc.Home, rc.Node = at(home), l.node
	got, err := Recover(t.Context(), again, rc)
	if err != nil || got.Head != r.Head || got.Tick != r.Tick {
		t.Fatalf("recovered %+v, %v, and it was %+v", got, err, r)
	}
	if next, err := Resume(t.Context(), again, config(3)); err != nil || next.Tick != r.Tick+3 {
		t.Fatal(next, err)
	}
	if _, err := Resume(t.Context(), dir, named(3)); !errors.Is(err, ErrConflict) {
		t.Fatalf("the old folder lives on: %v", err)
	}
}

// TestRecoverOther gives what is not the agent's, or not there.
func TestRecoverOther(t *testing.T) {
	l := newTrading(t)
	target := archivetest.New("one", 1)
	dir := l.fresh(t)
	source, _ := fileKeys{}.Key(dir)
	key := source.(ed25519.PrivateKey)
	c := l.config(6)
	c.through, c.Archive = nil, archiverTo(t, target)
	r, err := Resume(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	agent := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	good := RecoverConfig{Agent: agent, Targets: []archive.Target{target}, Key: key, Head: r.Head}
	_, other, _ := ed25519.GenerateKey(nil)
	for name, f := range map[string]func(*RecoverConfig){
		"another key":      func(c *RecoverConfig) { c.Key = other },
		"an older head":    func(c *RecoverConfig) { c.Head = newest(t, dir, 0).WASMHash },
		"an empty archive": func(c *RecoverConfig) { c.Targets = []archive.Target{archivetest.New("empty", 1)} },
		"another program":  func(c *RecoverConfig) { c.WASM = []byte("\x00asm") },
		"a full folder":    func(c *RecoverConfig) {},
	} {
		to := filepath.Join(t.TempDir(), "again")
		if name == "a full folder" {
			if err := os.MkdirAll(filepath.Join(to, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		c := good
		f(&c)
		if _, err := Recover(t.Context(), to, c); err == nil {
			t.Errorf("%s: recovered", name)
		}
		if left, _ := os.ReadDir(filepath.Dir(to)); len(left) > 0 && name != "a full folder" {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

package runtime

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/authority/dir"
	"igor.dev/verifier"
)

// TestTakenBackWithLedger has a node whose ledger has receipts for an agent lose it to another
// node, and take it over again: on a folder without the history of before, in which the
// checkpoint of its newest receipt is not. That is no old copy; one that a store made that
// lost data still is.
func TestTakenBackWithLedger(t *testing.T) {
	l := newTrading(t)
	folder := l.fresh(t)
	key, err := fileKeys{}.Key(folder)
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	in := filepath.Join(tmp, "home")
	live := func(node ed25519.PrivateKey, home, dir, ledger string) (Result, error) {
		t.Helper()
		books, err := OpenLedger(filepath.Join(tmp, ledger))
		if err != nil {
			t.Fatal(err)
		}
		defer books.Close()
		c := l.config(20)
		c.through, c.NodeKey, c.Budgets = nil, node, books
		c.Home = openHome(t, home)
		return Resume(t.Context(), dir, c)
	}
	takeOver := func(node ed25519.PrivateKey, home, to string) string {
		t.Helper()
		to = filepath.Join(tmp, to)
		h := openHome(t, home)
		h.TakeOver = true
		if _, err := Restore(t.Context(), to, RestoreConfig{Home: h, Key: key.(ed25519.PrivateKey), Node: node}); err != nil {
			t.Fatal(err)
		}
		return to
	}
	if _, err := live(l.node, in, folder, "one"); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(tmp, "before")
	if err := os.CopyFS(before, os.DirFS(in)); err != nil {
		t.Fatal(err)
	}
	second := takeOver(otherNode, in, "second")
	if whole, err := PutBack(second, folder); err != nil || !whole {
		t.Fatalf("what the first node has of the life: %v, %v", whole, err)
	}
	r, err := live(otherNode, in, second, "other")
	if err != nil {
		t.Fatal(err)
	}
	// What the first node lived is for that one to charge: its newest checkpoint, too.
	charged := map[verifier.Hash]bool{}
	for _, r := range append(executions(t, folder), executions(t, second)...) {
		if charged[r.Checkpoint] {
			t.Errorf("both nodes gave a receipt for the checkpoint %s", r.Checkpoint)
		}
		charged[r.Checkpoint] = true
	}
	third := takeOver(l.node, in, "third")
	again, err := live(l.node, in, third, "one")
	if err != nil || again.Tick < r.Tick+20 {
		t.Fatalf("taken over again: tick %d after %d, %v", again.Tick, r.Tick, err)
	}
	// The store as it was before: the ledger knows of more.
	lost := takeOver(l.node, before, "lost")
	if _, err := live(l.node, before, lost, "one"); !errors.Is(err, ErrConflict) {
		t.Errorf("a store that lost data: %v", err)
	} else if _, ok := errors.AsType[*OldCopyError](err); !ok {
		t.Errorf("a store that lost data: %v", err)
	}
}

// openHome opens a folder that is an agent's home.
func openHome(t *testing.T, path string) *Home {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return at(s)
}

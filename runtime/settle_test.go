package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A bank is an adapter that says no at times.
type bank struct {
	limit  int64
	given  int64
	broken func() bool // whether it fails now
	newest verifier.Hash
	took   [][]byte
}

var errBank = errors.New("the bank is closed")

func (b *bank) Authorise(_ context.Context, _ verifier.PublicKey, microcents int64) error {
	if b.given+microcents > b.limit {
		return errBank
	}
	b.given += microcents
	return nil
}

func (b *bank) Settled(context.Context, verifier.PublicKey) (verifier.Hash, error) {
	return b.newest, nil
}

func (b *bank) Settle(_ context.Context, agent verifier.PublicKey, given []*receipts.Execution) error {
	if len(given) == 0 {
		return errors.New("nothing came")
	}
	for _, r := range given {
		if b.broken != nil && b.broken() {
			return errBank
		}
		if r.Agent != agent || !r.Authentic() {
			return errors.New("not the agent's receipt")
		}
		if got := r.Append(nil); !slices.ContainsFunc(b.took, func(had []byte) bool { return bytes.Equal(had, got) }) {
			b.took = append(b.took, got)
		}
		b.newest = r.Checkpoint
	}
	return nil
}

func nodeKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// given returns the receipts in a file by a node, in their order.
func given(t *testing.T, file string, node ed25519.PrivateKey) (all [][]byte) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := receipts.NewReader(f); ; {
		got, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if signer := got.Signer(); bytes.Equal(signer[:], node.Public().(ed25519.PublicKey)) {
			all = append(all, got.Append(nil))
		}
	}
}

func same(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	if len(want) == 0 || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%s: got %d receipts, want %d, the same in the same order", what, len(got), len(want))
	}
}

// TestBudgetAdapter has a life settled with a bank that is closed now and then, on
// two nodes in turn.
func TestBudgetAdapter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	n := 0
	b := &bank{limit: 1_500_000, broken: func() bool { n++; return n%3 == 1 }}
	run := func(c settings, node byte) {
		t.Helper()
		c.NodeKey, c.TickInterval = nodeKey(node), 0
		var err error
		if _, serr := os.Stat(dir); serr != nil {
			_, err = Start(t.Context(), dir, birth(wasmtest.Agent{}), c)
		} else {
			_, err = Resume(t.Context(), dir, c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(b BudgetAdapter) settings {
		c := ticks(150, 1)
		c.Budgets = b
		return c
	}
	run(at(b), 1)
	run(at(nil), 2) // elsewhere
	run(at(b), 1)
	b.broken = func() bool { return true }
	run(at(b), 1)
	b.broken = nil
	c := at(b)
	c.TopUp = 500_000
	run(c, 1)
	all := given(t, filepath.Join(dir, "receipts"), nodeKey(1))
	if len(all) != 601 {
		t.Errorf("%d receipts", len(all))
	}
	same(t, "settled", b.took, all)

	// No more than is authorised is given.
	before := counts(t, dir)
	c = at(b)
	c.TopUp = 1
	if _, err := Resume(t.Context(), dir, c); !errors.Is(err, errBank) || err.Error() != "a budget of 0.000001 was not authorised: the bank is closed" {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(counts(t, dir), before) {
		t.Error("the life went on")
	}
	other := filepath.Join(t.TempDir(), "other")
	if _, err := Start(t.Context(), other, birth(wasmtest.Agent{}), at(b)); !errors.Is(err, errBank) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}

// TestLedger keeps a life's receipts on this machine too.
func TestLedger(t *testing.T) {
	tmp := t.TempDir()
	dir, books := filepath.Join(tmp, "agent"), filepath.Join(tmp, "new", "ledger")
	ledger := func() *Ledger {
		t.Helper()
		l, err := OpenLedger(books)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	config := func(l *Ledger) settings {
		c := ticks(10, 3)
		c.TickInterval, c.NodeKey, c.Budgets = 0, nodeKey(1), l
		return c
	}
	l := ledger()
	r, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), config(l))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(books, strings.TrimPrefix(r.DID, "did:key:"), "receipts")
	agreed := func(what string) {
		t.Helper()
		same(t, what, given(t, file, nodeKey(1)), given(t, filepath.Join(dir, "receipts"), nodeKey(1)))
	}
	agreed("after a run")

	// While it is held, another process, and another copy, have to wait.
	if _, err := l.Settled(t.Context(), newest(t, dir, r.Tick).AgentPubKey); err != nil {
		t.Fatal(err)
	}
	second := ledger()
	if _, err := Resume(t.Context(), dir, config(second)); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(second.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}

	old := filepath.Join(tmp, "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(old, "key"), 0o600); err != nil {
		t.Fatal(err)
	}

	// Every loss at its end is made up for, and every crash in the middle of it.
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, receipts.ExecutionSize, len(whole) - 1, len(whole)} {
		if err := os.Truncate(file, int64(size)); err != nil {
			t.Fatal(err)
		}
		l := ledger()
		if _, err := Resume(t.Context(), dir, config(l)); err != nil {
			t.Fatal(err)
		}
		agreed("again")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}

	// An old copy of the agent is refused: nothing is sent, and the books stay valid.
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l = ledger()
	defer l.Close()
	c := config(l)
	c.TopUp = 1 // another life from there on
	_, err = Resume(t.Context(), old, c)
	if lost, ok := errors.AsType[*OldCopyError](err); !ok || !errors.Is(err, ErrConflict) || Temporary(err) || lost.Head.IsZero() {
		t.Errorf("an old copy: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the ledger changed: %v", err)
	}
	if all := sights(t, old); all[len(all)-1].CID == lineage(t, dir)[len(lineage(t, dir))-1].cid {
		t.Error("the copy is no old one")
	}

	// An operator can accept it. What it lives is settled too.
	var told bytes.Buffer
	c.Log, c.AcceptOldCopy = slog.New(slog.NewTextHandler(&told, nil)), true
	if _, err := Resume(t.Context(), old, c); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "an old copy goes on: all that the agent lived since is lost") {
		t.Errorf("got\n%s", &told)
	}
	newest := given(t, filepath.Join(old, "receipts"), nodeKey(1))
	if got := given(t, file, nodeKey(1)); !bytes.Equal(got[len(got)-1], newest[len(newest)-1]) {
		t.Error("the newest receipt is not in the ledger")
	}

	// What is no ledger is left as it is.
	if err := os.WriteFile(file, []byte("something else of a good length, so that it is no receipt"+strings.Repeat(".", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = ledger()
	defer l.Close()
	if _, err := Resume(t.Context(), dir, config(l)); err == nil || !strings.HasPrefix(err.Error(), "ledger: ") {
		t.Errorf("got %v", err)
	}
}

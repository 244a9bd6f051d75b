package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// paidLife makes a packed life of 301 checkpoints that paid now and then. Its newest
// checkpoints are not packed.
func paidLife(t *testing.T) (dir string, node ed25519.PrivateKey) {
	t.Helper()
	c := ticks(300, 1)
	c.keepLoose = true
	c.NodeKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	c.through = func(_ string, f wal.Folder) wal.Folder { return unsynced{f} }
	dir = filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, longBirth(), c); err != nil {
		t.Fatal(err)
	}
	key, err := store.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, receipt.Name)
	b, err := os.ReadFile(file)
	if err != nil || len(b) != 301*receipts.ExecutionSize {
		t.Fatalf("%d bytes of receipts, %v", len(b), err)
	}
	var paid []byte
	for i := range 301 {
		paid = append(paid, b[i*receipts.ExecutionSize:][:receipts.ExecutionSize]...)
		if i%90 == 7 || i == 8 || i == 300 {
			p := &receipts.Payment{Amount: int64(i) + 1, Recipient: "bob", Memo: strings.Repeat("m", i%100), Nonce: [32]byte{byte(i), byte(i >> 8)}}
			if err := receipt.SignPayment(p, key); err != nil {
				t.Fatal(err)
			}
			paid = p.Append(paid)
		}
	}
	if err := os.WriteFile(file, paid, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := packAll(t.Context(), dir, c.through); err != nil {
		t.Fatal(err)
	}
	return dir, c.NodeKey
}

// begins returns where each receipt begins.
func begins(t *testing.T, b []byte) (at []int64) {
	t.Helper()
	for r := receipts.NewReader(bytes.NewReader(b)); ; {
		at = append(at, r.Offset())
		if _, err := r.Next(); err == io.EOF {
			return at
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// An opened is what a life knows of its receipts.
type opened struct {
	paid  []string
	moved verifier.Hash
	newer [receipt.Recent]bool // whether it has those of the newest checkpoints
	end   int64
	read  bool // all of them
	other bool // they are not as the mark says, or there is none
}

func openedIn(t *testing.T, dir string, node ed25519.PrivateKey) (o opened) {
	t.Helper()
	o.other = !fits(t, dir)
	c := ticks(1, 1)
	c.NodeKey = node
	l, done := recovered(t, dir, longBirth().WASM, c)
	defer done()
	for _, b := range l.books.payments.all {
		o.paid = append(o.paid, string(b))
	}
	n := 0
	for b, err := range l.store.Newest() {
		if err != nil {
			t.Fatal(err)
		}
		f := verifier.Examine(b)
		if o.newer[n] = l.books.file.Has(f.ContentHash); n+1 == len(o.newer) {
			break
		}
		n++
	}
	info, err := os.Stat(filepath.Join(dir, receipt.Name))
	if err != nil {
		t.Fatal(err)
	}
	o.moved, o.end, o.read = l.books.payments.chain, info.Size(), l.books.file.Read() == 0
	return o
}

// fits reports whether the mark in a folder is of its receipts.
func fits(t *testing.T, dir string) bool {
	t.Helper()
	key, err := store.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.ReadMark(dir, verifier.PublicKey(key.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, receipt.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return m != nil && store.ReceiptsOf(m).Fits(bytes.NewReader(b))
}

// TestReceiptsAfterMark opens the receipts of a packed life by its mark: it knows what it
// knows without, has not read all of them, and where they are not as the mark says, reads
// all.
func TestReceiptsAfterMark(t *testing.T) {
	dir, node := paidLife(t)
	without := copyOf(t, dir)
	if err := os.Remove(filepath.Join(without, store.FileMark)); err != nil {
		t.Fatal(err)
	}
	whole := openedIn(t, without, node)
	if len(whole.paid) != 6 || !whole.read || !whole.other {
		t.Fatalf("%+v", whole)
	}
	want := whole
	want.read, want.other = false, false
	if got := openedIn(t, copyOf(t, dir), node); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	file := func(change func(b []byte) []byte) func(dir string) error {
		return func(dir string) error {
			name := filepath.Join(dir, receipt.Name)
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, change(b), 0o600)
		}
	}
	const size = receipts.ExecutionSize
	other := [32]byte{7}
	payment := func(dir string) (b []byte) {
		key, err := store.Key(dir)
		p := &receipts.Payment{Amount: 1, Recipient: "eve", Memo: strings.Repeat("x", size-172-3), Nonce: other}
		if err = errors.Join(err, receipt.SignPayment(p, key)); err != nil {
			t.Fatal(err)
		}
		if b = p.Append(nil); len(b) != size {
			t.Fatalf("a payment of %d bytes, and an execution has %d", len(b), size)
		}
		return b
	}
	for name, test := range map[string]struct {
		do     func(dir string) error
		other  bool // what the mark says is not so
		refuse bool // igor resume
		status bool // igor status names what is wrong
		repair bool // igor repair mends it
	}{
		"as it is":             {do: func(string) error { return nil }},
		"no mark":              {do: func(dir string) error { return os.Remove(filepath.Join(dir, store.FileMark)) }, other: true},
		"two swapped long ago": {do: file(func(b []byte) []byte { return slices.Concat(b[size:2*size], b[:size], b[2*size:]) })},
		"one lost long ago":    {do: file(func(b []byte) []byte { return b[size:] }), other: true, status: true, repair: true},
		"one more long ago":    {do: file(func(b []byte) []byte { return slices.Concat(b[:size], b) }), other: true, status: true, repair: true},
		"one no receipt":       {do: file(func(b []byte) []byte { b[3*size] ^= 1; return b }), status: true, repair: true},
		"a payment no receipt": {do: file(func(b []byte) []byte { b[8*size] ^= 1; return b }), refuse: true, status: true, repair: true},
		"one signed by nobody": {do: file(func(b []byte) []byte { b[3*size-1] ^= 1; return b }), repair: true},
		"the newest cut off":   {do: file(func(b []byte) []byte { return b[:begins(t, b)[290]+40] }), other: true, status: true, repair: true},
		"cut long ago":         {do: file(func(b []byte) []byte { return b[:5*size] }), other: true, status: true, repair: true},
		"gone":                 {do: func(dir string) error { return os.Remove(filepath.Join(dir, receipt.Name)) }, other: true, status: true, repair: true},
		"torn at its end":      {do: file(func(b []byte) []byte { return append(b, b[:size/2]...) }), repair: true},
		"text after its end":   {do: file(func(b []byte) []byte { return append(b, bytes.Repeat([]byte("text"), 20_000)...) }), refuse: true, status: true, repair: true},
		"a payment put in": {do: func(dir string) error {
			return file(func(b []byte) []byte { copy(b[begins(t, b)[260]:], payment(dir)); return b })(dir)
		}, other: true, status: true, repair: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, dir)
			if err := test.do(dir); err != nil {
				t.Fatal(err)
			}
			o, err := OverviewOf(t.Context(), dir)
			if err != nil || o.Broken() != test.refuse {
				t.Errorf("ls: %+v, %v", o, err)
			}
			d, err := DetailsOf(t.Context(), dir)
			if err != nil || len(d.Problems) > 0 != test.status {
				t.Errorf("status: %+v, %v", d, err)
			}
			found, err := RepairFolder(t.Context(), dir, RepairConfig{})
			if err != nil || len(found) > 0 != test.repair {
				t.Errorf("repair: %+v, %v", found, err)
			}
			lived := copyOf(t, dir)
			if !test.refuse {
				if got := openedIn(t, copyOf(t, dir), node); got.other != test.other {
					t.Errorf("that it is not as the mark says: %v", got.other)
				}
			}
			c := ticks(13, 1)
			c.NodeKey = node
			_, err = Resume(t.Context(), lived, c)
			if refused := err != nil; refused != test.refuse || refused && hintOf(err) == "" {
				t.Errorf("resume: %v, %q", err, hintOf(err))
			}
			if test.refuse || test.repair {
				// Repaired, it goes on, and nothing is left.
				if _, err := RepairFolder(t.Context(), dir, RepairConfig{Do: true}); err != nil {
					t.Fatal(err)
				}
				openedIn(t, dir, node)
				if left, err := RepairFolder(t.Context(), dir, RepairConfig{}); err != nil || len(left) > 0 {
					t.Errorf("repaired, there is left %+v, %v", left, err)
				}
			}
			if !test.other {
				return
			}
			// What goes on gets a mark that fits.
			if err := packAll(t.Context(), lived, nil); err != nil {
				t.Fatal(err)
			}
			if !fits(t, lived) {
				t.Error("packed again, it is not as the mark says")
			}
		})
	}
}

// TestSettledAfterMark resumes a packed life whose newest settled receipt is among those that
// are read, long before them, or none: the others are handed over, each once.
func TestSettledAfterMark(t *testing.T) {
	dir, node := paidLife(t)
	given := executions(t, dir)
	for settled, want := range map[int]int{295: 5, 299: 1, 300: 0, 60: 240, 10: 290, 0: 300, -1: 301} {
		a := &teller{}
		if settled >= 0 {
			a.settled = given[settled].Checkpoint
		}
		c := ticks(1, 5)
		c.NodeKey, c.Budgets = node, a
		if _, err := Resume(t.Context(), copyOf(t, dir), c); err != nil {
			t.Fatal(err)
		}
		if len(a.ticks) != want+1 || !slices.IsSorted(a.ticks) { // and of what it lived now
			t.Errorf("settled up to %d, %d are handed over, want %d", settled, len(a.ticks), want+1)
		}
	}
}

// executions returns the receipts of checkpoints in a folder.
func executions(t *testing.T, dir string) (all []*receipts.Execution) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, receipt.Name))
	if err != nil {
		t.Fatal(err)
	}
	for r := receipts.NewReader(bytes.NewReader(b)); ; {
		got, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := got.(*receipts.Execution); ok {
			all = append(all, e)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no receipt in %s", dir)
	}
	return all
}

// A teller counts what is handed over.
type teller struct {
	settled verifier.Hash
	ticks   []uint64
}

func (*teller) Authorise(context.Context, verifier.PublicKey, int64) error { return nil }

func (a *teller) Settled(context.Context, verifier.PublicKey) (verifier.Hash, error) {
	return a.settled, nil
}

func (a *teller) Settle(_ context.Context, _ verifier.PublicKey, given []*receipts.Execution) error {
	for _, e := range given {
		a.ticks = append(a.ticks, e.Tick)
	}
	return nil
}

package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
	"igor.dev/x402/rent"
)

// TestRent takes rent for what an agent's node gave receipts for, while the agent's account is
// open elsewhere.
func TestRent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	running, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	agent, node := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	key := verifier.PublicKey(agent.Public().(ed25519.PublicKey))
	if _, err := l.Account(key); !errors.Is(err, rent.ErrUnknown) {
		t.Errorf("an agent that is not known: %v", err)
	}
	if err := l.Rented(&receipts.Rent{Agent: key}); !errors.Is(err, rent.ErrUnknown) {
		t.Errorf("rent for one: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("made %v", names)
	}
	give := func(n byte, cost int64) {
		t.Helper()
		e := &receipts.Execution{Agent: key, Node: verifier.PublicKey(node.Public().(ed25519.PublicKey)), Prev: verifier.Hash{n - 1}, Checkpoint: verifier.Hash{n}, Cost: cost}
		copy(e.Signature[:], ed25519.Sign(node, e.AppendMessage(nil)))
		if err := running.Settle(key, []*receipts.Execution{e}); err != nil {
			t.Fatal(err)
		}
	}
	owes := func(costs ...int64) *rent.Account {
		t.Helper()
		a, err := l.Account(key)
		if err != nil || len(a.Unpaid) != len(costs) {
			t.Fatalf("got %+v, %v; want %v", a, err, costs)
		}
		for i, u := range a.Unpaid {
			if u.Cost != costs[i] {
				t.Errorf("got %+v, want %v", a.Unpaid, costs)
			}
		}
		return a
	}
	give(1, 5)
	owes(5)
	give(2, 7)
	give(3, 9)
	owes(5, 7, 9)
	paid := &receipts.Rent{Agent: key, Node: verifier.PublicKey(node.Public().(ed25519.PublicKey)), Nonce: [32]byte{1}, Amount: 12, Checkpoint: verifier.Hash{2}, Receipts: 2}
	copy(paid.Signature[:], ed25519.Sign(node, paid.AppendMessage(nil)))
	for range 2 { // it comes again
		if err := l.Rented(paid); err != nil {
			t.Fatal(err)
		}
	}
	if a := owes(9); len(a.Rents) != 1 || *a.Rents[0] != *paid || a.Paid != paid.Checkpoint {
		t.Errorf("got %+v", a)
	}
	give(4, 1)
	owes(9, 1)
	// Another process knows the same, also where the last receipt is cut short.
	file := filepath.Join(l.folder(key), folderRent, "receipts")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 100, len(whole) - 1} {
		if err := os.WriteFile(file, append(bytes.Clone(whole), whole[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err = Open(dir); err != nil {
			t.Fatal(err)
		}
		owes(9, 1)
	}
	next := *paid
	next.Nonce[0], next.Prev, next.Checkpoint, next.Receipts, next.Amount = 2, paid.Checkpoint, verifier.Hash{4}, 2, 10
	if err := l.Rented(&next); err != nil {
		t.Fatal(err)
	}
	if a := owes(); len(a.Rents) != 2 {
		t.Errorf("got %+v", a)
	}
	// What is damaged is an error, and not less rent.
	if err := os.WriteFile(file, append([]byte("x"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := l.Account(key); err == nil {
		t.Errorf("damaged: %+v", a)
	}
	gone := next
	gone.Checkpoint = verifier.Hash{99}
	if err := os.WriteFile(file, gone.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := l.Account(key); err == nil {
		t.Errorf("paid up to a checkpoint that has no receipt: %+v", a)
	}
}

package receipt

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"testing"

	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

var (
	node  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	agent = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
)

func execution(i byte) *receipt.Execution {
	e := &receipt.Execution{Agent: public(agent), Prev: verifier.Hash{i}, Checkpoint: verifier.Hash{i + 1}, Tick: uint64(i), Ticks: 1}
	SignExecution(e, node)
	return e
}

func TestSign(t *testing.T) {
	if e := execution(1); !e.Authentic() || e.Node != public(node) {
		t.Error("a receipt is not authentic")
	}
	p := &receipt.Payment{Amount: 1, Recipient: "bob"}
	if err := SignPayment(p, agent); err != nil || !p.Authentic() || p.Payer != public(agent) {
		t.Errorf("a payment is not authentic: %v", err)
	}
	if err := SignPayment(&receipt.Payment{}, agent); err == nil {
		t.Error("a payment to nobody is signed")
	}
}

func TestFile(t *testing.T) {
	d := waltest.New()
	var whole []byte
	var at []int
	for i := range byte(3) {
		f, err := Open(d, Name)
		if err != nil {
			t.Fatal(err)
		}
		if f.Has(verifier.Hash{i}) != (i > 0) || f.Has(verifier.Hash{i + 1}) {
			t.Errorf("of %d receipts, it has others", i)
		}
		if err := f.Append(execution(i)); err != nil {
			t.Fatal(err)
		}
		p := &receipt.Payment{Amount: 1, Recipient: "bob"}
		if err := errors.Join(SignPayment(p, agent), f.Append(p)); err != nil {
			t.Fatal(err)
		}
		if !f.Has(verifier.Hash{i + 1}) {
			t.Errorf("it does not have receipt %d", i)
		}
		whole = d.Get(Name)
		at = append(at, len(whole))
	}
	for cut := range whole {
		torn := waltest.New()
		torn.Put(Name, whole[:cut])
		f, err := Open(torn, Name)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		kept := torn.Get(Name)
		zeros := waltest.New()
		zeros.Put(Name, append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...))
		if _, err := Open(zeros, Name); err != nil || !bytes.Equal(zeros.Get(Name), kept) {
			t.Fatalf("cut at %d with zeros after it: %d bytes are kept, not %d, %v", cut, len(zeros.Get(Name)), len(kept), err)
		}
		if !bytes.HasPrefix(whole, kept) || len(kept) > cut || cut >= at[0] && len(kept) < at[0] {
			t.Fatalf("cut at %d: %d bytes are kept", cut, len(kept))
		}
		if err := f.Append(execution(9)); err != nil {
			t.Fatal(err)
		}
		if again, err := Open(torn, Name); err != nil || !again.Has(verifier.Hash{10}) {
			t.Fatalf("cut at %d, what is appended then is lost: %v", cut, err)
		}
	}
	bad := bytes.Clone(whole)
	bad[at[0]+1] ^= 1
	d.Put(Name, bad)
	if _, err := Open(d, Name); err == nil || !bytes.Equal(d.Get(Name), bad) {
		t.Errorf("a damaged file: %v", err)
	}
}

// durable returns the receipts that are durable.
func durable(t *testing.T, f *File) (b []byte) {
	t.Helper()
	for r := f.Durable(0); ; {
		got, err := r.Next()
		if err == io.EOF {
			return b
		}
		if err != nil {
			t.Fatal(err)
		}
		b = got.Append(b)
	}
}

// TestDurable tells what is durable from what is written.
func TestDurable(t *testing.T) {
	d := waltest.New()
	f, err := Open(d, Name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(3) {
		before := bytes.Clone(d.Get(Name))
		if err := f.Append(execution(i)); err != nil {
			t.Fatal(err)
		}
		if got := durable(t, f); !bytes.Equal(got, before) {
			t.Errorf("%d bytes are durable, want %d", len(got), len(before))
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if got := durable(t, f); !bytes.Equal(got, d.Get(Name)) {
			t.Errorf("%d bytes are durable, want all", len(got))
		}
	}
	if f, err = Open(d, Name); err != nil || !bytes.Equal(durable(t, f), d.Get(Name)) {
		t.Errorf("opened again: %v", err)
	}
}

// TestEverySector has receipts that were not durable, of which a loss of power left some
// sectors: what is left of them are the payments.
func TestEverySector(t *testing.T) {
	d := waltest.New()
	f, err := Open(d, Name)
	if err != nil {
		t.Fatal(err)
	}
	var at []int // where each ends
	var payments []bool
	add := func(r receipt.Receipt) {
		if err := f.Append(r); err != nil {
			t.Fatal(err)
		}
		_, payment := r.(*receipt.Payment)
		at, payments = append(at, len(d.Get(Name))), append(payments, payment)
	}
	add(execution(1)) // durable
	for i := range byte(4) {
		add(execution(2 + i))
		p := &receipt.Payment{Amount: 1, Recipient: "bob", Memo: string(bytes.Repeat([]byte{'m'}, 300*int(i%2)))}
		if err := SignPayment(p, agent); err != nil {
			t.Fatal(err)
		}
		add(p)
	}
	whole := d.Get(Name)
	sectors := (len(whole)-1)/wal.Sector + 1
	for choice := range 1 << sectors {
		left := bytes.Clone(whole)
		for i := range sectors {
			if from := max(at[0], i*wal.Sector); choice>>i&1 == 0 {
				clear(left[from:min(len(left), (i+1)*wal.Sector)])
			}
		}
		var want []byte
		torn, begin := false, 0
		for i, end := range at {
			is := bytes.Equal(left[begin:end], whole[begin:end])
			if torn = torn || !is; !torn || is && payments[i] {
				want = append(want, whole[begin:end]...)
			}
			begin = end
		}
		d := waltest.New()
		d.Put(Name, left)
		f, err := Open(d, Name)
		if got := d.Get(Name); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("sectors %b: %d bytes are left, want %d, %v", choice, len(got), len(want), err)
		}
		if got := durable(t, f); !bytes.Equal(got, want) {
			t.Fatalf("sectors %b: %d bytes are read as durable, want %d", choice, len(got), len(want))
		}
		if err := errors.Join(f.Append(execution(9)), f.Close()); err != nil {
			t.Fatal(err)
		}
		if f, err = Open(d, Name); err != nil || !f.Has(verifier.Hash{10}) || len(d.Get(Name)) != len(want)+receipt.ExecutionSize {
			t.Fatalf("sectors %b, what is appended then is lost: %v", choice, err)
		}
	}
}

// TestRecent gives more receipts than are remembered.
func TestRecent(t *testing.T) {
	d := waltest.New()
	name := func(n int) (h verifier.Hash) {
		h[0], h[1] = byte(n), byte(n>>8)
		return h
	}
	f, err := Open(d, Name)
	for n := 1; n < 3*Recent && err == nil; n++ {
		e := &receipt.Execution{Prev: name(n - 1), Checkpoint: name(n)}
		SignExecution(e, node)
		if err = f.Append(e); err != nil {
			break
		}
		for at := max(1, n-Recent+1); at <= n; at++ {
			if !f.Has(name(at)) || !f.After(name(at-1)) {
				t.Fatalf("of %d, it does not have %d", n, at)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if f, err = Open(d, Name); err != nil || !f.Has(name(3*Recent-1)) || !f.Has(name(2*Recent)) || f.Has(name(1)) || !f.After(name(3*Recent-2)) || f.After(name(3*Recent-1)) {
		t.Errorf("opened again, it has others, %v", err)
	}
}

func TestFaults(t *testing.T) {
	n := waltest.EachFault(func(d *waltest.Folder) (acknowledged int) {
		f, err := Open(d, Name)
		if err != nil {
			return 0
		}
		for i := range 3 {
			if f.Append(execution(byte(i))) != nil || f.Sync() != nil {
				if f.Append(execution(byte(i))) == nil || f.Sync() == nil {
					t.Error("it goes on after an error")
				}
				return i
			}
		}
		return 3
	}, func(when string, acknowledged int, found *waltest.Folder) {
		if _, err := Open(found, Name); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if n := len(found.Get(Name)) / receipt.ExecutionSize; n < acknowledged || n > acknowledged+1 {
			t.Errorf("%s: %d receipts of %d", when, n, acknowledged)
		}
	})
	if n < 50 {
		t.Fatalf("only %d folders were checked", n)
	}
}

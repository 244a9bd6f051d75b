package receipt

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
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
		f, err := Open(d, Name, nil)
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
		f, err := Open(torn, Name, nil)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		kept := torn.Get(Name)
		zeros := waltest.New()
		zeros.Put(Name, append(bytes.Clone(whole[:cut]), make([]byte, len(whole)-cut)...))
		if _, err := Open(zeros, Name, nil); err != nil || !bytes.Equal(zeros.Get(Name), kept) {
			t.Fatalf("cut at %d with zeros after it: %d bytes are kept, not %d, %v", cut, len(zeros.Get(Name)), len(kept), err)
		}
		if !bytes.HasPrefix(whole, kept) || len(kept) > cut || cut >= at[0] && len(kept) < at[0] {
			t.Fatalf("cut at %d: %d bytes are kept", cut, len(kept))
		}
		if err := f.Append(execution(9)); err != nil {
			t.Fatal(err)
		}
		if again, err := Open(torn, Name, nil); err != nil || !again.Has(verifier.Hash{10}) {
			t.Fatalf("cut at %d, what is appended then is lost: %v", cut, err)
		}
	}
	bad := bytes.Clone(whole)
	bad[at[0]+1] ^= 1
	d.Put(Name, bad)
	if _, err := Open(d, Name, nil); err == nil || !bytes.Equal(d.Get(Name), bad) {
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
	f, err := Open(d, Name, nil)
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
	if f, err = Open(d, Name, nil); err != nil || !bytes.Equal(durable(t, f), d.Get(Name)) {
		t.Errorf("opened again: %v", err)
	}
}

// TestEverySector has receipts that were not durable, of which a loss of power left some
// sectors: what is left of them are the payments.
func TestEverySector(t *testing.T) {
	d := waltest.New()
	f, err := Open(d, Name, nil)
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
		f, err := Open(d, Name, nil)
		if got := d.Get(Name); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("sectors %b: %d bytes are left, want %d, %v", choice, len(got), len(want), err)
		}
		if got := durable(t, f); !bytes.Equal(got, want) {
			t.Fatalf("sectors %b: %d bytes are read as durable, want %d", choice, len(got), len(want))
		}
		if err := errors.Join(f.Append(execution(9)), f.Close()); err != nil {
			t.Fatal(err)
		}
		if f, err = Open(d, Name, nil); err != nil || !f.Has(verifier.Hash{10}) || len(d.Get(Name)) != len(want)+receipt.ExecutionSize {
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
	f, err := Open(d, Name, nil)
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
	if f, err = Open(d, Name, nil); err != nil || !f.Has(name(3*Recent-1)) || !f.Has(name(2*Recent)) || f.Has(name(1)) || !f.After(name(3*Recent-2)) || f.After(name(3*Recent-1)) {
		t.Errorf("opened again, it has others, %v", err)
	}
}

func TestFaults(t *testing.T) {
	n := waltest.EachFault(func(d *waltest.Folder) (acknowledged int) {
		f, err := Open(d, Name, nil)
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
		if _, err := Open(found, Name, nil); err != nil {
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

// TestBeginning opens files of which it is known how they begin: what is known then is what
// it is of a file that is read, also if somebody took receipts out of it or put some in
// since, and the newest ones are the same.
func TestBeginning(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 12))
	signature := [64]byte{63: 1} // the end of a file is not in question
	name := func(tick uint64) (h verifier.Hash) {
		binary.LittleEndian.PutUint64(h[:], tick)
		return h
	}
	type one struct {
		b    []byte
		tick uint64 // 0 = a payment
	}
	newOne := func(tick uint64) one {
		if tick > 0 {
			return one{(&receipt.Execution{Prev: name(tick - 1), Checkpoint: name(tick), Tick: tick, Signature: signature}).Append(nil), tick}
		}
		p := &receipt.Payment{Nonce: [32]byte(name(rng.Uint64())), Recipient: "bob", Memo: strings.Repeat("m", rng.IntN(receipt.MaxMemo)), Signature: signature}
		return one{p.Append(nil), 0}
	}
	join := func(all []one) (b []byte) {
		for _, r := range all {
			b = append(b, r.b...)
		}
		return b
	}
	open := func(b []byte, known *Beginning) (*File, []string) {
		d := waltest.New()
		d.Put(Name, b)
		f, err := Open(d, Name, known)
		if err != nil {
			t.Fatal(err)
		}
		var paid []string
		for _, p := range f.Payments() {
			paid = append(paid, string(p.Append(nil)))
		}
		return f, paid
	}
	fit, other := 0, 0
	for range 120 {
		var all []one
		known := &Beginning{}
		last, upTo := uint64(1+rng.IntN(900)), 0
		packed, seldom := last-min(last-1, uint64(rng.IntN(40))), 1+rng.IntN(60)
		if rng.IntN(2) == 0 { // nothing was packed for long, and nothing paid
			packed, seldom = 1+rng.Uint64N(last), 1000
		}
		at := uint64(0)
		for tick := uint64(1); tick <= last; tick++ {
			for _, kind := range []uint64{0, tick} {
				if kind == 0 && rng.IntN(seldom) > 0 {
					continue
				}
				r := newOne(kind)
				if all = append(all, r); tick > packed {
					continue
				}
				if kind == 0 {
					known.Payments = append(known.Payments, at)
				} else {
					known.Executions, known.Tick = known.Executions+1, tick
				}
				at, upTo = at+uint64(len(r.b)), len(all)
			}
		}
		known.End = int64(at)
		edited := slices.Clone(all)
		for n := rng.IntN(4); n > 0; n-- {
			i := rng.IntN(1 + rng.IntN(len(edited)))
			k := min(len(edited)-i, 1+rng.IntN(1+rng.IntN(300)))
			switch rng.IntN(3) {
			case 0:
				edited = slices.Delete(edited, i, i+k)
			case 1:
				edited = slices.Insert(edited, i, slices.Clone(all[:min(k, len(all))])...)
			case 2:
				edited[i] = newOne(uint64(rng.IntN(2)) * (1 + rng.Uint64N(last)))
			}
			if len(edited) == 0 {
				edited = slices.Clone(all)
			}
		}
		b := join(edited)
		whole, want := open(b, nil)
		f, paid := open(b, known)
		if whole.Read() != 0 || f.end != whole.end {
			t.Fatalf("it ends at %d, want %d", f.end, whole.end)
		}
		same := bytes.Equal(b[:min(len(b), int(at))], join(all[:upTo]))
		if fits := known.Fits(bytes.NewReader(b)); same && !fits {
			t.Fatalf("the beginning is as it was, and does not fit: %d, %d, %d of %d", known.End, known.Executions, len(known.Payments), len(all))
		} else if fits {
			fit++
		} else {
			other++
		}
		if !slices.Equal(paid, want) {
			t.Fatalf("it knows %d payments, want %d", len(paid), len(want))
		}
		newest := 0
		for _, r := range slices.Backward(edited) {
			if r.tick == 0 {
				continue
			}
			if newest++; newest > Recent {
				break
			}
			if !f.Has(name(r.tick)) || !f.After(name(r.tick-1)) {
				t.Fatalf("it does not have the receipt of tick %d", r.tick)
			}
		}
	}
	if fit < 20 || other < 20 {
		t.Errorf("%d fit, and %d do not", fit, other)
	}

	// So many are gone that a payment takes the place of one that was known.
	var all []one
	for tick := uint64(281); tick < 900; tick++ {
		if all = append(all, newOne(tick)); tick == 310 {
			p := &receipt.Payment{Recipient: "bob"}
			p.Memo = strings.Repeat("m", receipt.ExecutionSize-len(p.Append(nil)))
			p.Signature = signature
			all = append(all, one{p.Append(nil), 0})
		}
	}
	if f, paid := open(join(all), &Beginning{End: 300 * int64(receipt.ExecutionSize), Executions: 300, Tick: 300}); len(paid) != 1 || f.Read() != 0 {
		t.Errorf("it knows %d payments", len(paid))
	}
}

package authority_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/dir"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

var agent = verifier.PublicKey{1}

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// begin is the first position of an agent.
func begin(owner, writer byte) authority.Position {
	return authority.Position{Sequence: 1, State: authority.Active, Owner: verifier.PublicKey{owner}, Writer: authority.WriterID{writer},
		Head: hash("head"), Journal: hash("journal"), Log: hash("log")}
}

// positions draws what may follow a position, and what may not.
func draw(t *rapid.T, prev authority.Position) authority.Position {
	next := prev
	next.Sequence += rapid.SampledFrom([]uint64{1, 1, 1, 1, 1, 0, 2}).Draw(t, "sequence")
	next.State = rapid.SampledFrom([]authority.State{authority.Active, authority.Active, authority.Active, authority.HandingOver, authority.HandingOver, authority.Recovery, authority.Retired}).Draw(t, "state")
	next.Record = verifier.Hash{}
	if next.State == authority.HandingOver || next.State == authority.Retired || rapid.Bool().Draw(t, "record") {
		next.Record = hash("record")
	}
	next.Major += rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "major")
	next.Generation += rapid.SampledFrom([]uint64{0, 0, 1}).Draw(t, "generation")
	if rapid.Bool().Draw(t, "other") {
		next.Owner = verifier.PublicKey{byte(rapid.IntRange(1, 3).Draw(t, "owner"))}
		next.Writer = authority.WriterID{byte(rapid.IntRange(1, 3).Draw(t, "writer"))}
	}
	if rapid.Bool().Draw(t, "change") {
		next.Log = hash(fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "log")))
	}
	return next
}

// TestRules draws lives of positions, and holds what the rules allow against what they
// are for.
func TestRules(t *testing.T) {
	steps := map[authority.Step]int{}
	check := func(t *rapid.T) {
		at := begin(1, 1)
		if _, err := (&authority.Position{}).Allows(&at); err != nil {
			t.Fatal(err)
		}
		settled := false // by an operator, in this step
		for range rapid.IntRange(20, 200).Draw(t, "length") {
			next := draw(t, at)
			step, err := at.Allows(&next)
			if err != nil {
				if _, ok := errors.AsType[*authority.RuleError](err); !ok {
					t.Fatal(err)
				}
				continue
			}
			steps[step]++
			settled = step == authority.Settles
			changed := at.Head != next.Head || at.Journal != next.Journal || at.Log != next.Log || at.Paid != next.Paid
			switch {
			case at.State == authority.Retired:
				t.Fatalf("a retired agent goes on: %v", step)
			case next.Sequence != at.Sequence+1:
				t.Fatalf("append %d after %d", next.Sequence, at.Sequence)
			case changed && at.Writer != next.Writer && !settled:
				t.Fatalf("%v: one goes on from what another one did not append", step)
			case changed && at.State == authority.HandingOver:
				t.Fatalf("%v: a life goes on while it is handed over", step)
			case next.Major < at.Major || next.Generation < at.Generation || next.Major+next.Generation > at.Major+at.Generation+1:
				t.Fatalf("%v counts from %d, %d to %d, %d", step, at.Major, at.Generation, next.Major, next.Generation)
			case next.Owner != at.Owner && next.Major+next.Generation == at.Major+at.Generation:
				t.Fatalf("%v: another owner, and nothing counts it", step)
			case next.Major > at.Major && (at.State != authority.HandingOver || at.Record != next.Record):
				t.Fatalf("%v: a hand-over that was not offered", step)
			case next.State == authority.Active && at.State == authority.Recovery && !settled:
				t.Fatalf("%v ends a recovery", step)
			}
			at = next
		}
	}
	// Some steps are rare.
	for round := 0; round < 5 && len(steps) < int(authority.Settles-authority.Proceeds)+1; round++ {
		rapid.Check(t, check)
	}
	for s := authority.Proceeds; s <= authority.Settles; s++ {
		if steps[s] == 0 {
			t.Errorf("no step %d was drawn", s)
		}
	}
}

// TestTwoProcesses has processes that all believe to own an agent act after each append
// that succeeded, with everything going wrong between them and the store: of one position
// on, only one acts. Without the compare, several do.
func TestTwoProcesses(t *testing.T) {
	run := func(seed uint64, careless bool) (twice, acts int) {
		synctest.Test(t, func(t *testing.T) {
			store := authoritytest.NewStore()
			store.Careless = careless
			first := begin(9, 9)
			if err := store.Append(t.Context(), agent, authority.Position{}, first); err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			acted := map[authority.Position]int{} // by what was before
			var all sync.WaitGroup
			for p := range 2 {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, uint64(p)))
					for life := range 4 { // a process that dies is begun again
						c := store.NewClient(rng.Uint64(), authoritytest.Faults{Unanswered: 10, Unasked: 10, Late: 10, Crash: 2})
						c.Turn = func() { time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond) }
						// Both have the same node key: all that tells them apart is the Writer.
						writer := authority.WriterID{byte(1 + p), byte(life), 1}
						at, err := c.Read(t.Context(), agent)
						for ; err != nil && !c.Dead(); at, err = c.Read(t.Context(), agent) {
						}
						next := at
						next.Writer = writer
						for n := 0; n < 12 && err == nil; n++ {
							next.Sequence = at.Sequence + 1
							ctx, stop := context.WithTimeout(t.Context(), time.Minute)
							err = authority.Settle(ctx, c, agent, at, next)
							stop()
							if err == nil {
								mu.Lock()
								acted[at]++
								acts++
								mu.Unlock()
								at = next
								next.Log = hash(fmt.Sprint("log", n)) // which the twin appends as well
							}
						}
					}
				})
			}
			all.Wait()
			for _, n := range acted {
				if n > 1 {
					twice++
				}
			}
		})
		return twice, acts
	}
	runs := uint64(200)
	bad, acts := 0, 0
	for seed := range runs {
		twice, n := run(seed, false)
		acts += n
		if twice > 0 {
			t.Errorf("seed %d: %d positions from which two went on", seed, twice)
		}
		twice, _ = run(seed, true)
		bad += min(1, twice)
	}
	if acts < int(runs)*10 || bad < int(runs)/2 {
		t.Errorf("%d acts; without the compare %d of %d runs go wrong", acts, bad, runs)
	}
}

func specimen() (verifier.PublicKey, authority.Position) {
	var p authority.Position
	var of verifier.PublicKey
	hexInto(of[:], "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
	p.Sequence, p.State, p.Major, p.Generation = 7, authority.Active, 1, 2
	hexInto(p.Owner[:], "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7")
	for i := range p.Writer {
		p.Writer[i] = byte(0x40 + i)
	}
	hexInto(p.Head[:], "0e54eb15f6aa5a194987b89b798a7e436e1eeba5d117e9ac2cee2229a10c2b0d")
	p.Journal, p.Log, p.Paid = hash("journal"), hash("log"), authority.ChainPaid(verifier.Hash{}, []byte("receipt"))
	return of, p
}

func hexInto(dst []byte, s string) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(dst) {
		panic(s)
	}
	copy(dst, b)
}

func TestSpec(t *testing.T) {
	of, p := specimen()
	if got, want := p.Append(nil, of), testkit.SpecBytes(t, "../docs/spec", "position.md", "hex position"); string(got) != string(want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, got)
	}
	if got, want := p.Hash(of), testkit.SpecBytes(t, "../docs/spec", "position.md", "hex hash"); string(got[:]) != string(want) {
		t.Errorf("the page has the hash %x, and it is %x", want, got[:])
	}
	b := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: hash("log")}, Needs: []authority.Name{{Kind: authority.Payload, Hash: hash("payload")}}, Data: []byte("log")}
	if got, want := b.Append(nil), testkit.SpecBytes(t, "../docs/spec", "position.md", "hex blob"); string(got) != string(want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, got)
	}
}

// TestEveryByte changes every byte of a position and of a blob, and cuts it everywhere:
// it is another one or none, and never the same.
func TestEveryByte(t *testing.T) {
	of, p := specimen()
	raw := p.Append(nil, of)
	for i := range raw {
		for _, b := range [][]byte{append(append([]byte(nil), raw[:i]...), append([]byte{raw[i] ^ 1}, raw[i+1:]...)...), raw[:i]} {
			agent, got, err := authority.ParsePosition(b)
			if err == nil && (got == p && agent == of || string(got.Append(nil, agent)) != string(b)) {
				t.Fatalf("byte %d: it is %+v", i, got)
			}
			if err != nil && len(b) == len(raw) && i >= 17 && i != 17+32+8 {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
}

func FuzzPosition(f *testing.F) {
	of, p := specimen()
	f.Add(p.Append(nil, of))
	f.Fuzz(func(t *testing.T, b []byte) {
		if agent, p, err := authority.ParsePosition(b); err == nil && string(p.Append(nil, agent)) != string(b) {
			t.Errorf("%x is %x", b, p.Append(nil, agent))
		}
	})
}

func FuzzBlob(f *testing.F) {
	f.Add((&authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: hash("log")}, Needs: []authority.Name{{Kind: authority.Payload, Hash: hash("p")}}, Data: []byte("log")}).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if b, err := authority.ParseBlob(raw); err == nil && string(b.Append(nil)) != string(raw) {
			t.Errorf("%x is %x", raw, b.Append(nil))
		}
	})
}

// store is what both stores are.
type store interface {
	authority.Authority
	authority.Replica
}

// TestReplicas holds both stores to what a replica does: it serves what the accepted
// position names, and drops what lost.
func TestReplicas(t *testing.T) {
	inFolder, err := dir.Open(t.TempDir() + "/store")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]store{"memory": authoritytest.NewStore(), "folder": inFolder} {
		t.Run(name, func(t *testing.T) { testReplica(t, s) })
	}
}

func testReplica(t *testing.T, s store) {
	ctx := t.Context()
	chunk := func(kind authority.Kind, name, before string, needs ...authority.Name) authority.Blob {
		b := authority.Blob{Name: authority.Name{Kind: kind, Hash: hash(name)}, Needs: needs, Data: []byte(name)}
		if before != "" {
			b.Before = hash(before)
		}
		return b
	}
	put := func(sequence uint64, blobs ...authority.Blob) {
		t.Helper()
		if err := s.Put(ctx, agent, sequence, blobs...); err != nil {
			t.Fatal(err)
		}
	}
	payload := chunk(authority.Payload, "payload", "")
	first := begin(1, 1)
	put(1, chunk(authority.Checkpoint, "head", ""), chunk(authority.Log, "log", ""), chunk(authority.Journal, "journal", ""))
	if _, err := s.Get(ctx, agent, first, first.Names()[0]); err == nil {
		t.Error("it serves what was not accepted")
	}
	if err := s.Append(ctx, agent, authority.Position{}, first); err != nil {
		t.Fatal(err)
	}
	won, lost := first, first
	won.Sequence, lost.Sequence = 2, 2
	won.Log, lost.Log, lost.Head = hash("log 2"), hash("log 2 that lost"), hash("head that lost")
	put(2, chunk(authority.Checkpoint, "head that lost", ""), chunk(authority.Log, "log 2 that lost", "log"))
	put(2, chunk(authority.Log, "log 2", "log", payload.Name), payload)
	put(3, chunk(authority.Log, "log 3", "log 2"))
	if err := s.Append(ctx, agent, first, won); err != nil {
		t.Fatal(err)
	}
	conflict := &authority.Conflict{}
	if err := s.Append(ctx, agent, first, lost); !errors.As(err, &conflict) || conflict.Have != won {
		t.Errorf("the second append: %v", err)
	}
	for range 2 { // before what lost is dropped, and after
		names := 0
		err := won.Walk(func(n authority.Name) (authority.Blob, error) { return s.Get(ctx, agent, won, n) },
			func(b *authority.Blob) error { names++; return nil })
		if err != nil || names != 5 {
			t.Errorf("%d blobs, %v", names, err)
		}
		for _, n := range append(lost.Names()[:2], authority.Name{Kind: authority.Log, Hash: hash("log 3")}) {
			if _, err := s.Get(ctx, agent, won, n); !errors.Is(err, authority.ErrNotNamed) {
				t.Errorf("%s: %v", n, err)
			}
		}
		if err := s.Accept(ctx, agent, won); err != nil {
			t.Fatal(err)
		}
	}
	if m, ok := s.(*authoritytest.Store); ok && m.Kept(agent) != 6 {
		t.Errorf("%d blobs are kept", m.Kept(agent))
	}
	third := won
	third.Sequence, third.Log = 3, hash("log 3")
	if err := s.Append(ctx, agent, won, third); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Get(ctx, agent, third, third.Names()[1]); err != nil || string(b.Data) != "log 3" {
		t.Errorf("what was put for a later append: %v", err)
	}
	if rule := (&authority.RuleError{}); !errors.As(s.Append(ctx, agent, third, won), &rule) {
		t.Error("it goes back")
	}
	if _, err := s.Read(ctx, verifier.PublicKey{77}); !errors.Is(err, authority.ErrNone) {
		t.Errorf("an agent that is unknown: %v", err)
	}
}

// TestWeakAgent has an entry, and terms, of a key of small order, as which anybody signs
// anything.
func TestWeakAgent(t *testing.T) {
	weak := verifier.PublicKey{1} // the neutral element
	e := authority.Entry{Agent: weak, Position: begin(1, 1), Signature: [64]byte{1}}
	if !ed25519.Verify(weak[:], e.Position.Append(nil, weak), e.Signature[:]) {
		t.Fatal("this is no signature of it")
	}
	if err := e.Check(); err == nil {
		t.Error("its position is believed")
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	b, err := (&authority.Terms{Agent: weak}).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-64:], e.Signature[:])
	if _, err := authority.ParseTerms(b); err == nil {
		t.Error("its terms are believed")
	}
}

package authority_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/verifier"
)

// A segmentOf is a life's open segment as replicas are given it: in pieces by one process,
// and whole by the next one.
type segmentOf struct {
	number, length int
	mark           int // of what this process put; 0 = nothing
	at             authority.Position
}

func (s *segmentOf) name(n int) verifier.Hash { return hash(fmt.Sprint(s.number, " ", n)) }

func (s *segmentOf) bytes(from, to int) (b []byte) {
	for i := from; i < to; i++ {
		b = fmt.Append(b, s.number, ".", i, " ")
	}
	return b
}

// next is the next append, and what is put for it.
func (s *segmentOf) next(rng *rand.Rand) (p authority.Position, blobs []authority.Blob) {
	p = s.at
	p.Sequence++
	if rng.IntN(6) == 0 || s.number == 0 { // a checkpoint
		s.number, s.length, s.mark = s.number+1, 0, 0
		p.Head, p.Journal = hash(fmt.Sprint("head ", s.number)), hash(fmt.Sprint("journal ", s.number))
		for kind, name := range map[authority.Kind]verifier.Hash{authority.Checkpoint: p.Head, authority.Journal: p.Journal} {
			blobs = append(blobs, authority.Blob{Name: authority.Name{Kind: kind, Hash: name}, Data: []byte("x")})
		}
	}
	if rng.IntN(3) > 0 || s.length == 0 {
		s.length++
	}
	if s.mark < s.length {
		b := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: s.name(s.length)}, Data: s.bytes(s.mark, s.length)}
		if s.mark > 0 {
			b.Before = s.name(s.mark)
		}
		blobs = append(blobs, b)
		s.mark = s.length
	}
	p.Log = s.name(s.length)
	return p, blobs
}

// TestMajorityHasIt has processes, one after the other, put what they append at a majority
// of three members, each of which gets the rest late, in another order, or never: whatever
// majority is there, it has all that the newest position names.
func TestMajorityHasIt(t *testing.T) {
	ctx := t.Context()
	for _, seed := range []uint64{1, 9, 61} { // the last two are found out where one version of each name is looked at
		rng := rand.New(rand.NewPCG(seed, 1))
		folder := t.TempDir()
		var members [3]authority.Replica
		open := func(i int) {
			var err error
			if members[i], err = dir.Blobs(filepath.Join(folder, fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range members {
			open(i)
		}
		life := &segmentOf{at: begin(1, 1)}
		life.at.Sequence = 0
		var late []func() error
		var takes int
		for step := range 40 {
			if rng.IntN(5) == 0 {
				life.mark = 0 // another process goes on
			}
			if rng.IntN(10) == 0 {
				open(rng.IntN(3)) // a member is started again
			}
			p, blobs := life.next(rng)
			without := rng.IntN(4) // 3 = nobody
			for i, m := range members {
				put := func() error { return m.Put(ctx, agent, p.Sequence, blobs...) }
				if i != without {
					if err := put(); err != nil {
						t.Fatal(err)
					}
				} else if rng.IntN(2) == 0 {
					late = append(late, put)
				}
			}
			life.at = p
			for _, m := range members {
				if rng.IntN(2) == 0 {
					m.Accept(ctx, agent, p) // what it does not have is no matter
				}
			}
			for len(late) > 0 && rng.IntN(3) == 0 {
				i := rng.IntN(len(late))
				if err := late[i](); err != nil {
					t.Fatal(err)
				}
				late = slices.Delete(late, i, i+1)
			}
			away := rng.IntN(3)
			there := authority.Replicas{Places: slices.Delete(slices.Clone(members[:]), away, away+1)}
			if err := takesIt(ctx, life, &there); err != nil {
				t.Fatalf("seed %d, step %d, without member %d: %v", seed, step, away, err)
			}
			takes++
		}
		if takes == 0 {
			t.Error("nothing was taken")
		}
	}
}

// takesIt does what a successor does.
func takesIt(ctx context.Context, life *segmentOf, r *authority.Replicas) error {
	all, err := life.at.Gather(r.Versions(ctx, agent, life.at, 0))
	if err != nil {
		return err
	}
	var got []byte
	for at := life.at.Log; !at.IsZero(); {
		b := all[authority.Name{Kind: authority.Log, Hash: at}]
		got, at = append(slices.Clone(b.Data), got...), b.Before
	}
	if want := life.bytes(0, life.length); string(got) != string(want) {
		return fmt.Errorf("it is %q, and was %q", got, want)
	}
	return nil
}

// silentPlace never answers.
type silentPlace struct{ authority.Replica }

func (silentPlace) Get(ctx context.Context, _ verifier.PublicKey, _ authority.Position, _ authority.Name) (authority.Blob, error) {
	<-ctx.Done()
	return authority.Blob{}, ctx.Err()
}

// appended is a life of some appends, and a place that has it all.
func appended(t *testing.T) (*segmentOf, authority.Replica) {
	t.Helper()
	blobs, err := dir.Blobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	life := &segmentOf{at: begin(1, 1)}
	life.at.Sequence = 0
	rng := rand.New(rand.NewPCG(1, 1))
	for range 12 {
		p, put := life.next(rng)
		if err := blobs.Put(t.Context(), agent, p.Sequence, put...); err != nil {
			t.Fatal(err)
		}
		life.at = p
	}
	return life, blobs
}

// TestSilentPlace has a member that stands still be the one that is asked first: it costs
// the patience for it once, and not for each blob.
func TestSilentPlace(t *testing.T) {
	life, blobs := appended(t)
	asked := 0
	r := authority.Replicas{Places: []authority.Replica{countedPlace{silentPlace{}, &asked}, blobs}}
	all, err := life.at.Gather(r.Versions(t.Context(), agent, life.at, 0))
	if err != nil || len(all) < 3 || asked != 1 {
		t.Errorf("%d blobs, %v, and the silent one was asked %d times", len(all), err, asked)
	}
	// All that is known where nobody has it is what each says.
	ctx, stop := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer stop()
	r.Places = []authority.Replica{blobs, silentPlace{}}
	_, err = r.Get(ctx, agent, life.at, authority.Name{Kind: authority.Log, Hash: hash("nothing")})
	if !errors.Is(err, authority.ErrNotNamed) || strings.Contains(err.Error(), authority.ErrMissing.Error()) {
		t.Errorf("what nobody names: %v", err)
	}
}

type countedPlace struct {
	authority.Replica
	n *int
}

func (c countedPlace) Get(ctx context.Context, a verifier.PublicKey, p authority.Position, n authority.Name) (authority.Blob, error) {
	*c.n++
	return c.Replica.Get(ctx, a, p, n)
}

// An endlessPlace has a piece for every name. Each continues another one, or needs others.
type endlessPlace struct {
	authority.Replica
	needs       int
	data        []byte
	gave, bytes *int
}

func (e endlessPlace) Get(_ context.Context, _ verifier.PublicKey, _ authority.Position, name authority.Name) (authority.Blob, error) {
	*e.gave++
	*e.bytes += len(e.data)
	b := authority.Blob{Name: name, Data: e.data}
	next := func(i int) verifier.Hash { return sha256.Sum256(fmt.Appendf(nil, "%s %d", name, i)) }
	if name.Kind != authority.Checkpoint {
		b.Before = next(-1)
	}
	for i := range e.needs {
		b.Needs = append(b.Needs, authority.Name{Kind: authority.Log, Hash: next(i)})
	}
	return b, nil
}

// TestEndlessPlace has a member, or all, give pieces that go on for ever: there is an end to
// it, and what another one has is taken.
func TestEndlessPlace(t *testing.T) {
	life, blobs := appended(t)
	from := func(p authority.Replica) func(authority.Name) iter.Seq2[authority.Blob, error] {
		return func(name authority.Name) iter.Seq2[authority.Blob, error] {
			return func(yield func(authority.Blob, error) bool) { yield(p.Get(t.Context(), agent, life.at, name)) }
		}
	}
	for what, e := range map[string]endlessPlace{"a chain": {}, "many of each": {needs: 3}, "large ones": {data: make([]byte, 64<<20)}} {
		gave, bytes := 0, 0
		e.gave, e.bytes = &gave, &bytes
		if _, err := life.at.Gather(from(e)); err == nil {
			t.Errorf("%s: it is taken", what)
		}
		if gave > authority.MaxBlobs+1 || bytes > authority.MaxTotal+2*len(e.data) {
			t.Errorf("%s: %d pieces of %d bytes were taken", what, gave, bytes)
		}
	}
	gave, bytes := 0, 0
	e := endlessPlace{gave: &gave, bytes: &bytes}
	r := authority.Replicas{Places: []authority.Replica{e, blobs}}
	if all, err := life.at.Gather(r.Versions(t.Context(), agent, life.at, 1)); err != nil || len(all) < 3 {
		t.Errorf("another one, which is asked first, has it whole, and %d are taken: %v", len(all), err)
	}
	err := life.at.Walk(func(n authority.Name) (authority.Blob, error) { return e.Get(t.Context(), agent, life.at, n) },
		func(*authority.Blob) error { return nil })
	if err == nil {
		t.Error("all of it was walked")
	}
}

package fleet_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/verifier"
)

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func public(k ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(k.Public().(ed25519.PublicKey))
}

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

func TestParseMembers(t *testing.T) {
	did := public(key(1)).DID()
	all, err := fleet.ParseMembers(did + "@a.example:1, " + public(key(2)).DID() + "@[::1]:2")
	if err != nil || len(all) != 2 || all[1].Address != "[::1]:2" || all[0].String() != did+"@a.example:1" {
		t.Fatalf("%v, %v", all, err)
	}
	for _, bad := range []string{"", did, did + "@", did + "@a", did + "@a:", did + "@:1", did + "@a/b:1", did + "@a:1," + did + "@b:1", "did:key:z6Mk@a:1", did + "@a b:1", did + "@user@a:1"} {
		if all, err := fleet.ParseMembers(bad); err == nil {
			t.Errorf("%q is %v", bad, all)
		}
	}
}

func FuzzParseMembers(f *testing.F) {
	f.Add(public(key(1)).DID() + "@a.example:1")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := fleet.ParseMembers(s)
		if err != nil {
			return
		}
		for _, m := range all {
			if again, err := fleet.ParseMember(m.String()); err != nil || again != m {
				t.Errorf("%v reads as %v, %v", m, again, err)
			}
		}
	})
}

// world is nodes that go on with one agent one after the other, and what each remembers.
type world struct {
	at    authority.Position
	seen  map[string]authority.Seen
	chain []authority.Position
	n     int
}

func (w *world) entry(p authority.Position) authority.Entry {
	return authority.Entry{Agent: public(key(1)), Position: p}
}

func (w *world) name(owner verifier.PublicKey) string {
	for n := range byte(10) {
		if public(key(n)) == owner {
			return fmt.Sprint("node ", n)
		}
	}
	return ""
}

// step has a node append, as the process that it is or as another one.
func (w *world) step(node byte, again bool) {
	name := fmt.Sprint("node ", node)
	next := w.at
	next.Sequence++
	w.n++
	s := w.seen[name]
	switch owner := public(key(node)); {
	case w.at.IsZero():
		next = authority.Position{Sequence: 1, State: authority.Active, Owner: owner, Writer: authority.WriterID{byte(w.n), 1}, Head: hash("h"), Journal: hash("j"), Log: hash("l")}
		s.Found = authority.Entry{}
	case w.at.Owner != owner:
		next.Owner, next.Writer, next.Generation = owner, authority.WriterID{byte(w.n), 1}, next.Generation+1
		s.Found = w.entry(w.at)
	case again || s.Newest.Position != w.at:
		next.Writer = authority.WriterID{byte(w.n), 1}
		s.Found = w.entry(w.at)
	default:
		next.Log = hash(fmt.Sprint("log", w.n))
	}
	s.Newest = w.entry(next)
	w.seen[name], w.at, w.chain = s, next, append(w.chain, next)
}

// TestNewest draws lives over nodes, and stores that forget. Where nothing was forgotten, or
// nobody went on after it was, the newest position is found; where somebody did without
// knowing, nobody's word is taken for it.
func TestNewest(t *testing.T) {
	cases := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{seen: map[string]authority.Seen{}}
		live := func(least, most int) {
			for range rapid.IntRange(least, most).Draw(t, "steps") {
				w.step(rapid.SampledFrom([]byte{2, 2, 2, 3, 4}).Draw(t, "node"), rapid.IntRange(0, 4).Draw(t, "again") == 0)
			}
		}
		live(1, 30)
		truth := w.at
		nodes := map[string][]authority.Seen{}
		remember := func() {
			for name, s := range w.seen {
				nodes[name] = []authority.Seen{s}
			}
		}
		forgot := rapid.IntRange(0, len(w.chain)-1).Draw(t, "forgot")
		kept := w.chain[:len(w.chain)-forgot]
		store := []authority.Entry{w.entry(kept[len(kept)-1])}
		if rapid.Bool().Draw(t, "all") {
			store = nil
		}
		remember()
		f := fleet.Compare(store, nodes)
		newest := w.seen[w.name(truth.Owner)]
		fellFar := forgot > 0 && store != nil && store[0].Position.Writer != truth.Writer && store[0].Position != newest.Found.Position
		if fellFar { // an operator has to look
			if len(f) != 1 || f[0].Verdict() != fleet.Divided {
				t.Fatalf("a store that fell back to before what its owner found: %+v", f)
			}
			cases["fell far"]++
			return
		}
		if len(f) != 1 || f[0].Newest == nil || f[0].Newest.Position != truth {
			t.Fatalf("of %d positions, %d forgotten: %+v", len(w.chain), forgot, f)
		}
		want := fleet.Lost
		if forgot == 0 && store != nil {
			want = fleet.Fine
		}
		if f[0].Verdict() != want {
			t.Fatalf("the verdict is %d", f[0].Verdict())
		}
		cases[fmt.Sprint("verdict ", want)]++
		// A node that had not been there goes on from what the store has.
		if forgot == 0 || store == nil {
			return
		}
		w.at = kept[len(kept)-1]
		w.step(9, false)
		for range rapid.IntRange(0, 40).Draw(t, "astray") {
			w.step(9, false)
		}
		remember()
		f = fleet.Compare([]authority.Entry{w.entry(w.at)}, nodes)
		if f[0].Verdict() != fleet.Divided {
			t.Fatalf("after %d of %d positions were forgotten and somebody went on: %d, %+v", forgot, len(w.chain), f[0].Verdict(), f[0].Newest)
		}
		cases["divided"]++
	})
	if len(cases) != 4 {
		t.Errorf("only %v", cases)
	}
}

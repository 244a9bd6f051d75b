package member_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"
	"testing"

	"igor.dev/authority"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// counted keeps count of what a member has it keep, as the specification has it: each blob
// counts 4,096 bytes beside its own, and 33 for each that it needs.
type counted struct {
	authority.Replica
	since map[verifier.PublicKey]int // the agent's last append
	calls int
}

func (c *counted) Put(_ context.Context, agent verifier.PublicKey, _ uint64, blobs ...authority.Blob) error {
	c.calls++
	for _, b := range blobs {
		c.since[agent] += 4096 + len(b.Data) + 33*len(b.Needs)
	}
	return nil
}

func (c *counted) Accept(context.Context, verifier.PublicKey, authority.Position) error { return nil }

// FuzzPut has two nodes put blobs for three agents, begin them, go on and say so, in any
// order: never is there more of an agent since its last append than it may have, nor of all
// that did not begin, and nobody puts for another one's.
func FuzzPut(f *testing.F) {
	const (
		most, unborn       = 40 << 10, 60 << 10
		put, appends, says = 0, 1, 2 // what is done; then for which of three agents, by which of two nodes, and how much
	)
	f.Add([]byte{put, 0, 0, 7, appends, 0, 0, 0, put, 0, 0, 7, says, 0, 0, 0, put, 0, 0, 7, put, 0, 0, 7}) // more than there may be
	f.Add([]byte{put, 0, 0, 7, put, 1, 0, 7, put, 2, 0, 7, appends, 1, 0, 0, put, 2, 1, 7})                // before they begin
	f.Add([]byte{appends, 0, 0, 0, put, 0, 1, 1, says, 0, 1, 0, put, 0, 0, 255, appends, 0, 0, 0, put, 0, 0, 255})
	f.Add([]byte{put, 0, 0, 8, put, 1, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		replica := &counted{since: map[verifier.PublicKey]int{}}
		m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: replica, Pending: most, Unborn: unborn})
		if err != nil {
			t.Fatal(err)
		}
		at := map[verifier.PublicKey]authority.Position{}
		for ops = ops[:min(len(ops), 4*64)]; len(ops) >= 4; ops = ops[4:] {
			key := modelKey(1 + ops[1]%3)
			agent, node := verifier.PublicKey(key.Public().(ed25519.PublicKey)), nodeKey(int(ops[2]%2))
			prev := at[agent]
			mine := prev == (authority.Position{}) || prev.Owner == node
			was := maps.Clone(replica.since)
			switch ops[0] % 3 {
			case put:
				r := protocol.Request{Kind: protocol.Put, Agent: agent, Sequence: uint64(ops[3])}
				for i := range ops[3] % 12 {
					b := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: verifier.Hash{1 + i}}, Data: make([]byte, int(ops[3])*16)}
					for range i {
						b.Needs = append(b.Needs, authority.Name{Kind: authority.Log, Hash: verifier.Hash{9}})
					}
					r.Blobs = append(r.Blobs, b)
				}
				a := m.Do(t.Context(), node, &r)
				if a.Status != protocol.Done && !maps.Equal(was, replica.since) {
					t.Errorf("it answers %s, and kept it", a.Status)
				}
				if !mine && (a.Status != protocol.Refused || a.Code != authority.NotOwner) {
					t.Errorf("a node put for another one's agent: %s", a.Status)
				}
			case appends:
				next := authority.Position{Sequence: prev.Sequence + 1, State: authority.Active, Owner: node, Writer: authority.WriterID{1}, Head: named("head"), Journal: named("journal"), Log: named("log")}
				e := authority.Entry{Agent: agent, Position: next}
				if err := e.Sign(key); err != nil {
					t.Fatal(err)
				}
				a := m.Do(t.Context(), node, &protocol.Request{Kind: protocol.Append, Agent: agent, Prev: prev, Next: e})
				if mine != (a.Status == protocol.Done) {
					t.Fatalf("an append of its owner: %v, and it is %s", mine, a.Status)
				}
				if mine {
					at[agent] = next
					delete(replica.since, agent)
				}
			case says:
				m.Do(t.Context(), node, &protocol.Request{Kind: protocol.Accept, Agent: agent})
			}
			waiting := 0
			for agent, n := range replica.since {
				if n > most {
					t.Fatalf("%d bytes since its append %d, and it may have %d", n, at[agent].Sequence, most)
				}
				if at[agent] == (authority.Position{}) {
					waiting += n
				}
			}
			if waiting > unborn {
				t.Fatalf("%d bytes of agents that did not begin, and there may be %d", waiting, unborn)
			}
		}
	})
}

// TestManyPut has many agents put something, and nothing, and not go on: the others are
// served as before, and the count of them does not grow without end.
func TestManyPut(t *testing.T) {
	replica := &counted{since: map[verifier.PublicKey]int{}}
	m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: replica})
	if err != nil {
		t.Fatal(err)
	}
	blob := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: named("log")}}
	do := func(n int, blobs ...authority.Blob) protocol.Answer {
		agent := verifier.PublicKey{byte(n), byte(n >> 8), byte(n >> 16), 1}
		return m.Do(t.Context(), nodeKey(0), &protocol.Request{Kind: protocol.Put, Agent: agent, Sequence: 1, Blobs: blobs})
	}
	for n := range 66_000 {
		if a := do(n); a.Status != protocol.Done {
			t.Fatalf("nothing for agent %d: %s, %s", n, a.Status, a.Reason)
		}
	}
	if replica.calls > 0 || m.Counts() > 0 {
		t.Errorf("of nothing, %d were kept, and %d are counted", replica.calls, m.Counts())
	}
	for n := range 66_000 {
		if a := do(n, blob); a.Status != protocol.Done {
			t.Fatalf("agent %d: %s, %s", n, a.Status, a.Reason)
		}
	}
	if n := m.Counts(); n > 66_000 {
		t.Errorf("%d are counted", n)
	}
}

// A liar is a member that gives pieces as a fuzzer has it.
type liar struct {
	authority.Replica
	script []byte
	at     int
}

func (l *liar) Get(_ context.Context, _ verifier.PublicKey, _ authority.Position, name authority.Name) (authority.Blob, error) {
	next := func() (b byte) {
		if l.at < len(l.script) {
			b = l.script[l.at]
			l.at++
		}
		return b
	}
	b := authority.Blob{Name: name}
	how := next()
	if how == 0 {
		return authority.Blob{}, authority.ErrMissing
	}
	if how&1 > 0 {
		b.Name = pieceName(next())
	}
	if how&2 > 0 {
		b.Before = pieceName(next()).Hash
	}
	for range how >> 2 & 3 {
		b.Needs = append(b.Needs, pieceName(next()))
	}
	b.Data = []byte{next()}
	// As it is read of an answer.
	return authority.ParseBlob(b.Append(nil))
}

func pieceName(n byte) authority.Name {
	return authority.Name{Kind: authority.Log, Hash: sha256.Sum256([]byte{n % 8})}
}

// kept is what a member has of an agent, in memory. A blob is put in place of the one before.
type kept struct {
	blobs map[authority.Name]authority.Blob
	asked map[authority.Name]bool
	wrong []authority.Name // that were put, and nobody asked for
}

func (k *kept) Put(_ context.Context, _ verifier.PublicKey, _ uint64, blobs ...authority.Blob) error {
	for _, b := range blobs {
		if !k.asked[b.Name] {
			k.wrong = append(k.wrong, b.Name)
		}
		k.blobs[b.Name] = b
	}
	return nil
}

func (k *kept) Get(_ context.Context, _ verifier.PublicKey, _ authority.Position, name authority.Name) (authority.Blob, error) {
	if b, ok := k.blobs[name]; ok {
		return b, nil
	}
	k.asked[name] = true
	return authority.Blob{}, authority.ErrMissing
}

func (k *kept) Accept(_ context.Context, _ verifier.PublicKey, p authority.Position) error {
	return p.Walk(func(n authority.Name) (authority.Blob, error) {
		return k.Get(context.Background(), verifier.PublicKey{}, p, n)
	}, func(*authority.Blob) error { return nil })
}

// FuzzBring has a member bring what it misses from others of which one makes things up: what
// comes is what was asked for, it comes to an end, and what is said to be whole is.
func FuzzBring(f *testing.F) {
	f.Add([]byte{}, byte(1))
	f.Add([]byte{1, 3, 7, 1, 4, 7}, byte(0))          // of another name
	f.Add([]byte{2, 2, 1, 2, 3, 1, 2, 4, 1}, byte(3)) // a chain
	f.Add([]byte{2, 1, 7, 2, 2, 7, 2, 1, 7}, byte(0)) // a circle
	f.Add([]byte{12, 1, 2, 3, 9}, byte(1))
	f.Fuzz(func(t *testing.T, script []byte, first byte) {
		p := authority.Position{Sequence: 3, State: authority.Active, Head: named("head"), Journal: named("journal"), Log: pieceName(2).Hash}
		own := &kept{blobs: map[authority.Name]authority.Blob{}, asked: map[authority.Name]bool{}}
		whole := &kept{blobs: map[authority.Name]authority.Blob{}, asked: map[authority.Name]bool{}}
		for n := range byte(3) {
			b := authority.Blob{Name: pieceName(n), Data: []byte{n}}
			if n > 0 {
				b.Before = pieceName(n - 1).Hash
			}
			whole.blobs[b.Name] = b
		}
		for _, name := range p.Names() {
			if name.Kind != authority.Log {
				own.blobs[name] = authority.Blob{Name: name}
			}
		}
		places := []authority.Replica{&liar{script: script}, whole}
		if first&1 > 0 {
			slices.Reverse(places)
		}
		m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: own, Peers: &authority.Replicas{Places: places}})
		if err != nil {
			t.Fatal(err)
		}
		n, err := m.Bring(t.Context(), modelPublic(1), p)
		if len(own.wrong) > 0 {
			t.Errorf("%v were put, and nobody asked for them", own.wrong)
		}
		if n > 64 {
			t.Errorf("%d came, for %d", n, len(own.blobs))
		}
		if err != nil {
			if first&1 > 0 {
				t.Errorf("it was asked first who has all of it: %v", err)
			}
			return
		}
		if err := own.Accept(t.Context(), verifier.PublicKey{}, p); err != nil {
			t.Errorf("it is not whole: %v", err)
		}
	})
}

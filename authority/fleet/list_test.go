package fleet

import (
	"context"
	"testing"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// teller is a member that tells an operator of agents as a fuzzer has it, over and over
// again: a page is a byte, of which the upper half is what is wrong with it and the lower
// how many agents come, and a byte for each of those.
type teller struct {
	script []byte
	at     int
	asked  int
}

const (
	tellsMore  = 1 << 7
	tellsTerms = 1 << 6 // with so many bytes of terms
	tellsTrash = 1 << 5
)

func (s *teller) next() (b byte) {
	if len(s.script) > 0 {
		b = s.script[s.at%len(s.script)]
		s.at++
	}
	return b
}

func (s *teller) Do(_ context.Context, _ Member, request []byte) ([]byte, error) {
	s.asked++
	r, err := protocol.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	how := s.next()
	a := protocol.Answer{Status: protocol.Done, More: how&tellsMore > 0}
	for range how & 0xf {
		n := s.next()
		e := authority.Entry{Agent: verifier.PublicKey{1: n, 2: byte(s.asked), 3: byte(s.asked >> 8)}} // or it would be over soon
		if n&1 > 0 {
			e.Agent = verifier.PublicKey{1: n}
		}
		e.Position = authority.Position{Sequence: 1, State: authority.Recovery, Owner: verifier.PublicKey{1}, Writer: authority.WriterID{1}, Head: verifier.Hash{1}, Journal: verifier.Hash{1}, Log: verifier.Hash{1}}
		if how&tellsTerms > 0 {
			e.Terms = make([]byte, 1000)
		}
		a.Entries = append(a.Entries, e)
	}
	b := a.Append(nil, r.Kind)
	if how&tellsTrash > 0 {
		b[int(s.next())%len(b)] ^= s.next()
	}
	return b, nil
}

// FuzzList has a member tell an operator of agents in any way: it comes to an end soon, and
// no agent is told of twice.
func FuzzList(f *testing.F) {
	agents, bytes := maxListed, maxListedBytes
	f.Cleanup(func() { maxListed, maxListedBytes = agents, bytes })
	maxListed, maxListedBytes = 40, 16<<10
	for _, kind := range []bool{false, true} {
		f.Add(kind, []byte{tellsMore | 2, 2, 4, 1, 3}) // the end comes, and then it begins again
		f.Add(kind, []byte{tellsMore | 1, 2})          // one after the other, for ever
		f.Add(kind, []byte{tellsMore | 2, 1, 3})       // the same
		f.Add(kind, []byte{tellsMore | tellsTerms | 15, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30})
		f.Add(kind, []byte{tellsMore}) // none, and there are more
		f.Add(kind, []byte{tellsMore | tellsTrash | 2, 2, 4, 30, 1})
		f.Add(kind, []byte{3, 2, 2, 5})
	}
	f.Fuzz(func(t *testing.T, seen bool, script []byte) {
		member := Member{Key: verifier.PublicKey{7}, Address: "a.example:1"}
		tells := &teller{script: script}
		c, err := New(Config{Members: []Member{member}, Via: tells})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		told := map[verifier.PublicKey]bool{}
		size := 0
		was := func(e *authority.Entry, again bool) {
			if told[e.Agent] != again {
				t.Errorf("%s: it was told before: %v", e.Agent.DID(), told[e.Agent])
			}
			told[e.Agent] = true
			size += authority.PositionSize + len(e.Terms) + len(e.Record)
		}
		if seen {
			var all []authority.Seen
			if all, err = c.Seen(t.Context(), member); err == nil {
				for i := range all {
					was(&all[i].Newest, false)
					if !all[i].Found.Position.IsZero() {
						was(&all[i].Found, true)
					}
				}
			}
		} else {
			var all []authority.Entry
			if all, err = c.List(t.Context()); err == nil {
				for i := range all {
					was(&all[i], false)
				}
			}
		}
		if tells.asked > maxListed+2 || len(told) > maxListed || size > maxListedBytes {
			t.Errorf("it was asked %d times, and %d agents are taken, %d bytes", tells.asked, len(told), size)
		}
	})
}

package member_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"igor.dev/authority"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// The model of a member: one agent, some nodes with some processes each, which believe what
// they saw last, however old that is; a clock; and everything that was appended. It says of
// each request whether the member may do it, from docs/spec/authority.md, and the member has
// to do just that.

const (
	nodes    = 4 // 0, 1 and 2 are named in the agent's terms, 3 is not
	operator = 2 // and this one is an operator
)

func modelKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, 32))
}

func modelPublic(n byte) verifier.PublicKey {
	return verifier.PublicKey(modelKey(n).Public().(ed25519.PublicKey))
}

func nodeKey(i int) verifier.PublicKey { return modelPublic(byte(0x80 + i)) }

func named(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// A process is one of a node.
type process struct {
	node     int
	writer   authority.WriterID
	session  protocol.Session
	believes authority.Position
}

type model struct {
	t      *rapid.T
	member *member.Member
	now    time.Duration // of the store
	agent  ed25519.PrivateKey
	of     verifier.PublicKey

	at        authority.Position   // that counts
	accepted  []authority.Position // all that ever counted
	lease     time.Duration        // when the agent's lease runs out, on the store's clock
	holder    lease                // whose it is
	endless   bool
	leases    map[lease]time.Duration
	processes []*process
	requests  []sent // that can come again
	n         int
}

// A lease is one caller's: a session that another one sends again is another lease.
type lease struct {
	caller  int
	session protocol.Session
}

type sent struct {
	caller int
	r      protocol.Request
}

func newModel(t *rapid.T, careless bool) *model {
	m := &model{t: t, agent: modelKey(1), of: modelPublic(1), leases: map[lease]time.Duration{}}
	engine := member.NewMemory()
	engine.Careless = careless
	engine.Now = func() time.Duration { return m.now }
	var err error
	if m.member, err = member.New(member.Config{Engine: engine, Operators: []verifier.PublicKey{nodeKey(operator)}}); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		for range 2 {
			m.processes = append(m.processes, m.newProcess(i))
		}
	}
	return m
}

func (m *model) newProcess(node int) *process {
	m.n++
	return &process{node: node, writer: authority.WriterID{1, byte(m.n), byte(m.n >> 8)}, session: protocol.Session{2, byte(m.n), byte(m.n >> 8)}}
}

func (m *model) terms() []byte {
	allowed := []verifier.PublicKey{nodeKey(0), nodeKey(1), nodeKey(2)}
	slices.SortFunc(allowed, func(a, b verifier.PublicKey) int { return slices.Compare(a[:], b[:]) })
	b, err := (&authority.Terms{Agent: m.of, Nodes: allowed}).Sign(m.agent)
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// draw draws what a process tries, of what it believes.
func (m *model) draw(p *process) (next authority.Position, record []byte) {
	next = p.believes
	next.Sequence++
	next.Record = verifier.Hash{}
	m.n++
	something := named(fmt.Sprint("something ", m.n))
	switch kind := rapid.SampledFrom([]string{"proceed", "proceed", "proceed", "claim", "claim", "take over", "take over", "offer", "hand over", "withdraw", "dispute", "settle", "retire", "nonsense"}).Draw(m.t, "try"); kind {
	case "proceed":
		next.State, next.Log = authority.Active, something
	case "claim":
		next.State, next.Writer = authority.Active, p.writer
	case "take over":
		next.State, next.Writer, next.Owner, next.Generation = authority.Active, p.writer, nodeKey(p.node), next.Generation+1
	case "offer":
		next.State, next.Record = authority.HandingOver, something
	case "hand over":
		to := rapid.IntRange(0, nodes-1).Draw(m.t, "to")
		record = []byte(fmt.Sprint("record of ", m.n))
		next.State, next.Owner, next.Major, next.Record = authority.Active, nodeKey(to), next.Major+1, p.believes.Record
		next.Writer = authority.WriterID{9, byte(m.n)}
	case "withdraw":
		next.State = authority.Active
	case "dispute":
		next.State = authority.Recovery
	case "settle":
		next.State, next.Writer, next.Generation, next.Head = authority.Active, p.writer, next.Generation+1, something
	case "retire":
		if rapid.IntRange(0, 4).Draw(m.t, "really") > 0 {
			next.State, next.Log = authority.Active, something
			break
		}
		next.State, next.Record = authority.Retired, something
	case "nonsense":
		next.Sequence += rapid.Uint64Range(0, 2).Draw(m.t, "sequence")
		next.Owner = nodeKey(rapid.IntRange(0, nodes-1).Draw(m.t, "owner"))
		next.Major += rapid.Uint64Range(0, 1).Draw(m.t, "major")
	}
	return next, record
}

// left reports whether the lease on the agent runs.
func (m *model) left() bool {
	return m.endless || m.leases[m.holder] > m.now || m.lease > m.now
}

// may says what the spec says of an append.
func (m *model) may(caller int, r *protocol.Request, signed bool) bool {
	if r.Prev != m.at || !signed {
		return false
	}
	step, err := r.Prev.Allows(&r.Next.Position)
	if err != nil {
		return false
	}
	who, next := nodeKey(caller), &r.Next.Position
	named := func(k verifier.PublicKey) bool { return k != nodeKey(3) }
	switch step {
	case authority.Begins:
		return next.Owner == who
	case authority.TakesOver:
		return next.Owner == who && named(who) && (caller == operator || !m.left())
	case authority.HandsOver:
		return r.Prev.Owner == who && named(next.Owner) && len(r.Next.Record) > 0
	case authority.Disputes:
		return r.Prev.Owner == who || caller == operator
	case authority.Settles:
		return caller == operator
	}
	return r.Prev.Owner == who
}

// append sends an append, and holds the answer against the model. It returns what is wrong.
func (m *model) append(caller int, r *protocol.Request, signed bool) error {
	may := m.may(caller, r, signed)
	a := m.do(caller, r)
	switch {
	case a.Status == protocol.Done && !may:
		return fmt.Errorf("node %d appended what it may not: %+v after %+v, where %+v counts", caller, r.Next.Position, r.Prev, m.at)
	case a.Status != protocol.Done && may:
		return fmt.Errorf("node %d is refused what it may do: %s %s, %+v after %+v", caller, a.Status, a.Reason, r.Next.Position, r.Prev)
	case a.Status == protocol.Conflict && a.Have.Position != m.at:
		return fmt.Errorf("a conflict shows %+v, and %+v counts", a.Have.Position, m.at)
	case a.Status != protocol.Done:
		return nil
	}
	step, _ := r.Prev.Allows(&r.Next.Position)
	m.at = r.Next.Position
	m.accepted = append(m.accepted, m.at)
	by := lease{caller, r.Session}
	m.endless, m.lease, m.holder = false, 0, by
	switch {
	case step == authority.HandsOver:
		m.lease = m.now + member.DefaultLease
		m.holder = lease{}
	case r.Session == protocol.Session{}:
		m.endless = true
	case m.leases[by] <= m.now:
		m.leases[by] = m.now + member.DefaultLease
	}
	return nil
}

// do has the member answer bytes, as from a network.
func (m *model) do(caller int, r *protocol.Request) protocol.Answer {
	a, err := protocol.ParseAnswer(r.Kind, m.member.Serve(m.t.Context(), nodeKey(caller), r.Append(nil)))
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// act does one thing, and returns what is wrong.
func (m *model) act() error {
	p := rapid.SampledFrom(m.processes).Draw(m.t, "process")
	switch rapid.SampledFrom([]string{"append", "append", "append", "append", "append", "read", "read", "renew", "release", "time", "restart", "again", "forge"}).Draw(m.t, "act") {
	case "append":
		r := protocol.Request{Kind: protocol.Append, Prev: p.believes, Session: p.session}
		if rapid.IntRange(0, 9).Draw(m.t, "leaseless") == 0 {
			r.Session = protocol.Session{}
		}
		if p.believes.IsZero() {
			first := authority.Position{Sequence: 1, State: authority.Active, Owner: nodeKey(p.node), Writer: p.writer, Head: named("head"), Journal: named("journal"), Log: named("log")}
			r.Next = authority.Entry{Agent: m.of, Position: first, Terms: m.terms()}
		} else {
			next, record := m.draw(p)
			if record != nil && p.believes.State == authority.Active { // the whole of a hand-over
				offer := p.believes
				offer.Sequence, offer.State, offer.Record = offer.Sequence+1, authority.HandingOver, sha256.Sum256(record)
				o := protocol.Request{Kind: protocol.Append, Prev: p.believes, Session: p.session, Next: authority.Entry{Agent: m.of, Position: offer}}
				if err := m.send(p, &o); err != nil || p.believes != offer {
					return err
				}
				next.Sequence, next.Record = offer.Sequence+1, offer.Record
				r.Prev = offer
			}
			r.Next = authority.Entry{Agent: m.of, Position: next}
			if record != nil && sha256.Sum256(record) == next.Record {
				r.Next.Record = record
			}
		}
		return m.send(p, &r)
	case "read":
		a := m.do(p.node, &protocol.Request{Kind: protocol.Read, Agent: m.of})
		var have authority.Position
		switch a.Status {
		case protocol.Done:
			have = a.Entries[0].Position
			if (a.Lease > 0) != m.left() {
				return fmt.Errorf("a lease with %v left, and it runs: %v", a.Lease, m.left())
			}
		case protocol.Conflict:
			have = a.Have.Position
		}
		if have != m.at {
			return fmt.Errorf("node %d reads %+v, and %+v counts", p.node, have, m.at)
		}
		p.believes = have
	case "renew":
		a := m.do(p.node, &protocol.Request{Kind: protocol.Renew, Session: p.session, TTL: 15 * time.Second})
		if a.Status == protocol.Done {
			m.leases[lease{p.node, p.session}] = m.now + 15*time.Second
		}
	case "release":
		m.do(p.node, &protocol.Request{Kind: protocol.Release, Session: p.session})
		delete(m.leases, lease{p.node, p.session})
	case "time":
		m.now += time.Duration(rapid.IntRange(1, 20_000).Draw(m.t, "ms")) * time.Millisecond
	case "restart":
		i := slices.Index(m.processes, p)
		m.processes[i] = m.newProcess(p.node)
	case "again": // by whoever saw it, or the network itself
		if len(m.requests) > 0 {
			s := rapid.SampledFrom(m.requests).Draw(m.t, "request")
			caller := s.caller
			if rapid.Bool().Draw(m.t, "by another") {
				caller = rapid.IntRange(0, nodes-1).Draw(m.t, "caller")
			}
			return m.append(caller, &s.r, true)
		}
	case "forge": // without the agent's key
		if !p.believes.IsZero() {
			next, _ := m.draw(p)
			e := authority.Entry{Agent: m.of, Position: next}
			if err := e.Sign(modelKey(66)); err == nil {
				return m.append(p.node, &protocol.Request{Kind: protocol.Append, Prev: m.at, Next: e}, false)
			}
		}
	}
	return nil
}

// send signs a request of a process, and has it believe what it was told.
func (m *model) send(p *process, r *protocol.Request) error {
	if err := r.Next.Sign(m.agent); err != nil {
		m.t.Fatal(err)
	}
	if _, err := protocol.ParseRequest(r.Append(nil)); err != nil {
		return nil // such as a position that is none
	}
	m.requests = append(m.requests, sent{p.node, *r})
	err := m.append(p.node, r, true)
	if m.at == r.Next.Position || rapid.Bool().Draw(m.t, "believes the conflict") {
		p.believes = m.at
	}
	return err
}

// TestModel holds a member to the model: no position has two that follow it, whoever asks,
// however late, and whatever is sent again. Without the compare it has.
func TestModel(t *testing.T) {
	steps := map[authority.Step]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, false)
		for range rapid.IntRange(50, 200).Draw(t, "length") {
			if err := m.act(); err != nil {
				t.Fatal(err)
			}
		}
		prev := authority.Position{}
		for _, p := range m.accepted {
			step, err := prev.Allows(&p)
			if err != nil {
				t.Fatalf("%+v follows %+v: %v", p, prev, err)
			}
			steps[step]++
			prev = p
		}
	})
	for s := authority.Begins; s <= authority.Settles; s++ {
		if steps[s] == 0 {
			t.Errorf("nothing of the model %v", s)
		}
	}
	wrong, runs := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, true)
		runs++
		for range 120 {
			if m.act() != nil {
				wrong++
				return
			}
		}
	})
	if wrong < runs/2 {
		t.Errorf("without the compare only %d of %d runs go wrong", wrong, runs)
	}
	t.Logf("appended: %v; without the compare %d of %d runs go wrong", steps, wrong, runs)
}

// Package member is a member of a fleet: it guards a store of positions. Clients never
// speak to the store: a member looks at who asks, whether the agent signed it, and whether
// it may follow, and has its [Engine] compare and replace. See docs/spec/authority.md.
//
//	m, err := member.New(member.Config{Engine: engine})
//	answer := m.Serve(ctx, caller, request)
//
// The caller's key is what the transport has proof of.
package member

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// A Config says what a member guards, and for whom.
type Config struct {
	Engine  Engine
	Replica authority.Replica // keeps what positions name; nil = none here

	// Members are the fleet's members, which bring each other what they missed; Peers are
	// the others, as this one asks them; nil = it stays as it is.
	Members []verifier.PublicKey
	Peers   *authority.Replicas

	// Admit says which nodes are served; nil = all that have a key.
	Admit func(node verifier.PublicKey) bool

	// Operators may say which position counts, and put positions into a store that lost
	// them. They and the members may look at all agents.
	Operators []verifier.PublicKey

	// Standing returns how the fleet is; nil = this member does not know.
	Standing func(context.Context) (protocol.Standing, error)

	// Seen returns what this member's own node knows of agents, after an agent and in
	// their order, of at most n; nil = nothing.
	Seen func(after verifier.PublicKey, n int) []authority.Seen

	Lease   time.Duration // of an owner who does not say how long; 0 = [DefaultLease]
	Limit   time.Duration // for one request; 0 = [DefaultLimit]
	AtOnce  int           // how many requests are served at once; 0 = 1,024
	PerNode int           // of one node; 0 = 256
	Pending int64         // bytes that one agent may have put since its last append; 0 = 1 GiB
	Unborn  int64         // bytes that agents without a position may have put together; 0 = 1 GiB

	Log *slog.Logger // nil = nothing is said
}

// Defaults and bounds.
const (
	DefaultLease = 15 * time.Second
	DefaultLimit = 10 * time.Second
	MinLease     = time.Second
	MaxLease     = 24 * time.Hour
)

// A Member is safe for concurrent use.
type Member struct {
	Config

	mu      sync.Mutex
	all     int
	serving map[verifier.PublicKey]int
	known   map[verifier.PublicKey]owned // as it was last seen: good enough for blobs
	pending map[verifier.PublicKey]pending
	mending map[verifier.PublicKey]bool
	unborn  map[verifier.PublicKey]int64
	waiting int64 // bytes of those
}

// An owned agent is whose it is since an append.
type owned struct {
	by       verifier.PublicKey
	sequence uint64
}

// Pending is what was put for an agent since an append.
type pending struct {
	bytes int64
	since uint64 // the append's number
}

// New returns a member.
func New(c Config) (*Member, error) {
	if c.Engine == nil {
		return nil, errors.New("a member needs an engine")
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Lease, DefaultLease)
	def(&c.Limit, DefaultLimit)
	if c.AtOnce == 0 {
		c.AtOnce = 1024
	}
	if c.PerNode == 0 {
		c.PerNode = 256
	}
	if c.Pending == 0 {
		c.Pending = 1 << 30
	}
	if c.Unborn == 0 {
		c.Unborn = 1 << 30
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Member{Config: c, serving: map[verifier.PublicKey]int{}, known: map[verifier.PublicKey]owned{}, pending: map[verifier.PublicKey]pending{}, mending: map[verifier.PublicKey]bool{}, unborn: map[verifier.PublicKey]int64{}}, nil
}

// Serve answers a request of a node. It does not keep the request's bytes.
func (m *Member) Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte {
	r, err := protocol.ParseRequest(request)
	if err != nil {
		a := protocol.Answer{Status: protocol.Malformed, Reason: err.Error()}
		return a.Append(nil, 0)
	}
	a := m.Do(ctx, caller, &r)
	return a.Append(nil, r.Kind)
}

// Do is Serve for a request that is read.
func (m *Member) Do(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if m.Admit != nil && !m.Admit(caller) && !m.isOperator(caller) && !m.isMember(caller) {
		return refuse(authority.NotAllowed, "this store does not serve the node "+caller.DID())
	}
	if !m.enter(caller) {
		return protocol.Answer{Status: protocol.Unavailable, Reason: "too many requests at once"}
	}
	defer m.leave(caller)
	ctx, done := context.WithTimeout(ctx, m.Limit)
	defer done()
	switch r.Kind {
	case protocol.Read:
		return m.read(ctx, caller, r)
	case protocol.Append:
		return m.append(ctx, caller, r)
	case protocol.Renew:
		ttl := min(max(r.TTL, MinLease), MaxLease)
		if r.Session == (protocol.Session{}) {
			return refuse(authority.NotOwner, "a lease without a session")
		}
		runs, err := m.Engine.Renew(ctx, leaseOf(caller, r.Session), ttl)
		if err != nil {
			return unavailable(err)
		}
		return protocol.Answer{Status: protocol.Done, Lease: min(runs, ttl)}
	case protocol.Release:
		if r.Session == (protocol.Session{}) {
			return refuse(authority.NotOwner, "a lease without a session")
		}
		return of(m.Engine.Release(ctx, leaseOf(caller, r.Session)))
	case protocol.Put:
		return m.put(ctx, caller, r)
	case protocol.Get:
		return m.get(ctx, caller, r)
	case protocol.Accept:
		return m.accept(ctx, caller, r)
	case protocol.List, protocol.Seen:
		return m.list(ctx, caller, r)
	case protocol.Restore:
		return m.restore(ctx, caller, r)
	case protocol.Seal:
		return m.seal(ctx, caller, r)
	case protocol.Sealed:
		return m.sealed(ctx, caller, r)
	case protocol.Plan:
		return m.plan(ctx, caller, r)
	case protocol.Planned:
		return m.planned(ctx, caller, r)
	case protocol.Members:
		if m.Standing == nil {
			return protocol.Answer{Status: protocol.Unavailable, Reason: "this member does not know who is in the fleet"}
		}
		s, err := m.Standing(ctx)
		if err != nil {
			return unavailable(err)
		}
		return protocol.Answer{Status: protocol.Done, Standing: s}
	}
	return protocol.Answer{Status: protocol.Malformed, Reason: "not known here"}
}

func (m *Member) isOperator(node verifier.PublicKey) bool { return slices.Contains(m.Operators, node) }

func (m *Member) isMember(node verifier.PublicKey) bool { return slices.Contains(m.Members, node) }

func (m *Member) enter(node verifier.PublicKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all >= m.AtOnce || m.serving[node] >= m.PerNode {
		return false
	}
	m.all++
	m.serving[node]++
	return true
}

func (m *Member) leave(node verifier.PublicKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all--
	if m.serving[node]--; m.serving[node] == 0 {
		delete(m.serving, node)
	}
}

func refuse(code authority.RefusalCode, reason string) protocol.Answer {
	return protocol.Answer{Status: protocol.Refused, Code: code, Reason: reason}
}

// changed is the answer that there is another position. Its signature goes with it: who is
// told that it lost need not take a member's word.
func changed(have *authority.Entry) protocol.Answer {
	return protocol.Answer{Status: protocol.Conflict, Have: authority.Entry{Agent: have.Agent, Position: have.Position, Signature: have.Signature}}
}

func unavailable(err error) protocol.Answer {
	return protocol.Answer{Status: protocol.Unavailable, Reason: err.Error()}
}

// of is the answer that an error is, of what changes nothing that counts.
func of(err error) protocol.Answer {
	switch {
	case err == nil:
		return protocol.Answer{Status: protocol.Done}
	case errors.Is(err, authority.ErrNone):
		return protocol.Answer{Status: protocol.None}
	case errors.Is(err, authority.ErrMissing):
		return protocol.Answer{Status: protocol.Missing}
	case errors.Is(err, authority.ErrNotNamed):
		return protocol.Answer{Status: protocol.NotNamed}
	}
	return unavailable(err)
}

// mayLook reports whether a node may know of all agents.
func (m *Member) mayLook(caller verifier.PublicKey) bool {
	return m.isOperator(caller) || m.isMember(caller)
}

// mayRead reports whether a node may know of an agent: its owner, whom its terms name,
// members and operators.
func (m *Member) mayRead(caller verifier.PublicKey, e *authority.Entry) bool {
	return e.Position.Owner == caller || m.mayLook(caller) || allowed(e, caller)
}

func allowed(e *authority.Entry, node verifier.PublicKey) bool {
	t, err := authority.ParseTerms(e.Terms)
	return err == nil && t.Agent == e.Agent && t.Allow(node)
}

func (m *Member) read(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	held, err := m.Engine.Read(ctx, r.Agent)
	if err != nil {
		return of(err)
	}
	m.saw(&held.Entry)
	if !m.mayRead(caller, &held.Entry) {
		// A node that owned it, and whose folder is an old copy, has to be told so. It is told
		// what a conflict tells it, and no more.
		return changed(&held.Entry)
	}
	if held.Position.Owner != caller && !m.isOperator(caller) {
		held.Record = nil // such as the key that is sealed to the owner
	}
	return protocol.Answer{Status: protocol.Done, Lease: held.Lease, Entries: []authority.Entry{held.Entry}}
}

// append is the guard.
func (m *Member) append(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	next := &r.Next
	step, err := r.Prev.Allows(&next.Position)
	if err != nil {
		if rule, ok := errors.AsType[*authority.RuleError](err); ok {
			return protocol.Answer{Status: protocol.Rule, Reason: rule.Reason}
		}
		return protocol.Answer{Status: protocol.Rule, Reason: err.Error()}
	}
	s := Swap{Prev: r.Prev, Next: *next, Lease: leaseOf(caller, r.Session), TTL: m.Lease}
	owner := caller == r.Prev.Owner
	switch step {
	case authority.Begins:
		owner = caller == next.Position.Owner
	case authority.TakesOver:
		if caller != next.Position.Owner {
			return refuse(authority.NotOwner, "a node takes over for itself")
		}
		owner, s.Free = true, !m.isOperator(caller)
		if next.Terms != nil {
			return refuse(authority.NotOwner, "only its owner changes an agent's terms")
		}
	case authority.Disputes:
		owner = owner || m.isOperator(caller)
	case authority.Settles:
		if !m.isOperator(caller) {
			return refuse(authority.NotOperator, "an operator says which position counts")
		}
		owner = true
	}
	if !owner {
		return refuse(authority.NotOwner, fmt.Sprintf("%s is not the agent's owner", caller.DID()))
	}
	if err := next.Check(); err != nil {
		return refuse(authority.NotSigned, err.Error())
	}
	switch step {
	case authority.TakesOver, authority.HandsOver:
		if step == authority.HandsOver && len(next.Record) == 0 {
			return protocol.Answer{Status: protocol.Rule, Reason: "a hand-over goes with its record"}
		}
		// Whom the agent allows does not change by itself: only an owner's append says
		// otherwise, and that is another position than prev.
		held, err := m.Engine.Read(ctx, next.Agent)
		switch {
		case errors.Is(err, authority.ErrNone):
			return protocol.Answer{Status: protocol.Conflict}
		case err != nil:
			return unavailable(err)
		case held.Position != r.Prev:
			return changed(&held.Entry)
		}
		if step == authority.HandsOver && next.Terms != nil {
			held.Terms = next.Terms
		}
		if to := next.Position.Owner; !allowed(&held.Entry, to) {
			return refuse(authority.NotAllowed, fmt.Sprintf("the agent's manifest does not allow the node %s", to.DID()))
		}
		if step == authority.HandsOver {
			// The new owner is not here yet. It has the time of a lease to come.
			s.Lease = leaseOf(next.Position.Owner, protocol.Session(next.Position.Record[:16]))
		}
	}
	err = m.Engine.Swap(ctx, s)
	conflict, is := errors.AsType[*Changed](err)
	switch {
	case err == nil:
	case is:
		return changed(&conflict.Have)
	case errors.Is(err, ErrLeased):
		return refuse(authority.Leased, err.Error())
	default:
		m.Log.Debug("an append of which nobody knows what became", "agent", next.Agent.DID(), "error", err)
		return protocol.Answer{Status: protocol.Unknown}
	}
	m.saw(next)
	if step != authority.Proceeds {
		m.Log.Info("appended", "agent", next.Agent.DID(), "step", step, "append", next.Position.Sequence, "owner", next.Position.Owner.DID())
	}
	return protocol.Answer{Status: protocol.Done, Lease: m.Lease}
}

// maxKnown is how many owners a member remembers.
const maxKnown = 1 << 16

// saw remembers whose an agent is. What was put before its append, here or at another member,
// counts no more.
func (m *Member) saw(e *authority.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= maxKnown {
		clear(m.known)
	}
	m.known[e.Agent] = owned{e.Position.Owner, e.Position.Sequence}
	if p, ok := m.pending[e.Agent]; ok && e.Position.Sequence > p.since {
		delete(m.pending, e.Agent)
	}
	m.waiting -= m.unborn[e.Agent] // it began
	delete(m.unborn, e.Agent)
}

// owns reports whether a node may put blobs for an agent: it owns it, or nobody does. That
// it may have been its owner a moment ago does no harm: what it puts no position will name.
func (m *Member) owns(ctx context.Context, caller, agent verifier.PublicKey) (ok, unborn bool, err error) {
	m.mu.Lock()
	known, ok := m.known[agent]
	m.mu.Unlock()
	if ok && known.by == caller {
		return true, false, nil
	}
	held, err := m.Engine.Read(ctx, agent)
	if errors.Is(err, authority.ErrNone) {
		return true, true, nil
	}
	if err != nil {
		return false, false, err
	}
	m.saw(&held.Entry)
	return held.Position.Owner == caller, false, nil
}

// blobCost is what a blob counts beside its bytes: it is a file, and a block of the disk.
const blobCost = 4096

func (m *Member) put(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if m.Replica == nil {
		return protocol.Answer{Status: protocol.Malformed, Reason: "this member keeps no blobs"}
	}
	ok, unborn, err := m.owns(ctx, caller, r.Agent)
	switch {
	case err != nil:
		return unavailable(err)
	case !ok:
		return refuse(authority.NotOwner, fmt.Sprintf("%s is not the agent's owner", caller.DID()))
	}
	if len(r.Blobs) == 0 {
		return protocol.Answer{Status: protocol.Done} // and nothing is kept that says so
	}
	var size int64
	for i := range r.Blobs {
		size += int64(len(r.Blobs[i].Data)) + 33*int64(len(r.Blobs[i].Needs)) + blobCost
	}
	m.mu.Lock()
	p, more := m.pending[r.Agent]
	if !more {
		p.since = m.known[r.Agent].sequence
	}
	p.bytes += size
	fits := p.bytes <= m.Pending
	if unborn && m.waiting+size > m.Unborn {
		m.mu.Unlock()
		return refuse(authority.TooMuch, fmt.Sprintf("agents that did not begin yet have more than %d bytes here", m.Unborn))
	}
	if fits {
		if len(m.pending) >= maxKnown {
			clear(m.pending) // so many agents may have put as much again anyway
		}
		if m.pending[r.Agent] = p; unborn {
			m.unborn[r.Agent] += size
			m.waiting += size
		}
	}
	m.mu.Unlock()
	if !fits {
		return refuse(authority.TooMuch, fmt.Sprintf("more than %d bytes since the last append", m.Pending))
	}
	return of(m.Replica.Put(ctx, r.Agent, r.Sequence, r.Blobs...))
}

func (m *Member) get(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if m.Replica == nil {
		return protocol.Answer{Status: protocol.Missing}
	}
	held, err := m.Engine.Read(ctx, r.Agent)
	if err != nil {
		return of(err)
	}
	if !m.mayRead(caller, &held.Entry) {
		return refuse(authority.NotAllowed, fmt.Sprintf("the agent's manifest does not allow the node %s", caller.DID()))
	}
	if held.Position.Hash(r.Agent) != r.Of {
		return protocol.Answer{Status: protocol.NotNamed}
	}
	b, err := m.Replica.Get(ctx, r.Agent, held.Position, r.Name)
	a := of(err)
	a.Blob = b
	return a
}

func (m *Member) accept(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if m.Replica == nil {
		return protocol.Answer{Status: protocol.Done}
	}
	held, err := m.Engine.Read(ctx, r.Agent)
	if err != nil {
		return of(err)
	}
	m.saw(&held.Entry)
	if held.Position.Owner != caller {
		return refuse(authority.NotOwner, fmt.Sprintf("%s is not the agent's owner", caller.DID()))
	}
	err = m.Replica.Accept(ctx, r.Agent, held.Position)
	if errors.Is(err, authority.ErrMissing) && m.Peers != nil {
		m.mend(r.Agent, held.Position)
	}
	return of(err)
}

// mendLimit is how long it may take to bring what is missing of one agent.
const mendLimit = 5 * time.Minute

// mend gets what is missing here of an agent from the other members, in the background: this
// one was not there when it was put.
func (m *Member) mend(agent verifier.PublicKey, p authority.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mending[agent] || len(m.mending) >= 8 {
		return // the next append tells of it again
	}
	m.mending[agent] = true
	go func() {
		ctx, done := context.WithTimeout(context.Background(), mendLimit)
		defer done()
		n, err := m.bring(ctx, agent, p)
		m.Log.Debug("brought what was missing here", "agent", agent.DID(), "blobs", n, "error", err)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.mending, agent)
	}()
}

// bring gets what is missing here of what a position names. It returns how many blobs came.
func (m *Member) bring(ctx context.Context, agent verifier.PublicKey, p authority.Position) (n int, err error) {
	err = authority.ErrMissing
	for first := 0; first < len(m.Peers.Places) && err != nil && ctx.Err() == nil; first++ { // one may give what nobody needs
		theirs := m.Peers.Versions(ctx, agent, p, first)
		_, err = p.Gather(func(name authority.Name) iter.Seq2[authority.Blob, error] {
			return func(yield func(authority.Blob, error) bool) {
				if b, err := m.Replica.Get(ctx, agent, p, name); err == nil && !yield(b, nil) {
					return
				}
				for b, err := range theirs(name) {
					if err == nil {
						n++
						err = m.Replica.Put(ctx, agent, p.Sequence, b)
					}
					if !yield(b, err) {
						return
					}
				}
			}
		})
	}
	if err == nil {
		err = m.Replica.Accept(ctx, agent, p)
	}
	return n, err
}

// list answers with what operators are shown. A record is not.
func (m *Member) list(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if !m.mayLook(caller) {
		return refuse(authority.NotOperator, "only an operator of the store may see all agents")
	}
	n := int(r.Count)
	var all []authority.Entry
	if r.Kind == protocol.Seen {
		// Of each agent one or two entries, together: what does not fit comes with the next.
		if m.Seen == nil {
			return protocol.Answer{Status: protocol.Done}
		}
		if n < 2 {
			return protocol.Answer{Status: protocol.Malformed, Reason: "an agent may have two entries"}
		}
		for _, s := range m.Seen(r.Agent, n/2+1) {
			one := []authority.Entry{s.Newest}
			if !s.Found.Position.IsZero() {
				one = append(one, s.Found)
			}
			if len(all)+len(one) > n {
				return protocol.Answer{Status: protocol.Done, More: true, Entries: all}
			}
			all = append(all, one...)
		}
		return protocol.Answer{Status: protocol.Done, Entries: all, More: len(all) > n/2}
	} else {
		var err error
		if all, err = m.Engine.List(ctx, r.Agent, n+1); err != nil {
			return unavailable(err)
		}
	}
	a := protocol.Answer{Status: protocol.Done, More: len(all) > n, Entries: all[:min(n, len(all))]}
	for i := range a.Entries {
		a.Entries[i].Record = nil
	}
	return a
}

// restore puts a position into a store that lost it: where there is none, or one that waits
// for an operator's word.
func (m *Member) restore(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if !m.isOperator(caller) {
		return refuse(authority.NotOperator, "only an operator of the store may restore a position")
	}
	next := r.Next
	if err := next.Check(); err != nil && !next.Held() {
		return refuse(authority.NotSigned, err.Error())
	}
	var prev authority.Position
	held, err := m.Engine.Read(ctx, next.Agent)
	switch {
	case errors.Is(err, authority.ErrNone):
	case err != nil:
		return unavailable(err)
	default:
		prev = held.Position
	}
	var hash verifier.Hash
	if !prev.IsZero() {
		hash = prev.Hash(next.Agent)
	}
	switch {
	case prev == next.Position:
		return protocol.Answer{Status: protocol.Done}
	case hash != r.Replace:
		return changed(&held.Entry)
	case !prev.IsZero() && prev.State != authority.Recovery && !next.Held() && next.Position.Sequence <= prev.Sequence:
		return refuse(authority.InTheWay, "the store has a position of the agent that is not older")
	}
	// Its owner has the time of a lease to come back.
	s := Swap{Prev: prev, Next: next, TTL: m.Lease, Lease: leaseOf(next.Position.Owner, protocol.Session(next.Position.Writer))}
	err = m.Engine.Swap(ctx, s)
	if conflict, is := errors.AsType[*Changed](err); is {
		return changed(&conflict.Have)
	}
	if err != nil {
		return protocol.Answer{Status: protocol.Unknown}
	}
	m.saw(&next)
	m.Log.Warn("restored by an operator", "agent", next.Agent.DID(), "append", next.Position.Sequence, "state", next.Position.State, "operator", caller.DID())
	return protocol.Answer{Status: protocol.Done}
}

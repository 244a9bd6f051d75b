// Package fleet asks the members of a fleet who owns an agent, and has them keep what a
// successor needs.
//
//	c, err := fleet.New(fleet.Config{Members: members, Via: transport})
//	home := c.SignedBy(agentKey, terms) // an authority.Authority
//
// Any member may answer. One that does not is left for the next one; what became of an
// append then is found out by a read ([authority.Settle]).
package fleet

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// A Member is one of a fleet.
type Member struct {
	Key     verifier.PublicKey
	Address string // HOST:PORT of HTTP, or a multiaddress of libp2p
}

// Prefix begins the name of a fleet; its members with commas between them come after it.
const Prefix = "fleet:"

// MaxMembers is how many members a fleet may have.
const MaxMembers = 16

// String returns the member as [ParseMember] reads it.
func (m Member) String() string { return m.Key.DID() + "@" + m.Address }

// ParseMember reads a member, such as did:key:z6Mk…@node1.example:7450, or with an address
// of libp2p, did:key:z6Mk…@/ip4/192.0.2.7/tcp/7447.
func ParseMember(s string) (m Member, err error) {
	did, address, ok := strings.Cut(s, "@")
	if !ok {
		return m, fmt.Errorf("%q is no member: want DID@HOST:PORT", s)
	}
	if m.Key, err = verifier.ParseDID(did); err != nil {
		return m, fmt.Errorf("member %q: %w", s, err)
	}
	if _, _, err := HostPort(address); err != nil {
		return m, fmt.Errorf("member %q: %w", s, err)
	}
	m.Address = address
	return m, nil
}

// ParseMembers reads members with commas between them.
func ParseMembers(s string) (all []Member, err error) {
	for one := range strings.SplitSeq(s, ",") {
		m, err := ParseMember(strings.TrimSpace(one))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, check(all)
}

func check(all []Member) error {
	if len(all) == 0 || len(all) > MaxMembers {
		return fmt.Errorf("a fleet has 1 to %d members, and not %d", MaxMembers, len(all))
	}
	seen := map[verifier.PublicKey]bool{}
	for _, m := range all {
		if seen[m.Key] {
			return fmt.Errorf("the member %s is there twice", m.Key.DID())
		}
		seen[m.Key] = true
	}
	return nil
}

// A Transport carries a request to a member, as a node whose key the member knows then. It
// is safe for concurrent use.
type Transport interface {
	Do(ctx context.Context, m Member, request []byte) (answer []byte, err error)
}

// A Config says whom to ask, and how.
type Config struct {
	Members []Member
	Via     Transport

	// Attempt is how long one member may take to answer before another is asked, without
	// the time that blobs need; 0 = [DefaultAttempt].
	Attempt time.Duration

	// Lease is how long an owner may be silent before it is taken to be gone; 0 =
	// [DefaultLease]. Grace is how long before that it stops by itself; 0 = a fifth.
	Lease, Grace time.Duration
}

// Defaults.
const (
	DefaultAttempt = 3 * time.Second
	DefaultLease   = 15 * time.Second
)

// A Client is one process's way to a fleet. It is safe for concurrent use.
type Client struct {
	Config
	session protocol.Session
	lease   lease

	mu    sync.Mutex
	first int // the member to ask first
}

// New returns a client. No member has to be there yet.
func New(c Config) (*Client, error) {
	if err := check(c.Members); err != nil {
		return nil, err
	}
	if c.Via == nil {
		return nil, errors.New("a fleet needs a transport")
	}
	if c.Attempt == 0 {
		c.Attempt = DefaultAttempt
	}
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Grace == 0 {
		c.Grace = c.Lease / 5
	}
	if c.Lease <= c.Grace {
		return nil, fmt.Errorf("a lease of %v with a grace of %v leaves no time", c.Lease, c.Grace)
	}
	client := &Client{Config: c}
	rand.Read(client.session[:])
	client.first = int(client.session[0]) % len(c.Members) // or all nodes ask the same one
	client.lease.init()
	return client, nil
}

// from returns the number of the member to ask first.
func (c *Client) from() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// leave has another member be the first, unless another one is already.
func (c *Client) leave(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == i {
		c.first = (i + 1) % len(c.Members)
	}
}

// one asks one member.
func (c *Client) one(ctx context.Context, m Member, r *protocol.Request) (protocol.Answer, error) {
	raw := r.Append(nil)
	// A megabyte a second is what a member's line has to carry.
	ctx, done := context.WithTimeout(ctx, c.Attempt+time.Duration(len(raw)+expected(r.Kind))*time.Microsecond)
	defer done()
	answer, err := c.Via.Do(ctx, m, raw)
	if err != nil {
		return protocol.Answer{}, fmt.Errorf("member %s: %w", m.Address, err)
	}
	a, err := protocol.ParseAnswer(r.Kind, answer)
	if err == nil && (a.Status == protocol.Unavailable || a.Status == protocol.Malformed) {
		err = a.Err()
	}
	said := a.Entries
	if a.Status == protocol.Conflict && !a.Have.Position.IsZero() {
		said = []authority.Entry{a.Have}
	}
	for i := range said {
		e := &said[i]
		// A member does not have the agent's key: what it makes up is seen here.
		if err == nil && !e.Held() {
			err = e.Check()
		}
		if err == nil && e.Agent != r.Agent && r.Kind != protocol.List && r.Kind != protocol.Seen {
			err = errors.New("it answers with another agent's position")
		}
	}
	if err != nil {
		return protocol.Answer{}, fmt.Errorf("member %s: %w", m.Address, err)
	}
	return a, nil
}

// expected is how large an answer may well be.
func expected(k protocol.Kind) int {
	if k == protocol.Get {
		return 16 << 20
	}
	return 0
}

// any asks one member after the other until one answers.
func (c *Client) any(ctx context.Context, r *protocol.Request) (protocol.Answer, error) {
	from := c.from()
	var errs []error
	for n := range c.Members {
		i := (from + n) % len(c.Members)
		a, err := c.one(ctx, c.Members[i], r)
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
		c.leave(i) // where there is no time for another one, the next call begins with it
		if ctx.Err() != nil {
			break
		}
	}
	return protocol.Answer{}, errors.Join(errs...)
}

// Read returns the position of an agent, and what is with it.
func (c *Client) read(ctx context.Context, agent verifier.PublicKey) (e authority.Entry, lease time.Duration, err error) {
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Read, Agent: agent})
	switch {
	case err != nil:
		return e, 0, err
	case a.Status == protocol.Conflict && !a.Have.Position.IsZero(): // the agent is no business of this node's
		return a.Have, 0, nil
	case a.Status != protocol.Done:
		return e, 0, a.Err()
	}
	return a.Entries[0], a.Lease, nil
}

// Read implements [authority.Authority].
func (c *Client) Read(ctx context.Context, agent verifier.PublicKey) (authority.Position, error) {
	e, _, err := c.read(ctx, agent)
	return e.Position, err
}

// ReadLease returns the position of an agent, and how long the lease on it still runs, at
// most; 0 = it ran out. Who may not know of the agent is told the position, and 0.
func (c *Client) ReadLease(ctx context.Context, agent verifier.PublicKey) (authority.Position, time.Duration, error) {
	e, lease, err := c.read(ctx, agent)
	return e.Position, lease, err
}

// Append implements [authority.Authority] for nobody: a fleet takes what the agent signed.
func (c *Client) Append(context.Context, verifier.PublicKey, authority.Position, authority.Position) error {
	return &authority.Refusal{Code: authority.NotSigned, Reason: "the agent did not sign it"}
}

// append asks one member, so that what became of it is known, or not.
func (c *Client) append(ctx context.Context, prev authority.Position, next *authority.Entry) error {
	i := c.from()
	r := protocol.Request{Kind: protocol.Append, Agent: next.Agent, Prev: prev, Next: *next}
	if c.lease.kept() {
		r.Session = c.session
	}
	a, err := c.one(ctx, c.Members[i], &r)
	if err != nil {
		c.leave(i)
		return errors.Join(authority.ErrUnknown, err)
	}
	if a.Status == protocol.Unknown {
		c.leave(i)
	}
	return a.Err()
}

// SignedBy implements [authority.Signing].
func (c *Client) SignedBy(agent crypto.Signer, terms *authority.Terms) (authority.Recording, error) {
	s := &signed{Client: c, key: agent}
	if terms != nil {
		var err error
		if s.terms, err = terms.Sign(agent); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// signed is a fleet for what an agent signs.
type signed struct {
	*Client
	key crypto.Signer

	mu    sync.Mutex
	terms []byte // that the fleet does not have yet
}

func (s *signed) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return s.AppendRecord(ctx, agent, prev, next, nil)
}

func (s *signed) AppendRecord(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) error {
	e := authority.Entry{Agent: agent, Position: next, Record: record}
	if err := e.Sign(s.key); err != nil {
		return err
	}
	s.mu.Lock()
	terms := s.terms
	s.mu.Unlock()
	switch step, err := prev.Allows(&next); {
	case err != nil:
		return err
	case step != authority.TakesOver && step != authority.Disputes:
		e.Terms = terms
	}
	err := s.append(ctx, prev, &e)
	if err == nil && e.Terms != nil {
		s.mu.Lock()
		s.terms = nil
		s.mu.Unlock()
	}
	return err
}

// Record implements [authority.Records]: the record is given to the agent's owner.
func (c *Client) Record(ctx context.Context, agent verifier.PublicKey) (authority.Position, []byte, error) {
	e, _, err := c.read(ctx, agent)
	return e.Position, e.Record, err
}

// Places returns the members as replicas, each for itself.
func (c *Client) Places() (all []authority.Replica) {
	for _, m := range c.Members {
		all = append(all, &place{c, m})
	}
	return all
}

// A place is a member that keeps blobs.
type place struct {
	client *Client
	member Member
}

// inOne is how many bytes of blobs are put in one request, if they are several.
const inOne = 4 << 20

func (p *place) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	for len(blobs) > 0 {
		n, size := 0, 0
		for n < len(blobs) && n < protocol.MaxBlobs && (n == 0 || size < inOne) {
			size += len(blobs[n].Data) + 33*len(blobs[n].Needs) + 128
			if n > 0 && size > inOne {
				break
			}
			n++
		}
		a, err := p.client.one(ctx, p.member, &protocol.Request{Kind: protocol.Put, Agent: agent, Sequence: sequence, Blobs: blobs[:n]})
		if err == nil {
			err = a.Err()
		}
		if err != nil {
			return err
		}
		blobs = blobs[n:]
	}
	return nil
}

func (p *place) Get(ctx context.Context, agent verifier.PublicKey, of authority.Position, name authority.Name) (authority.Blob, error) {
	a, err := p.client.one(ctx, p.member, &protocol.Request{Kind: protocol.Get, Agent: agent, Of: of.Hash(agent), Name: name})
	if err == nil {
		if err = a.Err(); err != nil {
			err = fmt.Errorf("member %s: %w", p.member.Address, err)
		}
	}
	return a.Blob, err
}

func (p *place) Accept(ctx context.Context, agent verifier.PublicKey, _ authority.Position) error {
	a, err := p.client.one(ctx, p.member, &protocol.Request{Kind: protocol.Accept, Agent: agent})
	if err == nil {
		err = a.Err()
	}
	return err
}

// List returns the positions that the fleet has, to an operator.
func (c *Client) List(ctx context.Context) (all []authority.Entry, err error) {
	return c.list(protocol.List, func(r *protocol.Request) (protocol.Answer, error) { return c.any(ctx, r) })
}

// Seen returns what one member's own node knows of agents, to an operator.
func (c *Client) Seen(ctx context.Context, m Member) (all []authority.Seen, err error) {
	entries, err := c.list(protocol.Seen, func(r *protocol.Request) (protocol.Answer, error) { return c.one(ctx, m, r) })
	for i := range entries {
		e := entries[i]
		if n := len(all); n > 0 && all[n-1].Newest.Agent == e.Agent {
			all[n-1].Found = e
		} else {
			all = append(all, authority.Seen{Newest: e})
		}
	}
	return all, err
}

// Of how many agents an operator is told, and in how many bytes. A test has fewer.
var (
	maxListed      = 1 << 20
	maxListedBytes = 1 << 30
)

func (c *Client) list(kind protocol.Kind, ask func(*protocol.Request) (protocol.Answer, error)) (all []authority.Entry, err error) {
	r := protocol.Request{Kind: kind, Count: protocol.MaxList}
	told := map[verifier.PublicKey]bool{}
	bytes := 0
	for {
		a, err := ask(&r)
		if err == nil {
			err = a.Err()
		}
		if err != nil {
			return all, err
		}
		for i := range a.Entries {
			e := &a.Entries[i]
			// What a node remembers of an agent may be several entries, one behind the other.
			goesOn := kind == protocol.Seen && i > 0 && a.Entries[i-1].Agent == e.Agent
			if told[e.Agent] && !goesOn {
				return all, fmt.Errorf("a member tells of %s again and again", e.Agent.DID())
			}
			told[e.Agent] = true
			bytes += authority.PositionSize + len(e.Terms) + len(e.Record)
		}
		if len(told) > maxListed || bytes > maxListedBytes {
			return all, fmt.Errorf("a member tells of more than %d agents, or in more than %d bytes", maxListed, maxListedBytes)
		}
		all = append(all, a.Entries...)
		if !a.More || len(a.Entries) == 0 {
			return all, nil
		}
		r.Agent = a.Entries[len(a.Entries)-1].Agent
	}
}

// Standing returns how the fleet is, as one member knows it.
func (c *Client) Standing(ctx context.Context, m Member) (protocol.Standing, error) {
	a, err := c.one(ctx, m, &protocol.Request{Kind: protocol.Members})
	if err == nil {
		err = a.Err()
	}
	return a.Standing, err
}

// Restore puts a position into a fleet that lost it, in place of one that waits for an
// operator's word, if there is one.
func (c *Client) Restore(ctx context.Context, e authority.Entry, replace verifier.Hash) error {
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Restore, Agent: e.Agent, Next: e, Replace: replace})
	if err == nil {
		err = a.Err()
	}
	return err
}

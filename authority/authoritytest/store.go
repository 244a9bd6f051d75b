// Package authoritytest has an authority and a replica in memory that go wrong on purpose:
// answers come late or never, appends are made after their caller gave up, and processes
// die in the middle.
package authoritytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// A Store has the positions of agents and what they name.
type Store struct {
	// Careless accepts every append, whatever prev is, and Blind knows of none: what a
	// store must not do.
	Careless, Blind bool

	mu        sync.Mutex
	positions map[verifier.PublicKey]authority.Position
	records   map[verifier.PublicKey][]byte
	blobs     map[verifier.PublicKey]map[authority.Name]held
	accepted  []authority.Position
	left      []authority.Blob
	late      []func() // that are still under way
}

type held struct {
	authority.Blob
	sequence uint64
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{positions: map[verifier.PublicKey]authority.Position{}, records: map[verifier.PublicKey][]byte{}, blobs: map[verifier.PublicKey]map[authority.Name]held{}}
}

// Append implements [authority.Authority].
func (s *Store) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return s.AppendRecord(ctx, agent, prev, next, nil)
}

// AppendRecord implements [authority.Recording].
func (s *Store) AppendRecord(_ context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) error {
	record = slices.Clone(record)
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.positions[agent]
	if !s.Careless {
		if have != prev {
			return &authority.Conflict{Have: have}
		}
		if _, err := prev.Allows(&next); err != nil {
			return err
		}
	}
	s.positions[agent], s.records[agent] = next, record
	s.accepted = append(s.accepted, next)
	return nil
}

// Read implements [authority.Authority].
func (s *Store) Read(_ context.Context, agent verifier.PublicKey) (authority.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.positions[agent]; ok && !s.Blind {
		return p, nil
	}
	return authority.Position{}, authority.ErrNone
}

// Record implements [authority.Recording].
func (s *Store) Record(ctx context.Context, agent verifier.PublicKey) (authority.Position, []byte, error) {
	p, err := s.Read(ctx, agent)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || p != s.positions[agent] {
		return p, nil, err
	}
	return p, slices.Clone(s.records[agent]), nil
}

// Put implements [authority.Replica].
func (s *Store) Put(_ context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range blobs {
		raw := b.Append(nil) // what the caller does with its memory is its own affair
		b, err := authority.ParseBlob(raw)
		if err != nil {
			return err
		}
		s.left = append(s.left, b)
		of := s.blobs[agent]
		if of == nil {
			of = map[authority.Name]held{}
			s.blobs[agent] = of
		}
		if h, ok := of[b.Name]; !ok || sequence > h.sequence {
			of[b.Name] = held{b, sequence}
		}
	}
	return nil
}

func (s *Store) get(agent verifier.PublicKey, name authority.Name) (authority.Blob, error) {
	if h, ok := s.blobs[agent][name]; ok {
		return h.Blob, nil
	}
	return authority.Blob{}, authority.ErrMissing
}

// reach returns what the agent's position names.
func (s *Store) reach(agent verifier.PublicKey) (map[authority.Name]bool, error) {
	names := map[authority.Name]bool{}
	p := s.positions[agent]
	err := p.Walk(func(n authority.Name) (authority.Blob, error) { return s.get(agent, n) },
		func(b *authority.Blob) error { names[b.Name] = true; return nil })
	return names, err
}

// Get implements [authority.Replica].
func (s *Store) Get(_ context.Context, agent verifier.PublicKey, of authority.Position, name authority.Name) (authority.Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.positions[agent] != of {
		return authority.Blob{}, authority.ErrNotNamed
	}
	names, err := s.reach(agent)
	if err != nil {
		return authority.Blob{}, err
	}
	if !names[name] {
		return authority.Blob{}, authority.ErrNotNamed
	}
	return s.get(agent, name)
}

// Accept implements [authority.Replica].
func (s *Store) Accept(_ context.Context, agent verifier.PublicKey, _ authority.Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.reach(agent)
	if err != nil {
		return err
	}
	for name, h := range s.blobs[agent] {
		if !names[name] && h.sequence <= s.positions[agent].Sequence {
			delete(s.blobs[agent], name)
		}
	}
	return nil
}

// Accepted returns the positions that were accepted, in order.
func (s *Store) Accepted() []authority.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]authority.Position(nil), s.accepted...)
}

// Left returns the blobs that ever came, of whomever.
func (s *Store) Left() []authority.Blob {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]authority.Blob(nil), s.left...)
}

// Kept returns how many blobs the store has of an agent.
func (s *Store) Kept(agent verifier.PublicKey) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blobs[agent])
}

// ErrCrashed is what a client answers after its process has died.
var ErrCrashed = errors.New("the process has died")

// Faults say how often things go wrong, in calls of a hundred.
type Faults struct {
	Unanswered int // it is done, and the answer is lost
	Unasked    int // it never comes to the store
	Late       int // it is done later, when the caller has gone on
	Crash      int // the process dies, before it is done or after
}

// A Client is a store as one process sees it. It is safe for concurrent use.
type Client struct {
	store  *Store
	faults Faults

	mu      sync.Mutex
	rng     *rand.Rand
	crashed bool

	// Crashed, if it is there, is called when the process dies.
	Crashed func()
	// Turn, if it is there, is called before every call: another process may have its
	// turn.
	Turn func()
}

// NewClient returns the store as a process sees it.
func (s *Store) NewClient(seed uint64, f Faults) *Client {
	return &Client{store: s, faults: f, rng: rand.New(rand.NewPCG(seed, 7))}
}

// ErrNoAnswer is what a call fails with whose answer is lost, but for an append.
var ErrNoAnswer = errors.New("no answer")

// arrive has some of what is under way come to the store.
func (s *Store) arrive(rng *rand.Rand) {
	s.mu.Lock()
	var due, later []func()
	for _, l := range s.late {
		if rng.IntN(2) == 0 {
			due = append(due, l)
		} else {
			later = append(later, l)
		}
	}
	s.late = later
	s.mu.Unlock()
	for _, l := range due {
		l()
	}
}

// call makes a call to the store, or has it go wrong. What changes something may be done
// later. unknown is what the caller sees then.
func (c *Client) call(do func() error, changes bool, unknown error) error {
	if c.Turn != nil {
		c.Turn()
	}
	c.mu.Lock()
	if c.crashed {
		c.mu.Unlock()
		return ErrCrashed
	}
	c.store.arrive(c.rng)
	f, n := c.faults, c.rng.IntN(100)
	done := true
	switch {
	case n < f.Crash:
		c.crashed, done = true, c.rng.IntN(2) == 0
	case n < f.Crash+f.Unanswered:
	case n < f.Crash+f.Unanswered+f.Unasked:
		done = false
	case n < f.Crash+f.Unanswered+f.Unasked+f.Late:
		if done = false; changes {
			c.store.mu.Lock()
			c.store.late = append(c.store.late, func() { do() })
			c.store.mu.Unlock()
		}
	default:
		unknown = nil
	}
	crashed := c.crashed
	c.mu.Unlock()
	var err error
	if done {
		err = do()
	}
	if crashed {
		if c.Crashed != nil {
			c.Crashed()
		}
		return ErrCrashed
	}
	if unknown != nil {
		return unknown
	}
	return err
}

// Dead reports whether the process has died.
func (c *Client) Dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashed
}

// Kill has the process die.
func (c *Client) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crashed = true
}

// Append implements [authority.Authority].
func (c *Client) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return c.call(func() error { return c.store.Append(ctx, agent, prev, next) }, true, authority.ErrUnknown)
}

// AppendRecord implements [authority.Recording].
func (c *Client) AppendRecord(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) error {
	return c.call(func() error { return c.store.AppendRecord(ctx, agent, prev, next, record) }, true, authority.ErrUnknown)
}

// Record implements [authority.Recording].
func (c *Client) Record(ctx context.Context, agent verifier.PublicKey) (p authority.Position, record []byte, err error) {
	err = c.call(func() (err error) { p, record, err = c.store.Record(ctx, agent); return err }, false, ErrNoAnswer)
	if err != nil {
		return authority.Position{}, nil, err
	}
	return p, record, nil
}

// Read implements [authority.Authority].
func (c *Client) Read(ctx context.Context, agent verifier.PublicKey) (p authority.Position, err error) {
	var got authority.Position
	err = c.call(func() (err error) { got, err = c.store.Read(ctx, agent); return err }, false, ErrNoAnswer)
	if err != nil {
		return p, err
	}
	return got, nil
}

// Put implements [authority.Replica].
func (c *Client) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	return c.call(func() error { return c.store.Put(ctx, agent, sequence, blobs...) }, true, ErrNoAnswer)
}

// Get implements [authority.Replica].
func (c *Client) Get(ctx context.Context, agent verifier.PublicKey, of authority.Position, name authority.Name) (b authority.Blob, err error) {
	err = c.call(func() (err error) { b, err = c.store.Get(ctx, agent, of, name); return err }, false, ErrNoAnswer)
	return b, err
}

// Accept implements [authority.Replica].
func (c *Client) Accept(ctx context.Context, agent verifier.PublicKey, p authority.Position) error {
	return c.call(func() error { return c.store.Accept(ctx, agent, p) }, true, ErrNoAnswer)
}

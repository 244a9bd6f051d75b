package member

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// An Engine keeps entries, and does nothing but compare and replace: who may is the
// member's to say. It is safe for concurrent use.
type Engine interface {
	// Read returns an agent's entry. Whatever was swapped before Read was called it
	// knows, or it fails. Its error is [authority.ErrNone] if there is none.
	Read(ctx context.Context, agent verifier.PublicKey) (Held, error)

	// Swap makes an entry an agent's if its position is the one before. Its error is a
	// [*Changed] if it is another one, or [ErrLeased]. Any other error means that
	// the outcome is not known.
	Swap(ctx context.Context, s Swap) error

	// Renew has a lease run for so long from now, and makes it if there is none. It returns
	// for how long the lease runs.
	Renew(ctx context.Context, lease LeaseID, ttl time.Duration) (time.Duration, error)

	// Release ends a lease.
	Release(ctx context.Context, lease LeaseID) error

	// List returns entries in the order of their agents, after one, at most n.
	List(ctx context.Context, after verifier.PublicKey, n int) ([]authority.Entry, error)

	// Value returns what is kept under a name. Its error is [authority.ErrNone] if nothing
	// is. As Read, it knows whatever was kept before it was called.
	Value(ctx context.Context, name string) (Value, error)

	// Keep keeps a value under a name, in place of the one whose number is one less, or of
	// none. Its error is [ErrNotNext] if there is another one; of any other error the outcome
	// is not known.
	Keep(ctx context.Context, name string, v Value) error
}

// A Value is what an engine keeps beside entries.
type Value struct {
	Number uint64 // from 1
	Bytes  []byte
}

// ErrNotNext says that a value is not the one after what is kept.
var ErrNotNext = errors.New("another one was kept before")

// A LeaseID names a lease; 0 = one that does not run out.
type LeaseID int64

// Held is an entry, and how long at most the lease on it still runs: 0 = it ran out.
type Held struct {
	authority.Entry
	Lease time.Duration
}

// Endless is how long a lease runs that does not run out.
const Endless = 1<<32*time.Millisecond - time.Millisecond

// A Swap is one append.
type Swap struct {
	Prev  authority.Position // zero = there is none
	Next  authority.Entry    // no terms = those that there are
	Lease LeaseID            // that is on the agent from now on
	TTL   time.Duration      // of that lease, if there is none yet
	Free  bool               // only if no lease is on the agent that runs

}

// Changed says that an agent has another entry than the one before was to be; the zero
// position = none.
type Changed struct{ Have authority.Entry }

func (e *Changed) Error() string { return (&authority.Conflict{Have: e.Have.Position}).Error() }

// ErrLeased says that a lease that is on the agent has not run out.
var ErrLeased = errors.New("the lease of the agent's owner has not run out")

// leaseOf names the lease of a process of a node.
func leaseOf(node verifier.PublicKey, s protocol.Session) LeaseID {
	if s == (protocol.Session{}) {
		return 0
	}
	h := sha256.Sum256(slices.Concat([]byte("igor/lease/v1\x00"), node[:], s[:]))
	return LeaseID(binary.LittleEndian.Uint64(h[:])>>2) + 1
}

// Memory is an engine in memory: of a fleet of one, and for tests.
type Memory struct {
	// Now tells the time that has passed; only differences count.
	Now func() time.Duration

	// Careless swaps whatever there is, if the lease allows it: what an engine must not do.
	Careless bool

	mu      sync.Mutex
	entries map[verifier.PublicKey]*inMemory
	values  map[string]Value
	leases  map[LeaseID]time.Duration // when they run out
}

type inMemory struct {
	authority.Entry
	lease LeaseID
}

// NewMemory returns an engine that is empty.
func NewMemory() *Memory {
	began := time.Now()
	return &Memory{Now: func() time.Duration { return time.Since(began) }, entries: map[verifier.PublicKey]*inMemory{}, values: map[string]Value{}, leases: map[LeaseID]time.Duration{}}
}

// left returns how long a lease still runs.
func (m *Memory) left(l LeaseID) time.Duration {
	if l == 0 {
		return Endless
	}
	return max(0, m.leases[l]-m.Now())
}

// Read implements [Engine].
func (m *Memory) Read(_ context.Context, agent verifier.PublicKey) (Held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[agent]
	if !ok {
		return Held{}, authority.ErrNone
	}
	return Held{e.Entry.Clone(), m.left(e.lease)}, nil
}

// Swap implements [Engine].
func (m *Memory) Swap(_ context.Context, s Swap) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var have authority.Entry
	e := m.entries[s.Next.Agent]
	if e != nil {
		have = e.Entry.Clone()
	}
	if have.Position != s.Prev && !m.Careless {
		return &Changed{have}
	}
	if s.Free && e != nil && m.left(e.lease) > 0 {
		return ErrLeased
	}
	next := &inMemory{s.Next.Clone(), s.Lease}
	if e != nil && next.Terms == nil {
		next.Terms = e.Terms
	}
	if s.Lease != 0 && m.left(s.Lease) == 0 {
		m.leases[s.Lease] = m.Now() + s.TTL
	}
	m.entries[s.Next.Agent] = next
	return nil
}

// Renew implements [Engine].
func (m *Memory) Renew(_ context.Context, l LeaseID, ttl time.Duration) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leases[l] = m.Now() + ttl
	return ttl, nil
}

// Release implements [Engine].
func (m *Memory) Release(_ context.Context, l LeaseID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.leases, l)
	return nil
}

// List implements [Engine].
func (m *Memory) List(_ context.Context, after verifier.PublicKey, n int) (all []authority.Entry, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for agent, e := range m.entries {
		if bytes.Compare(agent[:], after[:]) > 0 {
			all = append(all, e.Entry.Clone())
		}
	}
	slices.SortFunc(all, func(a, b authority.Entry) int { return bytes.Compare(a.Agent[:], b.Agent[:]) })
	return all[:min(n, len(all))], nil
}

// Value implements [Engine].
func (m *Memory) Value(_ context.Context, name string) (Value, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[name]
	if !ok {
		return v, authority.ErrNone
	}
	v.Bytes = bytes.Clone(v.Bytes)
	return v, nil
}

// Keep implements [Engine].
func (m *Memory) Keep(_ context.Context, name string, v Value) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Number != m.values[name].Number+1 {
		return ErrNotNext
	}
	m.values[name] = Value{v.Number, bytes.Clone(v.Bytes)}
	return nil
}

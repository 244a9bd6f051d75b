// Package archivetest has what tests of archives need: a target in memory that goes wrong
// on purpose, and lives to archive.
package archivetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"igor.dev/archive"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// Faults say how often things go wrong in a target, in calls of a hundred.
type Faults struct {
	Fail   int           // the call fails, and nothing is done
	Unsaid int           // it is done, and the answer is lost
	Lie    int           // it says that it did what it did not
	Rot    int           // a read gives other bytes
	Spoil  bool          // other bytes are kept, of the same number
	Slow   time.Duration // at most, for each call
	Full   bool          // nothing is taken
}

// A Target keeps objects in memory.
type Target struct {
	Label string

	mu      sync.Mutex
	faults  Faults
	rng     *rand.Rand
	objects map[string][]byte
	puts    map[string]int // of objects that were taken, by key
	changed []string       // immutable keys whose bytes were replaced
}

// New returns an empty target.
func New(label string, seed uint64) *Target {
	return &Target{Label: label, rng: rand.New(rand.NewPCG(seed, 1)), objects: map[string][]byte{}, puts: map[string]int{}}
}

// Set sets what goes wrong from now on.
func (t *Target) Set(f Faults) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = f
}

// Objects returns what there is.
func (t *Target) Objects() map[string][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string][]byte{}
	for k, b := range t.objects {
		all[k] = bytes.Clone(b)
	}
	return all
}

// Replace changes an object, nil = removes it.
func (t *Target) Replace(key string, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b == nil {
		delete(t.objects, key)
		return
	}
	t.objects[key] = b
}

// Name implements [archive.Target].
func (t *Target) Name() string { return t.Label }

// ErrFault is what a call fails with on purpose.
var ErrFault = errors.New("500 on purpose")

func (t *Target) call(ctx context.Context) (f Faults, n int, err error) {
	t.mu.Lock()
	f, n = t.faults, t.rng.IntN(100)
	wait := time.Duration(0)
	if f.Slow > 0 {
		wait = time.Duration(t.rng.Int64N(int64(f.Slow)))
	}
	t.mu.Unlock()
	if wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	if err := ctx.Err(); err != nil {
		return f, n, err
	}
	if n < f.Fail {
		return f, n, ErrFault
	}
	return f, n - f.Fail, nil
}

// Put implements [archive.Target].
func (t *Target) Put(ctx context.Context, key string, data []byte, ifAbsent bool) (s archive.Stored, err error) {
	if err := archive.CheckKey(key); err != nil {
		return s, err
	}
	f, n, err := t.call(ctx)
	if err != nil {
		return s, err
	}
	if f.Full {
		return s, errors.New("no space left")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.objects[key]
	if there && ifAbsent {
		return s, archive.ErrExists
	}
	s.Cost = 1
	switch {
	case n < f.Lie:
		return s, nil
	case n < f.Lie+f.Unsaid:
		err = ErrFault
	}
	if there && ifAbsent {
		t.changed = append(t.changed, key)
	}
	t.objects[key] = bytes.Clone(data)
	if f.Spoil {
		t.objects[key][len(data)/2] ^= 1
	}
	t.puts[key]++
	return s, err
}

// Get implements [archive.Target].
func (t *Target) Get(ctx context.Context, key string, offset, limit int64) ([]byte, error) {
	if err := archive.CheckKey(key); err != nil {
		return nil, err
	}
	f, n, err := t.call(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.objects[key]
	if !ok {
		return nil, archive.ErrNotFound
	}
	b = b[min(offset, int64(len(b))):]
	b = bytes.Clone(b[:min(limit, int64(len(b)))])
	if n < f.Rot && len(b) > 0 {
		b[t.rng.IntN(len(b))] ^= 1 << t.rng.IntN(8)
	}
	return b, nil
}

// List implements [archive.Target].
func (t *Target) List(ctx context.Context, prefix string, each func(archive.Entry) error) error {
	if _, _, err := t.call(ctx); err != nil {
		return err
	}
	for k, b := range t.Objects() {
		if strings.HasPrefix(k, prefix) {
			if err := each(archive.Entry{Key: k, Size: int64(len(b))}); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Life is one to archive. It grows.
type Life struct {
	Agent *testkit.Agent

	all [][]byte
}

// NewLife returns a life of n checkpoints.
func NewLife(name string, n int) *Life {
	a := testkit.NewAgent(name)
	return &Life{Agent: a, all: a.History(n, 100)}
}

// Key returns the agent's key.
func (l *Life) Key() verifier.PublicKey { return verifier.PublicKey(l.Agent.Key) }

// Tick returns the tick of the checkpoint n.
func (l *Life) Tick(n int) uint64 { return testkit.Tick(l.all[n]) }

// Checkpoint returns the checkpoint n.
func (l *Life) Checkpoint(n int) []byte { return l.all[n] }

// Len returns how many there are.
func (l *Life) Len() int { return len(l.all) }

// After implements [archive.Source].
func (l *Life) After(tick uint64, all bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range l.all {
			if (all || testkit.Tick(b) > tick) && !yield(b, nil) {
				return
			}
		}
	}
}

// Parts implements [archive.Source].
func (l *Life) Parts(tick uint64, want []archive.Part, read archive.Read) (map[archive.Part][]byte, archive.Read, error) {
	all := map[archive.Part][]byte{}
	for _, p := range want {
		switch p {
		case archive.Program, archive.Manifest:
			all[p] = []byte("the " + p.String())
		case archive.Receipts:
			all[p] = fmt.Appendf(nil, "receipts to %d\n", tick)
			read[0] += int64(len(all[p]))
		case archive.Journal:
			all[p] = fmt.Appendf(nil, "journal at %d", tick)
		}
	}
	return all, read, nil
}

// Archive returns the life as an archiver takes it, with its records in dir.
func (l *Life) Archive(dir string) archive.Life {
	return archive.Life{Agent: l.Key(), Dir: dir, Source: l,
		Sign: func(m []byte) ([]byte, error) { return ed25519.Sign(l.Agent.Private, m), nil }}
}

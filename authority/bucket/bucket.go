// Package bucket is an authority and a replica in a bucket of S3, or of what speaks its
// protocol: for those who have a bucket, and no fleet.
//
//	authority/z6Mk…/position           the agent's position (docs/spec/position.md), and
//	                                   behind it what went with the append
//	authority/z6Mk…/blobs/N-KIND-HASH  what was put for append N
//
// The bucket compares: an append is a PUT with If-Match. Whoever can write the bucket is
// trusted, and nobody is told of a lease: a node takes over when an operator says so.
package bucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"igor.dev/archive"
	"igor.dev/archive/s3"
	"igor.dev/authority"
	"igor.dev/verifier"
)

// A Target is a bucket.
type Target interface {
	archive.Target
	archive.Swapper
	Remove(ctx context.Context, key string) error
}

// A Store is an [authority.Authority] and an [authority.Replica]. It is safe for
// concurrent use, and other processes may use the bucket too.
type Store struct {
	target Target

	mu    sync.Mutex
	named map[verifier.PublicKey]named // what was found last
}

// named is what a position names, with all that it needs, and where it is.
type named struct {
	position authority.Position
	keys     map[authority.Name]string
}

// Open opens the store in a bucket, such as s3://bucket/prefix?endpoint=URL, and finds out
// whether it honours conditions: one that does not would let two nodes live one agent.
func Open(ctx context.Context, name string) (*Store, error) {
	c, err := s3.ParseURL(name)
	if err != nil {
		return nil, err
	}
	t, err := s3.Open(c)
	if err != nil {
		return nil, err
	}
	if err := t.Probe(ctx); err != nil {
		return nil, fmt.Errorf("the store cannot be used: %w", err)
	}
	return In(t), nil
}

// In returns the store in a target.
func In(t Target) *Store { return &Store{target: t, named: map[verifier.PublicKey]named{}} }

func keyOf(agent verifier.PublicKey, rest string) string {
	return "authority/" + strings.TrimPrefix(agent.DID(), "did:key:") + "/" + rest
}

const (
	position = "position"
	blobs    = "blobs/"
)

// Read implements [authority.Authority].
func (s *Store) Read(ctx context.Context, agent verifier.PublicKey) (p authority.Position, err error) {
	p, _, err = s.Record(ctx, agent)
	return p, err
}

// Record implements [authority.Recording].
func (s *Store) Record(ctx context.Context, agent verifier.PublicKey) (p authority.Position, record []byte, err error) {
	b, err := s.target.Get(ctx, keyOf(agent, position), 0, int64(authority.PositionSize+authority.MaxRecord)+1)
	if errors.Is(err, archive.ErrNotFound) {
		return p, nil, authority.ErrNone
	}
	if err != nil {
		return p, nil, err
	}
	of, p, record, err := authority.ParseWith(b)
	if err == nil && of != agent {
		err = errors.New("it is another agent's")
	}
	if err != nil {
		return authority.Position{}, nil, fmt.Errorf("%s: %w", keyOf(agent, position), err)
	}
	return p, record, nil
}

// Append implements [authority.Authority].
func (s *Store) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return s.AppendRecord(ctx, agent, prev, next, nil)
}

// AppendRecord implements [authority.Recording]. A record is behind the position, in the
// same object: who sees it sees that the append was made.
func (s *Store) AppendRecord(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) error {
	if len(record) > 0 && (len(record) > authority.MaxRecord || sha256.Sum256(record) != next.Record) {
		return &authority.RuleError{Reason: "the position does not name the record that goes with it"}
	}
	if _, err := prev.Allows(&next); err != nil {
		// Only what there is says whether that is a rule or a conflict.
		have, readErr := s.Read(ctx, agent)
		if readErr == nil && have != prev {
			return &authority.Conflict{Have: have}
		}
		return err
	}
	var before []byte
	if !prev.IsZero() {
		var with []byte
		if !prev.Record.IsZero() { // it may be behind it
			have, behind, err := s.Record(ctx, agent)
			switch {
			case errors.Is(err, authority.ErrNone):
				return &authority.Conflict{}
			case err != nil:
				return errors.Join(authority.ErrUnknown, err)
			case have != prev:
				return &authority.Conflict{Have: have}
			}
			with = behind
		}
		before = prev.AppendWith(nil, agent, with)
	}
	err := s.target.Swap(ctx, keyOf(agent, position), before, next.AppendWith(nil, agent, record))
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, archive.ErrChanged):
		return errors.Join(authority.ErrUnknown, err)
	}
	have, err := s.Read(ctx, agent)
	switch {
	case errors.Is(err, authority.ErrNone):
		return &authority.Conflict{}
	case err != nil:
		return errors.Join(authority.ErrUnknown, err)
	case have == prev:
		return authority.ErrUnknown // it was another one a moment ago, which cannot be
	}
	return &authority.Conflict{Have: have}
}

// atOnce is how many requests one call makes at the same time.
const atOnce = 8

// Put implements [authority.Replica].
func (s *Store) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, all ...authority.Blob) error {
	return each(all, func(b authority.Blob) error {
		_, err := s.target.Put(ctx, keyOf(agent, fmt.Sprintf("%s%d-%s", blobs, sequence, b.Name)), b.Append(nil), false)
		return err
	})
}

func each[T any](all []T, do func(T) error) error {
	var running sync.WaitGroup
	errs := make([]error, len(all))
	slots := make(chan struct{}, atOnce)
	for i := range all {
		slots <- struct{}{}
		running.Go(func() { errs[i] = do(all[i]); <-slots })
	}
	running.Wait()
	return errors.Join(errs...)
}

// parse returns for which append an object was put, and its blob's name.
func parse(name string) (sequence uint64, blob string, ok bool) {
	number, blob, ok := strings.Cut(name, "-")
	sequence, err := strconv.ParseUint(number, 10, 64)
	return sequence, blob, ok && err == nil
}

// find returns where an agent's blobs are.
func (s *Store) find(ctx context.Context, agent verifier.PublicKey) (map[string][]string, error) {
	prefix, found := keyOf(agent, blobs), map[string][]string{}
	err := s.target.List(ctx, prefix, func(e archive.Entry) error {
		name := strings.TrimPrefix(e.Key, prefix)
		if _, blob, ok := parse(name); ok {
			found[blob] = append(found[blob], name)
		}
		return nil
	})
	return found, err
}

const maxBlob = authority.MaxData + 40*authority.MaxNeeds + 1024

func (s *Store) blob(ctx context.Context, agent verifier.PublicKey, key string, name authority.Name) (b authority.Blob, err error) {
	raw, err := s.target.Get(ctx, keyOf(agent, blobs+key), 0, maxBlob+1)
	if errors.Is(err, archive.ErrNotFound) {
		err = authority.ErrMissing
	}
	if err != nil {
		return b, err
	}
	if b, err = authority.ParseBlob(raw); err == nil && b.Name != name {
		err = authority.ErrMissing
	}
	return b, err
}

// reach returns what the agent's position names, with all that it needs.
func (s *Store) reach(ctx context.Context, agent verifier.PublicKey) (named, error) {
	p, err := s.Read(ctx, agent)
	if err != nil {
		return named{}, err
	}
	s.mu.Lock()
	known, ok := s.named[agent]
	s.mu.Unlock()
	if ok && known.position == p {
		return known, nil
	}
	all, err := s.find(ctx, agent)
	if err != nil {
		return named{}, err
	}
	n := named{p, map[authority.Name]string{}}
	err = p.Walk(func(name authority.Name) (b authority.Blob, err error) {
		err = authority.ErrMissing
		for _, key := range all[name.String()] {
			if b, err = s.blob(ctx, agent, key, name); err == nil {
				n.keys[name] = key
				break
			}
		}
		return b, err
	}, func(*authority.Blob) error { return nil })
	if err != nil {
		return named{}, err
	}
	s.mu.Lock()
	s.named[agent] = n
	s.mu.Unlock()
	return n, nil
}

// Get implements [authority.Replica].
func (s *Store) Get(ctx context.Context, agent verifier.PublicKey, of authority.Position, name authority.Name) (authority.Blob, error) {
	n, err := s.reach(ctx, agent)
	if err != nil {
		return authority.Blob{}, err
	}
	key, ok := n.keys[name]
	if n.position != of || !ok {
		return authority.Blob{}, authority.ErrNotNamed
	}
	return s.blob(ctx, agent, key, name)
}

// Accept implements [authority.Replica]. It believes its own position. What it may not
// remove stays.
func (s *Store) Accept(ctx context.Context, agent verifier.PublicKey, _ authority.Position) error {
	n, err := s.reach(ctx, agent)
	if err != nil {
		return err // what is not whole is not tidied up
	}
	all, err := s.find(ctx, agent)
	if err != nil {
		return err
	}
	kept := map[string]string{}
	for name, key := range n.keys {
		kept[name.String()] = key
	}
	var gone []string
	for name, keys := range all {
		for _, key := range keys {
			if sequence, _, _ := parse(key); sequence <= n.position.Sequence && kept[name] != key {
				gone = append(gone, key)
			}
		}
	}
	return each(gone, func(key string) error { return s.target.Remove(ctx, keyOf(agent, blobs+key)) })
}

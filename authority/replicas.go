package authority

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"igor.dev/verifier"
)

// Replicas are several, of which some have to have what is appended.
type Replicas struct {
	Places []Replica
	Need   int // how many have to have it; 0 = all
}

// need is how many places have to have a blob.
func (r *Replicas) need() int {
	if r.Need <= 0 || r.Need > len(r.Places) {
		return len(r.Places)
	}
	return r.Need
}

// Put puts blobs everywhere at once, and returns when enough places have them, or cannot.
func (r *Replicas) Put(ctx context.Context, agent verifier.PublicKey, sequence uint64, blobs ...Blob) error {
	return r.everywhere(func(p Replica) error { return p.Put(ctx, agent, sequence, blobs...) })
}

// Accept tells all places. One that does not hear of it drops what lost the next time.
func (r *Replicas) Accept(ctx context.Context, agent verifier.PublicKey, p Position) error {
	var all sync.WaitGroup
	errs := make([]error, len(r.Places))
	for i, place := range r.Places {
		all.Go(func() { errs[i] = place.Accept(ctx, agent, p) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Get returns a blob from the first place that has it.
func (r *Replicas) Get(ctx context.Context, agent verifier.PublicKey, of Position, name Name) (Blob, error) {
	errs := []error{ErrMissing}
	for _, place := range r.Places {
		b, err := place.Get(ctx, agent, of, name)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	return Blob{}, errors.Join(errs...)
}

func (r *Replicas) everywhere(do func(Replica) error) error {
	if len(r.Places) == 0 {
		return nil
	}
	done := make(chan error, len(r.Places))
	for _, p := range r.Places {
		go func() { done <- do(p) }()
	}
	var errs []error
	need := r.need()
	for range r.Places {
		if err := <-done; err != nil {
			errs = append(errs, err)
			if len(r.Places)-len(errs) < need {
				return fmt.Errorf("%d of %d replicas have to have it: %w", need, len(r.Places), errors.Join(errs...))
			}
			continue
		}
		if need--; need == 0 {
			return nil
		}
	}
	return nil
}

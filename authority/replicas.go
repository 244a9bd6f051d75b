package authority

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

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

// Get returns a blob from a place that has it.
func (r *Replicas) Get(ctx context.Context, agent verifier.PublicKey, of Position, name Name) (Blob, error) {
	var errs []error
	for b, err := range r.Versions(ctx, agent, of, 0)(name) {
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		errs = append(errs, ErrMissing)
	}
	return Blob{}, errors.Join(errs...)
}

// patience is how long one place may take before the next one is asked too: one that stands
// still does not say so.
const patience = time.Second

// Versions returns what places have of blobs that a position names. Of the first blob the
// place of that number is asked first, and then the one that answered last.
func (r *Replicas) Versions(ctx context.Context, agent verifier.PublicKey, of Position, first int) func(Name) iter.Seq2[Blob, error] {
	type answer struct {
		from int
		blob Blob
		err  error
	}
	return func(name Name) iter.Seq2[Blob, error] {
		return func(yield func(Blob, error) bool) {
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			answers := make(chan answer, len(r.Places))
			from, asked, waiting := first, 0, 0
			ask := func() {
				i := (from + asked) % len(r.Places)
				asked++
				waiting++
				go func() {
					b, err := r.Places[i].Get(ctx, agent, of, name)
					if err == nil && b.Name != name {
						err = fmt.Errorf("it is %s", b.Name)
					}
					answers <- answer{i, b, err}
				}()
			}
			late := time.NewTicker(patience)
			defer late.Stop()
			for asked < len(r.Places) || waiting > 0 {
				if waiting == 0 {
					ask()
					late.Reset(patience)
				}
				select {
				case a := <-answers:
					waiting--
					if a.err == nil {
						first = a.from
					}
					if !yield(a.blob, a.err) {
						return
					}
				case <-late.C:
					if asked < len(r.Places) {
						ask()
					}
				}
			}
		}
	}
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

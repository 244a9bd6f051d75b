// Package authority says which of several processes that all believe to own an agent is
// right: whatever may become public of a life is appended first, and an append succeeds
// only for the one who knew the newest [Position]. See docs/spec/position.md.
//
//	next := prev
//	next.Sequence, next.Head = prev.Sequence+1, head
//	err := authority.Settle(ctx, store, agent, prev, next)
//
// Without an error, next is the agent's position, on behalf of this process, and what it
// names may leave. With a [*Conflict] the agent lives on elsewhere: this process stops,
// and nothing that it prepared is ever signed.
//
// Authority is not durability: what a position names by hash is kept by [Replica]s. They
// have it before the append, without any signature of the agent ([Blob]), so that what
// loses is worth nothing.
package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"igor.dev/verifier"
)

// An Authority decides about appends. It is safe for concurrent use.
type Authority interface {
	// Append makes next the position of an agent if prev is, the zero Position meaning
	// that there is none, and if next may follow prev ([Position.Allows]). Its error is a
	// [*Conflict] if there is another one. It is [ErrUnknown], or any other, if the
	// outcome is not known: next may be there, or come to be there later. [Settle] finds
	// out.
	Append(ctx context.Context, agent verifier.PublicKey, prev, next Position) error

	// Read returns the position of an agent. Whatever was appended before Read was called
	// it knows, or it fails. Its error is [ErrNone] if there is none.
	Read(ctx context.Context, agent verifier.PublicKey) (Position, error)
}

var (
	// ErrUnknown says that the outcome of an append is not known.
	ErrUnknown = errors.New("whether the position was appended is not known")

	// ErrNone says that an agent has no position.
	ErrNone = errors.New("the agent has no position")
)

// A Conflict says that an agent has another position than the one who appends to it
// believed.
type Conflict struct{ Have Position }

func (e *Conflict) Error() string {
	h := &e.Have
	switch {
	case h.IsZero():
		return "the agent has no position, where one was expected"
	case h.State == Retired:
		return "the agent is retired"
	case h.State == Recovery:
		return "the agent's position is in recovery, until an operator says which one counts"
	}
	return fmt.Sprintf("the agent lives on elsewhere: append %d is by %s (hand-overs %d, takeovers %d)", h.Sequence, h.Owner.DID(), h.Major, h.Generation)
}

// A RuleError says that a position may not follow another one, whoever asks.
type RuleError struct{ Reason string }

func (e *RuleError) Error() string { return "such a position may not follow: " + e.Reason }

// Waits between two attempts to settle an append.
const (
	firstWait = 20 * time.Millisecond
	maxWait   = time.Second
)

// Settle appends, and finds out what became of it, until it is known or ctx is over. That
// it can is since no two processes append the same bytes (Position.Writer): a position
// that is there is this process's own.
func Settle(ctx context.Context, a Authority, agent verifier.PublicKey, prev, next Position) error {
	err := a.Append(ctx, agent, prev, next)
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		conflict, isConflict := errors.AsType[*Conflict](err)
		_, isRule := errors.AsType[*RuleError](err)
		_, isRefused := errors.AsType[*Refusal](err)
		if lost, is := errors.AsType[*LostError](err); is {
			return lost
		}
		switch {
		case isConflict && conflict.Have == next:
			return nil // an attempt of before, whose answer was lost or late
		case err == nil, isConflict, isRule, isRefused:
			return err
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		// What an attempt that is still under way may yet do is the same again, or
		// nothing.
		have, readErr := a.Read(ctx, agent)
		switch {
		case readErr == nil && have == next:
			return nil
		case readErr == nil && have == prev, errors.Is(readErr, ErrNone) && prev.IsZero():
			err = a.Append(ctx, agent, prev, next)
			if err == nil {
				return nil
			}
		case readErr == nil:
			return &Conflict{have}
		case errors.Is(readErr, ErrNone):
			return &Conflict{}
		default:
			err = errors.Join(ErrUnknown, readErr)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

package runtime

import (
	"context"
	"errors"
	"sync/atomic"

	"igor.dev/archive"
	"igor.dev/internal/control"
	"igor.dev/verifier"
)

// An Agent is the handle of an agent that an [Engine] runs. It is safe for concurrent
// use. What it is asked, the life does between two ticks, when it has caught up with
// what was recorded before: with a long tick, that can take a while.
type Agent struct {
	dir    string
	config Config
	cancel context.CancelFunc
	orders chan *order

	seen    statusBoard
	control *control.Server // nil: there is no socket

	archive atomic.Pointer[archive.Task] // nil: it is not archived

	memory atomic.Int64          // bytes, after its newest tick
	why    atomic.Pointer[error] // it is stopped

	alive  chan struct{} // closed when the life is recovered, and begins to run
	done   chan struct{} // closed when result and err are there
	result Result
	err    error
}

// ErrStopped says that an agent ended before it did what it was asked.
var ErrStopped = errors.New("the agent has stopped")

// Dir returns the agent's folder.
func (a *Agent) Dir() string { return a.dir }

// Done returns a channel that is closed when the run has ended.
func (a *Agent) Done() <-chan struct{} { return a.done }

// awaitAlive returns when the agent lives, or will not.
func (a *Agent) awaitAlive() {
	select {
	case <-a.alive:
	case <-a.done:
	}
}

// Memory returns how many bytes the agent's memory had after its newest tick.
func (a *Agent) Memory() int64 { return a.memory.Load() }

// Wait waits for the run to end, and returns how it did. If ctx is over before, its
// error is ctx's, and the agent lives on.
func (a *Agent) Wait(ctx context.Context) (Result, error) {
	select {
	case <-a.done:
		return a.result, a.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Stop has the agent end after the tick that runs, with a last checkpoint, and waits
// for that as Wait does.
func (a *Agent) Stop(ctx context.Context) (Result, error) {
	a.cancel()
	return a.Wait(ctx)
}

// Status returns where the run stands. Its Phase is "" until the agent lives.
func (a *Agent) Status() Status {
	s := a.seen.read()
	if task := a.archive.Load(); task != nil {
		s.Archive = task.Status()
	}
	return s
}

// Archived returns the archiving of the agent, nil = it is not archived, or does not live
// yet.
func (a *Agent) Archived() *archive.Task { return a.archive.Load() }

// TopUp adds to the agent's budget. It is durable when TopUp returns.
func (a *Agent) TopUp(ctx context.Context, microcents int64) (Status, error) {
	if microcents <= 0 {
		return Status{}, errors.New("a top-up is more than 0")
	}
	return a.give(ctx, gift{topUp: microcents})
}

// SetPrice sets what a second of the agent's ticks costs from now on. It is durable
// when SetPrice returns.
func (a *Agent) SetPrice(ctx context.Context, microcents int64) (Status, error) {
	return a.give(ctx, gift{price: &microcents})
}

func (a *Agent) give(ctx context.Context, g gift) (Status, error) {
	err := a.order(ctx, func(_ context.Context, l *life) error {
		if _, err := l.with(g); err != nil {
			return err
		}
		changed, err := l.admitGift(g)
		if err == nil && changed {
			err = l.commit()
		}
		return fatal(err)
	})
	return a.Status(), err
}

// Checkpoint makes a checkpoint now, unless no tick was since the newest one, which it
// returns. It is durable then.
func (a *Agent) Checkpoint(ctx context.Context) (head verifier.Hash, tick uint64, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) error {
		err := l.checkpoint(ctx)
		if err == nil {
			err = l.commits.waitDurable()
		}
		head, tick = l.head, l.saved
		return fatal(err)
	})
	return head, tick, err
}

// Pause has the agent not tick until Continue. It stays in memory, and its newest
// state is a checkpoint.
func (a *Agent) Pause(ctx context.Context) error {
	return a.order(ctx, func(ctx context.Context, l *life) error {
		l.paused = true
		err := l.checkpoint(ctx)
		if err == nil {
			err = l.stand() // whoever asked may look, and copy, at once
		}
		return fatal(err)
	})
}

// Continue ends a pause.
func (a *Agent) Continue(ctx context.Context) error {
	return a.order(ctx, func(_ context.Context, l *life) error { l.paused = false; return nil })
}

// ResolveEffect writes down what an operator found out about an unresolved effect, as
// [ResolveEffect] does for an agent that does not run.
func (a *Agent) ResolveEffect(ctx context.Context, id string, happened bool, note string) (whole string, err error) {
	err = a.order(ctx, func(_ context.Context, l *life) error {
		whole, err = l.resolveEffect(a.dir, id, happened, note)
		return err
	})
	return whole, err
}

// An order is something that a life is asked to do between two ticks.
type order struct {
	do   func(context.Context, *life) error
	done chan error // has room for one
}

// order has the life do something, and returns what came of it. If ctx is over before,
// it may be done all the same.
func (a *Agent) order(ctx context.Context, do func(context.Context, *life) error) error {
	o := &order{do, make(chan error, 1)}
	select {
	case a.orders <- o:
	case <-a.done:
		return a.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-o.done:
		return public(err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Agent) ended() error {
	if a.err != nil {
		return errors.Join(ErrStopped, a.err)
	}
	return ErrStopped
}

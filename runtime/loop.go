package runtime

import (
	"context"
	"errors"
	"time"

	"igor.dev/runtime/internal/failpoint"
)

// live lives tick after tick, until there is a reason to stop. Between two ticks it
// does what is asked of it.
func (l *life) live(ctx context.Context) (_ Reason, err error) {
	defer func() {
		if failed := l.commits.waitDurable(); failed != nil && !errors.Is(err, failed) {
			err = errors.Join(err, failed)
		}
	}()
	for ticks := uint64(0); ; {
		again, err := l.in.recorded()
		if err != nil {
			return "", err
		}
		if !again {
			if err := l.endRecovery(ctx); err != nil {
				return "", err
			}
			if !l.recovery.over {
				continue // there is more to be lived again
			}
			l.recovery.state = nil
			if err := l.obey(ctx); err != nil {
				return "", err
			}
			if l.over {
				return Retired, nil
			}
			if ctx.Err() != nil {
				return Stopped, l.checkpoint(ctx)
			}
			if err := l.settlePayments(ctx); err != nil {
				return "", err
			}
			if l.exhausted(&l.account) {
				return BudgetExhausted, l.checkpoint(ctx)
			}
			if full, err := l.diskFull(); err != nil {
				return "", err
			} else if full {
				return DiskFull, l.checkpoint(ctx)
			}
			if l.Config.RentDue != nil && l.Config.RentDue() {
				return RentDue, l.checkpoint(ctx)
			}
			if err := l.tellWish(ctx); err != nil {
				return "", err
			}
			if err := l.home.mayStart(); err != nil {
				return "", err
			}
			if ok, err := l.keepPace(ctx); err != nil {
				return "", err
			} else if !ok {
				continue
			}
		} else if ctx.Err() != nil {
			return Stopped, nil // what is recorded can be lived again as well
		}
		ok, leave, err := l.enterNetwork(ctx)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		l.enterTick(again)
		l.outlook.look()
		began := l.machine.now()
		failpoint.Reach(failpoint.TickBegins)
		if err := l.prepareFindings(); err != nil {
			leave()
			return "", err
		}
		result, err := l.in.tick(ctx)
		leave()
		l.used()
		if err != nil {
			result = 0
			l.outlook.wish = nil
			if again, err = l.tickFailed(ctx, err); err != nil {
				return "", err
			}
			if again {
				continue
			}
		} else {
			failpoint.Reach(failpoint.TickLived)
			if again, err = l.in.end(int64(result), l.machine.since(began), l.charge); err != nil {
				return "", err
			}
			l.tick++
			if again {
				failpoint.Reach(failpoint.TickAgain)
				l.tellFindings()
				continue
			}
			l.failed = 0
			l.tellFindings()
		}
		failpoint.Reach(failpoint.TickEnds)
		if !l.recovery.over { // in the middle of the tick, of which the beginning was recorded
			if err := l.startLive(); err != nil {
				return "", err
			}
		}
		ticks++
		l.watch.lived(l.machine.since(began), l.took)
		if err := l.machine.ended(l.tick); err != nil {
			return "", err
		}
		more := result != 0
		reason := Reason("")
		switch {
		case l.exhausted(&l.account):
			reason = BudgetExhausted
		case ticks == l.MaxTicks:
			reason = TickLimit
		case l.UntilIdle && !more:
			reason = Idle
		}
		if reason != "" {
			if err := l.checkpoint(ctx); err != nil {
				return "", err
			}
			// Where the tick went live in its middle, nothing could come in before it.
			if err := l.endRecovery(ctx); err != nil {
				return "", err
			}
			if reason != BudgetExhausted || l.exhausted(&l.account) {
				return reason, nil
			}
		}
		if err := l.tellWish(ctx); err != nil {
			return "", err
		}
		if due := l.CheckpointEvery.Ticks; due > 0 && l.tick-l.saved >= due {
			if err := l.checkpoint(ctx); err != nil {
				return "", err
			}
		}
		if err := l.rest(ctx, more); err != nil {
			return "", err
		}
	}
}

// rest waits for the next tick, and makes a checkpoint meanwhile if its time comes.
func (l *life) rest(ctx context.Context, more bool) error {
	interval := l.TickInterval
	if interval < 0 {
		interval = idleInterval
		if more {
			interval = busyInterval
		}
	}
	next := l.machine.now().Add(interval)
	if interval > 0 {
		if err := l.commits.waitDurable(); err != nil {
			return err
		}
	}
	l.enter(Waiting, next)
	if l.CheckpointEvery.Time > 0 && l.tick > l.saved {
		if due := l.savedTime.Add(l.CheckpointEvery.Time); !due.After(next) {
			if err := l.waitUntil(ctx, due); err != nil || ctx.Err() != nil {
				return err
			}
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
			if err := l.commits.waitDurable(); err != nil {
				return err
			}
			l.enter(Waiting, next)
		}
	}
	return l.waitUntil(ctx, next)
}

// waitUntil waits until a time, unless the context is over before, and does what is
// asked of it meanwhile.
func (l *life) waitUntil(ctx context.Context, until time.Time) error {
	for {
		o := l.machine.wait(ctx, until, l.orders)
		if o == nil {
			return nil
		}
		if err := l.carryOut(ctx, o); err != nil {
			return err
		}
		if l.paused {
			if err := l.obey(ctx); err != nil {
				return err
			}
		}
		l.enter(Waiting, until)
	}
}

// stand has a paused life stand still: its folder may be copied then.
func (l *life) stand() error {
	if err := l.commits.waitDurable(); err != nil {
		return err
	}
	l.packing.hold()
	l.enter(Paused, time.Time{})
	return nil
}

// obey carries out what is asked of the life, between two ticks; while it is paused,
// until it is not.
func (l *life) obey(ctx context.Context) error {
	for ctx.Err() == nil {
		var o *order
		if l.paused {
			if err := l.stand(); err != nil {
				return err
			}
			select {
			case o = <-l.orders:
			case <-ctx.Done():
				return nil
			}
		} else {
			select {
			case o = <-l.orders:
			default:
				return nil
			}
		}
		if err := l.carryOut(ctx, o); err != nil {
			return err
		}
		if !l.paused && l.packing.held {
			l.beginPacking()
		}
	}
	return nil
}

// carryOut carries out an order, and says what came of it. An error that is not the
// order's own ends the run.
func (l *life) carryOut(ctx context.Context, o *order) error {
	err := o.do(ctx, l)
	l.describe(&l.watch.status)
	l.show()
	o.done <- err
	if fatal, ok := errors.AsType[*fatalError](err); ok {
		return fatal.error
	}
	return nil
}

// A fatalError is one of an order after which the life cannot go on.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

func fatal(err error) error {
	if err == nil {
		return nil
	}
	return &fatalError{err}
}

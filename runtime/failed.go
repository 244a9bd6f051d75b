package runtime

import (
	"context"
	"errors"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/replay"
	"igor.dev/verifier"
)

// A tick that fails by the agent's own doing is recorded, paid and passed over: the
// life goes on after it, from the state before it. docs/spec/eventlog.md says what is
// recorded. A failure of the host leaves no record: the tick is lived when the life
// goes on.

// charge takes what a tick used from the account.
func (l *life) charge(used record.Used) eventlog.Metered {
	var m eventlog.Metered
	if l.metered() {
		m = l.account.meter(used.Fuel, used.Waited)
	} else {
		m.Cost = l.account.charge(used.Elapsed)
	}
	l.took = m.Cost
	return m
}

// metered reports whether the ticks of the open segment are.
func (l *life) metered() bool {
	return l.world.Writer != nil && l.world.Writer.Header().Version != eventlog.Version1
}

// tickFailed is called when a call of the tick that ran ended with err. If that is the
// agent's own failure, the tick is over: again says that it failed when it was lived
// first, too. A checkpoint follows at once.
func (l *life) tickFailed(ctx context.Context, err error) (again bool, _ error) {
	failure, ok := l.in.agents(err)
	if !ok || !l.metered() {
		return false, l.in.failed(err)
	}
	cause := l.in.failed(err)
	call, how := replay.Failure(failure)
	if again, err = l.in.host.Fail(call, how, record.Used{Fuel: l.in.fuel}, l.charge); err != nil {
		return false, l.in.failed(err)
	}
	failpoint.Reach(failpoint.TickFailed)
	l.tick++
	l.failedNow()
	if !again {
		if !l.recovery.over {
			if err := l.startLive(); err != nil {
				return false, err
			}
		}
		l.Log.Warn("a tick failed; the agent goes on from the state before it", "tick", l.tick, "error", failure, "cost", verifier.FormatMicrocents(l.took))
	}
	state, fuel, restored, err := l.before(ctx)
	if err != nil {
		return false, err
	}
	if err := l.save(ctx, state, fuel, restored); err != nil {
		return false, err
	}
	if again {
		_, err := l.nextRecorded(ctx)
		return true, err
	}
	l.failed++
	most := l.MaxFailedTicks
	if most == 0 {
		most = DefaultMaxFailedTicks
	}
	if most > 0 && l.failed >= most {
		return false, errors.Join(l.commits.waitDurable(), hint.Wrap(cause, "%s", l.machine.passedOver(l.tick)))
	}
	return false, nil
}

// before returns the state before the tick that failed, what fuel it took to ask for
// it, and whether it was restored before.
func (l *life) before(ctx context.Context) (state []byte, fuel uint64, restored bool, err error) {
	if err := l.commits.waitDurable(); err != nil {
		return nil, 0, false, err
	}
	c, err := l.newestCheckpoint()
	if err != nil {
		return nil, 0, false, err
	}
	if l.tick == l.saved+1 {
		return c.State, 0, true, nil
	}
	turns := l.engine.turns
	turns.take()
	defer turns.give()
	e := replay.Engine{Programs: l.body.again, Log: l.log, Pass: turns.pass}
	state, fuel, err = e.Before(context.WithoutCancel(ctx), c.Append(nil), l.tick)
	return state, fuel, false, err
}

package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/replay"
)

// selfChecks are an agent's own ticks, run again while it lives, as a policy says.
type selfChecks struct {
	policy        ReplayPolicy
	older, newest []byte // checkpoints; older is nil once it was looked at
	last          time.Time
}

// resume begins with the two newest checkpoints of a life that goes on.
func (c *selfChecks) resume(older, newest []byte) { c.older, c.newest = older, newest }

func (c *selfChecks) begin() { c.last = time.Now() }

// due reports whether ticks that a checkpoint ends are to be run again.
func (c *selfChecks) due() bool {
	switch c.policy.Mode {
	case ReplayFull:
		return true
	case ReplayPeriodic:
		interval := c.policy.Interval
		if interval == 0 {
			interval = DefaultReplayInterval
		}
		return time.Since(c.last) >= interval
	}
	return false
}

// checkResumed runs the ticks before the newest checkpoint again, if they are to be.
func (l *life) checkResumed(ctx context.Context) error {
	older := l.checks.older
	l.checks.older = nil
	if l.checks.policy.Mode != ReplayOnResume && l.checks.policy.Mode != ReplayFull {
		return nil
	}
	return l.replay(ctx, older, l.checks.newest)
}

// checkSaved takes next for the newest checkpoint, and runs the ticks between it and
// the one before it again, if they are due.
func (l *life) checkSaved(ctx context.Context, next []byte) error {
	c := &l.checks
	if c.policy.Mode == ReplayOff || c.policy.Mode == "" {
		c.newest = nil
		return nil
	}
	prev := c.newest
	c.newest = next
	if !c.due() {
		return nil
	}
	return l.replay(ctx, prev, next)
}

// replay runs the ticks between two checkpoints again.
func (l *life) replay(ctx context.Context, prev, next []byte) error {
	l.checks.last = time.Now()
	l.enter(Replaying, time.Time{})
	turns := l.engine.turns
	turns.take()
	defer turns.give()
	e := replay.Engine{Programs: l.body.again, Log: l.log, Pass: turns.pass}
	r, err := e.Run(context.WithoutCancel(ctx), replay.Interval{Prev: prev, Next: next})
	if err == nil {
		l.Log.Debug("replayed", "tick", l.saved, "ticks", r.Ticks, "observations", r.Observations)
		return nil
	}
	if _, diverged := problemOf(0, 0, err); errors.Is(err, replay.ErrMissing) || !diverged {
		l.Log.Warn("the ticks before the newest checkpoint cannot be run again", "error", err)
		return nil
	}
	l.watch.status.Divergences++
	switch l.checks.policy.OnDivergence {
	case DivergencePause:
		return hint.Wrap(fmt.Errorf("run again, the ticks before the checkpoint of tick %d come to something else: %w", l.saved, err),
			"the agent is paused, and its history is whole; igor replay shows all that differs")
	case DivergenceMigrate:
		l.checks.policy.Mode = ReplayFull
		if d, ok := l.outlook.node.(Diverger); ok {
			d.Diverged()
		}
	case DivergenceIntensify:
		l.checks.policy.Mode = ReplayFull
	}
	l.Log.Error("run again, the ticks before the newest checkpoint come to something else", "tick", l.saved, "error", err)
	return nil
}

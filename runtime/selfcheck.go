package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/replay"
)

// replayNewest runs the ticks between the newest checkpoint and next again, if
// they are due, and takes next for the newest.
func (l *life) replayNewest(ctx context.Context, next []byte) error {
	if l.Replay.Mode == ReplayOff || l.Replay.Mode == "" {
		l.newest = nil
		return nil
	}
	prev := l.newest
	l.newest = next
	interval := l.Replay.Interval
	if interval == 0 {
		interval = DefaultReplayInterval
	}
	switch l.Replay.Mode {
	case ReplayFull:
	case ReplayPeriodic:
		if time.Since(l.replayed) < interval {
			return nil
		}
	default:
		return nil
	}
	return l.replay(ctx, prev, next)
}

// replay runs the ticks between two checkpoints again.
func (l *life) replay(ctx context.Context, prev, next []byte) error {
	l.replayed = time.Now()
	l.enter(Replaying, time.Time{})
	e := replay.Engine{Program: l.program, Manifest: l.manifest, ManHash: l.manHash, Log: l.log}
	r, err := e.Run(context.WithoutCancel(ctx), replay.Interval{Prev: prev, Next: next})
	switch {
	case err == nil:
		l.Log.Debug("replayed", "tick", l.saved, "ticks", r.Ticks, "observations", r.Observations)
		return nil
	case errors.Is(err, replay.ErrMissing):
		l.Log.Warn("the ticks before the newest checkpoint cannot be run again", "error", err)
		return nil
	}
	if _, diverged := problemOf(0, 0, err); !diverged {
		l.Log.Warn("the ticks before the newest checkpoint could not be run again", "error", err)
		return nil
	}
	l.status.Divergences++
	switch l.Replay.OnDivergence {
	case DivergencePause:
		return hint.Wrap(fmt.Errorf("run again, the ticks before the checkpoint of tick %d come to something else: %w", l.saved, err),
			"the agent is paused, and its history is whole; igor replay shows all that differs")
	case DivergenceIntensify:
		l.Replay.Mode = ReplayFull
	}
	l.Log.Error("run again, the ticks before the newest checkpoint come to something else", "tick", l.saved, "error", err)
	return nil
}

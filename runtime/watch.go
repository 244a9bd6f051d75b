package runtime

import (
	"fmt"
	"time"

	"igor.dev/runtime/internal/sandbox"
)

// A Phase is what a run does.
type Phase string

// The phases.
const (
	Recovering Phase = "recovering" // lives again what was recorded after the newest checkpoint
	Ticking    Phase = "ticking"
	Waiting    Phase = "waiting" // for the next tick
	Saving     Phase = "saving"  // makes a checkpoint
	Replaying  Phase = "replaying"
)

// A Status is where a run stands. [Config.Watch] gets one at the beginning of
// every phase.
type Status struct {
	Phase Phase
	Since time.Time // when the phase began
	Due   time.Time // when it should be over, zero = nobody can say

	DID      string
	Tick     uint64        // the newest
	Ticks    uint64        // lived by this run, without those lived again
	TickTime time.Duration // of the newest of them
	TickCost int64         // microcents, of all of them

	Budget     int64 // microcents
	Price      int64 // microcents per second
	Held       int64 // microcents, by unresolved side effects
	Unresolved int   // side effects whose outcome nobody knows

	Saved         uint64        // the tick of the newest checkpoint
	SavedAt       time.Time     // when it was made, or the run began
	SavedBytes    int           // its size, 0 if this run did not make it
	SaveTime      time.Duration // what making it took
	CheckpointDue time.Time     // of the next one, zero = none is due
	Checkpoints   int           // made by this run

	Divergences int // found by running ticks again
	Hostcalls   []Usage
}

const (
	// saveLimit is how long a checkpoint may take on a disk that works.
	saveLimit = time.Minute
	// grace is what a busy machine gets before it is called unhealthy.
	grace = 5 * time.Second
)

// Health returns what is wrong with a run that had this status last: that a phase
// takes too long, or that a checkpoint is overdue.
func (s *Status) Health(now time.Time) error {
	busy := s.Phase == Recovering || s.Phase == Replaying // no checkpoint can be made
	switch {
	case !s.Due.IsZero() && now.After(s.Due.Add(grace)):
		return fmt.Errorf("stalled after tick %d: %s for %s", s.Tick, s.Phase, now.Sub(s.Since).Round(time.Second))
	case !busy && !s.CheckpointDue.IsZero() && now.After(s.CheckpointDue.Add(sandbox.DefaultCallLimit+grace)):
		return fmt.Errorf("the checkpoint is overdue by %s: the newest is of tick %d, and tick %d is over",
			now.Sub(s.CheckpointDue).Round(time.Second), s.Saved, s.Tick)
	}
	return nil
}

// enter begins a phase. due is zero where nobody can say how long it takes.
func (l *life) enter(p Phase, due time.Time) {
	if l.Watch == nil {
		return
	}
	s, now := &l.status, time.Now()
	switch s.Phase {
	case Saving:
		s.SaveTime = now.Sub(s.Since)
	case "", Recovering, Replaying:
		l.free = now
	}
	s.Phase, s.Since, s.Due = p, now, due
	s.DID, s.Tick = l.result.DID, l.tick
	s.Budget, s.Price = l.account.budget, l.account.price
	s.Held, s.Unresolved = l.world.Journal.Held(), l.world.Journal.Pending()
	s.Saved, s.SavedAt, s.SavedBytes, s.Checkpoints = l.result.Tick, l.savedTime, l.result.size, l.result.Checkpoints
	s.CheckpointDue = time.Time{}
	if every := l.CheckpointEvery.Time; every > 0 && l.tick > l.saved {
		if s.CheckpointDue = l.savedTime.Add(every); l.free.After(l.savedTime) {
			s.CheckpointDue = l.free.Add(every)
		}
	}
	s.Hostcalls = l.meter.Usage()
	l.Watch(*s)
}

// enterTick begins a tick, or one that is lived again.
func (l *life) enterTick(again bool) {
	switch {
	case l.Watch == nil:
	case again:
		l.enter(Recovering, time.Time{})
	default:
		limit := l.TickLimit
		if limit == 0 {
			limit = sandbox.DefaultCallLimit
		}
		l.enter(Ticking, time.Now().Add(limit))
	}
}

// lived counts a tick.
func (l *life) lived(elapsed time.Duration, cost int64) {
	l.status.Ticks++
	l.status.TickTime = elapsed
	l.status.TickCost += cost
}

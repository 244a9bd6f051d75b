package runtime

import (
	"fmt"
	"sync"
	"time"

	"igor.dev/archive"
	"igor.dev/runtime/internal/hostcall"
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
	Paused     Phase = "paused"
)

// A Status is where a run stands. [Config.Watch] gets one at the beginning of
// every phase.
type Status struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"`        // when the phase began
	Due   time.Time `json:"due,omitzero"` // when it should be over, zero = nobody can say

	DID      string        `json:"did"`
	Tick     uint64        `json:"tick,string"`               // the newest
	Ticks    uint64        `json:"ticksOfRun,string"`         // lived by this run, without those lived again
	TickTime time.Duration `json:"tickNs,string"`             // of the newest of them
	TickCost int64         `json:"tickCostMicrocents,string"` // microcents, of all of them

	Budget     int64 `json:"budgetMicrocents,string"`         // microcents
	Price      int64 `json:"priceMicrocentsPerSecond,string"` // microcents per second
	Held       int64 `json:"heldMicrocents,string"`           // microcents, by unresolved side effects
	Unresolved int   `json:"effectsUnresolved"`               // side effects whose outcome nobody knows

	PriceStored int64 `json:"priceMicrocentsPerGigabyteStored,string,omitempty"` // microcents, once

	Saved         uint64        `json:"checkpointTick,string"`  // the tick of the newest checkpoint
	SavedAt       time.Time     `json:"checkpointAt"`           // when it was made, or the run began
	SavedBytes    int           `json:"checkpointBytes"`        // its size, 0 if this run did not make it
	SaveTime      time.Duration `json:"checkpointNs,string"`    // what making it took
	CheckpointDue time.Time     `json:"checkpointDue,omitzero"` // of the next one, zero = none is due
	Checkpoints   int           `json:"checkpointsOfRun"`       // made by this run

	Disk      int64 `json:"diskBytes,string"`      // of its folder, at most
	DiskQuota int64 `json:"diskQuotaBytes,string"` // 0 = it has none

	// Archive is how far the life is archived, in each target. Of a status that
	// [Config.Watch] gets it is nil.
	Archive []archive.Status `json:"archive,omitempty"`

	// Witness is how far its heads are logged, nil = they are not.
	Witness *WitnessStatus `json:"witness,omitempty"`

	Divergences int     `json:"divergences"` // found by running ticks again
	Hostcalls   []Usage `json:"hostcalls"`
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
	busy := s.Phase == Recovering || s.Phase == Replaying || s.Phase == Paused // no checkpoint can be made
	switch {
	case !s.Due.IsZero() && now.After(s.Due.Add(grace)):
		return fmt.Errorf("stalled after tick %d: %s for %s", s.Tick, s.Phase, now.Sub(s.Since).Round(time.Second))
	case !busy && !s.CheckpointDue.IsZero() && now.After(s.CheckpointDue.Add(sandbox.DefaultCallLimit+grace)):
		return fmt.Errorf("the checkpoint is overdue by %s: the newest is of tick %d, and tick %d is over",
			now.Sub(s.CheckpointDue).Round(time.Second), s.Saved, s.Tick)
	}
	return nil
}

// A lookout knows where a run stands, and tells who wants to know.
type lookout struct {
	tell  func(Status) // nil = nobody is told
	agent *Agent       // nil: of a life without a handle

	status Status
	free   time.Time // since when it can make checkpoints
}

// begin says that the life is recovered.
func (w *lookout) begin() {
	if w.agent != nil {
		close(w.agent.alive)
	}
}

// A statusBoard has the newest status of a run.
type statusBoard struct {
	mu     sync.Mutex
	status Status
	meter  *hostcall.Meter
}

func (b *statusBoard) read() Status {
	b.mu.Lock()
	s, meter := b.status, b.meter
	b.mu.Unlock()
	if meter != nil {
		s.Hostcalls = usages(meter.Usage())
	}
	return s
}

// enter begins a phase. due is zero where nobody can say how long it takes.
func (l *life) enter(p Phase, due time.Time) {
	w := &l.watch
	if w.tell == nil && w.agent == nil {
		return
	}
	s, now := &w.status, time.Now()
	switch s.Phase {
	case Saving:
		s.SaveTime = now.Sub(s.Since)
	case "", Recovering, Replaying, Paused:
		w.free = now
	}
	s.Phase, s.Since, s.Due = p, now, due
	l.describe(s)
	s.CheckpointDue = time.Time{}
	if every := l.CheckpointEvery.Time; every > 0 && l.tick > l.saved {
		if s.CheckpointDue = l.savedTime.Add(every); w.free.After(l.savedTime) {
			s.CheckpointDue = w.free.Add(every)
		}
	}
	if w.tell != nil {
		s.Hostcalls = usages(l.meter.Usage())
		w.tell(*s)
	}
	l.show()
}

// describe says what the life has and where it stands.
func (l *life) describe(s *Status) {
	s.DID, s.Tick = l.result.DID, l.tick
	s.Disk, s.DiskQuota = l.disk.bytes(), l.disk.quota
	s.Budget, s.Price, s.PriceStored = l.account.budget, l.account.price, l.PriceStored
	s.Held, s.Unresolved = l.world.Journal.Held(), l.world.Journal.Pending()
	if s.Witness = nil; l.heads.config != nil {
		s.Witness = l.heads.now()
	}
	s.Saved, s.SavedAt, s.SavedBytes, s.Checkpoints = l.result.Tick, l.savedTime, l.size, l.result.Checkpoints
}

// show puts the status where the life's handle finds it.
func (l *life) show() {
	w := &l.watch
	if w.agent == nil {
		return
	}
	board := &w.agent.seen
	board.mu.Lock()
	defer board.mu.Unlock()
	board.status, board.meter = w.status, &l.meter
}

// enterTick begins a tick, or one that is lived again.
func (l *life) enterTick(again bool) {
	if again {
		l.enter(Recovering, time.Time{})
		return
	}
	limit := l.engine.config.TickLimit
	if limit == 0 {
		limit = sandbox.DefaultCallLimit
	}
	l.enter(Ticking, time.Now().Add(limit))
}

// lived counts a tick.
func (w *lookout) lived(elapsed time.Duration, cost int64) {
	w.status.Ticks++
	w.status.TickTime = elapsed
	w.status.TickCost += cost
}

package runtime

import (
	"fmt"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/verifier"
)

// A checkpoint that is made is not durable yet. It becomes so in the background,
// while the life goes on, and together with those that are made meanwhile: a group
// commit, for which a disk takes about as long as for one of them. Nothing outside
// learns of a checkpoint before it is durable, and before a side effect begins, all
// that were made are ([life.settle]).
//
// The order on the disk is: the segments of the event log, with their seals; the
// checkpoints, which are what commits both. A process that ends in between finds
// the segments that were sealed, lives them again one after the other, and makes
// the same checkpoints.

const (
	// maxWaiting is how many checkpoints may wait for the group before them to be
	// durable, and maxWaitingBytes how large they may be together.
	maxWaiting      = 8
	maxWaitingBytes = 1 << 20
)

// A made checkpoint is complete, and so is its segment.
type made struct {
	verifier.Finding
	bytes   []byte
	segment *eventlog.Writer // sealed
	before  journal.Base     // the checkpoint before it
}

// commits are the checkpoints that are made and not known to be durable.
type commits struct {
	waiting []made
	size    int        // of those, in bytes
	group   []made     // being made durable
	done    chan error // what became of the group
	failed  error
}

// commit has a checkpoint made durable.
func (l *life) commit(m made) error {
	c := &l.commits
	c.waiting = append(c.waiting, m)
	c.size += len(m.bytes)
	if err := l.acknowledge(len(c.waiting) >= maxWaiting || c.size >= maxWaitingBytes); err != nil {
		return err
	}
	l.beginGroup()
	return nil
}

// settle returns when all checkpoints that were made are durable.
func (l *life) settle() error {
	for l.commits.failed == nil && l.commits.group != nil {
		if err := l.acknowledge(true); err != nil {
			return err
		}
		l.beginGroup()
	}
	return l.commits.failed
}

// sync makes everything durable: to be called before a side effect begins.
func (l *life) sync() error {
	if err := l.settle(); err != nil {
		return err
	}
	return l.world.Writer.Sync()
}

// beginGroup begins to make durable what waits, unless a group is under way.
func (l *life) beginGroup() {
	c := &l.commits
	if c.group != nil || len(c.waiting) == 0 {
		return
	}
	c.group, c.waiting, c.size = c.waiting, nil, 0
	group, done := c.group, make(chan error, 1)
	c.done = done
	go func() { done <- l.makeDurable(group) }()
}

// makeDurable runs beside the life, and touches nothing else of it.
func (l *life) makeDurable(group []made) error {
	first := &group[0]
	var segments []*eventlog.Writer
	var checkpoints [][]byte
	for _, m := range group {
		segments = append(segments, m.segment)
		checkpoints = append(checkpoints, m.bytes)
	}
	err := l.history.Append(first.PrevHash, func() error {
		if first.PrevHash.IsZero() {
			base := journal.Base{Tick: first.TickNumber, Hash: first.ContentHash}
			if err := journal.Create(l.folder, journal.Life{Agent: l.public, Genesis: first.ContentHash}, base); err != nil {
				return err
			}
		}
		err := l.log.Sync(segments...)
		failpoint.Reach(failpoint.SegmentsSynced)
		return err
	}, checkpoints...)
	if err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", first.TickNumber, err)
	}
	return nil
}

// acknowledge lets the world know of the group that was under way, if it is
// durable by now, or when it is.
func (l *life) acknowledge(wait bool) error {
	c := &l.commits
	if c.failed != nil || c.group == nil {
		return c.failed
	}
	if !wait && len(c.done) == 0 {
		return nil
	}
	err := <-c.done
	group := c.group
	c.group = nil
	if err == nil {
		err = l.acknowledged(group)
	}
	if err != nil {
		// What was made since then never was.
		c.failed = err
		l.head, l.saved = l.result.Head, l.result.Tick
		closeSegments(group)
	}
	return err
}

func (l *life) acknowledged(group []made) error {
	for _, m := range group {
		l.result.Tick, l.result.Head, l.result.Budget, l.result.size = m.TickNumber, m.ContentHash, m.Budget, len(m.bytes)
		l.result.Checkpoints++
		if !m.PrevHash.IsZero() { // a genesis is when its folder is
			l.logCheckpoint()
		}
		if err := l.giveReceipt(&m.Finding, m.segment.Totals()); err != nil {
			return err
		}
	}
	if newest := group[len(group)-1]; !newest.PrevHash.IsZero() {
		err := l.world.Journal.Compact(newest.before)
		failpoint.Reach(failpoint.JournalCompacted)
		return err
	}
	return nil
}

func (l *life) logCheckpoint() {
	r := &l.result
	l.Log.Info("checkpoint", "tick", r.Tick, "cid", r.Head.CID(), "budget", verifier.FormatMicrocents(r.Budget), "bytes", r.size)
}

// close waits for the disk, and lets go of what is not durable.
func (c *commits) close() {
	if c.group != nil {
		<-c.done
	}
	closeSegments(c.group)
	closeSegments(c.waiting)
	*c = commits{failed: c.failed}
}

func closeSegments(of []made) {
	for _, m := range of {
		m.segment.Close() // it is sealed, or of no use
	}
}

package runtime

import (
	"crypto/sha256"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/verifier"
)

// A checkpoint that is made is not durable yet. It becomes so in the background,
// while the life goes on, and together with those that are made meanwhile: a group
// commit, for which a disk takes about as long as for one of them. Nothing outside
// learns of a checkpoint before it is durable, and before a side effect begins, all
// that were made are ([committer.waitDurable]).
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

	body      *body  // that goes on from it
	beginning []byte // of the segment after it
}

// beginningHash is that of the segment after it, of which nothing counts yet but its
// header.
func (m *made) beginningHash() verifier.Hash { return sha256.Sum256(m.beginning) }

// A committer has the checkpoints that are made and not known to be durable.
type committer struct {
	makeDurable func(group []made) error // beside the life
	durable     func(group []made) error // called when it is, by the life
	lost        func()                   // or if it cannot be known to be

	waiting []made
	size    int        // of those, in bytes
	group   []made     // being made durable
	done    chan error // what became of the group
	failed  error
}

// commit has a checkpoint made durable.
func (c *committer) commit(m made) error {
	c.waiting = append(c.waiting, m)
	c.size += len(m.bytes)
	if err := c.acknowledge(len(c.waiting) >= maxWaiting || c.size >= maxWaitingBytes); err != nil {
		return err
	}
	c.beginGroup()
	return nil
}

// waitDurable returns when all checkpoints that were made are durable.
func (c *committer) waitDurable() error {
	for c.failed == nil && c.group != nil {
		if err := c.acknowledge(true); err != nil {
			return err
		}
		c.beginGroup()
	}
	return c.failed
}

// coming is how many bytes of checkpoints may not be written yet.
func (c *committer) coming() (bytes int64) {
	for _, m := range c.group {
		bytes += int64(len(m.bytes))
	}
	return bytes + int64(c.size)
}

// beginGroup begins to make durable what waits, unless a group is under way.
func (c *committer) beginGroup() {
	if c.group != nil || len(c.waiting) == 0 {
		return
	}
	c.group, c.waiting, c.size = c.waiting, nil, 0
	group, done := c.group, make(chan error, 1)
	c.done = done
	go func() { done <- c.makeDurable(group) }()
}

// acknowledge says that the group that was under way is durable, if it is by now, or
// when it is.
func (c *committer) acknowledge(wait bool) error {
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
		err = c.durable(group)
	}
	if err != nil {
		c.failed = err
		c.lost()
		closeSegments(group)
	}
	return err
}

// close waits for the disk, and lets go of what is not durable.
func (c *committer) close() {
	if c.group != nil {
		<-c.done
	}
	closeSegments(c.group)
	closeSegments(c.waiting)
	c.group, c.waiting, c.size = nil, nil, 0
}

func closeSegments(of []made) {
	for _, m := range of {
		m.segment.Close() // it is sealed, or of no use
	}
}

package runtime

import (
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/journal"
	"igor.dev/verifier"
)

// A position is where a life stands.
type position struct {
	tick uint64 // the newest that is over

	// The newest checkpoint.
	head      verifier.Hash // zero = there is none
	saved     uint64        // its tick
	savedTime time.Time
}

// base is the newest checkpoint as a journal has it.
func (p *position) base() journal.Base { return journal.Base{Tick: p.saved, Hash: p.head} }

// checkpoint makes the state a checkpoint, and goes on in a fresh instance that
// was restored from it. It does nothing while the tick is that of the newest one.
// It is durable after [committer.waitDurable].
func (l *life) checkpoint(ctx context.Context) error {
	born := !l.head.IsZero()
	if born && l.tick == l.saved {
		return nil
	}
	if born {
		l.enter(Saving, time.Now().Add(saveLimit))
	}
	if l.in.still != nil {
		return l.in.failed(l.in.still)
	}
	l.interrupts.save(true)
	defer l.interrupts.save(false)
	state, fuel, err := l.in.state(ctx)
	if err != nil {
		return err
	}
	return l.save(ctx, state, fuel, false)
}

// save makes a checkpoint of a state, which it took fuel to ask for, and which was
// restored before or not.
func (l *life) save(ctx context.Context, state []byte, fuel uint64, restored bool) error {
	failpoint.Reach(failpoint.StateTaken)
	born := !l.head.IsZero()
	w := l.world.Writer
	var took eventlog.Metered
	if l.metered() {
		took = l.account.store(fuel, w.Stored()+verifier.HeaderSize+uint64(len(state)), l.storedPrice())
		l.watch.status.TickCost += took.Cost
	} else {
		l.account.rest = 0 // which version 1 does not write down
	}
	// A state that cannot be restored would end the life for good, so that is
	// tried before the state becomes part of the history.
	if err := l.prepareNext(ctx); err != nil {
		return err
	}
	fresh, err := l.incarnate(ctx, nil, state, true)
	if err != nil {
		return err
	}
	if fresh.still != nil && !restored {
		defer fresh.close()
		return fresh.failed(fresh.still)
	}
	l.in.close()
	l.in = fresh
	l.closeRetired()
	c := verifier.Checkpoint{
		Version:        verifier.Version4,
		Budget:         l.account.budget,
		PricePerSecond: l.account.price,
		TickNumber:     l.tick,
		WASMHash:       w.Header().WASM,
		PrevHash:       l.head,
		AgentPubKey:    l.public,
		State:          state,

		MajorVersion:    w.Header().MajorVersion,
		LeaseGeneration: w.Header().LeaseGeneration,
	}
	message := c.AppendMessage(make([]byte, 0, verifier.HeaderSize+len(state)))
	signature, err := l.key.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", l.tick, err)
	}
	copy(c.Signature[:], signature)
	next := c.Append(message[:0])
	hash := verifier.Hash(sha256.Sum256(next))
	if err := l.madeAgain(hash); err != nil {
		return err
	}
	if born {
		if err := l.noteFindings(); err != nil {
			return err
		}
	}
	seal := w.Seal
	if l.home.remote() {
		seal = w.SealUnsigned
	}
	if err := seal(hash, took, l.key); err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", l.tick, err)
	}
	failpoint.Reach(failpoint.SegmentSealed)
	m := made{
		Finding: verifier.Finding{ContentHash: hash, PrevHash: l.head, TickNumber: l.tick, Budget: c.Budget, PricePerSecond: c.PricePerSecond},
		bytes:   next,
		segment: w,
		before:  l.base(),
		body:    l.body,
	}
	l.head, l.saved, l.savedTime = hash, l.tick, l.machine.now()
	if !l.recovery.over {
		l.recovery.state = state
	}
	if err := l.openSegment(); err != nil {
		m.segment.Close()
		return err
	}
	m.beginning = l.world.Writer.Beginning()
	if err := l.commits.commit(m); err != nil {
		return err
	}
	failpoint.Reach(failpoint.SegmentMade)
	if !born {
		return nil
	}
	if hash == l.home.due {
		if err := l.arrive(l.home.at); err != nil {
			return err
		}
	}
	return l.checkSaved(ctx, next)
}

// storedPrice is what bytes cost that the next checkpoint stores. One that was lost is
// made again as it was.
func (l *life) storedPrice() int64 {
	if !l.recovery.over && !l.recovery.lost.IsZero() {
		return l.recovery.storedPrice
	}
	return l.PriceStored
}

// exhausted reports whether the agent has no more to pay with.
func (l *life) exhausted(a *account) bool { return a.exhausted() || a.budget == 0 && l.PriceStored > 0 }

// header is that of the segment after the newest checkpoint.
func (l *life) header() eventlog.Header {
	h := eventlog.Header{Version: eventlog.Version2, Prev: l.head, WASM: l.body.wasmHash, Manifest: l.body.manHash, Schedule: fuel.Version1, Rest: l.account.rest}
	if l.head.IsZero() {
		h.First = l.tick // of a fork
	}
	h.MajorVersion, h.LeaseGeneration = l.home.epoch.MajorVersion, l.home.epoch.LeaseGeneration
	return h
}

// makeDurable makes a group of checkpoints durable. It runs beside the life, and
// touches nothing of it that changes.
func (l *life) makeDurable(group []made) error {
	first := &group[0]
	var segments []*eventlog.Writer
	var checkpoints [][]byte
	for _, m := range group {
		segments = append(segments, m.segment)
		checkpoints = append(checkpoints, m.bytes)
	}
	err := l.secure(group, segments)
	if err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", first.TickNumber, err)
	}
	err = l.history.Append(first.PrevHash, func() error {
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

// secure appends a group of checkpoints. Where the home is not the folder, nothing that is
// signed of them was written before.
func (l *life) secure(group []made, segments []*eventlog.Writer) error {
	if !l.home.remote() {
		return l.publishGroup(group)
	}
	if err := l.log.SyncUnsigned(segments...); err != nil {
		return err
	}
	failpoint.Reach(failpoint.SegmentsUnsigned)
	if err := l.publishGroup(group); err != nil {
		return err
	}
	for _, w := range segments {
		if err := w.WriteSignature(); err != nil {
			return err
		}
	}
	failpoint.Reach(failpoint.SegmentsSigned)
	return nil
}

// acknowledged lets the world know of a group that is durable.
func (l *life) acknowledged(group []made) error {
	for _, m := range group {
		l.result.Tick, l.result.Head, l.result.Budget, l.size = m.TickNumber, m.ContentHash, m.Budget, len(m.bytes)
		l.result.Checkpoints++
		if l.archive != nil {
			l.archive.SavedNext(&m.Finding, len(m.bytes))
		}
		if !m.PrevHash.IsZero() { // a genesis is when its folder is
			l.logCheckpoint()
		}
		if err := l.books.give(&m.Finding, m.segment.Totals()); err != nil {
			return err
		}
	}
	l.packing.durable(group[len(group)-1].TickNumber)
	if err := l.sayHead(group); err != nil {
		return err
	}
	if newest := group[len(group)-1]; !newest.PrevHash.IsZero() {
		var accept func(*journal.Journal) error
		if l.home.remote() {
			accept = l.acceptCompacted
		}
		err := l.world.Journal.Compact(newest.before, accept)
		failpoint.Reach(failpoint.JournalCompacted)
		l.home.tidy()
		return err
	}
	return nil
}

// forget is what a life does when a group did not become durable: what was made since
// the newest that did, never was.
func (l *life) forget() { l.head, l.saved = l.result.Head, l.result.Tick }

func (l *life) logCheckpoint() {
	r := &l.result
	l.Log.Info("checkpoint", "tick", r.Tick, "cid", r.Head.CID(), "budget", verifier.FormatMicrocents(r.Budget), "bytes", l.size)
}

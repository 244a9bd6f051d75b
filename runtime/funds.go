package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// funds are what comes into a budget from outside the life, between two ticks: what
// the operator gives, and what compensated effects held.
//
// What such an effect held goes back once, as a release in the event log. That it did,
// the event log says and nothing else, for the budget is made of it; so the journal has
// the effect until a checkpoint that a life can go on from has the release.
type funds struct {
	given    gift // with the run's configuration
	admitted bool
	due      []journal.Effect // compensated, and not known to be released
}

// A gift is what an operator changes.
type gift struct {
	topUp int64  // microcents
	price *int64 // microcents per second, nil = as before
}

// with returns what the life would have with a gift, which is asked for before it comes
// in.
func (l *life) with(g gift) (account, error) {
	after := l.account
	if l.FixedPrice && g.price != nil && (l.Price == nil || *g.price != *l.Price) {
		return after, hint.Wrap(errors.New("the agent pays what its node offered, and nothing else"), "another price is agreed on by a hand-over; a node's own is in its node.json")
	}
	if g.topUp < 0 || g.price != nil && *g.price < 0 {
		return after, errors.New("a top-up or a price is negative")
	}
	if err := after.add(g.topUp); err != nil {
		return after, err
	}
	if g.price != nil {
		after.price = *g.price
	}
	return after, l.authorise(g.topUp)
}

// admitFunds lets in what comes in, between two ticks: what is due, and, once, what
// came with the configuration. It is durable then.
func (l *life) admitFunds() error {
	changed, err := l.release()
	if err != nil {
		return err
	}
	if !l.funds.admitted {
		l.funds.admitted = true
		did, err := l.admitGift(l.funds.given)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if !changed {
		return nil
	}
	if err := l.noteReleases(); err != nil {
		return err
	}
	return l.commit()
}

// noteReleases has the journal know of the releases that the event log has, where a
// successor may have to go on without that part of it.
func (l *life) noteReleases() error {
	if !l.home.remote() {
		return nil
	}
	if err := l.sync(); err != nil {
		return err
	}
	for _, e := range l.world.Journal.Effects() {
		tick := e.Released()
		if tick == 0 || e.Noted() > 0 {
			continue
		}
		if err := l.world.Journal.NoteRelease(e.ID, tick); err != nil {
			return err
		}
	}
	return nil
}

// admitGift writes down what an operator gives, which was authorised.
func (l *life) admitGift(g gift) (changed bool, err error) {
	if g.topUp > 0 {
		if err := l.admit(eventlog.Record{Reason: eventlog.TopUp, Amount: g.topUp}); err != nil {
			return false, err
		}
		changed = true
	}
	if g.price != nil && *g.price != l.account.price {
		l.account.price = *g.price
		if err := l.admit(eventlog.Record{Reason: eventlog.NewPrice}); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// admit writes down that money comes in, or that the price is another one, between two
// ticks.
func (l *life) admit(r eventlog.Record) error {
	r.Kind, r.Tick, r.Price = eventlog.Account, l.tick+1, l.account.price
	if err := l.account.add(r.Amount); err != nil {
		return err
	}
	return l.world.Writer.Append(&r)
}

// authorise asks whether an amount may join the budget.
func (l *life) authorise(amount int64) error {
	adapter := l.engine.config.Budgets
	if adapter == nil || amount == 0 {
		return nil
	}
	err := asking(func(ctx context.Context) error { return adapter.Authorise(ctx, l.public, amount) })
	if err != nil {
		return fmt.Errorf("a budget of %s was not authorised: %w", verifier.FormatMicrocents(amount), err)
	}
	return nil
}

// findReleases finds the compensated effects whose release is not in the event log
// up to the newest checkpoint.
func (l *life) findReleases(s *store.Store) error {
	for _, e := range l.world.Journal.Effects() {
		if e.State == journal.ResolvedCompensated && e.Held > 0 {
			l.funds.due = append(l.funds.due, e)
		}
	}
	if len(l.funds.due) == 0 {
		return nil
	}
	// What the journal notes of a segment that is not here counts. What comes after the
	// newest checkpoint, the event log says.
	for _, e := range slices.Clone(l.funds.due) {
		if tick := e.Noted(); tick > 0 && tick <= l.saved {
			l.released(e.ID, tick)
		}
	}
	if len(l.funds.due) == 0 {
		return nil
	}
	first := l.funds.due[0].Tick
	ticks, err := s.TicksFrom(first)
	if err != nil {
		return err
	}
	for i, tick := range ticks {
		if i == 0 || tick < first {
			continue
		}
		err := l.dropReleased(ticks[i-1]+1, math.MaxUint64)
		if err == nil {
			continue
		}
		// It may have gone back there, if that was after the operator said so.
		l.funds.due = slices.DeleteFunc(l.funds.due, func(e journal.Effect) bool {
			unknown := e.Tick <= tick && e.ResolvedAt < tick
			if unknown {
				l.Log.Warn("what a compensated side effect held stays out of the budget: whether it went back already cannot be known",
					"effect", e.ID.String(), "held", verifier.FormatMicrocents(e.Held), "file", eventlog.FileName(ticks[i-1]+1), "error", err)
			}
			return unknown
		})
	}
	return nil
}

// dropReleased leaves those compensated effects of which a segment, up to a number
// of its records, has no release.
func (l *life) dropReleased(first, records uint64) error {
	if len(l.funds.due) == 0 {
		return nil
	}
	s, err := l.log.Segment(first)
	if err != nil {
		return err
	}
	defer s.Close()
	for range records {
		r, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Kind == eventlog.Account && r.Reason == eventlog.Release {
			l.released(journal.ID(r.Effect), r.Tick)
		}
	}
	return nil
}

func (l *life) released(id journal.ID, tick uint64) {
	l.world.Journal.Released(id, tick)
	l.funds.due = slices.DeleteFunc(l.funds.due, func(e journal.Effect) bool { return e.ID == id })
}

// release gives back what the compensated effects held whose ticks are over: before
// that, nothing was taken for them.
func (l *life) release() (changed bool, err error) {
	for _, e := range slices.Clone(l.funds.due) {
		if e.Tick > l.tick {
			continue
		}
		if err := l.admit(eventlog.Record{Reason: eventlog.Release, Amount: e.Held, Effect: verifier.Hash(e.ID)}); err != nil {
			return changed, err
		}
		changed = true
		l.released(e.ID, l.tick+1)
	}
	return changed, nil
}

package runtime

import (
	"io"
	"math"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// What a compensated effect held goes back into the budget once, as a release in the
// event log. That it did, the event log says and nothing else, for the budget is made
// of it; so the journal has the effect until a checkpoint that a life can go on from
// has the release.

// findReleases finds the compensated effects whose release is not in the event log
// up to the newest checkpoint.
func (l *life) findReleases(s *store.Store) error {
	for _, e := range l.world.Journal.Effects() {
		if e.State == journal.ResolvedCompensated && e.Held > 0 {
			l.releases = append(l.releases, e)
		}
	}
	if len(l.releases) == 0 {
		return nil
	}
	first := l.releases[0].Tick
	ticks, err := s.Ticks()
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
		l.releases = slices.DeleteFunc(l.releases, func(e journal.Effect) bool {
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
	if len(l.releases) == 0 {
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
	l.releases = slices.DeleteFunc(l.releases, func(e journal.Effect) bool { return e.ID == id })
}

// release gives back what the compensated effects held whose ticks are over: before
// that, nothing was taken for them.
func (l *life) release() (changed bool, err error) {
	for _, e := range slices.Clone(l.releases) {
		if e.Tick > l.tick {
			continue
		}
		if err := l.comesIn(eventlog.Record{Reason: eventlog.Release, Amount: e.Held, Effect: verifier.Hash(e.ID)}); err != nil {
			return changed, err
		}
		changed = true
		l.released(e.ID, l.tick+1)
	}
	return changed, nil
}

// comesIn writes down that money comes in, or that the price is another one, between
// two ticks.
func (l *life) comesIn(r eventlog.Record) error {
	r.Kind, r.Tick, r.Price = eventlog.Account, l.tick+1, l.account.price
	if err := l.account.add(r.Amount); err != nil {
		return err
	}
	return l.world.Writer.Append(&r)
}

package sdk

import (
	"errors"

	"igor.dev/effects"
)

// An EffectLog has the agent's side effects: which it meant, which may have
// happened, which are settled. It belongs into the agent's state, for which it
// has AppendBinary and UnmarshalBinary; see [Encoder.Value]. Loaded, what was in
// flight is unresolved.
type EffectLog struct{ effects.Log }

// Act records the intent of a side effect, does it, and notes how it went, in
// one tick, as docs/spec/effects.md asks. The id names the act for ever: one that
// the log has is an error, and nothing is done.
//
// After an error that [MayHaveHappened] the intent is unresolved: find out in a
// later tick (see [EffectLog.Open]). After any other error of act it is
// compensated, and the act can be tried again under another id.
func (l *EffectLog) Act(id string, data []byte, act func() error) error {
	if err := l.Record(id, data); err != nil {
		return err
	}
	if err := l.Begin(id); err != nil {
		return err
	}
	err := act()
	switch {
	case err == nil:
		return l.Confirm(id)
	case MayHaveHappened(err):
		// Loaded, it would be unresolved. It has to be so at once: the state must not
		// depend on where in the life the agent was restored.
		saved, _ := l.MarshalBinary()
		if bad := l.UnmarshalBinary(saved); bad != nil {
			return errors.Join(err, bad)
		}
		return err
	}
	return errors.Join(err, l.Compensate(id))
}

// Open returns the intents whose acts may have happened: those that are
// unresolved, and those that are in flight since an earlier tick. Ask the outside
// world about each at the start of a tick, then Confirm or Compensate it.
func (l *EffectLog) Open() []effects.Intent {
	var open []effects.Intent
	for i := range l.All() {
		if i.State == effects.InFlight || i.State == effects.Unresolved {
			open = append(open, i)
		}
	}
	return open
}

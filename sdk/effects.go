package sdk

import (
	"encoding/binary"
	"errors"

	"igor.dev/effects"
)

// An EffectLog has the agent's side effects: which it meant, which may have
// happened, which are settled. It belongs into the agent's state, for which it
// has AppendBinary and UnmarshalBinary; see [Encoder.Value]. Loaded, what was in
// flight is unresolved.
//
// What a tick did that failed it takes in by itself, so that it is not done again; what
// an operator found out, if the agent is an [Observer]. See [EffectLog.Observe].
type EffectLog struct {
	effects.Log

	requests map[string]asked // by the id of the intent; those of open ones count
	kept     []kept
}

// Record adds the intent of an act, see [effects.Log.Record].
func (l *EffectLog) Record(id string, data []byte) error {
	err := l.Log.Record(id, data)
	if err == nil {
		delete(l.requests, id) // of one of this id that was pruned
	}
	return err
}

// Prune drops the finished intents, see [effects.Log.Prune].
func (l *EffectLog) Prune() int {
	n := l.Log.Prune()
	for id := range l.requests {
		if _, ok := l.Get(id); !ok {
			delete(l.requests, id)
		}
	}
	return n
}

// Act records the intent of a side effect, does it, and notes how it went, in
// one tick, as docs/spec/effects.md asks. The id names the act for ever: one that
// the log has is an error, and nothing is done.
//
// After an error that [MayHaveHappened] the intent is unresolved: find out in a
// later tick (see [EffectLog.Open]). After any other error of act it is
// compensated, and the act can be tried again under another id. What was paid and is
// [ErrNotDelivered] happened: the intent is confirmed, and the error returned.
//
// An act makes one request. If it makes several, the newest is the one that the
// host's findings are about.
func (l *EffectLog) Act(id string, data []byte, act func() error) error {
	if err := l.Record(id, data); err != nil {
		return err
	}
	if err := l.Begin(id); err != nil {
		return err
	}
	err := l.do(id, act)
	switch {
	case err == nil:
		return l.Confirm(id)
	case errors.Is(err, ErrNotDelivered):
		return errors.Join(err, l.Confirm(id))
	case MayHaveHappened(err):
		// Loaded, it would be unresolved. It has to be so at once: the state must not
		// depend on where in the life the agent was restored.
		saved, _ := l.Log.MarshalBinary()
		if bad := l.Log.UnmarshalBinary(saved); bad != nil {
			return errors.Join(err, bad)
		}
		return err
	}
	return errors.Join(err, l.Compensate(id))
}

func (l *EffectLog) do(id string, f func() error) error {
	before := acting
	acting = &act{l, id}
	defer func() { acting = before }()
	return f()
}

func (l *EffectLog) isOpen(id string) bool {
	i, ok := l.Get(id)
	return ok && (i.State == effects.InFlight || i.State == effects.Unresolved)
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

// extended stands where the count of intents would, if more is known of them: see
// docs/spec/effects.md.
const extended = 0xffffffff

const (
	askedSize = 4 + 1 + 32
	keptSize  = 1 + 32 + 32 + 8 + 4
)

// AppendBinary appends the wire form of the log to b. It never fails; the error is
// there for [encoding.BinaryAppender].
func (l *EffectLog) AppendBinary(b []byte) ([]byte, error) {
	if collecting != nil {
		*collecting = append(*collecting, l)
	}
	var places []byte
	n, at := uint32(0), uint32(0)
	if len(l.requests) > 0 {
		for i := range l.All() {
			if r, ok := l.requests[i.ID]; ok && !i.State.Finished() && i.State != effects.Recorded {
				places = binary.LittleEndian.AppendUint32(places, at)
				places = append(places, flag(r.confirmed))
				places = append(places, r.digest[:]...)
				n++
			}
			at++
		}
	}
	if n > 0 || len(l.kept) > 0 {
		b = binary.LittleEndian.AppendUint32(b, extended)
		b = append(binary.LittleEndian.AppendUint32(b, n), places...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(l.kept)))
		for _, k := range l.kept {
			b = append(b, byte(k.outcome))
			b = append(b, k.effect[:]...)
			b = append(b, k.digest[:]...)
			b = binary.LittleEndian.AppendUint64(b, uint64(k.returned))
			b = appendPart(b, k.result)
		}
	}
	return l.Log.AppendBinary(b)
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// MarshalBinary returns the wire form of the log. It never fails; the error is
// there for [encoding.BinaryMarshaler].
func (l *EffectLog) MarshalBinary() ([]byte, error) { return l.AppendBinary(nil) }

// UnmarshalBinary replaces the log with the one whose wire form is b. What was
// in-flight is unresolved in it. On an error, which wraps [effects.ErrMalformed],
// the log is unchanged. It does not keep b.
func (l *EffectLog) UnmarshalBinary(b []byte) error {
	var loaded EffectLog
	var places []uint32
	var requests []asked
	if len(b) >= 4 && binary.LittleEndian.Uint32(b) == extended {
		d := Decoder{b: b[4:]}
		last := int64(-1)
		n := d.Count(askedSize)
		for range n {
			p := d.take(askedSize)
			at := binary.LittleEndian.Uint32(p)
			if int64(at) <= last || p[4] > 1 {
				return malformedLog("a request that is out of its order, or in no known state")
			}
			last = int64(at)
			places = append(places, at)
			requests = append(requests, asked{[32]byte(p[5:]), p[4] == 1})
		}
		n, size := d.Count(keptSize), 0
		if n > maxFindings {
			return malformedLog("more than 1024 findings")
		}
		for range n {
			p := d.take(keptSize)
			if p == nil {
				break
			}
			k := kept{Outcome(p[0]), [32]byte(p[1:]), [32]byte(p[33:]), int64(binary.LittleEndian.Uint64(p[65:])), nil}
			length := binary.LittleEndian.Uint32(p[73:])
			if size += int(min(length, maxResults+1)); size > maxResults {
				return malformedLog("results over their limit of 2097152 bytes")
			}
			if length > 0 {
				k.result = append([]byte(nil), d.take(int(length))...)
			}
			switch k.outcome {
			case OutcomeEnded:
			case OutcomeConfirmed, OutcomeUnresolved:
				if k.returned != 0 || length > 0 {
					return malformedLog("an answer to what has none")
				}
			default:
				return malformedLog("a finding of an outcome that cannot be kept")
			}
			for _, other := range loaded.kept {
				if other.effect == k.effect {
					return malformedLog("an effect that stands twice")
				}
			}
			loaded.kept = append(loaded.kept, k)
		}
		if d.err != nil {
			return malformedLog("it is cut short")
		}
		if len(requests)+len(loaded.kept) == 0 {
			return malformedLog("an extension of nothing")
		}
		b = d.b
	}
	if err := loaded.Log.UnmarshalBinary(b); err != nil {
		return err
	}
	owes := false
	if len(requests) > 0 {
		loaded.requests = make(map[string]asked, len(requests))
		at := uint32(0)
		for i := range loaded.All() {
			if len(places) > 0 && places[0] == at {
				if i.State != effects.Unresolved {
					return malformedLog("a request of an intent that is not open")
				}
				loaded.requests[i.ID] = requests[0]
				owes = owes || requests[0].confirmed
				places, requests = places[1:], requests[1:]
			}
			at++
		}
		if len(places) > 0 {
			return malformedLog("a request of an intent that is not there")
		}
	}
	*l = loaded
	if owes {
		owing = append(owing, l)
	}
	return nil
}

type malformedLog string

func (m malformedLog) Error() string {
	return "effects: " + effects.ErrMalformed.Error() + ": " + string(m)
}
func (malformedLog) Unwrap() error { return effects.ErrMalformed }

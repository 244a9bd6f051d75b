package effects

import (
	"errors"
	"iter"
	"strconv"
)

// A State is where an intent stands. The values are those of the wire form.
type State uint8

const (
	Recorded    State = 1 // meant; the act has not begun
	InFlight    State = 2 // the act may be under way or done
	Confirmed   State = 3 // the act happened; final
	Unresolved  State = 4 // was in-flight when saved: the outcome is not known
	Compensated State = 5 // the act did not happen, or was undone; final
)

// String returns the state's name, such as "in-flight".
func (s State) String() string {
	switch s {
	case Recorded:
		return "recorded"
	case InFlight:
		return "in-flight"
	case Confirmed:
		return "confirmed"
	case Unresolved:
		return "unresolved"
	case Compensated:
		return "compensated"
	}
	return "state " + strconv.Itoa(int(s))
}

// Finished reports whether the state is final: confirmed or compensated.
func (s State) Finished() bool {
	return s == Confirmed || s == Compensated
}

// An Intent is one act and where it stands. It is a copy: changing it does not
// change the log.
type Intent struct {
	ID    string
	Data  []byte
	State State
}

// The causes that an [Error] wraps.
var (
	ErrUnknown    = errors.New("unknown intent")
	ErrDuplicate  = errors.New("duplicate intent")
	ErrTransition = errors.New("wrong transition")
	ErrLimit      = errors.New("over a limit")
)

// An Error is an operation that a [Log] refused. The log is unchanged.
type Error struct {
	Op    string // "record", "begin", "confirm" or "compensate"
	ID    string // the intent's id, its first MaxID bytes if it is longer
	State State  // the intent's state, or 0 if the log does not hold it
	Err   error  // [ErrUnknown], [ErrDuplicate], [ErrTransition] or [ErrLimit]

	detail string
}

// Error names the operation, the intent, what is wrong and the next step.
func (e *Error) Error() string {
	return "effects: " + e.Op + " " + strconv.Quote(e.ID) + ": " + e.detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// entry holds its data as a string, so that nobody outside can change it.
type entry struct {
	id, data string
	state    State
}

func (e *entry) intent() Intent {
	return Intent{ID: e.id, Data: []byte(e.data), State: e.state}
}

// A Log is an intent log. The zero Log is empty and ready to use. A Log must
// not be copied after its first use, nor used by two goroutines at once.
type Log struct {
	// entries is in the order of recording; byID finds by id and is never
	// ranged over, because map order would make the log nondeterministic.
	entries []*entry
	byID    map[string]*entry
	size    int // of the wire form, without the count
}

// Record adds the intent to do what data says, under a new id. The id names
// one act for ever: derive it from what causes the act, so that the same cause
// met again is a duplicate. A copy of data is kept.
func (l *Log) Record(id string, data []byte) error {
	refuse := func(s State, cause error, detail string) error {
		return &Error{Op: "record", ID: id, State: s, Err: cause, detail: detail}
	}
	size := intentOverhead + len(id) + len(data)
	switch e := l.byID[id]; {
	case e != nil:
		return refuse(e.state, ErrDuplicate, "the log holds it already, "+e.state.String()+"; a new act needs a new id")
	case len(id) == 0:
		return refuse(0, ErrLimit, "the id is empty; give each act an id of its own")
	case len(id) > MaxID:
		return &Error{Op: "record", ID: id[:MaxID], Err: ErrLimit,
			detail: "the id is " + strconv.Itoa(len(id)) + " bytes, the limit is " + strconv.Itoa(MaxID) + "; use a hash of it"}
	case len(data) > MaxData:
		return refuse(0, ErrLimit, "the data is "+strconv.Itoa(len(data))+" bytes, the limit is "+strconv.Itoa(MaxData)+"; record a reference to it")
	case len(l.entries) >= MaxIntents:
		return refuse(0, ErrLimit, "the log holds "+strconv.Itoa(MaxIntents)+" intents, the limit; prune the finished ones")
	case countSize+l.size+size > MaxSize:
		return refuse(0, ErrLimit, "the log would be over "+strconv.Itoa(MaxSize)+" bytes, the limit; prune the finished intents")
	}
	l.add(&entry{id: id, data: string(data), state: Recorded})
	return nil
}

// Begin says that the act is about to start. Call it, and save, before the act.
func (l *Log) Begin(id string) error {
	return l.move("begin", id, InFlight)
}

// Confirm says that the act happened.
func (l *Log) Confirm(id string) error {
	return l.move("confirm", id, Confirmed)
}

// Compensate says that the act did not happen, or that it was undone.
func (l *Log) Compensate(id string) error {
	return l.move("compensate", id, Compensated)
}

// move is the transition table.
func (l *Log) move(op, id string, to State) error {
	e := l.byID[id]
	if e == nil {
		if len(id) > MaxID {
			id = id[:MaxID]
		}
		return &Error{Op: op, ID: id, Err: ErrUnknown, detail: "the log does not hold it; record it first"}
	}
	var ok bool
	if to == InFlight {
		ok = e.state == Recorded
	} else {
		ok = e.state == InFlight || e.state == Unresolved
	}
	if !ok {
		next := "begin it first"
		switch e.state {
		case InFlight, Unresolved:
			next = "find out whether the act happened, then confirm or compensate it"
		case Confirmed, Compensated:
			next = "that is final, a new act needs a new intent"
		}
		return &Error{Op: op, ID: id, State: e.state, Err: ErrTransition, detail: "it is " + e.state.String() + "; " + next}
	}
	e.state = to
	return nil
}

// Prune drops the finished intents and returns how many there were. The log
// then no longer knows their ids, and would record one again: prune an intent
// only when nothing can ask for its act a second time.
func (l *Log) Prune() int {
	// A new slice, so that a loop over the old one goes on undisturbed.
	var kept []*entry
	for _, e := range l.entries {
		if e.state.Finished() {
			delete(l.byID, e.id)
			l.size -= intentOverhead + len(e.id) + len(e.data)
		} else {
			kept = append(kept, e)
		}
	}
	n := len(l.entries) - len(kept)
	l.entries = kept
	return n
}

// Len returns the number of intents in the log, in any state.
func (l *Log) Len() int { return len(l.entries) }

// Get returns the intent with the given id, and whether the log holds it.
func (l *Log) Get(id string) (Intent, bool) {
	e := l.byID[id]
	if e == nil {
		return Intent{}, false
	}
	return e.intent(), true
}

// All returns the intents in the order of their recording. The log may be
// changed during the loop: each intent comes as it stands when its turn comes,
// and those recorded or pruned meanwhile do not come.
func (l *Log) All() iter.Seq[Intent] {
	return l.where(func(State) bool { return true })
}

// Pending returns, like [Log.All], the intents that are not finished:
// recorded, in-flight or unresolved.
func (l *Log) Pending() iter.Seq[Intent] {
	return l.where(func(s State) bool { return !s.Finished() })
}

// Unresolved returns, like [Log.All], the intents that were in-flight when the
// log was saved, and wait for Confirm or Compensate.
func (l *Log) Unresolved() iter.Seq[Intent] {
	return l.where(func(s State) bool { return s == Unresolved })
}

func (l *Log) where(want func(State) bool) iter.Seq[Intent] {
	return func(yield func(Intent) bool) {
		for _, e := range l.entries {
			// An entry that the loop's body pruned is in the old slice still.
			if l.byID[e.id] == e && want(e.state) && !yield(e.intent()) {
				return
			}
		}
	}
}

func (l *Log) add(e *entry) {
	if l.byID == nil {
		l.byID = make(map[string]*entry)
	}
	l.byID[e.id] = e
	l.entries = append(l.entries, e)
	l.size += intentOverhead + len(e.id) + len(e.data)
}

package effects

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// The limits of a log. [Log.Record] keeps them and [Log.UnmarshalBinary]
// checks them, so a log that can be built can be saved and loaded.
const (
	MaxIntents = 1 << 16  // intents in a log
	MaxID      = 256      // bytes in an id, of which there is at least one
	MaxData    = 2 << 20  // bytes of data in an intent; holds any request that a host takes
	MaxSize    = 16 << 20 // bytes in the wire form of a log
)

const (
	countSize      = 4
	intentOverhead = 1 + 4 + 4 // state, id length, data length
)

// ErrMalformed is what an error of [Log.UnmarshalBinary] wraps: the bytes are
// not a log.
var ErrMalformed = errors.New("malformed effect log")

// AppendBinary appends the wire form of the log to b. It never fails; the
// error is there for [encoding.BinaryAppender].
func (l *Log) AppendBinary(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.entries)))
	for _, e := range l.entries {
		b = append(b, byte(e.state))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.id)))
		b = append(b, e.id...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.data)))
		b = append(b, e.data...)
	}
	return b, nil
}

// MarshalBinary returns the wire form of the log. It never fails; the error is
// there for [encoding.BinaryMarshaler].
func (l *Log) MarshalBinary() ([]byte, error) {
	return l.AppendBinary(make([]byte, 0, countSize+l.size))
}

// UnmarshalBinary replaces the log with the one whose wire form is b. What was
// in-flight is unresolved in it. On an error, which wraps [ErrMalformed], the
// log is unchanged. It does not keep b.
func (l *Log) UnmarshalBinary(b []byte) error {
	if len(b) > MaxSize {
		return malformed("it is " + strconv.Itoa(len(b)) + " bytes, the limit is " + strconv.Itoa(MaxSize))
	}
	d := decoder{b: b}
	count, ok := d.uint32()
	if !ok {
		return malformed("it is " + strconv.Itoa(len(b)) + " bytes, too short for the count of its intents")
	}
	if count > MaxIntents {
		return malformed("it claims " + utoa(count) + " intents, the limit is " + strconv.Itoa(MaxIntents))
	}
	// Nothing is allocated by what the bytes claim: entries grow as they are read.
	var loaded Log
	for i := range count {
		at := d.off
		e, problem := d.entry()
		if problem == "" && loaded.byID[e.id] != nil {
			problem = "the id " + strconv.Quote(e.id) + " stands twice"
		}
		if problem != "" {
			return malformed("intent " + utoa(i) + " of " + utoa(count) + ", at byte " + strconv.Itoa(at) + ": " + problem)
		}
		loaded.add(e)
	}
	if rest := len(d.b) - d.off; rest > 0 {
		return malformed(strconv.Itoa(rest) + " bytes follow the last intent, at byte " + strconv.Itoa(d.off))
	}
	*l = loaded
	return nil
}

// A decoder reads b from off on.
type decoder struct {
	b   []byte
	off int
}

// entry reads one intent, or says what is wrong with it.
func (d *decoder) entry() (e *entry, problem string) {
	if d.off == len(d.b) {
		return nil, "the bytes end before its state"
	}
	state := State(d.b[d.off])
	d.off++
	switch state {
	case Recorded, Confirmed, Unresolved, Compensated:
	case InFlight:
		state = Unresolved // the one rule
	default:
		return nil, "unknown state " + strconv.Itoa(int(state)) + ", want 1 to 5"
	}
	id, problem := d.bytes("id", MaxID)
	if problem == "" && id == "" {
		problem = "the id is empty"
	}
	if problem != "" {
		return nil, problem
	}
	data, problem := d.bytes("data", MaxData)
	if problem != "" {
		return nil, problem
	}
	return &entry{id: id, data: data, state: state}, ""
}

// bytes reads a length and as many bytes.
func (d *decoder) bytes(what string, limit uint32) (s, problem string) {
	n, ok := d.uint32()
	if !ok {
		return "", "the bytes end before the length of its " + what
	}
	if n > limit {
		return "", "the length of its " + what + " is " + utoa(n) + ", the limit is " + utoa(limit)
	}
	// The limit is checked, so n fits an int of any size.
	if rest := len(d.b) - d.off; int(n) > rest {
		return "", "the length of its " + what + " is " + utoa(n) + ", but " + strconv.Itoa(rest) + " bytes are left"
	}
	s = string(d.b[d.off : d.off+int(n)])
	d.off += int(n)
	return s, ""
}

func (d *decoder) uint32() (n uint32, ok bool) {
	if len(d.b)-d.off < 4 {
		return 0, false
	}
	n = binary.LittleEndian.Uint32(d.b[d.off:])
	d.off += 4
	return n, true
}

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

type malformed string

func (m malformed) Error() string { return "effects: " + ErrMalformed.Error() + ": " + string(m) }
func (malformed) Unwrap() error   { return ErrMalformed }

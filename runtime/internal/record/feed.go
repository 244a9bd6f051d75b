package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
)

// A Feed gives the observations of one segment, one after the other.
type Feed struct {
	log    *eventlog.Log
	from   *eventlog.Segment
	header eventlog.Header
	left   uint64 // records that are not read
	next   eventlog.Record
	have   bool
	err    error
}

// NewFeed reads the segment whose first tick is given, up to a number of records.
func NewFeed(log *eventlog.Log, first, records uint64) (*Feed, error) {
	s, err := log.Segment(first)
	if err != nil {
		return nil, err
	}
	f := &Feed{log: log, from: s, left: records}
	f.header, f.err = s.Header()
	return f, nil
}

// Close closes the segment.
func (f *Feed) Close() error {
	if f == nil {
		return nil
	}
	return f.from.Close()
}

// peek returns the next record that is an observation, or nil after the last one.
// It is valid until take. What money came in is the account's, and where a fork
// comes from and which program runs its operator's, not the agent's.
func (f *Feed) peek() (*eventlog.Record, error) {
	if f == nil {
		return nil, nil
	}
	for !f.have && f.err == nil && f.left > 0 {
		f.left--
		f.next, f.err = f.from.Next()
		if f.err == io.EOF {
			f.err, f.left = nil, 0
			break
		}
		f.have = f.err == nil && f.next.Kind != eventlog.Account && f.next.Kind != eventlog.Origin && f.next.Kind != eventlog.Upgrade
	}
	if f.err != nil || !f.have {
		return nil, f.err
	}
	return &f.next, nil
}

// take goes on to the next record.
func (f *Feed) take() { f.have = false }

// More reports whether there is an observation left.
func (f *Feed) More() (bool, error) {
	r, err := f.peek()
	return r != nil, err
}

// A Divergence is where running again does not do what was recorded.
type Divergence struct {
	Tick uint64
	Call int // of the hostcall in its tick, from 0

	// Recorded and Got name the hostcalls, or the tick's end.
	Recorded, Got string

	// What was recorded and what was there now: what the agent asked, or what a
	// tick or kv_get returned. At is the first byte in which they differ.
	At                      int
	RecordedBytes, GotBytes []byte
}

func (d *Divergence) Error() string {
	if d.Recorded != d.Got {
		return fmt.Sprintf("tick %d, hostcall %d: recorded is %s, and the agent does %s", d.Tick, d.Call, d.Recorded, d.Got)
	}
	return fmt.Sprintf("tick %d, hostcall %d: %s differs at byte %d: recorded is %s, and the agent has %s",
		d.Tick, d.Call, d.Recorded, d.At, Excerpt(d.RecordedBytes, d.At), Excerpt(d.GotBytes, d.At))
}

// Excerpt shows the bytes around a position.
func Excerpt(b []byte, at int) string {
	const before, after = 4, 12
	if at >= len(b) {
		return fmt.Sprintf("the end (%d bytes)", len(b))
	}
	return fmt.Sprintf("%x", b[max(0, at-before):min(len(b), at+after)])
}

// FirstDifference returns the first byte in which a and b differ.
func FirstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		return n
	}
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ErrMissing says that an observation was recorded, and its bytes are not there.
var ErrMissing = errors.New("what was observed is not there, so the tick cannot be executed again")

// content returns a payload of a record. It is valid until take.
func (f *Feed) content(d eventlog.Data) ([]byte, error) {
	b, err := f.log.Content(d)
	if err != nil && !eventlog.Gone(err) {
		return nil, err
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: %w", ErrMissing, err), "restore events/payloads from a copy")
	}
	return b, nil
}

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier/receipt"
)

// A LogLine is what an agent said in a tick.
type LogLine struct {
	Tick uint64 `json:"tick,string"`
	Line string `json:"line"`

	// Time is when, as near as anybody knows. The event log has no times of its own.
	Time   time.Time  `json:"time,omitzero"`
	TimeBy TimeSource `json:"timeBy,omitempty"`
}

// A TimeSource says how the time of a line is known.
type TimeSource string

// The sources of times, the best first.
const (
	TimeByClock      TimeSource = "clock"      // the agent looked at the clock in that tick, before
	TimeByCheckpoint TimeSource = "checkpoint" // a node signed for the checkpoint after it
	TimeByFile       TimeSource = "file"       // the segment of the event log was last written then
)

// LogsConfig says which lines [Logs] gives.
type LogsConfig struct {
	From   uint64    // begin with this tick
	Since  time.Time // leave out what is older
	Tail   int       // the last so many of those that there are, if it is more than 0
	Follow bool      // go on with what comes, until ctx is over
}

// followEvery is how often [Logs] looks whether there is more.
const followEvery = 250 * time.Millisecond

// Logs calls each with every line that the agent in dir logged, as its event log has
// them, unverified. What is missing or damaged its error says, at the end: it gives the
// others all the same.
func Logs(ctx context.Context, dir string, c LogsConfig, each func(LogLine) error) error {
	events := filepath.Join(dir, store.DirEvents)
	ticks, err := segmentTicks(events)
	if err != nil {
		return err
	}
	if len(ticks) == 0 {
		return noEventLog(dir)
	}
	l := &logs{LogsConfig: c, dir: dir, each: each, times: receiptTimes(dir), newest: ticks[len(ticks)-1]}
	var closeLog func()
	if l.log, closeLog, err = openReadOnly(events); err != nil {
		return err
	}
	defer closeLog()
	if c.Tail > 0 {
		err = l.tail(ctx, ticks)
	} else {
		for _, first := range ticks {
			if err = ctx.Err(); err == nil {
				err = l.segment(first)
			}
			if err != nil {
				break
			}
		}
	}
	if err == nil && c.Follow {
		err = l.follow(ctx, events, ticks[len(ticks)-1])
	}
	if err != nil {
		return err
	}
	if l.unread == nil && c.Tail == 0 && !c.Follow {
		l.unread = missingSegment(dir, ticks, c.From)
	}
	return l.unread
}

type logs struct {
	LogsConfig
	dir    string
	log    *eventlog.Log
	each   func(LogLine) error
	times  map[uint64]time.Time // of checkpoints, by their ticks
	newest uint64               // segment when it began: those before it are whole
	read   uint64               // records of the segment that was read last
	unread error                // the first segment that could not be
}

// segment gives the lines of a segment.
func (l *logs) segment(first uint64) error {
	l.read = 0
	return l.more(first)
}

// more gives those that come after what was read.
func (l *logs) more(first uint64) (refused error) {
	name := filepath.Join(store.DirEvents, eventlog.FileName(first))
	s, err := l.log.Segment(first)
	if err != nil {
		l.bad(name, err)
		return nil
	}
	defer s.Close()
	var lines []LogLine
	var now time.Time // by the agent's clock
	var nowTick, last uint64
	for n := uint64(0); ; n++ {
		var r eventlog.Record
		if r, err = s.Next(); err != nil {
			break
		}
		last = r.Tick
		if r.Kind == eventlog.ClockNow {
			now, nowTick = time.Unix(0, r.Return).UTC(), r.Tick
		}
		if n < l.read {
			continue
		}
		l.read++
		if r.Kind != eventlog.LogEmit || r.Tick < l.From {
			continue
		}
		text, err := l.log.Content(r.Request)
		if err != nil {
			l.bad(name, err)
			text = []byte("(a line that cannot be read)")
		}
		line := LogLine{Tick: r.Tick, Line: strings.ToValidUTF8(string(text), "\uFFFD")}
		if nowTick == r.Tick && !now.IsZero() {
			line.Time, line.TimeBy = now, TimeByClock
		}
		lines = append(lines, line)
	}
	if _, sealed := s.Seal(); first < l.newest && !sealed && (err == io.EOF || eventlog.Torn(err)) {
		l.bad(name, errors.New("it is cut short"))
	} else if err != io.EOF && !eventlog.Torn(err) { // torn: the life goes on there
		l.bad(name, err)
	}
	if len(lines) == 0 {
		return nil
	}
	by, source := l.times[last], TimeByCheckpoint
	if by.IsZero() {
		if info, err := os.Stat(filepath.Join(l.dir, name)); err == nil {
			by, source = info.ModTime().UTC(), TimeByFile
		}
	}
	for _, line := range lines {
		if line.TimeBy == "" {
			line.Time, line.TimeBy = by, source
		}
		if line.Time.Before(l.Since) {
			continue
		}
		if err := l.each(line); err != nil {
			return err
		}
	}
	return nil
}

// bad keeps the first thing that could not be read.
func (l *logs) bad(name string, err error) {
	if l.unread == nil {
		path := filepath.Join(l.dir, name)
		l.unread = hint.Wrap(&DamagedError{File: name, err: fmt.Errorf("%s cannot be read, and what the agent said there is not here: %w", path, plainPath(err))},
			"restore it from a copy")
	}
}

// tail gives the last lines.
func (l *logs) tail(ctx context.Context, ticks []uint64) error {
	give, n := l.each, 0
	var last [][]LogLine // of segments, the newest first
	newest := l.read
	for i, first := range slices.Backward(ticks) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var of []LogLine
		l.each = func(line LogLine) error { of = append(of, line); return nil }
		if err := l.segment(first); err != nil {
			return err
		}
		if i == len(ticks)-1 {
			newest = l.read
		}
		last, n = append(last, of), n+len(of)
		if n >= l.Tail || first <= l.From {
			break
		}
	}
	l.each, l.read = give, newest
	leave := max(0, n-l.Tail)
	for _, of := range slices.Backward(last) {
		for _, line := range of {
			if leave > 0 {
				leave--
			} else if err := give(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow gives what comes after the segment that was read last.
func (l *logs) follow(ctx context.Context, events string, first uint64) error {
	size := func() int64 {
		if info, err := os.Stat(filepath.Join(events, eventlog.FileName(first))); err == nil {
			return info.Size()
		}
		return -1
	}
	for seen := size(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		ticks, err := segmentTicks(events)
		if err != nil {
			return err
		}
		if now := size(); now != seen {
			seen = now
			if err := l.more(first); err != nil {
				return err
			}
		}
		for _, next := range ticks {
			if next <= first {
				continue
			}
			if err := l.more(first); err != nil { // what came before it was sealed
				return err
			}
			first = next
			if err := l.segment(first); err != nil {
				return err
			}
			seen = size()
		}
	}
}

// receiptTimes are when nodes signed for an agent's checkpoints, by their ticks.
func receiptTimes(dir string) map[uint64]time.Time {
	times := map[uint64]time.Time{}
	f, err := os.Open(filepath.Join(dir, "receipts"))
	if err != nil {
		return times
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return times
	}
	for r := receipt.NewReader(f); ; {
		got, err := r.Next()
		if err != nil {
			return times
		}
		if e, ok := got.(*receipt.Execution); ok && times[e.Tick].IsZero() {
			times[e.Tick] = time.Unix(0, e.Time).UTC()
		}
	}
}

// missingSegment says so if a segment is missing of the ticks from one on.
func missingSegment(dir string, ticks []uint64, from uint64) error {
	names, err := checkpointNames(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, in := range intervals(dir, names) {
		if _, ok := slices.BinarySearch(ticks, in[0]); !ok && in[1] >= from {
			file := filepath.Join(store.DirEvents, eventlog.FileName(in[0]))
			return hint.Wrap(&DamagedError{File: file, err: fmt.Errorf("%s is missing, and what the agent said in ticks %d to %d is not here", filepath.Join(dir, file), in[0], in[1])},
				"restore the folder events from a copy")
		}
	}
	return nil
}

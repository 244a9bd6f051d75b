package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
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
	l := &logs{LogsConfig: c, dir: dir, each: each, times: map[uint64]time.Time{}}
	if l.packed, err = l.packs(events); err != nil {
		return err
	}
	there := ticks
	if n := len(l.packed); n > 0 { // what is packed is there twice where a process was killed
		ticks = slices.DeleteFunc(slices.Clone(ticks), func(first uint64) bool { return first <= l.packed[n-1].last })
	}
	if len(ticks) == 0 && len(l.packed) > 0 {
		if ticks, err = l.packed[len(l.packed)-1].ticks(); err != nil {
			return err
		}
		l.packed = l.packed[:len(l.packed)-1]
	}
	if len(ticks) == 0 {
		return noEventLog(dir)
	}
	var closeLog func()
	if l.log, closeLog, err = openReadOnly(events); err != nil {
		return err
	}
	defer closeLog()
	l.newest = ticks[len(ticks)-1]
	if c.Tail > 0 {
		err = l.tail(ctx, ticks)
	} else {
		err = l.all(ctx, ticks)
	}
	if err == nil && c.Follow {
		err = l.follow(ctx, events, ticks[len(ticks)-1])
	}
	if err != nil {
		return err
	}
	if l.unread == nil && c.Tail == 0 && !c.Follow {
		l.unread = missingSegment(dir, there, c.From)
	}
	return l.unread
}

type logs struct {
	LogsConfig
	dir    string
	log    *eventlog.Log
	packed []logPack // before those that are files of their own
	each   func(LogLine) error
	times  map[uint64]time.Time // of checkpoints, by their ticks, in the part that is read
	from   int64                // where the receipts are of the newest part
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

// A logPack is a part of the event log, of which little is read before it is needed.
type logPack struct {
	first, last uint64 // ticks
	lines       uint64 // that the agent logged, if that is known
	known       bool
	receipts    [2]int64 // where its receipts are, from and to
	ticks       func() ([]uint64, error)
}

// packs lists the packed parts of an event log, and last where the receipts are of the
// rest.
func (l *logs) packs(events string) (all []logPack, err error) {
	root, err := os.OpenRoot(events)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	spans, err := store.NewPacks(root).Spans()
	if err != nil {
		return nil, err
	}
	var mark *pack.Mark
	if b, _, err := l.newestCheckpoint(); err == nil {
		var others []store.Other
		if mark, others, _ = store.SignedMark(l.dir, b); len(others) > 0 {
			mark = nil
		}
		for _, o := range others {
			at, _ := slices.BinarySearchFunc(spans, o.First, func(s store.Span, tick uint64) int { return cmp.Compare(s.Last, tick) })
			if _, err := root.Lstat(o.Pack()); errors.Is(err, fs.ErrNotExist) && filepath.Dir(o.Name) == store.DirEvents && (at == len(spans) || spans[at].First > o.Last) {
				spans = slices.Insert(spans, at, o.Span)
			}
		}
	}
	from := uint64(0)
	for _, s := range spans {
		p := logPack{first: s.First, last: s.Last, receipts: [2]int64{0, math.MaxInt64}, ticks: func() ([]uint64, error) {
			root, err := os.OpenRoot(events)
			if err != nil {
				return nil, err
			}
			defer root.Close()
			return store.NewPacks(root).Ticks(s)
		}}
		if mark != nil {
			for _, f := range mark.Index.Files {
				if f.First == s.First && f.Last == s.Last {
					p.lines, p.known, p.receipts[1] = f.Lines, true, int64(f.Receipts)
				}
			}
			p.receipts[0] = int64(from)
			from = uint64(min(p.receipts[1], math.MaxInt64))
		}
		all = append(all, p)
	}
	if mark != nil {
		l.from = int64(mark.Index.Files[len(mark.Index.Files)-1].Receipts)
	}
	return all, nil
}

// newestCheckpoint says whose the folder is.
func (l *logs) newestCheckpoint() (agent verifier.PublicKey, tick uint64, err error) {
	h, err := store.OpenHistory(l.dir)
	if err != nil {
		return agent, 0, err
	}
	defer h.Close()
	for f, err := range h.Backward() {
		if err != nil {
			return agent, 0, err
		}
		b, err := f.Read()
		if err != nil {
			return agent, 0, err
		}
		if c, err := verifier.Parse(b); err == nil {
			return c.AgentPubKey, c.TickNumber, nil
		}
	}
	return agent, 0, fs.ErrNotExist
}

// all gives the lines of all parts.
func (l *logs) all(ctx context.Context, ticks []uint64) error {
	for _, p := range l.packed {
		if p.last < l.From || p.known && p.lines == 0 {
			continue
		}
		of, err := p.ticks()
		if err != nil {
			l.bad(filepath.Join(store.DirEvents, store.Span{First: p.first, Last: p.last}.Pack()), err)
			continue
		}
		l.times = receiptTimes(l.dir, p.receipts[0], p.receipts[1])
		if err := l.segments(ctx, of); err != nil {
			return err
		}
	}
	l.times = receiptTimes(l.dir, l.from, math.MaxInt64)
	return l.segments(ctx, ticks)
}

func (l *logs) segments(ctx context.Context, ticks []uint64) error {
	for i, first := range ticks {
		if i+1 < len(ticks) && ticks[i+1] <= l.From {
			continue
		}
		err := ctx.Err()
		if err == nil {
			err = l.segment(first)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tail gives the last lines.
func (l *logs) tail(ctx context.Context, ticks []uint64) error {
	give, n := l.each, 0
	var last [][]LogLine // of segments, the newest first
	newest, over := l.read, false
	part := func(ticks []uint64, whole bool) error {
		for i, first := range slices.Backward(ticks) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var of []LogLine
			l.each = func(line LogLine) error { of = append(of, line); return nil }
			if err := l.segment(first); err != nil {
				return err
			}
			if whole && i == len(ticks)-1 {
				newest = l.read
			}
			last, n = append(last, of), n+len(of)
			if over = n >= l.Tail || first <= l.From; over {
				break
			}
		}
		return nil
	}
	l.times = receiptTimes(l.dir, l.from, math.MaxInt64)
	if err := part(ticks, true); err != nil {
		return err
	}
	for _, p := range slices.Backward(l.packed) {
		if over || p.last < l.From {
			break
		}
		if p.known && p.lines == 0 {
			continue
		}
		of, err := p.ticks()
		if err != nil {
			l.bad(filepath.Join(store.DirEvents, store.Span{First: p.first, Last: p.last}.Pack()), err)
			continue
		}
		l.times = receiptTimes(l.dir, p.receipts[0], p.receipts[1])
		if err := part(of, false); err != nil {
			return err
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
		ticks, err := ticksAfter(events, first)
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

// ticksAfter returns the first ticks of the segments after one, also of those that were
// packed since.
func ticksAfter(events string, first uint64) ([]uint64, error) {
	loose, err := segmentTicks(events)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(events)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	packs := store.NewPacks(root)
	spans, err := packs.Spans()
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(spans) {
		if s.Last < first {
			break
		}
		if of, err := packs.Ticks(s); err == nil {
			loose = union(loose, of)
		}
	}
	at, _ := slices.BinarySearch(loose, first+1)
	return loose[at:], nil
}

// receiptTimes are when nodes signed for an agent's checkpoints, by their ticks, in a part
// of the file of receipts.
func receiptTimes(dir string, from, to int64) map[uint64]time.Time {
	times := map[uint64]time.Time{}
	f, err := os.Open(filepath.Join(dir, "receipts"))
	if err != nil {
		return times
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return times
	}
	for r := receipt.NewReader(io.NewSectionReader(f, from, to-from)); ; {
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

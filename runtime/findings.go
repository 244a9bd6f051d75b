package runtime

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier/receipt"
)

// findings are what the agent is to be told about its side effects, since it cannot
// know that by itself: what an operator found out, and what a tick that failed did.
// An agent that does not want to be told is not, and a tick that ends settles that.
//
// That it was told, the event log says and nothing else; the journal has the effect
// until a checkpoint that a life can go on from has it too.
type findings struct {
	due    []finding
	failed map[uint64]bool // ticks that failed, of those since one that did not
}

// A finding is what is to be told about an effect.
type finding struct {
	effect  journal.ID
	tick    uint64
	ordinal uint32
	outcome request.Outcome
}

// add has something told, after what is still to be told about the same effect: what
// an operator found out says nothing to an agent that does not know what it is of.
func (f *findings) add(one finding) {
	if slices.Contains(f.due, one) {
		return
	}
	f.due = append(f.due, one)
	slices.SortFunc(f.due, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.tick, b.tick), cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(b.outcome, a.outcome))
	})
}

// about says what is to be told about an effect, of a tick that failed or of another.
func about(e *journal.Effect, failed bool) (all []finding) {
	tell := func(o request.Outcome) {
		all = append(all, finding{effect: e.ID, tick: e.Tick, ordinal: e.Ordinal, outcome: o})
	}
	switch {
	case failed && e.State == journal.Ended:
		tell(request.Ended)
	case failed:
		tell(request.Unresolved)
	}
	switch e.State {
	case journal.ResolvedConfirmed:
		tell(request.Confirmed)
	case journal.ResolvedCompensated:
		tell(request.Compensated)
	}
	return all
}

// find has the agent told what it is to be told about the effects of some ticks.
func (l *life) find(effects []journal.Effect, failed func(tick uint64) bool) {
	for i := range effects {
		// A request that was sent again with a payment is one to the agent.
		if e := &effects[i]; e.Kind == journal.HTTP && slices.ContainsFunc(effects, func(p journal.Effect) bool {
			return p.Kind == journal.Paid && p.Tick == e.Tick && p.Ordinal == e.Ordinal+1
		}) {
			continue
		}
		for _, f := range about(&effects[i], failed(effects[i].Tick)) {
			l.findings.add(f)
			l.world.Journal.Untold(f.effect)
		}
	}
}

// failedNow has the agent told what the tick did that just failed.
func (l *life) failedNow() {
	if l.findings.failed == nil {
		l.findings.failed = map[uint64]bool{}
	}
	l.findings.failed[l.tick] = true
	of := slices.DeleteFunc(l.world.Journal.Effects(), func(e journal.Effect) bool { return e.Tick != l.tick })
	l.find(of, func(uint64) bool { return true })
}

// findFindings finds out what the agent is to be told and was not, up to and with the
// segment after the newest checkpoint.
func (l *life) findFindings(s *store.Store) error {
	effects := l.world.Journal.Effects()
	if len(effects) == 0 {
		return nil
	}
	ticks, err := s.TicksFrom(effects[0].Tick)
	if err != nil {
		return err
	}
	var segments []uint64 // their first ticks, of those that may have something
	for i, tick := range ticks {
		if i > 0 && tick >= effects[0].Tick {
			segments = append(segments, ticks[i-1]+1)
		}
	}
	segments = append(segments, l.saved+1)
	// A tick that failed is the last one of its segment.
	failed := map[uint64]bool{}
	for i, first := range segments {
		of := func(e journal.Effect) bool {
			return e.Tick >= first && (i+1 == len(segments) || e.Tick < segments[i+1])
		}
		if !slices.ContainsFunc(effects, of) {
			continue
		}
		if err := l.readAll(first, func(r *eventlog.Record) error {
			failed[r.Tick] = failed[r.Tick] || r.Kind == eventlog.TickFailed
			return nil
		}); err != nil {
			return err
		}
	}
	for _, e := range effects {
		failed[e.Tick] = failed[e.Tick] || e.TickFailed() // for a successor
	}
	l.find(effects, func(tick uint64) bool { return failed[tick] })
	l.findings.failed = failed
	for i := range effects {
		l.heard(&effects[i])
	}
	for i, first := range segments {
		if len(l.findings.due) == 0 || i+1 < len(segments) && segments[i+1] <= l.findings.due[0].tick {
			continue
		}
		var told []request.Finding // in the tick that is read
		if err := l.readAll(first, func(r *eventlog.Record) error {
			switch r.Kind {
			case eventlog.Finding:
				b, err := l.log.Content(r.Request)
				if err != nil {
					return err
				}
				if f, err := request.ParseFinding(b); err == nil {
					told = append(told, f)
				}
			case eventlog.TickFailed:
				told = nil
			case eventlog.TickEnd:
				l.told(told, r.Tick)
				told = nil
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads a segment as far as it is there, and says so if it is not whole.
func (l *life) readAll(first uint64, each func(*eventlog.Record) error) error {
	err := readSegment(l.log, first, each)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case eventlog.Bad(err), eventlog.Gone(err):
		l.Log.Warn("what the agent was told of its side effects is not known for a part of its life; it may be told again", "file", eventlog.FileName(first), "error", err)
		return nil
	}
	return err
}

// readSegment calls each with the records of a segment. That its last write was cut
// short is no error.
func readSegment(log *eventlog.Log, first uint64, each func(*eventlog.Record) error) error {
	s, err := log.Segment(first)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		r, err := s.Next()
		if err == io.EOF || eventlog.Torn(err) {
			return nil
		}
		if err == nil {
			err = each(&r)
		}
		if err != nil {
			return err
		}
	}
}

// tell takes notice that the agent was told.
func (l *life) tell(f finding, tick uint64) {
	l.findings.due = slices.DeleteFunc(l.findings.due, func(d finding) bool { return d == f })
	l.world.Journal.Told(f.effect, tick)
	if slices.ContainsFunc(l.findings.due, func(d finding) bool { return d.effect == f.effect }) {
		l.world.Journal.Untold(f.effect)
	}
}

// prepareFindings has the next tick told what there is to tell: about effects whose
// ticks are over.
func (l *life) prepareFindings() error {
	l.world.Findings = nil
	if len(l.findings.due) == 0 || !l.in.observes {
		return nil
	}
	for _, d := range l.findings.due {
		if d.tick > l.tick {
			continue
		}
		f, err := l.describeFinding(d)
		if err != nil {
			return err
		}
		l.world.Findings = append(l.world.Findings, f.Append(nil))
	}
	return nil
}

// describeFinding says what the agent gets.
func (l *life) describeFinding(d finding) (*request.Finding, error) {
	e, _ := l.world.Journal.Effect(d.effect)
	f := &request.Finding{Outcome: d.outcome, Kind: uint8(e.Kind), Effect: d.effect, Tick: e.Tick, Ordinal: e.Ordinal, Note: []byte(e.Note)}
	sent, err := l.world.Journal.Request(d.effect)
	if err != nil {
		return nil, err
	}
	if e.Kind == journal.Paid { // the agent asked for the request
		p, err := request.ParsePaid(sent)
		if err != nil {
			return nil, err
		}
		sent, f.Kind = p.HTTP, uint8(journal.HTTP)
	}
	if e.Kind == journal.Payment {
		r, _, err := receipt.Parse(sent)
		if err != nil {
			return nil, err
		}
		if p, ok := r.(*receipt.Payment); ok {
			f.Request = (&request.Pay{Amount: p.Amount, Recipient: p.Recipient, Memo: p.Memo}).AppendBare(nil)
		}
	} else {
		r, err := request.ParseHTTP(sent)
		if err != nil {
			return nil, err
		}
		f.Request = r.AppendBare(nil)
	}
	if d.outcome == request.Ended {
		result, err := l.world.Journal.Result(d.effect)
		if err != nil {
			return nil, err
		}
		if len(result) >= 8 {
			f.Return, f.Result = int64(binary.LittleEndian.Uint64(result)), result[8:]
		}
	}
	return f, nil
}

// bought returns what a request brought that was paid in a tick that failed, if all ticks since
// did.
func (l *life) bought(asked []byte) (result []byte, code int32, ok bool, err error) {
	first := l.tick + 1
	for l.findings.failed[first-1] {
		first--
	}
	for _, d := range l.findings.due {
		e, known := l.world.Journal.Effect(d.effect)
		if !known || d.outcome != request.Ended || e.Kind != journal.Paid || d.tick < first || d.tick > l.tick {
			continue
		}
		sent, err := l.world.Journal.Request(d.effect)
		if err != nil {
			return nil, 0, false, err
		}
		p, err := request.ParsePaid(sent)
		if err != nil {
			return nil, 0, false, err
		}
		if !bytes.Equal(p.HTTP, asked) {
			continue
		}
		result, err := l.world.Journal.Result(d.effect)
		if err != nil {
			return nil, 0, false, err
		}
		if len(result) < 8 {
			continue
		}
		if code := int64(binary.LittleEndian.Uint64(result)); code >= 200 && code < 300 { // it was delivered
			return slices.Clone(result[8:]), int32(code), true, nil
		}
	}
	return nil, 0, false, nil
}

// heard takes notice of what the agent was told in ticks of which the event log may not be
// there. Later ones than the newest checkpoint's are.
func (l *life) heard(e *journal.Effect) {
	h := e.Heard()
	if h.Tick == 0 || h.Tick > l.saved {
		return
	}
	for _, d := range slices.Clone(l.findings.due) {
		found := d.outcome == request.Confirmed || d.outcome == request.Compensated
		if d.effect == e.ID && (h.All || !found) {
			l.tell(d, h.Tick)
		}
	}
}

// noteFindings writes down what the event log has of findings, for a successor who does not
// have the part that ends with the checkpoint which is about to be made: which effects are
// of a tick that failed, and which the agent was told of.
func (l *life) noteFindings() error {
	if !l.home.remote() {
		return nil
	}
	totals, durable := l.world.Writer.Totals(), false
	for _, e := range l.world.Journal.Effects() {
		of, told := totals.EndsFailed() && e.Tick == l.tick && !e.TickFailed(), e.ToldIn()
		if h := e.Heard(); h.All && h.Tick >= told || told > l.tick {
			told = 0
		}
		if !of && told == 0 {
			continue
		}
		if !durable { // what is noted is for good
			if err := l.sync(); err != nil {
				return err
			}
			durable = true
		}
		if of {
			if err := l.world.Journal.NoteFailed(e.ID); err != nil {
				return err
			}
		}
		if told > e.Tick {
			if err := l.world.Journal.NoteTold(e.ID, told); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellFindings takes notice of what the tick that ended was told.
func (l *life) tellFindings() {
	l.findings.failed = nil // a tick ended
	if !l.in.observes {
		for _, d := range slices.Clone(l.findings.due) {
			if d.tick < l.tick {
				l.tell(d, l.tick)
			}
		}
		return
	}
	var told []request.Finding
	for _, b := range l.in.host.Told() {
		if f, err := request.ParseFinding(b); err == nil {
			told = append(told, f)
		}
	}
	l.told(told, l.tick)
}

// told takes notice of what a tick was told.
func (l *life) told(all []request.Finding, tick uint64) {
	for _, f := range all {
		for _, d := range slices.Clone(l.findings.due) {
			if d.effect == f.Effect && d.outcome >= f.Outcome { // what was found out is the last word
				l.tell(d, tick)
			}
		}
	}
}

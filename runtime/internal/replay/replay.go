// Package replay runs recorded ticks again: from a checkpoint and the segment of
// the event log after it, to the next checkpoint, byte for byte.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/verifier"
)

// An Engine runs the ticks of one agent again. Its intervals may be run at the
// same time.
type Engine struct {
	Log *eventlog.Log

	// Programs returns the program that a segment names, metered by its schedule (0 =
	// unmetered), with its manifest. Its error is ErrMissing where they are not there.
	Programs func(ctx context.Context, wasm, manifest verifier.Hash, schedule uint32) (*sandbox.Program, *manifest.Manifest, error)

	// Pass, if there is one, is called between two slices of fuel.
	Pass func()
}

// A StateDivergence is a checkpoint whose state is not what its ticks come to.
type StateDivergence struct {
	Tick          uint64
	At            int // the first byte that differs
	Recorded, Got []byte
}

func (d *StateDivergence) Error() string {
	return fmt.Sprintf("tick %d: the state differs from the checkpoint's at byte %d: recorded is %s, and running again gives %s",
		d.Tick, d.At, record.Excerpt(d.Recorded, d.At), record.Excerpt(d.Got, d.At))
}

// ErrMissing says that the ticks cannot be executed again, since what was observed
// in them is not there.
var ErrMissing = errors.New("cannot be re-executed")

// An Interval is what to run again.
type Interval struct {
	Prev []byte // the checkpoint that it begins with, nil before the genesis
	Next []byte // the checkpoint that it ends with

	Until   uint64                 // the last tick to run, 0 = all
	Restart bool                   // with a fresh instance for each tick
	Observe func(*eventlog.Record) // called with each observation, nil = nobody asks
}

// A Result is what an interval came to.
type Result struct {
	Ticks        uint64
	Observations uint64
	State        []byte // after the last tick that was run

	// Segment is what the segment says, once it was verified.
	Segment eventlog.Verified
}

// A BadStateError is a state that the manifest does not allow.
type BadStateError struct{ err error }

func (e *BadStateError) Error() string {
	return "the state of the checkpoint before it: " + e.err.Error()
}

// Unwrap returns what is wrong.
func (e *BadStateError) Unwrap() error { return e.err }

// Run verifies the segment of an interval, runs it again, and compares its state.
// Without an error, all of it is as recorded. An error is [ErrMissing] where
// something is not there, a [*record.Divergence], a [*StateDivergence] or an
// [*eventlog.CostError] where running again does or costs something else, and a
// [*BadStateError] or what [eventlog.Bad] knows where a checkpoint or the segment is
// wrong. With any other error there is no verdict.
func (e *Engine) Run(ctx context.Context, in Interval) (r Result, err error) {
	next, err := verifier.Parse(in.Next)
	if err != nil {
		return r, err
	}
	l := &living{Engine: e, in: in}
	var prev *verifier.Finding
	if in.Prev != nil {
		c, err := verifier.Parse(in.Prev)
		if err != nil {
			return r, err
		}
		f := verifier.Examine(in.Prev)
		prev, l.first, l.state = &f, c.TickNumber+1, c.State
	}
	nextFinding := verifier.Examine(in.Next)
	if l.segment, err = e.verify(l.first, prev, &nextFinding); err != nil {
		return r, err
	}
	r.Segment = l.segment
	if l.segment.Origin != nil { // nothing was lived: the state is what the genesis says
		r.State = next.State
		return r, nil
	}
	h := &l.segment.Header
	if l.program, l.manifest, err = e.Programs(ctx, h.WASM, h.Manifest, h.Schedule); err != nil {
		return r, err
	}
	last := next.TickNumber
	if in.Until > 0 {
		last = min(last, in.Until)
	}
	whole := last == next.TickNumber
	made := uint64(0) // fuel that it took to make the checkpoint
	r.State, made, err = l.live(ctx, &r, last)
	if err != nil {
		return r, err
	}
	if whole && string(r.State) != string(next.State) {
		return r, &StateDivergence{last, record.FirstDifference(next.State, r.State), next.State, r.State}
	}
	if recorded := l.segment.Seal.Fuel; whole && h.Version != eventlog.Version1 && !in.Restart && made != recorded {
		return r, &record.Divergence{Tick: last, Recorded: units("a checkpoint", recorded), Got: units("one", made)}
	}
	return r, nil
}

func units(what string, n uint64) string { return fmt.Sprintf("%s after %d units of fuel", what, n) }

// living is one interval that is run.
type living struct {
	*Engine
	in       Interval
	segment  eventlog.Verified
	program  *sandbox.Program
	manifest *manifest.Manifest
	first    uint64 // tick
	state    []byte // of the checkpoint before it
}

// live runs the ticks up to a last one, and returns the state after it, and what fuel
// it took to ask for that. A tick that failed leaves the state of before.
func (l *living) live(ctx context.Context, r *Result, last uint64) (state []byte, made uint64, err error) {
	failed := l.segment.EndsFailed() && last == l.segment.Last
	run, err := l.begin(ctx, func(o *eventlog.Record) {
		r.Observations++
		if l.in.Observe != nil {
			l.in.Observe(o)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	defer run.close()
	if err := run.ticks(ctx, last, &r.Ticks); err != nil {
		return nil, 0, err
	}
	if !failed {
		return run.checkpoint(ctx, last)
	}
	if last == l.first {
		return l.state, 0, nil
	}
	before, err := l.begin(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer before.close()
	if err := before.ticks(ctx, last-1, new(uint64)); err != nil {
		return nil, 0, err
	}
	return before.checkpoint(ctx, last-1)
}

// Before returns the state before a tick of the segment after a checkpoint, which may
// be open, and what fuel it took to ask for it.
func (e *Engine) Before(ctx context.Context, checkpoint []byte, tick uint64) (state []byte, fuel uint64, err error) {
	c, err := verifier.Parse(checkpoint)
	if err != nil {
		return nil, 0, err
	}
	l := &living{Engine: e, in: Interval{Prev: checkpoint}, first: c.TickNumber + 1, state: c.State}
	s, err := e.Log.Segment(l.first)
	if err != nil {
		return nil, 0, err
	}
	for err == nil {
		_, err = s.Next()
	}
	s.Close()
	if err != io.EOF && !eventlog.Torn(err) {
		return nil, 0, err
	}
	l.segment.Header, _ = s.Header()
	l.segment.Totals = s.Totals()
	h := &l.segment.Header
	if l.program, l.manifest, err = e.Programs(ctx, h.WASM, h.Manifest, h.Schedule); err != nil {
		return nil, 0, err
	}
	r, err := l.begin(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer r.close()
	if err := r.ticks(ctx, tick-1, new(uint64)); err != nil {
		return nil, 0, err
	}
	return r.checkpoint(ctx, tick-1)
}

// A run is an instance with what it is given.
type run struct {
	*living
	feed  *record.Feed
	host  *record.Host
	agent *sandbox.Instance
	store *kv.Map // nil: the agent has none
	fuel  uint64  // that the next tick used already
	err   error   // with which the instance began
}

// begin makes an instance for the first tick of the interval.
func (l *living) begin(ctx context.Context, observe func(*eventlog.Record)) (r *run, err error) {
	r = &run{living: l}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.feed, err = record.NewFeed(l.Log, l.first, l.segment.Records); err != nil {
		return r, err
	}
	store, state := kv.New(l.manifest.MaxStorage), l.state
	if _, keeps := l.manifest.Capabilities["kv"]; keeps {
		if l.in.Prev != nil {
			if store, state, err = kv.Parse(state, l.manifest.MaxStorage); err != nil {
				return r, &BadStateError{err}
			}
		}
		r.store = store
	}
	r.host = record.NewHost(nil, r.feed, store, l.first)
	r.host.AnyFuel, r.host.Observe = l.in.Restart, observe
	if r.agent, r.err = l.program.Instantiate(ctx); r.err != nil {
		return r, nil // which is its first tick's
	}
	r.agent.OnSlice(l.Pass)
	r.fuel = r.agent.Fuel()
	r.agent.Attach(r.host)
	if l.in.Prev != nil {
		r.err = r.agent.Resume(ctx, state)
		r.fuel += r.agent.Fuel()
	}
	return r, nil
}

func (r *run) close() {
	r.feed.Close()
	if r.agent != nil {
		r.agent.Close()
	}
}

// ticks runs the ticks up to a last one, and counts them.
func (r *run) ticks(ctx context.Context, last uint64, count *uint64) error {
	for tick := r.first; tick <= last; tick++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if tick > 0 {
			*count++
		}
		result, err := r.tick(ctx, tick)
		used := record.Used{Fuel: r.fuel}
		r.fuel = 0
		if err != nil {
			if err := r.failed(tick, used, err); err != nil {
				return err
			}
			continue // it is the last one
		}
		if _, err := r.host.End(int64(result), used, nil); err != nil {
			return missing(err)
		}
		if r.in.Restart && tick < last {
			if err := r.restart(ctx); err != nil {
				return r.cause(tick+1, err)
			}
		}
	}
	return nil
}

// tick makes the calls of a tick.
func (r *run) tick(ctx context.Context, tick uint64) (result int32, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case tick == 0:
		err = r.agent.Init(ctx)
		r.fuel += r.agent.Fuel()
		return 0, err
	}
	for r.program.Observes() {
		finding, ok, err := r.host.Finding()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		err = r.agent.Observe(ctx, finding)
		r.fuel += r.agent.Fuel()
		if err != nil {
			return 0, err
		}
	}
	result, err = r.agent.Tick(ctx)
	r.fuel += r.agent.Fuel()
	return result, err
}

// failed holds a tick whose call failed against what was recorded: nil if it failed
// then too.
func (r *run) failed(tick uint64, used record.Used, err error) error {
	failure, ok := errors.AsType[*sandbox.AgentError](err)
	if r.host.Err() != nil || !ok || r.segment.Header.Version == eventlog.Version1 {
		return r.cause(tick, err)
	}
	if r.agent == nil {
		used.Fuel = failure.Fuel
	}
	call, how := Failure(failure)
	if _, err := r.host.Fail(call, how, used, nil); err != nil {
		return missing(err)
	}
	return nil
}

// Failure returns how a failure of an agent is recorded.
func Failure(e *sandbox.AgentError) (eventlog.Call, eventlog.Failure) {
	call := eventlog.CallOf(e.Call)
	if e.Call == "instantiation" { // how the sandbox names the call in which a module begins
		call = eventlog.Initialize
	}
	return call, eventlog.Failure(e.Failure)
}

// checkpoint returns the state after a tick, and what fuel it took to ask for it.
func (r *run) checkpoint(ctx context.Context, tick uint64) (state []byte, fuel uint64, err error) {
	if state, err = r.agent.Checkpoint(ctx); err != nil {
		return nil, 0, r.cause(tick, err)
	}
	if r.store != nil {
		state = r.store.Append(nil, state)
	}
	return state, r.agent.Fuel(), nil
}

// restart goes on in a fresh instance, as after a checkpoint.
func (r *run) restart(ctx context.Context) error {
	state, err := r.agent.Checkpoint(ctx)
	if err != nil {
		return err
	}
	fresh, err := r.program.Instantiate(ctx)
	if err != nil {
		return err
	}
	r.agent.Close()
	r.agent = fresh
	nothing := record.NewHost(nil, nil, kv.New(0), 0)
	fresh.Attach(nothing)
	err = fresh.Resume(ctx, state)
	if nothing.Err() != nil {
		err = fmt.Errorf("%w: it observes in agent_resume, so that more fresh instances would be another life", ErrMissing)
	}
	fresh.Attach(r.host)
	return err
}

// cause says why a call into the agent ended before it was over.
func (r *run) cause(tick uint64, err error) error {
	if cause := r.host.Err(); cause != nil {
		return missing(cause)
	}
	if _, failed := errors.AsType[*sandbox.AgentError](err); !failed {
		return missing(err)
	}
	return &record.Divergence{Tick: tick, Recorded: "the end of the tick", Got: err.Error()}
}

func missing(err error) error {
	if errors.Is(err, record.ErrMissing) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return err
}

// verify holds the segment against its checkpoints.
func (e *Engine) verify(first uint64, prev, next *verifier.Finding) (eventlog.Verified, error) {
	f, err := e.Log.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return eventlog.Verified{}, fmt.Errorf("%w: the event log has no segment %s", ErrMissing, eventlog.FileName(first))
	}
	if err != nil {
		return eventlog.Verified{}, err
	}
	defer f.Close()
	v, err := eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, next)
	if err != nil {
		err = fmt.Errorf("%s: %w", eventlog.FileName(first), err)
	}
	return v, err
}

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
	Program  *sandbox.Program
	Manifest *manifest.Manifest
	ManHash  verifier.Hash
	Log      *eventlog.Log
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

	// Origin is the record of where a fork comes from, at its genesis: then nothing
	// was run, and State is what the genesis says.
	Origin *eventlog.Record
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
func (e *Engine) Run(ctx context.Context, in Interval) (Result, error) {
	var r Result
	next, err := verifier.Parse(in.Next)
	if err != nil {
		return r, err
	}
	first, state := uint64(0), []byte(nil)
	var prevFinding *verifier.Finding
	if in.Prev != nil {
		prev, err := verifier.Parse(in.Prev)
		if err != nil {
			return r, err
		}
		f := verifier.Examine(in.Prev)
		prevFinding, first, state = &f, prev.TickNumber+1, prev.State
	}
	nextFinding := verifier.Examine(in.Next)
	totals, err := e.verify(first, prevFinding, &nextFinding)
	if err != nil {
		return r, err
	}
	if totals.Origin != nil {
		return Result{State: next.State, Origin: totals.Origin}, nil
	}
	feed, err := record.NewFeed(e.Log, first, totals.Records)
	if err != nil {
		return r, err
	}
	defer feed.Close()

	store := kv.New(e.Manifest.MaxStorage)
	_, keeps := e.Manifest.Capabilities["kv"]
	if keeps && in.Prev != nil {
		if store, state, err = kv.Parse(state, e.Manifest.MaxStorage); err != nil {
			return r, &BadStateError{err}
		}
	}
	agent, err := e.Program.Instantiate(ctx)
	if err != nil {
		return r, err
	}
	defer func() { agent.Close() }()
	host := record.NewHost(nil, feed, store, first)
	host.Observe = func(o *eventlog.Record) {
		r.Observations++
		if in.Observe != nil {
			in.Observe(o)
		}
	}
	agent.Attach(host)

	if in.Prev != nil {
		if err := agent.Resume(ctx, state); err != nil {
			return r, cause(host, first, err)
		}
	}
	last := next.TickNumber
	if in.Until > 0 {
		last = min(last, in.Until)
	}
	for tick := first; tick <= last; tick++ {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		var result int32
		if tick == 0 {
			err = agent.Init(ctx)
		} else {
			result, err = agent.Tick(ctx)
			r.Ticks++
		}
		if err != nil {
			return r, cause(host, tick, err)
		}
		if _, err = host.End(int64(result), record.Used{}, nil); err != nil {
			return r, missing(err)
		}
		if in.Restart && tick < last {
			if agent, err = e.restart(ctx, agent, host); err != nil {
				return r, cause(host, tick+1, err)
			}
		}
	}
	if r.State, err = agent.Checkpoint(ctx); err != nil {
		return r, cause(host, last, err)
	}
	if keeps {
		r.State = store.Append(nil, r.State)
	}
	if last == next.TickNumber && string(r.State) != string(next.State) {
		return r, &StateDivergence{last, record.FirstDifference(next.State, r.State), next.State, r.State}
	}
	return r, nil
}

// restart goes on in a fresh instance, as after a checkpoint.
func (e *Engine) restart(ctx context.Context, agent *sandbox.Instance, host *record.Host) (*sandbox.Instance, error) {
	state, err := agent.Checkpoint(ctx)
	if err != nil {
		return agent, err
	}
	fresh, err := e.Program.Instantiate(ctx)
	if err != nil {
		return agent, err
	}
	agent.Close()
	nothing := record.NewHost(nil, nil, kv.New(0), 0)
	fresh.Attach(nothing)
	err = fresh.Resume(ctx, state)
	if nothing.Err() != nil {
		err = fmt.Errorf("%w: it observes in agent_resume, so that more fresh instances would be another life", ErrMissing)
	}
	fresh.Attach(host)
	return fresh, err
}

// cause says why a call into the agent ended before it was over.
func cause(host *record.Host, tick uint64, err error) error {
	if cause := host.Err(); cause != nil {
		return missing(cause)
	}
	if errors.Is(err, ErrMissing) {
		return err
	}
	if _, failed := errors.AsType[*sandbox.AgentError](err); !failed {
		return err
	}
	return &record.Divergence{Tick: tick, Recorded: "the end of the tick", Got: err.Error()}
}

func missing(err error) error {
	if errors.Is(err, record.ErrMissing) {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return err
}

// verify holds the segment against its checkpoints and the manifest.
func (e *Engine) verify(first uint64, prev, next *verifier.Finding) (eventlog.Verified, error) {
	f, err := e.Log.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return eventlog.Verified{}, fmt.Errorf("%w: the event log has no segment %s", ErrMissing, eventlog.FileName(first))
	}
	if err != nil {
		return eventlog.Verified{}, err
	}
	defer f.Close()
	h, err := eventlog.NewReader(io.NewSectionReader(f, 0, math.MaxInt64)).Header()
	if err != nil {
		return eventlog.Verified{}, fmt.Errorf("%s: %w", eventlog.FileName(first), err)
	}
	if h.Manifest != e.ManHash {
		return eventlog.Verified{}, fmt.Errorf("%w: the segment was recorded with the manifest of SHA-256 %s, and this one has %s", ErrMissing, h.Manifest, e.ManHash)
	}
	v, err := eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, next)
	if err != nil {
		err = fmt.Errorf("%s: %w", eventlog.FileName(first), err)
	}
	return v, err
}

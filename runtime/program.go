package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/replay"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/verifier"
)

// A body is an agent's program with its manifest, ready to run once an engine has
// compiled it.
type body struct {
	manifest *manifest.Manifest
	wasmHash verifier.Hash
	manHash  verifier.Hash

	schedule uint32 // by which it is metered, 0 = it is not
	program  *sandbox.Program
	release  func() // gives the program back
	nursery  *nursery
}

func embody(wasm, man []byte) (*body, error) {
	m, err := manifest.Parse(man)
	if err != nil {
		return nil, err
	}
	return &body{manifest: m, wasmHash: sha256.Sum256(wasm), manHash: sha256.Sum256(man)}, nil
}

// close is for a body that was compiled.
func (b *body) close() {
	b.nursery.close() // the program must not be closed under its instances
	b.release()
}

// again gives a replay this program, if it is the one that it asks for.
func (b *body) again(_ context.Context, wasm, man verifier.Hash, schedule uint32) (*sandbox.Program, *manifest.Manifest, error) {
	if wasm != b.wasmHash || man != b.manHash || schedule != b.schedule {
		return nil, nil, fmt.Errorf("%w: it was lived by another program, or metered otherwise", replay.ErrMissing)
	}
	return b.program, b.manifest, nil
}

// keeps reports whether the agent has a key-value store, which is in its state.
func (b *body) keeps() bool {
	_, ok := b.manifest.Capabilities["kv"]
	return ok
}

// An incarnation is one instance of the agent, with its world. Its errors say what
// failed, the agent or its host, and after which tick.
type incarnation struct {
	agent *sandbox.Instance
	host  *record.Host
	kv    *kv.Map // nil: the agent has no store
	over  uint64  // the newest tick that is over
	born  bool    // the agent has a checkpoint
	hint  func(*AgentError) string
	turns *turns
}

// incarnate makes a fresh instance of the agent, restored from a state that it had
// after the tick that is over; of an agent that is not born, one without a state.
func (l *life) incarnate(ctx context.Context, feed *record.Feed, state []byte, restore bool) (*incarnation, error) {
	in := &incarnation{over: l.tick, born: !l.head.IsZero(), hint: l.machine.hint, turns: l.engine.turns}
	store := kv.New(l.body.manifest.MaxStorage)
	if l.body.keeps() {
		if restore {
			var err error
			if store, state, err = kv.Parse(state, l.body.manifest.MaxStorage); err != nil {
				return nil, err
			}
		}
		in.kv = store
	}
	first := l.tick + 1
	if !restore {
		first = 0 // agent_init
	}
	in.host = record.NewHost(&l.world, feed, store, first)
	var err error
	if in.agent, err = l.body.nursery.take(); err != nil {
		return nil, in.failed(err)
	}
	in.agent.Attach(in.host)
	in.agent.OnSlice(in.turns.pass)
	l.interrupts.enter(in.agent)
	in.turns.take()
	defer in.turns.give()
	if restore {
		if err := in.agent.Resume(ctx, state); err != nil {
			return nil, in.failed(err)
		}
	}
	return in, nil
}

// init calls agent_init.
func (in *incarnation) init(ctx context.Context) error {
	in.turns.take()
	defer in.turns.give()
	return in.failed(in.agent.Init(ctx))
}

// tick calls agent_tick.
func (in *incarnation) tick(ctx context.Context) (result int32, err error) {
	in.turns.take()
	defer in.turns.give()
	result, err = in.agent.Tick(ctx)
	return result, in.failed(err)
}

// end ends the tick that ran, or agent_init, as [record.Host.End] does.
func (in *incarnation) end(result int64, used record.Used, charge func(record.Used) eventlog.Metered) (again bool, err error) {
	if again, err = in.host.End(result, used, charge); err != nil {
		return false, in.failed(err)
	}
	if in.born {
		in.over++
	}
	return again, nil
}

// recorded reports whether something is to be lived again.
func (in *incarnation) recorded() (bool, error) {
	again, err := in.host.Recorded()
	return again, in.failed(err)
}

// state returns what a checkpoint has of the agent.
func (in *incarnation) state(ctx context.Context) ([]byte, error) {
	in.turns.take()
	defer in.turns.give()
	state, err := in.agent.Checkpoint(ctx)
	if err == nil && in.kv != nil {
		state = in.kv.Append(nil, state)
	}
	return state, in.failed(err)
}

func (in *incarnation) close() {
	if in != nil && in.agent != nil {
		in.agent.Close()
	}
}

// failed says why a call failed: because living again came to something else, for
// the host's own reason, or by the agent's doing.
func (in *incarnation) failed(err error) error {
	if err == nil {
		return nil
	}
	cause := in.host.Err()
	if d, ok := errors.AsType[*record.Divergence](errors.Join(err, cause)); ok {
		return hint.Wrap(fmt.Errorf("what was recorded after the newest checkpoint cannot be lived again: %w", d),
			"the agent keeps state outside its checkpoints, or its event log was changed; igor effects shows what it did outside")
	}
	if cause != nil {
		return fmt.Errorf("tick %d: %w", in.over+1, cause)
	}
	failure, ok := errors.AsType[*sandbox.AgentError](err)
	if !ok {
		return err
	}
	e := &AgentError{Call: failure.Call, Tick: in.over, Born: in.born, Err: failure}
	e.hint = in.hint(e)
	return e
}

package runtime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/module"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/replay"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/verifier"
)

// A body is an agent's program with its manifest, ready to run once an engine has
// compiled it.
type body struct {
	wasm     []byte
	man      []byte
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
	return &body{wasm: wasm, man: man, manifest: m, wasmHash: sha256.Sum256(wasm), manHash: sha256.Sum256(man)}, nil
}

// startable refuses a program that a life cannot begin or go on with anew: one whose
// main nobody would call. Lives that began with one go on as they are.
func startable(wasm []byte) error {
	m, err := module.Parse(wasm)
	if err != nil || !slices.Contains(m.Exports, "_start") || slices.Contains(m.Exports, "_initialize") {
		return nil // what else is wrong is found when it is compiled
	}
	next := "C: clang -mexec-model=reactor; Rust: crate-type cdylib; Go: -buildmode=c-shared"
	for _, by := range []struct{ mark, build string }{
		{"TinyGo", "build it with tinygo build -target wasip1 -buildmode=c-shared"},
		{"go:buildid", "build it with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared"},
		{"rustc", `build it as a library: crate-type = ["cdylib"] in Cargo.toml, and no fn main`},
		{"clang", "build it with clang -mexec-model=reactor"},
	} {
		if bytes.Contains(wasm, []byte(by.mark)) {
			next = by.build
			break
		}
	}
	return hint.Wrap(fmt.Errorf("%w: it is a command, which exports _start and no _initialize: an agent is a library, and its main would never run", ErrNotAgent), "%s", next)
}

// close is for a body that was compiled.
func (b *body) close() {
	if b.nursery != nil {
		b.nursery.close() // the program must not be closed under its instances
		b.release()
	}
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
	fuel  uint64  // that the tick to come has used already
	still error   // the agent's, with which it began: that is its first tick's
	born  bool    // the agent has a checkpoint

	observes bool // the agent is told what became of its side effects
	hint     func(*AgentError) string
	turns    *turns
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
	in.observes = l.body.program.Observes()
	var err error
	if in.agent, err = l.body.nursery.take(); err == nil {
		in.fuel = in.agent.Fuel()
		in.agent.Attach(in.host)
		in.agent.OnSlice(func() {
			l.interrupts.slice(in.agent)
			in.turns.pass()
		})
		if restore {
			in.turns.take()
			err = in.agent.Resume(ctx, state)
			in.turns.give()
			in.fuel += in.agent.Fuel()
		}
	}
	if err == nil {
		return in, nil
	}
	if failure, ok := in.agents(err); ok && l.body.schedule > 0 && restore {
		if in.agent == nil {
			in.fuel = failure.Fuel
		}
		in.still = err
		return in, nil
	}
	return nil, in.failed(err)
}

// agents returns the failure of a call if it is the agent's own.
func (in *incarnation) agents(err error) (*sandbox.AgentError, bool) {
	failure, ok := errors.AsType[*sandbox.AgentError](err)
	return failure, ok && in.host.Err() == nil
}

// init calls agent_init.
func (in *incarnation) init(ctx context.Context) error {
	in.turns.take()
	defer in.turns.give()
	err := in.agent.Init(ctx)
	in.fuel += in.agent.Fuel()
	return in.failed(err)
}

// tick makes the calls of a tick: agent_observe for what there is to tell, and
// agent_tick. Its error is not explained yet: see [incarnation.failed].
func (in *incarnation) tick(ctx context.Context) (result int32, err error) {
	if in.still != nil {
		return 0, in.still
	}
	in.turns.take()
	defer in.turns.give()
	for in.observes {
		finding, ok, err := in.host.Finding()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		err = in.agent.Observe(ctx, finding)
		in.fuel += in.agent.Fuel()
		if err != nil {
			return 0, err
		}
	}
	result, err = in.agent.Tick(ctx)
	in.fuel += in.agent.Fuel()
	return result, err
}

// end ends the tick that ran, or agent_init, as [record.Host.End] does.
func (in *incarnation) end(result int64, elapsed time.Duration, charge record.Charge) (again bool, err error) {
	used := record.Used{Elapsed: elapsed, Fuel: in.fuel}
	if again, err = in.host.End(result, used, charge); err != nil {
		return false, in.failed(err)
	}
	in.fuel = 0
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

// state returns what a checkpoint has of the agent, and what fuel it took to ask.
func (in *incarnation) state(ctx context.Context) (state []byte, fuel uint64, err error) {
	in.turns.take()
	defer in.turns.give()
	state, err = in.agent.Checkpoint(ctx)
	if err == nil && in.kv != nil {
		state = in.kv.Append(nil, state)
	}
	return state, in.agent.Fuel(), in.failed(err)
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

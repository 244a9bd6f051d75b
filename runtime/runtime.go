package runtime

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// Limits of the files that an agent is made of.
const (
	MaxWASM     = sandbox.MaxModule
	MaxManifest = manifest.MaxSize
)

// AgentPace as the tick interval lets the agent choose: it ticks again after
// 10 ms while it says that there is more to do, and after 1 s when idle.
const AgentPace time.Duration = -1

const (
	busyInterval = 10 * time.Millisecond
	idleInterval = time.Second
)

// A Birth is what an agent begins with.
type Birth struct {
	WASM     []byte // the program
	Manifest []byte // JSON; empty grants nothing
	Budget   int64  // microcents
	Price    int64  // microcents per second of tick time
}

// A Config says how to run an agent.
type Config struct {
	Log *slog.Logger // required

	TickInterval    time.Duration // between ticks, or AgentPace
	CheckpointEvery Every         // if zero, only the last checkpoint is made

	MaxTicks  uint64 // stop after this many, 0 = no limit
	UntilIdle bool   // stop when the agent has nothing to do

	TopUp int64  // microcents to add to the budget on resume
	Price *int64 // microcents per second from now on, nil = as before

	TickLimit time.Duration // for one call into the agent, 0 = 15 s
	CacheDir  string        // for compiled code, "" = none is kept
}

// Every says when a checkpoint is due: after so many ticks or so much time
// since the last one, whichever is first. Zero is never.
type Every struct {
	Ticks uint64
	Time  time.Duration
}

// A Reason says why a run ended without an error.
type Reason string

// The reasons.
const (
	Stopped         Reason = "stopped"
	TickLimit       Reason = "tick limit reached"
	Idle            Reason = "idle"
	BudgetExhausted Reason = "budget exhausted"
)

// A Result is how a run ended.
type Result struct {
	Reason      Reason
	DID         string
	Tick        uint64 // of the newest checkpoint
	Head        verifier.Hash
	Budget      int64 // microcents, as of the newest checkpoint
	Checkpoints int   // made by this run
}

// Start makes an agent with a new identity in dir, which has to be absent or
// empty, and runs it.
func Start(ctx context.Context, dir string, b Birth, c Config) (Result, error) {
	if b.Budget < 0 || b.Price < 0 {
		return Result{}, errors.New("a budget or a price is negative")
	}
	program, err := compile(ctx, b.WASM, b.Manifest, c)
	if err != nil {
		return Result{}, err
	}
	defer program.Close()
	if err := store.Create(dir, store.Birth(b)); err != nil {
		return Result{}, err
	}
	s, err := store.Open(dir)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	l := &life{Config: c, program: program, wasmHash: sha256.Sum256(b.WASM)}
	return l.run(ctx, s)
}

// Resume goes on with the life in dir, under the same identity.
func Resume(ctx context.Context, dir string, c Config) (Result, error) {
	s, err := store.Open(dir)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	if _, err := s.Key(); err != nil { // the first thing that a bare history lacks
		return Result{}, err
	}
	wasm, err := s.WASM()
	if err != nil {
		return Result{}, err
	}
	man, err := s.Manifest()
	if err != nil {
		return Result{}, err
	}
	l := &life{Config: c, wasmHash: sha256.Sum256(wasm)}
	if err := l.recover(ctx, s); err != nil { // before the slow part
		return Result{}, err
	}
	if l.program, err = compile(ctx, wasm, man, c); err != nil {
		return Result{}, err
	}
	defer l.program.Close()
	return l.run(ctx, s)
}

func compile(ctx context.Context, wasm, man []byte, c Config) (*sandbox.Program, error) {
	m, err := manifest.Parse(man)
	if err != nil {
		return nil, err
	}
	return sandbox.Compile(ctx, wasm, sandbox.Config{
		Manifest:  m,
		Host:      hostcall.Live{Log: c.Log},
		Log:       c.Log,
		CallLimit: c.TickLimit,
		CacheDir:  c.CacheDir,
	})
}

// A life is one run of an agent.
type life struct {
	Config
	program  *sandbox.Program
	wasmHash verifier.Hash
	history  store.Appender
	key      ed25519.PrivateKey
	public   verifier.PublicKey

	// The newest checkpoint, as far as it matters.
	head      verifier.Hash // zero = there is none
	saved     uint64        // its tick
	savedTime time.Time
	state     []byte // of the newest checkpoint, while resuming
	result    Result

	account account
	tick    uint64
	agent   *sandbox.Instance
	spares  <-chan spare
}

// recover finds out where the life stands.
func (l *life) recover(ctx context.Context, s *store.Store) error {
	var err error
	if l.key, err = s.Key(); err != nil {
		return err
	}
	public := l.key.Public().(ed25519.PublicKey)
	copy(l.public[:], public)
	found, err := s.Recover(ctx, public)
	if err != nil {
		return err
	}
	if found.Damaged != "" {
		l.Log.Warn("the newest checkpoint is damaged and was set aside; going on from the one before, so a copy of it elsewhere would be a fork",
			"damage", found.Damage, "file", found.Damaged)
	}
	l.history = s
	l.result.DID = l.public.DID()
	if found.Newest == nil {
		l.account.budget, l.account.price, err = s.Birth()
		if err != nil {
			return err
		}
	} else {
		c, err := verifier.Parse(found.Newest)
		if err != nil {
			return err
		}
		if c.WASMHash != l.wasmHash {
			return hint.Wrap(errors.New("the agent's program is not the one of its newest checkpoint"),
				"put the program with SHA-256 %s back as agent.wasm", c.WASMHash)
		}
		l.account = account{budget: c.Budget, price: c.PricePerSecond}
		l.tick, l.saved, l.head, l.state = c.TickNumber, c.TickNumber, found.Hash, c.State
		l.result.Tick, l.result.Head, l.result.Budget = c.TickNumber, found.Hash, c.Budget
	}
	if l.TopUp < 0 {
		return errors.New("a top-up is negative")
	}
	if err := l.account.add(l.TopUp); err != nil {
		return err
	}
	if l.Price != nil {
		l.account.price = *l.Price
	}
	l.Log.Info("alive", "did", l.result.DID, "folder", s.Dir(), "tick", l.tick, "budget", verifier.FormatMicrocents(l.account.budget))
	if l.account.exhausted() {
		return hint.Wrap(errors.New("the agent's budget is exhausted"), "give it more with igor resume --top-up AMOUNT")
	}
	return nil
}

// run lives until there is a reason to stop.
func (l *life) run(ctx context.Context, s *store.Store) (Result, error) {
	if l.history == nil {
		if err := l.recover(ctx, s); err != nil {
			return Result{}, err
		}
	}
	prepare, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.spares = l.prepareSpares(prepare)
	defer func() {
		stop()
		for sp := range l.spares { // the program must not be closed under them
			sp.close()
		}
		if l.agent != nil {
			l.agent.Close()
		}
	}()
	l.savedTime = time.Now()
	if err := l.begin(ctx); err != nil {
		return l.result, l.explain(err)
	}
	reason, err := l.live(ctx)
	if err != nil {
		return l.result, l.explain(err)
	}
	l.result.Reason = reason
	return l.result, nil
}

// explain says where a life stands after a failure.
func (l *life) explain(err error) error {
	if agentError, ok := errors.AsType[*sandbox.AgentError](err); ok {
		err = fmt.Errorf("agent failed after tick %d: %w", l.tick, agentError)
		if l.head.IsZero() {
			return hint.Wrap(err, "it has no checkpoint yet; igor resume starts it again")
		}
		return hint.Wrap(err, "its history is whole up to tick %d; igor resume goes on from there", l.saved)
	}
	return err
}

// begin brings an agent into memory, for the first time or from its newest checkpoint.
func (l *life) begin(ctx context.Context) error {
	agent, err := l.fresh()
	if err != nil {
		return err
	}
	l.agent = agent
	if l.head.IsZero() {
		return agent.Init(ctx)
	}
	err = agent.Resume(ctx, l.state)
	l.state = nil
	return err
}

func (l *life) live(ctx context.Context) (Reason, error) {
	for ticks := uint64(1); ; ticks++ {
		if ctx.Err() != nil {
			return Stopped, l.checkpoint(ctx)
		}
		began := time.Now()
		more, err := l.agent.Tick(ctx)
		if err != nil {
			return "", err
		}
		l.account.charge(time.Since(began))
		l.tick++
		switch {
		case l.account.exhausted():
			return BudgetExhausted, l.checkpoint(ctx)
		case ticks == l.MaxTicks:
			return TickLimit, l.checkpoint(ctx)
		case l.UntilIdle && !more:
			return Idle, l.checkpoint(ctx)
		}
		if due := l.CheckpointEvery.Ticks; due > 0 && l.tick-l.saved >= due {
			if err := l.checkpoint(ctx); err != nil {
				return "", err
			}
		}
		if err := l.wait(ctx, more); err != nil {
			return "", err
		}
	}
}

// wait waits for the next tick, and makes a checkpoint meanwhile if its time comes.
func (l *life) wait(ctx context.Context, more bool) error {
	interval := l.TickInterval
	if interval < 0 {
		interval = idleInterval
		if more {
			interval = busyInterval
		}
	}
	next := time.Now().Add(interval)
	if l.CheckpointEvery.Time > 0 && l.tick > l.saved {
		if due := l.savedTime.Add(l.CheckpointEvery.Time); !due.After(next) {
			if !sleep(ctx, time.Until(due)) {
				return nil
			}
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	sleep(ctx, time.Until(next))
	return nil
}

// sleep reports whether the time is over, rather than the context.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// checkpoint makes the state durable, and goes on in a fresh instance that was
// restored from it. It does nothing while the tick is that of the newest one.
func (l *life) checkpoint(ctx context.Context) error {
	if l.tick == l.saved {
		return nil
	}
	state, err := l.agent.Checkpoint(ctx)
	if err != nil {
		return err
	}
	// A state that cannot be restored would end the life for good, so that is
	// tried before the state becomes part of the history.
	fresh, err := l.fresh()
	if err != nil {
		return err
	}
	l.agent.Close()
	l.agent = fresh
	if err := fresh.Resume(ctx, state); err != nil {
		return err
	}
	c := verifier.Checkpoint{
		Version:        verifier.Version4,
		Budget:         l.account.budget,
		PricePerSecond: l.account.price,
		TickNumber:     l.tick,
		WASMHash:       l.wasmHash,
		PrevHash:       l.head,
		AgentPubKey:    l.public,
		State:          state,
	}
	message := c.AppendMessage(make([]byte, 0, verifier.HeaderSize+len(state)))
	copy(c.Signature[:], ed25519.Sign(l.key, message))
	next := c.Append(message[:0])
	if err := l.history.Append(l.head, next); err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", l.tick, err)
	}
	l.head, l.saved, l.savedTime = sha256.Sum256(next), l.tick, time.Now()
	l.result.Tick, l.result.Head, l.result.Budget = l.tick, l.head, l.account.budget
	l.result.Checkpoints++
	l.Log.Info("checkpoint", "tick", l.tick, "cid", l.head.CID(), "budget", verifier.FormatMicrocents(l.account.budget), "bytes", len(next))
	return nil
}

// A spare is a fresh instance, made before it is needed.
type spare struct {
	agent *sandbox.Instance
	err   error
}

func (s spare) close() {
	if s.agent != nil {
		s.agent.Close()
	}
}

// prepareSpares makes fresh instances in the background, one ahead, until ctx
// is cancelled; then it closes the channel.
func (l *life) prepareSpares(ctx context.Context) <-chan spare {
	spares := make(chan spare)
	go func() {
		defer close(spares)
		for {
			agent, err := l.program.Instantiate(ctx)
			select {
			case spares <- spare{agent, err}:
			case <-ctx.Done():
				spare{agent, err}.close()
				return
			}
		}
	}()
	return spares
}

func (l *life) fresh() (*sandbox.Instance, error) {
	s := <-l.spares
	return s.agent, s.err
}

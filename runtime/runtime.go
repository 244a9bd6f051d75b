package runtime

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
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

	// PayAt is the address of the endpoint that settles payments; without one,
	// every payment fails.
	PayAt string

	// NodeKey signs a receipt for each checkpoint, nil = none is given.
	NodeKey ed25519.PrivateKey

	// Budgets is what stands behind the agent's budget, nil = the operator's word.
	Budgets BudgetAdapter

	Replay ReplayPolicy // when this run runs its own ticks again

	// Watch is told where the run stands, at the beginning of every phase. The agent
	// waits meanwhile.
	Watch func(Status)

	TickLimit time.Duration // for one call into the agent, 0 = 15 s
	CacheDir  string        // for compiled code, "" = none is kept

	sim *simulation // the machine to live on, nil = this one

	// through has folders written through others, nil = as they are.
	through func(name string, folder wal.Folder) wal.Folder
}

// Every says when a checkpoint is due: after so many ticks or so much time
// since the last one, whichever is first. Zero is never.
type Every struct {
	Ticks uint64
	Time  time.Duration
}

// A ReplayPolicy says when a run runs its own ticks again, and what it does if
// they come to another state than the one that is in the history.
type ReplayPolicy struct {
	Mode         ReplayMode
	Interval     time.Duration // of ReplayPeriodic; 0 = DefaultReplayInterval
	OnDivergence OnDivergence
}

// A ReplayMode says what is run again.
type ReplayMode string

// The modes.
const (
	ReplayOff      ReplayMode = "off"
	ReplayPeriodic ReplayMode = "periodic"  // the newest ticks, once in each interval
	ReplayOnResume ReplayMode = "on-resume" // the ticks before the newest checkpoint
	ReplayFull     ReplayMode = "full"      // every tick
)

// DefaultReplayInterval is how often ReplayPeriodic runs ticks again.
const DefaultReplayInterval = 10 * time.Minute

// OnDivergence says what a run does about a divergence.
type OnDivergence string

// What can be done.
const (
	DivergenceLog       OnDivergence = "log"       // and go on
	DivergencePause     OnDivergence = "pause"     // end the run with an error
	DivergenceIntensify OnDivergence = "intensify" // log, and run every tick again from then on
)

// ErrNotAgent says that a program is not an agent.
var ErrNotAgent = sandbox.ErrNotAgent

// A ManifestError is what is wrong with a manifest, and where.
type ManifestError = manifest.Error

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

	// Hostcalls is what the agent's calls cost in this run, by capability.
	Hostcalls []Usage

	size int // of the newest checkpoint that it made
}

// A Usage is what the hostcalls of one capability cost.
type Usage = hostcall.Usage

// Start makes an agent with a new identity in dir, which has to be absent or
// empty, and runs it.
func Start(ctx context.Context, dir string, b Birth, c Config) (Result, error) {
	if b.Budget < 0 || b.Price < 0 {
		return Result{}, errors.New("a budget or a price is negative")
	}
	body, err := embody(b.WASM, b.Manifest)
	if err != nil {
		return Result{}, err
	}
	if err := body.compile(ctx, b.WASM, c); err != nil {
		return Result{}, err
	}
	defer body.close()
	unborn := &life{Config: c, body: body}
	err = c.sim.create(dir, b.WASM, b.Manifest, func(s *store.Store) error {
		err := unborn.explain(unborn.genesis(context.WithoutCancel(ctx), s, b))
		if closed := unborn.close(); err == nil {
			err = closed
		}
		return err
	})
	if err != nil {
		return Result{}, err
	}
	s, err := store.Open(dir)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	unborn.logCheckpoint() // now it is durable
	l := &life{Config: c, body: body}
	l.result.Checkpoints = unborn.result.Checkpoints
	defer l.close()
	if err := l.recover(context.WithoutCancel(ctx), s); err != nil { // one checkpoint is soon verified
		return Result{}, err
	}
	return l.run(ctx)
}

// Resume goes on with the life in dir, under the same identity.
func Resume(ctx context.Context, dir string, c Config) (Result, error) {
	s, err := store.Open(dir)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	if _, err := c.sim.keyOf(s); err != nil { // the first thing that a bare history lacks
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
	body, err := embody(wasm, man)
	if err != nil {
		return Result{}, err
	}
	l := &life{Config: c, body: body}
	defer l.close()
	if err := l.recover(ctx, s); err != nil { // before the slow part
		return Result{}, err
	}
	if err := body.compile(ctx, wasm, c); err != nil {
		return Result{}, err
	}
	defer body.close()
	return l.run(ctx)
}

// A body is an agent's program, ready to run.
type body struct {
	program  *sandbox.Program
	manifest *manifest.Manifest
	wasmHash verifier.Hash
	manHash  verifier.Hash
	spares   <-chan spare
	wanted   chan struct{} // has one while a spare is waited for
	stop     context.CancelFunc
}

func embody(wasm, man []byte) (*body, error) {
	m, err := manifest.Parse(man)
	if err != nil {
		return nil, err
	}
	return &body{manifest: m, wasmHash: sha256.Sum256(wasm), manHash: sha256.Sum256(man)}, nil
}

func (b *body) compile(ctx context.Context, wasm []byte, c Config) (err error) {
	b.program, err = sandbox.Compile(ctx, wasm, sandbox.Config{
		Manifest:  b.manifest,
		Log:       c.Log,
		CallLimit: c.TickLimit,
		CacheDir:  c.CacheDir,
	})
	if err != nil {
		return err
	}
	prepare, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.spares = b.prepareSpares(prepare)
	return nil
}

func (b *body) close() {
	b.stop()
	for sp := range b.spares { // the program must not be closed under them
		sp.close()
	}
	b.program.Close()
}

// An incarnation is one instance of the agent, with its world.
type incarnation struct {
	agent *sandbox.Instance
	host  *record.Host
	kv    *kv.Map
}

// incarnate makes a fresh instance, whose next tick is given: 0 is agent_init, and
// has no state.
func (b *body) incarnate(ctx context.Context, world *record.World, feed *record.Feed, state []byte, tick uint64) (*incarnation, error) {
	in := &incarnation{kv: kv.New(b.manifest.MaxStorage)}
	born := tick > 0
	if born && b.keeps() {
		var err error
		if in.kv, state, err = kv.Parse(state, b.manifest.MaxStorage); err != nil {
			return nil, err
		}
	}
	b.wanted <- struct{}{}
	sp := <-b.spares
	if sp.err != nil {
		return nil, sp.err
	}
	in.agent = sp.agent
	in.host = record.NewHost(world, feed, in.kv, tick)
	in.agent.Attach(in.host)
	if born {
		if err := in.agent.Resume(ctx, state); err != nil {
			if cause := in.host.Err(); cause != nil {
				err = fmt.Errorf("tick %d: %w", tick, cause)
			}
			return nil, err
		}
	}
	return in, nil
}

// keeps reports whether the agent has a key-value store, which is in its state.
func (b *body) keeps() bool {
	_, ok := b.manifest.Capabilities["kv"]
	return ok
}

// state returns what a checkpoint has of the agent.
func (b *body) state(ctx context.Context, in *incarnation) ([]byte, error) {
	state, err := in.agent.Checkpoint(ctx)
	if err == nil && b.keeps() {
		state = in.kv.Append(nil, state)
	}
	return state, err
}

func (in *incarnation) close() {
	if in != nil {
		in.agent.Close()
	}
}

// A life is one run of an agent.
type life struct {
	Config
	*body
	history store.Appender
	folder  wal.Folder
	files   []io.Closer
	key     ed25519.PrivateKey
	public  verifier.PublicKey

	log      *eventlog.Log
	world    record.World
	receipts *receipt.File
	given    int   // execution receipts
	settling bool  // those are settled
	settled  int64 // how far, as an offset in the file
	payments payments
	meter    hostcall.Meter

	// The newest checkpoint, as far as it matters.
	head      verifier.Hash // zero = there is none
	saved     uint64        // its tick
	savedTime time.Time
	before    journal.Base // the checkpoint before it
	state     []byte       // of the newest checkpoint, until the life is live
	result    Result

	account account
	tick    uint64
	in      *incarnation

	// What was recorded after the newest checkpoint, and is to be lived again.
	feed     *record.Feed
	sealed   verifier.Hash    // the checkpoint that was made after it, and is lost
	releases []journal.Effect // compensated: what they held may have to go back
	resumed  uint64           // the tick of the checkpoint that it went on from
	wentLive bool
	cameIn   bool // what the operator gives

	commits commits

	newest   []byte // checkpoint
	older    []byte // the one before it, while resuming
	replayed time.Time

	status Status
	free   time.Time // since when it can make checkpoints
}

// run lives until there is a reason to stop.
func (l *life) run(ctx context.Context) (r Result, err error) {
	defer l.close() // before the program is
	defer func() {
		if l.TopUp > 0 && !l.cameIn {
			l.Log.Warn("the top-up was not made: the run ended while recorded ticks were lived again")
		}
		r.Hostcalls = l.meter.Usage()
		for _, u := range r.Hostcalls {
			l.Log.Info("hostcalls", "capability", u.Capability, "calls", u.Calls, "bytes", u.Bytes, "took", u.Time)
		}
	}()
	l.savedTime, l.replayed = l.sim.now(), time.Now()
	// Where nothing is to be lived again, money comes in before the agent looks.
	if again, err := l.feed.More(); err != nil {
		return l.result, err
	} else if !again {
		if err := l.goLive(ctx); err != nil {
			return l.result, err
		}
	}
	if l.in, err = l.incarnate(ctx, &l.world, l.feed, l.state, l.tick+1); err != nil {
		return l.result, l.explain(err)
	}
	if l.Replay.Mode == ReplayOnResume || l.Replay.Mode == ReplayFull {
		if err := l.replay(ctx, l.older, l.newest); err != nil {
			return l.result, err
		}
	}
	l.older = nil
	reason, err := l.live(ctx)
	if err != nil {
		return l.result, l.explain(err)
	}
	l.result.Reason = reason
	return l.result, l.close()
}

// close gives the folder's files free. To do it again does nothing.
func (l *life) close() error {
	l.in.close()
	l.commits.close()
	var errs []error
	if l.settling {
		errs = append(errs, l.receipts.Sync())
		l.settleReceipts()
		l.settling = false
	}
	for _, c := range l.files {
		errs = append(errs, c.Close())
	}
	if w := l.world.Writer; w != nil {
		errs = append(errs, w.Close())
	}
	l.in, l.files, l.world.Writer = nil, nil, nil
	return errors.Join(errs...)
}

// explain says where a life stands after a failure.
func (l *life) explain(err error) error {
	if err == nil {
		return nil
	}
	cause := error(nil)
	if l.in != nil {
		cause = l.in.host.Err()
	}
	if d, ok := errors.AsType[*record.Divergence](errors.Join(err, cause)); ok {
		return hint.Wrap(fmt.Errorf("what was recorded after the newest checkpoint cannot be lived again: %w", d),
			"the agent keeps state outside its checkpoints, or its event log was changed; igor effects shows what it did outside")
	}
	if cause != nil {
		return fmt.Errorf("tick %d: %w", l.tick+1, cause)
	}
	if agentError, ok := errors.AsType[*sandbox.AgentError](err); ok {
		if l.head.IsZero() {
			return hint.Wrap(fmt.Errorf("agent failed before it was born: %w", agentError), "nothing was made; igor run starts it again")
		}
		if l.sim != nil {
			return hint.Wrap(fmt.Errorf("agent failed after tick %d: %w", l.tick, agentError), "the same seed fails in the same tick again")
		}
		return hint.Wrap(fmt.Errorf("agent failed after tick %d: %w", l.tick, agentError),
			"its life is kept up to tick %d; igor resume goes on from there", l.tick)
	}
	return err
}

func (l *life) live(ctx context.Context) (_ Reason, err error) {
	defer func() {
		if failed := l.settle(); failed != nil && !errors.Is(err, failed) {
			err = errors.Join(err, failed)
		}
	}()
	for ticks := uint64(0); ; {
		again, err := l.in.host.Recorded()
		if err != nil {
			return "", err
		}
		if !again {
			if err := l.goLive(ctx); err != nil {
				return "", err
			}
			if !l.wentLive {
				continue // there is more to be lived again
			}
			l.state = nil
			if l.account.exhausted() {
				return BudgetExhausted, l.checkpoint(ctx)
			}
			if ctx.Err() != nil {
				return Stopped, l.checkpoint(ctx)
			}
		} else if ctx.Err() != nil {
			return Stopped, nil // what is recorded can be lived again as well
		}
		l.enterTick(again)
		began := l.sim.now()
		failpoint.Reach(failpoint.TickBegins)
		result, err := l.in.agent.Tick(ctx)
		if err != nil {
			return "", err
		}
		failpoint.Reach(failpoint.TickLived)
		elapsed, cost := l.sim.since(began), int64(0)
		if again, err = l.in.host.End(int64(result), record.Used{Elapsed: elapsed}, func(record.Used) eventlog.Metered {
			cost = l.account.charge(elapsed)
			return eventlog.Metered{Cost: cost}
		}); err != nil {
			return "", err
		}
		l.tick++
		if again {
			failpoint.Reach(failpoint.TickAgain)
			continue
		}
		failpoint.Reach(failpoint.TickEnds)
		if !l.wentLive { // in the middle of the tick, of which the beginning was recorded
			if err := l.goneLive(); err != nil {
				return "", err
			}
		}
		ticks++
		l.lived(elapsed, cost)
		if err := l.sim.ended(l.tick); err != nil {
			return "", err
		}
		more := result != 0
		reason := Reason("")
		switch {
		case l.account.exhausted():
			reason = BudgetExhausted
		case ticks == l.MaxTicks:
			reason = TickLimit
		case l.UntilIdle && !more:
			reason = Idle
		}
		if reason != "" {
			if err := l.checkpoint(ctx); err != nil {
				return "", err
			}
			// Where the tick went live in its middle, nothing could come in before it.
			if err := l.goLive(ctx); err != nil {
				return "", err
			}
			if reason != BudgetExhausted || l.account.exhausted() {
				return reason, nil
			}
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
	next := l.sim.now().Add(interval)
	if interval > 0 {
		if err := l.settle(); err != nil {
			return err
		}
	}
	l.enter(Waiting, next)
	if l.CheckpointEvery.Time > 0 && l.tick > l.saved {
		if due := l.savedTime.Add(l.CheckpointEvery.Time); !due.After(next) {
			if !l.sim.sleepUntil(ctx, due) {
				return nil
			}
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
			if err := l.settle(); err != nil {
				return err
			}
			l.enter(Waiting, next)
		}
	}
	l.sim.sleepUntil(ctx, next)
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

// checkpoint makes the state a checkpoint, and goes on in a fresh instance that
// was restored from it. It does nothing while the tick is that of the newest one.
// It is durable after settle.
func (l *life) checkpoint(ctx context.Context) error {
	born := !l.head.IsZero()
	if born && l.tick == l.saved {
		return nil
	}
	if born {
		l.enter(Saving, time.Now().Add(saveLimit))
	}
	state, err := l.body.state(ctx, l.in)
	if err != nil {
		return err
	}
	return l.save(ctx, state)
}

// save makes a checkpoint of a state.
func (l *life) save(ctx context.Context, state []byte) error {
	failpoint.Reach(failpoint.StateTaken)
	born := !l.head.IsZero()
	// A state that cannot be restored would end the life for good, so that is
	// tried before the state becomes part of the history.
	fresh, err := l.incarnate(ctx, &l.world, nil, state, l.tick+1)
	if err != nil {
		return err
	}
	l.in.close()
	l.in = fresh
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
	hash := verifier.Hash(sha256.Sum256(next))
	if lost := l.sealed; !l.wentLive && !lost.IsZero() && lost != hash {
		l.Log.Warn("the checkpoint that was lost is another one now; a copy of it elsewhere would be a fork", "was", lost.CID(), "is", hash.CID())
		// The old seal is what says so: it is replaced when nothing follows it any more.
		if err := l.dropStrays(); err != nil {
			return err
		}
	}
	w := l.world.Writer
	if err := w.Seal(hash, eventlog.Metered{}, l.key); err != nil {
		return fmt.Errorf("checkpoint of tick %d: %w", l.tick, err)
	}
	failpoint.Reach(failpoint.SegmentSealed)
	m := made{
		Finding: verifier.Finding{ContentHash: hash, PrevHash: l.head, TickNumber: l.tick, Budget: c.Budget, PricePerSecond: c.PricePerSecond},
		bytes:   next,
		segment: w,
		before:  l.before,
	}
	l.before = journal.Base{Tick: l.tick, Hash: hash}
	l.head, l.saved, l.savedTime = hash, l.tick, l.sim.now()
	if !l.wentLive {
		l.state = state
	}
	if err := l.commit(m); err != nil {
		return err
	}
	if err := l.openSegment(); err != nil {
		return err
	}
	failpoint.Reach(failpoint.SegmentMade)
	if !born {
		return nil
	}
	return l.replayNewest(ctx, next)
}

func (l *life) header() eventlog.Header {
	return eventlog.Header{Prev: l.head, WASM: l.wasmHash, Manifest: l.manHash}
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

// spareFor is how soon an instance has to be taken after the one before it for
// the next to be made before it is wanted, and how long that is kept.
const spareFor = time.Second

// prepareSpares makes fresh instances in the background, until ctx is cancelled;
// then it closes the channel. The first is made at once; after that, while they are
// taken often, one ahead. An agent that makes a checkpoint now and then has no
// second instance in memory meanwhile.
func (b *body) prepareSpares(ctx context.Context) <-chan spare {
	spares := make(chan spare)
	b.wanted = make(chan struct{}, 1)
	go func() {
		defer close(spares)
		var taken time.Time
		wanted := func() bool {
			idle := time.After(spareFor)
			for {
				select {
				case <-b.wanted:
					return true
				case <-idle:
					b.program.Rest()
				case <-ctx.Done():
					return false
				}
			}
		}
		for ahead := true; ahead || wanted(); {
			agent, err := b.program.Instantiate(ctx)
			var tooLong <-chan time.Time
			if ahead {
				tooLong = time.After(spareFor)
			}
			select {
			case spares <- spare{agent, err}:
			case <-tooLong:
				spare{agent, err}.close()
				ahead = false
				continue
			case <-ctx.Done():
				spare{agent, err}.close()
				return
			}
			if ahead && !wanted() {
				return
			}
			ahead = time.Since(taken) < spareFor
			taken = time.Now()
		}
	}()
	return spares
}

package runtime

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"igor.dev/archive"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/pay"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
)

// An EngineConfig says what the agents of an engine share.
type EngineConfig struct {
	Log *slog.Logger // required

	// Keys has the agents' private keys, nil = a file in each one's folder.
	Keys KeySource

	// Homes finds the homes of agents that are not their folders, by what a folder calls
	// them; nil = such agents are refused, unless [Config.Home] has theirs.
	Homes func(name string) (*Home, error)

	// NodeKey signs a receipt for each checkpoint, nil = none is given.
	NodeKey ed25519.PrivateKey

	// Budgets is what stands behind the agents' budgets, nil = the operator's word.
	Budgets BudgetAdapter

	// PayAt is the address of the endpoint that settles payments; without one,
	// every payment fails.
	PayAt string

	// Payments pay what HTTP servers ask agents for by x402, nil = nothing is paid so.
	Payments *Payments

	// Archive keeps the agents' lives elsewhere, in the background, nil = nobody does.
	Archive *archive.Archiver

	// ArchiveLimit is how long a run may take, when it is over, to have the rest of its life
	// on its way to the archive; 0 = 10 s.
	ArchiveLimit time.Duration

	// Control has each agent listen at a Unix socket in its folder: see [Connect].
	Control bool

	// AtOnce is how many agents may be in a call at the same time, 0 = as many as there
	// are processors. Those that wait for a network or a disk do not count.
	AtOnce int

	Ceilings Ceilings

	TickLimit time.Duration // for one call into an agent, 0 = 15 s
	CacheDir  string        // for compiled code, "" = none is kept
}

// An Engine runs agents, as many as there is room for, and has what they share:
// compiled programs, the node's key, and the ways to the outside. It is safe for
// concurrent use.
type Engine struct {
	config   EngineConfig
	payer    hostcall.Payer // nil: payments fail
	programs programs
	turns    *turns
	packs    chan struct{} // one for each that packs
	syncs    *wal.Group
	ceilings ceilings

	mu     sync.Mutex
	closed bool
	agents map[*Agent]bool
	alive  sync.WaitGroup
}

// NewEngine makes an engine. Whoever made it closes it.
func NewEngine(c EngineConfig) (*Engine, error) {
	e := &Engine{config: c, agents: map[*Agent]bool{}, turns: newTurns(cmp.Or(c.AtOnce, runtime.GOMAXPROCS(0))), syncs: &wal.Group{}, packs: make(chan struct{}, packsAtOnce)}
	if c.Log == nil {
		return nil, errors.New("an engine needs a log")
	}
	e.ceilings.begin(c.Ceilings)
	if c.Keys == nil {
		e.config.Keys = fileKeys{}
	}
	if c.PayAt != "" {
		endpoint, err := pay.NewEndpoint(c.PayAt, c.Log)
		if err != nil {
			return nil, err
		}
		e.payer = endpoint
	}
	return e, nil
}

// Pays reports whether agents can pay here: by a pay endpoint, or by x402.
func (e *Engine) Pays() bool { return e.payer != nil || e.config.Payments != nil }

// Close stops all agents as [Agent.Stop] does, and returns when they have ended.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	for a := range e.agents {
		a.cancel()
	}
	e.mu.Unlock()
	e.alive.Wait()
	e.syncs.Close()
	return nil
}

// Start makes an agent with a new identity in dir, which has to be absent or
// empty, and runs it. It returns at once: what goes wrong, [Agent.Wait] says. That
// ctx is cancelled stops the agent as [Agent.Stop] does.
func (e *Engine) Start(ctx context.Context, dir string, b Birth, c Config) *Agent {
	return e.run(ctx, dir, c, func(ctx context.Context, a *Agent) (Result, error) { return e.bear(ctx, a, dir, b, a.config) })
}

// Resume goes on with the life in dir, under the same identity. It returns at once,
// as Start does.
func (e *Engine) Resume(ctx context.Context, dir string, c Config) *Agent {
	return e.run(ctx, dir, c, func(ctx context.Context, a *Agent) (Result, error) { return e.resume(ctx, a, dir, a.config) })
}

// errClosed says that an engine runs no more agents.
var errClosed = errors.New("the engine is closed")

func (e *Engine) run(ctx context.Context, dir string, c Config, live func(context.Context, *Agent) (Result, error)) *Agent {
	if c.Log == nil {
		c.Log = e.config.Log
	}
	if c.CheckpointEvery == (Every{}) {
		c.CheckpointEvery.Time = DefaultCheckpointEvery
	}
	if c.machine == nil {
		c.machine = thisMachine{e}
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &Agent{dir: dir, config: c, cancel: cancel, alive: make(chan struct{}), done: make(chan struct{}), orders: make(chan *order)}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		a.err = errClosed
	case c.PriceStored < 0:
		a.err = errors.New("the price of what is stored is negative")
	default:
		a.err = e.room(len(e.agents) + 1)
	}
	if a.err != nil {
		cancel()
		close(a.done)
		return a
	}
	e.agents[a] = true
	leave := e.syncs.Join()
	e.alive.Go(func() {
		defer leave()
		a.result, a.err = live(sandbox.WithMemory(ctx, memoryOf{e, a}), a)
		if why := a.why.Load(); why != nil && (errors.Is(a.err, sandbox.ErrNoMemory) || a.err == nil && a.result.Reason == Stopped) {
			a.err = *why
		}
		a.err = public(a.err)
		e.ceilings.bytes.leave(a)
		e.ceilings.effects.leave(a)
		cancel()
		close(a.done)
		a.control.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.agents, a)
	})
	return a
}

func (e *Engine) bear(ctx context.Context, a *Agent, dir string, b Birth, c Config) (result Result, err error) {
	if b.Budget < 0 || b.Price < 0 {
		return Result{}, errors.New("a budget or a price is negative")
	}
	body, err := e.embody(ctx, b.WASM, b.Manifest, c)
	if err != nil {
		return Result{}, err
	}
	var l *life
	defer func() {
		if l != nil {
			body = l.body
		}
		body.close()
	}()
	unborn := e.newLife(body, c)
	err = store.Create(dir, b.WASM, b.Manifest, func(s *store.Store) error {
		err := unborn.genesis(context.WithoutCancel(ctx), s, b)
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
	a.listen(e, dir)
	defer func() { a.control.Unlink() }()
	if !c.visit {
		ended := noteRun(s, nil)
		defer func() { ended(result, err) }()
	}
	unborn.logCheckpoint() // now it is durable
	l = e.newLife(body, c)
	l.attach(a)
	l.result.Checkpoints = unborn.result.Checkpoints
	l.watch.status.TickCost = unborn.watch.status.TickCost
	defer l.close()
	err = l.recover(context.WithoutCancel(ctx), s) // one checkpoint is soon verified
	if errors.Is(err, ErrBudgetExhausted) {
		l.result.Reason = BudgetExhausted // by its birth
		return l.result, nil
	}
	if err != nil {
		return Result{}, err
	}
	return l.run(ctx)
}

func (e *Engine) resume(ctx context.Context, a *Agent, dir string, c Config) (result Result, err error) {
	s, err := store.Open(dir)
	if err != nil {
		return Result{}, err
	}
	defer s.Close()
	s.Verified = c.Verified
	a.listen(e, dir)
	defer func() { a.control.Unlink() }()
	before := ranOf(s)
	ended := noteVisit(s)
	if !c.visit {
		ended = noteRun(s, before)
	}
	defer func() { ended(result, err) }()
	if err := e.retired(dir); err != nil {
		return Result{}, err
	}
	if err := left(dir); err != nil {
		return Result{}, err
	}
	if _, err := c.machine.keys().Key(s.Path()); err != nil { // the first thing that a bare history lacks
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
		return Result{}, s.BadManifest(err)
	}
	l := e.newLife(body, c)
	l.attach(a)
	l.lastRun = before
	defer l.close()
	if err := l.recover(ctx, s); err != nil { // before the slow part
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it was stopped before it lived
			return Result{Reason: Stopped, DID: l.result.DID}, nil
		}
		return Result{}, err
	}
	if err := e.compile(ctx, l.body, c); err != nil {
		return Result{}, err
	}
	defer func() { l.body.close() }()
	return l.run(ctx)
}

// embody compiles a program with its manifest.
func (e *Engine) embody(ctx context.Context, wasm, man []byte, c Config) (*body, error) {
	b, err := embody(wasm, man)
	if err == nil {
		err = startable(wasm)
	}
	if err != nil {
		return nil, err
	}
	b.schedule = fuel.Version1
	return b, e.compile(ctx, b, c)
}

// Keep compiles a program with a manifest, and keeps it until it is released: an agent that
// begins to run meanwhile has it at once.
func (e *Engine) Keep(ctx context.Context, wasm, man []byte) (release func(), err error) {
	b, err := embody(wasm, man)
	if err != nil {
		return nil, err
	}
	b.schedule = fuel.Version1
	_, release, err = e.program(ctx, b)
	return release, err
}

// compile makes a body ready to run. It has to be closed.
func (e *Engine) compile(ctx context.Context, b *body, c Config) error {
	program, release, err := e.program(ctx, b)
	if err != nil {
		return err
	}
	b.program, b.release = program, release
	b.nursery = newNursery(context.WithoutCancel(ctx), program, c.Log, e.turns)
	return nil
}

// program returns the program of a body, compiled if it is not yet. It has to be released.
func (e *Engine) program(ctx context.Context, b *body) (*sandbox.Program, func(), error) {
	program, release, err := e.programs.get(metered{b.wasmHash, b.manHash, b.schedule}, int64(len(b.wasm)), e.roomForCode, func() (*sandbox.Program, error) {
		return sandbox.Compile(context.WithoutCancel(ctx), b.wasm, sandbox.Config{
			Manifest:  b.manifest,
			Metering:  b.schedule,
			Log:       e.config.Log,
			CallLimit: e.config.TickLimit,
			CacheDir:  e.config.CacheDir,
			Memory:    memoryOf{engine: e},
		})
	})
	if errors.Is(err, ErrCeiling) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, &refusal{err}
	}
	return program, release, nil
}

// programs are those that run, each of them compiled once.
type programs struct {
	mu  sync.Mutex
	all map[metered]*sharedProgram
}

type sharedProgram struct {
	users    int
	size     int64                            // of the module
	compiled func() (*sandbox.Program, error) // once
	ready    atomic.Pointer[sandbox.Program]  // nil: it is not compiled yet
}

// get returns a program that is compiled if nobody has it yet, and kept until all who
// have it released it.
// room says whether there is room for one more of a size, where all have so many bytes.
func (p *programs) get(k metered, size int64, room func(used, size int64) error, compile func() (*sandbox.Program, error)) (_ *sandbox.Program, release func(), err error) {
	p.mu.Lock()
	shared := p.all[k]
	if shared == nil {
		if err := room(p.size(), size); err != nil {
			p.mu.Unlock()
			return nil, nil, err
		}
		shared = &sharedProgram{size: size, compiled: sync.OnceValues(compile)}
		if p.all == nil {
			p.all = map[metered]*sharedProgram{}
		}
		p.all[k] = shared
	}
	shared.users++
	p.mu.Unlock()
	program, err := shared.compiled()
	release = sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if shared.users--; shared.users > 0 {
			return
		}
		if p.all[k] == shared {
			delete(p.all, k)
		}
		if program != nil {
			program.Close()
		}
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	shared.ready.Store(program)
	return program, release, nil
}

// rest gives back the memory that is kept for new instances.
func (p *programs) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, shared := range p.all {
		if program := shared.ready.Load(); program != nil {
			program.Rest()
		}
	}
}

// size returns how many bytes the programs have, as modules.
func (p *programs) size() (sum int64) {
	for _, shared := range p.all {
		sum += shared.size
	}
	return sum
}

func (p *programs) bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size()
}

func (e *Engine) roomForCode(used, size int64) error {
	if limit := e.ceilings.limits.Code; limit > 0 && used+size > limit {
		return e.ceilings.refuse(CeilingCode, used, limit)
	}
	return nil
}

// A KeySource has the private keys of agents.
type KeySource interface {
	// NewKey makes the Ed25519 key of a new agent, whose folder is at dir while it is
	// made, and keeps it for good before it returns.
	NewKey(dir string) (crypto.Signer, error)

	// Key returns the key of the agent in dir. It never makes one: where there is
	// none, its error is [ErrNoKey].
	Key(dir string) (crypto.Signer, error)
}

// fileKeys keeps each agent's key as a file in its folder.
type fileKeys struct{}

// NewKey implements [KeySource].
func (fileKeys) NewKey(dir string) (crypto.Signer, error) { return store.NewKey(dir) }

// Key implements [KeySource].
func (fileKeys) Key(dir string) (crypto.Signer, error) { return store.Key(dir) }

// ReadKey reads an agent's private key in a file, which nobody else may read.
func ReadKey(path string) (ed25519.PrivateKey, error) { return store.KeyFile(path) }

// NodeKey reads the key with which a node signs receipts. If there is none at
// path it makes one, with mode 0600; it never replaces one.
func NodeKey(path string) (ed25519.PrivateKey, error) { return store.NodeKey(path) }

// ArchiveKey reads the key with which a node signs what it uploads to archives, as NodeKey
// does.
func ArchiveKey(path string) (ed25519.PrivateKey, error) { return store.ArchiveKey(path) }

package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// A Past is a life that is only read: run again, or forked.
type Past struct {
	Dir      string // the checkpoints are in it and below
	WASM     []byte
	Manifest []byte
	Events   string // the folder of the event log
}

// A ForkConfig says what a fork begins with.
type ForkConfig struct {
	Origin Past
	At     uint64 // the tick after which it begins

	WASM     []byte // instead of the origin's program, nil = the same
	Manifest []byte // instead of the origin's, nil = the same
	Budget   int64  // microcents; nothing comes from the origin's
	Price    *int64 // microcents per second, nil = the origin's

	// Key is the fork's key, nil = a new one.
	Key ed25519.PrivateKey

	// Budgets is what stands behind the fork's budget, nil = the operator's word.
	Budgets BudgetAdapter

	Log      *slog.Logger // for what the agent writes
	CacheDir string

	machine machine // whose keys it gets, nil = this one

	// through has folders written through others, nil = as they are.
	through func(name string, folder wal.Folder) wal.Folder
}

// A Forked is a life that began as a fork.
type Forked struct {
	DID  string
	Head verifier.Hash // its genesis

	Origin     string        // DID
	Checkpoint verifier.Hash // of the origin, from which the state was had

	// Effects is how many side effects the origin's event log has after the tick:
	// the fork may mean to do them too. Partial says that there may be more, for a
	// part of the log is not there.
	Effects int
	Partial bool
}

// Fork makes an agent with a new identity in dir, which has to be absent or empty,
// that begins with the state of another agent after a tick. It does not run it,
// and changes nothing of the origin, which may be running.
func Fork(ctx context.Context, dir string, c ForkConfig) (*Forked, error) {
	if c.Budget < 0 || c.Price != nil && *c.Price < 0 {
		return nil, errors.New("a budget or a price is negative")
	}
	_, files, err := store.Checkpoints(ctx, c.Origin.Dir)
	if err != nil {
		return nil, err
	}
	from, state, err := c.Origin.stateAt(ctx, files, c.At, c.CacheDir)
	if err != nil {
		return nil, err
	}
	old, err := embody(c.Origin.WASM, c.Origin.Manifest)
	if err != nil {
		return nil, err
	}
	same := c.Origin.WASM
	if from.WASMHash != old.wasmHash && c.WASM == nil { // one of before an upgrade
		same, err = newLibrary(c.Origin.WASM, c.Origin.Manifest, c.Origin.Events, c.Log, c.CacheDir).read(programName(from.WASMHash), from.WASMHash, MaxWASM)
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("the checkpoint of tick %d is of another program, with SHA-256 %s: %w", from.TickNumber, from.WASMHash, err), "name the program that the fork shall have: --wasm FILE")
		}
	}
	man := c.Manifest
	if man == nil {
		man = c.Origin.Manifest
	}
	wasm := c.WASM
	if wasm == nil {
		wasm = same
	}
	b, err := embody(wasm, man)
	if err == nil && c.WASM != nil {
		err = startable(wasm)
	}
	if err != nil {
		return nil, err
	}
	if old.keeps() != b.keeps() {
		return nil, errors.New("the origin's manifest and the fork's have to agree about the capability kv: it is part of the state")
	}
	f := &Forked{Origin: from.AgentPubKey.DID(), Checkpoint: from.hash}
	f.Effects, f.Partial = c.Origin.effectsAfter(files, c.At)
	engine, err := NewEngine(EngineConfig{Log: c.Log, CacheDir: c.CacheDir, Budgets: c.Budgets, Keys: keysOf(c.Key)})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	config := Config{Log: c.Log, machine: c.machine, through: c.through}
	if c.machine == nil {
		config.machine = thisMachine{engine}
	}
	b.schedule = fuel.Version1
	if err := engine.compile(ctx, b, config); err != nil {
		return nil, public(err)
	}
	defer b.close()
	l := engine.newLife(b, config)
	l.tick = c.At
	l.account = account{budget: c.Budget, price: from.PricePerSecond}
	if c.Price != nil {
		l.account.price = *c.Price
	}
	origin := eventlog.Record{Kind: eventlog.Origin, Tick: c.At, Agent: from.AgentPubKey, Checkpoint: from.hash}
	err = store.Create(dir, wasm, man, func(s *store.Store) error {
		err := l.fork(context.WithoutCancel(ctx), s, &origin, state)
		return errors.Join(err, l.close())
	})
	f.DID, f.Head = l.result.DID, l.head
	return f, public(err)
}

// keysOf gives a new agent that key, nil = one of its own.
func keysOf(key ed25519.PrivateKey) KeySource {
	if key == nil {
		return nil
	}
	return givenKey{key: key}
}

type givenKey struct {
	fileKeys
	key ed25519.PrivateKey
}

// NewKey implements [KeySource].
func (g givenKey) NewKey(dir string) (crypto.Signer, error) { return store.GiveKey(dir, g.key) }

// fork makes the genesis of a fork.
func (l *life) fork(ctx context.Context, s *store.Store, origin *eventlog.Record, state []byte) error {
	if err := l.beginLog(ctx, s); err != nil {
		return err
	}
	if err := l.world.Writer.Append(origin); err != nil {
		return err
	}
	if err := l.save(ctx, state, 0, false); err != nil {
		return err
	}
	return l.commits.waitDurable()
}

// A pastCheckpoint is one of a life that is only read.
type pastCheckpoint struct {
	verifier.Checkpoint
	hash verifier.Hash
}

// A pastError says that a life does not have what is asked of it.
type pastError struct{ error }

// stateAt returns the state after a tick, and the newest checkpoint up to it, from
// which its ticks are run again if it is not of that tick.
func (p *Past) stateAt(ctx context.Context, files []store.CheckpointFile, tick uint64, cacheDir string) (from pastCheckpoint, state []byte, err error) {
	n := 0
	for n < len(files) && files[n].Tick <= tick {
		n++
	}
	switch {
	case n == 0:
		return from, nil, &pastError{fmt.Errorf("the first checkpoint is of tick %d, after tick %d", files[0].Tick, tick)}
	case n == len(files) && files[n-1].Tick < tick:
		return from, nil, hint.Wrap(&pastError{fmt.Errorf("the newest checkpoint is of tick %d, before tick %d", files[n-1].Tick, tick)},
			"a fork begins with a tick that is in the history; igor ls FOLDER names its checkpoints")
	}
	b, err := files[n-1].Read()
	if err != nil {
		return from, nil, err
	}
	if from.Checkpoint, err = verifier.Parse(b); err != nil {
		return from, nil, err
	}
	from.hash = files[n-1].Hash
	if from.TickNumber == tick {
		return from, from.State, nil
	}
	c := ReplayConfig{WASM: p.WASM, Manifest: p.Manifest, Events: p.Events, From: from.TickNumber, Until: &tick,
		Log: slog.New(slog.DiscardHandler), CacheDir: cacheDir}
	r, err := Replay(ctx, p.Dir, c)
	if err != nil {
		return from, nil, err
	}
	for _, problem := range r.Problems {
		return from, nil, hint.Wrap(&pastError{fmt.Errorf("the state after tick %d cannot be had: %s: %s", tick, problem.Code, problem.Message)},
			"a tick that has a checkpoint needs no event log; igor ls FOLDER names them")
	}
	return from, r.State, nil
}

// effectsAfter counts the side effects that are recorded after a tick. partial says
// that a part of the event log is not there, or damaged.
func (p *Past) effectsAfter(files []store.CheckpointFile, tick uint64) (n int, partial bool) {
	log, done, err := openReadOnly(p.Events)
	if err != nil {
		return 0, true
	}
	defer done()
	for i, f := range files {
		newest := i+1 == len(files)
		if !newest && files[i+1].Tick <= tick {
			continue
		}
		found, err := segmentEffects(log, f.Tick+1, tick)
		n += found
		if newest && errors.Is(err, fs.ErrNotExist) {
			err = nil // there is one only where the agent lives
		}
		partial = partial || err != nil
	}
	return n, partial
}

func segmentEffects(log *eventlog.Log, first, after uint64) (n int, err error) {
	s, err := log.Segment(first)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for {
		r, err := s.Next()
		if err == io.EOF || eventlog.Torn(err) {
			return n, nil // the life goes on there
		}
		if err != nil {
			return n, err
		}
		if r.Tick <= after {
			continue
		}
		switch r.Kind {
		case eventlog.WalletPay:
			n++
		case eventlog.HTTPRequest:
			asked, err := log.Content(r.Request)
			if err != nil {
				return n, err
			}
			sent, err := request.ParseHTTP(asked)
			if err != nil {
				return n, err
			}
			if (&hostcall.HTTPRequest{Method: sent.Method}).Effect() {
				n++
			}
		}
	}
}

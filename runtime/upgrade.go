package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// An Upgrade is another program for an agent, or another manifest. The agent goes on
// from the state that it has.
type Upgrade struct {
	WASM     []byte // nil = as before
	Manifest []byte // nil = as before

	// MoreRights allows a manifest that grants more than the one before.
	MoreRights bool

	// FromCheckpoint has an agent that does not run go on from its newest checkpoint, as
	// if the ticks after it had never been: for one that cannot make another.
	FromCheckpoint bool
}

// ReadUpgrade reads the files of an upgrade; "" is none.
func ReadUpgrade(wasm, man string) (u Upgrade, err error) {
	read := func(path string, most int64) ([]byte, error) {
		if path == "" {
			return nil, nil
		}
		info, err := os.Stat(path) // before it is opened: opening a pipe would wait
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || info.Size() > most {
			return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, most)
		}
		return os.ReadFile(path)
	}
	if u.WASM, err = read(wasm, MaxWASM); err == nil {
		u.Manifest, err = read(man, MaxManifest)
	}
	return u, err
}

// An Upgraded says what an upgrade came to.
type Upgraded struct {
	Tick         uint64 // after which the new program goes on
	WASM, Before verifier.Hash
	More         []string // that the agent may now, and could not before
}

// Upgrade gives the agent another program or manifest, between two ticks. The state is
// restored with it before anything is changed. The programs of before stay in the
// agent's folder: to check its life takes them.
func (a *Agent) Upgrade(ctx context.Context, u Upgrade) (r Upgraded, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) (err error) {
		r, err = l.upgrade(ctx, u)
		return err
	})
	return r, err
}

// UpgradeStopped is [Agent.Upgrade] for an agent that does not run. What was recorded of
// its life since its newest checkpoint is lived again before, by the program that lived
// it; or, with FromCheckpoint, never was.
func (e *Engine) UpgradeStopped(ctx context.Context, dir string, u Upgrade) (r Upgraded, err error) {
	c := Config{visit: true, relive: !u.FromCheckpoint, passes: u.FromCheckpoint}
	_, err = e.visitWith(ctx, dir, c, func(ctx context.Context, a *Agent) (err error) {
		r, err = a.Upgrade(ctx, u)
		return err
	})
	return r, err
}

// passOver has a life that is visited stand at its newest checkpoint, with what money came
// in after it, as if nothing else had: an upgrade makes it so. What it did outside cannot
// be made undone: then it refuses.
func (l *life) passOver(c *verifier.Checkpoint) error {
	dir := l.store.Dir()
	if !l.recovery.lost.IsZero() {
		return hint.Wrap(fmt.Errorf("a checkpoint was made after tick %d, and is lost: without it, its ticks cannot be passed over", l.saved),
			"igor resume %s makes it again", dir)
	}
	for _, e := range l.world.Journal.Effects() {
		if e.Tick > l.saved {
			return hint.Wrap(fmt.Errorf("tick %d, after the newest checkpoint, had a side effect (%s): it cannot be as if it had never been", e.Tick, e.ID),
				"igor fork %s --at %d --wasm FILE begins another life before it, with a mended program", dir, l.saved)
		}
	}
	l.account = account{budget: c.Budget, price: c.PricePerSecond, rest: l.world.Writer.Header().Rest}
	sum := l.account.sum()
	err := readSegment(l.log, l.saved+1, func(r *eventlog.Record) error {
		if r.Kind != eventlog.Account {
			return nil
		}
		return r.Apply(&sum)
	})
	if err != nil {
		return err
	}
	l.account.set(sum)
	if l.recovery.feed, err = record.NewFeed(l.log, l.saved+1, 0); err == nil {
		l.closers = append(l.closers, l.recovery.feed)
	}
	return err
}

// MoreRightsError says what an upgrade would grant.
type MoreRightsError struct{ More []string }

func (e *MoreRightsError) Error() string {
	return "the new manifest grants more than the one before: " + strings.Join(e.More, "; ")
}

// Hint says what to do.
func (e *MoreRightsError) Hint() string { return "if that is meant, igor upgrade --more-rights" }

// prepare returns what an upgrade makes of a body.
func (u *Upgrade) prepare(old *body) (b *body, more []string, err error) {
	wasm, man := u.WASM, u.Manifest
	if wasm == nil {
		wasm = old.wasm
	}
	if man == nil {
		man = old.man
	}
	if b, err = embody(wasm, man); err == nil && u.WASM != nil {
		err = startable(wasm)
	}
	if err != nil {
		return nil, nil, err
	}
	b.schedule = fuel.Version1
	more = manifest.More(old.manifest, b.manifest)
	switch {
	case b.wasmHash == old.wasmHash && b.manHash == old.manHash:
		return nil, nil, errors.New("the agent has that program and that manifest already")
	case old.keeps() != b.keeps():
		return nil, nil, errors.New("the manifests before and after have to agree about the capability kv: it is part of the state")
	case len(more) > 0 && !u.MoreRights:
		return nil, nil, &MoreRightsError{more}
	}
	return b, more, nil
}

func (l *life) upgrade(ctx context.Context, u Upgrade) (r Upgraded, err error) {
	b, more, err := u.prepare(l.body)
	if err != nil {
		return r, err
	}
	if !l.metered() {
		return r, errors.New("the agent has to live a tick first, which ends the event log that an earlier igor began")
	}
	if u.FromCheckpoint && !l.visit {
		return r, hint.Wrap(errors.New("the agent lives, and goes on from what it did last"), "stop it first, if what it did since its newest checkpoint is to be forgotten: igor stop")
	}
	if err := l.checkpoint(ctx); err != nil {
		if _, ok := errors.AsType[*AgentError](err); ok {
			err = hint.Wrap(err, "what it did since tick %d cannot be kept: igor upgrade --from-checkpoint goes on from there, and igor fork --at %[1]d --wasm FILE begins another life", l.saved)
		}
		return r, fatal(err)
	}
	if err := l.commits.waitDurable(); err != nil {
		return r, fatal(err)
	}
	newest, err := l.newestCheckpoint()
	if err != nil {
		return r, err
	}
	if err := l.engine.compile(ctx, b, l.Config); err != nil {
		return r, err
	}
	old := l.body
	l.become(b)
	back := func(err error) (Upgraded, error) {
		l.become(old)
		b.close()
		return r, err
	}
	fresh, err := l.incarnate(ctx, nil, newest.State, true)
	if err == nil && fresh.still != nil {
		err = fresh.failed(fresh.still)
		fresh.close()
	}
	if err != nil {
		return back(hint.Wrap(fmt.Errorf("the new program cannot go on from the agent's state: %w", err),
			"nothing was changed; igor upgrade --dry-run tries a program without an agent that lives"))
	}
	if err := l.store.Keep(map[string][]byte{
		programName(old.wasmHash): old.wasm, manifestName(old.manHash): old.man,
		programName(b.wasmHash): b.wasm, manifestName(b.manHash): b.man,
	}); err != nil {
		fresh.close()
		return back(err)
	}
	failpoint.Reach(failpoint.ProgramKept)
	// From here on the new program is the agent's, whatever happens.
	last := l.world.Writer.Totals().Last
	w, aside, err := l.log.Upgrade(l.world.Writer, l.header(), &eventlog.Record{WASM: old.wasmHash, Manifest: old.manHash}, l.passes)
	if err != nil {
		fresh.close()
		return r, fatal(err)
	}
	l.world.Writer = w
	l.home.segment = segmentMark{} // it is another one
	failpoint.Reach(failpoint.Upgraded)
	if err := l.publish(); err != nil {
		fresh.close()
		return r, fatal(err)
	}
	l.in.close()
	l.in = fresh
	l.retired = append(l.retired, old)
	l.closeRetired()
	if err := l.store.SetProgram(b.wasm, b.man); err != nil {
		return r, fatal(err)
	}
	l.failed = 0
	if aside != "" {
		l.Log.Warn("the ticks after the newest checkpoint never were", "from", l.saved+1, "to", last, "file", aside)
	}
	l.Log.Info("upgraded", "tick", l.tick, "program", b.wasmHash.String(), "before", old.wasmHash.String())
	return Upgraded{Tick: l.tick, WASM: b.wasmHash, Before: old.wasmHash, More: more}, nil
}

// become has the life go on with a program that is compiled.
func (l *life) become(b *body) {
	l.body = b
	l.world.Manifest = b.manifest
	l.machine.connect(l)
}

func (l *life) newestBytes() (newest []byte, err error) {
	for newest, err = range l.store.Newest() {
		break
	}
	return newest, err
}

// newestCheckpoint reads the newest checkpoint, which is durable.
func (l *life) newestCheckpoint() (c verifier.Checkpoint, err error) {
	newest, err := l.newestBytes()
	if err == nil {
		c, err = verifier.Parse(newest)
	}
	if err == nil && c.TickNumber != l.saved {
		err = fmt.Errorf("the newest checkpoint is of tick %d, not %d", c.TickNumber, l.saved)
	}
	return c, err
}

// TryUpgrade has another program go on from an agent's newest checkpoint on a
// simulated machine, for some ticks, and changes nothing of the agent. Requests and
// payments of the simulation reach nobody.
func TryUpgrade(ctx context.Context, of Past, u Upgrade, c SimulationConfig) (r SimulationResult, err error) {
	old, err := embody(of.WASM, of.Manifest)
	if err != nil {
		return r, err
	}
	b, _, err := u.prepare(old)
	if err != nil {
		return r, err
	}
	_, files, err := store.Checkpoints(ctx, of.Dir)
	if err != nil {
		return r, err
	}
	tick := files[len(files)-1].Tick
	tmp, err := os.MkdirTemp("", "igor-upgrade-*")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, "agent")
	s := newSimulation(c)
	s.log = c.Log
	fork := ForkConfig{Origin: of, At: tick, WASM: b.wasm, Manifest: b.man, Budget: 1 << 50, Log: c.Log, CacheDir: c.CacheDir, machine: s}
	if _, err := Fork(ctx, dir, fork); err != nil {
		return r, err
	}
	engine, err := NewEngine(EngineConfig{Log: c.Log, CacheDir: c.CacheDir})
	if err != nil {
		return r, err
	}
	defer engine.Close()
	live := Config{TickInterval: AgentPace, CheckpointEvery: Every{Ticks: 1}, MaxTicks: c.Ticks, MaxFailedTicks: 1, machine: s}
	r.Result, err = engine.Resume(ctx, dir, live).Wait(context.WithoutCancel(ctx))
	if err != nil {
		return r, hint.Wrap(fmt.Errorf("on a simulated machine: %w", err), "nothing was changed")
	}
	r.Hostcalls = nil
	return r, nil
}

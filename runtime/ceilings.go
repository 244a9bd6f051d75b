package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"igor.dev/runtime/internal/sandbox"
)

// Ceilings are what the agents of an engine may have together; 0 = as much as the machine
// gives. They are fair: where one is reached, an agent waits before its next tick, or ends
// with a [CeilingError], only if it has more than its share. An agent cannot see them in a
// tick.
type Ceilings struct {
	Memory  int64 // bytes of the agents' memories
	Code    int64 // bytes of the programs, as modules; their machine code has about as many
	Files   int   // descriptors
	Network int   // agents that may reach a network, in a tick at the same time

	BytesPerSecond   int64 // that are written to their folders
	EffectsPerSecond int64 // side effects that are begun
}

// The names of ceilings.
const (
	CeilingMemory  = "memory"
	CeilingCode    = "code"
	CeilingFiles   = "files"
	CeilingNetwork = "network"
	CeilingBytes   = "bytes-per-second"
	CeilingEffects = "effects-per-second"
)

// ErrCeiling says that an engine has no room for an agent. Another time it may have.
var ErrCeiling = errors.New("the engine has no room for the agent")

// A CeilingError says which ceiling an engine has reached. It is [ErrCeiling].
type CeilingError struct {
	Ceiling     string
	Used, Limit int64 // of all agents together
}

func (e *CeilingError) Error() string {
	return fmt.Sprintf("%v: the ceiling for %s is %d, and %d are used", ErrCeiling, e.Ceiling, e.Limit, e.Used)
}

// Is reports whether target is [ErrCeiling].
func (e *CeilingError) Is(target error) bool { return target == ErrCeiling }

// Hint says what to do.
func (e *CeilingError) Hint() string {
	return "it is tried again; raise the ceiling (--max-" + e.Ceiling + "), or run fewer agents in one process"
}

// A Ceiling is how near to one of its ceilings an engine is.
type Ceiling struct {
	Name    string
	Limit   float64 // 0 = none
	Used    float64
	Refused uint64        // agents that did not start, or were stopped, since it was reached
	Waited  time.Duration // that agents waited before ticks, together
}

// Ceilings returns how near to its ceilings the engine is.
func (e *Engine) Ceilings() []Ceiling {
	c := &e.ceilings
	one := func(name string, limit, used float64) Ceiling {
		t := &c.told[indexOf(name)]
		return Ceiling{name, limit, used, t.refused.Load(), time.Duration(t.waited.Load())}
	}
	e.mu.Lock()
	agents := len(e.agents)
	e.mu.Unlock()
	return []Ceiling{
		one(CeilingMemory, float64(c.limits.Memory), float64(c.memory.Load())),
		one(CeilingCode, float64(c.limits.Code), float64(e.programs.bytes())),
		one(CeilingFiles, float64(c.limits.Files), float64(filesOf(agents))),
		one(CeilingNetwork, float64(c.limits.Network), float64(len(c.network))),
		one(CeilingBytes, c.bytes.limit, c.bytes.now()),
		one(CeilingEffects, c.effects.limit, c.effects.now()),
	}
}

// Syncs returns how many times something was to be made durable, and how many times a
// disk was asked to: with many agents, what they ask for at about the same time is one.
func (e *Engine) Syncs() (asked, made uint64) { return e.syncs.Syncs() }

var ceilingNames = []string{CeilingMemory, CeilingCode, CeilingFiles, CeilingNetwork, CeilingBytes, CeilingEffects}

func indexOf(name string) int { return slices.Index(ceilingNames, name) }

// ceilings are those of an engine, and what is used of them.
type ceilings struct {
	limits         Ceilings
	memory         atomic.Int64  // bytes
	network        chan struct{} // nil: no ceiling
	bytes, effects rate

	told [6]struct { // by ceilingNames
		refused atomic.Uint64
		waited  atomic.Int64 // nanoseconds
	}
}

func (c *ceilings) begin(limits Ceilings) {
	if limits.Files == 0 {
		limits.Files = systemFiles()
	}
	c.limits = limits
	if limits.Network > 0 {
		c.network = make(chan struct{}, limits.Network)
	}
	c.bytes.limit, c.effects.limit = float64(limits.BytesPerSecond), float64(limits.EffectsPerSecond)
}

// refuse counts an agent for which there is no room.
func (c *ceilings) refuse(name string, used, limit int64) error {
	c.told[indexOf(name)].refused.Add(1)
	return &CeilingError{name, used, limit}
}

func (c *ceilings) waited(name string, since time.Time) {
	c.told[indexOf(name)].waited.Add(int64(time.Since(since)))
}

// Each agent has so many descriptors open: its folder and those in it, the lock, the
// journal, the receipts, the event log, its socket; more while it makes checkpoints.
const filesEach = 16

// filesOwn are those that a process has anyway.
const filesOwn = 64

func filesOf(agents int) int64 { return int64(agents)*filesEach + filesOwn }

// memoryOf takes for an agent of what all agents' memories have together; of nil it is not
// known for which. Where that is over its limit, the agent that has most is stopped: it has
// more than its share. Until it has stopped, it gets a little more than there is, to end its
// tick, and the others what they need.
type memoryOf struct {
	engine *Engine
	agent  *Agent
}

// Take implements [sandbox.Memory].
func (m memoryOf) Take(needs, likes uint64) uint64 {
	c := &m.engine.ceilings
	limit := c.limits.Memory
	if limit == 0 {
		limit = math.MaxInt64
	}
	switch {
	case c.takeMemory(likes, limit):
		return likes
	case c.takeMemory(needs, limit):
		return needs
	}
	if m.engine.programs.rest(); c.takeMemory(needs, limit) {
		return needs
	}
	return m.beyond(needs, limit)
}

// beyond is Take where there is not enough.
func (m memoryOf) beyond(needs uint64, limit int64) uint64 {
	c := &m.engine.ceilings
	m.engine.stopMost(m.agent, int64(needs))
	most := 2 * limit
	if m.agent == nil || m.agent.why.Load() != nil {
		most = limit + limit/8
	}
	if !c.takeMemory(needs, most) {
		return 0
	}
	if m.agent != nil {
		m.agent.memory.Add(int64(needs)) // until its tick is over, and it is counted
	}
	return needs
}

// Give implements [sandbox.Memory].
func (m memoryOf) Give(bytes uint64) { m.engine.ceilings.memory.Add(-int64(bytes)) }

// takeMemory takes bytes if all agents have no more than a limit then.
func (c *ceilings) takeMemory(bytes uint64, limit int64) bool {
	for {
		used := c.memory.Load()
		if int64(bytes) > limit-used {
			return false
		}
		if c.memory.CompareAndSwap(used, used+int64(bytes)) {
			return true
		}
	}
}

// stopMost stops the agent that has most memory if one of them gets what it needs, unless
// those that are being stopped will leave enough.
func (e *Engine) stopMost(by *Agent, needs int64) {
	c := &e.ceilings
	used := c.memory.Load() + needs
	var most *Agent
	var bytes, leaves int64
	e.mu.Lock()
	for a := range e.agents {
		has := a.memory.Load()
		if a == by {
			has += needs
		}
		switch {
		case a.why.Load() != nil:
			leaves += has
		case has > bytes:
			most, bytes = a, has
		}
	}
	e.mu.Unlock()
	if most == nil || used-leaves <= c.limits.Memory {
		return
	}
	if most.stopFor(&CeilingError{CeilingMemory, used, c.limits.Memory}) {
		c.told[indexOf(CeilingMemory)].refused.Add(1)
	}
}

// stopFor stops an agent for a reason that is an error. It reports whether it did: else
// the agent was being stopped for another one.
func (a *Agent) stopFor(why error) bool {
	first := a.why.CompareAndSwap(nil, &why)
	if first {
		a.cancel()
	}
	return first
}

// A rate is how much of something the agents of an engine do in a second, and how much
// they may. The past counts with half its weight after 0.7 seconds.
type rate struct {
	limit float64 // 0 = none

	mu    sync.Mutex
	all   decaying
	those map[*Agent]*decaying
}

// A decaying amount is what was added to it, e times less after each second.
type decaying struct {
	amount float64
	at     time.Time
}

func (d *decaying) now(at time.Time) float64 {
	d.amount *= math.Exp(-at.Sub(d.at).Seconds())
	d.at = at
	return d.amount
}

// count says what an agent did.
func (r *rate) count(a *Agent, amount float64) {
	if amount == 0 || a == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.all.now(now)
	r.all.amount += amount
	if r.limit == 0 {
		return
	}
	d := r.those[a]
	if d == nil {
		if r.those == nil {
			r.those = map[*Agent]*decaying{}
		}
		d = &decaying{at: now}
		r.those[a] = d
	}
	d.now(now)
	d.amount += amount
}

// now returns how much there is in a second.
func (r *rate) now() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all.now(time.Now())
}

// pause returns how long an agent has to wait before it does more: until all together do
// no more than they may, or it no more than its share of that.
func (r *rate) pause(a *Agent) time.Duration {
	if r.limit == 0 || a == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	all := r.all.now(now)
	if all <= r.limit || r.those[a] == nil {
		return 0
	}
	for other, d := range r.those { // those who did nothing for long have no share
		if other != a && d.now(now) < r.limit/1e4 {
			delete(r.those, other)
		}
	}
	own, share := r.those[a].now(now), r.limit/float64(len(r.those))
	if own <= share {
		return 0
	}
	seconds := math.Log(min(own/share, all/r.limit))
	return max(time.Millisecond, min(time.Duration(seconds*float64(time.Second)), time.Second))
}

// leave forgets an agent.
func (r *rate) leave(a *Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.those, a)
}

// room reports whether there is room for another agent, which is among agents already.
func (e *Engine) room(agents int) error {
	limit := int64(e.ceilings.limits.Files)
	if used := filesOf(agents); limit > 0 && used > limit {
		return e.ceilings.refuse(CeilingFiles, used-filesEach, limit)
	}
	return nil
}

// keepPace waits before a tick until the agent may do more. It reports whether it may:
// else the context is over.
func (l *life) keepPace(ctx context.Context) (bool, error) {
	c := &l.engine.ceilings
	for {
		name, pause := CeilingBytes, c.bytes.pause(l.watch.agent)
		if more := c.effects.pause(l.watch.agent); more > pause {
			name, pause = CeilingEffects, more
		}
		if pause == 0 {
			return ctx.Err() == nil, nil
		}
		began := time.Now()
		until := l.machine.now().Add(pause)
		l.enter(Waiting, until)
		err := l.waitUntil(ctx, until)
		c.waited(name, began)
		if every := l.CheckpointEvery.Time; err == nil && ctx.Err() == nil && every > 0 && l.tick > l.saved && !l.machine.now().Before(l.savedTime.Add(every)) {
			if err = l.checkpoint(ctx); err == nil {
				err = l.commits.waitDurable()
			}
		}
		if err != nil || ctx.Err() != nil {
			return false, err
		}
	}
}

// enterNetwork waits before a tick of an agent that may reach a network until fewer than
// the ceiling do. It reports whether they do: else the context is over.
func (l *life) enterNetwork(ctx context.Context) (ok bool, leave func(), err error) {
	c := &l.engine.ceilings
	if c.network == nil || !l.reaches() {
		return true, func() {}, nil
	}
	leave = func() { <-c.network }
	select {
	case c.network <- struct{}{}:
		return true, leave, nil
	default:
	}
	defer c.waited(CeilingNetwork, time.Now())
	for {
		l.enter(Waiting, time.Time{})
		select {
		case c.network <- struct{}{}:
			return true, leave, nil
		case <-ctx.Done():
			return false, nil, nil
		case o := <-l.orders:
			if err := l.carryOut(ctx, o); err != nil {
				return false, nil, err
			}
			if err := l.obey(ctx); err != nil {
				return false, nil, err
			}
		}
	}
}

// reaches reports whether the agent may reach a network.
func (l *life) reaches() bool {
	m := l.body.manifest
	_, http := m.Capabilities["http"]
	_, pays := m.Capabilities["x402"]
	return http || pays
}

// used counts what the tick that ended took of the engine's ceilings.
func (l *life) used() {
	a, c := l.watch.agent, &l.engine.ceilings
	if a == nil {
		return
	}
	if l.in.agent != nil {
		a.memory.Store(int64(l.in.agent.Size()))
	}
	written := l.disk.ever.Load()
	c.bytes.count(a, float64(written-l.counted.written))
	c.effects.count(a, float64(l.begun-l.counted.effects))
	l.counted = counted{written, l.begun}
}

// counted is what was counted already.
type counted struct {
	written int64
	effects uint64
}

var _ sandbox.Memory = memoryOf{}

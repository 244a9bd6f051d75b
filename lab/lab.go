package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"igor.dev/internal/verifycli"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A lab is a script that runs.
type lab struct {
	Config
	dir, cache string
	world      world
	nodes      []node
	shops      []*shop
	bank       *bank
	market     *market  // nil: there is no chain
	members    *members // nil: the nodes are no fleet
	r          *recorder
	rng        *rand.Rand
	behind     sync.WaitGroup // steps that go on meanwhile
	mu         sync.Mutex
	late       []error         // of those
	cuts       map[[2]int]bool // from, to
	slowed     map[string]bool // nodes whose link was slow
}

var errNoNode = errors.New("it lives nowhere")

// every is how often nodes are looked at.
func (l *lab) every() time.Duration {
	if l.Script.Simulated {
		return time.Second
	}
	return 20 * time.Millisecond
}

// Run runs a script, records it, and checks what came of it. Processes need Linux, root and
// iproute2; a simulated world nothing.
func Run(ctx context.Context, c Config) (*Result, error) {
	if !c.Script.Simulated {
		return run(ctx, c, newProcesses)
	}
	if c.Bubble == nil {
		c.Bubble = bubble
	}
	var r *Result
	var err error
	c.Bubble(func() { r, err = run(context.WithoutCancel(ctx), c, newSimulation) })
	return r, err
}

func run(ctx context.Context, c Config, in func(*lab) (world, error)) (_ *Result, err error) {
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	l := &lab{Config: c, dir: c.Dir, cache: c.Cache, cuts: map[[2]int]bool{}, slowed: map[string]bool{}, rng: rand.New(rand.NewPCG(c.Script.Seed, 0))}
	if l.dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	if found, err := os.ReadDir(l.dir); err == nil && len(found) > 0 {
		return nil, fmt.Errorf("%s is not empty: a recording needs a folder of its own", c.Dir)
	}
	if l.cache == "" {
		l.cache = filepath.Join(l.dir, "cache")
	}
	for _, d := range []string{filepath.Join(l.dir, dirPrograms), l.cache} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := l.keepScript(); err != nil {
		return nil, err
	}
	if l.world, err = in(l); err != nil {
		return nil, err
	}
	defer func() {
		for _, p := range l.nodes {
			if p.runs() {
				p.kill()
			}
		}
		for _, s := range l.shops {
			s.close()
		}
		if l.bank != nil {
			l.bank.close()
		}
		if l.market != nil {
			l.market.close()
		}
		if l.members != nil {
			l.members.via.Close()
		}
		err = errors.Join(err, l.world.close())
	}()
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	if err := l.live(ctx); err != nil {
		return nil, err
	}
	return l.judge(ctx)
}

// keepScript writes the script into the recording, with its programs.
func (l *lab) keepScript() error {
	kept := *l.Script
	kept.Agents = slices.Clone(kept.Agents)
	for i := range kept.Agents {
		a := &kept.Agents[i]
		b, err := os.ReadFile(a.Program)
		if err != nil {
			return fmt.Errorf("the program of %s: %w", a.Name, err)
		}
		a.Program = filepath.Join(dirPrograms, a.Name+".wasm")
		if err := os.WriteFile(filepath.Join(l.dir, a.Program), b, 0o600); err != nil {
			return err
		}
	}
	b, err := yaml.Marshal(&kept)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.dir, fileScript), b, 0o600)
}

// replaced puts a shop's address into a program or a manifest.
func replaced(b []byte, shop string) []byte {
	return bytes.ReplaceAll(b, []byte(placeholder), []byte(shop))
}

func (l *lab) dids() (all []string) {
	for _, p := range l.nodes {
		all = append(all, p.at().did())
	}
	return all
}

// prepare makes nodes, and agents that lived one tick.
func (l *lab) prepare(ctx context.Context) error {
	for i, n := range l.Script.Nodes {
		s := &seat{lab: l, i: i, name: n.Name, dir: filepath.Join(l.dir, dirNodes, n.Name)}
		if err := os.MkdirAll(filepath.Join(s.dir, "agents"), 0o700); err != nil {
			return err
		}
		key, err := runtime.NodeKey(filepath.Join(s.dir, "node.key"))
		if err != nil {
			return err
		}
		s.public = verifier.PublicKey(key.Public().(ed25519.PublicKey))
		l.nodes = append(l.nodes, l.world.node(s))
	}
	if l.Script.Chain {
		began := time.Now()
		listener, err := l.world.listen(chainPort)
		if err != nil {
			return err
		}
		if l.market, err = openMarket(ctx, l.dir, listener, l.nodes); err != nil {
			return err
		}
		l.Say("a chain, a facilitator and a shop are there after %.1f s", time.Since(began).Seconds())
	}
	if l.Script.Fleet != nil {
		if err := l.describe(l.world.dial); err != nil {
			return fmt.Errorf("the fleet: %w", err)
		}
	}
	for i, p := range l.nodes {
		if err := p.configure(l.Script.Nodes[i].Settings); err != nil {
			return fmt.Errorf("the settings of %s: %w", p.at().name, err)
		}
	}
	listener, err := l.world.listen(bankPort)
	if err != nil {
		return err
	}
	if listener != nil {
		l.bank = openBank(listener)
	}
	for i := range l.Script.Agents {
		a := &l.Script.Agents[i]
		shop := placeholder
		if l.bank != nil {
			listener, err := l.world.listen(uint16(shopPort + i))
			if err != nil {
				return err
			}
			l.shops = append(l.shops, openShop(listener, l.market))
			shop = listener.Addr().String()
		}
		if err := l.named(a.At).at().birth(ctx, a, shop); err != nil {
			return fmt.Errorf("the birth of %s: %w", a.Name, err)
		}
	}
	return nil
}

// live runs the steps, and then has all nodes and agents be well again.
func (l *lab) live(ctx context.Context) (err error) {
	for i, p := range l.nodes {
		if l.Script.Nodes[i].Later {
			continue
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	if l.members != nil {
		if err := l.enter(ctx); err != nil {
			return err
		}
	}
	if l.r, err = newRecorder(l.dir); err != nil {
		return err
	}
	looking, enough := context.WithCancel(ctx)
	var lookers sync.WaitGroup
	for _, p := range l.nodes {
		lookers.Go(func() { l.watch(looking, p) })
	}
	if l.members != nil {
		for i := range l.Script.Agents {
			lookers.Go(func() { l.read(looking, &l.Script.Agents[i]) })
		}
	}
	defer func() {
		enough()
		lookers.Wait()
		err = errors.Join(err, l.r.close())
	}()
	for _, a := range l.Script.Agents {
		if _, err := l.where(ctx, a.Name, nil); err != nil {
			return fmt.Errorf("at the start, %s: %w", a.Name, err)
		}
	}
	for _, s := range l.Script.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.tell(s)
		if s.background {
			l.behind.Go(func() {
				if err := l.do(ctx, s); err != nil {
					l.mu.Lock()
					defer l.mu.Unlock()
					l.late = append(l.late, err)
				}
			})
			continue
		}
		if err := l.do(ctx, s); err != nil {
			return err
		}
	}
	if err := l.well(ctx); err != nil {
		return err
	}
	l.behind.Wait()
	if err := errors.Join(l.late...); err != nil {
		return err
	}
	for _, a := range l.Script.Agents {
		if _, err := l.where(ctx, a.Name, nil); err != nil {
			return fmt.Errorf("at the end, %s: %w", a.Name, err)
		}
	}
	if l.members != nil {
		if err := l.rest(ctx); err != nil {
			return err
		}
	}
	time.Sleep(300 * time.Millisecond) // they live
	enough()
	lookers.Wait()
	for _, p := range l.nodes {
		if err := p.stop(); err != nil {
			return err
		}
	}
	return nil
}

// well undoes all that was done to nodes and links.
func (l *lab) well(ctx context.Context) error {
	if err := l.heal(); err != nil {
		return err
	}
	for _, p := range l.nodes {
		if l.slowed[p.at().name] {
			if err := l.world.slow(p.at().i, 0); err != nil {
				return err
			}
		}
		p.pause(false)
		if !p.runs() {
			if err := p.start(); err != nil {
				return err
			}
		}
		if err := p.drain(ctx, true); err != nil {
			return err
		}
	}
	return nil
}

// watch records what a node says of its agents: of answers that are the same one after the
// other, the first and the last.
func (l *lab) watch(ctx context.Context, p node) {
	var last *Event
	kept := true // last is recorded
	for ctx.Err() == nil {
		e := Event{Began: l.r.now(), What: Saw, Node: p.at().name}
		var err error
		if e.Lives, err = p.look(ctx); err != nil {
			e.What = Dumb
		}
		if e.Ended = l.r.now(); ctx.Err() != nil {
			break
		}
		same := last != nil && last.What == e.What && len(last.Lives) == len(e.Lives)
		for name, a := range e.Lives {
			same = same && last.Lives[name].Moves == a.Moves
		}
		if !same {
			if !kept {
				l.r.add(*last)
			}
			l.r.add(e)
		}
		last, kept = &e, !same
		select {
		case <-ctx.Done():
		case <-time.After(l.every()):
		}
	}
	if last != nil && !kept {
		l.r.add(*last)
	}
}

// where returns the node at which an agent lives, at most a minute later; at is one that is
// wanted.
func (l *lab) where(ctx context.Context, agent string, at node) (node, error) {
	for began := time.Now(); time.Since(began) < l.patience(); time.Sleep(l.every()) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, p := range l.nodes {
			if at != nil && p != at || !p.runs() {
				continue
			}
			if lives, err := p.look(ctx); err == nil {
				if _, here := lives[agent]; here {
					return p, nil
				}
			}
		}
	}
	if at != nil {
		return nil, fmt.Errorf("%s does not live at %s, within %v", agent, at.at().name, l.patience())
	}
	return nil, errNoNode
}

// patience is how long an agent may be nowhere, or elsewhere than it is wanted.
func (l *lab) patience() time.Duration {
	if l.Script.Simulated {
		return 15 * time.Minute
	}
	return time.Minute
}

// leaving waits until the node at which an agent lives hands one over.
func (l *lab) leaving(ctx context.Context, agent string) error {
	for began := time.Now(); time.Since(began) < l.patience(); time.Sleep(l.every() / 4) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, p := range l.nodes {
			if !p.runs() {
				continue
			}
			if moving, err := p.moving(ctx); err != nil || moving == 0 {
				continue
			}
			if lives, err := p.look(ctx); err == nil {
				if _, here := lives[agent]; here {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("%s was not seen leaving, within %v", agent, l.patience())
}

// tell says a step before it is done.
func (l *lab) tell(s Step) {
	if s.verb != "say" {
		l.Say("%7.2f s  %s", l.r.now().Seconds(), s)
		return
	}
	l.Say("")
	for _, line := range verifycli.Wrap(strings.TrimPrefix(s.line, "say "), width) {
		l.Say("%s", line)
	}
}

func (l *lab) named(name string) node { return l.nodes[l.Script.node(name)] }

// do does a step.
func (l *lab) do(ctx context.Context, s Step) (err error) {
	e := Event{Began: l.r.now(), What: Did, Step: s.line}
	var p node
	if len(s.words) > 0 && l.Script.node(s.words[0]) >= 0 {
		p = l.named(s.words[0])
		e.Node = p.at().name
	}
	switch s.verb {
	case "say":
	case "wait":
		select {
		case <-ctx.Done():
		case <-time.After(s.for_):
		}
	case "move":
		e, err = l.move(ctx, s)
	case "expect":
		var at node
		if len(s.words) > 1 {
			at = l.named(s.words[1])
		}
		_, err = l.where(ctx, s.words[0], at)
	case "expect leaving":
		err = l.leaving(ctx, s.words[0])
	case "kill paying":
		if err = l.market.paid(ctx, p.at().host); err == nil {
			err = p.kill()
		}
	case "kill":
		err = p.kill()
	case "stop":
		err = p.stop()
	case "start":
		err = p.start()
	case "pause", "continue":
		err = p.pause(s.verb == "pause")
	case "drain", "fill":
		err = p.drain(ctx, s.verb == "fill")
	case "ask":
		err = p.ask(ctx)
	case "skew":
		k, is := p.(interface{ wrong(by time.Duration) })
		if !is {
			err = notHere(s.line)
			break
		}
		k.wrong(s.for_)
	case "slow":
		l.slowed[p.at().name] = true
		err = l.world.slow(p.at().i, s.for_)
	case "cut", "cut one way":
		to := l.named(s.words[1])
		e.To = to.at().name
		err = l.cut(p.at().i, to.at().i, true)
		if s.verb == "cut" {
			err = errors.Join(err, l.cut(to.at().i, p.at().i, true))
		}
	case "isolate", "join":
		for _, o := range l.nodes {
			if o != p {
				err = errors.Join(err, l.cut(p.at().i, o.at().i, s.verb == "isolate"), l.cut(o.at().i, p.at().i, s.verb == "isolate"))
			}
		}
	case "heal":
		if p == nil {
			err = l.heal()
			break
		}
		to := l.named(s.words[1])
		e.To = to.at().name
		err = errors.Join(l.cut(p.at().i, to.at().i, false), l.cut(to.at().i, p.at().i, false))
	case "faults":
		err = l.faults(ctx, s.for_)
	}
	e.Ended = l.r.now()
	if err != nil {
		e.Error = err.Error()
	}
	l.r.add(e)
	if err != nil && !s.may {
		return fmt.Errorf("%q: %w", s.line, err)
	}
	return ctx.Err()
}

func (l *lab) move(ctx context.Context, s Step) (e Event, err error) {
	e = Event{Began: l.r.now(), What: Moved, Step: s.line, Agent: s.words[0]}
	from, err := l.where(ctx, e.Agent, nil)
	if err != nil {
		return e, err
	}
	e.Node = from.at().name
	var to []string
	if len(s.words) > 1 {
		e.To = s.words[1]
		to = []string{l.named(e.To).at().did()}
	}
	e.Began = l.r.now()
	m, err := from.move(ctx, l.did(e.Agent), to)
	if err != nil {
		if r, ok := errors.AsType[*api.Error](err); ok && r.Reason != "" {
			err = fmt.Errorf("%s: %w", r.Reason, err)
		}
		return e, err
	}
	e.Moves = m.Number
	for _, p := range l.nodes {
		if p.at().did() == m.To {
			e.To = p.at().name
		}
	}
	l.Say("%7.2f s    %s: %s -> %s, and stood still for %.0f ms", l.r.now().Seconds(), e.Agent, e.Node, e.To, m.StoodMS)
	return e, nil
}

func (l *lab) cut(from, to int, yes bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cuts[[2]int{from, to}] == yes {
		return nil
	}
	l.cuts[[2]int{from, to}] = yes
	return l.world.cut(from, to, yes)
}

func (l *lab) heal() (err error) {
	for i := range l.nodes {
		for j := range l.nodes {
			if i != j {
				err = errors.Join(err, l.cut(i, j, false))
			}
		}
	}
	return err
}

// faults moves agents at random, and has things go wrong meanwhile, as the seed says.
func (l *lab) faults(ctx context.Context, length time.Duration) error {
	pick := func(n int) int { return l.rng.IntN(n) }
	for began := time.Now(); time.Since(began) < length && ctx.Err() == nil; {
		agent, to := l.Script.Agents[pick(len(l.Script.Agents))].Name, l.nodes[pick(len(l.nodes))].at().name
		victim := l.nodes[pick(len(l.nodes))]
		other := l.nodes[(victim.at().i+1+pick(max(1, len(l.nodes)-1)))%len(l.nodes)]
		before := time.Duration(pick(150)) * time.Millisecond
		lasts := time.Duration(100+pick(900)) * time.Millisecond
		kind := pick(5)
		if l.Script.Simulated { // where a tick takes a second
			before, lasts = 10*before, 100*lasts
		}
		var steps []string
		switch kind {
		case 0, 1:
			steps = []string{"kill " + victim.at().name, "wait " + (lasts / 4).String(), "start " + victim.at().name}
		case 2:
			if l.Script.Simulated {
				steps = []string{"isolate " + victim.at().name, "wait " + lasts.String(), "heal"}
				break
			}
			steps = []string{"pause " + victim.at().name, "wait " + lasts.String(), "continue " + victim.at().name}
		case 3:
			steps = []string{fmt.Sprintf("cut %s %s", victim.at().name, other.at().name), "wait " + lasts.String(), "heal"}
		case 4:
			steps = []string{fmt.Sprintf("cut %s > %s", victim.at().name, other.at().name), "wait " + lasts.String(), "heal"}
		}
		if victim == other && kind > 2 { // there is one node alone
			continue
		}
		steps = append([]string{fmt.Sprintf("try move %s to %s", agent, to), "wait " + before.String()}, steps...)
		moved := make(chan struct{})
		for i, line := range steps {
			s, err := parseStep(line)
			if err != nil {
				return err
			}
			if i == 0 {
				go func() { defer close(moved); l.do(ctx, s) }()
				continue
			}
			l.Say("%7.2f s    %s", l.r.now().Seconds(), line)
			if err := l.do(ctx, s); err != nil {
				<-moved
				return err
			}
		}
		<-moved
	}
	return ctx.Err()
}

// judge looks at everything.
func (l *lab) judge(ctx context.Context) (*Result, error) {
	dids := map[string]string{}
	for _, p := range l.nodes {
		dids[p.at().did()] = p.at().name
	}
	r, err := judgeAll(ctx, l.dir, l.Script, dids, l.r.all, &outside{l.shops, l.bank, l.market})
	if err != nil {
		return nil, err
	}
	return r, r.draw(l.Script, l.r.all)
}

package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/node/keeper"
	"igor.dev/node/price"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// An upkeep is what a node does for its fleet beside living its own agents: it reads the
// desired state, has its agents' keys sealed to the others, keeps copies of theirs, and
// goes on with those whose owner is gone. See docs/node.md.
type upkeep struct {
	n     *Node
	fleet *Fleet

	mu       sync.Mutex
	plan     keeper.Plan
	number   uint64 // of the plan; 0 = there is none
	unread   uint64 // that of one which could not be read
	drained  bool   // by the plan
	heard    map[verifier.PublicKey]time.Time
	policies map[verifier.PublicKey]*policyKnown
	learned  map[verifier.PublicKey]time.Time          // when an agent's manifest is asked for again
	owners   map[verifier.PublicKey]authority.Position // as they were last seen
	sealed   map[verifier.PublicKey]*authority.SealedKeys
	copied   map[verifier.PublicKey]verifier.Hash
	local    map[verifier.PublicKey]string // folders of agents that are here, and were not given away
	busy     map[verifier.PublicKey]bool   // what is filled, copied, taken or moved now
	pulled   map[verifier.PublicKey]func() // what is copied now: it can be stopped
	gaps     map[verifier.PublicKey]*gap   // of what lives here
	left     map[string]*leftFolder        // by their paths
	recent   keeper.View
	viewed   time.Time // when that was
}

type policyKnown struct {
	manifest verifier.Hash
	policy   runtime.MovePolicy
}

// leases is after how many of them it is asked for again: where it does not let a node take
// the agent over, an operator may just have changed that, and its owner be gone a moment later.
func (p *policyKnown) leases(self verifier.PublicKey, planned int) int {
	if p != nil && p.policy.Resurrect && slices.Contains(p.policy.AllowedNodes, self) {
		return relearnIn
	}
	return 1 + planned/strangers
}

// What a node of a fleet does, as parts of a lease.
const (
	hears     = 8   // times in a lease, each other node is asked for its offer
	looks     = 4   // times in a lease, all else
	copies    = 2   // candidates that keep a copy of an agent
	relearnIn = 4   // leases, after which a manifest is asked for again that lets the agent be taken over here
	strangers = 256 // agents that do not let this node take them over, so many of which are asked for again in a lease
)

// Folders of a node in a fleet.
const (
	dirCopies = "copies" // of the agents of others, by DID
	dirLeft   = "left"   // folders of agents that were taken over from here
)

// keepFleet begins to look after the fleet's agents.
func (n *Node) keepFleet() {
	f := n.config.Fleet
	if f == nil || f.Client == nil {
		return
	}
	k := &upkeep{n: n, fleet: f, heard: map[verifier.PublicKey]time.Time{}, policies: map[verifier.PublicKey]*policyKnown{}, learned: map[verifier.PublicKey]time.Time{}, owners: map[verifier.PublicKey]authority.Position{},
		sealed: map[verifier.PublicKey]*authority.SealedKeys{}, copied: map[verifier.PublicKey]verifier.Hash{}, local: map[verifier.PublicKey]string{}, busy: map[verifier.PublicKey]bool{}, pulled: map[verifier.PublicKey]func(){}, gaps: map[verifier.PublicKey]*gap{}}
	n.keeping = k
	if n.config.Keys == nil {
		n.config.Keys = k
	}
}

// runFleet looks after them until the node is closed.
func (n *Node) runFleet() {
	k := n.keeping
	if k == nil {
		return
	}
	lease := k.fleet.Client.Lease
	every := func(d time.Duration, do func(context.Context)) {
		n.background(func() {
			for n.ctx.Err() == nil {
				do(n.ctx)
				select {
				case <-n.ctx.Done():
				case <-time.After(d/2 + rand.N(d/2+1)):
				}
			}
		})
	}
	every(lease/hears, k.hear)
	every(lease/looks, k.look)
	n.background(func() {
		keeper.New(keeper.Config{Self: n.public, Members: k, View: k.view, Lives: k.lives, Mine: k.mine, Take: k.take, Lease: lease, Log: n.config.Log}).Run(n.ctx)
	})
}

// ReadLease implements [keeper.Members].
func (k *upkeep) ReadLease(ctx context.Context, agent verifier.PublicKey) (authority.Position, time.Duration, error) {
	p, left, err := k.fleet.Client.ReadLease(ctx, agent)
	if err == nil {
		k.saw(agent, p)
	}
	return p, left, err
}

func (k *upkeep) saw(agent verifier.PublicKey, p authority.Position) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.owners[agent] = p
}

// owner returns who owned an agent when it was last looked at.
func (k *upkeep) owner(agent verifier.PublicKey) verifier.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.owners[agent].Owner
}

// begin reports whether nothing is done with an agent, and has something be.
func (k *upkeep) begin(agent verifier.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[agent] {
		return false
	}
	k.busy[agent] = true
	return true
}

func (k *upkeep) end(agent verifier.PublicKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, agent)
}

// planned returns the desired state; it is not changed any more.
func (k *upkeep) planned() (keeper.Plan, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.plan, k.number > 0
}

// hear asks the other nodes for their offers: who answers is there.
func (k *upkeep) hear(ctx context.Context) {
	plan, _ := k.planned()
	within, done := context.WithTimeout(ctx, max(k.fleet.Client.Lease/looks, time.Second))
	defer done()
	var all sync.WaitGroup
	for _, to := range plan.Nodes {
		if to == k.n.public || !k.n.peers.knows(to) {
			continue
		}
		all.Go(func() {
			if _, err := k.n.offerOf(within, to); err == nil {
				k.mu.Lock()
				k.heard[to] = time.Now()
				k.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// look reads the desired state, and does for it what this node has to.
func (k *upkeep) look(ctx context.Context) {
	within, done := context.WithTimeout(ctx, k.fleet.Client.Lease)
	defer done()
	k.readPlan(within)
	k.readLocal()
	plan, _ := k.planned()
	k.drain(&plan)
	k.mu.Lock()
	local := maps.Clone(k.local)
	k.mu.Unlock()
	for agent, name := range local {
		if k.inConflict(name) {
			k.later(agent, func() { k.lost(name, agent) })
		}
	}
	for i := range plan.Agents {
		if ctx.Err() != nil {
			return
		}
		a := &plan.Agents[i]
		k.mu.Lock()
		name, here := k.local[a.Agent]
		k.mu.Unlock()
		if !here && !slices.Contains(plan.On(a), k.n.public) {
			continue
		}
		known := k.learn(ctx, a.Agent)
		if known == nil {
			continue
		}
		switch {
		case here && k.lives(a.Agent):
			k.seal(ctx, name, a, known)
			k.later(a.Agent, func() { k.fill(name, a.Agent, &plan) })
			if !slices.Contains(plan.On(a), k.n.public) {
				k.later(a.Agent, func() { k.place(name, a.Agent) })
			}
		case !here && known.policy.Resurrect:
			k.mu.Lock()
			delete(k.gaps, a.Agent)
			k.mu.Unlock()
			k.later(a.Agent, func() { k.copy(a.Agent) })
		}
	}
}

// later does something with an agent beside everything else, if nothing else is done with
// it.
func (k *upkeep) later(agent verifier.PublicKey, do func()) {
	if !k.begin(agent) {
		return
	}
	if !k.n.background(func() { defer k.end(agent); do() }) {
		k.end(agent)
	}
}

func (k *upkeep) readPlan(ctx context.Context) {
	k.mu.Lock()
	known := k.number
	k.mu.Unlock()
	p, err := k.fleet.Client.Planned(ctx, known)
	if err != nil || p.Number == 0 {
		if err != nil && !errors.Is(err, authority.ErrNone) {
			k.n.config.Log.Debug("the fleet's desired state is not known", "error", err)
		}
		return
	}
	plan, err := keeper.ParsePlan(p.Text)
	if err != nil {
		k.mu.Lock()
		said := k.unread == p.Number
		k.unread = p.Number
		k.mu.Unlock()
		if !said {
			k.n.config.Log.Error("the fleet's desired state cannot be read: it stays as it was. Is this node's igor older than the operator's?", "number", p.Number, "error", err)
		}
		return
	}
	k.mu.Lock()
	k.plan, k.number = plan, p.Number
	k.mu.Unlock()
	k.n.config.Log.Info("the fleet's desired state", "number", p.Number, "agents", len(plan.Agents), "nodes", len(plan.Nodes))
}

// readLocal looks which agents are here.
func (k *upkeep) readLocal() {
	all, err := k.n.folders()
	if err != nil {
		return
	}
	for agent, name := range all {
		if exists(filepath.Join(k.n.agentDir(name), "moved")) {
			delete(all, agent)
		}
	}
	k.mu.Lock()
	k.local = all
	k.mu.Unlock()
}

// learn returns what an agent's manifest says; nil = it is not known, now.
func (k *upkeep) learn(ctx context.Context, agent verifier.PublicKey) *policyKnown {
	k.mu.Lock()
	known, name, again := k.policies[agent], k.local[agent], k.learned[agent]
	k.mu.Unlock()
	// A fleet has many agents, and not all are to be asked for in one look.
	set := func(p *policyKnown) *policyKnown {
		k.mu.Lock()
		defer k.mu.Unlock()
		after := time.Duration(p.leases(k.n.public, len(k.plan.Agents))) * k.fleet.Client.Lease
		if k.learned[agent] = time.Now().Add(after/2 + rand.N(after)); p != nil {
			k.policies[agent] = p
		}
		return p
	}
	if name != "" {
		man, err := os.ReadFile(filepath.Join(k.n.agentDir(name), "agent.manifest.json"))
		if err != nil {
			return known
		}
		policy, err := runtime.ReadMovePolicy(man)
		if err != nil {
			return known
		}
		return set(&policyKnown{manifest: sha256.Sum256(man), policy: policy})
	}
	if time.Now().Before(again) {
		return known
	}
	within, done := context.WithTimeout(ctx, k.fleet.Client.Lease)
	defer done()
	p, terms, err := k.fleet.Client.ReadTerms(within, agent)
	switch {
	case err != nil:
		return known
	case terms.Manifest.IsZero(), known != nil && known.manifest == terms.Manifest:
		return set(known)
	}
	k.saw(agent, p)
	b, err := k.fleet.Home.Replicas.Get(within, agent, p, authority.Name{Kind: authority.Manifest, Hash: terms.Manifest})
	if err != nil {
		return known
	}
	policy, err := runtime.ReadMovePolicy(b.Data)
	if err != nil {
		k.n.config.Log.Warn("a manifest of the fleet's cannot be read here", "did", agent.DID(), "error", err)
		return known
	}
	return set(&policyKnown{manifest: terms.Manifest, policy: policy})
}

// wantsOf are what an agent asks of a node, by its manifest.
func wantsOf(agent verifier.PublicKey, p *runtime.MovePolicy) keeper.Wants {
	w := keeper.Wants{Agent: agent, Allowed: p.AllowedNodes, MaxPrice: p.MaxPrice, Required: p.RequiredRegions, Preferred: p.PreferredRegions, Schedule: runtime.Schedules()[0], Memory: uint64(p.Memory)}
	for _, name := range slices.Sorted(maps.Keys(p.Capabilities)) {
		w.Needs = append(w.Needs, price.Capability{Name: name, Version: uint8(p.Capabilities[name])})
	}
	return w
}

// view is what this node knows of its fleet.
func (k *upkeep) view() (v keeper.View) {
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.recent, k.viewed = v, time.Now()
	}()
	k.readLocal()
	self, err := k.n.Offer()
	offers := map[verifier.PublicKey]*price.Offer{}
	if err == nil {
		offers[k.n.public] = self
	}
	for _, p := range k.n.peers.list() {
		offers[p.Node] = p.Offer
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	v = keeper.View{Crowd: keeper.Crowd{}}
	lives := map[verifier.PublicKey]int{}
	domain := map[verifier.PublicKey]string{}
	for i := range k.plan.Agents {
		lives[k.owners[k.plan.Agents[i].Agent].Owner]++
	}
	lives[k.n.public] = len(k.local)
	for _, node := range k.plan.Nodes {
		domain[node] = node.DID()
		if d := k.fleet.Description.Node(node); d != nil && d.Domain != "" {
			domain[node] = d.Domain
		}
		if offers[node] == nil || slices.Contains(k.plan.Drain, node) {
			continue
		}
		one := keeper.Node{Offer: offers[node], Domain: domain[node], Agents: lives[node], Silent: time.Since(k.heard[node])}
		if node == k.n.public {
			one.Silent = 0
		}
		v.Nodes = append(v.Nodes, one)
	}
	for i := range k.plan.Agents {
		a := &k.plan.Agents[i]
		owner := k.owners[a.Agent].Owner
		if k.local[a.Agent] != "" {
			owner = k.n.public
		}
		v.Crowd.Add(a.Group, domain[owner])
		if known := k.policies[a.Agent]; known != nil && known.policy.Resurrect {
			w := wantsOf(a.Agent, &known.policy)
			w.Group = a.Group
			on := k.plan.On(a)
			w.Allowed = slices.DeleteFunc(slices.Clone(w.Allowed), func(n verifier.PublicKey) bool { return !slices.Contains(on, n) })
			v.Agents = append(v.Agents, w)
		}
	}
	return v
}

// ranked are the nodes that may live an agent, the best first, as far as this node knows.
func (k *upkeep) ranked(agent verifier.PublicKey) (all []keeper.Node) {
	k.mu.Lock()
	v, at := k.recent, k.viewed
	k.mu.Unlock()
	if time.Since(at) > k.fleet.Client.Lease/hears {
		v = k.view()
	}
	if i := slices.IndexFunc(v.Agents, func(w keeper.Wants) bool { return w.Agent == agent }); i >= 0 {
		all = v.Agents[i].Candidates(v.Nodes, v.Crowd, time.Now())
	}
	return all
}

// candidates are the nodes to which the fleet would have an agent go, the best first, but
// for this one and for those that were not heard of.
func (k *upkeep) candidates(agent verifier.PublicKey) (to []verifier.PublicKey) {
	for _, c := range k.ranked(agent) {
		if c.Offer.Node != k.n.public && c.Silent < k.fleet.Client.Lease {
			to = append(to, c.Offer.Node)
		}
	}
	return to
}

// whereTo is candidates, of the agent in a folder; none = its manifest says.
func (n *Node) whereTo(name string) []verifier.PublicKey {
	l, err := n.life(name)
	if n.keeping == nil || err != nil {
		return nil
	}
	return n.keeping.candidates(l.Agent)
}

// lives reports whether this node lives an agent, or is about to.
func (k *upkeep) lives(agent verifier.PublicKey) bool {
	k.mu.Lock()
	name, here := k.local[agent]
	k.mu.Unlock()
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	if k.n.takes[agent] != nil || k.n.moves[agent] != nil {
		return true
	}
	s, known := k.n.agents[name]
	return here && (!known || s.State != runtime.SupervisedFailed)
}

// mine reports whether there is a folder here in which it was lived.
func (k *upkeep) mine(agent verifier.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.local[agent] != ""
}

// drain has the node be empty, or not any more, as the desired state says.
func (k *upkeep) drain(plan *keeper.Plan) {
	const within = 24 * time.Hour
	is := slices.Contains(plan.Drain, k.n.public)
	k.mu.Lock()
	was := k.drained
	k.drained = is
	k.mu.Unlock()
	switch {
	case is:
		k.n.Drain(within) // again and again: agents may have come meanwhile
	case was:
		k.n.EndDrain()
	}
}

// place moves an agent that the desired state wants elsewhere.
func (k *upkeep) place(name string, agent verifier.PublicKey) {
	to := k.candidates(agent)
	if len(to) == 0 {
		return
	}
	if _, err := k.n.Move(k.n.ctx, name, MoveConfig{To: to}); err != nil && !errors.Is(err, runtime.ErrMoved) && k.n.ctx.Err() == nil {
		k.n.config.Log.Warn("the fleet wants an agent elsewhere, and nobody took it", "agent", name, "error", err)
	}
}

// seal has the key of an agent that lives here be sealed to the nodes that may have it.
func (k *upkeep) seal(ctx context.Context, name string, a *keeper.PlannedAgent, known *policyKnown) {
	k.mu.Lock()
	have := k.sealed[a.Agent]
	k.mu.Unlock()
	if have == nil {
		within, done := context.WithTimeout(ctx, k.fleet.Client.Lease)
		defer done()
		got, err := k.fleet.Client.Sealed(within, a.Agent)
		if err != nil && !errors.Is(err, authority.ErrNone) {
			return
		}
		got.Agent = a.Agent
		have = &got
	}
	may := func(n verifier.PublicKey) bool {
		return known.policy.Resurrect && slices.Contains(known.policy.AllowedNodes, n)
	}
	key := func() (ed25519.PrivateKey, error) { return runtime.ReadKey(filepath.Join(k.n.agentDir(name), "key")) }
	var secret ed25519.PrivateKey
	var add []authority.SealedKey
	change := slices.ContainsFunc(have.Keys, func(s authority.SealedKey) bool { return !may(s.Node) })
	plan, _ := k.planned()
	on := plan.On(a)
	for _, node := range known.policy.AllowedNodes {
		if _, has := have.For(node); has || !may(node) || !slices.Contains(on, node) {
			continue
		}
		public, ok := k.hpkeOf(node)
		if !ok {
			continue // when it is heard of
		}
		var err error
		if secret == nil {
			if secret, err = key(); err != nil {
				return
			}
		}
		one := authority.SealedKey{Node: node}
		sealed, err := sealTo(public, authority.FleetKeyInfo(a.Agent, node), secret.Seed())
		if err != nil || copy(one.Sealed[:], sealed) != len(one.Sealed) {
			k.n.config.Log.Warn("an agent's key is not sealed to a node, whose offer has no good key", "agent", name, "node", node.DID())
			continue
		}
		add = append(add, one)
	}
	if len(add) == 0 && !change {
		k.mu.Lock()
		k.sealed[a.Agent] = have
		k.mu.Unlock()
		return
	}
	next := have.Next(known.manifest, may, add)
	var err error
	if secret == nil {
		if secret, err = key(); err != nil {
			return
		}
	}
	raw, err := next.Sign(secret)
	if err == nil {
		within, done := context.WithTimeout(ctx, k.fleet.Client.Lease)
		defer done()
		err = k.fleet.Client.Seal(within, raw)
	}
	k.mu.Lock()
	delete(k.sealed, a.Agent) // what came of it the next look finds out
	if err == nil {
		k.sealed[a.Agent] = &next
	}
	k.mu.Unlock()
	if err != nil {
		k.n.config.Log.Debug("an agent's key is not sealed to others", "agent", name, "error", err)
		return
	}
	k.n.config.Log.Info("an agent's key is sealed to nodes of its fleet", "agent", name, "number", next.Number, "nodes", len(next.Keys), "had", len(next.Had))
	k.n.askAgain()
	for _, n := range next.Had {
		if _, had := have.For(n); had {
			k.n.config.Log.Warn("a node may not have an agent any more, and had its key", "agent", name, "node", n.DID())
		}
	}
}

// hpkeOf returns to what a node has keys sealed.
func (k *upkeep) hpkeOf(node verifier.PublicKey) (key [32]byte, ok bool) {
	if node == k.n.public {
		copy(key[:], k.n.sealing.PublicKey().Bytes())
		return key, true
	}
	for _, p := range k.n.peers.list() {
		if p.Node == node && p.Offer != nil {
			return p.Offer.HPKE, true
		}
	}
	return key, false
}

// Shared implements [KeyShares].
func (k *upkeep) Shared(agent, with verifier.PublicKey) bool {
	ctx, done := context.WithTimeout(k.n.ctx, homeLimit)
	defer done()
	s, err := k.fleet.Client.Sealed(ctx, agent)
	if err != nil {
		return false
	}
	_, here := s.For(k.n.public)
	_, there := s.For(with)
	return here && there
}

// Key implements [KeyShares].
func (k *upkeep) Key(ctx context.Context, agent verifier.PublicKey) (ed25519.PrivateKey, error) {
	s, err := k.fleet.Client.Sealed(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("the agent's key: %w", err)
	}
	sealed, ok := s.For(k.n.public)
	if !ok {
		return nil, errors.New("the agent's key is not sealed to this node")
	}
	key, err := unseal(k.n.sealing, authority.FleetKeyInfo(agent, k.n.public), sealed)
	if err == nil && verifier.PublicKey(key.Public().(ed25519.PublicKey)) != agent {
		err = errors.New("the key that is sealed to this node is not the agent's")
	}
	return key, err
}

// mayCopy returns the folders of an agent that another node may have a copy of: one that the
// agent's manifest allows to go on with it, and the desired state too. The first is the one
// in which the agent lives, or lived last.
func (k *upkeep) mayCopy(agent, from verifier.PublicKey) (dirs []string) {
	if k == nil {
		return nil
	}
	plan, _ := k.planned()
	a := plan.Find(agent)
	if a == nil || !slices.Contains(plan.Nodes, from) {
		return nil
	}
	if name, here := k.n.find(agent); here {
		dirs = append(dirs, k.n.agentDir(name))
	}
	left := k.leftOf(agent)
	slices.Reverse(left)
	dirs = append(dirs, left...)
	if dir := filepath.Join(k.copyDir(agent), dirAgent); exists(dir) {
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		return nil
	}
	policy, err := k.n.policyOf(dirs[0])
	if err != nil || !policy.Resurrect || !slices.Contains(policy.AllowedNodes, from) {
		return nil
	}
	return dirs
}

func (k *upkeep) copyDir(agent verifier.PublicKey) string {
	return filepath.Join(k.n.config.Dir, dirCopies, strings.TrimPrefix(agent.DID(), "did:key:"))
}

// copiesOf are the folders here that have something of an agent's life before.
func (k *upkeep) copiesOf(agent verifier.PublicKey) (dirs []string) {
	if dir := filepath.Join(k.copyDir(agent), dirAgent); exists(dir) {
		dirs = append(dirs, dir)
	}
	parts, _ := filepath.Glob(filepath.Join(k.copyDir(agent), dirParts, "*", dirAgent))
	dirs = append(dirs, parts...)
	all, _ := k.n.folders()
	if name, ok := all[agent]; ok && exists(filepath.Join(k.n.agentDir(name), "moved")) {
		dirs = append(dirs, k.n.agentDir(name))
	}
	return append(dirs, k.leftOf(agent)...)
}

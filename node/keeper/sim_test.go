package keeper

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/fleet"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/node/price"
	"igor.dev/verifier"
)

var (
	simNodes  = flag.Int("sim-nodes", 20, "nodes of the simulated fleet")
	simAgents = flag.Int("sim-agents", 500, "its agents")
	simTime   = flag.Duration("sim-time", 15*time.Minute, "how long it is simulated")
	simSeed   = flag.Uint64("sim-seed", 1, "of what goes wrong")
)

const (
	simLease    = 30 * time.Second
	simInterval = time.Minute // between two effects of an agent
	simMembers  = 3
	simAllowed  = 8 // nodes of each agent
)

// A world is a fleet on a simulated network, in simulated time. Real are the clients and the
// guards of positions, leases, the rules of appends, the keeper and its placement. Simulated
// are the network, the store behind the members (which answers only where it is in the
// majority), and the agents, which are state machines.
type world struct {
	t        *testing.T
	nodes    []*host
	node     map[verifier.PublicKey]*host
	agents   []*creature
	agent    map[verifier.PublicKey]*creature
	wants    []Wants // of the agents
	members  []fleet.Member
	store    *member.Memory
	careless bool // the store does not compare

	mu      sync.Mutex
	rng     *rand.Rand
	cut     map[[2]int]bool // from, to: what is sent is lost
	blobs   map[verifier.Hash][]byte
	effects map[effect]int               // how often one was performed
	after   map[checkpoint]verifier.Hash // the checkpoint after one
	history [][]porcupine.Operation      // of each agent

	forks, lost, repeated, unowned int
	takeovers, handovers, appended int
	asked, bytes                   map[protocol.Kind]int // requests to members, and what went both ways
	lived                          time.Duration
	longest                        time.Duration // without an owner, while there could be one
}

// An effect is one of an agent's, by its number.
type effect struct {
	agent  int
	number uint64
}

// A checkpoint is one of an agent's.
type checkpoint struct {
	agent int
	hash  verifier.Hash
}

// A creature is an agent.
type creature struct {
	number int
	key    ed25519.PrivateKey
	public verifier.PublicKey
	wants  Wants

	acknowledged uint64 // steps, of the newest checkpoint that left
	orphan       time.Time
}

// A host is a machine with a node on it.
type host struct {
	w      *world
	number int
	key    ed25519.PrivateKey
	public verifier.PublicKey
	guard  *member.Member // nil = it is no member

	mu     sync.Mutex
	alive  bool
	paused chan struct{} // closed when it goes on; nil = it is not paused
	drains bool
	cancel context.CancelFunc
	lives  map[verifier.PublicKey]bool // and no others are in it
	mine   map[verifier.PublicKey]bool // on its disk
}

func keyOf(kind string, i int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "%s %d", kind, i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(k ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(k.Public().(ed25519.PublicKey))
}

func (w *world) chance(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// gate waits while the machine's processes are stopped.
func (h *host) gate() {
	for {
		h.mu.Lock()
		p := h.paused
		h.mu.Unlock()
		if p == nil {
			return
		}
		<-p
	}
}

func (h *host) up() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.alive && h.paused == nil
}

// reaches reports whether what one machine sends now comes to another one.
func (w *world) reaches(from, to int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.cut[[2]int{from, to}]
}

// majority reports whether a member can speak for the store.
func (w *world) majority(i int) bool {
	n := 0
	for j := range simMembers {
		if w.nodes[j].up() && w.reaches(i, j) && w.reaches(j, i) {
			n++
		}
	}
	return n > simMembers/2 && w.nodes[i].up()
}

// quorum is the store as one member has it.
type quorum struct {
	*member.Memory
	w *world
	i int
}

var errMinority = errors.New("this member is not in the majority")

func (q quorum) wait(ctx context.Context) error {
	for !q.w.majority(q.i) {
		if err := ctx.Err(); err != nil {
			return errors.Join(errMinority, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

func (q quorum) Read(ctx context.Context, agent verifier.PublicKey) (member.Held, error) {
	if err := q.wait(ctx); err != nil {
		return member.Held{}, err
	}
	return q.Memory.Read(ctx, agent)
}

func (q quorum) Swap(ctx context.Context, s member.Swap) error {
	if err := q.wait(ctx); err != nil {
		return err
	}
	err := q.Memory.Swap(ctx, s)
	if !q.w.majority(q.i) {
		return errMinority // and whether it was done nobody knows
	}
	return err
}

func (q quorum) Renew(ctx context.Context, l member.LeaseID, ttl time.Duration) (time.Duration, error) {
	if err := q.wait(ctx); err != nil {
		return 0, err
	}
	return q.Memory.Renew(ctx, l, ttl)
}

// A cable carries requests from a process on a machine, until that ends.
type cable struct {
	from *host
	ctx  context.Context
}

var errLost = errors.New("nothing came back")

func (n cable) Do(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	w, from := n.from.w, n.from
	to := slices.IndexFunc(w.members, func(o fleet.Member) bool { return o == m })
	request = bytes.Clone(request)
	kind := protocol.Kind(request[protocol.PrefixSize-1])
	w.count(kind, 1, len(request))
	from.gate()
	if n.ctx.Err() != nil {
		return nil, errLost
	}
	sent := func(a, b int) bool {
		time.Sleep(time.Duration(1+w.chance(40)) * time.Millisecond)
		return w.reaches(a, b) && w.chance(200) > 0
	}
	answer := make(chan []byte, 1)
	go func() {
		if !sent(from.number, to) {
			return
		}
		h := w.nodes[to]
		h.gate()
		if !h.up() {
			return
		}
		within, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		a := h.guard.Serve(within, from.public, request)
		h.gate()
		w.count(kind, 0, len(a))
		if sent(to, from.number) {
			answer <- a
		}
	}()
	select {
	case a := <-answer:
		from.gate()
		return a, ctx.Err()
	case <-ctx.Done():
		from.gate()
		return nil, errors.Join(errLost, ctx.Err())
	}
}

// count notes what goes over the network to a member, and back.
func (w *world) count(k protocol.Kind, requests, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked[k] += requests
	w.bytes[k] += bytes
}

// state is what an agent has: how many effects began, and how many of these are over.
type state struct{ began, over uint64 }

func (s state) hash() verifier.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("state"), s.began), s.over))
}

// keep has the replicas keep a state.
func (w *world) keep(s state) verifier.Hash {
	h := s.hash()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blobs[h] = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.began), s.over)
	return h
}

func (w *world) kept(h verifier.Hash) state {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.blobs[h]
	return state{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// perform is a server that an agent makes a side effect at.
func (w *world) perform(id effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.effects[id]++; w.effects[id] > 1 {
		w.repeated++
	}
}

// left notes that a signed checkpoint left a process.
func (w *world) left(c *creature, before, head verifier.Hash, steps uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := checkpoint{c.number, before}
	if other, ok := w.after[at]; ok && other != head {
		w.forks++
	}
	w.after[at] = head
	c.acknowledged = max(c.acknowledged, steps)
}

// An observed authority writes down each call, for porcupine.
type observed struct {
	authority.Recording
	w      *world
	agent  int
	client int
}

type operation = authoritytest.Op[verifier.Hash] // of positions' hashes

func (o *observed) note(op operation, call time.Time) {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	end := time.Now().UnixNano()
	if op.Result == "unknown" {
		if !op.Append {
			return
		}
		end = math.MaxInt64
	}
	if op.Result == "ok" && op.Append {
		o.w.appended++
	}
	o.w.history[o.agent] = append(o.w.history[o.agent], porcupine.Operation{ClientId: o.client, Call: call.UnixNano(), Output: op, Return: end})
}

// name is a position's hash; that of none is zero.
func name(agent verifier.PublicKey, p authority.Position) (h verifier.Hash) {
	if !p.IsZero() {
		h = p.Hash(agent)
	}
	return h
}

func (o *observed) AppendRecord(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) error {
	call := time.Now()
	err := o.Recording.AppendRecord(ctx, agent, prev, next, record)
	op := operation{Append: true, Prev: name(agent, prev), Next: name(agent, next), Result: "unknown"}
	_, refused := errors.AsType[*authority.Refusal](err)
	_, ruled := errors.AsType[*authority.RuleError](err)
	conflict, lost := errors.AsType[*authority.Conflict](err)
	switch {
	case err == nil:
		op.Result = "ok"
	case lost:
		op.Result, op.Have, op.Blind = "conflict", name(agent, conflict.Have), conflict.Have.IsZero()
	case refused || ruled:
		return err
	}
	o.note(op, call)
	return err
}

func (o *observed) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return o.AppendRecord(ctx, agent, prev, next, nil)
}

func (o *observed) Read(ctx context.Context, agent verifier.PublicKey) (authority.Position, error) {
	call := time.Now()
	p, err := o.Recording.Read(ctx, agent)
	op := operation{Result: "ok", Have: name(agent, p)}
	if err != nil && !errors.Is(err, authority.ErrNone) {
		op.Result = "unknown"
	}
	o.note(op, call)
	return p, err
}

// start starts a node's process.
func (h *host) start() {
	ctx, cancel := context.WithCancel(context.Background())
	client, err := fleet.New(fleet.Config{Members: h.w.members, Via: cable{h, ctx}, Lease: simLease})
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	h.alive, h.cancel, h.lives = true, cancel, map[verifier.PublicKey]bool{}
	lives := h.lives
	h.mu.Unlock()
	client.KeepLease()
	p := &process{host: h, client: client, ctx: ctx, lives: lives}
	go func() {
		<-ctx.Done()
		client.Close() // which reaches nobody any more
	}()
	go New(Config{Self: h.public, Members: client, View: p.view, Lives: p.living, Mine: p.owned, Take: p.take, Lease: simLease}).Run(ctx)
}

// kill ends it at once.
func (h *host) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alive {
		h.alive = false
		h.cancel()
	}
}

// A process is a node's.
type process struct {
	*host
	client *fleet.Client
	ctx    context.Context
	lives  map[verifier.PublicKey]bool
}

func (p *process) living(agent verifier.PublicKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lives[agent]
}

// owned reports what the disk says.
func (p *process) owned(agent verifier.PublicKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mine[agent]
}

func (p *process) own(agent verifier.PublicKey, owns bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mine[agent] = owns
}

func (p *process) set(agent verifier.PublicKey, lives bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lives {
		p.lives[agent] = true
	} else {
		delete(p.lives, agent)
	}
}

// view is what a node knows of the others: what reaches it.
func (p *process) view() View {
	p.gate()
	w, now := p.w, time.Now()
	v := View{Agents: w.wants, Crowd: Crowd{}}
	for _, h := range w.nodes {
		if h.up() && w.reaches(h.number, p.number) || h == p.host {
			h.mu.Lock()
			n := len(h.lives)
			o := &price.Offer{Node: h.public, Issued: now.Unix(), Expires: now.Add(time.Hour).Unix(), Price: int64(1000 + h.number%3*100), FreeAgents: 1000, FreeMemory: 1 << 40,
				Draining: h.drains, Schedules: []uint32{1}, Regions: []string{[]string{"ap", "eu", "us"}[h.number%3]}}
			h.mu.Unlock()
			v.Nodes = append(v.Nodes, Node{Offer: o, Domain: fmt.Sprint(h.number % 5), Agents: n})
		}
	}
	return v
}

// take goes on with an agent.
func (p *process) take(_ context.Context, agent verifier.PublicKey) error {
	c := p.w.agent[agent]
	signed, err := p.client.SignedBy(c.key, &authority.Terms{Agent: agent, Nodes: c.wants.Allowed})
	if err != nil {
		return err
	}
	home := &observed{signed, p.w, c.number, p.number}
	ctx, done := context.WithTimeout(p.ctx, simLease)
	defer done()
	if err := p.client.WaitHeld(ctx); err != nil {
		return err
	}
	at, err := home.Read(ctx, agent)
	if err != nil {
		return err
	}
	next := at
	next.Sequence, next.State, next.Record = at.Sequence+1, authority.Active, verifier.Hash{}
	for i := range next.Writer {
		next.Writer[i] = byte(p.w.chance(256))
	}
	if at.Owner != p.public {
		next.Owner = p.public
		next.Generation++
	}
	if at.Owner != p.public {
		p.own(agent, false)
	}
	if err := authority.Settle(ctx, home, agent, at, next); err != nil {
		return err
	}
	if at.Owner != p.public {
		p.w.mu.Lock()
		p.w.takeovers++
		p.w.mu.Unlock()
	}
	p.set(agent, true)
	p.own(agent, true)
	go func() {
		defer p.set(agent, false)
		if err := p.live(c, home, next); err != nil && p.ctx.Err() == nil {
			p.own(agent, false) // it is elsewhere
		}
	}()
	return nil
}

// answers reports whether another node hears this one and is heard by it.
func (p *process) answers(node verifier.PublicKey) bool {
	w := p.w
	h := w.node[node]
	return h == p.host || h.up() && w.reaches(p.number, h.number) && w.reaches(h.number, p.number)
}

var errGiven = errors.New("it was handed over")

// live lives an agent until it is elsewhere, or the process ends.
func (p *process) live(c *creature, home *observed, at authority.Position) error {
	w := p.w
	s := w.kept(at.Journal)
	if s.over < s.began {
		// It is not known whether it was sent. It is never sent again.
		s.over = s.began
	}
	settle := func(next authority.Position, record []byte) error {
		next.Sequence = at.Sequence + 1
		p.gate()
		var err error
		if record == nil {
			err = authority.Settle(p.ctx, home, c.public, at, next)
		} else {
			for err = home.AppendRecord(p.ctx, c.public, at, next, record); err != nil; err = home.AppendRecord(p.ctx, c.public, at, next, record) {
				have, readErr := home.Read(p.ctx, c.public)
				if readErr == nil && have == next {
					err = nil
					break
				}
				if readErr == nil && have != at || p.ctx.Err() != nil {
					break
				}
				time.Sleep(time.Second)
			}
		}
		p.gate()
		if err == nil {
			err = p.ctx.Err()
		}
		if err == nil {
			at = next
		}
		return err
	}
	for {
		sleep(p.ctx, simInterval/2+time.Duration(w.chance(int(simInterval))))
		p.gate()
		if err := p.client.WaitHeld(p.ctx); err != nil {
			return err
		}
		p.mu.Lock()
		drains := p.drains
		p.mu.Unlock()
		if drains {
			// A hand-over is a conversation: whoever does not answer is given nothing.
			to := slices.DeleteFunc(c.wants.Candidates(p.view().Nodes, nil, time.Now()), func(n Node) bool { return !p.answers(n.Offer.Node) })
			if len(to) > 0 && to[0].Offer.Node != p.public {
				record := []byte("to " + to[0].Offer.Node.DID())
				next := at
				next.State, next.Record = authority.HandingOver, sha256.Sum256(record)
				if err := settle(next, nil); err != nil {
					return err
				}
				next = at
				next.State, next.Owner, next.Major = authority.Active, to[0].Offer.Node, at.Major+1
				for i := range next.Writer {
					next.Writer[i] = byte(w.chance(256))
				}
				if err := settle(next, record); err != nil {
					return err
				}
				w.mu.Lock()
				w.handovers++
				w.mu.Unlock()
				return errGiven
			}
		}
		// A side effect begins, leaves, and is over with the next checkpoint.
		s.began++
		next := at
		next.Journal = w.keep(s)
		if err := settle(next, nil); err != nil {
			return err
		}
		if p.client.Held() != nil {
			s.over = s.began // it is not sent
		} else {
			p.gate()
			w.perform(effect{c.number, s.began})
			s.over = s.began
		}
		before := at.Head
		next = at
		next.Journal = w.keep(s)
		next.Head = next.Journal
		if err := settle(next, nil); err != nil {
			return err
		}
		w.left(c, before, next.Head, s.over)
	}
}

// begin puts all agents under the fleet, each with an owner.
func (w *world) begin() {
	for i, c := range w.agents {
		owner := c.wants.Allowed[i%len(c.wants.Allowed)]
		h := w.node[owner]
		client, err := fleet.New(fleet.Config{Members: w.members, Via: cable{h, context.Background()}, Lease: simLease})
		if err != nil {
			panic(err)
		}
		signed, err := client.SignedBy(c.key, &authority.Terms{Agent: c.public, Nodes: c.wants.Allowed})
		if err != nil {
			panic(err)
		}
		start := w.keep(state{})
		p := authority.Position{Sequence: 1, State: authority.Active, Owner: owner, Writer: authority.WriterID{1}, Head: start, Journal: start, Log: start}
		if err := authority.Settle(context.Background(), &observed{signed, w, c.number, h.number}, c.public, authority.Position{}, p); err != nil {
			panic(err)
		}
		h.mine[c.public] = true
	}
}

// watch sees how long agents have no owner while they could have one: while the store has a
// majority, and a node that the agent allows can reach it.
func (w *world) watch(ctx context.Context) {
	const every = time.Second
	for ctx.Err() == nil {
		sleep(ctx, every)
		var majority []int
		for i := range simMembers {
			if w.majority(i) {
				majority = append(majority, i)
			}
		}
		able, takes := map[verifier.PublicKey]bool{}, map[verifier.PublicKey]bool{}
		for _, h := range w.nodes {
			if !h.up() {
				continue
			}
			for _, m := range majority {
				if w.reaches(h.number, m) && w.reaches(m, h.number) {
					h.mu.Lock()
					able[h.public], takes[h.public] = true, !h.drains
					h.mu.Unlock()
				}
			}
		}
		for _, c := range w.agents {
			held, err := w.store.Read(ctx, c.public)
			could := err == nil && slices.ContainsFunc(c.wants.Allowed, func(k verifier.PublicKey) bool { return takes[k] })
			lived := false
			if err == nil {
				h := w.node[held.Position.Owner]
				h.mu.Lock()
				lived = h.alive && h.paused == nil && h.lives[c.public] && able[h.public]
				h.mu.Unlock()
			}
			if lived || !could {
				c.orphan = time.Time{}
				continue
			}
			if c.orphan.IsZero() {
				c.orphan = time.Now()
			}
			w.longest = max(w.longest, time.Since(c.orphan))
			if time.Since(c.orphan) > 2*simLease {
				w.unowned++
			}
		}
	}
}

// trouble has things go wrong, one or two at once, until ctx is over, and then heals all.
func (w *world) trouble(ctx context.Context) (faults int) {
	var undo []func()
	heal := func() {
		for _, f := range undo {
			f()
		}
		undo = nil
	}
	defer heal()
	for ctx.Err() == nil {
		sleep(ctx, time.Duration(10+w.chance(40))*time.Second)
		if len(undo) > w.chance(3) {
			heal()
			continue
		}
		h := w.nodes[w.chance(len(w.nodes))]
		if w.chance(3) == 0 {
			h = w.nodes[w.chance(simMembers)]
		}
		faults++
		kind := w.chance(6)
		if faults == 1 {
			kind = 5
		}
		switch kind {
		case 0: // kill -9
			h.kill()
			undo = append(undo, func() {
				if !h.up() {
					h.start()
				}
			})
		case 1: // SIGSTOP
			h.mu.Lock()
			if h.paused == nil && h.alive {
				p := make(chan struct{})
				h.paused = p
				undo = append(undo, func() {
					h.mu.Lock()
					h.paused = nil
					h.mu.Unlock()
					close(p)
				})
			}
			h.mu.Unlock()
		case 2: // a link is cut, in one direction or both
			to, both := w.chance(len(w.nodes)), w.chance(2) == 0
			undo = append(undo, w.cutOff(h.number, []int{to}, true, both))
		case 3, 4: // a node is cut off, in one direction or both
			var all []int
			for i := range w.nodes {
				if i != h.number {
					all = append(all, i)
				}
			}
			way := w.chance(3)
			undo = append(undo, w.cutOff(h.number, all, way != 0, way != 1))
		case 5: // a node is to be empty
			h.mu.Lock()
			h.drains = true
			h.mu.Unlock()
			undo = append(undo, func() {
				h.mu.Lock()
				h.drains = false
				h.mu.Unlock()
			})
		}
	}
	return faults
}

func (w *world) cutOff(i int, others []int, out, in bool) (undo func()) {
	set := func(cut bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, j := range others {
			if out {
				w.cut[[2]int{i, j}] = cut
			}
			if in {
				w.cut[[2]int{j, i}] = cut
			}
		}
	}
	set(true)
	return func() { set(false) }
}

// simulate lives a fleet's life.
func simulate(t *testing.T, nodes, agents int, length time.Duration, seed uint64, careless bool) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), cut: map[[2]int]bool{}, blobs: map[verifier.Hash][]byte{}, effects: map[effect]int{},
		after: map[checkpoint]verifier.Hash{}, history: make([][]porcupine.Operation, agents), asked: map[protocol.Kind]int{}, bytes: map[protocol.Kind]int{}, node: map[verifier.PublicKey]*host{}, agent: map[verifier.PublicKey]*creature{}, store: member.NewMemory(), careless: careless}
	w.store.Careless = careless
	for i := range nodes {
		k := keyOf("node", i)
		h := &host{w: w, number: i, key: k, public: publicOf(k), lives: map[verifier.PublicKey]bool{}, mine: map[verifier.PublicKey]bool{}}
		if i < simMembers {
			var err error
			if h.guard, err = member.New(member.Config{Engine: quorum{w.store, w, i}, Lease: simLease}); err != nil {
				t.Fatal(err)
			}
			w.members = append(w.members, fleet.Member{Key: h.public, Address: fmt.Sprintf("node%d:1", i)})
		}
		w.nodes, w.node[h.public] = append(w.nodes, h), h
	}
	for i := range agents {
		k := keyOf("agent", i)
		c := &creature{number: i, key: k, public: publicOf(k)}
		c.wants = Wants{Agent: c.public, Schedule: 1}
		for _, j := range w.rng.Perm(nodes)[:min(simAllowed, nodes)] {
			c.wants.Allowed = append(c.wants.Allowed, w.nodes[j].public)
		}
		slices.SortFunc(c.wants.Allowed, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
		w.agents, w.agent[c.public], w.wants = append(w.agents, c), c, append(w.wants, c.wants)
	}
	for _, h := range w.nodes {
		h.alive = true
	}
	w.begin()
	w.mu.Lock()
	clear(w.asked)
	clear(w.bytes)
	w.mu.Unlock()
	began := time.Now()
	for _, h := range w.nodes {
		h.start()
	}
	time.Sleep(2 * simLease) // all are found
	ctx, done := context.WithTimeout(context.Background(), length)
	defer done()
	watching, end := context.WithCancel(context.Background())
	go w.watch(watching)
	faults := w.trouble(ctx)
	time.Sleep(3 * simLease)
	before := w.steps()
	time.Sleep(3 * simInterval)
	for i, n := range w.steps() {
		if n == before[i] && !careless {
			t.Errorf("agent %d did not live on after all was healed", i)
		}
	}
	end()
	for _, h := range w.nodes {
		h.kill()
	}
	w.lived = time.Since(began)
	time.Sleep(time.Hour) // all that is under way comes to its end
	w.judge(faults)
	return w
}

func (w *world) steps() (all []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.agents {
		all = append(all, c.acknowledged)
	}
	return all
}

// judge looks at what is there at the end.
func (w *world) judge(faults int) {
	for _, c := range w.agents {
		held, err := w.store.Read(context.Background(), c.public)
		if err != nil || w.kept(held.Position.Head).over < c.acknowledged {
			w.lost++
		}
	}
	for _, k := range []protocol.Kind{protocol.Read, protocol.Append, protocol.Renew} {
		per := w.lived.Seconds() * float64(len(w.nodes))
		w.t.Logf("each node, in a second of a lease of %v: %.2f times %v, %.0f bytes", simLease, float64(w.asked[k])/per, k, float64(w.bytes[k])/per)
	}
	w.t.Logf("%d nodes, %d agents, %d faults: %d appends, %d takeovers, %d hand-overs, %d effects; forks %d, effects repeated %d, checkpoints lost %d; longest without an owner %v, too long %d times",
		len(w.nodes), len(w.agents), faults, w.appended, w.takeovers, w.handovers, len(w.effects), w.forks, w.repeated, w.lost, w.longest.Round(time.Second), w.unowned)
}

// TestFleet simulates a fleet in which things go wrong.
func TestFleet(t *testing.T) {
	var w *world
	synctest.Test(t, func(t *testing.T) {
		w = simulate(t, *simNodes, *simAgents, *simTime, *simSeed, false)
		w.t = nil
	})
	if w.forks+w.repeated+w.lost > 0 {
		t.Error("a life forked, an effect was repeated, or a checkpoint lost")
	}
	if w.unowned > 0 {
		t.Errorf("an agent had no owner for longer than two leases: %v", w.longest)
	}
	if w.takeovers == 0 || w.handovers == 0 || len(w.effects) == 0 {
		t.Error("nothing happened")
	}
	for agent, operations := range w.history {
		if r := porcupine.CheckOperationsTimeout(authoritytest.Register(verifier.Hash{}), operations, time.Minute); r != porcupine.Ok {
			t.Errorf("the positions of agent %d are not linearizable: %v", agent, r)
		}
	}
}

// TestLeasesAlone is the same with a store that does not compare: it has to fail, or
// [TestFleet] shows nothing.
func TestLeasesAlone(t *testing.T) {
	var w *world
	synctest.Test(t, func(t *testing.T) {
		w = simulate(t, 10, 100, 20*time.Minute, *simSeed, true)
		w.t = nil
	})
	if w.forks+w.repeated+w.lost == 0 {
		t.Error("leases alone are enough, so that the comparison was not tested")
	}
}

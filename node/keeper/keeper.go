package keeper

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// Members are those who say who owns an agent, such as a [igor.dev/authority/fleet.Client].
type Members interface {
	// ReadLease returns an agent's position, and how long the lease on it still runs, at
	// most; 0 = it ran out.
	ReadLease(ctx context.Context, agent verifier.PublicKey) (authority.Position, time.Duration, error)
}

// A View is what a node knows of its fleet.
type View struct {
	Nodes  []Node  // that are heard of, itself among them
	Agents []Wants // that the fleet is to keep alive
	Crowd  Crowd
}

// A Config says what a keeper keeps, and how.
type Config struct {
	Self    verifier.PublicKey
	Members Members
	View    func() View

	// Lives reports whether this node lives an agent, or is about to.
	Lives func(agent verifier.PublicKey) bool

	// Mine reports whether this node was an agent's owner when it last knew, such as before
	// its process ended.
	Mine func(agent verifier.PublicKey) bool

	// Take has this node go on with an agent, from what the members keep. Its error says
	// only that it was not done now.
	Take func(ctx context.Context, agent verifier.PublicKey) error

	Lease  time.Duration // of the fleet's owners
	AtOnce int           // how many agents are looked at or taken at once; 0 = 16
	Log    *slog.Logger
}

// A Keeper looks after the agents of a fleet, for one node.
type Keeper struct {
	Config
	slots chan struct{}

	mu   sync.Mutex
	busy map[verifier.PublicKey]bool
	gone map[verifier.PublicKey]since
	good map[verifier.PublicKey]owned
}

// owned is that an agent has an owner, and until when that need not be asked again.
type owned struct {
	owner verifier.PublicKey
	until time.Time
}

// since is when an agent was first seen to be without an owner, at a position.
type since struct {
	sequence uint64
	at       time.Time
}

// How often agents are looked at, as parts of a lease, and how many candidates look.
const (
	looks    = 4 // times in a lease
	watchers = 3 // candidates who look
	turns    = 8 // of these in a lease: how long a candidate leaves the one before it to try
)

// New returns a keeper.
func New(c Config) *Keeper {
	if c.AtOnce == 0 {
		c.AtOnce = 16
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{Config: c, slots: make(chan struct{}, c.AtOnce), busy: map[verifier.PublicKey]bool{}, gone: map[verifier.PublicKey]since{}, good: map[verifier.PublicKey]owned{}}
}

// Run keeps agents alive until ctx is over.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for ctx.Err() == nil {
		every := k.Lease / looks
		view := k.View()
		present := k.present(view.Nodes)
		for i := range view.Agents {
			w := &view.Agents[i]
			if k.Lives(w.Agent) {
				k.forget(w.Agent)
				continue
			}
			mine := k.Mine(w.Agent)
			if !mine && (!slices.Contains(w.Allowed, k.Self) || k.well(w.Agent, present)) {
				continue
			}
			place := k.place(w, present, view.Crowd)
			if watches := mine || place >= 0 && place < watchers; !watches || !k.take(w.Agent) {
				continue
			}
			select {
			case k.slots <- struct{}{}:
			case <-ctx.Done():
				k.release(w.Agent)
				return
			}
			all.Go(func() {
				defer func() {
					<-k.slots
					k.release(w.Agent)
				}()
				k.look(ctx, w.Agent, place)
			})
		}
		sleep(ctx, every/2+rand.N(every/2+1))
	}
}

// present are the nodes that are not known to be gone.
func (k *Keeper) present(nodes []Node) map[verifier.PublicKey]Node {
	all := map[verifier.PublicKey]Node{}
	for _, n := range nodes {
		if n.Silent < k.Lease || n.Offer.Node == k.Self {
			all[n.Offer.Node] = n
		}
	}
	return all
}

// place is this node's rank for an agent, among those who are present. A fleet has many
// nodes, and an agent allows some.
func (k *Keeper) place(w *Wants, present map[verifier.PublicKey]Node, crowd Crowd) int {
	some := make([]Node, 0, min(len(w.Allowed), len(present)))
	for _, node := range w.Allowed {
		if n, ok := present[node]; ok {
			some = append(some, n)
		}
	}
	return rank(w.Candidates(some, crowd, time.Now()), k.Self)
}

// look asks who owns an agent, and goes on with it if nobody does.
func (k *Keeper) look(ctx context.Context, agent verifier.PublicKey, place int) {
	within, done := context.WithTimeout(ctx, k.Lease)
	defer done()
	at, left, err := k.Members.ReadLease(within, agent)
	switch {
	case err != nil:
		return // nobody can say; or it was not put under this fleet yet
	case at.State == authority.Retired || at.State == authority.Recovery:
		k.forget(agent)
		return
	case at.Owner == k.Self: // it was given to this node, or a process of this node ended
	case left > 0:
		k.forget(agent)
		k.sawWell(agent, at.Owner, left)
		return
	default:
		if place < 0 || !k.turn(agent, at.Sequence, place) {
			return
		}
		k.Log.Info("an agent's owner is gone", "agent", agent.DID(), "owner", at.Owner.DID(), "append", at.Sequence)
	}
	if err := k.Take(ctx, agent); err != nil {
		k.Log.Info("an agent was not taken over", "agent", agent.DID(), "error", err)
		return
	}
	k.forget(agent)
}

// turn reports whether it is this node's turn to try: each candidate leaves a time to the
// one before it.
func (k *Keeper) turn(agent verifier.PublicKey, sequence uint64, place int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.gone[agent]
	if !ok || s.sequence != sequence {
		s = since{sequence, time.Now()}
		k.gone[agent] = s
	}
	return time.Since(s.at) >= time.Duration(place)*k.Lease/turns
}

// well reports whether an agent need not be looked at: it had an owner whose lease still
// runs, and who is heard of. Whether that owner is heard by the members, only a look says.
func (k *Keeper) well(agent verifier.PublicKey, present map[verifier.PublicKey]Node) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, ok := k.good[agent]
	if !ok || !time.Now().Before(g.until) {
		return false
	}
	owner, ok := present[g.owner]
	return ok && owner.Silent < k.Lease/looks
}

// sawWell notes that an agent has an owner, whose lease runs for so long: before that
// nobody can take over, and so nobody has to ask. Leases that do not run out may be
// followed by one that does.
func (k *Keeper) sawWell(agent, owner verifier.PublicKey, left time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.good[agent] = owned{owner, time.Now().Add(min(left, k.Lease))}
}

func (k *Keeper) forget(agent verifier.PublicKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.gone, agent)
}

// take reports whether nobody looks at an agent, and has this be so.
func (k *Keeper) take(agent verifier.PublicKey) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[agent] {
		return false
	}
	k.busy[agent] = true
	return true
}

func (k *Keeper) release(agent verifier.PublicKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, agent)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

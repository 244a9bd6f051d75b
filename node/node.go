// Package node runs agents on a machine that others can reach, and moves them between such
// machines: one libp2p host, what an agent is worth here, and hand-overs in which at no
// moment two nodes own an agent, or none. See docs/node.md and docs/spec/handover.md.
//
// It is the only package that knows of libp2p.
package node

import (
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"igor.dev/internal/control"
	"igor.dev/node/price"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/x402/rent"
)

// A Config says how to run a node.
type Config struct {
	Dir string             // of the node: agents/, incoming/, peers.json, control
	Key ed25519.PrivateKey // who it is, for ever
	Log *slog.Logger

	Listen     []string // multiaddresses; none = nobody can reach it
	Peers      []Peer   // beside those that it knows already
	Open       bool     // others than its peers may connect
	NetworkKey []byte   // 32 bytes that all nodes of a private network have

	// Network has the options of another network than this machine's, such as a simulated one,
	// which has QUIC alone.
	Network []libp2p.Option

	// From are the nodes whose agents it takes. FromPeers says that all peers' are.
	From      []verifier.PublicKey
	FromPeers bool

	Price       int64 // microcents per metered second
	StoredPrice int64 // microcents per 10^9 bytes
	Regions     []string
	MaxAgents   int   // 0 = no limit
	MaxMemory   int64 // bytes for the agents' memories; 0 = no limit

	// How often nodes are asked again where an agent asks to go, or has to leave.
	Retries    int
	RetryDelay time.Duration

	// Leases are the books of the leases that agents have here; nil = they need none. One that
	// has none lives for LeaseGrace, since it came or its lease ended.
	Leases     rent.Books
	LeaseGrace time.Duration

	// NoReplay takes agents without running their lives again. They are verified all the
	// same.
	NoReplay bool

	// Homes finds the homes of agents that are not their folders, as the engine's does; nil =
	// such agents are neither handed over nor taken. Keys has the keys of those that several
	// nodes may live; nil = of none.
	Homes func(name string) (*runtime.Home, error)
	Keys  KeyShares

	// Fleet is the one in which the node takes part, nil = none. Its other nodes are peers.
	Fleet *Fleet

	// Member is the fleet's member that is in this process, nil = none.
	Member Member

	// Carrier carries what the node asks members of fleets, nil = nothing.
	Carrier *Carrier

	Engine   *runtime.Engine
	CacheDir string                           // for compiled code, as the engine's
	Agent    func(name string) runtime.Config // how to run an agent
	Changed  func(runtime.Supervised)         // is told how agents are; nil = nobody is

	// AgentsEnded is called when the node is closed and its agents have ended, while others
	// can still be reached, such as to give leases back; nil = nobody.
	AgentsEnded func() error

	OfferFor     time.Duration // how long an offer is good; 0 = 10 minutes
	Silence      time.Duration // how long a peer may say nothing; 0 = 30 s
	PrepareLimit time.Duration // for a target to take and verify; 0 = 2 hours
	MoveLimit    time.Duration // how long an agent may stand still; 0 = 1 minute
}

// A Node is one that runs. It is safe for concurrent use.
type Node struct {
	config  Config
	public  verifier.PublicKey
	sealing hpke.PrivateKey
	host    host.Host
	peers   *peers
	keeping *upkeep // nil: the node is in no fleet
	look    chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc
	serving sync.WaitGroup
	meter   meter
	came    chan struct{} // an agent did, or who may have its key changed

	deleting sync.Mutex // what is kept of who deleted keys is changed by one at a time

	mu       sync.Mutex
	closed   bool
	socket   *control.Server // nil: nobody asked for one
	draining time.Time       // deadline; zero = it does not drain
	offer    *price.Offer
	agents   map[string]runtime.Supervised            // by the names of their folders
	lives    map[string]runtime.Life                  // of their folders, by name: who they are
	moves    map[verifier.PublicKey]*move             // that are under way, from here
	refused  map[string]map[verifier.PublicKey]string // why agents did not go to nodes, the last time, by name
	stays    map[string]string                        // why agents are still here while it drains, by name
	takes    map[verifier.PublicKey]*take             // to here
	verified map[string]verifier.Hash                 // the newest checkpoints of agents that came, by name, until they are run
}

const (
	dirAgents   = "agents"
	dirIncoming = "incoming"
)

// Start starts a node. Whoever started it closes it.
func Start(c Config) (_ *Node, err error) {
	if c.Log == nil || c.Engine == nil || len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("a node needs a log, an engine and a key")
	}
	if c.OfferFor == 0 {
		c.OfferFor = 10 * time.Minute
	}
	if c.Silence == 0 {
		c.Silence = silence
	}
	if c.PrepareLimit == 0 {
		c.PrepareLimit = 2 * time.Hour
	}
	if c.MoveLimit == 0 {
		c.MoveLimit = time.Minute
	}
	if c.Agent == nil {
		c.Agent = func(string) runtime.Config { return runtime.Config{} }
	}
	slices.Sort(c.Regions)
	c.Regions = slices.Compact(c.Regions)
	n := &Node{config: c, public: verifier.PublicKey(c.Key.Public().(ed25519.PublicKey)), look: make(chan struct{}, 1), came: make(chan struct{}, 1),
		agents: map[string]runtime.Supervised{}, lives: map[string]runtime.Life{}, moves: map[verifier.PublicKey]*move{}, refused: map[string]map[verifier.PublicKey]string{}, stays: map[string]string{}, takes: map[verifier.PublicKey]*take{}, verified: map[string]verifier.Hash{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, dirAgents), filepath.Join(c.Dir, dirIncoming)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if n.sealing, err = sealingKey(c.Key); err != nil {
		return nil, err
	}
	if n.peers, err = openPeers(c.Dir, append(slices.Clone(c.Peers), c.Fleet.peersOf(n)...)); err != nil {
		return nil, err
	}
	if _, err := n.Offer(); err != nil {
		return nil, err
	}
	if n.host, err = newHost(c.Key, c.Listen, c.NetworkKey, c.Network, &gate{n.letsIn, n.knows, n.turnedAway()}); err != nil {
		return nil, err
	}
	n.limitStrangers()
	if c.Carrier != nil {
		c.Carrier.attach(n)
	}
	if c.Member != nil {
		n.serve(ProtocolAuthority, authorityStreams, authorityOfOne, authorityLimit, n.answerAuthority(make(chan struct{}, authorityLarge)))
	}
	n.keepFleet()
	if err := n.resumeTakes(); err != nil {
		return nil, err
	}
	n.serve(ProtocolPrice, 64, 4, 10*time.Second, n.answerPrice)
	n.serve(ProtocolHistory, 16, 4, c.PrepareLimit, n.answerHistory)
	n.serve(ProtocolHandOver, 64, 8, c.PrepareLimit+c.MoveLimit, n.answerHandOver)
	n.serving.Add(1)
	go func() {
		defer n.serving.Done()
		err := c.Engine.Supervise(n.ctx, filepath.Join(c.Dir, dirAgents), runtime.SupervisorConfig{Agent: n.configOf, Changed: n.changed, Look: n.look})
		if err != nil {
			c.Log.Error("the node's agents cannot be run", "error", err)
		}
	}()
	n.runFleet()
	n.background(n.askDeleted)
	return n, nil
}

// Close stops the node, and its agents each with a last checkpoint.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.serving.Wait() // agents reach their homes until they have ended
	var errs []error
	if n.config.AgentsEnded != nil {
		errs = append(errs, n.config.AgentsEnded())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	n.mu.Lock()
	socket := n.socket
	n.socket = nil
	n.mu.Unlock()
	socket.Unlink() // it says that the node runs
	socket.Close()
	return errors.Join(errs...)
}

// Key returns the node's key.
func (n *Node) Key() verifier.PublicKey { return n.public }

// Addresses returns where the node can be reached.
func (n *Node) Addresses() (all []string) {
	for _, a := range n.host.Addrs() {
		all = append(all, a.String())
	}
	return all
}

// configOf returns how to run the agent in a folder.
func (n *Node) configOf(name string) runtime.Config {
	c := n.config.Agent(name)
	if c.Log == nil {
		c.Log = n.config.Log.With("agent", name)
	}
	c.Node = n.placeOf(name)
	c.RentDue = n.tenantOf(name)
	if policy, err := n.policyOf(n.agentDir(name)); err == nil && policy.Capabilities["x402"] > 0 && !n.config.Engine.Pays() {
		c.Log.Warn("the agent may buy, and this node pays nothing: it gets the 402", "hint", "set payments or pay_at in node.json, and start the node again")
	}
	n.mu.Lock()
	c.Verified = n.verified[name]
	delete(n.verified, name)
	n.mu.Unlock()
	if pays, err := n.priceOf(name); err != nil {
		c.Log.Warn("the agent pays what it did before", "error", err)
	} else {
		c.Price, c.FixedPrice = &pays, true
	}
	return c
}

// priceOf returns what an agent pays here: what was offered when it came, or, if it was
// added, what the node costs now and its manifest accepts.
func (n *Node) priceOf(name string) (int64, error) {
	if arrived, ok := n.arrivedAt(name); ok {
		return arrived.Price, nil
	}
	policy, err := n.policyOf(n.agentDir(name))
	if err != nil {
		return 0, err
	}
	return n.config.Price, n.affordable(&policy)
}

func (n *Node) affordable(p *runtime.MovePolicy) error {
	if p.MaxPrice > 0 && n.config.Price > p.MaxPrice {
		return fmt.Errorf("a second costs %s here, and the agent's manifest accepts %s", verifier.FormatMicrocents(n.config.Price), verifier.FormatMicrocents(p.MaxPrice))
	}
	return nil
}

func (n *Node) changed(s runtime.Supervised) {
	if n.config.Changed != nil {
		n.config.Changed(s)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.State == "" {
		delete(n.agents, s.Name)
		delete(n.lives, s.Name)
		delete(n.refused, s.Name)
		delete(n.stays, s.Name)
		return
	}
	n.agents[s.Name] = s
}

// poke has the supervisor look at the agents now.
func (n *Node) poke() {
	select {
	case n.look <- struct{}{}:
	default:
	}
}

func (n *Node) agentDir(name string) string { return filepath.Join(n.config.Dir, dirAgents, name) }

// folders returns the folders of agents, by who is in them: those that live here, and
// those that were given away.
func (n *Node) folders() (map[verifier.PublicKey]string, error) {
	entries, err := os.ReadDir(filepath.Join(n.config.Dir, dirAgents))
	if err != nil {
		return nil, err
	}
	all := map[verifier.PublicKey]string{}
	for _, e := range entries {
		l, err := n.life(e.Name())
		if err != nil {
			continue // it is no agent's, or is damaged: the supervisor says so
		}
		if old, twice := all[l.Agent]; twice && exists(filepath.Join(n.agentDir(e.Name()), "moved")) {
			_ = old // the one that lives counts
			continue
		}
		all[l.Agent] = e.Name()
	}
	return all, nil
}

// life returns who is in a folder.
func (n *Node) life(name string) (runtime.Life, error) {
	n.mu.Lock()
	l, ok := n.lives[name]
	n.mu.Unlock()
	if ok {
		return l, nil
	}
	l, err := runtime.ReadLife(n.agentDir(name))
	if err == nil {
		n.mu.Lock()
		n.lives[name] = l
		n.mu.Unlock()
	}
	return l, err
}

// find returns the folder of an agent.
func (n *Node) find(agent verifier.PublicKey) (name string, ok bool) {
	all, err := n.folders()
	if err != nil {
		return "", false
	}
	name, ok = all[agent]
	return name, ok
}

// Hosts reports whether an agent is here, alive or not, and was not given away.
func (n *Node) Hosts(agent verifier.PublicKey) bool {
	name, ok := n.find(agent)
	return ok && !exists(filepath.Join(n.agentDir(name), "moved"))
}

// named finds an agent by its folder's name, its path, or its DID.
func (n *Node) named(s string) (string, error) {
	if k, err := verifier.ParseDID(s); err == nil {
		if name, ok := n.find(k); ok {
			return name, nil
		}
		return "", &missing{s + " is not at this node", agentsAre}
	}
	name := filepath.Base(s)
	if !exists(n.agentDir(name)) {
		return "", &missing{"there is no agent " + s + " at this node", agentsAre}
	}
	return name, nil
}

const agentsAre = "igor node agents lists those that are here, and igor node add FOLDER moves one here"

// room says how many more agents, and bytes of their memories, there is room for.
func (n *Node) room() (agents uint32, memory uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	here := len(n.agents) + len(n.takes)
	agents, memory = 1<<16, 1<<50
	if n.config.MaxAgents > 0 {
		agents = uint32(max(0, n.config.MaxAgents-here))
	}
	if n.config.MaxMemory > 0 {
		used := int64(0)
		for _, s := range n.agents {
			if s.Agent != nil {
				used += s.Agent.Memory()
			}
		}
		memory = uint64(max(0, n.config.MaxMemory-used))
	}
	return agents, memory
}

// Offer returns the node's offer, signed anew when that is due.
func (n *Node) Offer() (*price.Offer, error) {
	agents, memory := n.room()
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	drains := !n.draining.IsZero()
	if o := n.offer; o != nil && o.Draining == drains && o.FreeAgents == agents && now.Unix() < o.Issued+int64(n.config.OfferFor/time.Second)/2 {
		return o, nil
	}
	o := &price.Offer{Issued: now.Unix(), Expires: now.Add(n.config.OfferFor).Unix(), Price: n.config.Price, StoredPrice: n.config.StoredPrice,
		FreeAgents: agents, FreeMemory: memory, Draining: drains, Schedules: runtime.Schedules(), Regions: n.config.Regions}
	copy(o.HPKE[:], n.sealing.PublicKey().Bytes())
	all := runtime.Capabilities()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		o.Capabilities = append(o.Capabilities, price.Capability{Name: name, Version: uint8(all[name])})
	}
	if err := o.Sign(n.config.Key); err != nil {
		return nil, err
	}
	n.offer = o
	return o, nil
}

// answerPrice sends the node's offer.
func (n *Node) answerPrice(_ context.Context, _ verifier.PublicKey, c *conn) error {
	o, err := n.Offer()
	if err != nil {
		return err
	}
	_, err = c.Write(o.Append(nil))
	return err
}

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing/synctest"
	"time"

	igornode "igor.dev/node"
	"igor.dev/node/api"
	"igor.dev/node/simulated"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// simulatedLatency is what a packet takes from any node to any other.
const simulatedLatency = 20 * time.Millisecond

// A simulation is nodes in this process, on a simulated network and in simulated time: the
// real nodes and the real runtime, whose agents cannot reach anything.
type simulation struct {
	network *simulated.Network
	mu      sync.Mutex
	cuts    map[[2]int]bool // by the script
	gone    map[int]bool    // nodes that were killed
}

func newSimulation(l *lab) (world, error) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // there are no buffers
	return &simulation{network: simulated.New(simulatedLatency), cuts: map[[2]int]bool{}, gone: map[int]bool{}}, nil
}

func (w *simulation) listen(uint16) (net.Listener, error) { return nil, nil }

func (w *simulation) dial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("a simulated network is reached by its nodes alone")
}

func (w *simulation) node(s *seat) node { return &simulatedNode{seat: s, world: w} }

func (w *simulation) close() error {
	w.network.Close()
	return nil
}

func (w *simulation) cut(from, to int, yes bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts[[2]int{from, to}] = yes
	w.network.Cut(from, to, yes || w.gone[from] || w.gone[to])
	return nil
}

func (w *simulation) slow(int, time.Duration) error { return notHere("slow") }

// lose has nothing come from a node any more, nor to it; or as the script says.
func (w *simulation) lose(i, of int, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone[i] = yes
	for j := range of {
		for _, way := range [][2]int{{i, j}, {j, i}} {
			w.network.Cut(way[0], way[1], w.cuts[way] || w.gone[way[0]] || w.gone[way[1]])
		}
	}
}

// A simulatedNode is a node in this process.
type simulatedNode struct {
	*seat
	world *simulation
	set   simulatedSettings

	mu     sync.Mutex
	node   *igornode.Node // nil = it does not run
	engine *runtime.Engine
	log    *os.File
}

// simulatedSettings are those of node.json that have a meaning here.
type simulatedSettings struct {
	Price           string   `json:"price"`
	PriceStored     string   `json:"price_stored"`
	Regions         []string `json:"regions"`
	MaxAgents       int      `json:"max_agents"`
	TickInterval    string   `json:"tick_interval"`
	CheckpointEvery string   `json:"checkpoint_every"`
	MoveLimit       string   `json:"move_limit"`

	price, stored    int64
	tick, save, move time.Duration
}

func (n *simulatedNode) configure(extra map[string]any) error {
	n.set = simulatedSettings{Price: "0.001", PriceStored: "0", TickInterval: "1s", CheckpointEvery: "10s", MoveLimit: "30s"}
	b, err := json.Marshal(extra)
	if err != nil || extra == nil {
		b = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&n.set); err != nil {
		return fmt.Errorf("of a simulated node: %w", err)
	}
	s := &n.set
	if s.price, err = runtime.ParseAmount(s.Price); err == nil {
		s.stored, err = runtime.ParseAmount(s.PriceStored)
	}
	for value, to := range map[*string]*time.Duration{&s.TickInterval: &s.tick, &s.CheckpointEvery: &s.save, &s.MoveLimit: &s.move} {
		if err == nil {
			*to, err = time.ParseDuration(*value)
		}
	}
	return err
}

func (n *simulatedNode) start() (err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node != nil {
		return fmt.Errorf("%s runs already", n.name)
	}
	key, err := runtime.NodeKey(filepath.Join(n.dir, "node.key"))
	if err != nil {
		return err
	}
	if n.log, err = os.OpenFile(n.dir+".log", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if n.engine, err = runtime.NewEngine(runtime.EngineConfig{Log: log, NodeKey: key, CacheDir: n.lab.cache}); err != nil {
		return err
	}
	c := igornode.Config{Dir: n.dir, Key: key, Log: log, Listen: []string{n.world.network.Address(n.i)}, Network: n.world.network.Options(), FromPeers: true,
		Price: n.set.price, StoredPrice: n.set.stored, Regions: n.set.Regions, MaxAgents: n.set.MaxAgents, MoveLimit: n.set.move, Engine: n.engine, CacheDir: n.lab.cache,
		Agent: func(string) runtime.Config {
			return runtime.Config{TickInterval: n.set.tick, CheckpointEvery: runtime.Every{Time: n.set.save}, PriceStored: n.set.stored}
		}}
	for _, o := range n.lab.nodes {
		if o := o.at(); o != n.seat {
			peer, err := igornode.ParsePeer(o.did() + " " + n.world.network.Address(o.i))
			if err != nil {
				return err
			}
			c.Peers = append(c.Peers, peer)
		}
	}
	n.world.lose(n.i, len(n.lab.nodes), false)
	n.node, err = igornode.Start(c)
	if err != nil {
		err = errors.Join(err, n.engine.Close(), n.log.Close())
	}
	return err
}

func (n *simulatedNode) stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil {
		return fmt.Errorf("%s does not run", n.name)
	}
	err := errors.Join(n.node.Close(), n.engine.Close(), n.log.Close())
	n.node = nil
	return err
}

// kill ends the node as if it had been killed now: what its disk has at this moment is what
// it has when it is started again. Nothing runs at this moment; so what a kill in the middle
// of a write leaves has to be tried with processes.
func (n *simulatedNode) kill() error {
	if !n.runs() {
		return fmt.Errorf("%s does not run", n.name)
	}
	synctest.Wait()
	if err := copyTree(n.dir, n.dir+".killed"); err != nil {
		return err
	}
	n.world.lose(n.i, len(n.lab.nodes), true)
	n.stop() // that it says it failed does not matter any more
	return errors.Join(os.RemoveAll(n.dir), os.Rename(n.dir+".killed", n.dir))
}

func (n *simulatedNode) pause(bool) error { return notHere("pause and continue") }

func (n *simulatedNode) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.node != nil
}

var errDown = errors.New("the node does not run")

func (n *simulatedNode) running() (*igornode.Node, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.node == nil {
		return nil, errDown
	}
	return n.node, nil
}

func (n *simulatedNode) look(context.Context) (map[string]Lives, error) {
	node, err := n.running()
	if err != nil {
		return nil, err
	}
	all, err := node.Agents()
	return n.lab.livesOf(all), err
}

func (n *simulatedNode) moving(context.Context) (int, error) {
	node, err := n.running()
	if err != nil {
		return 0, err
	}
	return node.Figures().Moving, nil
}

func (n *simulatedNode) move(ctx context.Context, agent string, to []string) (*api.Moved, error) {
	node, err := n.running()
	if err != nil {
		return nil, err
	}
	c := igornode.MoveConfig{}
	for _, did := range to {
		k, err := verifier.ParseDID(did)
		if err != nil {
			return nil, err
		}
		c.To = append(c.To, k)
	}
	m, err := node.Move(ctx, agent, c)
	if err != nil {
		return nil, err
	}
	return &api.Moved{Agent: m.Agent.DID(), To: m.To.DID(), Number: m.Number, Head: m.Head.CID(), Arrived: m.Arrived, StoodMS: float64(m.Stood.Microseconds()) / 1000}, nil
}

func (n *simulatedNode) drain(_ context.Context, end bool) error {
	node, err := n.running()
	if err != nil {
		return err
	}
	if end {
		node.EndDrain()
	} else {
		node.Drain(time.Hour)
	}
	return nil
}

func (n *simulatedNode) add(context.Context, string) error { return notHere("a fleet") }

func (n *simulatedNode) ask(ctx context.Context) error {
	node, err := n.running()
	if err != nil {
		return err
	}
	for _, o := range n.lab.nodes {
		if o := o.at(); o != n.seat {
			node.OfferOf(ctx, o.public) // what came of it the list of peers has
		}
	}
	return nil
}

// copyTree copies a folder, with the modes of what is in it.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			return copyFile(path, target, info.Mode().Perm())
		}
		return nil
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"time"

	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

const nodePort = 7447

// A world is where nodes are: processes on hosts of a network on this machine, or
// simulated.
type world interface {
	// listen listens where all nodes reach it; nil, nil = nothing can be reached there.
	listen(port uint16) (net.Listener, error)
	dial(ctx context.Context, network, address string) (net.Conn, error)
	node(s *seat) node
	cut(from, to int, yes bool) error
	slow(node int, by time.Duration) error // 0 = not any more
	close() error
}

// A node is one in a world.
type node interface {
	at() *seat
	configure(extra map[string]any) error
	start() error
	kill() error
	stop() error
	pause(yes bool) error
	runs() bool
	look(ctx context.Context) (map[string]Lives, error)
	moving(ctx context.Context) (int, error) // agents that are handed over from here
	move(ctx context.Context, agent string, to []string) (*api.Moved, error)
	drain(ctx context.Context, end bool) error
	ask(ctx context.Context) error                // all peers for their offers
	add(ctx context.Context, folder string) error // an agent to the fleet
}

// A seat is what every node has.
type seat struct {
	lab    *lab
	i      int
	name   string
	dir    string
	host   string // its address
	public verifier.PublicKey
}

func (s *seat) at() *seat   { return s }
func (s *seat) did() string { return s.public.DID() }

// birth has an agent be born at a node that does not run.
func (s *seat) birth(ctx context.Context, a *Agent, shop string) (err error) {
	wasm, err := os.ReadFile(a.Program)
	if err != nil {
		return err
	}
	wasm = replaced(wasm, shop)
	policy := map[string]any{"enabled": true, "allowed_nodes": s.lab.dids()}
	maps.Copy(policy, a.Policy)
	manifest := map[string]any{"migration_policy": policy}
	if a.Capabilities != nil {
		manifest["capabilities"] = a.Capabilities
	}
	man, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	man = replaced(man, shop)
	if s.lab.market != nil {
		man = s.lab.market.fill(man)
	}
	key, err := runtime.NodeKey(filepath.Join(s.dir, "node.key"))
	if err != nil {
		return err
	}
	e, err := runtime.NewEngine(runtime.EngineConfig{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), NodeKey: key, CacheDir: s.lab.cache})
	if err != nil {
		return err
	}
	defer e.Close()
	dir := filepath.Join(s.dir, "agents", a.Name)
	if s.lab.members != nil {
		dir = filepath.Join(s.dir, dirBorn, a.Name)
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return err
		}
	}
	born, stop := context.WithCancel(ctx)
	stop() // before its first tick, which is lived where it can reach what it needs
	r, err := e.Start(born, dir, runtime.Birth{WASM: wasm, Manifest: man, Budget: a.Budget, Price: a.Price}, runtime.Config{}).Wait(ctx)
	if err == nil {
		a.public, err = verifier.ParseDID(r.DID)
	}
	return err
}

// notHere says that a step has no meaning in a world.
func notHere(step string) error {
	return fmt.Errorf("%s: a simulated node cannot be; isolate it instead", step)
}

// livesOf returns the agents that live, by the names that the script has for them: where one
// was taken over its folder may be called otherwise.
func (l *lab) livesOf(all []api.Agent) map[string]Lives {
	lives := map[string]Lives{}
	for _, a := range all {
		if a.State != "alive" {
			continue
		}
		for i := range l.Script.Agents {
			if one := &l.Script.Agents[i]; one.public.DID() == a.DID {
				lives[one.Name] = Lives{a.Tick, a.Moves}
			}
		}
	}
	return lives
}

// did is that of an agent of the script.
func (l *lab) did(agent string) string { return l.Script.Agents[l.Script.agent(agent)].public.DID() }

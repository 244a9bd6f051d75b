package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/internal/homes"
	"igor.dev/node/api"
	"igor.dev/node/keeper"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A fleetOf is a fleet of processes, and an operator of it.
type fleetOf struct {
	t           testing.TB
	nodes       []*process
	description *fleet.Description
	client      *fleet.Client
	lease       time.Duration
	plan        keeper.Plan
	number      uint64
	shops       map[string]*shop // by agents' DIDs
	born        map[string]authority.Position
	listen      func() (net.Listener, error) // for a shop; nil = here
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
}

// fleetOfProcesses makes a fleet whose nodes are all members, and starts it.
func fleetOfProcesses(t testing.TB, count int, lease time.Duration) *fleetOf {
	t.Helper()
	// Addresses of their own: a port of 127.0.0.1 may be another program's while a node is
	// not there.
	at := func(i int) string { return fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()%128, os.Getpid()/128%256, i+1) }
	f := newFleet(t, lease, processes(t, count, fleetSettings(lease, at)))
	for i, p := range f.nodes {
		f.describe(p, at(i), fmt.Sprintf("rack%d", i))
	}
	f.begin(nil)
	return f
}

// fleetSettings are those of a node of a fleet, each at an address of its own.
func fleetSettings(lease time.Duration, at func(i int) string) func(int, map[string]any) {
	return func(i int, settings map[string]any) {
		settings["listen"] = []string{"/ip4/" + at(i) + "/tcp/7447"}
		settings["lease_duration"] = lease.String()
		settings["checkpoint_every"] = "300ms"
		settings["tick_interval"] = "50ms"
		settings["peers"] = []string{}
		settings["price"] = "0.001"
	}
}

func newFleet(t testing.TB, lease time.Duration, nodes []*process) *fleetOf {
	return &fleetOf{t: t, nodes: nodes, lease: lease, shops: map[string]*shop{}, born: map[string]authority.Position{}, description: &fleet.Description{Name: "acme", Version: 1}}
}

// describe makes a node one of the fleet, and a member.
func (f *fleetOf) describe(p *process, at, domain string) {
	f.t.Helper()
	k, err := verifier.ParseDID(p.did)
	if err != nil {
		f.t.Fatal(err)
	}
	f.description.Nodes = append(f.description.Nodes, fleet.Node{Key: k, Addresses: []string{"/ip4/" + at + "/tcp/7447"}, Member: at + ":7450", Domain: domain})
	f.plan.Nodes = append(f.plan.Nodes, k)
}

// begin starts the fleet. dial is how this process reaches members, nil = as usual.
func (f *fleetOf) begin(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	t := f.t
	t.Helper()
	operator := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{77}, 32))
	f.description.Operators = []verifier.PublicKey{verifier.PublicKey(operator.Public().(ed25519.PublicKey))}
	for _, p := range f.nodes {
		if err := f.description.Write(filepath.Join(p.dir, fleet.FileDescription)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range f.nodes {
		p.start("")
	}
	f.dial = dial
	via := https.NewTransport(operator)
	via.Dial = dial
	t.Cleanup(func() { via.Close() })
	var err error
	if f.client, err = fleet.New(fleet.Config{Members: f.description.Members(), Via: via}); err != nil {
		t.Fatal(err)
	}
	f.until("the fleet lives", func() bool { _, err := f.client.List(t.Context()); return err == nil })
}

// until waits until something is so.
func (f *fleetOf) until(what string, is func() bool) time.Duration {
	f.t.Helper()
	began := time.Now()
	for !is() {
		if time.Since(began) > 90*time.Second {
			for _, p := range f.nodes {
				f.t.Logf("node %d: %+v\n%s", p.n, p.agents(), p.tail())
			}
			f.t.Fatalf("it did not come to this: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}

// apply makes the plan the fleet's.
func (f *fleetOf) apply() {
	f.t.Helper()
	f.number++
	p := authority.Plan{Number: f.number, Nodes: slices.Clone(f.plan.Nodes), Text: f.plan.JSON()}
	slices.SortFunc(p.Nodes, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	if err := f.client.Plan(f.t.Context(), &p); err != nil {
		f.t.Fatal(err)
	}
}

// bear has agents begin at a node, each with a shop of its own.
func (f *fleetOf) bear(p *process, count int, resurrect bool) {
	t := f.t
	t.Helper()
	program, err := os.ReadFile("../cmd/igor/testdata/agents/actor.wasm")
	if err != nil {
		t.Fatal(err)
	}
	key, err := runtime.NodeKey(filepath.Join(p.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	finder := &homes.Finder{Node: func() (ed25519.PrivateKey, error) { return key, nil }, Fleet: f.description, Transport: func(node ed25519.PrivateKey) fleet.Transport {
		via := https.NewTransport(node)
		via.Dial = f.dial
		return via
	}}
	e, err := runtime.NewEngine(runtime.EngineConfig{Log: testLog(t), NodeKey: key, CacheDir: cache, Homes: finder.Find})
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, m := range f.description.Members() {
		members = append(members, m.String())
	}
	var allowed []string
	for _, o := range f.nodes {
		allowed = append(allowed, o.did)
	}
	for range count {
		s := &shop{posts: map[string]int{}}
		server := httptest.NewUnstartedServer(s)
		if f.listen != nil {
			server.Listener.Close()
			if server.Listener, err = f.listen(); err != nil {
				t.Fatal(err)
			}
		}
		server.Start()
		t.Cleanup(server.Close)
		host := strings.TrimPrefix(server.URL, "http://")
		wasm := bytes.Replace(program, []byte("127.0.0.1:00000"), []byte(host), 1)
		if len(wasm) != len(program) {
			t.Fatalf("the address %s has another length", host)
		}
		man, err := json.Marshal(map[string]any{
			"capabilities": map[string]any{"clock": map[string]any{"version": 1}, "http": map[string]any{"version": 1, "options": map[string]any{"allowed_hosts": []string{host}}},
				"x402": map[string]any{"version": 1, "options": map[string]any{"allowed_recipients": []string{"shop"}, "max_payment_microcents": 1}}},
			"home":             map[string]any{"fleet": members},
			"migration_policy": map[string]any{"enabled": true, "resurrect": resurrect, "allowed_nodes": allowed},
		})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("actor%d", len(f.plan.Agents))
		dir := filepath.Join(p.dir, "born-"+name)
		r, err := e.Start(t.Context(), dir, runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e12, Price: 1000}, runtime.Config{MaxTicks: 1}).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.shops[r.DID] = s
		agent, err := verifier.ParseDID(r.DID)
		if err != nil {
			t.Fatal(err)
		}
		f.plan.Agents = append(f.plan.Agents, keeper.PlannedAgent{Agent: agent, Group: "actors"})
		if f.born[r.DID], err = f.client.Read(t.Context(), agent); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, filepath.Join(p.dir, "agents", name)); err != nil {
			t.Fatal(err)
		}
	}
	e.Close()
	if err := finder.Close(); err != nil {
		t.Fatal(err)
	}
}

// where returns at which node each agent lives, and fails if one lives at two.
func (f *fleetOf) where() map[string]*process {
	f.t.Helper()
	found := map[string]*process{}
	for _, p := range f.nodes {
		for _, a := range p.agents() {
			if a.State != "alive" || f.shops[a.DID] == nil {
				continue
			}
			if other := found[a.DID]; other != nil {
				// One of them may not know yet. Then it does not for long.
				f.until("an agent lives at one node", func() bool { return !p.has(a.DID) || !other.has(a.DID) })
				if !p.has(a.DID) {
					continue
				}
			}
			found[a.DID] = p
		}
	}
	return found
}

func (p *process) has(did string) bool {
	return slices.ContainsFunc(p.agents(), func(a api.Agent) bool { return a.DID == did && a.State == "alive" })
}

// sealed waits until all agents' keys are sealed to all nodes.
func (f *fleetOf) sealed() {
	f.t.Helper()
	f.until("all keys are sealed", func() bool {
		return !slices.ContainsFunc(f.plan.Agents, func(a keeper.PlannedAgent) bool {
			s, err := f.client.Sealed(f.t.Context(), a.Agent)
			return err != nil || len(s.Keys) != len(f.plan.Nodes)
		})
	})
}

// judge has all stand still, and holds what the agents lived to one history each, and what the shops
// got to once.
func (f *fleetOf) judge() {
	t := f.t
	t.Helper()
	f.until("all histories are whole", func() bool {
		at := f.where()
		for _, a := range f.plan.Agents {
			p := at[a.Agent.DID()]
			if p == nil {
				return false
			}
			for _, one := range p.agents() {
				if one.DID == a.Agent.DID() && one.State == "alive" && !runtime.Whole(filepath.Join(p.dir, "agents", one.Name)) {
					return false
				}
			}
		}
		return true
	})
	at, folders := f.where(), map[string]string{}
	for did, p := range at {
		for _, one := range p.agents() {
			if one.DID == did && one.State == "alive" {
				folders[did] = filepath.Join(p.dir, "agents", one.Name)
			}
		}
	}
	copied := t.TempDir()
	for did, folder := range folders {
		remote, err := runtime.Connect(folder)
		if err == nil {
			err = remote.Pause(t.Context())
		}
		if err == nil {
			err = exec.Command("cp", "-r", folder, filepath.Join(copied, did)).Run()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range f.nodes {
		p.kill()
	}
	lost := 0
	for _, a := range f.plan.Agents {
		did := a.Agent.DID()
		lost += f.lived(filepath.Join(copied, did), a.Agent)
		f.shops[did].once(t)
	}
	t.Logf("intervals whose event log was lost with their node: %d", lost)
}

// lived holds what an agent lived to one history, which is verified from the genesis on, and
// runs it again. Who was killed while it wrote down the end of an interval may have lost that
// interval's event log: one in each takeover. It returns how many there are.
func (f *fleetOf) lived(dir string, agent verifier.PublicKey) int {
	t := f.t
	t.Helper()
	wasm, _ := os.ReadFile(filepath.Join(dir, "agent.wasm"))
	man, _ := os.ReadFile(filepath.Join(dir, "agent.manifest.json"))
	r, err := runtime.Replay(t.Context(), filepath.Join(dir, "history"), runtime.ReplayConfig{WASM: wasm, Manifest: man, Events: filepath.Join(dir, "events"), Log: testLog(t)})
	seen, _, seenErr := runtime.ReadSeen(dir)
	if err != nil || seenErr != nil {
		t.Fatal(err, seenErr)
	}
	lost := r.Intervals - r.Replayed
	if r.Lineage != verifier.Verified.String() || r.Verdict == runtime.Diverged || uint64(lost) > seen.Newest.Position.Generation {
		t.Errorf("%s: %+v", agent.DID(), r)
	}
	return lost
}

// TestFleetLives has three nodes keep ten agents alive: one is killed, and its agents live
// on elsewhere, by themselves; it comes back, and harms nobody; one is drained; and all are
// stopped and started, one after the other.
func TestFleetLives(t *testing.T) {
	f := fleetOfProcesses(t, 3, 3*time.Second)
	f.bear(f.nodes[0], 4, true)
	f.bear(f.nodes[1], 3, true)
	f.bear(f.nodes[2], 3, true)
	f.apply()
	all := func() bool { return len(f.where()) == len(f.plan.Agents) }
	f.until("all agents live", all)
	f.sealed()
	time.Sleep(f.lease) // copies are made

	// Killed.
	dead := f.nodes[0]
	dead.kill()
	took := f.until("all agents live elsewhere", all)
	t.Logf("after kill -9, all agents live elsewhere within %v; the lease is %v", took.Round(10*time.Millisecond), f.lease)
	// A zombie.
	dead.start("")
	f.until("the node that was killed knows that it lives nothing any more", func() bool {
		entries, _ := os.ReadDir(filepath.Join(dead.dir, "left"))
		return len(entries) == 4 && strings.Contains(dead.tail()+dead.whole(), "an agent was taken over from this node")
	})
	for _, a := range f.plan.Agents {
		if dead.has(a.Agent.DID()) {
			t.Errorf("the node that was killed lives %s", a.Agent.DID())
		}
	}
	if !all() {
		t.Error("an agent lives nowhere")
	}

	// Drained, and over all three: stopped, started, taken back.
	for i, p := range f.nodes {
		k := f.plan.Nodes[i]
		f.plan.Drain = []verifier.PublicKey{k}
		f.apply()
		took := f.until("the node is empty", func() bool {
			return !slices.ContainsFunc(p.agents(), func(a api.Agent) bool { return a.State == "alive" }) && all()
		})
		t.Logf("node %d is empty within %v", p.n, took.Round(10*time.Millisecond))
		p.stop()
		p.start("")
		f.plan.Drain = nil
		f.apply()
	}
	f.until("all agents live", all)
	time.Sleep(f.lease)
	positions, err := f.client.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	moves, takeovers := uint64(0), uint64(0)
	for _, e := range positions {
		moves, takeovers = moves+e.Position.Major, takeovers+e.Position.Generation
	}
	t.Logf("%d hand-overs, %d takeovers", moves, takeovers)
	if takeovers < 4 || moves < 10 {
		t.Errorf("%d hand-overs, %d takeovers", moves, takeovers)
	}
	f.judge()
}

// whole is all that the process said.
func (p *process) whole() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// TestNoResurrection kills a node whose agents do not all allow to be resurrected: those
// that do not, and those that no operator wants, stay where they are.
func TestNoResurrection(t *testing.T) {
	f := fleetOfProcesses(t, 3, 2*time.Second)
	f.bear(f.nodes[0], 1, true)
	f.bear(f.nodes[0], 1, false)
	yes, no := f.plan.Agents[0].Agent, f.plan.Agents[1].Agent
	f.apply()
	f.until("all agents live", func() bool { return len(f.where()) == 2 })
	f.until("its key is sealed", func() bool { s, err := f.client.Sealed(t.Context(), yes); return err == nil && len(s.Keys) == 3 })
	f.nodes[0].kill()
	f.until("one lives elsewhere", func() bool { return f.where()[yes.DID()] != nil })
	time.Sleep(3 * f.lease)
	if f.where()[no.DID()] != nil {
		t.Error("an agent was resurrected that does not allow it")
	}
	if _, err := f.client.Sealed(t.Context(), no); err == nil {
		t.Error("its key was sealed")
	}
}

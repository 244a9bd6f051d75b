package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/protocol"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// aFleet describes a fleet of processes that do not run, all of them members.
func aFleet(t testing.TB, nodes []*process) *fleet.Description {
	t.Helper()
	d := &fleet.Description{Name: "acme", Version: 1}
	for _, p := range nodes {
		d.Nodes = append(d.Nodes, fleetNode(t, p))
	}
	describe(t, d, nodes)
	return d
}

func fleetNode(t testing.TB, p *process) fleet.Node {
	key, err := verifier.ParseDID(p.did)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.Node{Key: key, Addresses: []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p.port)}, Member: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
}

func describe(t testing.TB, d *fleet.Description, nodes []*process) {
	t.Helper()
	for _, p := range nodes {
		if err := d.Write(filepath.Join(p.dir, fleet.FileDescription)); err != nil {
			t.Fatal(err)
		}
	}
}

// askAs returns a client of a fleet, as one of its nodes.
func askAs(t testing.TB, p *process, d *fleet.Description) *fleet.Client {
	t.Helper()
	key, err := runtime.NodeKey(filepath.Join(p.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	via := https.NewTransport(key)
	t.Cleanup(via.Close)
	c, err := fleet.New(fleet.Config{Members: d.Members(), Via: via, Attempt: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awaitStanding waits until all members but one that is down say the same: who leads, and
// who is a member.
func awaitStanding(t testing.TB, c *fleet.Client, down verifier.PublicKey, version uint64) {
	t.Helper()
	var last string
	for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(50 * time.Millisecond) {
		leaders, ok := map[verifier.PublicKey]bool{}, true
		last = ""
		for _, m := range c.Members {
			var s protocol.Standing
			s, err := c.Standing(t.Context(), m)
			last += fmt.Sprintf("%s: %+v %v\n", m.Address, s, err)
			if m.Key == down {
				ok = ok && err != nil
				continue
			}
			came := 0
			for _, o := range s.Members {
				if o.Came {
					came++
				}
			}
			ok = ok && err == nil && s.Version == version && came == len(c.Members) && s.Leader != down
			leaders[s.Leader] = true
		}
		if ok && len(leaders) == 1 && !leaders[verifier.PublicKey{}] {
			return
		}
	}
	t.Fatalf("the members do not agree:\n%s", last)
}

// bornAt bears an agent at a node that does not run, whose home is its folder.
func bornAt(t testing.TB, p *process, nodes []*process, name string) (did string) {
	t.Helper()
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, o := range nodes {
		allowed = append(allowed, o.did)
	}
	man, err := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": allowed}})
	if err != nil {
		t.Fatal(err)
	}
	return p.bear(filepath.Join(filepath.Dir(p.dir), name), "", runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e9, Price: 1000})
}

// awaitTick waits until an agent lives at a node and comes further than a tick.
func (p *process) awaitTick(did string, more uint64) (tick uint64) {
	p.t.Helper()
	first, seen := uint64(0), false
	for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(20 * time.Millisecond) {
		for _, a := range p.agents() {
			if a.DID != did || a.State != "alive" {
				continue
			}
			if !seen {
				first, seen = a.Tick, true
			}
			if a.Tick >= first+more {
				return a.Tick
			}
		}
	}
	p.t.Fatalf("the agent does not go on at node %d: %+v\n%s", p.n, p.agents(), p.tail())
	return 0
}

// TestFleetOfProcesses has three nodes be a fleet, kills each of them in turn, and two
// together: the agent goes on whenever a majority lives, and the members say what is true.
// Then a member whose disk is lost is replaced by a new one.
func TestFleetOfProcesses(t *testing.T) {
	nodes := processes(t, 4, func(i int, s map[string]any) { s["lease_duration"], s["tick_interval"] = "3s", "10ms" })
	fresh, nodes := nodes[3], nodes[:3]
	d := aFleet(t, nodes)
	begun := time.Now()
	say := func(what string) { t.Logf("%5.1f s: %s", time.Since(begun).Seconds(), what) }
	did := bornAt(t, nodes[0], nodes, "watcher")
	for _, p := range nodes {
		p.start("")
	}
	control, err := api.Dial(nodes[0].dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := control.Post(t.Context(), "/v1/add", api.Add{Folder: filepath.Join(filepath.Dir(nodes[0].dir), "watcher"), Fleet: true}, nil); err != nil {
		t.Fatal(err)
	}
	nodes[0].awaitTick(did, 20)
	c := askAs(t, nodes[1], d)
	awaitStanding(t, c, verifier.PublicKey{}, 1)
	agent, err := verifier.ParseDID(did)
	if err != nil {
		t.Fatal(err)
	}
	position, lease, err := c.ReadLease(t.Context(), agent)
	if err != nil || position.Owner != d.Nodes[0].Key || lease == 0 {
		t.Errorf("%+v, %v, %v", position, lease, err)
	}
	say("the fleet lives, and the agent in it")
	for _, i := range []int{1, 2} {
		nodes[i].kill()
		nodes[0].awaitTick(did, 20)
		awaitStanding(t, c, d.Nodes[i].Key, 1)
		nodes[i].start("")
		awaitStanding(t, c, verifier.PublicKey{}, 1)
	}
	say("two members died and came back, one after the other")
	// Its owner dies, and is there again: nothing of what was appended is lost.
	before := nodes[0].awaitTick(did, 20)
	position, err = c.Read(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].kill()
	awaitStanding(t, c, d.Nodes[0].Key, 1)
	nodes[0].start("")
	if after := nodes[0].awaitTick(did, 5); after+20 < before {
		t.Errorf("tick %d after %d", after, before)
	}
	if now, err := c.Read(t.Context(), agent); err != nil || now.Sequence <= position.Sequence {
		t.Errorf("append %d after %d, %v", now.Sequence, position.Sequence, err)
	}
	say("the owner died and came back")
	// Without a majority nothing is appended; with one it goes on.
	nodes[1].kill()
	nodes[2].kill()
	time.Sleep(500 * time.Millisecond)
	if _, err := c.Read(t.Context(), agent); err == nil {
		t.Error("one of three members answers for all")
	}
	nodes[1].start("")
	nodes[0].awaitTick(did, 20)

	say("two members died, and one came back")
	// The third one's disk is lost. As it is it does not come back; another one takes its
	// place, which asks for no new manifest.
	if err := os.RemoveAll(filepath.Join(nodes[2].dir, "member")); err != nil {
		t.Fatal(err)
	}
	path, _ := buildNode()
	if out, err := exec.CommandContext(t.Context(), path, "start", "--dir", nodes[2].dir, "--cache-dir", cache).CombinedOutput(); err == nil || !strings.Contains(string(out), "this member's data are gone") {
		t.Errorf("a member that lost its data starts: %v\n%s", err, out)
	}
	now := &fleet.Description{Name: d.Name, Version: 2, Nodes: append(append([]fleet.Node{}, d.Nodes[:2]...), fleetNode(t, fresh))}
	describe(t, now, []*process{nodes[0], nodes[1], fresh})
	fresh.start("") // it waits until it is expected
	for _, p := range nodes[:2] {
		p.stop()
		p.start("")
	}
	say("the members that stay have the new description")
	awaitStanding(t, askAs(t, nodes[1], now), verifier.PublicKey{}, 2)
	nodes[0].awaitTick(did, 20)
	say("the new member came")
	nodes[1].kill() // the new one counts
	nodes[0].awaitTick(did, 20)
	say("the agent goes on with it")
	for _, p := range []*process{nodes[0], fresh} {
		p.stop()
	}
	say("both are stopped")
	oneLife(t, filepath.Join(nodes[0].dir, "agents", "watcher"), agent, 0)
	say("it is one life, which runs again to the same states")
}

//go:build linux

package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/internal/netns"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestDemo is make demo-node: three nodes in three network namespaces. An agent goes from
// A to B by command, from there to whom is cheapest, and home again; a link is cut while it
// is handed over, and a node is killed while it owns the agent. At the end there is one
// life.
func TestDemo(t *testing.T) {
	if os.Getenv("NODE_DEMO") == "" {
		t.Skip("make demo-node runs it, in a minute")
	}
	network := netns.New(t, 3)
	nodes := processes(t, 3, func(i int, settings map[string]any) {
		settings["tick_interval"] = "20ms"
		settings["listen"] = []string{fmt.Sprintf("/ip4/%s/tcp/7447", network.Address(i))}
		settings["move_limit"] = "3s"
	})
	var allowed []string
	for i, p := range nodes {
		allowed = append(allowed, p.did)
		p.at = func(program string, args ...string) []string {
			return network.Command(i, program, args...).Args
		}
		var peers []string
		for j, o := range nodes {
			if j != i {
				peers = append(peers, fmt.Sprintf("%s /ip4/%s/tcp/7447", o.did, network.Address(j)))
			}
		}
		p.set("peers", peers)
	}
	a, b, c := nodes[0], nodes[1], nodes[2]
	name := map[*process]string{a: "A", b: "B", c: "C"}
	key, err := runtime.NodeKey(filepath.Join(a.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	man, _ := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": allowed}})
	e, err := runtime.NewEngine(runtime.EngineConfig{Log: testLog(t), NodeKey: key, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(filepath.Join(a.dir, "agents"), 0o700)
	r, err := e.Start(t.Context(), filepath.Join(a.dir, "agents", "watcher"), runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e9, Price: 1000}, runtime.Config{MaxTicks: 1}).Wait(t.Context())
	e.Close()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range nodes {
		p.start("")
		t.Logf("%s  %s  %s", name[p], network.Address(i), p.did)
	}
	t.Logf("the agent is %s", r.DID)
	lives := func(want *process) {
		t.Helper()
		if got := at(t, nodes, r.DID); want != nil && got != want {
			t.Fatalf("the agent lives at %s, and not at %s", name[got], name[want])
		}
	}
	go1 := func(from, to *process) {
		t.Helper()
		m, err := from.migrate(to, "watcher")
		if err != nil {
			t.Fatalf("%s -> %s: %v\n%s", name[from], name[to], err, from.tail())
		}
		t.Logf("%s -> %s: it stood still for %.0f ms", name[from], name[to], m.StoodMS)
		lives(to)
	}
	lives(a)
	go1(a, b)

	t.Log("B, which owns it, is killed")
	b.kill()
	time.Sleep(200 * time.Millisecond)
	b.start("")
	lives(b)

	t.Log("the link between B and C is cut while B hands it over to C")
	failed := make(chan error, 1)
	go func() { _, err := b.migrate(c, "watcher"); failed <- err }()
	time.Sleep(30 * time.Millisecond)
	if err := network.Split(1); err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-failed:
	case <-time.After(45 * time.Second):
		t.Fatal("the move does not end")
	}
	t.Logf("B says: %v", err)
	if err := network.Join(1); err != nil {
		t.Fatal(err)
	}
	now := at(t, nodes, r.DID)
	t.Logf("it is at %s", name[now])
	if now != c {
		go1(now, c)
	}
	go1(c, a)
	time.Sleep(300 * time.Millisecond)
	for _, p := range nodes {
		p.stop()
	}
	agent, err := verifier.ParseDID(r.DID)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(a.dir, "agents", "watcher")
	moves, err := runtime.Moves(dir)
	if err != nil {
		t.Fatal(err)
	}
	oneLife(t, dir, agent, int(moves))
	l, err := runtime.ReadLife(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("one life: tick %d, %d hand-overs that count, verified, run again, every receipt of every node accounted for", l.Tick, moves)
}

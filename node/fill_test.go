package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"igor.dev/node/keeper"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestFill has a life be scattered over the folders of three nodes, none of which leads to
// the genesis, and put together again.
func TestFill(t *testing.T) {
	a, b, c := newNode(t, 1, nil), newNode(t, 2, nil), newNode(t, 3, nil)
	meet(t, a, b, c)
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	man, _ := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "resurrect": true, "allowed_nodes": []string{did(1), did(2), did(3)}}})
	// So short that nothing of it is packed.
	whole := filepath.Join(t.TempDir(), "whole")
	r, err := a.engine.Start(t.Context(), whole, runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e9, Price: 1000}, runtime.Config{MaxTicks: 6, CheckpointEvery: runtime.Every{Ticks: 1}}).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent, err := verifier.ParseDID(r.DID)
	if err != nil {
		t.Fatal(err)
	}
	plan := keeper.Plan{Nodes: []verifier.PublicKey{publicKey(1), publicKey(2), publicKey(3)}, Agents: []keeper.PlannedAgent{{Agent: agent}}}
	for _, n := range []*aNode{a, b, c} {
		n.keeping = &upkeep{n: n.Node, plan: plan, number: 1}
	}

	// part has in a folder what of the life was from one tick to another one.
	part := func(dir string, from, to int) {
		t.Helper()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		for _, in := range []string{"history", "events"} {
			entries, _ := os.ReadDir(filepath.Join(dir, in))
			for _, e := range entries {
				if tick, err := strconv.Atoi(strings.SplitN(e.Name(), ".", 2)[0]); err == nil && (tick < from || tick > to) {
					os.Remove(filepath.Join(dir, in, e.Name()))
				}
			}
		}
		os.Remove(filepath.Join(dir, "key"))
	}
	dir := filepath.Join(t.TempDir(), "taken")
	part(dir, 6, 6)
	part(filepath.Join(b.dir, "left", "x-2"), 5, 6) // as it was left by B last
	part(filepath.Join(b.dir, "left", "x"), 2, 2)
	part(filepath.Join(c.dir, "left", "x"), 3, 3)
	part(filepath.Join(c.keeping.copyDir(agent), dirAgent), 4, 5)
	part(filepath.Join(a.dir, "left", "x"), 0, 1)
	hash := func(tick uint64) string {
		b, err := os.ReadFile(filepath.Join(whole, runtime.BlockFile(tick)))
		if err != nil {
			t.Fatal(err)
		}
		return digest(b)
	}
	mark := fmt.Sprintf(`{"genesis": %q, "checkpoint": %q}`, hash(0), hash(6))
	if err := os.WriteFile(filepath.Join(dir, "restored"), []byte(mark), 0o644); err != nil {
		t.Fatal(err)
	}

	putBack := func() bool {
		whole, err := runtime.PutBack(dir, a.keeping.copiesOf(agent)...)
		if err != nil {
			t.Fatal(err)
		}
		return whole
	}
	if a.keeping.fillFrom(dir, agent, plan.Nodes[:2], putBack) {
		t.Error("it is whole without C")
	}
	if !a.keeping.fillFrom(dir, agent, plan.Nodes, putBack) {
		t.Fatal("it is not whole")
	}
	replayed(t, dir, agent)

	// It is not for everybody.
	for _, n := range []*aNode{a, b, c} {
		n.keeping.plan.Nodes = plan.Nodes[:1]
	}
	if all := a.foldersAt(t.Context(), agent, b.public); len(all) != 1 {
		t.Errorf("B names %d folders beside the first", len(all))
	}
	if all := c.foldersAt(t.Context(), agent, b.public); len(all) > 0 {
		t.Errorf("B names %d folders to a node that is not in the desired state", len(all))
	}
}

package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestHysteresis has an agent wish more than its manifest lets it.
func TestHysteresis(t *testing.T) { everyHome(t, testHysteresis) }

func testHysteresis(t *testing.T, home *testHome) {
	a, b := newNode(t, 1, home.at), newNode(t, 2, home.at)
	meet(t, a, b)
	a.home = home.name
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	manifest := func(rest map[string]any) []byte {
		policy := map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2)}}
		for k, v := range rest {
			policy[k] = v
		}
		man, _ := json.Marshal(map[string]any{"migration_policy": policy})
		return man
	}
	a.bearWith("watcher", wasm, manifest(map[string]any{"max_moves_per_day": 1}))
	a.bearWith("saver", wasm, manifest(map[string]any{"min_saving_percent": 51}))
	a.bearWith("spender", wasm, manifest(map[string]any{"min_saving_percent": 50, "min_stay_ticks": 10}))
	a.bearWith("stayer", wasm, manifest(map[string]any{"min_stay_ticks": 1 << 40}))
	for _, name := range []string{"watcher", "saver", "spender", "stayer"} {
		a.awaitTicks(name, 2)
	}
	move := func(name string, from, to *aNode, own bool) error {
		_, err := from.Move(t.Context(), name, MoveConfig{To: []verifier.PublicKey{to.public}, Own: own})
		return err
	}
	if err := move("watcher", a, b, true); err != nil {
		t.Fatal(err)
	}
	b.awaitTicks("watcher", 2)
	if err := move("watcher", b, a, true); reasonOf(err) != "policy" {
		t.Errorf("a second time within a day: %v", err)
	}
	if err := move("watcher", b, a, false); err != nil {
		t.Errorf("its operator asks: %v", err)
	}
	// From one that costs 0.002 to one that costs 0.001, which saves 50%.
	for _, name := range []string{"saver", "spender"} {
		if err := move(name, a, b, true); err != nil {
			t.Fatalf("to a node that is dearer: %v", err)
		}
		b.awaitTicks(name, 12)
	}
	if err := move("saver", b, a, true); reasonOf(err) != "policy" || !strings.Contains(err.Error(), "51%") {
		t.Errorf("it saves too little: %v", err)
	}
	if err := move("spender", b, a, true); err != nil {
		t.Errorf("it saves enough: %v", err)
	}
	a.awaitTicks("spender", 1)
	if err := move("stayer", a, b, true); err != nil {
		t.Errorf("it was born here: %v", err)
	}
	b.awaitTicks("stayer", 1)
	if err := move("stayer", b, a, true); reasonOf(err) != "policy" {
		t.Errorf("it came a moment ago: %v", err)
	}
	b.Drain(time.Hour) // and nothing need be saved
	a.awaitTicks("saver", 1)
}

// TestDiverged has a node move an agent away whose ticks came to something else.
func TestDiverged(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	meet(t, a, b)
	agent := a.bear("watcher", 2)
	a.bear("homebody")
	a.awaitTicks("watcher", 2)
	at := a.awaitTicks("homebody", 2)
	a.placeOf("homebody").Diverged() // nobody takes it: it lives on
	p := a.placeOf("watcher")
	p.Diverged()
	p.Diverged()
	b.awaitTicks("watcher", 3)
	if next := a.awaitTicks("homebody", 3); next <= at {
		t.Error("the one that nobody takes lives no more")
	}
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
}

// TestPrice has an agent pay what its node costs, and nothing else, and refuses to add one
// whose manifest does not accept that.
func TestPrice(t *testing.T) {
	a := newNode(t, 4, nil)
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	born := func(name, man string) string {
		dir := filepath.Join(t.TempDir(), name)
		if _, err := a.engine.Start(t.Context(), dir, runtime.Birth{WASM: wasm, Manifest: []byte(man), Budget: 1e9, Price: 7}, runtime.Config{MaxTicks: 3}).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(a.dir, "added"), 0o700); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(a.dir, "added", name)
		if err := os.Rename(dir, to); err != nil {
			t.Fatal(err)
		}
		return to
	}
	if err := a.Add(born("miser", `{"migration_policy": {"max_price_per_second": 3999}}`), false); err == nil || !strings.Contains(err.Error(), "0.004000") || !strings.Contains(err.Error(), "0.003999") {
		t.Errorf("too dear: %v", err)
	}
	if err := a.Add(born("watcher", `{"migration_policy": {"max_price_per_second": 4000}}`), false); err != nil {
		t.Fatal(err)
	}
	a.awaitTicks("watcher", 15)
	a.mu.Lock()
	s := a.agents["watcher"]
	a.mu.Unlock()
	if _, _, err := s.Agent.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l, err := runtime.ReadLife(a.agentDir("watcher")); err != nil || l.Price != 4000 {
		t.Errorf("its newest checkpoint has the price %d, %v", l.Price, err)
	}
	if _, err := s.Agent.SetPrice(t.Context(), 5000); err == nil || s.Agent.Status().Price != 4000 {
		t.Errorf("it pays something else: %v", err)
	}
	if _, err := s.Agent.TopUp(t.Context(), 1); err != nil {
		t.Errorf("a top-up: %v", err)
	}
	a.awaitTicks("watcher", 2)
}

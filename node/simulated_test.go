package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/node/simulated"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestSimulated has an agent go round nodes on a simulated network, in simulated time.
func TestSimulated(t *testing.T) {
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	man, err := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2), did(3)}}})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		network := simulated.New(10 * time.Millisecond)
		defer network.Close()
		var all []*aNode
		for i := range 3 {
			all = append(all, newNode(t, byte(i+1), func(c *Config) {
				c.Listen, c.Network = []string{network.Address(i)}, network.Options()
				c.Agent = func(string) runtime.Config {
					return runtime.Config{TickInterval: time.Second, CheckpointEvery: runtime.Every{Time: time.Minute}}
				}
			}))
		}
		meet(t, all...)
		agent := all[0].bearWith("watcher", wasm, man)
		moves := 0
		for i := range 6 {
			time.Sleep(10 * time.Minute)
			from, to := all[i%3], all[(i+1)%3]
			if i == 2 { // a link that is cut costs time, and nothing else
				network.Cut(from.index(), to.index(), true)
				if _, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}}); err == nil {
					t.Fatal("it was handed over through a link that is cut")
				}
				network.Cut(from.index(), to.index(), false)
			}
			m, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}})
			if err != nil || !m.Arrived || m.Stood > time.Second {
				t.Fatalf("%+v, %v", m, err)
			}
			moves++
		}
		time.Sleep(time.Minute)
		for _, n := range all {
			n.stop()
		}
		dir := filepath.Join(all[0].dir, "agents", "watcher")
		oneLife(t, dir, agent, moves)
		if l, err := runtime.ReadLife(dir); err != nil || l.Tick < 3500 {
			t.Errorf("%+v, %v", l, err)
		}
		t.Logf("simulated: %v", time.Since(began).Round(time.Second))
	})
}

func (a *aNode) index() int { return int(a.n) - 1 }

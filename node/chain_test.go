package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestChain has an agent go round three nodes many times: NODE_MOVES says how many, and
// with NODE_STATE how many bytes its state has. It says how long an agent stands still,
// from its stop to its arrival, beside the time that the same bytes take over a stream.
func TestChain(t *testing.T) {
	moves, size := 9, 0
	if s := os.Getenv("NODE_MOVES"); s != "" {
		moves, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("NODE_STATE"); s != "" {
		size, _ = strconv.Atoi(s)
	}
	all := []*aNode{newNode(t, 1, nil), newNode(t, 2, nil), newNode(t, 3, nil)}
	meet(t, all...)
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	if size > 0 {
		if wasm, err = os.ReadFile("testdata/large.wasm"); err != nil {
			t.Skip(err)
		}
	}
	man, _ := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2), did(3)}}})
	agent := all[0].bearWith("watcher", wasm, man)
	var stood []time.Duration
	tick := uint64(0)
	for i := range moves {
		from, to := all[i%3], all[(i+1)%3]
		at := from.awaitTicks("watcher", 2)
		if at < tick {
			t.Fatalf("it went back from tick %d to %d", tick, at)
		}
		m, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}})
		if err != nil || !m.Arrived {
			t.Fatalf("move %d: %+v, %v", i+1, m, err)
		}
		tick = m.Tick
		stood = append(stood, m.Stood)
	}
	last := all[moves%3]
	last.awaitTicks("watcher", 2)
	last.stop()
	dir := filepath.Join(last.dir, "agents", "watcher")
	oneLife(t, dir, agent, moves)
	l, err := runtime.ReadLife(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(stood)
	t.Logf("%d moves, to tick %d: stood still for %v at the median, %v at the worst", moves, l.Tick, stood[len(stood)/2], stood[len(stood)-1])
}

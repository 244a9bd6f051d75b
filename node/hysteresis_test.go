package node

import (
	"os"
	"testing"

	"igor.dev/verifier"
)

// TestHysteresis has an agent wish more than its manifest lets it.
func TestHysteresis(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	meet(t, a, b)
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	man := []byte(`{"migration_policy": {"enabled": true, "allowed_nodes": ["` + did(1) + `", "` + did(2) + `"], "max_moves_per_day": 1}}`)
	a.bearWith("watcher", wasm, man)
	a.awaitTicks("watcher", 2)
	move := func(from, to *aNode, own bool) error {
		_, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}, Own: own})
		return err
	}
	if err := move(a, b, true); err != nil {
		t.Fatal(err)
	}
	b.awaitTicks("watcher", 2)
	if err := move(b, a, true); reasonOf(err) != "policy" {
		t.Errorf("a second time within a day: %v", err)
	}
	if err := move(b, a, false); err != nil {
		t.Errorf("its operator asks: %v", err)
	}
}

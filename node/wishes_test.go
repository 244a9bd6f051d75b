package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestWishes has an agent see where it may go, and go where it wishes.
func TestWishes(t *testing.T) {
	often := func(c *Config) { c.ScanEvery = 50 * time.Millisecond }
	a, b, c := newNode(t, 1, often), newNode(t, 2, often), newNode(t, 3, often)
	meet(t, a, b, c)
	agent := a.bear("watcher", 1, 2)
	a.awaitTicks("watcher", 2)
	o := a.outlookOf("watcher")
	var v runtime.NodeView
	for began := time.Now(); len(v.Offers) == 0; time.Sleep(10 * time.Millisecond) {
		if v = o.View(); time.Since(began) > 20*time.Second {
			t.Fatal("it sees no offer")
		}
	}
	if len(v.Offers) != 1 || v.Offers[0].Node != b.public || v.ID != a.public || v.Moving != runtime.NotAsked {
		t.Errorf("it sees %+v", v)
	}
	o.Wish(c.public) // which its manifest does not allow
	for began := time.Now(); o.View().Moving == runtime.Asked; time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("nothing came of it")
		}
	}
	if got := o.View().Moving; got != runtime.MoveNotAllowed {
		t.Errorf("to a node that is not allowed: %d", got)
	}
	o.Wish(b.public)
	b.awaitTicks("watcher", 2)
	if v := b.outlookOf("watcher").View(); v.ID != b.public {
		t.Errorf("there it sees %+v", v)
	}
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
}

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

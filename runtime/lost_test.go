package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// damage makes a checkpoint one that is damaged, and takes those after it away.
func damage(t *testing.T, dir string, tick uint64) {
	t.Helper()
	for _, s := range sights(t, dir) {
		file, err := filepath.Join(dir, "history", store.FileName(s.Tick)), error(nil)
		switch {
		case s.Tick > tick:
			err = os.Remove(file)
		case s.Tick == tick:
			err = os.WriteFile(file, []byte("damaged"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A seen is a checkpoint of a history.
type seen struct {
	tick uint64
	cid  string
}

func lineage(t *testing.T, dir string) (all []seen) {
	t.Helper()
	for _, s := range sights(t, dir) {
		all = append(all, seen{s.Tick, s.CID})
	}
	return all
}

// TestLostAndKilled loses the newest checkpoint of a life, after which more was
// recorded and money came in, and has the process end at each step while it is lived
// again, or be asked to. All of it is there afterwards.
func TestLostAndKilled(t *testing.T) {
	born := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	config := func(n, every uint64) settings {
		c := ticks(n, every)
		c.NodeKey = node
		return c
	}
	if _, err := Start(t.Context(), born, b, config(6, 3)); err != nil {
		t.Fatal(err)
	}
	const added = 77
	c := config(2, 0)
	c.TopUp = added
	if _, err := Resume(t.Context(), born, c); err != nil {
		t.Fatal(err)
	}
	was := lineage(t, born)
	damage(t, born, 6)

	stopped, stop := context.WithCancel(t.Context())
	stop()
	stride := 1
	if !*everyStep {
		stride = 7
	}
	steps := 0
	for n := 0; n <= steps; n += 1 + rand.IntN(2*stride-1) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir, disk := copyOf(t, born), waltest.NewDisk()
			c := config(1, 0)
			c.through = disk.Through
			disk.FailAt(n, waltest.Fault{Err: errPower})
			if _, err := Resume(t.Context(), dir, c); err != nil && !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			if n == 0 { // it is not killed, but asked to end while it lives again
				steps, _ = disk.Steps()
				dir = copyOf(t, born)
				if r, err := Resume(stopped, dir, config(1, 0)); err != nil || r.Reason != Stopped {
					t.Fatal(r, err)
				}
			}
			r, err := Resume(t.Context(), dir, config(1, 0))
			if err != nil {
				t.Fatal(err)
			}
			is := lineage(t, dir)
			if len(is) <= len(was) || !slices.Equal(is[:len(was)], was) {
				t.Errorf("it has %v, and had %v", is, was)
			}
			counts(t, dir)
			if cost, _ := accounts(t, dir); b.Budget+added != cost+r.Budget {
				t.Errorf("%d at first and %d added, and %d cost, %d left", b.Budget, added, cost, r.Budget)
			}
			if aside, _ := filepath.Glob(filepath.Join(dir, "events", "*.damaged.*")); len(aside) > 0 {
				t.Errorf("it set aside %s", aside)
			}
		})
	}
	if steps < 20 {
		t.Errorf("only %d steps", steps)
	}
}

// resumeAs has a life go on that takes another program for its own: what it was, if
// an engine had run it otherwise.
func resumeAs(t *testing.T, dir string, program []byte, c settings) {
	t.Helper()
	l, done := recovered(t, dir, program, c)
	defer done()
	if _, err := l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLostIsAnother has a lost checkpoint come out as another one when it is made
// again, as after a fault in the engine or the memory, with what was recorded after
// it: that is set aside, for it has another past, and the life goes on from the one
// that can be made again.
func TestLostIsAnother(t *testing.T) {
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	faulty := watcher("")
	faulty.Data = "fault"
	faulty.Funcs["agent_checkpoint"] = wasmtest.Func{Type: wasmtest.ToI32,
		Body: wasmtest.StoreI32(12, wasmtest.I32(wasmtest.DataAt)+"\x28\x02\x00") + wasmtest.I32(16)} // i32.load
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		receipts bool // were they given for what is lost?
		verdict  verifier.Verdict
	}{
		{"acknowledged", true, verifier.Incomplete},
		{"not acknowledged", false, verifier.Verified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := func(n, every uint64) settings {
				c := ticks(n, every)
				c.NodeKey = node
				return c
			}
			born := filepath.Join(t.TempDir(), "agent")
			if _, err := Start(t.Context(), born, b, config(3, 3)); err != nil {
				t.Fatal(err)
			}
			c := config(5, 3) // checkpoints of ticks 6 and 8
			if !tt.receipts {
				c.NodeKey = nil
			}
			resumeAs(t, born, faulty.Bytes(), c)
			was := lineage(t, born)
			damage(t, born, 6)

			steps, stride := 0, 1
			if !*everyStep {
				stride = 7
			}
			for n := 0; n <= steps; n += 1 + rand.IntN(2*stride-1) {
				dir, disk := copyOf(t, born), waltest.NewDisk()
				c := config(2, 1)
				c.through = disk.Through
				disk.FailAt(n, waltest.Fault{Err: errPower})
				if _, err := Resume(t.Context(), dir, c); err != nil && !errors.Is(err, errPower) {
					t.Fatalf("killed at step %d: %v", n, err)
				}
				if n == 0 {
					steps, _ = disk.Steps()
				}
				r, err := Resume(t.Context(), dir, config(1, 0))
				if err != nil {
					t.Fatalf("after step %d: %v", n, err)
				}
				is := lineage(t, dir)
				// Where half of its seal is written over the old one, it is not made.
				if len(is) < 3 || !slices.Equal(is[:2], was[:2]) || is[2].tick < 6 || is[2].tick > 7 || is[2] == was[2] {
					t.Errorf("step %d: it has %v, and had %v", n, is, was)
				}
				counts(t, dir)
				if got, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || got.Verdict != Replayed || got.Ticks != r.Tick {
					t.Errorf("step %d: run again it is %+v, %v", n, got, err)
				}
				for _, name := range []string{"0000000007.events", "0000000009.events"} {
					kept, err := os.ReadFile(filepath.Join(dir, "events", name+".damaged.1"))
					lost, lostErr := os.ReadFile(filepath.Join(born, "events", name))
					if err != nil || lostErr != nil || !bytes.Equal(kept, lost) {
						t.Errorf("step %d: %s is not set aside: %v", n, name, errors.Join(err, lostErr))
					}
				}
				want := len(is)
				if tt.receipts {
					want += 1 // the two that are lost have theirs, and the one that is there instead has none
				}
				if report := checkReceipts(t, dir); report.Verdict != tt.verdict || report.Executions != want {
					t.Errorf("step %d: of %d checkpoints the receipts are %+v", n, len(is), report)
				}
			}
			if steps < 20 {
				t.Errorf("only %d steps", steps)
			}
		})
	}
}

// checkReceipts holds the receipts in dir against its history.
func checkReceipts(t *testing.T, dir string) *receipt.Report {
	t.Helper()
	var c receipt.Checker
	b, err := os.ReadFile(filepath.Join(dir, "receipts"))
	if err != nil {
		t.Fatal(err)
	}
	for r := receipt.NewReader(bytes.NewReader(b)); ; {
		got, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.Add(got)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for b, err := range store.After(dir, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		finding := verifier.Examine(b)
		c.AddCheckpoint(&finding)
	}
	r, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

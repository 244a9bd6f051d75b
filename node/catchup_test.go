package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// seldom is a node whose agents make no checkpoint but those that are asked for.
func seldom(c *Config) {
	c.Agent = func(string) runtime.Config {
		return runtime.Config{TickInterval: 2 * time.Millisecond, CheckpointEvery: runtime.Every{Ticks: 1 << 40}}
	}
}

func ticksOf(t *testing.T, dir string) (all []uint64) {
	t.Helper()
	for b, err := range runtime.Blocks(dir) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := verifier.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c.TickNumber)
	}
	return all
}

// TestCatchUp has an agent move that made no checkpoint for long: what it lived since goes
// along while it lives on, and what it lives in the meantime alone while it stands still. A
// source of before nodes caught up does not know the question, and the agent moves too.
func TestCatchUp(t *testing.T) {
	for _, name := range []string{"this", "older", "refuses"} {
		t.Run(name, func(t *testing.T) {
			older := name != "this"
			a, b := newNode(t, 1, seldom), newNode(t, 2, seldom)
			meet(t, a, b)
			if older {
				a.serve(ProtocolHandOver, 64, 8, time.Minute, func(ctx context.Context, from verifier.PublicKey, c *conn) error {
					var raw json.RawMessage
					if err := wire.Read(c, &raw); err != nil {
						return err
					}
					var q wire.Ask
					if strict(raw, &q) == nil && q.Do == "head" {
						if name == "refuses" {
							return wire.Write(c, wire.Answer{State: wire.Refused, Reason: wire.Version, Detail: "head"})
						}
						return io.ErrNoProgress
					}
					var again bytes.Buffer
					wire.Write(&again, raw)
					return a.answerHandOver(ctx, from, &conn{Stream: &repeated{c.Stream, io.MultiReader(&again, c.Stream)}, until: c.until, silence: c.silence})
				})
			}
			agent := a.bear("watcher", 2)
			at := a.awaitTicks("watcher", 100)
			m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
			if err != nil || !m.Arrived {
				t.Fatalf("%+v, %v", m, err)
			}
			b.awaitTicks("watcher", 1)
			ticks := ticksOf(t, a.agentDir("watcher")) // of its birth and three ticks, and those of the move
			if caught := len(ticks) > 5; caught == older {
				t.Errorf("checkpoints of ticks %d: caught up %t", ticks, caught)
			}
			if !older && ticks[1] < at {
				t.Errorf("tick %d is the newest that went along before it stood still, and it had lived %d", ticks[1], at)
			}
			b.stop()
			oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
		})
	}
}

// A repeated stream gives again what was read of it.
type repeated struct {
	network.Stream
	from io.Reader
}

func (r *repeated) Read(b []byte) (int, error) { return r.from.Read(b) }

// TestHeads has a target ask how far the agent is without an end: it makes no more
// checkpoints than it pays for with a move. Whom it is not given to learns nothing, and where
// the move comes to nothing, the agent lives on as before.
func TestHeads(t *testing.T) {
	a := newNode(t, 1, nil)
	e, stranger := newEvil(t, 7), newEvil(t, 8)
	e.meets(a)
	stranger.meets(a)
	agent := a.bear("watcher", 7)
	a.awaitTicks("watcher", 3)
	ask := func(by *evil) (answered bool) {
		c := by.open(a, ProtocolHandOver)
		defer c.Reset()
		var h wire.Head
		return wire.Write(c, wire.Ask{Do: "head", Agent: agent.DID()}) == nil && wire.Read(c, &h) == nil && len(h.Head) == 64
	}
	var all sync.WaitGroup
	answers := 0
	all.Add(1)
	e.offers(nil)
	e.send(ProtocolHandOver, func(c *conn) {
		defer all.Done()
		var p wire.Propose
		if err := wire.Read(c, &p); err != nil {
			t.Error(err)
		}
		for range 2 * maxHeads {
			if ask(e) {
				answers++
			}
		}
		if ask(stranger) {
			t.Error("one that is not being given the agent has an answer")
		}
		wire.Write(c, wire.Answer{State: wire.Refused, Reason: wire.NoCapacity})
	})
	if ask(e) {
		t.Error("nobody gives the agent away, and it is answered")
	}
	_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{e.did}})
	all.Wait()
	if reasonOf(err) != wire.NoCapacity || answers != maxHeads {
		t.Errorf("%v, and %d answers", err, answers)
	}
	packed := func() int {
		all, _ := filepath.Glob(filepath.Join(a.agentDir("watcher"), "history", "*.car"))
		return len(all)
	}
	// It is packed again.
	a.awaitTicks("watcher", 3)
	for began := time.Now(); packed() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("nothing is packed any more")
		}
	}
}

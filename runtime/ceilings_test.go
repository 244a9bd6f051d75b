package runtime

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/runtime/internal/wasmtest"
)

// grower takes so many pages of memory in each tick from its third on.
func grower(pages int32) wasmtest.Agent {
	return wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(3, wasmtest.I32(pages)+"\x40\x00"+wasmtest.Drop) + wasmtest.I32(1)},
	}}
}

// TestCeilingMemory has one agent that takes more and more memory beside some that do
// not. It is stopped, with its reason, and they are not. It has its last checkpoint if it
// took little in its last tick; that tick is broken off if it took much.
func TestCeilingMemory(t *testing.T) {
	t.Run("little", func(t *testing.T) {
		greedy := testCeilingMemory(t, 4)
		if s := sights(t, greedy.Dir()); s[len(s)-1].Tick != greedy.Status().Tick {
			t.Errorf("it has no last checkpoint: %+v", s)
		}
	})
	t.Run("much", func(t *testing.T) {
		greedy := testCeilingMemory(t, 300)
		r, err := Resume(t.Context(), greedy.Dir(), ticks(1, 1))
		if err != nil || r.Tick != greedy.Status().Tick+1 {
			t.Errorf("where there is room it goes on to %+v, %v", r, err)
		}
	})
}

func testCeilingMemory(t *testing.T, pages int32) (greedy *Agent) {
	c := quiet()
	c.TickInterval = time.Millisecond
	c.Ceilings.Memory = 8 << 20
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	tmp := t.TempDir()
	var modest []*Agent
	for i := range 4 {
		modest = append(modest, e.Start(context.Background(), filepath.Join(tmp, fmt.Sprint(i)), birth(wasmtest.Agent{}), c.Config))
	}
	greedy = e.Start(context.Background(), filepath.Join(tmp, "greedy"), birth(grower(pages)), c.Config)
	_, err = greedy.Wait(t.Context())
	var full *CeilingError
	if !errors.As(err, &full) || full.Ceiling != CeilingMemory || !errors.Is(err, ErrCeiling) || !Temporary(err) {
		t.Fatalf("got %v", err)
	}
	for _, a := range modest {
		was := a.Status().Tick
		for deadline := time.Now().Add(time.Minute); a.Status().Tick < was+3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("one of the others does not go on: %+v", a.Status())
			}
		}
	}
	if all := e.Ceilings(); all[0].Used > all[0].Limit || all[0].Used == 0 || all[0].Refused != 1 {
		t.Errorf("got %+v", all[0])
	}
	return greedy
}

// TestCeilingMemoryShares takes memory for agents, of which one has most.
func TestCeilingMemoryShares(t *testing.T) {
	type take struct {
		agent        int // 0 has 600, 1 and 2 have 100; -1 = it is not known which
		needs, likes uint64
		got          uint64
		stopped      [3]bool
	}
	none, big, two := [3]bool{}, [3]bool{true}, [3]bool{false, true}
	for name, takes := range map[string][]take{
		"room for what it likes":           {{1, 100, 200, 200, none}},
		"room for what it needs":           {{1, 100, 300, 100, none}},
		"the one that has most is stopped": {{0, 201, 201, 201, big}, {0, 200, 200, 0, big}},
		"it and not the one that asks":     {{1, 300, 600, 300, big}, {0, 100, 100, 0, big}, {2, 100, 100, 100, big}},
		"one that wants more than all":     {{1, 700, 700, 0, two}, {0, 200, 200, 200, two}},
		"of whom it is not known":          {{-1, 300, 300, 300, big}, {-1, 100, 100, 0, big}},
		"one that leaves too little":       {{1, 450, 450, 450, big}, {2, 451, 451, 0, [3]bool{true, false, true}}},
	} {
		e := &Engine{agents: map[*Agent]bool{}}
		e.ceilings.limits.Memory = 1000
		var agents [3]*Agent
		for i, has := range []int64{600, 100, 100} {
			agents[i] = &Agent{cancel: func() {}}
			agents[i].memory.Store(has)
			e.agents[agents[i]] = true
			e.ceilings.memory.Add(has)
		}
		for i, want := range takes {
			m := memoryOf{engine: e}
			if want.agent >= 0 {
				m.agent = agents[want.agent]
			}
			got := want
			got.got = m.Take(want.needs, want.likes)
			for i, a := range agents {
				got.stopped[i] = a.why.Load() != nil
			}
			if got != want {
				t.Errorf("%s, %d: got %+v, want %+v", name, i, got, want)
			}
		}
	}
}

// TestCeilingRefuses has engines that have no room for one agent more.
func TestCeilingRefuses(t *testing.T) {
	other := wasmtest.Agent{Data: "another program"}
	for name, ceilings := range map[string]Ceilings{
		CeilingCode:  {Code: int64(len(wasmtest.Agent{}.Bytes()) + 10)},
		CeilingFiles: {Files: filesOwn + filesEach},
	} {
		c := quiet()
		c.TickInterval, c.Ceilings = time.Millisecond, ceilings
		e, err := c.engine()
		if err != nil {
			t.Fatal(err)
		}
		tmp := t.TempDir()
		first := e.Start(context.Background(), filepath.Join(tmp, "first"), birth(wasmtest.Agent{}), c.Config)
		first.awaitAlive()
		_, err = e.Start(t.Context(), filepath.Join(tmp, "second"), birth(other), c.Config).Wait(t.Context())
		var full *CeilingError
		if !errors.As(err, &full) || full.Ceiling != name || !Temporary(err) {
			t.Errorf("%s: got %v", name, err)
		}
		for _, one := range e.Ceilings() {
			if want := uint64(0); one.Refused != want && one.Name != name || one.Name == name && one.Refused != 1 {
				t.Errorf("%s: %+v", name, one)
			}
		}
		if _, err := first.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := Start(t.Context(), filepath.Join(tmp, "second"), birth(other), ticks(1, 0)); err != nil {
			t.Errorf("%s: something is left of the one that was refused: %v", name, err)
		}
		e.Close()
	}
}

// TestRate has one that does a hundred times as much as others: it waits, until all
// together do no more than they may, and they do not wait.
func TestRate(t *testing.T) {
	r := rate{limit: 100}
	greedy := &Agent{}
	var modest []*Agent
	for range 4 {
		modest = append(modest, &Agent{})
	}
	for _, a := range modest {
		r.count(a, 5)
	}
	if p := r.pause(modest[0]); p != 0 {
		t.Errorf("below the limit, one waits %v", p)
	}
	r.count(greedy, 500)
	if p := r.pause(greedy); p < 500*time.Millisecond || p > time.Second {
		t.Errorf("the one that does too much waits %v", p)
	}
	for _, a := range modest {
		if p := r.pause(a); p != 0 {
			t.Errorf("another waits %v", p)
		}
	}
	r.those[greedy].at = r.those[greedy].at.Add(-5 * time.Second)
	r.all.at = r.all.at.Add(-5 * time.Second)
	if p := r.pause(greedy); p != 0 {
		t.Errorf("five seconds later, it waits %v", p)
	}
	r.leave(greedy)
	if len(r.those) != 4 || (&rate{}).pause(greedy) != 0 {
		t.Error("one that left is there, or one waits without a limit")
	}
}

// TestCeilingBytes has an agent that writes as fast as it can under a ceiling, and one
// that hardly does anything. What it observes and what replay comes to is the same.
func TestCeilingBytes(t *testing.T) {
	c := quiet()
	c.CheckpointEvery.Ticks = 1
	c.Ceilings.BytesPerSecond = 20_000
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	its := c.Config
	its.MaxTicks = 60
	began := time.Now()
	if _, err := e.Start(t.Context(), dir, b, its).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	waited := time.Duration(0)
	for _, one := range e.Ceilings() {
		if one.Name == CeilingBytes {
			waited = one.Waited
		}
	}
	if waited == 0 || waited > time.Since(began) {
		t.Errorf("it waited %v of %v", waited, time.Since(began))
	}
	if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
		t.Errorf("%+v, %v", r, err)
	}
}

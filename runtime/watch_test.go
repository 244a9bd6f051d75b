package runtime

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime/internal/wasmtest"
)

func TestHealth(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name string
		s    Status
		want string // "" = healthy
	}{
		{"ticking", Status{Phase: Ticking, Since: ago(time.Second), Due: now.Add(14 * time.Second)}, ""},
		{"a tick at its limit", Status{Phase: Ticking, Since: ago(17 * time.Second), Due: ago(2 * time.Second)}, ""},
		{"a tick that hangs", Status{Phase: Ticking, Tick: 7, Since: ago(30 * time.Second), Due: ago(15 * time.Second)}, "stalled after tick 7: ticking for 30s"},
		{"a long wait", Status{Phase: Waiting, Since: ago(time.Hour), Due: now.Add(time.Hour)}, ""},
		{"a wait that does not end", Status{Phase: Waiting, Tick: 3, Since: ago(time.Minute), Due: ago(50 * time.Second)}, "stalled after tick 3: waiting for 1m0s"},
		{"a disk that hangs", Status{Phase: Saving, Tick: 9, Since: ago(2 * time.Minute), Due: ago(time.Minute)}, "stalled after tick 9: saving for 2m0s"},
		{"a long recovery", Status{Phase: Recovering, Since: ago(time.Hour), CheckpointDue: ago(time.Hour)}, ""},
		{"a long replay", Status{Phase: Replaying, Since: ago(time.Hour), CheckpointDue: ago(time.Hour)}, ""},
		{"a checkpoint that waits for a tick", Status{Phase: Ticking, Due: now, CheckpointDue: ago(10 * time.Second)}, ""},
		{"a checkpoint that does not come", Status{Phase: Ticking, Due: now, Tick: 5, Saved: 2, CheckpointDue: ago(time.Minute)},
			"the checkpoint is overdue by 1m0s: the newest is of tick 2, and tick 5 is over"},
	} {
		err := c.s.Health(now)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// watched runs an agent that fails at its fifth tick, and returns what it was told.
func watched(t *testing.T, run func(c settings) (Result, error)) (all []Status, err error) {
	c := ticks(9, 3)
	c.TickInterval, c.CheckpointEvery.Time = 1, time.Hour
	c.Watch = func(s Status) { all = append(all, s) }
	_, err = run(c)
	return all, err
}

func TestWatch(t *testing.T) {
	fails := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(4, wasmtest.Unreachable) + wasmtest.I32(1)},
	}}
	dir := filepath.Join(t.TempDir(), "agent")
	say := func(all []Status) string {
		var b strings.Builder
		for _, s := range all {
			due := ""
			if !s.CheckpointDue.IsZero() {
				due = "!"
			}
			fmt.Fprintf(&b, "%s %d/%d%s ", s.Phase, s.Tick, s.Saved, due)
			if s.DID == "" || s.Since.IsZero() || s.Due.IsZero() != (s.Phase == Recovering) || s.SavedAt.IsZero() || s.Price != 1000 {
				t.Errorf("told %+v", s)
			}
		}
		return strings.TrimSpace(b.String())
	}
	first, err := watched(t, func(c settings) (Result, error) { return Start(t.Context(), dir, birth(fails), c) })
	if err == nil {
		t.Fatal("it did not fail")
	}
	if got, want := say(first), "ticking 0/0 waiting 1/0! ticking 1/0! waiting 2/0! ticking 2/0! saving 3/0! waiting 3/3 ticking 3/3 waiting 4/3! ticking 4/3!"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	if s := first[len(first)-1]; s.Ticks != 4 || s.Checkpoints != 2 || s.SavedBytes == 0 || s.SaveTime <= 0 || s.TickTime <= 0 || s.Budget != 1_000_000-s.TickCost {
		t.Errorf("told %+v at last", s)
	}
	second, err := watched(t, func(c settings) (Result, error) { return Resume(t.Context(), dir, c) })
	if err == nil {
		t.Fatal("it did not fail")
	}
	if got, want := say(second), "ticking 5/5"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	if s := second[len(second)-1]; s.Ticks != 0 || s.Saved != 5 || s.Health(time.Now()) != nil {
		t.Errorf("told %+v at last", s)
	}

	// One of which the newest checkpoint is lost: its ticks are lived again.
	lost := filepath.Join(t.TempDir(), "lost")
	if _, err := Start(t.Context(), lost, birth(wasmtest.Agent{}), ticks(5, 3)); err != nil {
		t.Fatal(err)
	}
	damage(t, lost, 5)
	third, err := watched(t, func(c settings) (Result, error) {
		c.MaxTicks = 1
		return Resume(t.Context(), lost, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := say(third), "recovering 3/3 recovering 4/3! saving 5/3! ticking 5/"; !strings.HasPrefix(got, want) {
		t.Errorf("told %s, want %s…", got, want)
	}
}

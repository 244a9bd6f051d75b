package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/runtime"
)

// TestCosts holds what inspect counts in the event log against what the run
// counted while it went, for agents that use most capabilities.
func TestCosts(t *testing.T) {
	_, u := newCounter(t, time.Millisecond)
	for name, run := range map[string][]string{
		"actor":    {actor(t, u, "unsafe"), "--pay-at=" + u.String() + "/pay"},
		"observer": {filepath.Join(agents(t), "observer.wasm")},
	} {
		dir := filepath.Join(t.TempDir(), name)
		out, err := igor(t, append(append([]string{"run"}, run...), "--dir", dir, "--ticks=9", "--tick-interval=0", "--checkpoint-every=4", "--budget=9", "--price=1", "--json")...).Output()
		var r struct {
			Budget    int64 `json:"budgetMicrocents,string"`
			Hostcalls []runtime.Usage
		}
		if err == nil {
			err = json.Unmarshal(out, &r)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		out, err = igor(t, "inspect", dir, "--json").Output()
		var found struct {
			Costs struct{ Interval, Life runtime.Costs }
		}
		if err == nil {
			err = json.Unmarshal(out, &found)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		life, spent := found.Costs.Life, int64(0)
		if life.Ticks != 9 || life.Intervals != 4 || len(life.Missing) != 0 || life.Added != 9_000_000 || life.Added-life.TimeCost-life.Spent != r.Budget {
			t.Errorf("%s: the life cost %+v, and the budget is %d", name, life, r.Budget)
		}
		if in := found.Costs.Interval; in.Ticks != 1 || in.FirstTick != 9 || in.LastTick != 9 {
			t.Errorf("%s: the interval cost %+v", name, in)
		}
		if len(r.Hostcalls) == 0 || len(life.Hostcalls) != len(r.Hostcalls) {
			t.Errorf("%s: the life has %+v, and the run %+v", name, life.Hostcalls, r.Hostcalls)
		}
		for _, h := range life.Hostcalls {
			spent += h.Spent
			same := false
			for _, u := range r.Hostcalls {
				same = same || u.Capability == h.Capability && u.Calls == h.Calls && u.Bytes == h.Bytes
			}
			if !same {
				t.Errorf("%s: %s costs %+v, and the run counted %+v", name, h.Capability, h, r.Hostcalls)
			}
		}
		if spent != life.Spent || name == "actor" && spent == 0 {
			t.Errorf("%s: hostcalls spent %d of %d", name, spent, life.Spent)
		}
	}
}

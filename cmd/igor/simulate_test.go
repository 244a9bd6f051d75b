package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCostInAdvance has simulate and inspect say what ticks use and cost, before
// anybody pays for them.
func TestCostInAdvance(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "life")
	args := []string{"simulate", filepath.Join(agents(t), "returner.wasm"), "--manifest", filepath.Join(agents(t), "returner.manifest.json"),
		"--ticks=12", "--price=1000", "--budget=100", "--quiet"}
	out, err := igor(t, append(args, "--dir", dir)...).Output()
	text := regexp.MustCompile(`(?m)^fuel    [0-9,]+ units a tick, at most [0-9,]+ units \(tick [0-9]+\)\ncost    [0-9.]+ for its ticks, at 1000.000000 for 10\^9 units$`)
	if err != nil || !text.Match(out) {
		t.Errorf("simulate: %v\n%s", err, out)
	}
	b, err := igor(t, append(args, "--json")...).Output()
	var r struct {
		Costs struct {
			Ticks, Fuel, MostFuel, TimeMicrocents int64 `json:",string"`
		}
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err, string(b))
	}
	if c := r.Costs; err != nil || c.Ticks != 12 || c.Fuel <= 0 || c.MostFuel*c.Ticks < c.Fuel || c.TimeMicrocents != c.Fuel {
		t.Errorf("simulate --json: %v, %+v", err, c) // at this price a unit costs a microcent
	}
	out, err = igor(t, "inspect", dir).Output()
	if err != nil || strings.Count(string(out), " units") != 4 {
		t.Errorf("inspect: %v\n%s", err, out)
	}
}

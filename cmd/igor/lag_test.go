package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"igor.dev/archive"
	"igor.dev/runtime"
)

// TestLag: an operator sees how far an archive and a log are behind, since when, and why.
func TestLag(t *testing.T) {
	now := time.Now()
	hours := now.Add(-3*time.Hour - time.Minute)
	for _, c := range []struct {
		name    string
		witness *runtime.WitnessStatus
		archive archive.Status
		status  []string // in igor status
		ls      []string // in igor ls, nil = it says nothing
	}{
		{"all is well", &runtime.WitnessStatus{Tick: 120, Time: now.Add(-40 * time.Second), Behind: 8, Since: now.Add(-5 * time.Second)}, archive.Status{Target: "/mnt/lives", Tick: 100, Segments: 2, Behind: 3, BytesBehind: 2048},
			[]string{"/mnt/lives: final to tick 100, in 2 segments; behind 3 checkpoints, 2.0K", "logged to tick 120, 40s ago; behind 8 ticks"}, nil},
		{"nothing is witnessed", nil, archive.Status{Target: "/mnt/lives"}, []string{"/mnt/lives: final nothing yet"}, nil},
		{"a target and a log are down", &runtime.WitnessStatus{Tick: 7, Behind: 900, Error: "connection refused", Since: hours}, archive.Status{Target: "/mnt/lives", Behind: 900, BytesBehind: 1 << 20, Error: "no space left", Since: hours},
			[]string{"behind 900 checkpoints, 1.0M; failing for 3h", "no space left", "logged to tick 7, by a run before this one; behind 900 ticks, waiting for 3h", "connection refused"},
			[]string{"failing for 3h", "no space left", "witness: logged to tick 7", "waiting for 3h", "connection refused"}},
		{"too few witnesses cosign, and the log says nothing", &runtime.WitnessStatus{Behind: 900, Since: hours}, archive.Status{Target: "/mnt/lives"},
			[]string{"nothing logged yet; behind 900 ticks, waiting for 3h"}, []string{"witness: nothing logged yet; behind 900 ticks, waiting for 3h"}},
	} {
		live := &runtime.Status{Phase: runtime.Ticking, Tick: 1, Witness: c.witness}
		o := runtime.Overview{Folder: "watcher", State: runtime.StateAlive, Live: live, CID: "bafkrei", Archive: []archive.Status{c.archive}}
		var b bytes.Buffer
		if err := writeDetails(&b, &runtime.Details{Overview: o}, now); err != nil {
			t.Fatal(err)
		}
		status := b.String()
		b.Reset()
		if err := writeOverviews(&b, []runtime.Overview{o}, now); err != nil {
			t.Fatal(err)
		}
		ls := b.String()
		flat := func(s string) string { return strings.Join(strings.Fields(s), " ") }
		for _, want := range c.status {
			if !strings.Contains(flat(status), want) {
				t.Errorf("%s: %q is not in\n%s", c.name, want, status)
			}
		}
		for _, want := range c.ls {
			if !strings.Contains(flat(ls), want) {
				t.Errorf("%s: %q is not in\n%s", c.name, want, ls)
			}
		}
		if c.ls == nil && strings.Count(ls, "\n") != 2 {
			t.Errorf("%s: igor ls says\n%s", c.name, ls)
		}
		for _, line := range strings.Split(status+ls, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: %d columns: %s", c.name, len(line), line)
			}
		}
	}
}

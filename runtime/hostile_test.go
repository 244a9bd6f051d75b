package runtime

import (
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
)

// TestFloodedLife runs agents that live for three ticks and then want too much.
// The error names the cause, and the life up to there stays whole: it verifies,
// it is the same when run again, and it goes on to the same end.
func TestFloodedLife(t *testing.T) {
	const capabilities = `"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}, "kv": {"version": 1}}`
	clock := wasmtest.Call(0) + wasmtest.Drop
	random := wasmtest.I32(1<<16) + wasmtest.I32(1<<20) + wasmtest.Call(1) + wasmtest.Drop
	line := wasmtest.I32(0) + wasmtest.I32(4096) + wasmtest.Call(2)
	value := wasmtest.I32(wasmtest.CountAt) + wasmtest.I32(4) + wasmtest.I32(1<<16) + wasmtest.I32(1<<20) + wasmtest.Call(3) + wasmtest.Drop
	for _, tt := range []struct{ name, limits, body, want string }{
		{"a million hostcalls", "", wasmtest.Repeat(1_000_000, clock), "clock_now: more than 100000 hostcalls in one call"},
		{"a gigabyte of randomness", "", wasmtest.Repeat(1024, random), "rand_bytes: more than 67108864 bytes through hostcalls in one call"},
		{"a million lines", "", wasmtest.Repeat(1_000_000, line), "log_emit: more than 100000 hostcalls in one call"},
		{"lines", "", wasmtest.Repeat(5_000, line), ""},
		{"a huge store", "", wasmtest.Repeat(20, value), ""},
		{"no store", `"max_storage_bytes": 1000`, wasmtest.Repeat(20, value), ""},
		{"memory", `"max_memory_bytes": 3145728`, wasmtest.Exhaust + wasmtest.Unreachable, "unreachable"},
		{"time", `"max_tick_ms": 100`, wasmtest.Forever, "it took longer than 100ms"},
	} {
		b := birth(wasmtest.Agent{
			Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit, wasmtest.KVPut},
			Pages:   40,
			Funcs:   map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(3, tt.body) + wasmtest.I32(1)}},
		})
		b.Manifest = []byte("{" + capabilities + `, "resource_limits": {` + tt.limits + "}}")
		b.Budget, b.Price = 1, 0
		dir := filepath.Join(t.TempDir(), "agent")
		check := func(err error) {
			t.Helper()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "agent failed after tick 3: agent_tick failed: "+tt.want)) {
				t.Errorf("%s: got error %v, want %q", tt.name, err, tt.want)
			}
			if counts(t, dir); t.Failed() {
				return
			}
			r, err := Replay(t.Context(), dir, replayConfig(dir, b))
			if err != nil || r.Verdict != Replayed {
				t.Errorf("%s: replayed: got %+v, %v", tt.name, r, err)
			}
		}
		_, err := Start(t.Context(), dir, b, ticks(4, 2))
		check(err)
		_, err = Resume(t.Context(), dir, ticks(2, 2))
		check(err)
	}
}

// TestStateLimit checks that a state over the manifest's limit is in no history.
func TestStateLimit(t *testing.T) {
	b := birth(wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: "\x41\x00\x28\x02\x00" + wasmtest.I32(8) + "\x6a"}, // i32.load(0) + 8
	}})
	b.Manifest = []byte(`{"resource_limits": {"max_state_bytes": 10}}`)
	dir := filepath.Join(t.TempDir(), "agent")
	_, err := Start(t.Context(), dir, b, ticks(9, 1))
	if err == nil || !strings.Contains(err.Error(), "agent failed after tick 3: agent_checkpoint failed: its state has 11 bytes, and may have 10") {
		t.Errorf("got error %v", err)
	}
	if got := counts(t, dir); len(got) != 3 {
		t.Errorf("checkpoints at %v", got)
	}
}

// TestHostcallCosts checks that what an agent calls is counted, by capability.
func TestHostcallCosts(t *testing.T) {
	b := birth(watcher(wasmtest.I32(0) + wasmtest.I32(5) + wasmtest.Call(1)))
	b.Manifest = []byte(watching)
	c := ticks(7, 3)
	c.Replay.Mode = ReplayFull // what is run again costs nothing
	r, err := Start(t.Context(), filepath.Join(t.TempDir(), "agent"), b, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Hostcalls) != 2 || r.Hostcalls[0].Capability != "clock" || r.Hostcalls[0].Calls != 7 || r.Hostcalls[0].Bytes != 56 ||
		r.Hostcalls[1].Capability != "log" || r.Hostcalls[1].Calls != 7 || r.Hostcalls[1].Bytes != 35 {
		t.Errorf("got %+v", r.Hostcalls)
	}
}

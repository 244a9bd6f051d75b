package runtime

import (
	"fmt"
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
		{"time", `"max_tick_ms": 100`, wasmtest.Forever, "it used up its fuel, 100000000 units"},
	} {
		b := birth(wasmtest.Agent{
			Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit, wasmtest.KVPut},
			Pages:   40,
			Funcs:   map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(3, tt.body) + wasmtest.I32(1)}},
		})
		b.Manifest = []byte("{" + capabilities + `, "resource_limits": {` + tt.limits + "}}")
		b.Budget, b.Price = 1, 0
		dir := filepath.Join(t.TempDir(), "agent")
		check := func(tick int, err error) {
			t.Helper()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("agent failed after tick %d: agent_tick failed: %s", tick, tt.want))) {
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
		check(3, err)
		_, err = Resume(t.Context(), dir, ticks(2, 2))
		check(4, err)
	}
}

// TestOutOfRangeLife has an agent that calls every hostcall with pointers and lengths
// that are not in its memory, in each of its ticks. It lives, and nothing else comes of it.
func TestOutOfRangeLife(t *testing.T) {
	body := wasmtest.Count
	for i, im := range wasmtest.Hostcalls {
		for _, values := range [][2]int32{{-4, 8}, {8, -4}, {1 << 16, 1}, {1<<16 - 1, 2}, {-1, -1}, {-1 << 31, 0}} {
			for shift := range 2 { // a pointer and its length, in either order
				for n, param := range im.Type.Params() {
					if param == 'I' {
						body += wasmtest.I64(int64(values[0]))
					} else {
						body += wasmtest.I32(values[(n+shift)%2])
					}
				}
				if body += wasmtest.Call(i); im.Type != wasmtest.I32I32 {
					body += wasmtest.Drop
				}
			}
		}
	}
	b := birth(wasmtest.Agent{Imports: wasmtest.Hostcalls, Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: body + wasmtest.I32(1)},
	}})
	b.Manifest = []byte(`{"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}, "kv": {"version": 1},
		"wallet": {"version": 1}, "pricing": {"version": 1}, "node": {"version": 1}, "http": {"version": 1, "options": {"allowed_hosts": ["api.example.com"]}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["bob"], "max_payment_microcents": 100}}}}`)
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, b, ticks(3, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), dir, ticks(3, 2)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(counts(t, dir)); got != "[0 2 3 5 6]" {
		t.Errorf("checkpoints at %s", got)
	}
	if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
		t.Errorf("run again it is %+v, %v", r, err)
	}
	if effects, err := Effects(t.Context(), dir); err != nil || len(effects) > 0 {
		t.Errorf("it did %+v outside, %v", effects, err)
	}
}

// TestTrapsLater has agents that are born well, and trap from the fourth tick on in a
// call of their checkpoint. What was durable before stays whole, and so it does when they
// go on to the next one.
func TestTrapsLater(t *testing.T) {
	const trap = "\x04\x40\x00\x0b"                                  // if unreachable end
	late := func(size string) string { return size + "\x4a" + trap } // i32.gt_s
	tick := wasmtest.I32(0) + "\x28\x02\x00" + wasmtest.I32(3)       // i32.load 0, 3
	for name, f := range map[string]wasmtest.Func{
		"agent_checkpoint":     {Type: wasmtest.ToI32, Body: late(tick) + wasmtest.I32(8)},
		"agent_checkpoint_ptr": {Type: wasmtest.ToI32, Body: late(tick) + wasmtest.I32(0)},
		"agent_resume": {Type: wasmtest.I32I32, Body: late("\x20\x00\x28\x02\x00"+wasmtest.I32(3)) + // i32.load local 0
			wasmtest.I32(0) + "\x20\x00\x20\x01\xfc\x0a\x00\x00"}, // memory.copy
		"malloc": {Type: wasmtest.I32ToI32, Body: late("\x20\x00"+wasmtest.I32(8+3)) + wasmtest.I32(4096)},
	} {
		agent := wasmtest.Agent{Funcs: map[string]wasmtest.Func{name: f}}
		if name == "malloc" { // a state that is longer in each tick
			agent.Funcs["agent_checkpoint"] = wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.I32(0) + "\x28\x02\x00" + wasmtest.I32(8) + "\x6a"}
		}
		dir, b := filepath.Join(t.TempDir(), "agent"), birth(agent)
		_, err := Start(t.Context(), dir, b, ticks(9, 2))
		for tick := 4; tick < 6; tick++ { // the ticks that were lived are kept
			if want := fmt.Sprintf("agent failed after tick %d: %s failed: unreachable", tick, name); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want %s", err, want)
			}
			if got := fmt.Sprint(counts(t, dir)); got != "[0 2]" {
				t.Errorf("%s: checkpoints at %s", name, got)
			}
			if r, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || r.Verdict != Replayed {
				t.Errorf("%s: run again it is %+v, %v", name, r, err)
			}
			_, err = Resume(t.Context(), dir, ticks(9, 2))
		}
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

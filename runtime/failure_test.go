package runtime

import (
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
)

// TestFailedTick has an agent that traps in every second tick, by a random byte.
// A tick that failed has observed nothing: lived again, it may go well, and what
// was over before it stays.
func TestFailedTick(t *testing.T) {
	agent := wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.RandBytes},
		Funcs: map[string]wasmtest.Func{
			// rand_bytes(16, 1); if load8(16) & 1 then unreachable
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.I32(16) + wasmtest.I32(1) + wasmtest.Call(0) + wasmtest.Drop +
				wasmtest.I32(16) + "\x2d\x00\x00" + wasmtest.I32(1) + "\x71" + "\x04\x40\x00\x0b" + wasmtest.I32(1)},
		},
	}
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(agent)
	b.Manifest = []byte(`{"capabilities": {"rand": {"version": 1}}}`)
	const most = 12
	c := ticks(most, 5)
	result, err := Start(t.Context(), dir, b, c)
	failures := 0
	for ; err != nil && failures < 1000; failures++ {
		if !strings.Contains(err.Error(), "agent_tick failed: unreachable") {
			t.Fatal(err)
		}
		result, err = Resume(t.Context(), dir, ticks(1, 5)) // one more tick goes well
	}
	if err != nil || failures == 0 {
		t.Fatalf("%d failures, then %+v, %v", failures, result, err)
	}
	for result.Tick < most {
		if next, err := Resume(t.Context(), dir, ticks(1, 5)); err == nil {
			if next.Tick != result.Tick+1 {
				t.Fatalf("at tick %d after %d", next.Tick, result.Tick)
			}
			result = next
		}
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed {
		t.Errorf("got %+v, %v", r, err)
	}
}

package runtime

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/store"
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

// TestLivedAgainDiffers has an event log from which the agent's ticks cannot be
// lived again: it does not go on, and says where it differs.
func TestLivedAgainDiffers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	if _, err := Start(t.Context(), dir, b, ticks(2, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	segments, payloads, _, err := s.Events()
	if err != nil {
		t.Fatal(err)
	}
	body, err := embody(b.WASM, b.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "history", "*.ckpt"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	head, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	h := eventlog.Header{Prev: sha256.Sum256(head), WASM: body.wasmHash, Manifest: body.manHash}
	w, _, err := eventlog.New(segments, payloads).Continue(h, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []eventlog.Record{{Kind: eventlog.NodePrice, Tick: 3, Return: 1}, {Kind: eventlog.TickEnd, Tick: 3, Return: 1}} {
		if err := w.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Resume(t.Context(), dir, ticks(1, 0))
	if err == nil || !strings.Contains(err.Error(), "cannot be lived again: tick 3, hostcall 0: recorded is node_price, and the agent does clock_now") {
		t.Errorf("got error %v", err)
	}
	if got := fmt.Sprint(counts(t, dir)); got != "[0 2]" {
		t.Errorf("checkpoints at %s", got)
	}
}

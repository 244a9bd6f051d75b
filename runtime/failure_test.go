package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
)

// TestFailedTick has an agent that traps in every second tick, by a random byte. Its
// life goes on past those: each uses up its number, costs what it used, and leaves
// the state before it.
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
	b.Price = 1_000_000_000 // a unit costs a microcent
	const most = 40
	c := ticks(most/2, 5)
	c.MaxFailedTicks = -1
	if _, err := Start(t.Context(), dir, b, c); err != nil {
		t.Fatal(err)
	}
	result, err := Resume(t.Context(), dir, c)
	if err != nil || result.Tick != most {
		t.Fatalf("got %+v, %v", result, err)
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed || r.Ticks != most {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r.Failed < most/8 || r.Failed > most*7/8 {
		t.Errorf("%d of %d ticks failed", r.Failed, most)
	}
	if got := newest(t, dir, most); binary.LittleEndian.Uint64(got.State) != most-r.Failed {
		t.Errorf("after %d ticks, of which %d failed, it counted to %d", most, r.Failed, got.State)
	}
	if spent := b.Budget - result.Budget; uint64(spent) != r.Fuel || spent == 0 {
		t.Errorf("it spent %d, and used %d units", spent, r.Fuel)
	}
}

// TestFailedTicksEnd has an agent that traps in every tick: the run ends after as many
// as there may be in a row, and each was paid once.
func TestFailedTicksEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(4, wasmtest.Unreachable) + wasmtest.I32(1)},
	}})
	b.Price = 1_000_000_000
	c := ticks(100, 3)
	c.MaxFailedTicks = 0 // the default
	_, err := Start(t.Context(), dir, b, c)
	if failed, ok := errors.AsType[*AgentError](err); !ok || failed.Call != "agent_tick" || failed.Tick != 6 {
		t.Fatalf("got %v", err)
	}
	if got := fmt.Sprint(counts(t, dir)); got != "[0 3 5 6 7]" {
		t.Errorf("checkpoints at %s", got)
	}
	for range 2 {
		if _, err := Resume(t.Context(), dir, c); err == nil {
			t.Error("it goes on")
		}
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed || r.Ticks != 13 || r.Failed != 9 {
		t.Errorf("got %+v, %v", r, err)
	}
	if got := newest(t, dir, 13); uint64(b.Budget-got.Budget) != r.Fuel {
		t.Errorf("%d was paid for %d units", b.Budget-got.Budget, r.Fuel)
	}
}

// TestLivedAgainDiffers has an event log from which the agent's ticks cannot be
// lived again: it does not go on, and says where it differs.
func TestLivedAgainDiffers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest, b.Price = []byte(watching), 0
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
	h := eventlog.Header{Version: eventlog.Version2, Schedule: fuel.Version1, Prev: sha256.Sum256(head), WASM: body.wasmHash, Manifest: body.manHash}
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

// TestStoppedWhileVerifying stops a run that verifies its history: that is as asked, and
// no failure.
func TestStoppedWhileVerifying(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), ticks(3, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r, err := Resume(ctx, dir, ticks(3, 1))
	if err != nil || r.Reason != Stopped || !r.Head.IsZero() {
		t.Errorf("it ended with %+v, %v", r, err)
	}
	if r, err := Resume(t.Context(), dir, ticks(1, 1)); err != nil || r.Tick != 4 {
		t.Errorf("afterwards it ended with %+v, %v", r, err)
	}
}

package runtime

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/replay"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// watcher is a counter that looks at the clock in every tick, and keeps it.
func watcher(extra string) wasmtest.Agent {
	return wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.LogEmit},
		Funcs: map[string]wasmtest.Func{
			// count; store64(8, clock_now())
			"agent_tick":       {Type: wasmtest.ToI32, Body: wasmtest.Count + "\x41\x08" + wasmtest.Call(0) + "\x37\x03\x00" + extra + wasmtest.I32(1)},
			"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(16)},
		},
	}
}

const watching = `{"capabilities": {"clock": {"version": 1}, "log": {"version": 1}}}`

func replayConfig(dir string, b Birth) ReplayConfig {
	return ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events"), Log: quiet().Log}
}

// TestReplayMemory checks that a replay holds no state but the one that is asked for:
// a life has more of them than memory has room for.
func TestReplayMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	if _, err := Start(t.Context(), dir, b, ticks(6, 1)); err != nil {
		t.Fatal(err)
	}
	log, done, err := openReadOnly(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	_, files, err := store.Checkpoints(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c := replayConfig(dir, b)
	intervals, err := c.intervals(files)
	if err != nil {
		t.Fatal(err)
	}
	programs := newLibrary(b.WASM, b.Manifest, c.Events, quiet().Log, "")
	defer programs.close()
	c.runAll(t.Context(), &replay.Engine{Programs: programs.Program, Log: log}, intervals)
	for i, in := range intervals {
		if last := i == len(intervals)-1; in.problem != nil || (in.result.State != nil) != last || in.result.Ticks == 0 && i > 0 {
			t.Errorf("interval %d: %+v, %+v", i, in.result, in.problem)
		}
	}
	if len(intervals) != 7 {
		t.Errorf("%d intervals", len(intervals))
	}
}

// TestReplay runs a life again, and then with a program that does something else:
// the divergence names the tick, the hostcall and the byte, and shows both sides.
func TestReplay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(watcher(""))
	b.Manifest = []byte(watching)
	if _, err := Start(t.Context(), dir, b, ticks(7, 3)); err != nil {
		t.Fatal(err)
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed || r.Intervals != 4 || r.Replayed != 4 || r.Ticks != 7 {
		t.Fatalf("got %+v, %v", r, err)
	}

	read := func(tick uint64) []byte {
		b, err := os.ReadFile(filepath.Join(dir, "history", store.FileName(tick)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	log, done, err := openReadOnly(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	run := func(a wasmtest.Agent) error {
		programs := newLibrary(a.Bytes(), b.Manifest, "", quiet().Log, "")
		defer programs.close()
		// Whatever it is, it is run as if it were the one that lived.
		e := replay.Engine{Log: log, Programs: func(ctx context.Context, _, man verifier.Hash, schedule uint32) (*sandbox.Program, *manifest.Manifest, error) {
			return programs.Program(ctx, programs.wasmHash, man, schedule)
		}}
		_, err = e.Run(t.Context(), replay.Interval{Prev: read(3), Next: read(6)})
		return err
	}
	if err := run(watcher("")); err != nil {
		t.Error(err)
	}
	var state *replay.StateDivergence
	var call *record.Divergence
	// memory[1] = 1
	if err := run(watcher("\x41\x01\x41\x01\x3a\x00\x00")); !errors.As(err, &call) || call.Tick != 4 || call.Call != 1 ||
		!strings.Contains(call.Recorded, "units of fuel") || !strings.Contains(call.Got, "units of fuel") {
		t.Errorf("other fuel: got %v", err)
	}
	same := watcher("")
	same.Funcs["agent_tick"] = wasmtest.Func{Type: wasmtest.ToI32, Body: strings.Replace(same.Funcs["agent_tick"].Body, wasmtest.Count, strings.Replace(wasmtest.Count, "\x42\x01", "\x42\x02", 1), 1)}
	if err := run(same); !errors.As(err, &state) || state.Tick != 6 || state.At != 0 ||
		len(state.Recorded) != 16 || state.Recorded[0] != 6 || state.Got[0] != 9 {
		t.Errorf("another state: got %v", err)
	}
	if err := run(watcher(wasmtest.Call(0) + wasmtest.Drop)); !errors.As(err, &call) || call.Tick != 4 || call.Call != 1 ||
		call.Recorded != "tick end" || call.Got != "clock_now" {
		t.Errorf("a call more: got %v", err)
	}
	fewer := watcher("")
	fewer.Funcs["agent_tick"] = wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.I32(1)}
	if err := run(fewer); !errors.As(err, &call) || call.Recorded != "clock_now" || call.Got != "tick end" {
		t.Errorf("a call less: got %v", err)
	}
	if err := run(watcher(wasmtest.Unreachable)); !errors.As(err, &call) || !strings.Contains(call.Got, "tick failed (trap in agent_tick)") {
		t.Errorf("a trap: got %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "events", eventlog.FileName(4))); err != nil {
		t.Fatal(err)
	}
	if err := run(watcher("")); !errors.Is(err, replay.ErrMissing) {
		t.Errorf("without a segment: got %v", err)
	}
	r, err = Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != NotReplayed || r.Replayed != 3 || len(r.Problems) != 1 || r.Problems[0].Code != codeMissing {
		t.Errorf("got %+v, %v", r, err)
	}
}

// returner is a counter that looks at the clock in agent_resume alone, and keeps it.
func returner() wasmtest.Agent {
	return wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow},
		Funcs: map[string]wasmtest.Func{
			// store64(0, load64(ptr)); store64(8, clock_now())
			"agent_resume":     {Type: wasmtest.I32I32, Body: "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00" + "\x41\x08" + wasmtest.Call(0) + "\x37\x03\x00"},
			"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(16)},
		},
	}
}

// TestLivedAgain ends a life between checkpoints as a crash does, and goes on: no
// tick that was over is lost, and what it observed and cost stays.
func TestLivedAgain(t *testing.T) {
	t.Run("in ticks", func(t *testing.T) { testLivedAgain(t, watcher("")) })
	t.Run("in agent_resume", func(t *testing.T) { testLivedAgain(t, returner()) })
}

func testLivedAgain(t *testing.T, agent wasmtest.Agent) {
	dir, other := filepath.Join(t.TempDir(), "agent"), filepath.Join(t.TempDir(), "other")
	b := birth(agent)
	b.Manifest, b.Price, b.Budget = []byte(watching), 1<<40, 1<<50
	if _, err := Start(t.Context(), dir, b, ticks(9, 4)); err != nil {
		t.Fatal(err)
	}
	want := newest(t, dir, 9)
	// The state of the folder before the last checkpoint became durable.
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(other, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(other, "history", store.FileName(9))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(other, "events", eventlog.FileName(10))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for n := uint64(10); n < 13; n++ { // more crashes, before any checkpoint
		if _, err := Resume(t.Context(), other, ticks(1, 0)); err != nil {
			t.Fatal(err)
		}
		if got := newest(t, other, 9); string(got.State) != string(want.State) || got.Budget != want.Budget || got.Signature != want.Signature {
			t.Fatalf("the checkpoint of tick 9 is another one: %+v, want %+v", got, want)
		}
	}
	r, err := Replay(t.Context(), other, replayConfig(other, b))
	if err != nil || r.Verdict != Replayed || r.Ticks != 12 {
		t.Errorf("got %+v, %v", r, err)
	}
	counts(t, other)
}

// TestReturn checks what agent_resume observes: it is of the first tick after it,
// what money came in is there already.
func TestReturn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	agent := returner()
	agent.Imports = []wasmtest.Import{wasmtest.WalletBalance}
	// The fifth tick traps.
	agent.Funcs["agent_tick"] = wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(4, wasmtest.Unreachable) + wasmtest.I32(1)}
	b := birth(agent)
	b.Manifest, b.Price = []byte(`{"capabilities": {"wallet": {"version": 1}}}`), 0
	if _, err := Start(t.Context(), dir, b, ticks(2, 0)); err != nil {
		t.Fatal(err)
	}
	c := ticks(2, 0)
	c.TopUp = 7
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
	if got := newest(t, dir, 4); binary.LittleEndian.Uint64(got.State[8:]) != uint64(got.Budget) || got.Budget != b.Budget+7 {
		t.Errorf("agent_resume saw %d, and the budget is %d", binary.LittleEndian.Uint64(got.State[8:]), got.Budget)
	}
	for tick := 4; tick < 6; tick++ {
		if _, err := Resume(t.Context(), dir, ticks(1, 0)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("failed after tick %d", tick)) {
			t.Errorf("got error %v", err)
		}
	}
	log, done, err := openReadOnly(filepath.Join(dir, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for first, want := range map[uint64]uint64{1: 3, 3: 4, 5: 2, 6: 2} { // the balance, two ticks, and once the top-up
		s, err := log.Segment(first)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Next()
		}
		if got := s.Totals().Records; got != want {
			t.Errorf("the segment of tick %d has %d records, want %d", first, got, want)
		}
		s.Close()
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != Replayed || r.Ticks != 6 || r.Failed != 2 || r.Observations != 11 {
		t.Errorf("got %+v, %v", r, err)
	}
	// Nothing is recorded after the newest checkpoint, and nothing has to be.
	until := uint64(4)
	rc := replayConfig(dir, b)
	rc.From, rc.Until = 2, &until
	if r, err = Replay(t.Context(), dir, rc); err != nil || r.Verdict != Replayed || r.Intervals != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestOlderLife goes on with a life whose genesis came after its first ticks, and
// that has no event log and no journal: they begin where it goes on, and what was
// before cannot be re-executed. A journal that is lost later is an error.
func TestOlderLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	err := store.Create(dir, b.WASM, nil, func(s *store.Store) error {
		key, err := store.NewKey(s.Path())
		if err != nil {
			return err
		}
		c := verifier.Checkpoint{Version: verifier.Version4, Budget: b.Budget, PricePerSecond: b.Price, TickNumber: 3,
			WASMHash: sha256.Sum256(b.WASM), State: []byte{3, 0, 0, 0, 0, 0, 0, 0}}
		copy(c.AgentPubKey[:], key.Public().(ed25519.PublicKey))
		copy(c.Signature[:], ed25519.Sign(key, c.AppendMessage(nil)))
		if _, err := s.Recover(t.Context(), c.AgentPubKey[:]); err != nil {
			return err
		}
		return s.Append(verifier.Hash{}, func() error { return nil }, c.Append(nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := Resume(t.Context(), dir, ticks(2, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(counts(t, dir)); got != "[3 5 7]" {
		t.Errorf("checkpoints at %s", got)
	}
	r, err := Replay(t.Context(), dir, replayConfig(dir, b))
	if err != nil || r.Verdict != NotReplayed || r.Replayed != 2 || r.Problems[0].To != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
	if err := os.Remove(filepath.Join(dir, "journal")); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), dir, ticks(2, 0)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "journal") {
		t.Errorf("without its journal: %v", err)
	}
}

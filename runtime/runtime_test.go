package runtime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

func birth(a wasmtest.Agent) Birth { return Birth{WASM: a.Bytes(), Budget: 1_000_000, Price: 1000} }

// counts is the ticks of the checkpoints in dir, of a life that verifies.
func counts(t *testing.T, dir string) []uint64 {
	t.Helper()
	source, err := history.Path(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := new(history.Verification).Run(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict() != verifier.Verified {
		t.Errorf("%s is %v", dir, report.Verdict())
	}
	var ticks []uint64
	for _, s := range sights(t, dir) {
		ticks = append(ticks, s.Tick)
	}
	return ticks
}

func checkpoint(t *testing.T, file string) verifier.Checkpoint {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newest(t *testing.T, dir string, tick uint64) verifier.Checkpoint {
	t.Helper()
	return checkpoint(t, filepath.Join(dir, "history", store.FileName(tick)))
}

func TestStartResume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	first, err := Start(t.Context(), dir, b, ticks(7, 3))
	if err != nil {
		t.Fatal(err)
	}
	if first.Reason != TickLimit || first.Tick != 7 || first.Checkpoints != 4 || !strings.HasPrefix(first.DID, "did:key:z6Mk") {
		t.Errorf("got %+v", first)
	}
	second, err := Resume(t.Context(), dir, ticks(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if second.DID != first.DID || second.Tick != 8 || second.Checkpoints != 1 || second.Head == first.Head || second.Budget > first.Budget {
		t.Errorf("got %+v after %+v", second, first)
	}
	if got := counts(t, dir); fmt.Sprint(got) != "[0 3 6 7 8]" {
		t.Errorf("checkpoints at %v", got)
	}
	c := newest(t, dir, 8)
	if binary.LittleEndian.Uint64(c.State) != 8 || c.PricePerSecond != 1000 || c.Budget != second.Budget || c.WASMHash != sha256.Sum256(b.WASM) {
		t.Errorf("got %+v", c)
	}
	if _, err := Start(t.Context(), dir, b, ticks(1, 0)); err == nil {
		t.Error("a second life began in the folder of the first")
	}
}

// TestFreshInstance checks that a life goes on in a fresh instance after each
// checkpoint: what is not in the state is gone, as it is after a resume.
func TestFreshInstance(t *testing.T) {
	// The state is a count at 0; the word at 64, which is not in it, counts too.
	both := wasmtest.Count + "\x41\xc0\x00" + "\x41\xc0\x00\x29\x03\x00" + "\x42\x01\x7c" + "\x37\x03\x00"
	agent := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: both + wasmtest.I32(1)},
		// The state: the count, and 64 bytes on the word that is not restored.
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(72)},
	}}
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, birth(agent), ticks(9, 3)); err != nil {
		t.Fatal(err)
	}
	for _, tick := range []uint64{3, 6, 9} {
		state := newest(t, dir, tick).State
		if n, forgotten := binary.LittleEndian.Uint64(state), binary.LittleEndian.Uint64(state[64:]); n != tick || forgotten != 3 {
			t.Errorf("at tick %d: count %d, and %d of what is not in the state, want 3", tick, n, forgotten)
		}
	}
}

// TestUnrestorable checks that a state from which the agent cannot go on does
// not become part of its history.
func TestUnrestorable(t *testing.T) {
	// agent_resume traps from the sixth tick on.
	agent := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_resume": {Type: wasmtest.I32I32, Body: "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00" +
			"\x41\x00\x29\x03\x00" + "\x42\x05\x55" + "\x04\x40\x00\x0b"}, // if load > 5 then unreachable
	}}
	dir := filepath.Join(t.TempDir(), "agent")
	_, err := Start(t.Context(), dir, birth(agent), ticks(9, 2))
	if err == nil || !strings.Contains(err.Error(), "agent failed after tick 6: agent_resume failed: unreachable") {
		t.Errorf("got error %v", err)
	}
	if got := counts(t, dir); fmt.Sprint(got) != "[0 2 4]" {
		t.Errorf("checkpoints at %v", got)
	}
}

// TestHostileLife runs agents that fail in each call of a life. The error names
// the call, and what was durable before stays whole.
func TestHostileLife(t *testing.T) {
	for name, f := range map[string]wasmtest.Func{
		"_initialize":          {Type: wasmtest.Nothing, Body: wasmtest.Unreachable},
		"agent_init":           {Type: wasmtest.Nothing, Body: wasmtest.Unreachable},
		"agent_tick":           {Type: wasmtest.ToI32, Body: wasmtest.Forever + wasmtest.I32(1)},
		"agent_checkpoint":     {Type: wasmtest.ToI32, Body: wasmtest.I32(-1)},
		"agent_checkpoint_ptr": {Type: wasmtest.ToI32, Body: wasmtest.I32(-1)},
		"malloc":               {Type: wasmtest.I32ToI32, Body: wasmtest.I32(-1)},
		"agent_resume":         {Type: wasmtest.I32I32, Body: wasmtest.Unreachable},
	} {
		dir := filepath.Join(t.TempDir(), "agent")
		c := ticks(4, 2)
		b := birth(wasmtest.Agent{Funcs: map[string]wasmtest.Func{name: f}})
		b.Manifest = []byte(`{"resource_limits": {"max_tick_ms": 100}}`)
		_, err := Start(t.Context(), dir, b, c)
		if err == nil || !strings.Contains(err.Error(), name+" failed: ") {
			t.Errorf("%s: got error %v", name, err)
		}
		_, err = os.Stat(dir)
		switch born := name == "agent_tick"; {
		case born && (err != nil || fmt.Sprint(counts(t, dir)) != "[0 1]"):
			t.Errorf("%s: the history is not the genesis and the tick that failed", name)
		case !born && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s: there is a folder of an agent that was never born", name)
		}
	}
}

// TestCancelled checks that a run that is stopped makes a last checkpoint, and
// none where there is nothing new.
func TestCancelled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := Start(ctx, dir, birth(wasmtest.Agent{}), quiet())
	if err != nil || result.Reason != Stopped || result.Checkpoints != 1 || result.Tick != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
	if result, err = Resume(t.Context(), dir, ticks(2, 0)); err != nil || result.Tick != 2 {
		t.Errorf("got %+v, %v", result, err)
	}
	if result, err = Resume(ctx, dir, quiet()); err != nil || result.Reason != Stopped || result.Checkpoints != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestTopUp checks that money comes in by a top-up only, and that the price is
// the one that was said.
func TestTopUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	b.Budget, b.Price = 5, 1<<23
	result, err := Start(t.Context(), dir, b, ticks(100, 0))
	if err != nil || result.Reason != BudgetExhausted || result.Budget != 0 {
		t.Fatal(result, err)
	}
	if _, err = Resume(t.Context(), dir, ticks(1, 0)); err == nil || !strings.Contains(err.Error(), "budget is exhausted") {
		t.Errorf("got error %v", err)
	}
	free, negative := int64(0), int64(-1)
	c := ticks(1, 0)
	c.TopUp, c.Price = 77, &negative
	if _, err = Resume(t.Context(), dir, c); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("got error %v", err)
	}
	c.TopUp, c.Price = 77, &free
	if result, err = Resume(t.Context(), dir, c); err != nil || result.Budget != 77 {
		t.Errorf("got %+v, %v", result, err)
	}
	if c := newest(t, dir, result.Tick); c.Budget != 77 || c.PricePerSecond != 0 {
		t.Errorf("got %+v", c)
	}
	counts(t, dir)
}

// conflict is a history that somebody else went on with.
type conflict struct{}

func (conflict) Append(verifier.Hash, func() error, ...[]byte) error { return store.ErrConflict }

func TestConflict(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	born := birth(wasmtest.Agent{})
	if _, err := Start(t.Context(), dir, born, ticks(2, 0)); err != nil {
		t.Fatal(err)
	}
	l, done := recovered(t, dir, born.WASM, ticks(3, 0))
	defer done()
	l.history = conflict{}
	var err error
	if l.in, err = l.incarnate(t.Context(), l.recovery.feed, l.recovery.state, true); err != nil {
		t.Fatal(err)
	}
	head := l.head
	if _, err := l.live(t.Context()); !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "checkpoint of tick 5") {
		t.Errorf("got error %v, want ErrConflict", err)
	}
	if l.result.Checkpoints != 0 || l.head != head {
		t.Errorf("went on: %+v", l.result)
	}
}

// TestPace checks when ticks and checkpoints come, with a clock of its own.
func TestPace(t *testing.T) {
	idle := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.Nothing, Body: wasmtest.Count}}}
	for _, tt := range []struct {
		name  string
		agent wasmtest.Agent
		c     Config
		took  time.Duration
		at    string
	}{
		{"busy", wasmtest.Agent{}, Config{TickInterval: AgentPace, MaxTicks: 11}, 100 * time.Millisecond, "[0 11]"},
		{"idle", idle, Config{TickInterval: AgentPace, MaxTicks: 11}, 10 * time.Second, "[0 11]"},
		{"at once", idle, Config{MaxTicks: 11}, 0, "[0 11]"},
		{"checkpoints by time", idle, Config{TickInterval: AgentPace, MaxTicks: 11, CheckpointEvery: Every{Time: 5 * time.Second}}, 10 * time.Second, "[0 5 10 11]"},
		{"a checkpoint between ticks", idle, Config{TickInterval: time.Hour, MaxTicks: 3, CheckpointEvery: Every{Time: time.Minute}}, 2 * time.Hour, "[0 1 2 3]"},
		{"checkpoints by ticks", idle, Config{TickInterval: time.Second, MaxTicks: 6, CheckpointEvery: Every{Ticks: 2}}, 5 * time.Second, "[0 2 4 6]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "agent")
			synctest.Test(t, func(t *testing.T) {
				c := quiet()
				c.Config = tt.c
				began := time.Now()
				b := birth(tt.agent)
				b.Price = 0
				if _, err := Start(t.Context(), dir, b, c); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
			if at := fmt.Sprint(counts(t, dir)); at != tt.at {
				t.Errorf("checkpoints at %s, want %s", at, tt.at)
			}
		})
	}
}

// TestAcknowledged checks that a checkpoint is logged when it is durable, not before.
func TestAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	var log bytes.Buffer
	c := ticks(6, 2)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), c); err != nil {
		t.Fatal(err)
	}
	for _, tick := range counts(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, "history", store.FileName(tick)))
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("msg=checkpoint tick=%d cid=%s ", tick, verifier.Hash(sha256.Sum256(b)).CID())
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, &log)
		}
	}
}

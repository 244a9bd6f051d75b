package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wasmtest"
)

// logger is an agent that looks at the clock, takes random bytes and logs a line in every
// tick, some of them long enough to be payloads.
func logger() Birth {
	b := birth(wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit},
		Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Call(0) + wasmtest.Drop +
			wasmtest.I32(64) + wasmtest.I32(32) + wasmtest.Call(1) + wasmtest.Drop +
			wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(6000) + wasmtest.Call(2) + wasmtest.I32(1)}},
		Data: strings.Repeat("letters ", 800),
	})
	b.Manifest = []byte(`{"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}}}`)
	b.Budget = 1 << 40
	return b
}

// packAll packs what there is to pack of the life in dir, which does not run.
func packAll(ctx context.Context, dir string, through func(string, wal.Folder) wal.Folder) error {
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := store.Key(dir)
	if err != nil {
		return err
	}
	found, err := s.Recover(ctx, key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	p, err := s.Packer(key)
	if err != nil {
		return err
	}
	p.Through = through
	for more := true; more; {
		if more, err = p.Pack(ctx, found.Tick); err != nil {
			return err
		}
	}
	return nil
}

// unpacked makes a life of n checkpoints, none of which is packed.
func unpacked(t testing.TB, b Birth, n uint64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(n, 1)
	c.keepLoose = true
	_, c.NodeKey, _ = ed25519.GenerateKey(nil)
	if _, err := Start(context.Background(), dir, b, c); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A view is what all that reads a folder says of it.
type view struct {
	Verdict, Replay, Lines, Effects string
	Checkpoints, Segments           int
	Executions                      int
}

func look2(t testing.TB, dir string, b Birth) (v view) {
	t.Helper()
	ctx := context.Background()
	r, err := store.Verify(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	n, duplicates := r.Checkpoints()
	v.Verdict, v.Checkpoints = fmt.Sprint(r.Verdict(), duplicates), n
	replayed, err := Replay(ctx, dir, ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events"), Log: quiet().Log})
	if err != nil {
		t.Fatal(err)
	}
	v.Replay = fmt.Sprint(replayed.Verdict, replayed.Replayed, replayed.Ticks, replayed.Observations, replayed.Problems)
	var lines []string
	if err := Logs(ctx, dir, LogsConfig{}, func(l LogLine) error {
		lines = append(lines, fmt.Sprint(l.Tick, l.Line[:8], l.TimeBy, l.Time.UnixNano()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	v.Lines = strings.Join(lines, "\n")
	d, err := DetailsOf(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Problems) > 0 {
		t.Fatalf("%s: %+v", dir, d.Problems)
	}
	if d.Checkpoints != n {
		t.Fatalf("%s: status knows %d checkpoints, and there are %d", dir, d.Checkpoints, n)
	}
	v.Segments, v.Executions = d.Segments, d.Executions
	repairs, err := RepairFolder(ctx, dir, RepairConfig{})
	if err != nil || len(repairs) > 0 {
		t.Fatalf("%s: igor repair finds %+v, %v", dir, repairs, err)
	}
	return v
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(dir, path)
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestPacked holds all that reads a folder against itself: it says of a packed one what it
// says of the same one before.
func TestPacked(t *testing.T) {
	b := logger()
	dir := unpacked(t, b, 150)
	packed := copyOf(t, dir)
	before := look2(t, dir, b)
	if before.Checkpoints != 151 || before.Executions == 0 {
		t.Fatalf("%+v", before)
	}
	if err := packAll(t.Context(), packed, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(names(t, packed)); n > 45 {
		t.Errorf("%d files are left of %d: %q", n, len(names(t, dir)), names(t, packed))
	}
	if after := look2(t, packed, b); after != before {
		t.Errorf("packed:\n%+v\nand before:\n%+v", after, before)
	}

	// Tails, exports, forks and imports are the same.
	for _, tail := range []int{1, 5, 40, 149, 500} {
		var lines [2][]LogLine
		for i, dir := range []string{dir, packed} {
			if err := Logs(t.Context(), dir, LogsConfig{Tail: tail, From: 3}, func(l LogLine) error { lines[i] = append(lines[i], l); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(lines[0], lines[1]) {
			t.Errorf("the last %d lines are others: %d and %d", tail, len(lines[0]), len(lines[1]))
		}
	}
	var cars [2][]byte
	for i, dir := range []string{dir, packed} {
		file := filepath.Join(t.TempDir(), "life.car")
		if _, err := store.Export(t.Context(), dir, file); err != nil {
			t.Fatal(err)
		}
		cars[i], _ = os.ReadFile(file)
	}
	if len(cars[0]) == 0 || string(cars[0]) != string(cars[1]) {
		t.Error("the exports are not the same")
	}
	var after [2]int
	for i, dir := range []string{dir, packed} {
		for c, err := range store.After(dir, 20, false) {
			if err != nil {
				t.Fatal(err)
			}
			after[i] += len(c)
		}
	}
	if after[0] != after[1] || after[0] == 0 {
		t.Errorf("after tick 20: %v bytes", after)
	}
	past := Past{Dir: packed, WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(packed, "events")}
	fork, err := Fork(t.Context(), filepath.Join(t.TempDir(), "fork"), ForkConfig{Origin: past, At: 17, Budget: 1000, Log: quiet().Log})
	if err != nil || fork.Partial {
		t.Errorf("a fork: %+v, %v", fork, err)
	}
	events := filepath.Join(t.TempDir(), "events")
	if n, err := ExportEvents(packed, events); err != nil || n != 151 {
		t.Errorf("%d segments of events are exported: %v", n, err)
	}
	past.Events = events
	if r, err := Replay(t.Context(), packed, ReplayConfig{WASM: b.WASM, Manifest: b.Manifest, Events: events, Log: quiet().Log}); err != nil || r.Verdict != Replayed {
		t.Errorf("with exported events: %+v, %v", r, err)
	}

	// It goes on, and is packed while it lives.
	c := ticks(60, 1)
	r, err := Resume(t.Context(), packed, c)
	if err != nil || r.Tick != 210 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := packAll(t.Context(), packed, nil); err != nil {
		t.Fatal(err)
	}
	if v := look2(t, packed, b); v.Checkpoints != 211 || !strings.HasPrefix(v.Verdict, "verified") {
		t.Errorf("%+v", v)
	}
}

// TestPackedMany: at no time has a life more than a bounded number of files, and they are
// few where it is long.
func TestPackedWhileItLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(400, 1)
	if _, err := Start(t.Context(), dir, logger(), c); err != nil {
		t.Fatal(err)
	}
	if n := len(names(t, dir)); n > 500 {
		t.Errorf("%d files: nothing was packed while it lived", n)
	}
	if counts(t, dir); t.Failed() {
		t.Log(names(t, dir))
	}
	if err := packAll(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(names(t, dir)); n > 60 {
		t.Errorf("%d files: %q", n, names(t, dir))
	}
}

var _ = errors.Is

package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
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
	v.Verdict, v.Checkpoints = fmt.Sprintf("%s %d", r.Verdict(), duplicates), n
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

// packedTwice makes a life of two segments.
func packedTwice(t *testing.T, b Birth, first, second uint64) string {
	t.Helper()
	dir := unpacked(t, b, first)
	c := ticks(second, 1)
	c.keepLoose = true
	err := packAll(t.Context(), dir, nil)
	if err == nil {
		_, err = Resume(t.Context(), dir, c)
	}
	if err == nil {
		err = packAll(t.Context(), dir, nil)
	}
	if cars, _ := filepath.Glob(filepath.Join(dir, "history", "*.car")); err != nil || len(cars) != 2 {
		t.Fatalf("%q, %v", cars, err)
	}
	return dir
}

// differ says where two views do.
func differ(got, want view) string {
	a, b := strings.Split(got.Lines, "\n"), strings.Split(want.Lines, "\n")
	got.Lines, want.Lines = fmt.Sprint(len(a), " lines"), fmt.Sprint(len(b), " lines")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%+v, not %+v; %s, not %s", got, want, a[i], b[i])
		}
	}
	return fmt.Sprintf("%+v, not %+v", got, want)
}

// sameDespite wants a view as it was before, but for checkpoints that are there twice.
func sameDespite(t *testing.T, what string, got, want view) {
	t.Helper()
	got.Verdict, _, _ = strings.Cut(got.Verdict, " ")
	want.Verdict, _, _ = strings.Cut(want.Verdict, " ")
	if got != want {
		t.Errorf("%s: %s", what, differ(got, want))
	}
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

// TestPackedWhileItLives: a long life has few files while it lives too.
func TestPackedWhileItLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(0, 1)
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	agent := e.Start(t.Context(), dir, logger(), c.Config)
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "packed")); err == nil {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatal("nothing is packed while it lives")
		}
	}
	if _, err := agent.Stop(t.Context()); err != nil {
		t.Fatal(err)
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

// prune removes what a copy has of the life in dir.
func prune(dir, copy string) (Pruned, error) {
	return PruneHistory(context.Background(), dir, PruneConfig{Copy: copy, Events: true, Do: true})
}

// TestPackFaults has the disk fail at each step of packing a folder of an earlier igor, of
// packing more, and of pruning: for want of room, by an error, or as if the process was
// killed there; and then has the machine lose power, or not. In each of these states the
// folder says what it said before, and then the work is done again.
func TestPackFaults(t *testing.T) {
	b := logger()
	loose := unpacked(t, b, 45)
	some := copyOf(t, loose)
	if err := packAll(t.Context(), some, nil); err != nil {
		t.Fatal(err)
	}
	c := ticks(21, 1)
	c.keepLoose = true
	if _, err := Resume(t.Context(), some, c); err != nil {
		t.Fatal(err)
	}
	packed := copyOf(t, some)
	if err := packAll(t.Context(), packed, nil); err != nil {
		t.Fatal(err)
	}
	for name, folder := range map[string]string{"migrate": loose, "pack": some, "prune": packed} {
		want := look2(t, folder, b)
		l := &trading{}
		var dir string
		run := func() error {
			if name != "prune" {
				return packAll(context.Background(), dir, l.disk.Through)
			}
			packThrough = l.disk.Through
			defer func() { packThrough = nil }()
			_, err := prune(dir, folder)
			return err
		}
		dir, l.disk = copyOf(t, folder), waltest.NewDisk()
		if err := run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all, _ := l.disk.Steps()
		if all < 20 {
			t.Fatalf("%s: only %d steps", name, all)
		}
		stride := 1
		if !*everyStep {
			stride = all / 12
		}
		for n := 1 + rand.IntN(stride); n <= all; n += stride {
			rng := rand.New(rand.NewPCG(uint64(n), 4))
			fault := waltest.Fault{Err: []error{syscall.ENOSPC, syscall.EIO, errPower}[n%3], Once: n%3 < 2 && rng.IntN(2) == 0}
			t.Run(fmt.Sprintf("%s %d of %d %v", name, n, all, fault.Err), func(t *testing.T) {
				dir, l.disk = copyOf(t, folder), waltest.NewDisk()
				l.disk.FailAt(n, fault)
				if err := run(); !errors.Is(err, fault.Err) {
					t.Errorf("it ends with %v", err)
				}
				found := dir
				if rng.IntN(2) == 0 {
					found = l.losePower(t, dir, rng)
				}
				whole := found
				if name == "prune" { // what is pruned the copy has
					whole = ""
					r, err := store.Together(t.Context(), found, folder)
					if err != nil || r.Verdict() != verifier.Verified {
						t.Fatalf("together with the copy it is %v, %v", r, err)
					}
				} else {
					sameDespite(t, "afterwards", look2(t, whole, b), want)
				}
				if _, err := OverviewOf(t.Context(), found); err != nil {
					t.Error(err)
				}
				live := copyOf(t, found)
				if r, err := Resume(t.Context(), live, ticks(2, 1)); err != nil || r.Tick < 47 {
					t.Errorf("it goes on as %+v, %v", r, err)
				}
				dir = found
				packThrough = nil
				var err error
				if name == "prune" {
					_, err = prune(dir, folder)
				} else {
					err = packAll(context.Background(), dir, nil)
				}
				if err != nil {
					t.Fatalf("it is not done again: %v", err)
				}
				if name == "prune" {
					if left, _ := filepath.Glob(filepath.Join(dir, "history", "*.car")); len(left) > 0 {
						t.Errorf("%q are left", left)
					}
					if _, err := Resume(t.Context(), dir, ticks(2, 1)); err != nil {
						t.Error(err)
					}
					return
				}
				if v := look2(t, dir, b); v != want {
					sameDespite(t, "when it is done again", v, want)
				}
				if left := names(t, dir); len(left) > 50 {
					t.Errorf("%d files are left: %q", len(left), left)
				}
			})
		}
	}
}

// TestPrune removes what is archived, and nothing else.
func TestPrune(t *testing.T) {
	b := logger()
	dir := packedTwice(t, b, 55, 35)
	copied := copyOf(t, dir)
	car := filepath.Join(t.TempDir(), "half.car")
	half := filepath.Join(t.TempDir(), "half")
	cars, _ := filepath.Glob(filepath.Join(dir, "history", "*.car"))
	if err := errors.Join(os.Mkdir(half, 0o755), copyAs(half, "1.car", cars[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Export(t.Context(), half, car); err != nil {
		t.Fatal(err)
	}
	before := names(t, dir)
	for name, c := range map[string]PruneConfig{"no archive": {Do: true}, "itself": {Do: true, Copy: dir}, "a part of itself": {Do: true, Copy: filepath.Join(dir, "history")},
		"what it is in": {Do: true, Copy: filepath.Dir(dir)}, "nothing": {Do: true, Copy: filepath.Join(dir, "no")}} {
		if r, err := PruneHistory(t.Context(), dir, c); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	links := filepath.Join(t.TempDir(), "links")
	if err := os.Mkdir(links, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range before {
		if strings.HasSuffix(name, ".car") {
			if err := os.Symlink(filepath.Join(dir, name), filepath.Join(links, filepath.Base(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if r, err := PruneHistory(t.Context(), dir, PruneConfig{Do: true, Copy: links}); err != nil || r.Segments > 0 {
		t.Errorf("of links to itself %+v is removed, %v", r, err)
	}
	other := unpacked(t, b, 60)
	if r, err := PruneHistory(t.Context(), dir, PruneConfig{Do: true, Copy: other}); err != nil || r.Segments > 0 {
		t.Errorf("of another agent's archive %+v is removed, %v", r, err)
	}
	dry, err := PruneHistory(t.Context(), dir, PruneConfig{Copy: car})
	if err != nil || dry.Checkpoints == 0 || dry.LastTick >= 56 || dry.Done {
		t.Errorf("%+v, %v", dry, err)
	}
	early := uint64(3)
	if r, err := PruneHistory(t.Context(), dir, PruneConfig{Archived: &early}); err != nil || r.Segments > 0 {
		t.Errorf("up to tick 3: %+v, %v", r, err)
	}
	if !slices.Equal(names(t, dir), before) {
		t.Error("something is gone")
	}

	r, err := PruneHistory(t.Context(), dir, PruneConfig{Copy: car, Do: true})
	if dry.Done = true; err != nil || r != dry {
		t.Errorf("%+v, and %+v was to be, %v", r, dry, err)
	}
	report, err := store.Verify(t.Context(), dir)
	if err != nil || report.Verdict() != verifier.Incomplete {
		t.Errorf("pruned, it is %v, %v", report, err)
	}
	if report, err := store.Together(t.Context(), dir, car); err != nil || report.Verdict() != verifier.Verified {
		t.Errorf("with the archive, it is %v, %v", report, err)
	}
	if d, err := DetailsOf(t.Context(), dir); err != nil || len(d.Problems) > 0 || d.Checkpoints != 91 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := Resume(t.Context(), dir, ticks(30, 1)); err != nil {
		t.Fatal(err)
	}
	// Everything with the event log too.
	live := copyOf(t, dir)
	if r, err := prune(dir, live); err != nil || r.Packs == 0 || r.Segments == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for i := range 2 { // by the mark, and without it
		if _, err := Resume(t.Context(), dir, ticks(3, 1)); err != nil {
			t.Fatal(err)
		}
		// Whether there is one again after three ticks is the packing's own affair.
		if err := os.Remove(filepath.Join(dir, "packed")); err != nil && (i == 0 || !errors.Is(err, os.ErrNotExist)) {
			t.Fatal(err)
		}
	}
	if _, err := Resume(t.Context(), dir, ticks(30, 1)); err != nil {
		t.Fatal(err)
	}
	if report, err := store.Together(t.Context(), dir, live, copied); err != nil || report.Verdict() != verifier.Verified {
		t.Errorf("with both archives, it is %v, %v", report, err)
	}
}

// TestHostilePacked goes on with folders whose packed part was made to mislead, or broken.
func TestHostilePacked(t *testing.T) {
	b := logger()
	good, other := packedTwice(t, b, 45, 25), packedTwice(t, b, 45, 25)
	cars, _ := filepath.Glob(filepath.Join(good, "history", "*.car"))
	packs, _ := filepath.Glob(filepath.Join(good, "events", "*.pack"))
	if len(cars) < 2 || len(packs) != len(cars) {
		t.Fatalf("%q %q", cars, packs)
	}
	car, pack := filepath.Join("history", filepath.Base(cars[0])), filepath.Join("events", filepath.Base(packs[0]))
	edit := func(name string, change func([]byte) []byte) func(dir string) error {
		return func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, name), change(b), 0o644)
		}
	}
	for name, test := range map[string]struct {
		do     func(dir string) error
		resume bool // it goes on
		verify bool // it is green
	}{
		"as it is":             {func(string) error { return nil }, true, true},
		"no mark":              {func(dir string) error { return os.Remove(filepath.Join(dir, "packed")) }, true, true},
		"mark of another life": {func(dir string) error { return copyTo(dir, "packed", other) }, true, true},
		"mark is a link":       {func(dir string) error { return link(dir, "packed", other) }, true, true},
		"mark is a folder": {func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "packed")), os.Mkdir(filepath.Join(dir, "packed"), 0o755))
		}, true, true},
		"mark is changed":       {edit("packed", func(b []byte) []byte { b[120]++; return b }), true, true},
		"mark is cut":           {edit("packed", func(b []byte) []byte { return b[:len(b)-20] }), true, true},
		"segment is cut":        {edit(car, func(b []byte) []byte { return b[:len(b)-100] }), false, false},
		"segment is longer":     {edit(car, func(b []byte) []byte { return append(b, 0) }), false, false},
		"segment is gone":       {func(dir string) error { return os.Remove(filepath.Join(dir, car)) }, false, false},
		"segment is another's":  {func(dir string) error { return copyTo(dir, car, other) }, false, false},
		"segment is a link":     {func(dir string) error { return link(dir, car, good) }, false, true},
		"segment leads nowhere": {func(dir string) error { return link(dir, car, filepath.Join(good, "no")) }, false, false},
		"a byte of a segment":   {edit(car, func(b []byte) []byte { b[len(b)-5] ^= 1; return b }), true, false}, // a mark is no evidence
		"segment without a mark": {func(dir string) error {
			return errors.Join(edit(car, func(b []byte) []byte { b[len(b)-5] ^= 1; return b })(dir), os.Remove(filepath.Join(dir, "packed")))
		}, false, false},
		"another's segment beside": {func(dir string) error {
			return copyAs(dir, "history/0000000080-0000000090.car", filepath.Join(other, "history", filepath.Base(car)))
		}, true, false},
		"pack is gone":      {func(dir string) error { return os.Remove(filepath.Join(dir, pack)) }, true, true},
		"pack is cut":       {edit(pack, func(b []byte) []byte { return b[:len(b)/2] }), true, true},
		"pack is another's": {func(dir string) error { return copyTo(dir, pack, other) }, true, true},
		"a fork in a file": {func(dir string) error {
			return copyAs(dir, "history/0000000003.ckpt", filepath.Join(good, "history", store.FileName(70)))
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, good)
			if err := test.do(dir); err != nil {
				t.Fatal(err)
			}
			r, err := store.Verify(t.Context(), dir)
			if green := err == nil && r.Verdict() == verifier.Verified; green != test.verify {
				t.Errorf("it is %v, %v", r, err)
			}
			before := names(t, dir)
			_, err = Resume(t.Context(), dir, ticks(30, 1))
			if (err == nil) != test.resume {
				t.Errorf("igor resume: %v", err)
			}
			if err != nil && !slices.Equal(names(t, dir), before) {
				t.Errorf("it changed %q", names(t, dir))
			}
			OverviewOf(t.Context(), dir)
			DetailsOf(t.Context(), dir)
			Look(dir)
			LookNewest(dir)
			Logs(t.Context(), dir, LogsConfig{}, func(LogLine) error { return nil })
			RepairFolder(t.Context(), dir, RepairConfig{})
			err = packAll(t.Context(), dir, nil)
			if r, verifyErr := store.Verify(t.Context(), dir); verifyErr == nil && (r.Verdict() == verifier.Verified) != test.verify {
				t.Errorf("packed again (%v) it is %v", err, r.Verdict())
			}
		})
	}
}

func copyTo(dir, name, from string) error { return copyAs(dir, name, filepath.Join(from, name)) }

// copyAs copies a file, or the first one of its folder if there is no such.
func copyAs(dir, name, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	os.Remove(filepath.Join(dir, name))
	return os.WriteFile(filepath.Join(dir, name), b, 0o644)
}

func link(dir, name, to string) error {
	return errors.Join(os.Remove(filepath.Join(dir, name)), os.Symlink(filepath.Join(to, name), filepath.Join(dir, name)))
}

var packKills = flag.Int("pack-kills", 50, "how often TestPackKilled kills a process")

// TestPackKilled kills processes that pack a folder of an earlier igor, that pack while they
// live, and that prune, at any moment. What they leave is verified as it was, goes on, and
// is packed again.
func TestPackKilled(t *testing.T) {
	const what, where, with = "IGOR_PACK", "IGOR_PACK_DIR", "IGOR_PACK_COPY"
	switch dir := os.Getenv(where); os.Getenv(what) {
	case "":
	case "prune":
		if _, err := prune(dir, os.Getenv(with)); err != nil {
			t.Fatal(err)
		}
		return
	case "live":
		if _, err := Resume(t.Context(), dir, ticks(60, 1)); err != nil {
			t.Fatal(err)
		}
		return
	default:
		if err := packAll(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	b := logger()
	loose := unpacked(t, b, 60)
	packed := copyOf(t, loose)
	if err := packAll(t.Context(), packed, nil); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 5))
	killed, took := 0, map[string]time.Duration{}
	for n := 0; killed < *packKills && n < 4**packKills; n++ {
		do := []string{"pack", "live", "prune"}[n%3]
		dir, copy := copyOf(t, loose), loose
		if do == "prune" {
			dir, copy = copyOf(t, packed), packed
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestPackKilled$")
		cmd.Env = append(os.Environ(), what+"="+do, where+"="+dir, with+"="+copy)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if whole := took[do]; whole > 0 { // the first of each is not killed
			time.Sleep(time.Duration(rng.Int64N(int64(whole))))
			cmd.Process.Kill()
		}
		err := cmd.Wait()
		switch {
		case err == nil: // it was done before: a machine is as fast as it is now
			took[do] = time.Since(began)
		case took[do] == 0:
			t.Fatalf("%s: %v", do, err)
		default:
			killed++
		}
		paths := []string{dir}
		if do == "prune" {
			paths = append(paths, copy)
		}
		if r, err := store.Together(t.Context(), paths...); err != nil || r.Verdict() != verifier.Verified {
			t.Fatalf("%s, killed: it is %v, %v: %q", do, r, err, names(t, dir))
		}
		r, err := Resume(t.Context(), dir, ticks(2, 1))
		if err != nil || r.Tick < 62 {
			t.Fatalf("%s, killed: it goes on as %+v, %v: %q", do, r, err, names(t, dir))
		}
		if err := packAll(t.Context(), dir, nil); err != nil {
			t.Fatalf("%s, killed: %v", do, err)
		}
		if r, err := store.Together(t.Context(), paths...); err != nil || r.Verdict() != verifier.Verified {
			t.Fatalf("%s, killed, and packed again: it is %v, %v: %q", do, r, err, names(t, dir))
		}
		if left := names(t, dir); len(left) > 50 {
			t.Errorf("%s, killed: %d files are left: %q", do, len(left), left)
		}
		if !fits(t, dir) {
			t.Errorf("%s, killed, and packed again: the receipts are not as the mark says", do)
		}
		os.RemoveAll(dir)
	}
	if killed < *packKills {
		t.Errorf("only %d were killed", killed)
	}
}

package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

var (
	longLife    = flag.Uint64("long-life", 20_000, "how many checkpoints the life of TestLongLife has")
	longLifeDir = flag.String("long-life-dir", "", "the folder that TestLongLife keeps its life in; where it is there, it is measured again")
)

// unsynced is a folder that syncs nothing, for tests that make much.
type unsynced struct{ wal.Folder }

func (u unsynced) Sync() error { return nil }

func (u unsynced) Open(name string) (wal.File, error) {
	f, err := u.Folder.Open(name)
	return unsyncedFile{f}, err
}

func (u unsynced) Create(name string) (wal.File, error) {
	f, err := u.Folder.Create(name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ wal.File }

func (unsyncedFile) Sync() error { return nil }

// longDo are the commands that are measured, each in a process of its own.
var longDo = []struct {
	name string
	do   func(ctx context.Context, dir string, n uint64) error
}{
	{"nothing", func(context.Context, string, uint64) error { return nil }},
	{"resume", func(ctx context.Context, dir string, _ uint64) error {
		_, err := Resume(ctx, dir, ticks(1, 1))
		return err
	}},
	{"ls", func(ctx context.Context, dir string, _ uint64) error { _, err := OverviewOf(ctx, dir); return err }},
	{"status", func(ctx context.Context, dir string, _ uint64) error { _, err := DetailsOf(ctx, dir); return err }},
	{"logs --tail 10", func(ctx context.Context, dir string, _ uint64) error {
		return Logs(ctx, dir, LogsConfig{Tail: 10}, func(LogLine) error { return nil })
	}},
	{"verify", func(ctx context.Context, dir string, _ uint64) error {
		r, err := store.Verify(ctx, dir)
		if err == nil && r.Verdict() != verifier.Verified {
			err = store.Refusal(dir, r)
		}
		return err
	}},
	{"replay of the last 60", func(ctx context.Context, dir string, n uint64) error {
		r, err := Replay(ctx, dir, ReplayConfig{WASM: longBirth().WASM, Manifest: longBirth().Manifest, Events: filepath.Join(dir, "events"), From: n - 60, Log: quiet().Log})
		if err == nil && r.Verdict != Replayed {
			err = fmt.Errorf("%+v", r)
		}
		return err
	}},
	{"export", func(ctx context.Context, dir string, _ uint64) error {
		file := dir + ".car"
		defer os.Remove(file)
		_, err := store.Export(ctx, dir, file)
		return err
	}},
}

var peak = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// longNode is the key of the node that the long life is lived on.
var longNode = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// longBirth is of an agent with a state of 20 bytes.
func longBirth() Birth {
	b := birth(wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(20)}}})
	b.Budget = 1 << 50
	return b
}

// TestLongLife lives a long life, and says what its folder takes, and what is done with it.
func TestLongLife(t *testing.T) {
	if do := os.Getenv("IGOR_LONG_DO"); do != "" {
		n, _ := strconv.ParseUint(os.Getenv("IGOR_LONG_N"), 10, 64)
		for _, one := range longDo {
			if one.name == do {
				if err := one.do(t.Context(), os.Getenv("IGOR_LONG_DIR"), n); err != nil {
					t.Fatal(err)
				}
				status, _ := os.ReadFile("/proc/self/status")
				fmt.Printf("%s\n", status)
			}
		}
		return
	}
	dir := *longLifeDir
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "agent")
	}
	c := ticks(*longLife, 1)
	c.NodeKey = longNode
	c.through = func(_ string, f wal.Folder) wal.Folder { return unsynced{f} }
	began := time.Now()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := Start(t.Context(), dir, longBirth(), c); err != nil {
			t.Fatal(err)
		}
	}
	lived := time.Since(began)
	most := len(names(t, dir))
	if err := packAll(t.Context(), dir, c.through); err != nil {
		t.Fatal(err)
	}
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		files, bytes = files+1, bytes+info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n := int64(*longLife)
	t.Logf("%d checkpoints in %v: %d files (%d before the last packing), %d bytes, %d each", n, lived.Round(time.Millisecond), files, most, bytes, bytes/n)
	if limit := 60 + int(n/2048); files > limit {
		t.Errorf("%d files, and at most %d are allowed", files, limit)
	}
	if bytes/n > 1000 {
		t.Errorf("%d bytes a checkpoint", bytes/n)
	}
	for _, one := range longDo {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLongLife$")
		cmd.Env = append(os.Environ(), "IGOR_LONG_DO="+one.name, "IGOR_LONG_DIR="+dir, "IGOR_LONG_N="+strconv.FormatInt(n, 10))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", one.name, err, out)
			continue
		}
		used := cmd.ProcessState
		most := "?" // what the system says of a process has that of the one that began it
		if m := peak.FindSubmatch(out); m != nil {
			most = string(m[1])
		}
		t.Logf("%-22s %8v of a processor, %6s KiB at most", one.name, (used.UserTime() + used.SystemTime()).Round(time.Millisecond), most)
	}
}

package sandbox

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/wasmtest"
)

var metered = setup{metering: fuel.Version1}

func one(name string, typ wasmtest.Type, body string) wasmtest.Agent {
	return wasmtest.Agent{Table: true, Funcs: map[string]wasmtest.Func{name: {Type: typ, Body: body}}}
}

// TestFuel checks that an operation costs the same in each instance and on both
// engines, and that each reports its own.
func TestFuel(t *testing.T) {
	agent := wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow},
		Start:   "extra",
		Funcs: map[string]wasmtest.Func{
			"extra":      {Type: wasmtest.Nothing, Body: "\x01\x01"}, // nop nop
			"agent_init": {Type: wasmtest.Nothing, Body: wasmtest.Call(0) + wasmtest.Drop},
		},
	}.Bytes()
	// Counted by hand from docs/spec/metering.md.
	want := []uint64{
		2 + 0,              // the start function, _initialize
		8 + 1000 + 1,       // call, the hostcall, drop
		2 + 18 + 2 + 3 + 1, // const const load const add store const
		1 + 1,              // a const in each of agent_checkpoint and agent_checkpoint_ptr
		1 + 2 + 18 + 3,     // malloc: const; agent_resume: const get load store
	}
	for _, interpret := range []bool{false, true} {
		s := metered
		s.interpret = interpret
		p, err := s.compile(t, agent)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			in, err := p.Instantiate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := []uint64{in.Fuel()}
			if err := in.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			got = append(got, in.Fuel())
			if _, err := in.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			got = append(got, in.Fuel())
			state, err := in.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, in.Fuel())
			if err := in.Resume(t.Context(), state); err != nil {
				t.Fatal(err)
			}
			got = append(got, in.Fuel())
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("interpreted: %v, operation %d: %d units, want %d", interpret, i, got[i], want[i])
				}
			}
		}
	}
}

// TestFailures checks that failures can be told apart, and what they cost.
func TestFailures(t *testing.T) {
	exits := one("agent_tick", wasmtest.ToI32, wasmtest.I32(3)+wasmtest.Call(0)+wasmtest.I32(0))
	exits.Imports = []wasmtest.Import{{Module: "wasi_snapshot_preview1", Name: "proc_exit", Type: wasmtest.TakesI32}}
	tooMuch := one("agent_tick", wasmtest.ToI32, wasmtest.Repeat(hostcall.MaxCalls+1, wasmtest.Call(0)+wasmtest.Drop)+wasmtest.I32(0))
	tooMuch.Imports = []wasmtest.Import{wasmtest.ClockNow}
	for _, tt := range []struct {
		name    string
		agent   wasmtest.Agent
		failure Failure
		fuel    uint64
	}{
		{"trap", one("agent_tick", wasmtest.ToI32, wasmtest.Unreachable), Trap, 1},
		{"endless loop", one("agent_tick", wasmtest.ToI32, wasmtest.Forever+wasmtest.I32(0)), Fuel, 10_000_000},
		{"endless recursion", one("agent_tick", wasmtest.ToI32, wasmtest.Recurse+wasmtest.I32(0)), Depth, 0},
		{"exit", exits, Exit, 1 + 8 + 200 + 1}, // const, call, the hostcall, and the const that it does not come to
		{"too many hostcalls", tooMuch, Trap, 0},
		{"no state", one("agent_checkpoint", wasmtest.ToI32, wasmtest.I32(-1)), Trap, 1},
	} {
		for _, interpret := range []bool{false, true} {
			s := metered
			s.interpret = interpret
			if s.limit = 10 * time.Millisecond; tt.failure == Trap {
				s.limit = 0
			}
			in := s.start(t, tt.agent.Bytes())
			_, err := in.Tick(t.Context())
			if err == nil {
				_, err = in.Checkpoint(t.Context())
			}
			e, ok := errors.AsType[*AgentError](err)
			if !ok || e.Failure != tt.failure || tt.fuel > 0 && e.Fuel != tt.fuel || e.Fuel == 0 || e.Fuel != in.Fuel() {
				t.Errorf("%s: got %v, %+v, want failure %d and %d units", tt.name, err, e, tt.failure, tt.fuel)
			}
		}
	}
}

// TestDepth checks that both engines come to the same depth, whatever a frame
// weighs, and that each has room for it.
func TestDepth(t *testing.T) {
	for _, locals := range []string{"", "\x01\x05\x7e", "\x01\xe8\x07\x7e"} { // none, 5, 1000 of i64
		var got [2]uint64
		for i, interpret := range []bool{false, true} {
			s := metered
			s.interpret = interpret
			agent := one("agent_tick", wasmtest.ToI32, wasmtest.Recurse+wasmtest.I32(0))
			agent.Locals = map[string]string{"agent_tick": locals}
			_, err := s.start(t, agent.Bytes()).Tick(t.Context())
			e, _ := errors.AsType[*AgentError](err)
			if e == nil || e.Failure != Depth {
				t.Fatalf("%x, interpreted %v: %v", locals, interpret, err)
			}
			got[i] = e.Fuel
		}
		if got[0] != got[1] {
			t.Errorf("%x: %d units on one engine, %d on the other", locals, got[0], got[1])
		}
	}
}

// TestStop checks that an endless call ends when it is stopped, and that this is
// no failure of the agent.
func TestStop(t *testing.T) {
	s := metered
	in := s.start(t, one("agent_tick", wasmtest.ToI32, wasmtest.Forever+wasmtest.I32(0)).Bytes())
	time.AfterFunc(20*time.Millisecond, in.Stop)
	_, err := in.Tick(t.Context())
	if _, ok := errors.AsType[*AgentError](err); ok || !errors.Is(err, ErrStopped) || err.Error() != "agent_tick was broken off: it was stopped" {
		t.Errorf("got %v", err)
	}
}

type bytesLeft struct {
	mu   sync.Mutex
	left uint64
}

func (b *bytesLeft) Take(needs, likes uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := likes
	if n > b.left {
		n = needs
	}
	if n > b.left {
		return 0
	}
	b.left -= n
	return n
}

func (b *bytesLeft) Give(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// TestHostMemory checks that an agent never sees that the machine has no memory:
// its call is broken off, or there is no instance. What it took comes back.
func TestHostMemory(t *testing.T) {
	grow := one("agent_tick", wasmtest.ToI32, wasmtest.I32(100)+"\x40\x00") // memory.grow
	const all = 64 * pageSize
	for name, pages := range map[string]int{"growing": 1, "instantiating": 70} {
		left := &bytesLeft{left: all}
		s := metered
		s.memory = left
		grow.Pages = pages
		p, err := s.compile(t, grow.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			in, err := p.Instantiate(t.Context())
			if err == nil {
				_, err = in.Tick(t.Context())
			}
			if e, ok := errors.AsType[*HostError](err); !ok || !errors.Is(e, ErrNoMemory) {
				t.Fatalf("%s: got %v", name, err)
			}
		}
		p.Close()
		if left.left != all {
			t.Errorf("%s: %d of %d bytes came back", name, left.left, all)
		}
	}
}

// TestHostcallPrice checks that a call for which there is not enough fuel does
// nothing at all.
func TestHostcallPrice(t *testing.T) {
	emit := func(size int32) string { return wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(size) + wasmtest.Call(0) }
	agent := one("agent_tick", wasmtest.ToI32, wasmtest.Repeat(1000, emit(4096))+wasmtest.I32(0))
	agent.Imports = []wasmtest.Import{wasmtest.LogEmit}
	s := metered
	s.limit = time.Millisecond // 196 times 5,096, and what is between
	in := s.start(t, agent.Bytes())
	_, err := in.Tick(t.Context())
	if e, ok := errors.AsType[*AgentError](err); !ok || e.Failure != Fuel || e.Fuel != 1_000_000 {
		t.Fatal(err)
	}
	if n := len(s.host.logged); n < 190 || n > 196 {
		t.Errorf("%d lines for a million units", n)
	}
}

// TestOwnNames checks that an agent cannot call what is ours, and may have exports
// of the same name.
func TestOwnNames(t *testing.T) {
	s := metered
	_, err := s.compile(t, wasmtest.Agent{Imports: []wasmtest.Import{{Module: fuel.HookModule, Name: fuel.HookName, Type: wasmtest.FuncType("I", "I")}}}.Bytes())
	if err == nil || !strings.Contains(err.Error(), `there is no module "igor/fuel"`) {
		t.Errorf("got %v", err)
	}
}

// TestEnginePanics checks that a module on which the engine's validator panics is
// refused as any other that is invalid.
func TestEnginePanics(t *testing.T) {
	wasm := []byte("\x00asm\x01\x00\x00\x00\x01\x06\x01`\x01\x7f\x01\x7f\x03\x04\x03\x00\x000\x05\x03\x01\x00\x01\a\t\x02\x010\x00\x00\x011\x02\x00\n[\x03\t\x010\x7f\x02@\vA0\v\x0f\x010\x7fA0A0\x10\x0200000\v?\x010\x7f00000000000000000000000000000000000000000000000000000000000\v")
	for _, s := range []setup{{}, metered} {
		if _, err := s.compile(t, wasm); !errors.Is(err, ErrNotAgent) {
			t.Errorf("got %v", err)
		}
	}
}

// TestDamagedCache checks that whatever happens to compiled code, the program is
// compiled anew, and that it is said.
func TestDamagedCache(t *testing.T) {
	for _, version := range []uint32{0, fuel.Version1} {
		s := setup{metering: version, cacheDir: t.TempDir()}
		runs := func(warns bool) {
			t.Helper()
			s.log = new(bytes.Buffer)
			in := s.start(t, wasmtest.Agent{}.Bytes())
			if _, err := in.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(s.log.String(), "is damaged") && strings.Contains(s.log.String(), s.cacheDir); got != warns {
				t.Errorf("log %q, want a warning: %v", s.log.String(), warns)
			}
		}
		runs(false)
		runs(false)
		files, err := filepath.Glob(filepath.Join(s.cacheDir, "*", "*", "*"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write := func(b []byte) {
				t.Helper()
				if err := os.WriteFile(file, b, 0o600); err != nil {
					t.Fatal(err)
				}
				runs(true)
				runs(false)
			}
			write(nil)
			write(good[:len(good)/2])
			for at := 0; at < len(good); at += 1 + len(good)/40 {
				bad := bytes.Clone(good)
				bad[at] ^= 0xff
				write(bad)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			runs(false)
			runs(false)
		}
	}
}

// TestOldCode checks that code which another version of the engine left goes when new
// code comes, if it is old, and that nothing else does.
func TestOldCode(t *testing.T) {
	s := setup{metering: fuel.Version1, cacheDir: t.TempDir()}
	code := strings.Repeat("ab", 32)
	long := time.Now().Add(-2 * keptUnused)
	for folder, file := range map[string]string{"wazero-old": code, "wazero-new": code, "wazero-other": "notes.txt", "photos": code} {
		dir := filepath.Join(s.cacheDir, folder)
		file = filepath.Join(dir, file)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if folder != "wazero-new" {
			if err := errors.Join(os.Chtimes(file, long, long), os.Chtimes(dir, long, long)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := s.compile(t, wasmtest.Agent{}.Bytes()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range left {
		name, _, _ := strings.Cut(f.Name(), "-")
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "photos program wazero wazero" {
		t.Errorf("what is left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(s.cacheDir, "wazero-old")); err == nil {
		t.Error("old code is still there")
	}
	entries, err := filepath.Glob(filepath.Join(s.cacheDir, "program-*", "wazero-*"))
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	before := filepath.Join(filepath.Dir(entries[0]), "wazero-before") // as after an update of the engine
	if err := os.Rename(entries[0], before); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(before, "*"))
	for _, f := range append(files, before) {
		err = errors.Join(err, os.Chtimes(f, long, long))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.compile(t, wasmtest.Agent{}.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(before); err == nil {
		t.Error("code before an update is still there")
	}
}

// worstPause is an upper bound of the longest time for which the collector stopped
// everybody, or waited for that.
func worstPause() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	for i := len(h.Counts) - 1; i >= 0; i-- {
		if h.Counts[i] > 0 {
			return time.Duration(h.Buckets[i+1] * 1e9)
		}
	}
	return 0
}

// TestCollectorBesideHostileTicks has Go's collector run beside agents that never
// come back. It prints how long it had to wait at worst.
func TestCollectorBesideHostileTicks(t *testing.T) {
	var all []*Instance
	var wg sync.WaitGroup
	for _, body := range []string{
		wasmtest.Forever,
		"\x03\x40" + wasmtest.I32(0) + wasmtest.I32(7) + wasmtest.I32(60*pageSize) + "\xfc\x0b\x00" + "\x0c\x00\x0b",               // memory.fill
		"\x03\x40" + wasmtest.I32(0) + wasmtest.I32(30*pageSize) + wasmtest.I32(30*pageSize) + "\xfc\x0a\x00\x00" + "\x0c\x00\x0b", // memory.copy
		"\x03\x40" + wasmtest.I64(1) + wasmtest.I64(-1) + "\x7f\x1a" + "\x0c\x00\x0b",                                              // i64.div_s
		"\x03\x40" + wasmtest.I32(0) + strings.Repeat("\x28\x02\x00", 200) + "\x1a\x0c\x00\x0b",                                    // i32.load of i32.load …
	} {
		for range 2 {
			s := metered
			s.limit = 15 * time.Second
			agent := one("agent_tick", wasmtest.ToI32, body+wasmtest.I32(0))
			agent.Pages = 64
			in := s.start(t, agent.Bytes())
			all = append(all, in)
			wg.Go(func() { in.Tick(t.Context()) })
		}
	}
	worst := time.Duration(0)
	for range 20 {
		began := time.Now()
		runtime.GC()
		worst = max(worst, time.Since(began))
	}
	for _, in := range all {
		in.Stop()
	}
	began := time.Now()
	wg.Wait()
	t.Logf("beside %d hostile ticks the world was stopped for %v at most, and a collection took %v; they ended within %v",
		len(all), worstPause(), worst, time.Since(began))
}

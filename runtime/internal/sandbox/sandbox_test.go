package sandbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// fakeHost gives the same observations each time, of the capabilities that need
// no part of Live.
type fakeHost struct {
	hostcall.Live
	logged []string
	drawn  int
}

func (*fakeHost) ClockNow() int64 { return 1234567890123456789 }
func (h *fakeHost) RandBytes(b []byte) {
	h.drawn++
	for i := range b {
		b[i] = 0xaa
	}
}
func (h *fakeHost) LogEmit(line []byte) { h.logged = append(h.logged, string(line)) }

func declare(capabilities ...string) *manifest.Manifest {
	m := manifest.Empty()
	for _, c := range capabilities {
		m.Capabilities[c] = 1
	}
	return m
}

type setup struct {
	manifest  *manifest.Manifest
	host      *fakeHost
	log       *bytes.Buffer
	limit     time.Duration
	metering  uint32
	interpret bool
	memory    Memory
	cacheDir  string
}

// inEachMode runs a test with the machine's clock, and with fuel on both engines.
func inEachMode(t *testing.T, test func(*testing.T, setup)) {
	for name, mode := range map[string]setup{
		"clock":       {},
		"fuel":        {metering: fuel.Version1},
		"interpreted": {metering: fuel.Version1, interpret: true},
	} {
		t.Run(name, func(t *testing.T) { test(t, mode) })
	}
}

func (s *setup) compile(t *testing.T, wasm []byte) (*Program, error) {
	t.Helper()
	if s.manifest == nil {
		s.manifest = declare("clock", "rand", "log")
	}
	if s.host == nil {
		s.host = new(fakeHost)
	}
	m := *s.manifest
	if s.limit > 0 {
		m.MaxTick = s.limit
	}
	if s.log == nil {
		s.log = new(bytes.Buffer)
	}
	p, err := Compile(context.Background(), wasm, Config{
		Manifest:  &m,
		Host:      s.host,
		Log:       slog.New(slog.NewTextHandler(s.log, nil)),
		Metering:  s.metering,
		Memory:    s.memory,
		CacheDir:  s.cacheDir,
		interpret: s.interpret,
	})
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

func (s *setup) start(t *testing.T, wasm []byte) *Instance {
	t.Helper()
	p, err := s.compile(t, wasm)
	if err != nil {
		t.Fatal(err)
	}
	in, err := p.Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestLife(t *testing.T) { inEachMode(t, testLife) }

func testLife(t *testing.T, mode setup) {
	s := mode
	in := s.start(t, wasmtest.Agent{}.Bytes())
	if err := in.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if more, err := in.Tick(t.Context()); err != nil || more == 0 {
			t.Fatal(more, err)
		}
	}
	state, err := in.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next, err := in.program.Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Resume(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	in.Close()
	next.Tick(t.Context())
	state, err = next.Checkpoint(t.Context())
	if err != nil || len(state) != 8 || binary.LittleEndian.Uint64(state) != 301 {
		t.Errorf("got state %x and error %v, want 301", state, err)
	}
}

func TestEmptyState(t *testing.T) { inEachMode(t, testEmptyState) }

func testEmptyState(t *testing.T, mode setup) {
	s := mode
	in := s.start(t, wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_checkpoint":     {Type: wasmtest.ToI32, Body: wasmtest.I32(0)},
		"agent_checkpoint_ptr": {Type: wasmtest.ToI32, Body: wasmtest.Unreachable},
		"malloc":               {Type: wasmtest.I32ToI32, Body: wasmtest.Unreachable},
	}}.Bytes())
	state, err := in.Checkpoint(t.Context())
	if err != nil || len(state) != 0 {
		t.Fatal(state, err)
	}
	if err := in.Resume(t.Context(), state); err != nil {
		t.Error(err)
	}
}

// TestTickResult checks the meaning of a tick's result, and of none.
func TestTickResult(t *testing.T) { inEachMode(t, testTickResult) }

func testTickResult(t *testing.T, mode setup) {
	for _, tt := range []struct {
		tick wasmtest.Func
		more bool
	}{
		{wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.I32(0)}, false},
		{wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.I32(1)}, true},
		{wasmtest.Func{Type: wasmtest.Nothing}, false},
	} {
		s := mode
		in := s.start(t, wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": tt.tick}}.Bytes())
		if more, err := in.Tick(t.Context()); (more != 0) != tt.more || err != nil {
			t.Errorf("%q: got %v, %v, want %v", tt.tick.Body, more, err, tt.more)
		}
	}
}

func TestCompileErrors(t *testing.T) { inEachMode(t, testCompileErrors) }

func testCompileErrors(t *testing.T, mode setup) {
	one := func(name string, f wasmtest.Func) wasmtest.Agent {
		return wasmtest.Agent{Funcs: map[string]wasmtest.Func{name: f}}
	}
	imports := func(im ...wasmtest.Import) wasmtest.Agent { return wasmtest.Agent{Imports: im} }
	for _, tt := range []struct {
		name  string
		agent wasmtest.Agent
		want  string
	}{
		{"no agent_init", one("agent_init", wasmtest.Func{}), "does not export agent_init()"},
		{"no malloc", one("malloc", wasmtest.Func{}), "does not export malloc(i32) -> i32"},
		{"no agent_resume", one("agent_resume", wasmtest.Func{}), "does not export agent_resume(i32, i32)"},
		{"tick of i64", one("agent_tick", wasmtest.Func{Type: wasmtest.ToI64, Body: wasmtest.I64(1)}),
			"exports agent_tick as () -> i64, and it has to be () or () -> i32"},
		{"checkpoint without a size", one("agent_checkpoint", wasmtest.Func{Type: wasmtest.Nothing}),
			"exports agent_checkpoint as (), and it has to be () -> i32"},
		{"private memory", wasmtest.Agent{Private: true}, "does not export its memory"},
		{"no body", one("agent_tick", wasmtest.Func{Type: wasmtest.ToI32}), "not an agent: invalid function"},
		{"foreign module", imports(wasmtest.Import{Module: "web", Name: "fetch", Type: wasmtest.Nothing}),
			`agent imports web.fetch, and there is no module "web"`},
		{"unknown hostcall", imports(wasmtest.Import{Module: "igor", Name: "launch", Type: wasmtest.Nothing}),
			"agent imports igor.launch, which no version"},
		{"another undeclared hostcall", imports(wasmtest.Import{Module: "igor", Name: "kv_get", Type: wasmtest.Nothing}),
			`manifest does not declare capability "kv"`},
		{"undeclared hostcall", imports(wasmtest.RandBytes), `manifest does not declare capability "rand"`},
		{"hostcall of another type", imports(wasmtest.Import{Module: "igor", Name: "clock_now", Type: wasmtest.ToI32}),
			"imports igor.clock_now as () -> i32, and it is () -> i64"},
		{"memory over the limit", wasmtest.Agent{Pages: 1025}, "1025 pages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mode
			s.manifest = declare("clock")
			_, err := s.compile(t, tt.agent.Bytes())
			if mode.metering > 0 { // which reads instructions before the engine does
				tt.want = strings.ReplaceAll(tt.want, "invalid function", "it has a function that is cut")
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}

func TestUnknownWASI(t *testing.T) { inEachMode(t, testUnknownWASI) }

func testUnknownWASI(t *testing.T, mode setup) {
	s := mode
	for _, of := range []struct {
		wasmtest.Import
		want string
	}{
		{wasmtest.Import{Module: "wasi_snapshot_preview1", Name: "teleport", Type: wasmtest.Nothing}, "agent imports wasi_snapshot_preview1.teleport, which WASI preview 1 does not have"},
		{wasmtest.Import{Module: "wasi_snapshot_preview1", Name: "sched_yield", Type: wasmtest.Nothing}, "agent imports wasi_snapshot_preview1.sched_yield as (), and it is () -> i32"},
		{wasmtest.Import{Module: "env", Name: "my_helper", Type: wasmtest.Nothing}, "agent imports env.my_helper, which nothing here has"},
		{wasmtest.Import{Module: "gojs", Name: "runtime.wasmExit", Type: wasmtest.TakesI32}, `agent imports gojs.runtime.wasmExit, and there is no module "gojs"`},
	} {
		_, err := s.compile(t, wasmtest.Agent{Imports: []wasmtest.Import{of.Import}}.Bytes())
		if err == nil || !strings.Contains(err.Error(), of.want) {
			t.Errorf("got error %v, want one with %q", err, of.want)
		}
	}
}

// TestHostile runs agents that fail in each call in each way. None may end the
// process, and each error names the call and the cause.
func TestHostile(t *testing.T) { inEachMode(t, testHostile) }

func testHostile(t *testing.T, mode setup) {
	traps := map[string]wasmtest.Type{
		"_initialize":          wasmtest.Nothing,
		"agent_init":           wasmtest.Nothing,
		"agent_tick":           wasmtest.ToI32,
		"agent_checkpoint":     wasmtest.ToI32,
		"agent_checkpoint_ptr": wasmtest.ToI32,
		"agent_resume":         wasmtest.I32I32,
		"malloc":               wasmtest.I32ToI32,
	}
	type hostile struct {
		name  string
		agent wasmtest.Agent
		want  string
	}
	var cases []hostile
	for name, typ := range traps {
		result := ""
		if typ == wasmtest.ToI32 || typ == wasmtest.I32ToI32 {
			result = wasmtest.I32(1)
		}
		cases = append(cases,
			hostile{"trap in " + name, wasmtest.Agent{Funcs: map[string]wasmtest.Func{name: {Type: typ, Body: wasmtest.Unreachable}}},
				name + " failed: unreachable"},
			hostile{"endless " + name, wasmtest.Agent{Funcs: map[string]wasmtest.Func{name: {Type: typ, Body: wasmtest.Forever + result}}},
				name + " failed: it took longer than 50ms"},
			hostile{"exit in " + name, wasmtest.Agent{
				Imports: []wasmtest.Import{{Module: "wasi_snapshot_preview1", Name: "proc_exit", Type: wasmtest.TakesI32}},
				Funcs:   map[string]wasmtest.Func{name: {Type: typ, Body: wasmtest.I32(0) + wasmtest.Call(0) + result}},
			}, name + " failed: it exited with code 0"})
	}
	one := func(name string, typ wasmtest.Type, body string) wasmtest.Agent {
		return wasmtest.Agent{Table: true, Funcs: map[string]wasmtest.Func{name: {Type: typ, Body: body}}}
	}
	start := one("extra", wasmtest.Nothing, wasmtest.Forever)
	start.Start = "extra"
	cases = append(cases,
		hostile{"AssemblyScript's abort", wasmtest.Agent{
			Imports: []wasmtest.Import{{Module: "env", Name: "abort", Type: wasmtest.I32x4}},
			Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(7) + wasmtest.I32(9) +
				wasmtest.Call(0) + wasmtest.I32(1)}},
		}, "agent_tick failed: it exited with code 255"},
		hostile{"endless start function", start, "instantiation failed: it took longer than 50ms"},
		hostile{"memory bomb", one("agent_tick", wasmtest.ToI32, wasmtest.Exhaust+wasmtest.Unreachable), "agent_tick failed: unreachable"},
		hostile{"table bomb", one("agent_tick", wasmtest.ToI32, wasmtest.ExhaustTable+wasmtest.Unreachable), "agent_tick failed: unreachable"},
		hostile{"endless recursion", one("agent_tick", wasmtest.ToI32, wasmtest.Recurse+wasmtest.I32(0)), "agent_tick failed: stack overflow"},
		hostile{"state too long", one("agent_checkpoint", wasmtest.ToI32, wasmtest.I32(-1)), "agent_checkpoint failed: its state has 4294967295 bytes, and may have"},
		hostile{"state beyond memory", one("agent_checkpoint", wasmtest.ToI32, wasmtest.I32(65537)), "is outside its memory of 65536 bytes"},
		hostile{"pointer out of range", one("agent_checkpoint_ptr", wasmtest.ToI32, wasmtest.I32(-4)), "its state (8 bytes at 4294967292) is outside"},
		hostile{"malloc out of range", one("malloc", wasmtest.I32ToI32, wasmtest.I32(65530)), "malloc failed: the memory that it gave (8 bytes at 65530) is outside"},
		hostile{"malloc of nothing", one("malloc", wasmtest.I32ToI32, wasmtest.I32(0)), "malloc failed: it gave no memory for 8 bytes"},
	)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			s := mode
			if strings.Contains(tt.want, "longer") {
				s.limit = 50 * time.Millisecond
				if s.interpret {
					s.limit = 5 * time.Millisecond
				}
			}
			p, err := s.compile(t, tt.agent.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			err = live(t.Context(), p)
			if mode.metering > 0 {
				tt.want = strings.NewReplacer("it took longer than 50ms", fmt.Sprintf("it used up its fuel, %d units", fuel.Limit(s.limit)),
					"stack overflow", "its calls are nested too deeply").Replace(tt.want)
			}
			if agentErr := new(AgentError); !errors.As(err, &agentErr) {
				t.Fatalf("got error %v, want an AgentError", err)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got error %q, want a line with %q", err, tt.want)
			}
		})
	}
}

// TestGiantState has an agent with the largest state that there may be, beside the
// largest store: it fits into a checkpoint. A byte more does not come out of the agent.
func TestGiantState(t *testing.T) { inEachMode(t, testGiantState) }

func testGiantState(t *testing.T, mode setup) {
	for capability, store := range map[string]int{"clock": 0, "kv": kv.MaxEnvelope} {
		most := MaxState - store
		giant := func(size int) *Instance {
			s := mode
			s.manifest = declare(capability)
			return s.start(t, wasmtest.Agent{Pages: 1024, Funcs: map[string]wasmtest.Func{
				"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(int32(size))},
				"malloc":           {Type: wasmtest.I32ToI32, Body: wasmtest.I32(64)},
			}}.Bytes())
		}
		in := giant(most)
		state, err := in.Checkpoint(t.Context())
		if err != nil || len(state) != most {
			t.Fatalf("%s: a state of %d bytes, %v", capability, len(state), err)
		}
		if err := in.Resume(t.Context(), state); err != nil {
			t.Errorf("%s: it is not restored: %v", capability, err)
		}
		c := verifier.Checkpoint{Version: verifier.Version4, State: append(state, make([]byte, store)...)}
		if _, err := verifier.Parse(c.Append(nil)); err != nil {
			t.Errorf("%s: it does not fit into a checkpoint: %v", capability, err)
		}
		_, err = giant(most + 1).Checkpoint(t.Context())
		if want := fmt.Sprintf("agent_checkpoint failed: its state has %d bytes, and may have %d", most+1, most); err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", capability, err, want)
		}
	}
}

// live calls everything that an instance has.
func live(ctx context.Context, p *Program) error {
	in, err := p.Instantiate(ctx)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := in.Init(ctx); err != nil {
		return err
	}
	if _, err := in.Tick(ctx); err != nil {
		return err
	}
	state, err := in.Checkpoint(ctx)
	if err != nil {
		return err
	}
	return in.Resume(ctx, state)
}

// TestHostcalls calls each hostcall, in range and out of it.
func TestHostcalls(t *testing.T) { inEachMode(t, testHostcalls) }

func testHostcalls(t *testing.T, mode setup) {
	s := mode
	const clock, random, log = 0, 1, 2
	rand := func(ptr, size int32) string {
		return wasmtest.I32(ptr) + wasmtest.I32(size) + wasmtest.Call(random)
	}
	emit := func(ptr, size int32) string { return wasmtest.I32(ptr) + wasmtest.I32(size) + wasmtest.Call(log) }
	in := s.start(t, wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit},
		Pages:   32,
		Funcs: map[string]wasmtest.Func{
			"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(48)},
			"agent_tick": {Type: wasmtest.ToI32, Body: "" +
				wasmtest.I32(0) + wasmtest.Call(clock) + "\x37\x03\x00" + // i64.store
				wasmtest.StoreI32(8, rand(12, 4)) +
				wasmtest.StoreI32(16, rand(0, hostcall.MaxRandom+1)) +
				wasmtest.StoreI32(20, rand(-4, 8)) +
				wasmtest.StoreI32(24, rand(32*pageSize, 1)) +
				wasmtest.StoreI32(28, rand(32*pageSize, 0)) +
				wasmtest.StoreI32(32, rand(1024, hostcall.MaxRandom)) +
				emit(1024, 3) + emit(-4, 8) + emit(32*pageSize-2, 3) + emit(1024, hostcall.MaxLogLine+1) + emit(1024, -1) +
				wasmtest.I32(1)},
		},
	}.Bytes())
	if _, err := in.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := in.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := int64(binary.LittleEndian.Uint64(state)); got != 1234567890123456789 {
		t.Errorf("clock_now gave %d", got)
	}
	for offset, want := range map[int]int32{8: 0, 12: -0x55555556, 16: -2, 20: -1, 24: -1, 28: 0, 32: 0} {
		if got := int32(binary.LittleEndian.Uint32(state[offset:])); got != want {
			t.Errorf("at %d: got %d, want %d", offset, got, want)
		}
	}
	random3 := "\xaa\xaa\xaa"
	long := strings.Repeat("\xaa", hostcall.MaxLogLine)
	if want := []string{random3, long, long}; !slices.Equal(s.host.logged, want) {
		t.Errorf("got %d lines %.20q, want %d", len(s.host.logged), s.host.logged, len(want))
	}
	if s.host.drawn != 3 {
		t.Errorf("%d draws, want 3", s.host.drawn)
	}
}

// TestOutputFlood checks that what an agent writes is bounded in each call.
func TestOutputFlood(t *testing.T) { inEachMode(t, testOutputFlood) }

func testOutputFlood(t *testing.T, mode setup) {
	// fd_write(2, iovec at 1024, 1, written at 1040); the iovec is "x\n" at 1032.
	write := wasmtest.I32(2) + wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(1) + wasmtest.I32(wasmtest.DataAt+16) + wasmtest.Call(0) + wasmtest.Drop
	s := mode
	in := s.start(t, wasmtest.Agent{
		Imports: []wasmtest.Import{{Module: "wasi_snapshot_preview1", Name: "fd_write", Type: wasmtest.FuncType("iiii", "i")}},
		Data:    "\x08\x04\x00\x00\x02\x00\x00\x00x\n",
		Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Repeat(3*hostcall.MaxLogLines, write) + wasmtest.I32(0)},
		},
	}.Bytes())
	for range 2 {
		s.log.Reset()
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if lines, warned := strings.Count(s.log.String(), "stderr=x"), strings.Count(s.log.String(), "writes too much"); lines != hostcall.MaxLogLines || warned != 1 {
			t.Errorf("%d lines, and %d warnings", lines, warned)
		}
	}
}

// TestManifestMemory checks that the manifest's limit holds, not only the largest.
func TestManifestMemory(t *testing.T) { inEachMode(t, testManifestMemory) }

func testManifestMemory(t *testing.T, mode setup) {
	m := declare()
	m.MaxMemory = 4 * pageSize
	s := mode
	s.manifest = m
	size := "\x3f\x00" // memory.size
	in := s.start(t, wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.StoreI32(0, wasmtest.I32(4)+"\x40\x00") + // memory.grow
			wasmtest.StoreI32(4, wasmtest.I32(3)+"\x40\x00") + wasmtest.StoreI32(0, size) + wasmtest.I32(1)},
	}}.Bytes())
	if _, err := in.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, err := in.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pages := binary.LittleEndian.Uint32(state); pages != 4 {
		t.Errorf("memory has %d pages, want 4", pages)
	}
}

// TestFreshMemory checks that nothing of an instance is left in the memory of a
// later one, and that it begins with the size that the module states.
func TestFreshMemory(t *testing.T) { inEachMode(t, testFreshMemory) }

func testFreshMemory(t *testing.T, mode setup) {
	s := mode
	// A tick adds up what it finds in each page behind its own, then writes there.
	grow := wasmtest.I32(3) + "\x40\x00" + wasmtest.Drop                       // memory.grow
	find := func(at int32) string { return wasmtest.I32(at) + "\x28\x02\x00" } // i32.load
	p, err := s.compile(t, wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_init": {Type: wasmtest.Nothing, Body: wasmtest.StoreI32(0, "\x3f\x00")}, // memory.size
		"agent_tick": {Type: wasmtest.ToI32, Body: grow +
			wasmtest.StoreI32(4, find(8)+find(pageSize)+"\x6a"+find(4*pageSize-4)+"\x6a") +
			wasmtest.StoreI32(8, wasmtest.I32(1)) + wasmtest.StoreI32(pageSize, wasmtest.I32(1)) + wasmtest.StoreI32(4*pageSize-4, wasmtest.I32(1)) +
			wasmtest.I32(1)},
	}}.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		in, err := p.Instantiate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		state, err := in.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if binary.LittleEndian.Uint64(state) != 1 {
			t.Errorf("instance %d: begins with %d pages, and finds %d words", i,
				binary.LittleEndian.Uint32(state), binary.LittleEndian.Uint32(state[4:]))
		}
		in.Close()
	}
}

// TestCacheOfOthers checks that nobody else's machine code is run.
func TestCacheOfOthers(t *testing.T) {
	dir := t.TempDir()
	compile := func() error {
		p, err := Compile(t.Context(), wasmtest.Agent{}.Bytes(), Config{
			Manifest: declare(), Host: new(fakeHost), Log: slog.New(slog.DiscardHandler), CacheDir: dir,
		})
		if err == nil {
			p.Close()
		}
		return err
	}
	if err := compile(); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o720, 0o702} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := compile(); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("mode %o: got error %v", mode, err)
		}
	}
}

// TestCancelInstantiate checks that a spare instance that nobody waits for any
// more is given up.
func TestCancelInstantiate(t *testing.T) { inEachMode(t, testCancelInstantiate) }

func testCancelInstantiate(t *testing.T, mode setup) {
	s := mode
	p, err := s.compile(t, wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"_initialize": {Type: wasmtest.Nothing, Body: wasmtest.Forever},
	}}.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := p.Instantiate(ctx); err == nil || strings.Contains(err.Error(), "longer") {
		t.Errorf("got error %v, want one that is not its time limit's", err)
	}
}

// TestCancel checks that a call is not interrupted by its context: a signal to
// the node must not tear a tick.
func TestCancel(t *testing.T) { inEachMode(t, testCancel) }

func testCancel(t *testing.T, mode setup) {
	s := mode
	in := s.start(t, wasmtest.Agent{}.Bytes())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.Tick(ctx); err != nil {
		t.Error(err)
	}
}

// TestCrashReason finds among what an agent wrote to standard error the line that says
// why it crashed.
func TestCrashReason(t *testing.T) {
	for _, tt := range []struct{ wrote, want string }{
		{"starting\nloading 3 files\npanic: boom\n\ngoroutine 1 [running]:\nmain.tick()\n", "panic: boom"}, // Go
		{"starting\nfatal error: all goroutines are asleep - deadlock!\nmore\n", "fatal error: all goroutines are asleep - deadlock!"},
		{"thread pool is up\nthread 'main' panicked at src/lib.rs:4:5:\nboom\nnote: run with RUST_BACKTRACE=1\n", "thread 'main' panicked at src/lib.rs:4:5:"},
		{"starting\nAssertion failed: x > 0 (a.c: tick: 7)\n", "Assertion failed: x > 0 (a.c: tick: 7)"}, // C
		{"starting\nbad luck at agent.ts:3:5\n", "bad luck at agent.ts:3:5"},                             // AssemblyScript
		{"no end of line", "no end of line"},
		{"", ""},
	} {
		l := &lineLogger{log: slog.New(slog.DiscardHandler), stream: "stderr", lines: new(int)}
		l.Write([]byte(tt.wrote))
		l.flush()
		if l.reason != tt.want {
			t.Errorf("%q: the reason is %q, want %q", tt.wrote, l.reason, tt.want)
		}
	}
}

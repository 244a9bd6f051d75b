// Package sandbox runs an agent's WASM: one compiled [Program], and as many
// fresh [Instance]s of it as its life needs.
//
// An agent is a module (WebAssembly core 1.0 and what wazero's default features
// accept) that exports its memory and
//
//	agent_init()                     once, at its first start
//	agent_tick() or () -> i32        one step; not 0 = there is more to do at once
//	agent_checkpoint() -> i32        serialises the state, returns its size
//	agent_checkpoint_ptr() -> i32    where those bytes are
//	agent_resume(ptr i32, len i32)   restores the state
//	malloc(size i32) -> i32          for the bytes handed to agent_resume
//
// and may export _initialize, which is called first in each instance. An empty
// state is handed over as agent_resume(0, 0), without a malloc.
//
// It may import the hostcalls that its manifest declares (package hostcall) and
// WASI preview 1, of which nothing reaches the machine: no files, no network,
// no arguments, no environment. Standard output and standard error go to the
// log. WASI's clocks start at 2022-01-01T00:00:00Z in each instance and advance
// by one millisecond at each reading, and its randomness is one fixed stream:
// what an agent does follows from its state and from the hostcalls alone. What
// AssemblyScript's own runtime imports from "env" (abort, trace and seed) is
// there too, on the same terms.
//
// A trap, a panic, an exit or a call that takes too long is an [*AgentError],
// and the end of that instance, never of the process.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/assemblyscript"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/module"
	"igor.dev/verifier"
)

const (
	// DefaultCallLimit is how long one call into an agent may take.
	DefaultCallLimit = manifest.MaxTick

	// MaxState is the largest state that fits into a checkpoint.
	MaxState = verifier.MaxCheckpointSize - verifier.HeaderSize

	// MaxModule is the largest program that there may be, in bytes of WASM.
	MaxModule = module.MaxSize

	pageSize = 64 << 10

	assemblyScriptModule = "env" // by its compiler
)

// The exports that make a module an agent.
const (
	exportInitialize    = "_initialize"
	exportInit          = "agent_init"
	exportTick          = "agent_tick"
	exportCheckpoint    = "agent_checkpoint"
	exportCheckpointPtr = "agent_checkpoint_ptr"
	exportResume        = "agent_resume"
	exportMalloc        = "malloc"
)

// ErrNotAgent says that a program is not an agent.
var ErrNotAgent = errors.New("not an agent")

// Config is what a program runs with.
type Config struct {
	Manifest  *manifest.Manifest
	Host      hostcall.Host // of instances that have none of their own
	Log       *slog.Logger  // for the agent's standard output and standard error, unless an instance has its own
	CallLimit time.Duration // 0 = DefaultCallLimit; the manifest's limit holds if it is lower
	CacheDir  string        // for compiled code; "" = none is kept
}

// A Program is compiled code. Its instances may be used at the same time.
type Program struct {
	config   Config
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	memory   memoryPool
}

// Compile checks that wasm is an agent that imports nothing but what it may,
// and compiles it.
func Compile(ctx context.Context, wasm []byte, config Config) (*Program, error) {
	if config.CallLimit == 0 {
		config.CallLimit = DefaultCallLimit
	}
	config.CallLimit = min(config.CallLimit, config.Manifest.MaxTick)
	screened, err := module.Parse(wasm)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAgent, err)
	}
	rc := wazero.NewRuntimeConfig().
		WithMemoryLimitPages(max(1, config.Manifest.MaxMemory/pageSize)).
		WithCloseOnContextDone(true) // or nothing would end an endless loop
	p := &Program{config: config}
	if config.CacheDir != "" {
		err := checkCache(config.CacheDir)
		if err == nil {
			p.cache, err = wazero.NewCompilationCacheWithDir(config.CacheDir)
		}
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("the folder for compiled code %s cannot be used: %w", config.CacheDir, err), "name another one with --cache-dir")
		}
		rc = rc.WithCompilationCache(p.cache)
	}
	p.runtime = wazero.NewRuntimeWithConfig(ctx, rc)
	if err := p.compile(ctx, screened.Bytes()); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Program) compile(ctx context.Context, wasm []byte) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return err
	}
	if _, err := assemblyscript.Instantiate(ctx, p.runtime); err != nil {
		return err
	}
	membrane := hostcall.Membrane{Manifest: p.config.Manifest, Host: p.config.Host, Log: p.config.Log}
	if err := hostcall.Link(ctx, p.runtime, membrane); err != nil {
		return err
	}
	var err error
	if p.compiled, err = p.runtime.CompileModule(ctx, wasm); err != nil {
		return fmt.Errorf("%w: %s", ErrNotAgent, firstLine(err))
	}
	if err := p.checkImports(); err != nil {
		return err
	}
	return p.checkExports()
}

// checkCache refuses a cache that others can write: what is in it is run as it
// is, outside the sandbox.
func checkCache(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it will be made, for this user alone
	case err != nil:
		return err
	case info.Mode().Perm()&0o022 != 0:
		return hint.Wrap(fmt.Errorf("%s can be written by others (mode %04o)", dir, info.Mode().Perm()), "name a folder of your own, or: chmod go-w %s", dir)
	}
	return nil
}

func (p *Program) checkImports() error {
	for _, f := range p.compiled.ImportedFunctions() {
		switch module, name, _ := f.Import(); module {
		case hostcall.Module:
			if err := hostcall.Check(f, p.config.Manifest); err != nil {
				return err
			}
		case wasi_snapshot_preview1.ModuleName, assemblyScriptModule:
			// Instantiating names what they have not.
		default:
			return fmt.Errorf("agent imports %s.%s, and there is no module %q: an agent imports from %q and %q alone",
				module, name, module, hostcall.Module, wasi_snapshot_preview1.ModuleName)
		}
	}
	if len(p.compiled.ImportedMemories()) > 0 {
		return errors.New("agent imports a memory, and has to have its own")
	}
	return nil
}

func (p *Program) checkExports() error {
	const i32 = api.ValueTypeI32
	exports := p.compiled.ExportedFunctions()
	for _, want := range []struct {
		name            string
		params, results []api.ValueType
		optional        bool
	}{
		{name: exportInit},
		{name: exportTick}, // or with a result, see below
		{name: exportCheckpoint, results: []api.ValueType{i32}},
		{name: exportCheckpointPtr, results: []api.ValueType{i32}},
		{name: exportResume, params: []api.ValueType{i32, i32}},
		{name: exportMalloc, params: []api.ValueType{i32}, results: []api.ValueType{i32}},
		{name: exportInitialize, optional: true},
	} {
		f, ok := exports[want.name]
		if !ok {
			if want.optional {
				continue
			}
			return fmt.Errorf("%w: it does not export %s%s", ErrNotAgent, want.name, hostcall.Signature(want.params, want.results))
		}
		got := hostcall.Signature(f.ParamTypes(), f.ResultTypes())
		allowed := []string{hostcall.Signature(want.params, want.results)}
		if want.name == exportTick {
			allowed = append(allowed, hostcall.Signature(nil, []api.ValueType{i32}))
		}
		if got != allowed[0] && got != allowed[len(allowed)-1] {
			return fmt.Errorf("%w: it exports %s as %s, and it has to be %s", ErrNotAgent, want.name, got, strings.Join(allowed, " or "))
		}
	}
	if len(p.compiled.ExportedMemories()) == 0 {
		return fmt.Errorf("%w: it does not export its memory", ErrNotAgent)
	}
	return nil
}

// Rest gives back the memory that is kept for new instances.
func (p *Program) Rest() {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	p.memory.free = nil
}

// Close frees the program and all its instances.
func (p *Program) Close() error {
	ctx := context.Background()
	err := p.runtime.Close(ctx)
	if p.cache != nil {
		err = errors.Join(err, p.cache.Close(ctx))
	}
	return err
}

// An Instance is an agent in memory. It is not safe for concurrent use, and of
// no use after an error.
type Instance struct {
	program *Program
	module  api.Module
	tick    api.Function // once it was called: each look-up makes a stack of its own
	output  *lineLogger  // standard error, where panics are explained
	log     *slog.Logger
	host    hostcall.Host // nil: the program's
}

// Attach gives an instance a host of its own.
func (in *Instance) Attach(host hostcall.Host) { in.host = host }

// Instantiate makes a fresh instance, in which nothing but _initialize ran. It
// ends early when ctx is cancelled, unlike all else that runs agent code.
func (p *Program) Instantiate(ctx context.Context) (*Instance, error) {
	return p.InstantiateFor(ctx, p.config.Log)
}

// InstantiateFor is Instantiate for one of the agents that share a program: what it
// writes goes to a log of its own.
func (p *Program) InstantiateFor(ctx context.Context, log *slog.Logger) (*Instance, error) {
	lines := new(int)
	stdout := &lineLogger{log: log, stream: "stdout", lines: lines}
	stderr := &lineLogger{log: log, stream: "stderr", lines: lines}
	var wall, mono int64
	config := wazero.NewModuleConfig().
		WithName(""). // so that there can be several
		WithStartFunctions().
		WithStdout(stdout).
		WithStderr(stderr).
		WithWalltime(func() (int64, int32) {
			wall++
			return wasiEpoch + wall/1000, int32(wall % 1000 * 1e6)
		}, sys.ClockResolution(time.Millisecond)).
		WithNanotime(func() int64 {
			mono++
			return mono * int64(time.Millisecond)
		}, sys.ClockResolution(time.Millisecond)).
		WithNanosleep(func(ns int64) { mono += ns / int64(time.Millisecond) }). // sleeping is free, and over at once
		WithRandSource(rand.NewChaCha8([32]byte{}))
	limited, cancel := p.limit(ctx) // a module's start function runs here
	defer cancel()
	instance, err := p.runtime.InstantiateModule(experimental.WithMemoryAllocator(limited, &p.memory), p.compiled, config)
	if err != nil {
		return nil, p.agentError("instantiation", err)
	}
	in := &Instance{program: p, module: instance, output: stderr, log: log}
	if instance.ExportedFunction(exportInitialize) != nil {
		if _, err := in.invoke(ctx, exportInitialize); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// wasiEpoch is where WASI's wall clock starts: 2022-01-01T00:00:00Z.
const wasiEpoch = 1640995200

// Init calls agent_init.
func (in *Instance) Init(ctx context.Context) error {
	_, err := in.call(ctx, exportInit)
	return err
}

// Tick calls agent_tick and returns its result, which is not 0 if the agent has
// more to do at once.
func (in *Instance) Tick(ctx context.Context) (result int32, err error) {
	r, err := in.call(ctx, exportTick)
	return int32(uint32(r)), err
}

// Checkpoint returns the agent's state, in memory of its own.
func (in *Instance) Checkpoint(ctx context.Context) ([]byte, error) {
	result, err := in.call(ctx, exportCheckpoint)
	if err != nil {
		return nil, err
	}
	size := uint32(result)
	if size == 0 {
		return nil, nil
	}
	if most := in.program.maxState(); uint64(size) > uint64(most) {
		return nil, in.fail(exportCheckpoint, fmt.Errorf("its state has %d bytes, and may have %d", size, most))
	}
	result, err = in.call(ctx, exportCheckpointPtr)
	if err != nil {
		return nil, err
	}
	b, ok := in.module.Memory().Read(uint32(result), size)
	if !ok {
		return nil, in.fail(exportCheckpointPtr, fmt.Errorf("its state (%d bytes at %d) is outside its memory of %d bytes",
			size, uint32(result), in.module.Memory().Size()))
	}
	return append([]byte(nil), b...), nil
}

// maxState is the largest state that the agent may have of its own.
func (p *Program) maxState() int {
	most := MaxState
	if _, ok := p.config.Manifest.Capabilities["kv"]; ok {
		most -= kv.MaxEnvelope
	}
	if limit := p.config.Manifest.MaxState; limit > 0 {
		most = min(most, limit)
	}
	return most
}

// Resume hands a state to a fresh instance.
func (in *Instance) Resume(ctx context.Context, state []byte) error {
	var ptr uint32
	if len(state) > 0 {
		result, err := in.call(ctx, exportMalloc, uint64(len(state)))
		if err != nil {
			return err
		}
		ptr = uint32(result)
		if ptr == 0 {
			return in.fail(exportMalloc, fmt.Errorf("it gave no memory for %d bytes of state", len(state)))
		}
		if !in.module.Memory().Write(ptr, state) {
			return in.fail(exportMalloc, fmt.Errorf("the memory that it gave (%d bytes at %d) is outside its memory of %d bytes",
				len(state), ptr, in.module.Memory().Size()))
		}
	}
	_, err := in.call(ctx, exportResume, uint64(ptr), uint64(len(state)))
	return err
}

// Close frees the instance.
func (in *Instance) Close() error { return in.module.Close(context.Background()) }

// limit gives a call its time.
func (p *Program) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.config.CallLimit)
}

// call calls an export. That ctx is cancelled does not interrupt it: a tick is
// done or not done, and only its time limit ends it.
func (in *Instance) call(ctx context.Context, export string, args ...uint64) (uint64, error) {
	return in.invoke(context.WithoutCancel(ctx), export, args...)
}

// invoke calls an export, which has no result or one.
func (in *Instance) invoke(ctx context.Context, export string, args ...uint64) (uint64, error) {
	ctx, cancel := in.program.limit(ctx)
	defer cancel()
	if in.host != nil {
		ctx = hostcall.WithHost(ctx, in.host, in.log)
	}
	in.output.first, *in.output.lines = "", 0
	phase := hostcall.Quiet
	switch export {
	case exportResume:
		phase = hostcall.Resume
	case exportInit:
		phase = hostcall.Init
	case exportTick:
		phase = hostcall.Tick
	}
	function := in.tick
	if function == nil || export != exportTick {
		function = in.module.ExportedFunction(export)
	}
	if export == exportTick {
		in.tick = function
	}
	results, err := function.Call(hostcall.In(ctx, phase), args...)
	if err != nil {
		return 0, in.fail(export, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// fail ends the instance.
func (in *Instance) fail(export string, err error) *AgentError {
	e := in.program.agentError(export, err)
	in.output.flush()
	e.Said = in.output.first
	in.Close()
	return e
}

func (p *Program) agentError(call string, err error) *AgentError {
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		if exit.ExitCode() == sys.ExitCodeDeadlineExceeded {
			err = fmt.Errorf("it took longer than %v", p.config.CallLimit)
		} else {
			err = fmt.Errorf("it exited with code %d", exit.ExitCode())
		}
	}
	return &AgentError{Call: call, Err: err}
}

// An AgentError is a failure of the agent: a trap, a panic, an exit, a call
// that took too long, or memory that is not there.
type AgentError struct {
	Call string // the export that was called
	Err  error
	Said string // the first line that the agent wrote to standard error meanwhile
}

func (e *AgentError) Error() string {
	s := e.Call + " failed: " + firstLine(e.Err)
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

func (e *AgentError) Unwrap() error { return e.Err }

// firstLine leaves out the stack trace that wazero puts into its errors.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(strings.TrimPrefix(line, "wasm error: "), " (recovered by wazero)")
}

// A lineLogger logs what an agent writes, a record a line.
type lineLogger struct {
	log    *slog.Logger
	stream string
	line   []byte
	first  string // the first line since it was last cleared
	lines  *int   // that the instance wrote in the call under way
}

func (l *lineLogger) Write(b []byte) (int, error) {
	for _, c := range b {
		if c == '\n' {
			l.flush()
		} else if len(l.line) < hostcall.MaxLogLine {
			l.line = append(l.line, c)
		}
	}
	return len(b), nil
}

func (l *lineLogger) flush() {
	if len(l.line) == 0 {
		return
	}
	line := strings.ToValidUTF8(string(l.line), "\uFFFD")
	l.line = l.line[:0]
	if l.first == "" {
		l.first = line
	}
	if *l.lines++; *l.lines > hostcall.MaxLogLines {
		if *l.lines == hostcall.MaxLogLines+1 {
			l.log.Warn("the agent writes too much; the rest of what it writes in this call is dropped", "lines", hostcall.MaxLogLines)
		}
		return
	}
	l.log.Info(hostcall.AgentMessage, l.stream, line)
}

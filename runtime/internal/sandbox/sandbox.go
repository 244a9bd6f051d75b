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
// What a call may cost is counted by a version of the metering schedule (package
// fuel), in units that are the same on every machine; in version 0 it is limited
// by the clock. See [Config].
//
// A failure of the agent is an [*AgentError], and one of the machine a
// [*HostError]. Either is the end of that instance, never of the process.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/assemblyscript"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"igor.dev/runtime/internal/fuel"
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
	exportObserve       = "agent_observe"
)

// ErrNotAgent says that a program is not an agent.
var ErrNotAgent = errors.New("not an agent")

// Config is what a program runs with.
type Config struct {
	Manifest *manifest.Manifest

	// Metering is the version of the metering schedule. With 0 a call has
	// CallLimit on the machine's clock. With another one it has a million units
	// for each millisecond of the manifest's limit, and no clock is looked at.
	Metering uint32

	Memory Memory // what instances may have in all; nil = the manifest's limits alone

	Host      hostcall.Host // of instances that have none of their own
	Log       *slog.Logger  // for the agent's standard output and standard error, unless an instance has its own
	CallLimit time.Duration // 0 = DefaultCallLimit; the manifest's limit holds if it is lower
	CacheDir  string        // for compiled code; "" = none is kept

	interpret bool // do not compile
}

// A Program is compiled code. Its instances may be used at the same time.
type Program struct {
	config   Config
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	memory   memoryPool
	account  string // the export of the account, with metering
	limit    uint64 // units in a call
}

// Compile checks that wasm is an agent that imports nothing but what it may,
// and compiles it.
func Compile(ctx context.Context, wasm []byte, config Config) (*Program, error) {
	if config.CallLimit == 0 {
		config.CallLimit = DefaultCallLimit
	}
	config.CallLimit = min(config.CallLimit, config.Manifest.MaxTick)
	parsed, err := module.Parse(wasm)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAgent, err)
	}
	p := &Program{config: config, memory: memoryPool{quota: config.Memory}}
	var code []byte
	if config.Metering == 0 {
		code = parsed.Bytes()
	} else {
		metered, err := fuel.Rewrite(parsed, config.Metering)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAgent, err)
		}
		code, p.account = metered.WASM, metered.Account
		p.limit = fuel.Limit(config.Manifest.MaxTick)
	}
	if err := p.open(ctx, code); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// engine makes the runtime.
func (p *Program) engine(ctx context.Context, cache wazero.CompilationCache) {
	rc := wazero.NewRuntimeConfig()
	if p.config.interpret {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	rc = rc.WithMemoryLimitPages(max(1, p.config.Manifest.MaxMemory/pageSize)).
		WithCloseOnContextDone(p.config.Metering == 0) // or nothing would end an endless loop
	if cache != nil {
		rc = rc.WithCompilationCache(cache)
	}
	p.cache, p.runtime = cache, wazero.NewRuntimeWithConfig(ctx, rc)
}

func (p *Program) compile(ctx context.Context, wasm []byte) error {
	priced := ctx
	if p.config.Metering > 0 {
		priced = experimental.WithFunctionListenerFactory(ctx, hostcall.Toll{})
		if err := p.linkSlices(ctx); err != nil {
			return err
		}
	}
	if _, err := wasi_snapshot_preview1.Instantiate(priced, p.runtime); err != nil {
		return err
	}
	if _, err := assemblyscript.Instantiate(priced, p.runtime); err != nil {
		return err
	}
	membrane := hostcall.Membrane{Manifest: p.config.Manifest, Host: p.config.Host, Log: p.config.Log}
	if err := hostcall.Link(ctx, p.runtime, membrane); err != nil {
		return err
	}
	var err error
	if p.compiled, err = compileModule(ctx, p.runtime, wasm); err != nil {
		return fmt.Errorf("%w: %s", ErrNotAgent, firstLine(err))
	}
	if err := p.checkImports(); err != nil {
		return err
	}
	return p.checkExports()
}

// compileModule compiles a module. The engine's validator panics on some invalid
// ones, which must not end the process.
func compileModule(ctx context.Context, r wazero.Runtime, wasm []byte) (m wazero.CompiledModule, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the engine cannot read it: %v", p)
		}
	}()
	return r.CompileModule(ctx, wasm)
}

func (p *Program) checkImports() error {
	var undeclared *hostcall.UndeclaredError // all of it
	ours := 0                                // a metered program imports one function of ours, behind its own
	if p.config.Metering > 0 {
		ours = 1
	}
	imported := p.compiled.ImportedFunctions()
	for _, f := range imported[:len(imported)-ours] {
		switch module, name, _ := f.Import(); module {
		case hostcall.Module:
			err := hostcall.Check(f, p.config.Manifest)
			if one, ok := errors.AsType[*hostcall.UndeclaredError](err); ok {
				if undeclared == nil {
					undeclared = one
				} else if !slices.Contains(undeclared.Capabilities, one.Capabilities[0]) {
					undeclared.Capabilities = append(undeclared.Capabilities, one.Capabilities...)
				}
			} else if err != nil {
				return err
			}
		case wasi_snapshot_preview1.ModuleName, assemblyScriptModule:
			if err := p.checkImport(f, module, name); err != nil {
				return err
			}
		default:
			err := fmt.Errorf("agent imports %s.%s, and there is no module %q: an agent imports from %q and %q alone",
				module, name, module, hostcall.Module, wasi_snapshot_preview1.ModuleName)
			if next, ok := foreignModules[module]; ok {
				err = hint.Wrap(err, "%s", next)
			}
			return err
		}
	}
	if undeclared != nil {
		return undeclared
	}
	if len(p.compiled.ImportedMemories()) > 0 {
		return errors.New("agent imports a memory, and has to have its own")
	}
	return nil
}

// foreignModules are what other targets import from, and what to build for instead.
var foreignModules = map[string]string{
	"gojs":          "build it for WASI: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared",
	"go":            "build it for WASI: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared",
	"wasi_unstable": "build it for WASI preview 1: --target wasm32-wasip1",
	"wbg":           "build it without wasm-bindgen: --target wasm32-wasip1, crate-type cdylib",
}

// checkImport reports whether a module that we make has a function.
func (p *Program) checkImport(f api.FunctionDefinition, module, name string) error {
	have, ok := p.runtime.Module(module).ExportedFunctionDefinitions()[name]
	if ok {
		got, want := hostcall.Signature(f.ParamTypes(), f.ResultTypes()), hostcall.Signature(have.ParamTypes(), have.ResultTypes())
		if got != want {
			return fmt.Errorf("agent imports %s.%s as %s, and it is %s", module, name, got, want)
		}
		return nil
	}
	if module == assemblyScriptModule {
		return hint.Wrap(fmt.Errorf("agent imports %s.%s, which nothing here has: in %q is what AssemblyScript's compiler imports, and no more", module, name, module),
			"link what defines %s into the program; a hostcall is imported from %q (docs/spec/abi.md)", name, hostcall.Module)
	}
	return hint.Wrap(fmt.Errorf("agent imports %s.%s, which WASI preview 1 does not have", module, name),
		"build it for WASI preview 1: wasm32-wasip1, not an extension of it")
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
		{name: exportObserve, params: []api.ValueType{i32, i32}, optional: true},
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

// Observes reports whether the agent wants to be told what became of its side
// effects: see [Instance.Observe].
func (p *Program) Observes() bool {
	_, ok := p.compiled.ExportedFunctions()[exportObserve]
	return ok
}

// Rest gives back the memory that is kept for new instances.
func (p *Program) Rest() { p.memory.rest() }

// Close frees the program and all its instances.
func (p *Program) Close() error {
	ctx := context.Background()
	var err error
	if p.runtime != nil {
		err = p.runtime.Close(ctx)
	}
	p.memory.rest()
	if p.cache != nil {
		err = errors.Join(err, p.cache.Close(ctx))
	}
	return err
}

// An Instance is an agent in memory. It is not safe for concurrent use, but for
// Stop, and of no use after an error.
type Instance struct {
	program *Program
	module  api.Module
	tick    api.Function // once it was called: each look-up makes a stack of its own
	output  *lineLogger  // standard error, where panics are explained
	log     *slog.Logger
	host    hostcall.Host // nil: the program's

	global  api.Global // the account, with metering
	account fuel.Account
	fuel    uint64 // see Fuel
	stopped atomic.Bool
	pass    func() // see OnSlice
}

// Fuel returns the units that the last of Instantiate, Init, Tick, Checkpoint, Resume
// and Observe used: Instantiate those of the start function and _initialize, Resume
// those of malloc and agent_resume, Observe those of malloc and agent_observe, Checkpoint those of agent_checkpoint and
// agent_checkpoint_ptr. It is 0 without metering. Of one that failed,
// [AgentError] has it too.
func (in *Instance) Fuel() uint64 { return in.fuel }

// Size returns how many bytes its memory has.
func (in *Instance) Size() uint64 { return uint64(in.module.Memory().Size()) }

// Stop ends the call under way, and all later ones, at their next slice of fuel,
// with ErrStopped: the agent's part in them, not a hostcall that waits. Without
// metering it does nothing.
func (in *Instance) Stop() { in.stopped.Store(true) }

// OnSlice has pass called between two slices of fuel.
func (in *Instance) OnSlice(pass func()) { in.pass = pass }

// Attach gives an instance a host of its own.
func (in *Instance) Attach(host hostcall.Host) { in.host = host }

// Instantiate makes a fresh instance, in which nothing but _initialize ran. It
// ends early when ctx is cancelled, unlike all else that runs agent code.
func (p *Program) Instantiate(ctx context.Context) (*Instance, error) {
	return p.InstantiateFor(ctx, p.config.Log, nil)
}

// InstantiateFor is Instantiate for one of the agents that share a program: what it
// writes goes to a log of its own, and pass, if there is one, is called between two slices
// of fuel, as with [Instance.OnSlice].
func (p *Program) InstantiateFor(ctx context.Context, log *slog.Logger, pass func()) (*Instance, error) {
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
	in := &Instance{program: p, output: stderr, log: log, pass: pass}
	if err := in.start(ctx, config); err != nil {
		return nil, err
	}
	if in.module.ExportedFunction(exportInitialize) != nil {
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
	in.fuel = 0
	_, err := in.call(ctx, exportInit)
	return err
}

// Tick calls agent_tick and returns its result, which is not 0 if the agent has
// more to do at once.
func (in *Instance) Tick(ctx context.Context) (result int32, err error) {
	in.fuel = 0
	r, err := in.call(ctx, exportTick)
	return int32(uint32(r)), err
}

// Checkpoint returns the agent's state, in memory of its own.
func (in *Instance) Checkpoint(ctx context.Context) ([]byte, error) {
	in.fuel = 0
	result, err := in.call(ctx, exportCheckpoint)
	if err != nil {
		return nil, err
	}
	size := uint32(result)
	if size == 0 {
		return nil, nil
	}
	if most := in.program.maxState(); uint64(size) > uint64(most) {
		return nil, in.fail(exportCheckpoint, misfit("its state has %d bytes, and may have %d", size, most))
	}
	result, err = in.call(ctx, exportCheckpointPtr)
	if err != nil {
		return nil, err
	}
	b, ok := in.module.Memory().Read(uint32(result), size)
	if !ok {
		return nil, in.fail(exportCheckpointPtr, misfit("its state (%d bytes at %d) is outside its memory of %d bytes",
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
	return in.hand(ctx, exportResume, state, "state")
}

// Observe tells an agent what became of a side effect, in the form of
// docs/spec/abi.md. The program has to be one that observes.
func (in *Instance) Observe(ctx context.Context, finding []byte) error {
	return in.hand(ctx, exportObserve, finding, "a finding")
}

// hand calls an export with bytes, for which the agent gives memory.
func (in *Instance) hand(ctx context.Context, export string, b []byte, what string) error {
	in.fuel = 0
	var ptr uint32
	if len(b) > 0 {
		result, err := in.call(ctx, exportMalloc, uint64(len(b)))
		if err != nil {
			return err
		}
		ptr = uint32(result)
		if ptr == 0 {
			return in.fail(exportMalloc, misfit("it gave no memory for %d bytes of %s", len(b), what))
		}
		if !in.module.Memory().Write(ptr, b) {
			return in.fail(exportMalloc, misfit("the memory that it gave (%d bytes at %d) is outside its memory of %d bytes",
				len(b), ptr, in.module.Memory().Size()))
		}
	}
	_, err := in.call(ctx, export, uint64(ptr), uint64(len(b)))
	return err
}

// Close frees the instance.
func (in *Instance) Close() error { return in.module.Close(context.Background()) }

// start makes the module's instance, which runs its start function.
func (in *Instance) start(ctx context.Context, config wazero.ModuleConfig) (err error) {
	p := in.program
	ctx, done := in.begin(ctx, hostcall.Quiet)
	defer done()
	born := p.memory.birth(ctx)
	defer func() {
		if err != nil {
			born.fail()
		}
	}()
	defer func() {
		// Memory that the host has not got is known before the engine recovers.
		if r := recover(); r != nil {
			e, ok := r.(*HostError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	in.module, err = p.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, born), p.compiled, config)
	if err = in.finish(err); err != nil {
		return in.failure("instantiation", err)
	}
	if p.config.Metering > 0 {
		in.global = in.module.ExportedGlobal(p.account)
	}
	return nil
}

// begin begins a call: it gives it its time, or its fuel.
func (in *Instance) begin(ctx context.Context, phase hostcall.Phase) (context.Context, context.CancelFunc) {
	done := func() {}
	var pay func(api.Module, uint64)
	if in.program.config.Metering == 0 {
		ctx, done = context.WithTimeout(ctx, in.program.config.CallLimit)
	} else {
		global, _ := in.global.(fuel.Global)
		in.account.Begin(global, in.program.limit)
		pay = in.pay
		ctx = context.WithValue(ctx, instanceKey{}, in)
	}
	if in.host != nil {
		ctx = hostcall.WithHost(ctx, in.host, in.log)
	}
	return hostcall.In(ctx, phase, pay), done
}

// finish ends a call, and books its fuel. A call that used more than there was
// has failed, whatever it came to.
func (in *Instance) finish(err error) error {
	if in.program.config.Metering == 0 {
		return err
	}
	units, over := in.account.End()
	in.fuel += units
	if err == nil {
		err = over
	}
	return err
}

type instanceKey struct{}

// pay takes the price of a hostcall, or ends the call.
func (in *Instance) pay(caller api.Module, units uint64) {
	in.attach(caller)
	if err := in.account.Take(units); err != nil {
		panic(err)
	}
}

// attach finds the account of a module whose start function runs.
func (in *Instance) attach(caller api.Module) {
	if in.global == nil {
		in.global = caller.ExportedGlobal(in.program.account)
		in.account.Attach(in.global.(fuel.Global))
	}
}

// linkSlices makes the module that a metered program asks for fuel. It is called
// about every millisecond: here other agents get their turn, Go's collector can
// stop the goroutine, and a call that is to be stopped is.
func (p *Program) linkSlices(ctx context.Context) error {
	slice := func(ctx context.Context, caller api.Module, stack []uint64) {
		in := ctx.Value(instanceKey{}).(*Instance)
		in.attach(caller)
		account, err := in.account.Ask(stack[0])
		switch {
		case err != nil:
			panic(err)
		case in.stopped.Load() || ctx.Err() != nil:
			panic(ErrStopped)
		}
		if in.pass != nil {
			in.pass()
		}
		runtime.Gosched()
		stack[0] = account
	}
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := p.runtime.NewHostModuleBuilder(fuel.HookModule).
		NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(slice), i64, i64).Export(fuel.HookName).
		Instantiate(ctx)
	return err
}

// call calls an export. That ctx is cancelled does not interrupt it: a tick is
// done or not done, and only its limit or Stop ends it.
func (in *Instance) call(ctx context.Context, export string, args ...uint64) (uint64, error) {
	return in.invoke(context.WithoutCancel(ctx), export, args...)
}

// invoke calls an export, which has no result or one.
func (in *Instance) invoke(ctx context.Context, export string, args ...uint64) (uint64, error) {
	in.output.reason, *in.output.lines = "", 0
	phase := hostcall.Quiet
	switch export {
	case exportResume, exportObserve:
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
	ctx, done := in.begin(ctx, phase)
	defer done()
	results, err := function.Call(ctx, args...)
	if err := in.finish(err); err != nil {
		return 0, in.fail(export, err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// fail ends the instance.
func (in *Instance) fail(export string, err error) error {
	err = in.failure(export, err)
	in.Close()
	return err
}

// A lineLogger logs what an agent writes, a record a line.
type lineLogger struct {
	log    *slog.Logger
	stream string
	line   []byte
	reason string // what the lines since it was last cleared say of a crash
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

// reasons is how a line begins with which a language's runtime says why it ends the
// program: Go and TinyGo, Rust, AssemblyScript, C.
var reasons = []string{"panic: ", "fatal error: ", "runtime error: ", "thread ", "abort: ", "Assertion failed: "}

// isReason reports whether a line says why a program crashes. Where none does, the last
// line is the nearest to it.
func isReason(line string) bool {
	for _, begin := range reasons {
		if strings.HasPrefix(line, begin) && (begin != "thread " || strings.Contains(line, " panicked at ")) {
			return true
		}
	}
	return false
}

func (l *lineLogger) flush() {
	if len(l.line) == 0 {
		return
	}
	line := strings.ToValidUTF8(string(l.line), "\uFFFD")
	l.line = l.line[:0]
	if !isReason(l.reason) {
		l.reason = line
	}
	if *l.lines++; *l.lines > hostcall.MaxLogLines {
		if *l.lines == hostcall.MaxLogLines+1 {
			l.log.Warn("the agent writes too much; the rest of what it writes in this call is dropped", "lines", hostcall.MaxLogLines)
		}
		return
	}
	l.log.Info(hostcall.AgentMessage, l.stream, line)
}

// Package hostcall is the membrane between an agent and the world: the host
// module "igor", of which an agent gets the capabilities that its manifest
// declares, and nothing else. The functions, their results and their limits
// are in docs/spec/abi.md.
//
// Denial is by default and at load: a function of an undeclared capability is
// not linked, and an agent that imports one does not start. What the manifest
// decides (hosts, recipients, amounts), the limits of input and the bounds of
// the agent's memory are checked here; a call that fails one of these checks
// never reaches the [Host]. All that an agent observes comes through the Host,
// one method call an observation, so that what was observed once can be
// recorded, and given again.
//
// There is one file a capability.
package hostcall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/failpoint"

	"igor.dev/runtime/internal/manifest"
)

// Module is the name of the host module.
const Module = "igor"

// Results of hostcalls that fail. What they mean is in docs/spec/abi.md.
const (
	CodeFailed     = -1 // memory out of range, network, budget too small, nothing configured
	CodeTooLong    = -2
	CodeNotAllowed = -3
	CodeTimeout    = -4 // http
	CodeOverCap    = -4 // x402
	CodeNoRoom     = -4 // wallet, kv, node: the buffer is too small
	CodeTooLarge   = -5 // http, x402: what comes back is too large
	CodeNotFound   = -5 // kv
	CodeProcessing = -6
	CodeUnresolved = -7
	CodePaid       = -8 // http: paid, and what was paid for did not come
	CodeNeverPaid  = -9 // http: it was to be paid, and certainly never will be
)

// Limits of one tick, and of agent_init. An agent that goes over the first two
// fails, for its observations have to be recorded; log lines are dropped.
const (
	MaxCalls    = 100_000
	MaxBytes    = 64 << 20 // in and out
	MaxLogLines = 1_000
)

// ErrTooMuch ends a call into an agent that goes over one of them.
var ErrTooMuch = errors.New("more")

// A Host is the world as an agent observes it. Slices that it gets are valid
// during the call alone, but for those of [HTTPRequest] and [Payment].
//
// A result called written is what goes into the agent's buffer, byte for byte,
// and code is what the function returns: together they are what has to be
// recorded, and what a replay gives. They fit into the room that the agent
// states; a Host that gives more ends the tick.
type Host interface {
	// ClockNow returns the time in Unix nanoseconds.
	ClockNow() int64
	// RandBytes fills b with randomness. b is the agent's own memory.
	RandBytes(b []byte)
	// LogEmit takes one line of the agent's log, cut at MaxLogLine.
	LogEmit(line []byte)
	// WalletBalance returns the budget left, in microcents.
	WalletBalance() int64
	// ReceiptCount returns the number of payment receipts.
	ReceiptCount() int32
	// Receipt returns a payment receipt by its index.
	Receipt(index, room uint32) (written []byte, code int32)
	// NodePrice returns the price in microcents per second.
	NodePrice() int64
	// HTTP sends a request that the manifest allows. See [Fit].
	HTTP(ctx context.Context, r *HTTPRequest) (written []byte, code int32)
	// Pay makes a payment that the manifest allows. See [Fit].
	Pay(ctx context.Context, p *Payment) (written []byte, code int32)
	// NodeID returns the DID of the node; this and what follows as [Node] says it.
	NodeID(room uint32) (written []byte, code int32)
	PeerCount() int32
	PeerOffer(index, room uint32) (written []byte, code int32)
	Migrate(did string) (code int32)
	MigrateStatus() int32
	DrainDeadline() int64
	// KVGet returns the value of a key.
	KVGet(key []byte, room uint32) (written []byte, code int32)
	// KVPut sets the value of a key.
	KVPut(key, value []byte) (code int32)
	// KVDelete removes a key.
	KVDelete(key []byte) (code int32)
}

// A Membrane is what the host module is made of.
type Membrane struct {
	Manifest *manifest.Manifest
	Host     Host
	Log      *slog.Logger // for what is dropped
}

// A Phase is what a call into an agent is for.
type Phase int

// The phases. In Quiet there is no world: such a call is made more often than it
// is lived. A hostcall then does nothing, and returns 0 if it is an i64 and
// CodeNotAllowed if it is an i32.
const (
	Quiet  Phase = iota // agent_checkpoint, malloc, _initialize …
	Resume              // agent_resume: observations that leave no trace outside
	Init                // agent_init: observations, and no side effects
	Tick                // agent_tick
)

// A scope is one call into the agent.
type scope struct {
	phase Phase
	pay   func(caller api.Module, units uint64)
	calls int
	bytes int
	lines int
}

type scopeKey struct{}

// In returns the context of one call into the agent. Each hostcall calls pay, if
// there is one, with its whole price before it does anything; pay panics if there is
// not as much.
func In(ctx context.Context, p Phase, pay func(caller api.Module, units uint64)) context.Context {
	if p == Quiet && pay == nil {
		return ctx
	}
	return context.WithValue(ctx, scopeKey{}, &scope{phase: p, pay: pay})
}

// A call is one hostcall under way.
type call struct {
	*Membrane
	*scope
	Host   Host // of this instance
	Log    *slog.Logger
	ctx    context.Context
	memory api.Memory
	stack  []uint64
	moved  int // bytes in and out
}

// A function is one hostcall.
type function struct {
	capability      string
	name            string
	params, results []api.ValueType
	price           price
	do              func(*call) // takes its parameters from the stack, and leaves its result there
}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func types(t ...api.ValueType) []api.ValueType { return t }

// functions are the whole module.
var functions = []function{
	clockNow,
	randBytes,
	logEmit,
	walletBalance,
	walletReceiptCount,
	walletReceipt,
	nodePrice,
	httpRequest,
	walletPay,
	kvGet,
	kvPut,
	kvDelete,
	nodeID,
	peerCount,
	peerOffer,
	migrate,
	migrateStatus,
	drainDeadline,
}

// An UndeclaredError says that an agent imports what its manifest does not grant.
type UndeclaredError struct {
	Import       string   // the first, such as igor.clock_now
	Capabilities []string // of all of them
}

func (e *UndeclaredError) Error() string {
	return fmt.Sprintf("agent imports %s, and its manifest does not declare capability %q", e.Import, e.Capabilities[0])
}

// Hint says what to do.
func (e *UndeclaredError) Hint() string {
	return fmt.Sprintf(`to grant it, add %s to the manifest's capabilities`, e.Declaration())
}

// Declaration is what is missing in the manifest.
func (e *UndeclaredError) Declaration() string {
	return `"` + strings.Join(e.Capabilities, `": {"version": 1}, "`) + `": {"version": 1}`
}

// Check reports whether a function that an agent imports from [Module] is one
// that m grants.
func Check(imported api.FunctionDefinition, m *manifest.Manifest) error {
	_, name, _ := imported.Import()
	for _, f := range functions {
		if f.name != name {
			continue
		}
		if _, ok := m.Capabilities[f.capability]; !ok {
			return &UndeclaredError{Module + "." + name, []string{f.capability}}
		}
		if got, want := Signature(imported.ParamTypes(), imported.ResultTypes()), Signature(f.params, f.results); got != want {
			return fmt.Errorf("agent imports %s.%s as %s, and it is %s", Module, name, got, want)
		}
		return nil
	}
	return fmt.Errorf("agent imports %s.%s, which no version of this runtime has", Module, name)
}

// Link makes the host module in r, with the functions that the manifest grants.
func Link(ctx context.Context, r wazero.Runtime, m Membrane) error {
	b := r.NewHostModuleBuilder(Module)
	for _, f := range functions {
		if _, ok := m.Manifest.Capabilities[f.capability]; ok {
			b.NewFunctionBuilder().WithGoModuleFunction(m.serve(f), f.params, f.results).Export(f.name)
		}
	}
	_, err := b.Instantiate(ctx)
	return err
}

func (m *Membrane) serve(f function) api.GoModuleFunc {
	index := meterIndex(f.capability)
	return func(ctx context.Context, module api.Module, stack []uint64) {
		s, ok := ctx.Value(scopeKey{}).(*scope)
		if ok && s.pay != nil {
			s.pay(module, f.price.of(stack))
		}
		if !ok || s.phase == Quiet {
			refuse(f, stack)
			return
		}
		if s.calls++; s.calls > MaxCalls {
			panic(fmt.Errorf("%s: %w than %d hostcalls in one call", f.name, ErrTooMuch, MaxCalls))
		}
		g := m.guest(ctx)
		began := time.Now()
		c := call{Membrane: m, Host: g.host, Log: g.log, scope: s, ctx: ctx, memory: module.Memory(), stack: stack}
		failpoint.Reach(failpoint.HostcallBegins)
		f.do(&c)
		failpoint.Reach(failpoint.HostcallEnds)
		if counted, ok := g.host.(Metered); ok {
			counted.Meter().add(index, c.moved, time.Since(began))
		}
		if s.bytes += c.moved; s.bytes > MaxBytes {
			panic(fmt.Errorf("%s: %w than %d bytes through hostcalls in one call", f.name, ErrTooMuch, MaxBytes))
		}
	}
}

func refuse(f function, stack []uint64) {
	switch {
	case len(f.results) == 0:
	case f.results[0] == i64:
		stack[0] = 0
	default:
		stack[0] = api.EncodeI32(CodeNotAllowed)
	}
}

// return32 leaves an i32 result.
func (c *call) return32(code int32) { c.stack[0] = api.EncodeI32(code) }

// i32 returns a parameter.
func (c *call) i32(param int) uint32 { return uint32(c.stack[param]) }

// input returns the agent's memory that the two parameters from param on name,
// or the code of what is wrong with it.
func (c *call) input(param int, limit uint32) (b []byte, code int32) {
	ptr, size := c.i32(param), c.i32(param+1)
	if size > limit {
		return nil, CodeTooLong
	}
	b, ok := c.memory.Read(ptr, size)
	if !ok {
		return nil, CodeFailed
	}
	c.moved += len(b)
	return b, 0
}

// room checks that the buffer that the two parameters from param on name is in
// the agent's memory, before anything happens for which there is no room.
func (c *call) room(param int) (size uint32, ok bool) {
	ptr, size := c.i32(param), c.i32(param+1)
	_, ok = c.memory.Read(ptr, size)
	return size, ok
}

// output writes what a Host gave into the buffer, and leaves the result.
func (c *call) output(param int, written []byte, code int32) {
	ptr, size := c.i32(param), c.i32(param+1)
	if uint64(len(written)) > uint64(size) || !c.memory.Write(ptr, written) {
		panic(fmt.Errorf("a result of %d bytes does not fit into the agent's buffer of %d", len(written), size))
	}
	c.moved += len(written)
	c.return32(code)
}

// Fit makes what is written for an http_request or a wallet_pay that came back
// with payload: its length and itself, or, if that is more than room, the size
// needed, and CodeTooLarge.
func Fit(payload []byte, code int32, room uint32) (written []byte, _ int32) {
	needed := 4 + len(payload)
	if uint64(needed) > uint64(room) {
		return sizeNeeded(needed, room), CodeTooLarge
	}
	written = make([]byte, 0, needed)
	written = binary.LittleEndian.AppendUint32(written, uint32(len(payload)))
	return append(written, payload...), code
}

// fitPlain is the same for a payload without its length, as of kv and wallet.
func fitPlain(payload []byte, room uint32) (written []byte, code int32) {
	if uint64(len(payload)) > uint64(room) {
		return sizeNeeded(len(payload), room), CodeNoRoom
	}
	return payload, int32(len(payload))
}

func sizeNeeded(needed int, room uint32) []byte {
	if room < 4 {
		return nil
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(needed))
}

// Signature writes a function's type as the text format does.
func Signature(params, results []api.ValueType) string {
	s := "("
	for i, t := range params {
		if i > 0 {
			s += ", "
		}
		s += api.ValueTypeName(t)
	}
	s += ")"
	for _, t := range results {
		s += " -> " + api.ValueTypeName(t)
	}
	return s
}

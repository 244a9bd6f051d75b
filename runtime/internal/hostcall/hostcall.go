// Package hostcall is the membrane between an agent and the world: the host
// module "igor", of which an agent gets the capabilities that its manifest
// declares, and nothing else.
//
//	clock   clock_now() -> i64                Unix nanoseconds
//	rand    rand_bytes(ptr, len) -> i32       0, -1 memory out of range, -2 over MaxRandom
//	log     log_emit(ptr, len)                cut at MaxLogLine bytes
//
// Denial is by default and at load: a function of an undeclared capability is
// not linked, and an agent that imports one does not start. Everything that an
// agent observes comes through [Host], so that what was observed once can be
// recorded, and given again.
//
// There is one file a capability.
package hostcall

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/manifest"
)

// Module is the name of the host module.
const Module = "igor"

// Results of hostcalls that fail.
const (
	errGeneric      = -1 // here: memory out of range
	errInputTooLong = -2
)

// A Host is the world as an agent observes it.
type Host interface {
	// ClockNow returns the time in Unix nanoseconds.
	ClockNow() int64
	// RandBytes fills b with randomness. b is the agent's own memory.
	RandBytes(b []byte)
	// LogEmit takes one line of the agent's log. line is valid during the call.
	LogEmit(line []byte)
}

// A function is one hostcall.
type function struct {
	capability      string
	name            string
	params, results []api.ValueType
	call            func(Host) api.GoModuleFunc // nil where this version has none yet
}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func types(t ...api.ValueType) []api.ValueType { return t }

// functions are the whole module. The ones without an implementation are here
// so that an agent which imports one is told which capability that is.
var functions = []function{
	clockNow,
	randBytes,
	logEmit,
	{capability: "wallet", name: "wallet_balance"},
	{capability: "wallet", name: "wallet_receipt_count"},
	{capability: "wallet", name: "wallet_receipt"},
	{capability: "pricing", name: "node_price"},
	{capability: "http", name: "http_request"},
	{capability: "x402", name: "wallet_pay"},
	{capability: "kv", name: "kv_get"},
	{capability: "kv", name: "kv_put"},
	{capability: "kv", name: "kv_delete"},
}

// Check reports whether a function that an agent imports from [Module] is one
// that m grants.
func Check(imported api.FunctionDefinition, m *manifest.Manifest) error {
	_, name, _ := imported.Import()
	for _, f := range functions {
		if f.name != name {
			continue
		}
		if f.call == nil {
			return fmt.Errorf("agent imports %s.%s, and capability %q is not supported by this version", Module, name, f.capability)
		}
		if _, ok := m.Capabilities[f.capability]; !ok {
			return hint.Wrap(
				fmt.Errorf("agent imports %s.%s, and its manifest does not declare capability %q", Module, name, f.capability),
				`to grant it, add "%s": {"version": 1} to the manifest's capabilities`, f.capability)
		}
		if got, want := Signature(imported.ParamTypes(), imported.ResultTypes()), Signature(f.params, f.results); got != want {
			return fmt.Errorf("agent imports %s.%s as %s, and it is %s", Module, name, got, want)
		}
		return nil
	}
	return fmt.Errorf("agent imports %s.%s, which no version of this runtime has", Module, name)
}

// Link makes the host module in r, with the functions that m grants.
func Link(ctx context.Context, r wazero.Runtime, m *manifest.Manifest, host Host) error {
	b := r.NewHostModuleBuilder(Module)
	for _, f := range functions {
		if _, ok := m.Capabilities[f.capability]; ok && f.call != nil {
			b.NewFunctionBuilder().WithGoModuleFunction(f.call(host), f.params, f.results).Export(f.name)
		}
	}
	_, err := b.Instantiate(ctx)
	return err
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

// result encodes an i32 result of a hostcall.
func result(code int32) uint64 { return api.EncodeI32(code) }

// Package fuel meters WebAssembly: it rewrites a module so that the module counts
// what it does, in units of fuel, by a schedule that has a version and does not
// depend on the machine. The schedule, with examples in bytes, is
// docs/spec/metering.md.
//
// A metered module has a global, its account, from which each run of
// instructions pays at its beginning. At loops, at the beginning of functions and
// at some other places it looks whether anything is left, and if not it calls
// the host:
//
//	m, err := module.Parse(wasm)
//	metered, err := fuel.Rewrite(m, fuel.Version1)
//	// Instantiate metered.WASM with a function HookModule.HookName, which
//	// returns what account.Ask says, or traps with its error.
//	account.Begin(instance.ExportedGlobal(metered.Account), limit)
//	// Call an export.
//	units, err := account.End()
//
// The agent cannot name the account: its own globals, functions and types keep
// their numbers, or get those that its code is given, and what is added comes
// where none of its indices reach.
//
// The package imports no engine, and works under GOOS=js.
package fuel

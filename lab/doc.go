// Package lab is a laboratory for protocol developers: nodes that are processes of their
// own, each on a host of a network on this machine, agents that live there, and a script of
// what happens to them: moves, kills, pauses, cuts, wrong clocks. A run is recorded. At its
// end everything is looked at: every history, each life run again, the hand-overs, the
// receipts, what the agents sent, and whether where they were said to live is linearizable.
// See docs/lab.md.
package lab

// A Config says how to run a script.
type Config struct {
	Script  *Script
	Dir     string // of the recording, which is absent or empty
	Program string // igor-node
	Cache   string // for compiled code; "" = in Dir
	Say     func(format string, args ...any)

	// Bubble runs a function in a bubble of testing/synctest, for a simulated world; nil =
	// one of its own.
	Bubble func(func())
}

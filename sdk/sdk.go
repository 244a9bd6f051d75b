// Package sdk makes a Go program an Igor agent. igor new makes one to begin with,
// and docs/agents.md goes through it.
//
// An agent is a value of a type with four methods, given to [Run] when the
// program starts:
//
//	type counter struct{ n uint64 }
//
//	func (c *counter) Init()             {}
//	func (c *counter) Tick() bool        { c.n++; return false }
//	func (c *counter) Marshal() []byte   { return binary.LittleEndian.AppendUint64(nil, c.n) }
//	func (c *counter) Unmarshal(b []byte) error {
//		if len(b) != 8 {
//			return errors.New("not the state of a counter")
//		}
//		c.n = binary.LittleEndian.Uint64(b)
//		return nil
//	}
//
//	func init() { sdk.Run(&counter{}) }
//
//	func main() {}
//
// It is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o counter.wasm
//
// and runs with igor run counter.wasm. The manifest beside it,
// counter.manifest.json, has to declare the capabilities that it uses: [Now]
// needs clock, [Rand] needs rand, [Log] needs log, [Load] and [Store] need kv,
// [Balance] needs wallet, [Price] needs pricing, [Do] needs http, [Pay] needs x402,
// [NodeID] and [Migrate] need node.
//
// What Marshal returns is all that lives on. After every checkpoint the agent
// goes on as a fresh instance of the program: Run with a new value, then
// Unmarshal. Package variables, goroutines and timers are gone by then, and
// time.Now and math/rand are the same in every instance; use Now and Rand.
//
// Hostcalls work in Init and Tick, and those that stay in the machine (all but
// [Do] and [Pay]) in Unmarshal too; what it observes is of the tick after it. In
// Marshal and before Init there is no world: Now is 1970, Log says nothing, and
// the others fail. Side effects ([Pay], and [Do] of anything but GET and HEAD)
// work in Tick alone.
//
// Built for another system than wasip1, as by go test, the package works with
// that system's clock, randomness and standard error; package sdktest has a
// deterministic world for tests, with the rest.
package sdk

// An Agent is what [Run] runs. Its methods are never called at the same time.
type Agent interface {
	// Init is called once in the agent's life, before its first Tick.
	Init()

	// Tick does one step and reports whether there is more to do at once. It
	// has 15 seconds; what takes longer has to be spread over several ticks.
	Tick() (more bool)

	// Marshal returns the state. The same state has to give the same bytes.
	Marshal() []byte

	// Unmarshal restores the state that Marshal returned. It should not do more
	// than that: a life is restored more often than it is lived. b may be kept.
	Unmarshal(b []byte) error
}

var running Agent

// Run makes a the program's agent. It has to be called from an init function,
// for an agent's main never runs, and returns at once.
func Run(a Agent) {
	if running != nil {
		panic("sdk: Run was called twice")
	}
	running = a
}

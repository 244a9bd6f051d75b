// Package runtime runs agents: WebAssembly programs that pay for their time,
// and whose life, tick by tick, is a signed history that anybody can verify.
//
// An [Engine] has what the agents of a process share. [Engine.Start] makes an agent's
// folder and lives; [Engine.Resume] goes on with the life in a folder, or in a copy of
// it somewhere else. Both give an [Agent] at once, the handle of what runs: it says
// where the life stands, gives it money, stops it. A run ends when the agent's budget is
// exhausted, when a limit of the [Config] is reached, or when it is stopped, in each
// case after a last checkpoint.
//
// What is in an agent's folder, other functions read without running it: [Look],
// [Logs], [Effects], [CostsOf]; [Replay] runs it again, and [Fork] begins another life
// with its state.
//
// # A life
//
// A tick is one call of the agent's agent_tick. Checkpoints come between
// ticks: the agent's state, its budget and the number of its ticks, signed with
// the agent's key and chained to the checkpoint before (see package
// [igor.dev/verifier]). The genesis is made directly after agent_init, at tick 0,
// before the agent's folder has its name: what was never born leaves nothing
// behind. There is never a second checkpoint of the same tick.
//
// After every checkpoint the life goes on in a fresh instance of the program
// that was restored from it. So a life that was never interrupted, one that was
// resumed, and one that is run again later are the same thing: what follows a
// checkpoint depends on its state and on what the agent observes, and not on
// what it kept in memory outside its state. That a state can be restored is
// known before it becomes part of the history.
//
// A tick that fails by the agent's own doing, by a trap, a panic or its limit of fuel, is
// recorded, paid and passed over: the next one goes on from the state before it. How many
// in a row end the run, the [Config] says.
//
// # What is kept
//
// Everything that a tick observes goes to the event log (docs/spec/eventlog.md),
// and every side effect to the journal (docs/spec/journal.md), before it leaves
// and before the agent sees what came of it. After a crash the ticks since the
// newest checkpoint are lived again from both: what was observed is given again,
// nothing is sent, and what they cost is what they cost. So a crash loses no tick
// that was over, and repeats no side effect. At the newest checkpoint of a life
// its observations are sealed with the agent's signature, so that others can run
// it again too.
//
// # Durability
//
// A checkpoint is durable before it is logged: the file and then its folder are
// synced (package store, which also describes the folder). Meanwhile the life goes
// on, up to its next side effect. Ticks are handed to the
// operating system when they are over: a process that is killed loses the tick
// that runs, and nothing else; a machine that fails loses the ticks since the
// newest checkpoint, or since the newest side effect if that came later.
//
// There is no switch to do without. CheckpointEvery, of the [Config], says how much a
// machine's failure may cost.
//
// # Money
//
// A tick costs the fuel that its code used (docs/spec/metering.md) and the nanoseconds
// that it waited for the world, times the price of 10^9 of them, exactly: what is less
// than a microcent is carried over to the next tick. When the budget is at zero the agent is checkpointed and the run ends,
// with [BudgetExhausted]; the tick that used it up is paid with what there was.
// What was spent is kept with the tick, and a top-up is durable when the first
// tick after it begins.
//
// # Errors
//
// Errors of this package say what is wrong with which thing, and tell what for
// errors.Is and errors.As: the agent failed ([AgentError]), its budget is exhausted
// ([ErrBudgetExhausted]), somebody else runs it ([LockedError]), it has no key
// ([ErrNoKey]), a file is damaged ([DamagedError]), and so on. [Temporary] says whether
// to try again makes sense. Many have a method Hint() string that says what to do about
// it.
package runtime

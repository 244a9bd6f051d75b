// Package runtime runs agents: WebAssembly programs that pay for their time,
// and whose life, tick by tick, is a signed history that anybody can verify.
//
// [Start] makes an agent's folder and lives; [Resume] goes on with the life in
// a folder, or in a copy of it somewhere else. Both return when the agent's
// budget is exhausted, when a limit of the [Config] is reached, or when the
// context is cancelled, in each case after a last checkpoint.
//
// # A life
//
// A tick is one call of the agent's agent_tick. Checkpoints come between
// ticks: the agent's state, its budget and the number of its ticks, signed with
// the agent's key and chained to the checkpoint before (see package
// [igor.dev/verifier]). The genesis is the first checkpoint after a tick. There
// is never a second checkpoint of the same tick.
//
// After every checkpoint the life goes on in a fresh instance of the program
// that was restored from it. So a life that was never interrupted, one that was
// resumed, and one that is run again later are the same thing: what follows a
// checkpoint depends on its state and on what the agent observes, and not on
// what it kept in memory outside its state. That a state can be restored is
// known before it becomes part of the history.
//
// A call into the agent that fails, by a trap, a panic or its time limit, ends
// the run with an error. The history then ends at the last checkpoint, and
// resuming goes on from there.
//
// # Durability
//
// A checkpoint is durable before it is logged: the file and then its folder are
// synced (package store, which also describes the folder). A process that is
// killed loses the ticks since the last checkpoint, their cost with them, and
// nothing else.
//
// Durability costs two syncs a checkpoint, which is what the rate of
// checkpoints depends on: half a millisecond each is 1,000 a second. There is no
// switch to do without. [Config.CheckpointEvery] says how much may be lost.
//
// # Money
//
// A tick costs its time on this machine's monotonic clock times the price per
// second, exactly: what is less than a microcent is carried over to the next
// tick. When the budget is at zero the agent is checkpointed and the run ends,
// with [BudgetExhausted]; the tick that used it up is paid with what there was.
// What was spent is durable with the next checkpoint, and so is a top-up.
//
// # Errors
//
// Errors of this package say what is wrong with which thing. Many have a method
// Hint() string that says what to do about it.
package runtime

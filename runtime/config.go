package runtime

import (
	"log/slog"
	"time"

	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// Limits of the files that an agent is made of.
const (
	MaxWASM     = sandbox.MaxModule
	MaxManifest = manifest.MaxSize
)

// AgentPace as the tick interval lets the agent choose: it ticks again after
// 10 ms while it says that there is more to do, and after 1 s when idle.
const AgentPace time.Duration = -1

const (
	busyInterval = 10 * time.Millisecond
	idleInterval = time.Second
)

// A Birth is what an agent begins with.
type Birth struct {
	WASM     []byte // the program
	Manifest []byte // JSON; empty grants nothing
	Budget   int64  // microcents
	Price    int64  // microcents per second of tick time
}

// A Config says how to run one agent. Its zero value runs ticks without a pause.
type Config struct {
	Log *slog.Logger // nil = the engine's

	TickInterval    time.Duration // between ticks, or AgentPace
	CheckpointEvery Every         // zero = DefaultCheckpointEvery; a Time below 0 makes the last one alone

	MaxTicks  uint64 // stop after this many, 0 = no limit
	UntilIdle bool   // stop when the agent has nothing to do
	Paused    bool   // begin as [Agent.Pause] leaves it

	// MaxFailedTicks is how many ticks in a row may fail before the run ends, with the
	// error of the last of them; 0 = DefaultMaxFailedTicks, less = no limit.
	MaxFailedTicks int

	// MaxDisk is how many bytes the agent's folder may have, 0 = as many as its manifest
	// asks for. When it has them, the agent is stopped, after a last checkpoint.
	MaxDisk int64

	// PriceStored is what 10^9 bytes of its checkpoints and event log cost the agent, once,
	// in microcents; 0 = nothing.
	PriceStored int64

	TopUp int64  // microcents to add to the budget on resume
	Price *int64 // microcents per second from now on, nil = as before

	// RentDue says, between two ticks, that nobody pays for the agent to live here any more;
	// nil = never. It must not wait.
	RentDue func() bool

	// FixedPrice has the price be what Price says, and nothing else: nobody changes it while
	// the agent lives.
	FixedPrice bool

	// AcceptOldCopy goes on with a folder although the agent lived on without it, as what
	// stands behind its budget knows. All that it lived since is lost, and its life is a
	// fork wherever the other part is known.
	AcceptOldCopy bool

	// Verified is a checkpoint that this process has verified, with all that leads to it, and
	// all of which is durable: where it is the newest, nothing of that is read again.
	Verified verifier.Hash

	// Home is where it is decided who lives the agent, nil = its folder.
	Home *Home

	// Node is the node that the agent lives on, nil = there is none.
	Node Node

	// Witness says where the agent stands in public, nil = nowhere.
	Witness *Witnessing

	Replay ReplayPolicy // when this run runs its own ticks again

	// Watch is told where the run stands, at the beginning of every phase. The agent
	// waits meanwhile.
	Watch func(Status)

	keepLoose bool    // a test's: nothing is packed
	visit     bool    // only carries out what it is asked
	relive    bool    // before, what is recorded is lived again
	passes    bool    // before, what is recorded is passed over
	machine   machine // to live on, nil = this one

	// through has folders written through others, nil = as they are.
	through func(name string, folder wal.Folder) wal.Folder
}

// DefaultMaxFailedTicks is how many ticks in a row may fail.
const DefaultMaxFailedTicks = 3

// Every says when a checkpoint is due: after so many ticks or so much time
// since the last one, whichever is first. Only that decides: an agent is not asked for
// its state to find out whether it has changed, since to be asked changes its memory and
// uses fuel, and a replay does not ask.
type Every struct {
	Ticks uint64
	Time  time.Duration
}

// DefaultCheckpointEvery is how often a checkpoint is made if nobody says otherwise. What
// is between two of them is kept all the same: a process that is killed loses nothing of
// it, and a machine that fails nothing that came before a side effect.
const DefaultCheckpointEvery = time.Minute

// A ReplayPolicy says when a run runs its own ticks again, and what it does if
// they come to another state than the one that is in the history.
type ReplayPolicy struct {
	Mode         ReplayMode
	Interval     time.Duration // of ReplayPeriodic; 0 = DefaultReplayInterval
	OnDivergence OnDivergence
}

// A ReplayMode says what is run again.
type ReplayMode string

// The modes.
const (
	ReplayOff      ReplayMode = "off"
	ReplayPeriodic ReplayMode = "periodic"  // the newest ticks, once in each interval
	ReplayOnResume ReplayMode = "on-resume" // the ticks before the newest checkpoint
	ReplayFull     ReplayMode = "full"      // every tick
)

// DefaultReplayInterval is how often ReplayPeriodic runs ticks again.
const DefaultReplayInterval = 10 * time.Minute

// OnDivergence says what a run does about a divergence.
type OnDivergence string

// What can be done.
const (
	DivergenceLog       OnDivergence = "log"       // and go on
	DivergencePause     OnDivergence = "pause"     // end the run with an error
	DivergenceIntensify OnDivergence = "intensify" // log, and run every tick again from then on
	DivergenceMigrate   OnDivergence = "migrate"   // that, and have the node move the agent away
)

// A Reason says why a run ended without an error.
type Reason string

// The reasons.
const (
	Stopped         Reason = "stopped"
	TickLimit       Reason = "tick limit reached"
	Idle            Reason = "idle"
	BudgetExhausted Reason = "budget exhausted"
	DiskFull        Reason = "disk quota reached"
	RentDue         Reason = "rent is due"
	Retired         Reason = "retired" // its life is over for good
)

// A Result is how a run ended.
type Result struct {
	Reason      Reason
	DID         string
	Tick        uint64 // of the newest checkpoint
	Head        verifier.Hash
	Budget      int64 // microcents, as of the newest checkpoint
	Checkpoints int   // made by this run

	// Hostcalls is what the agent's calls cost in this run, by capability.
	Hostcalls []Usage
}

// A Usage is what the hostcalls of one capability cost.
type Usage struct {
	Capability string        `json:"capability"`
	Calls      uint64        `json:"calls"`
	Bytes      uint64        `json:"bytes"` // in and out of the agent's memory
	Time       time.Duration `json:"ns"`
}

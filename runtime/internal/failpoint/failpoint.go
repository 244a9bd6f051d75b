// Package failpoint names the moments of a life at which a crash must not matter,
// so that a test can have the process die at each of them.
//
// [Reach] does nothing, and costs nothing, unless the program is built with the
// tag failpoint. Then the environment variable IGOR_FAILPOINT says what happens:
//
//	list             the names of all points are written to standard output
//	trace:FILE       the name of each point that is reached is appended to the file
//	NAME:N[:DELAY]   SIGKILL, when NAME is reached for the Nth time in the process,
//	                 or DELAY (such as 300us) later; NAME may be any
package failpoint

// A Point is a moment at which a process may die.
type Point uint8

// The points, in the order of a life.
const (
	Initialized       Point = iota // agent_init returned
	FolderFilled                   // a new agent's folder is whole, under its first name
	FolderSynced                   // and durable
	FolderNamed                    // it has its own name
	TickBegins                     //
	HostcallBegins                 //
	HostcallEnds                   //
	EffectMeant                    // its tick is durable up to the call
	EffectBegun                    // its begin is durable
	PositionKept                   // what the next position names is with the replicas
	PositionAppended               // and the authority has it
	HomeLeft                       // the old home says where the agent's new one is, and the folder does not
	EffectLeaves                   // nothing more is waited for
	EffectActed                    // it left the machine and came back
	PaidAnswered                   // a server that was paid answered, or did not
	EffectProbed                   // after a crash, the other side was asked
	EffectEnded                    // its end is durable
	PaymentKept                    // so is the receipt of a payment
	TickLived                      // and not yet written
	TickEnds                       // its end is in the event log
	TickFailed                     // its failure is, and no checkpoint follows yet
	ProgramKept                    // an upgrade's program is in the folder
	Upgraded                       // and in the event log, and not yet the agent's own file
	StateTaken                     // for a checkpoint
	SegmentSealed                  //
	SegmentMade                    // for the ticks after the checkpoint
	SegmentsUnsigned               // durable, for a home elsewhere
	SegmentsSigned                 // since that has the checkpoint after them
	SegmentsSynced                 //
	CheckpointWritten              // durable, under its first name
	CheckpointLinked               // it has its own name
	CheckpointSynced               // it is part of the history
	ReceiptGiven                   // for its time
	PackNamed                      // old segments of the event log are in a pack
	SegmentNamed                   // and their checkpoints in a segment
	Marked                         // and the mark says so
	Unpacked                       // a file is removed that is packed
	Pruned                         // files are removed that are archived
	FileWritten                    // a whole file, under its first name
	FileNamed                      // it has its own name, not yet durable
	RecordsWritten                 // to a log, and not synced
	RecordsSynced                  //
	JournalCompacted               //
	RetirementKept                 // in the folder
	MoveStopped                    // the agent stands still, to be handed over
	MoveSigned                     // both sides signed the record, and it does not count yet
	MoveKept                       // the source knows what it is about to append
	MoveOffered                    // the agent's home, a store, knows that it is handed over
	MoveAppended                   // and that it was
	MoveCommitted                  // it does
	MoveRecorded                   // it is with the life's other records
	MoveKeyGone                    // the source has the agent's key no more
	MoveTakenIn                    // the target has all but the key
	MovePromised                   // and remembers that it signs
	MoveFetched                    // it has the commit
	MoveKeyKept                    // and the key
	MoveArrived                    // the agent's folder has its name
	Recovered                      // a resumed life knows where it stands
	TickAgain                      // a recorded tick was lived again
	WentLive                       // nothing recorded is left
	points
)

var names = [points]string{
	Initialized:       "initialized",
	FolderFilled:      "folder-filled",
	FolderSynced:      "folder-synced",
	FolderNamed:       "folder-named",
	TickBegins:        "tick-begins",
	HostcallBegins:    "hostcall-begins",
	HostcallEnds:      "hostcall-ends",
	EffectMeant:       "effect-meant",
	EffectBegun:       "effect-begun",
	PositionKept:      "position-kept",
	PositionAppended:  "position-appended",
	HomeLeft:          "home-left",
	EffectLeaves:      "effect-leaves",
	EffectActed:       "effect-acted",
	PaidAnswered:      "paid-answered",
	EffectProbed:      "effect-probed",
	EffectEnded:       "effect-ended",
	PaymentKept:       "payment-kept",
	TickLived:         "tick-lived",
	TickEnds:          "tick-ends",
	TickFailed:        "tick-failed",
	ProgramKept:       "program-kept",
	Upgraded:          "upgraded",
	StateTaken:        "state-taken",
	SegmentSealed:     "segment-sealed",
	SegmentMade:       "segment-made",
	SegmentsUnsigned:  "segments-unsigned",
	SegmentsSigned:    "segments-signed",
	SegmentsSynced:    "segments-synced",
	CheckpointWritten: "checkpoint-written",
	CheckpointLinked:  "checkpoint-linked",
	CheckpointSynced:  "checkpoint-synced",
	ReceiptGiven:      "receipt-given",
	PackNamed:         "pack-named",
	SegmentNamed:      "segment-named",
	Marked:            "marked",
	Unpacked:          "unpacked",
	Pruned:            "pruned",
	FileWritten:       "file-written",
	FileNamed:         "file-named",
	RecordsWritten:    "records-written",
	RecordsSynced:     "records-synced",
	JournalCompacted:  "journal-compacted",
	RetirementKept:    "retirement-kept",
	MoveStopped:       "move-stopped",
	MoveSigned:        "move-signed",
	MoveKept:          "move-kept",
	MoveOffered:       "move-offered",
	MoveAppended:      "move-appended",
	MoveCommitted:     "move-committed",
	MoveRecorded:      "move-recorded",
	MoveKeyGone:       "move-key-gone",
	MoveTakenIn:       "move-taken-in",
	MovePromised:      "move-promised",
	MoveFetched:       "move-fetched",
	MoveKeyKept:       "move-key-kept",
	MoveArrived:       "move-arrived",
	Recovered:         "recovered",
	TickAgain:         "tick-again",
	WentLive:          "went-live",
}

// String returns the point's name.
func (p Point) String() string { return names[p] }

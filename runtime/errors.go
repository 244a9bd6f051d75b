package runtime

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"igor.dev/authority"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/store"
)

// What can be wrong, for errors.Is. What says more is a type, for errors.As.
var (
	// ErrBudgetExhausted says that an agent cannot pay a tick.
	ErrBudgetExhausted = errors.New("the agent's budget is exhausted")

	// ErrQuota says that an agent's folder has as many bytes as it may.
	ErrQuota = errors.New("the agent's disk quota is reached")

	// ErrNoKey says that an agent's private key is not there, or cannot be used.
	ErrNoKey = store.ErrNoKey

	// ErrNotFolder says that a folder is no agent's.
	ErrNotFolder = store.ErrNotFolder

	// ErrInUse says that the folder of a new agent has something in it.
	ErrInUse = store.ErrInUse

	// ErrRefused says that a program or its manifest asks for what this engine does not
	// give, or cannot be run at all.
	ErrRefused = errors.New("the program is refused")

	// ErrNotAgent says that a program is not an agent.
	ErrNotAgent = sandbox.ErrNotAgent

	// ErrConflict says that a history went on without this run of its agent.
	ErrConflict = store.ErrConflict
)

// An AgentError is a failure of an agent, by its own doing: a trap, a panic, an exit,
// a call that took too long, or memory that is not there.
type AgentError struct {
	Call string // the export that was called, such as agent_tick
	Tick uint64 // the newest one that is over
	Born bool   // it has a checkpoint; else there is nothing of it
	Err  error  // what happened in the call

	hint string
}

func (e *AgentError) Error() string {
	if !e.Born {
		return fmt.Sprintf("agent failed before it was born: %v", e.Err)
	}
	return fmt.Sprintf("agent failed after tick %d: %v", e.Tick, e.Err)
}

func (e *AgentError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *AgentError) Hint() string {
	switch {
	case e.hint != "":
		return e.hint
	case !e.Born:
		return "nothing was made; mend the program or its manifest, and try again"
	case strings.HasPrefix(e.Call, "agent_checkpoint") || e.Call == "agent_resume":
		return "it cannot make a checkpoint of what it is now; igor upgrade --from-checkpoint gives it a mended program from the newest one that it has"
	}
	return fmt.Sprintf("its life is kept up to tick %d; igor resume goes on from there", e.Tick)
}

// A LockedError says that somebody else has an agent's folder open.
type LockedError struct {
	Dir    string
	Holder string // as it says of itself, such as "process 812 on host since 2026-…"
	err    error
}

func (e *LockedError) Error() string { return e.err.Error() }
func (e *LockedError) Unwrap() error { return e.err }

// A DamagedError says that a file of an agent's folder is missing, or is not what it
// was.
type DamagedError struct {
	File string // its path, or its name in the folder
	err  error
}

func (e *DamagedError) Error() string { return e.err.Error() }
func (e *DamagedError) Unwrap() error { return e.err }

// A ManifestError is what is wrong with a manifest, and where.
type ManifestError struct {
	Line int
	Err  error
	err  error
}

func (e *ManifestError) Error() string { return e.err.Error() }
func (e *ManifestError) Unwrap() error { return e.err }

// An UndeclaredError says that a program imports what its manifest does not grant.
type UndeclaredError struct {
	Declaration string // that is missing in the manifest's capabilities
	err         error
}

func (e *UndeclaredError) Error() string { return e.err.Error() }
func (e *UndeclaredError) Unwrap() error { return e.err }

// A refusal is ErrRefused in other words.
type refusal struct{ error }

func (e *refusal) Unwrap() []error { return []error{ErrRefused, e.error} }

// public gives an error of the packages below the type that it has outside.
func public(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*store.LockedError](err); ok {
		return &LockedError{Dir: e.Dir, Holder: e.Holder, err: err}
	}
	if e, ok := errors.AsType[*manifest.Error](err); ok {
		return &ManifestError{Line: e.Line, Err: e.Err, err: err}
	}
	if e, ok := errors.AsType[*hostcall.UndeclaredError](err); ok {
		return &UndeclaredError{e.Declaration(), err}
	}
	if _, ok := errors.AsType[*DamagedError](err); ok {
		return err
	}
	if e, ok := errors.AsType[*store.DamagedError](err); ok {
		return &DamagedError{File: e.File, err: err}
	}
	if errors.Is(err, sandbox.ErrNoMemory) {
		return fmt.Errorf("%w: %w", ErrCeiling, err)
	}
	if _, ok := errors.AsType[*journal.DamageError](err); ok {
		return &DamagedError{File: journal.Name, err: err}
	}
	return err
}

// Temporary reports whether what went wrong may be another thing when it is tried
// again, with nobody doing anything about it: an agent that is run by somebody else at
// the moment, a disk that is full, a network that is down, a home that lost data, a tick
// that failed. A
// supervisor tries those again, with a pause that grows, and leaves all others alone.
func Temporary(err error) bool {
	// A home that lost data, or does not know which position counts, is put right there, and
	// by somebody who does nothing with the agent's folder.
	if _, ok := errors.AsType[*authority.LostError](err); ok {
		return true
	}
	if c, ok := errors.AsType[*authority.Conflict](err); ok && c.Have.State == authority.Recovery {
		return true
	}
	switch {
	case err == nil,
		errors.Is(err, ErrBudgetExhausted), errors.Is(err, ErrNoKey), errors.Is(err, ErrNotFolder), errors.Is(err, ErrNotRunning), errors.Is(err, ErrInUse),
		errors.Is(err, ErrRefused), errors.Is(err, ErrNotAgent), errors.Is(err, ErrConflict),
		errors.Is(err, errors.ErrUnsupported):
		return false
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return true
	}
	if _, ok := errors.AsType[*DamagedError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*ManifestError](err); ok {
		return false
	}
	if e, ok := errors.AsType[*AgentError](err); ok {
		return e.Born
	}
	return true
}

package sandbox

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hostcall"
)

// A Failure says how an agent failed. The first four follow from the program, its
// state and what it observed: whoever runs it again gets the same, with the same
// version of the metering schedule. They are numbered as in docs/spec/eventlog.md.
type Failure uint8

// The failures.
const (
	Trap    Failure = 1 // its code trapped, or it did what an agent must not
	Fuel    Failure = 2 // the call used up its fuel
	Depth   Failure = 3 // its calls were nested too deeply
	Exit    Failure = 4 // it ended itself
	Timeout Failure = 5 // the call took too long on this machine; without metering alone
)

// An AgentError is a failure of the agent.
type AgentError struct {
	Call    string // the export that was called, or "instantiation"
	Failure Failure
	Err     error
	Said    string // what the agent wrote to standard error meanwhile: the line that says why it crashed, or the last
	Fuel    uint64 // see [Instance.Fuel]
}

func (e *AgentError) Error() string {
	s := e.Call + " failed: " + firstLine(e.Err)
	if e.Said != "" {
		s += ": " + e.Said
	}
	return s
}

func (e *AgentError) Unwrap() error { return e.Err }

// ErrStopped says that a call was ended by Stop, or that Instantiate was by its
// context.
var ErrStopped = errors.New("it was stopped")

// A HostError is the end of a call by something that is not the agent's: memory
// that the machine has not got, a fault in a hostcall, or ErrStopped. The call says
// nothing about the agent, and costs it nothing.
type HostError struct {
	Call string
	Err  error
}

func (e *HostError) Error() string {
	s := firstLine(e.Err)
	if e.Call != "" {
		s = e.Call + " was broken off: " + s
	}
	return s
}

func (e *HostError) Unwrap() error { return e.Err }

// failure tells whose failure it is that a call ended with err.
func (in *Instance) failure(call string, err error) error {
	p := in.program
	metered := p.config.Metering > 0
	e := &AgentError{Call: call, Err: err, Failure: Trap, Fuel: in.fuel}
	defer func() {
		in.output.flush()
		e.Said = in.output.reason
	}()
	if host, ok := errors.AsType[*HostError](err); ok {
		return &HostError{call, host.Err}
	}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		e.Failure, e.Err = Exit, fmt.Errorf("it exited with code %d", exit.ExitCode())
		if exit.ExitCode() == sys.ExitCodeDeadlineExceeded && !metered {
			e.Failure, e.Err = Timeout, fmt.Errorf("it took longer than %v", p.config.CallLimit)
		}
		return e
	}
	switch {
	case errors.Is(err, ErrStopped):
		return &HostError{call, ErrStopped}
	case errors.Is(err, fuel.ErrOutOfFuel):
		e.Failure, e.Err = Fuel, fmt.Errorf("it used up its fuel, %d units", p.limit)
	case errors.Is(err, fuel.ErrTooDeep):
		e.Failure, e.Err = Depth, fuel.ErrTooDeep
	case metered && !agents(call, err):
		return &HostError{call, err}
	}
	return e
}

// agents reports whether an error is the agent's doing: what the engine calls an
// error of WebAssembly, what a check of ours found, or a module that cannot be
// instantiated.
func agents(call string, err error) bool {
	return strings.HasPrefix(err.Error(), "wasm error: ") || call == "instantiation" ||
		errors.Is(err, hostcall.ErrTooMuch) || errors.Is(err, errMisfit)
}

// errMisfit is what an agent's answer is that is none.
var errMisfit = errors.New("")

// misfit says that what a call returned is not what it has to be.
func misfit(format string, args ...any) error {
	return &misfitError{fmt.Sprintf(format, args...)}
}

type misfitError struct{ text string }

func (e *misfitError) Error() string     { return e.text }
func (e *misfitError) Is(err error) bool { return err == errMisfit }

// firstLine leaves out the stack trace that wazero puts into its errors.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(strings.TrimPrefix(line, "wasm error: "), " (recovered by wazero)")
}

package store

import (
	"errors"
	"fmt"

	"igor.dev/runtime/internal/hint"
)

// ErrConflict says that the history went on without the one who appends to it.
var ErrConflict = errors.New("the history has another newest checkpoint")

// ErrNotFolder says that a folder is no agent's.
var ErrNotFolder = errors.New("not an agent's folder")

// ErrInUse says that a folder in which something is to be made has something in it.
var ErrInUse = errors.New("the folder is in use")

type inUseError struct{ error }

func (e *inUseError) Unwrap() []error { return []error{ErrInUse, e.error} }

type notFolderError struct{ error }

func (e *notFolderError) Unwrap() []error { return []error{ErrNotFolder, e.error} }

// An UnsupportedError says what a file system has not that agents need. It is
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Dir  string
	What string // such as "no hard links"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("agents cannot live in %s: its file system has %s", e.Dir, e.What)
}

func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

func unsupported(dir, what string) error {
	return hint.Wrap(&UnsupportedError{dir, what}, "put the agent's folder on another file system; docs/operating.md says what it needs")
}

// A LockedError says that somebody else has a folder open.
type LockedError struct {
	Dir    string
	Holder string // as it says of itself
}

func (e *LockedError) Error() string { return fmt.Sprintf("%s is in use by %s", e.Dir, e.Holder) }

// A DamagedError says that a file is missing, or is not what it was.
type DamagedError struct {
	File string // its path
	err  error
}

func (e *DamagedError) Error() string { return e.err.Error() }
func (e *DamagedError) Unwrap() error { return e.err }

func damaged(file, format string, args ...any) error {
	return &DamagedError{file, fmt.Errorf(format, args...)}
}

package store

import (
	"errors"
	"fmt"
)

// ErrConflict says that the history went on without the one who appends to it.
var ErrConflict = errors.New("the history has another newest checkpoint")

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

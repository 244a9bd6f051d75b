package publish

import "fmt"

// An Error says what went wrong, where, and what to do about it.
type Error struct {
	Where   string // an address or a path, "" where it is about all of it
	Problem string
	Next    string // the next step, "" if nobody knows
	Err     error  // the cause, if another one
}

func (e *Error) Error() string {
	if e.Where == "" {
		return e.Problem
	}
	return e.Where + ": " + e.Problem
}

func (e *Error) Hint() string  { return e.Next }
func (e *Error) Unwrap() error { return e.Err }

func problem(where, next, format string, args ...any) *Error {
	return &Error{Where: where, Problem: fmt.Sprintf(format, args...), Next: next}
}

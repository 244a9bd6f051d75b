// Package hint attaches the operator's next step to an error.
//
// The message says what is wrong with which thing; the hint says what to do
// about it. Whoever shows the error finds the hint by the method Hint, with
// errors.As on an interface, and prints it on a line of its own.
package hint

import "fmt"

type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// Wrap returns err with a hint.
func Wrap(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

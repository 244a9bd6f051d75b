package sdk

import (
	"errors"
	"strconv"
	"time"
)

// Now returns the time of the machine that the agent lives on, in UTC. It needs
// the capability clock.
func Now() time.Time { return time.Unix(0, clockNow()).UTC() }

// Rand fills b, of at most [MaxRand] bytes, with randomness of the machine that
// the agent lives on. It needs the capability rand.
func Rand(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if code := randBytes(b); code != 0 {
		return hostError("rand_bytes", code)
	}
	return nil
}

// Log writes a line to the agent's log. It needs the capability log.
func Log(line string) {
	if line != "" {
		logEmit(line)
	}
}

// ErrTooLong says that a hostcall was given more than it takes.
var ErrTooLong = errors.New("input too long")

// hostError makes an error of a hostcall's negative result. Package fmt would
// make every agent half a megabyte larger.
func hostError(call string, code int32) error {
	if code == -2 {
		return ErrTooLong
	}
	return errors.New(call + " failed with code " + strconv.Itoa(int(code)))
}

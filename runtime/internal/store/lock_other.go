//go:build !unix

package store

import (
	"errors"
	"os"
)

// Lock refuses: without a lock that dies with its process, two processes could
// live one life.
func Lock(*os.Root, string) (*os.File, error) {
	return nil, errors.New("agents do not run on this system, which has no flock; verifying works")
}

// Holder returns who has the folder open: nobody can.
func Holder(*os.Root) (string, error) { return "", nil }

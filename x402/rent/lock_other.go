//go:build !unix

package rent

import (
	"errors"
	"os"
)

// lockFolder refuses: without a lock that dies with its process, two could take a payment.
func lockFolder(string) (*os.File, error) {
	return nil, errors.New("rent is not taken on this system, which has no flock")
}

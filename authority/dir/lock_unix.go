//go:build unix

package dir

import (
	"os"
	"syscall"
)

// exclusive waits for the lock on a file. The kernel releases it when the file is closed.
func exclusive(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

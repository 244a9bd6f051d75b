package wal

import (
	"os"
	"syscall"
)

// datasync leaves out what reading the file back does not need, such as its
// time of change.
func datasync(f *os.File) error {
	return onFile(f, func(fd int) error { return os.NewSyscallError("fdatasync", syscall.Fdatasync(fd)) })
}

//go:build unix

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"igor.dev/runtime/internal/hint"
)

// Lock takes the folder's lock, which the kernel gives back when the process
// ends, however it ends, and writes into the file who has it.
func Lock(root *os.Root, dir string) (*os.File, error) {
	f, err := root.OpenFile(fileLock, os.O_RDWR|os.O_CREATE, 0o644)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, fileLock), p.Err)
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for try := 0; try < 5 && errors.Is(err, unix.EWOULDBLOCK); try++ { // somebody may only look: see [Holder]
		time.Sleep(5 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		f.Close()
		return nil, hint.Wrap(&LockedError{dir, orUnknown(string(holder))}, "wait for it, or stop it; an agent lives once")
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.ENOLCK) {
		f.Close()
		return nil, unsupported(dir, "no locks")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of %s: %w", dir, err)
	}
	host, _ := os.Hostname()
	line := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(line), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of %s: %w", dir, err)
	}
	return f, nil
}

// Holder returns who has the folder open, as it says of itself, "" if nobody has.
func Holder(root *os.Root) (string, error) {
	f, err := root.Open(fileLock)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", bare(err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) // which [Lock] waits for, a moment
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 256))
		return orUnknown(string(holder)), nil
	}
	return "", nil
}

// orUnknown is for the moment between taking the lock and signing it.
func orUnknown(holder string) string {
	if holder = strings.ToValidUTF8(strings.TrimSpace(holder), "?"); holder == "" {
		return "another process"
	}
	return holder
}

package wal

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// deviceOf returns which file system a file is on.
func deviceOf(f *os.File) (id uint64, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(stat.Dev), true
}

// wholeOf returns a file on a file system that can be synced as a whole, nil if that is
// not known to be as good as a sync of each file: the kernel has to report failed writes
// (Linux 5.8), and the file system to flush the disk's cache.
func wholeOf(f *os.File) *os.File {
	if !reportsFailures() {
		return nil
	}
	var whole *os.File
	onFile(f, func(fd int) error {
		var stat unix.Statfs_t
		if err := unix.Fstatfs(fd, &stat); err != nil {
			return err
		}
		switch uint32(stat.Type) { // of 32 bits with a sign on some machines
		case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		default:
			return errors.ErrUnsupported
		}
		second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			whole = os.NewFile(uintptr(second), f.Name())
		}
		return err
	})
	return whole
}

func reportsFailures() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	release := strings.SplitN(unix.ByteSliceToString(name.Release[:]), ".", 3)
	if len(release) < 2 {
		return false
	}
	major, err1 := strconv.Atoi(release[0])
	minor, err2 := strconv.Atoi(release[1])
	return err1 == nil && err2 == nil && (major > 5 || major == 5 && minor >= 8)
}

func syncWhole(f *os.File) error {
	return onFile(f, func(fd int) error { return os.NewSyscallError("syncfs", unix.Syncfs(fd)) })
}

func onFile(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for {
			if failed = do(int(fd)); !errors.Is(failed, syscall.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, failed)
}

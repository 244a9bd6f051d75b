//go:build linux || darwin || freebsd

package node

import "golang.org/x/sys/unix"

func diskOf(dir string) (size, free uint64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0, false
	}
	return s.Blocks * uint64(s.Bsize), uint64(s.Bavail) * uint64(s.Bsize), true
}

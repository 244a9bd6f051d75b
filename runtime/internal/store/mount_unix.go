//go:build unix

package store

import (
	"os"
	"path/filepath"
	"syscall"
)

// isMountPoint reports whether another file system than its parent's begins at dir.
func isMountPoint(dir string) bool {
	here, err := os.Stat(dir)
	if err != nil {
		return false
	}
	above, err := os.Stat(filepath.Join(dir, ".."))
	if err != nil {
		return false
	}
	a, ok := here.Sys().(*syscall.Stat_t)
	b, also := above.Sys().(*syscall.Stat_t)
	return ok && also && a.Dev != b.Dev
}

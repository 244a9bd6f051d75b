//go:build unix

package store

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newPrefix begins the name of what is not whole yet. What a killed process left of it
// may have a key in it.
const newPrefix = ".igor-new-"

// sweepAfter is how old what is swept is at least: between being made and being held is
// a moment.
const sweepAfter = 10 * time.Second

// hold keeps what is being made from being swept, until release.
func hold(path string) (release func()) {
	f, err := os.Open(path)
	if err != nil {
		return func() {}
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // where there are no locks, nothing is swept
	return func() { f.Close() }
}

// Sweep removes what killed processes of this user left in a folder of what they were
// making.
func Sweep(dir string) {
	entries, _ := os.ReadDir(dir) // without it, something is left for the next time
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() || time.Since(info.ModTime()) < sweepAfter {
			continue
		}
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Geteuid() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(path)
		}
		f.Close()
	}
}

//go:build !linux

package wal

import "os"

// Only Linux says of a whole file system whether anything of it could not be written.

func deviceOf(*os.File) (id uint64, ok bool) { return 0, false }
func wholeOf(*os.File) *os.File              { return nil }
func syncWhole(f *os.File) error             { return f.Sync() }

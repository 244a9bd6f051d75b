//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// errHeld says that another process has a node's folder.
var errHeld = errors.New("another process has the folder")

// hold takes a node's folder for this process, until it ends or lets go.
func hold(dir string) (letGo func() error, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errHeld
		}
		return nil, err
	}
	return f.Close, nil
}

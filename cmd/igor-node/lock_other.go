//go:build !unix

package main

import "errors"

var errHeld = errors.New("another process has the folder")

// hold does nothing: this system has no flock, and the node's socket says whether it runs.
func hold(string) (letGo func() error, err error) { return func() error { return nil }, nil }

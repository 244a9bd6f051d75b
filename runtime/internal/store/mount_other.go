//go:build !unix

package store

func isMountPoint(string) bool { return false }

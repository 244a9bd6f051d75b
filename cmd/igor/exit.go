package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"igor.dev/node/api"
	"igor.dev/runtime"
)

// Exit codes. They tell a supervisor whether to try again makes sense, are described in
// docs/operating.md, and never change. From 65 on they are those of sysexits(3). igor
// verify, inspect, receipts and replay have those of igor-verify.
const (
	exitOK        = 0
	exitFailed    = 1 // another time it may work
	exitUsage     = 2
	exitExhausted = 3
	exitDamaged   = 65 // EX_DATAERR
	exitMissing   = 66 // EX_NOINPUT
	exitNoSpace   = 73 // EX_CANTCREAT; another time it may work
	exitLocked    = 75 // EX_TEMPFAIL; another time it may work
	exitConflict  = 76 // EX_PROTOCOL
	exitNoAccess  = 77 // EX_NOPERM
	exitRefused   = 78 // EX_CONFIG
)

// exitStatus returns what a failure exits with.
func exitStatus(err error) int {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok && p.Path == os.Stdout.Name() {
		return exitFailed // what was done is done
	}
	switch {
	case is(runtime.ErrInUse):
		return exitUsage
	case is(runtime.ErrBudgetExhausted):
		return exitExhausted
	case is(syscall.ENOSPC, syscall.EDQUOT, runtime.ErrQuota, runtime.ErrCeiling):
		return exitNoSpace
	case has[*runtime.LockedError](err):
		return exitLocked
	case is(runtime.ErrConflict):
		return exitConflict
	case is(runtime.ErrNoKey):
		return exitNoAccess
	case has[*runtime.DamagedError](err), has[*brokenError](err), has[*damageFound](err):
		return exitDamaged
	case has[*runtime.ManifestError](err), is(runtime.ErrRefused, runtime.ErrNotAgent, errors.ErrUnsupported):
		return exitRefused
	case is(fs.ErrPermission, syscall.EROFS):
		return exitNoAccess
	case is(runtime.ErrNotFolder, runtime.ErrNotRunning, api.ErrNotRunning, errNoNode, fs.ErrNotExist), api.Missing(err):
		return exitMissing
	}
	return exitFailed
}

func has[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

//go:build unix

package runtime

import "syscall"

// systemFiles returns how many descriptors this process may have, 0 = not known.
func systemFiles() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 0
	}
	return int(min(r.Cur, 1<<30))
}

//go:build linux

package netns

import (
	"net"
	"net/netip"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Listen listens on a host, for this process, which is on none itself.
func (n *Network) Listen(i int, port uint16) (net.Listener, error) {
	// Threads have network namespaces, and sockets keep the one of the thread that makes
	// them. Where the thread cannot go back it ends with its goroutine.
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer unix.Close(home)
		there, err := unix.Open(filepath.Join("/var/run/netns", n.host(i)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer unix.Close(there)
		if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		l, err := net.Listen("tcp", netip.AddrPortFrom(n.Address(i), port).String())
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{l, err}
	}()
	r := <-done
	return r.l, r.err
}

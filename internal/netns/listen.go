//go:build linux

package netns

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Listen listens on a host, for this process, which is on none itself.
func (n *Network) Listen(i int, port uint16) (l net.Listener, err error) {
	on := n.on(i, func() error {
		l, err = net.Listen("tcp", netip.AddrPortFrom(n.Address(i), port).String())
		return err
	})
	return l, on
}

// Dial connects from a host to an address, such as 10.97.0.1:7450, for this process.
func (n *Network) Dial(ctx context.Context, i int, address string) (c net.Conn, err error) {
	on := n.on(i, func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, "tcp", address)
		return err
	})
	return c, on
}

// on does something on a host. Threads have network namespaces, and sockets keep the one of
// the thread that makes them. Where the thread cannot go back it ends with its goroutine.
func (n *Network) on(i int, do func() error) error { return inside(n.host(i), do) }

// inside is on, of any namespace.
func inside(namespace string, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(home)
		there, err := unix.Open(filepath.Join("/var/run/netns", namespace), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- err
			return
		}
		defer unix.Close(there)
		if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		err = do()
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

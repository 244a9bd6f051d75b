//go:build linux

package netns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A delay has all that a host sends, and all that is sent to it, take longer: this process
// stands between the host's port and the switch, and passes frames on when it is time.
type delay struct {
	by         atomic.Int64 // ns
	port, tap  *os.File
	transports sync.WaitGroup
}

const (
	maxFrame  = 10 + 64<<10 // with what the kernel says of it: see IFF_VNET_HDR
	maxFrames = 4096        // on their way; more are lost
)

// Delay has all that a host sends, and all that is sent to it, take so much longer, from now
// on; 0 = as long as before. Frames keep their order.
func (n *Network) Delay(i int, by time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.delays[i]
	if d == nil {
		if by <= 0 {
			return nil
		}
		var err error
		if d, err = n.between(i); err != nil {
			return err
		}
		if n.delays == nil {
			n.delays = map[int]*delay{}
		}
		n.delays[i] = d
	}
	d.by.Store(int64(max(0, by)))
	return nil
}

// between takes a host's port off the switch, and stands there itself.
func (n *Network) between(i int) (_ *delay, err error) {
	d := &delay{}
	port, tap := fmt.Sprintf("port%d", i), fmt.Sprintf("slow%d", i)
	var socket, device int
	err = inside(n.name, func() error {
		if device, err = openTap(tap); err != nil {
			return err
		}
		socket, err = openPort(port)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("a link cannot be slow here: %w", err)
	}
	d.tap, d.port = os.NewFile(uintptr(device), tap), os.NewFile(uintptr(socket), port)
	if err := in(n.name, "link set "+tap+" up", "link set "+port+" nomaster", "link set "+tap+" master switch"); err != nil {
		d.close()
		return nil, err
	}
	d.transports.Go(func() { d.carry(d.port, d.tap) })
	d.transports.Go(func() { d.carry(d.tap, d.port) })
	return d, nil
}

func (d *delay) close() error {
	err := errors.Join(d.port.Close(), d.tap.Close())
	d.transports.Wait()
	return err
}

type frame struct {
	due   time.Time
	bytes []byte
}

// carry passes frames on, each when it is due.
func (d *delay) carry(from, to *os.File) {
	waiting := make(chan frame, maxFrames)
	go func() {
		defer close(waiting)
		b := make([]byte, maxFrame)
		for {
			n, err := from.Read(b)
			if err != nil {
				if errors.Is(err, unix.ENETDOWN) {
					continue
				}
				return
			}
			select {
			case waiting <- frame{time.Now().Add(time.Duration(d.by.Load())), append([]byte(nil), b[:n]...)}:
			default:
			}
		}
	}()
	for f := range waiting {
		time.Sleep(time.Until(f.due))
		to.Write(f.bytes) // what cannot be sent is lost, as on any network
	}
}

// openTap makes a device that is this process.
func openTap(name string) (fd int, err error) {
	if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return 0, err
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		// What it gets may be in larger pieces than a wire takes, as between the hosts.
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// openPort has this process get all that comes to a device, and send there.
func openPort(name string) (fd int, err error) {
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all)); err != nil {
		return 0, err
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r)
	}
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(r.Uint32())}),
			unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(r.Uint32()), Type: unix.PACKET_MR_PROMISC}),
		)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

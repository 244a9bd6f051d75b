//go:build linux

package netns

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A Network is some hosts on one switch. Its methods are safe for concurrent use.
type Network struct {
	name  string
	hosts int

	mu     sync.Mutex
	delays map[int]*delay
}

// made counts the networks of this process.
var made atomic.Int32

// MaxHosts is how many hosts a network may have.
const MaxHosts = 250

// nobody is the hardware address of no host: what is sent there is lost in silence, as
// on a link that is cut.
const nobody = "02:00:00:00:ff:ff"

// Unavailable says why there can be no network here, nil if there can.
func Unavailable() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("network namespaces need ip (apt-get install iproute2)")
	}
	name := fmt.Sprintf("igor-%d-try", os.Getpid())
	defer ip("netns", "del", name)
	return ip("netns", "add", name)
}

// New makes a network, until the test ends. Where there can be none, the test is skipped.
func New(t testing.TB, hosts int) *Network {
	t.Helper()
	if err := Unavailable(); err != nil {
		t.Skip(err)
	}
	n, err := Make(hosts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Make makes a network. What was made is undone if something fails.
func Make(hosts int) (_ *Network, err error) {
	if hosts < 1 || hosts > MaxHosts {
		return nil, fmt.Errorf("a network has 1 to %d hosts, not %d", MaxHosts, hosts)
	}
	n := &Network{name: fmt.Sprintf("igor-%d-%d", os.Getpid(), made.Add(1)), hosts: hosts}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := ip("netns", "add", n.name); err != nil {
		return nil, err
	}
	if err := in(n.name, "link add switch type bridge", "link set switch up"); err != nil {
		return nil, err
	}
	for i := range hosts {
		host, port := n.host(i), fmt.Sprintf("port%d", i)
		if err := ip("netns", "add", host); err != nil {
			return nil, err
		}
		err := in(n.name,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", port, host),
			fmt.Sprintf("link set %s master switch up", port))
		if err == nil {
			err = in(host, "link set lo up", "link set eth0 up", fmt.Sprintf("addr add %s/24 dev eth0", n.Address(i)))
		}
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// Close takes the network away. Processes that are still in it lose their network.
func (n *Network) Close() error {
	var errs []error
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.delays {
		errs = append(errs, d.close())
	}
	n.delays = nil
	for i := range n.hosts {
		errs = append(errs, ip("netns", "del", n.host(i)))
	}
	return errors.Join(append(errs, ip("netns", "del", n.name))...)
}

func (n *Network) host(i int) string { return fmt.Sprintf("%s-%d", n.name, i) }

// Address is that of a host, from 0 on.
func (n *Network) Address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 97, 0, byte(i + 1)}) }

// Command is a program that will run on a host. Its process is the program itself.
func (n *Network) Command(i int, program string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.host(i), program}, args...)...)
}

// Cut has all be lost that one host sends to another, from now on.
func (n *Network) Cut(from, to int) error {
	return in(n.host(from), fmt.Sprintf("neigh replace %s lladdr %s nud permanent dev eth0", n.Address(to), nobody))
}

// Heal undoes Cut.
func (n *Network) Heal(from, to int) error {
	return in(n.host(from), fmt.Sprintf("neigh flush to %s dev eth0 nud permanent", n.Address(to)))
}

// Split cuts every link between the hosts that are named and all others, in both directions.
func (n *Network) Split(hosts ...int) error { return n.across(n.Cut, hosts) }

// Join undoes Split.
func (n *Network) Join(hosts ...int) error { return n.across(n.Heal, hosts) }

func (n *Network) across(do func(from, to int) error, hosts []int) error {
	var errs []error
	inside := make(map[int]bool)
	for _, i := range hosts {
		inside[i] = true
	}
	for i := range inside {
		for j := range n.hosts {
			if !inside[j] {
				errs = append(errs, do(i, j), do(j, i))
			}
		}
	}
	return errors.Join(errs...)
}

// Down takes a host's only link down.
func (n *Network) Down(i int) error { return in(n.host(i), "link set eth0 down") }

// Up undoes Down.
func (n *Network) Up(i int) error { return in(n.host(i), "link set eth0 up") }

// in runs some commands of ip in a namespace.
func in(namespace string, commands ...string) error {
	for _, c := range commands {
		if err := ip(append([]string{"-n", namespace}, strings.Fields(c)...)...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

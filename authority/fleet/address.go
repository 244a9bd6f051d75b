package fleet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// A member's address says what carries requests to it:
//
//	node1.example:7450            HTTP
//	/ip4/192.0.2.7/tcp/7447       libp2p, as a multiaddress
//
// Members reach each other at the next port of the same host, in both cases.

const maxAddress = 300

// IsMultiaddr reports whether an address is one of libp2p.
func IsMultiaddr(address string) bool { return strings.HasPrefix(address, "/") }

// HostPort returns the host and the port of an address.
func HostPort(address string) (host string, port uint16, err error) {
	bad := fmt.Errorf("its address %q is neither HOST:PORT nor such as /ip4/192.0.2.7/tcp/7447", address)
	if len(address) > maxAddress || strings.ContainsAny(address, "?#@ ,%\\\"'<>") {
		return "", 0, bad
	}
	var text string
	if IsMultiaddr(address) {
		p := strings.Split(address[1:], "/")
		switch {
		case len(p) == 4 && p[2] == "tcp", len(p) == 5 && p[2] == "udp" && p[4] == "quic-v1":
		default:
			return "", 0, bad
		}
		host, text = p[1], p[3]
		ip, notIP := netip.ParseAddr(host)
		switch p[0] {
		case "ip4":
			if notIP != nil || !ip.Is4() {
				return "", 0, bad
			}
		case "ip6":
			if notIP != nil || !ip.Is6() {
				return "", 0, bad
			}
		case "dns", "dns4", "dns6":
		default:
			return "", 0, bad
		}
	} else if host, text, err = net.SplitHostPort(address); err != nil || strings.Contains(address, "/") {
		return "", 0, bad
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || host == "" || n == 0 {
		return "", 0, bad
	}
	return host, uint16(n), nil
}

// PeerAddress returns where a member with an address is reached by the others: at the next
// port.
func PeerAddress(address string) (string, error) {
	host, port, err := HostPort(address)
	if err != nil {
		return "", err
	}
	if port == 65535 {
		return "", errors.New("members reach each other at the next port: want one from 1 to 65534")
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)+1)), nil
}

// multiaddr returns a TCP address as libp2p has it.
func multiaddr(host string, port uint16) string {
	kind := "dns"
	if ip, err := netip.ParseAddr(host); err == nil {
		if kind = "ip6"; ip.Unmap().Is4() {
			kind, host = "ip4", ip.Unmap().String()
		}
	}
	return fmt.Sprintf("/%s/%s/tcp/%d", kind, host, port)
}

// Package simulated is a network in this process, for nodes in tests and in the laboratory.
// In a bubble of testing/synctest its time is simulated, too: an hour takes seconds.
package simulated

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// A Network is hosts that speak QUIC. Its methods are safe for concurrent use.
type Network struct {
	net simnet.Simnet
	mu  sync.Mutex
	cut map[[2]string]bool
}

// speed is that of each host, in both directions.
const speed = 100 * simnet.Mibps

// New makes a network, on which a packet takes a while from any host to any other.
func New(latency time.Duration) *Network {
	n := &Network{net: simnet.Simnet{LatencyFunc: simnet.StaticLatency(latency), Logger: slog.New(slog.DiscardHandler)}, cut: map[[2]string]bool{}}
	n.net.Start()
	return n
}

// Close ends the network.
func (n *Network) Close() { n.net.Close() }

func ip(host int) string { return simnet.IntToPublicIPv4(host).String() }

// Address is where a host listens, as node.json has it.
func (n *Network) Address(host int) string { return "/ip4/" + ip(host) + "/udp/7447/quic-v1" }

// Cut has all be lost that one host sends to another, from now on, or no longer.
func (n *Network) Cut(from, to int, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{ip(from), ip(to)}] = yes
}

// Options are those of a node on the network, once.
func (n *Network) Options() []libp2p.Option {
	s := &source{}
	reuse := []quicreuse.Option{
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return s, nil }),
		quicreuse.OverrideListenUDP(func(_ string, address *net.UDPAddr) (net.PacketConn, error) {
			s.ip = address.IP
			link := simnet.LinkSettings{BitsPerSecond: speed}
			n.mu.Lock()
			defer n.mu.Unlock()
			return &endpoint{n.net.NewEndpoint(address, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), n, address.IP.String()}, nil
		}),
	}
	return []libp2p.Option{libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			l.Append(fx.StopHook(m.Close))
		}
		return m, err
	}, reuse...)}
}

// A source is a host's only address.
type source struct{ ip net.IP }

func (s *source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.ip, nil }

// An endpoint is a host's, which loses what it sends over links that are cut.
type endpoint struct {
	net.PacketConn
	network *Network
	ip      string
}

func (e *endpoint) WriteTo(b []byte, to net.Addr) (int, error) {
	if a, err := netip.ParseAddrPort(to.String()); err == nil {
		e.network.mu.Lock()
		lost := e.network.cut[[2]string{e.ip, a.Addr().String()}]
		e.network.mu.Unlock()
		if lost {
			return len(b), nil
		}
	}
	return e.PacketConn.WriteTo(b, to)
}

package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/node/wire"
	"igor.dev/verifier"
)

// The protocols. A version that both sides name is part of the name.
const (
	ProtocolPrice    protocol.ID = "/igor/price/1"
	ProtocolHistory  protocol.ID = "/igor/history/1"
	ProtocolHandOver protocol.ID = "/igor/handover/1"
)

// Limits of what other nodes may take up here.
const (
	peerStreams     = 64
	peerConnections = 8
	peerMemory      = 64 << 20
	protocolStreams = 128 // of one protocol, by all peers

	// All peers together. libp2p's own limits go by the machine's memory: on a small one two
	// peers would use up what others need as well.
	allConnections = 1024
	allStreams     = 16 << 10
	newConnections = 256  // whose peers are not known yet
	newStreams     = 2048 // whose protocols are not

	silence   = 30 * time.Second
	dialLimit = 10 * time.Second

	// What those who are not known may open here, where they may at all: each, and all
	// together. To ask for an offer takes a second.
	strangerStreams     = 8
	strangerConnections = 2
	strangerMemory      = 4 << 20
	strangersAtOnce     = 32
	strangerLimit       = 30 * time.Second

	// New connections with one IPv4 address or IPv6 /56, a second and at once.
	connectionsASecond = 10
	connectionsAtOnce  = 100
)

// keyOf returns a peer's key, which its identity is.
func keyOf(id peer.ID) (k verifier.PublicKey, err error) {
	public, err := id.ExtractPublicKey()
	if err != nil {
		return k, err
	}
	if public.Type() != crypto.Ed25519 {
		return k, fmt.Errorf("the peer %s has no Ed25519 key", id)
	}
	raw, err := public.Raw()
	if err == nil && copy(k[:], raw) != len(k) {
		err = fmt.Errorf("the peer %s has no Ed25519 key", id)
	}
	return k, err
}

// idOf returns the identity of a peer by its key.
func idOf(k verifier.PublicKey) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(k[:])
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(public)
}

// connectionRate limits new connections, ours too. libp2p's own limit is one in five
// seconds: a node whose peer is down for a while asks for it more often than that, and could
// not reach it when it is back.
func connectionRate() *rate.Limiter {
	limit := rate.Limit{RPS: connectionsASecond, Burst: connectionsAtOnce}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: limit}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: limit}},
			GracePeriod:      time.Minute,
		},
	}
}

// newHost makes the libp2p host: TCP with TLS, and QUIC for those who want it; no relays, no
// discovery.
func newHost(key ed25519.PrivateKey, listen []string, networkKey []byte, other []libp2p.Option, gate *gate) (host.Host, error) {
	identity, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	resources, err := rcmgr.NewResourceManager(newLimiter(peerLimits(), limits.AutoScale(), gate.knows), rcmgr.WithConnRateLimiters(connectionRate()))
	if err != nil {
		return nil, err
	}
	store, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{
		libp2p.Identity(identity),
		libp2p.Peerstore(&book{store}),
		libp2p.ListenAddrStrings(listen...),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionGater(gate),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.UserAgent(userAgent + release()),
		libp2p.SwarmOpts(swarm.WithDialRanker(tcpFirst)),
	}
	if len(listen) == 0 {
		options = append(options, libp2p.NoListenAddrs)
	}
	switch {
	case len(other) > 0:
		options = append(append(options, libp2p.Transport(quic.NewTransport)), other...)
	case len(networkKey) > 0:
		options = append(options, libp2p.Transport(tcp.NewTCPTransport), libp2p.PrivateNetwork(pnet.PSK(networkKey))) // which QUIC cannot have
	default:
		options = append(options, libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(quic.NewTransport))
	}
	return libp2p.New(options...)
}

// peerLimits are those of peers.
func peerLimits() rcmgr.PartialLimitConfig {
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Streams: 2 * allStreams, StreamsInbound: allStreams, StreamsOutbound: allStreams,
			Conns: 2 * allConnections, ConnsInbound: allConnections, ConnsOutbound: allConnections,
		},
		Transient: rcmgr.ResourceLimits{
			Streams: 2 * newStreams, StreamsInbound: newStreams, StreamsOutbound: newStreams,
			Conns: 2 * newConnections, ConnsInbound: newConnections, ConnsOutbound: newConnections,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Streams: peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
			Conns: peerConnections, ConnsInbound: peerConnections, ConnsOutbound: peerConnections, Memory: peerMemory,
		},
		ProtocolDefault: rcmgr.ResourceLimits{Streams: protocolStreams, StreamsInbound: protocolStreams, StreamsOutbound: protocolStreams},
		Protocol: map[protocol.ID]rcmgr.ResourceLimits{
			ProtocolAuthority: {Streams: 2 * authorityStreams, StreamsInbound: authorityStreams, StreamsOutbound: authorityStreams},
		},
	}
}

// A limiter gives those who are not known less.
type limiter struct {
	rcmgr.Limiter
	knows    func(peer.ID) bool
	stranger rcmgr.Limit
}

func newLimiter(few rcmgr.PartialLimitConfig, usual rcmgr.ConcreteLimitConfig, knows func(peer.ID) bool) *limiter {
	stranger := few
	stranger.PeerDefault.StreamsInbound, stranger.PeerDefault.ConnsInbound, stranger.PeerDefault.Memory = strangerStreams, strangerConnections, strangerMemory
	return &limiter{rcmgr.NewFixedLimiter(few.Build(usual)), knows, rcmgr.NewFixedLimiter(stranger.Build(usual)).GetPeerLimits("")}
}

func (l *limiter) GetPeerLimits(id peer.ID) rcmgr.Limit {
	if l.knows(id) {
		return l.Limiter.GetPeerLimits(id)
	}
	return l.stranger
}

// limitStrangers has connections of those who are not known end by themselves, and turns
// away more than a few at a time.
func (n *Node) limitStrangers() {
	var mu sync.Mutex
	ends := map[network.Conn]*time.Timer{}
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			if k, err := keyOf(c.RemotePeer()); c.Stat().Direction != network.DirInbound || err == nil && n.knows(k) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if len(ends) >= strangersAtOnce || c.IsClosed() {
				go c.Close()
				return
			}
			ends[c] = time.AfterFunc(strangerLimit, func() {
				if k, err := keyOf(c.RemotePeer()); err != nil || !n.knows(k) { // still
					c.Close()
				}
			})
		},
		DisconnectedF: func(_ network.Network, c network.Conn) {
			mu.Lock()
			defer mu.Unlock()
			if end := ends[c]; end != nil {
				end.Stop()
				delete(ends, c)
			}
		},
	})
}

// A book has the addresses at which peers are to be reached. What a peer says of its own is
// not among them: who follows that connects to wherever the peer likes, such as to machines
// that only its operator can reach.
type book struct{ certified }

type certified interface {
	peerstore.Peerstore
	peerstore.CertifiedAddrBook
}

// AddAddrs takes addresses for as long as they are dialled. What a peer told libp2p would
// keep for longer than that.
func (b *book) AddAddrs(id peer.ID, at []ma.Multiaddr, ttl time.Duration) {
	if ttl <= peerstore.TempAddrTTL {
		b.certified.AddAddrs(id, at, ttl)
	}
}

// UpdateAddrs keeps them for that long. Where a peer said who it is, libp2p would drop what
// was dialled for what the peer told: a connection that ends then could not be made again.
func (b *book) UpdateAddrs(peer.ID, time.Duration, time.Duration) {}

// quicLater is how much longer TCP is tried alone: it is several times as fast where both
// are there.
const quicLater = 500 * time.Millisecond

// tcpFirst ranks a peer's addresses.
func tcpFirst(all []ma.Multiaddr) []network.AddrDelay {
	var first, later []network.AddrDelay
	for _, a := range all {
		if IsQUIC(a) {
			later = append(later, network.AddrDelay{Addr: a, Delay: quicLater})
		} else {
			first = append(first, network.AddrDelay{Addr: a})
		}
	}
	if len(first) == 0 {
		for i := range later {
			later[i].Delay = 0
		}
	}
	return append(first, later...)
}

// IsQUIC reports whether an address is one of QUIC.
func IsQUIC(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_QUIC_V1)
	return err == nil
}

// A gate lets in, and reaches, those who are known.
type gate struct {
	allowed func(verifier.PublicKey) bool
	known   func(verifier.PublicKey) bool
	turned  func(verifier.PublicKey, ma.Multiaddr) // is told who was not let in
}

func (g *gate) knows(id peer.ID) bool {
	k, err := keyOf(id)
	return err == nil && g.known(k)
}

func (g *gate) InterceptPeerDial(id peer.ID) bool { return g.lets(id) }

func (g *gate) lets(id peer.ID) bool {
	k, err := keyOf(id)
	return err == nil && g.allowed(k)
}

func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool  { return true }
func (g *gate) InterceptSecured(way network.Direction, id peer.ID, at network.ConnMultiaddrs) bool {
	lets := g.lets(id)
	if k, err := keyOf(id); !lets && err == nil && way == network.DirInbound && g.turned != nil {
		g.turned(k, at.RemoteMultiaddr())
	}
	return lets
}

// maxTurned is of how many nodes that are not known it is said that they were turned away.
const maxTurned = 100

// turnedAway returns what says so, once of each, as most of them are nodes whose operator
// made this one known there, and not them here.
func (n *Node) turnedAway() func(verifier.PublicKey, ma.Multiaddr) {
	var mu sync.Mutex
	said := map[verifier.PublicKey]bool{}
	return func(k verifier.PublicKey, at ma.Multiaddr) {
		mu.Lock()
		defer mu.Unlock()
		if said[k] || len(said) == maxTurned {
			return
		}
		said[k] = true
		n.config.Log.Warn("a node that is not known was turned away", "node", k.DID(), "from", at.String(), "hint", "if it is to be known: igor node peers --add")
	}
}

func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// letsIn reports whether a node may be connected with this one.
func (n *Node) letsIn(k verifier.PublicKey) bool { return n.config.Open || n.peers.knows(k) }

// knows reports whether the operator named a node.
func (n *Node) knows(k verifier.PublicKey) bool {
	return n.peers.knows(k) || slices.Contains(n.config.From, k)
}

// forget has a peer known no more. Its connections end.
func (n *Node) forget(k verifier.PublicKey) error {
	id, err := idOf(k)
	if err != nil {
		return err
	}
	if err := n.peers.remove(k); err != nil {
		return err
	}
	if !n.letsIn(k) {
		err = n.host.Network().ClosePeer(id)
	}
	return err
}

// A conn is a stream that never waits for ever: neither side may be silent for longer than
// a while, and the whole may not take longer than its limit.
type conn struct {
	network.Stream
	until   time.Time
	silence time.Duration
}

func (c *conn) deadline() time.Time {
	if next := time.Now().Add(c.silence); next.Before(c.until) {
		return next
	}
	return c.until
}

func (c *conn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.deadline()); err != nil {
		return 0, err
	}
	return c.Stream.Read(b)
}

// chunk is how much is written between two looks at the clock.
const chunk = 64 << 10

func (c *conn) Write(b []byte) (n int, err error) {
	for {
		if err := c.SetWriteDeadline(c.deadline()); err != nil {
			return n, err
		}
		wrote, err := c.Stream.Write(b[n:min(len(b), n+chunk)])
		n += wrote
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// connect sees to it that there is a connection to a peer. Whoever asks has pauses of its
// own: libp2p's, which grow to minutes where a peer was not reached, do not count.
func (n *Node) connect(ctx context.Context, id peer.ID, at []ma.Multiaddr) error {
	if n.host.Network().Connectedness(id) == network.Connected {
		return nil
	}
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
	return n.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: at})
}

// open opens a stream to a peer. Its error is a [wire.Refusal].
func (n *Node) open(ctx context.Context, to verifier.PublicKey, of protocol.ID, limit time.Duration) (*conn, error) {
	id, err := idOf(to)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(ctx, dialLimit)
	defer done()
	if !n.peers.knows(to) && n.host.Network().Connectedness(id) != network.Connected {
		return nil, wire.Refuse(wire.Transport, "%s is not known here: igor node peers --add \"%s ADDRESS\"", to.DID(), to.DID())
	}
	err = n.connect(ctx, id, n.peers.addresses(to))
	var s network.Stream
	if err == nil {
		s, err = n.host.NewStream(ctx, id, of)
	}
	if r := n.otherVersion(to, id, of); err != nil && r != nil {
		n.peers.met(to, nil)
		return nil, r
	}
	if err != nil {
		err = fmt.Errorf("%s cannot be reached: %w", to.DID(), n.plainly(id, err))
	}
	n.peers.met(to, err)
	if err != nil {
		return nil, wire.Refuse(wire.Transport, "%v", err)
	}
	return &conn{Stream: s, until: time.Now().Add(limit), silence: n.config.Silence}, nil
}

// plainly says for people why a peer was not reached: libp2p's words have its own name for it,
// and several lines.
func (n *Node) plainly(id peer.ID, err error) error {
	d, dialled := errors.AsType[*swarm.DialError](err)
	switch {
	case !dialled && n.host.Network().Connectedness(id) != network.Connected && err.Error() == "connection failed":
		return errors.New("it ended the connection at once, as nodes do with those that they do not know")
	case !dialled:
		return err
	case len(d.DialErrors) == 0 && d.Cause != nil:
		return d.Cause
	}
	var all []string
	for _, e := range d.DialErrors {
		why := e.Cause.Error()
		if operation, ok := errors.AsType[*net.OpError](e.Cause); ok {
			why = operation.Err.Error() // the address is said
		}
		all = append(all, fmt.Sprintf("%s: %s", e.Address, why))
	}
	return errors.New(strings.Join(all, ", "))
}

// versionOf returns which igor-node a peer says that it is, "" if it was not met yet.
func (n *Node) versionOf(peer verifier.PublicKey) string {
	id, err := idOf(peer)
	if err != nil {
		return ""
	}
	says, err := n.host.Peerstore().Get(id, "AgentVersion")
	version, ok := says.(string)
	if version, named := strings.CutPrefix(version, userAgent); err == nil && ok && named && len(version) <= 40 {
		return version
	}
	return ""
}

// userAgent is what a node says that it is, before its version.
const userAgent = "igor-node/"

// release is this node's version, such as 0.1.0+1a2b3c4.
func release() string {
	words := strings.FieldsFunc(verifier.Version(), func(r rune) bool { return strings.ContainsRune(" (),", r) })
	switch { // igor VERSION commit HASH
	case len(words) < 4:
		return "?"
	case words[3] == "unknown":
		return words[1]
	}
	return words[1] + "+" + words[3][:min(len(words[3]), 7)]
}

// otherVersion says that a peer that was reached does not speak a protocol as this node does:
// one of the two is too old for the other. nil = it does, or was not reached.
func (n *Node) otherVersion(to verifier.PublicKey, id peer.ID, of protocol.ID) *wire.Refusal {
	if n.host.Network().Connectedness(id) != network.Connected {
		return nil
	}
	all, err := n.host.Peerstore().GetProtocols(id) // as it says when it is met
	if err != nil || len(all) == 0 || slices.Contains(all, of) {
		return nil
	}
	var has []string
	for _, p := range all {
		if path.Dir(string(p)) == path.Dir(string(of)) && len(p) <= 40 {
			has = append(has, fmt.Sprintf("%q", p))
		}
	}
	slices.Sort(has)
	if len(has) == 0 {
		return wire.Refuse(wire.Version, "%s does not speak %s", to.DID(), of)
	}
	return wire.Refuse(wire.Version, "%s speaks %s, and this node %s: the older one of the two needs a newer igor-node", to.DID(), strings.Join(has[:min(len(has), 8)], ", "), of)
}

// serve has streams of a protocol answered, a number of them at a time; the others are
// turned away.
func (n *Node) serve(of protocol.ID, atOnce, ofOne int, limit time.Duration, answer func(ctx context.Context, from verifier.PublicKey, c *conn) error) {
	var mu sync.Mutex
	all, unknown, by := 0, 0, map[verifier.PublicKey]int{}
	enter := func(from verifier.PublicKey, known bool) bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		if n.closed || all >= atOnce || by[from] >= ofOne {
			return false
		}
		if !known {
			if unknown >= atOnce/4 { // the rest is for those who are
				return false
			}
			unknown++
		}
		n.serving.Add(1)
		all++
		by[from]++
		return true
	}
	n.host.SetStreamHandler(of, func(s network.Stream) {
		from, err := keyOf(s.Conn().RemotePeer())
		known := n.knows(from)
		if err != nil || !n.letsIn(from) || !enter(from, known) {
			s.Reset()
			return
		}
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			all--
			if !known {
				unknown--
			}
			if by[from]--; by[from] == 0 {
				delete(by, from)
			}
			n.serving.Done()
		}()
		c := &conn{Stream: s, until: time.Now().Add(limit), silence: n.config.Silence}
		stop := context.AfterFunc(n.ctx, func() { s.Reset() })
		defer stop()
		if err := answer(n.ctx, from, c); err != nil && err != io.EOF {
			n.config.Log.Debug("a stream was cut off", "protocol", string(of), "peer", from.DID(), "error", err)
			s.Reset()
			return
		}
		s.Close()
	})
}

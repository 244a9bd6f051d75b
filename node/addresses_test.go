package node

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/verifier"
)

// newRaider is a peer that keeps to no limits of its own, and says of itself what it likes.
func newRaider(t testing.TB, n byte, options ...libp2p.Option) host.Host {
	t.Helper()
	h, err := rawHost(testKey(n), append(options, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func rawHost(key ed25519.PrivateKey, options ...libp2p.Option) (host.Host, error) {
	identity, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return libp2p.New(append(options, libp2p.Identity(identity), libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay(), libp2p.DisableMetrics())...)
}

// TestToldAddresses has a peer say that it can be reached at addresses of others, such as
// inside the operator's network: nobody is connected to there. What the operator gave is
// tried.
func TestToldAddresses(t *testing.T) {
	listen := func(came *atomic.Int32) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				came.Add(1)
				c.Close()
			}
		}()
		return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
	}
	var atOthers, atGiven atomic.Int32
	inside := ma.StringCast(listen(&atOthers))
	a := newNode(t, 1, nil)
	if err := a.peers.add(Peer{Node: publicKey(7)}); err != nil {
		t.Fatal(err)
	}
	raider := newRaider(t, 7, libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr {
		all := []ma.Multiaddr{inside, ma.StringCast("/dns4/localhost/tcp/" + portOf(t, inside))}
		for i := range 10 { // libp2p keeps 20
			all = append(all, ma.StringCast(fmt.Sprintf("/ip4/127.0.%d.1/tcp/%s", i, portOf(t, inside))))
		}
		return all
	}))
	id, _ := idOf(a.public)
	if err := raider.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	// It is known as soon as it is connected, and its addresses when it was identified.
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		if all, err := a.host.Peerstore().GetProtocols(raider.ID()); err == nil && len(all) > 0 {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the raider was not identified")
		}
	}
	raider.Close()
	for began := time.Now(); a.host.Network().Connectedness(raider.ID()) == network.Connected; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the raider is still connected")
		}
	}
	ask := func() {
		t.Helper()
		ctx, done := context.WithTimeout(t.Context(), 3*time.Second)
		defer done()
		if _, err := a.OfferOf(ctx, publicKey(7)); err == nil {
			t.Fatal("it is gone, and has an offer")
		}
	}
	ask()
	if n := atOthers.Load(); n > 0 {
		t.Errorf("%d connections to where the peer said that it is", n)
	}
	if err := a.peers.add(Peer{Node: publicKey(7), Addresses: []string{listen(&atGiven)}}); err != nil {
		t.Fatal(err)
	}
	ask()
	if atGiven.Load() == 0 {
		t.Error("what the operator gave was not tried")
	}
	if n := atOthers.Load(); n > 0 {
		t.Errorf("%d connections to where the peer said that it is", n)
	}
}

// TestForgotten: a peer that is known no more is cut off, with all that it had open, and does
// not come back.
func TestForgotten(t *testing.T) {
	a, b, e := newNode(t, 1, nil), newNode(t, 2, nil), newEvil(t, 7)
	meet(t, a, b)
	e.meets(a)
	if _, err := a.OfferOf(t.Context(), b.public); err != nil {
		t.Fatal(err)
	}
	open := e.open(a, ProtocolHandOver)
	if _, err := open.Write([]byte{9}); err != nil { // a message that has begun
		t.Fatal(err)
	}
	if err := a.forget(e.did); err != nil {
		t.Fatal(err)
	}
	id, _ := idOf(a.public)
	for began := time.Now(); e.host.Network().Connectedness(id) == network.Connected; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("it is connected still")
		}
	}
	if _, err := open.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("its stream is open: %v", err)
	}
	ctx, done := context.WithTimeout(t.Context(), 5*time.Second)
	defer done()
	e.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: a.host.Addrs()})
	if s, err := e.host.NewStream(ctx, id, ProtocolPrice); err == nil {
		if n, _ := io.Copy(io.Discard, s); n > 0 {
			t.Error("it is answered")
		}
	}
	if _, err := b.OfferOf(t.Context(), a.public); err != nil {
		t.Errorf("another peer is not answered: %v", err)
	}
}

func portOf(t testing.TB, a ma.Multiaddr) string {
	t.Helper()
	port, err := a.ValueForProtocol(ma.P_TCP)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestStrangersHold has many who are not known hold all that they get of an open node:
// streams, and connections. Its peers are answered, and so is who is not known, a while later.
func TestStrangersHold(t *testing.T) {
	a, b := newNode(t, 1, func(c *Config) { c.Open = true }), newNode(t, 2, nil)
	meet(t, a, b)
	id, _ := idOf(a.public)
	at := peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}
	var held []network.Stream
	most := 0
	for range strangersAtOnce + 8 {
		_, key, _ := ed25519.GenerateKey(nil)
		h, err := rawHost(key, libp2p.NoListenAddrs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		if h.Connect(t.Context(), at) != nil {
			continue
		}
		for i := range strangerStreams - 1 { // and one to say who it is
			s, err := h.NewStream(t.Context(), id, []protocol.ID{ProtocolHandOver, ProtocolHistory, ProtocolPrice}[i%3])
			if err != nil {
				break
			}
			s.Write([]byte{9}) // what is asked never comes
			held = append(held, s)
		}
		most = max(most, len(a.host.Network().Peers()))
	}
	if most > strangersAtOnce+1 {
		t.Errorf("%d are connected, and at most %d may who are not known", most, strangersAtOnce)
	}
	if len(held) < strangersAtOnce*strangerStreams/2 {
		t.Fatalf("%d streams came about", len(held))
	}
	if _, err := b.OfferOf(t.Context(), a.public); err != nil {
		t.Errorf("a peer gets no offer: %v", err)
	}
	a.bear("watcher", 2)
	a.awaitTicks("watcher", 1)
	if m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}}); err != nil || !m.Arrived {
		t.Errorf("nothing moves: %+v, %v", m, err)
	}
}

// TestLimits: on the smallest machine, peers who take all they get leave enough for others.
func TestLimits(t *testing.T) {
	const peers = 20
	stranger, _ := idOf(publicKey(101))
	known := func(id peer.ID) bool { return id != stranger }
	for _, memory := range []int64{64 << 20, 8 << 30} { // an eighth of the machine's
		usual := rcmgr.DefaultLimits
		libp2p.SetDefaultServiceLimits(&usual)
		m, err := rcmgr.NewResourceManager(newLimiter(peerLimits(), usual.Scale(memory, 1024), known))
		if err != nil {
			t.Fatal(err)
		}
		opened := 0
		for i := range byte(peers) {
			id, _ := idOf(publicKey(i))
			for range 2 * peerStreams {
				if _, err := m.OpenStream(id, network.DirInbound); err == nil {
					opened++
				}
			}
		}
		if opened != peers*peerStreams {
			t.Errorf("%d streams came about", opened)
		}
		for range 200 { // that nobody has said yet who it is
			m.OpenConnection(network.DirInbound, true, ma.StringCast("/ip4/127.0.0.1/tcp/1"))
		}
		id, _ := idOf(publicKey(100))
		if _, err := m.OpenStream(id, network.DirInbound); err != nil {
			t.Errorf("a machine of %d MiB: another peer gets no stream: %v", memory>>17, err)
		}
		if _, err := m.OpenConnection(network.DirInbound, true, ma.StringCast("/ip4/127.0.0.1/tcp/1")); err != nil {
			t.Errorf("a machine of %d MiB: another peer gets no connection: %v", memory>>17, err)
		}
		opened = 0
		for range 2 * peerStreams {
			if _, err := m.OpenStream(stranger, network.DirInbound); err == nil {
				opened++
			}
		}
		if opened != strangerStreams {
			t.Errorf("who is not known gets %d streams", opened)
		}
		m.Close()
	}
}

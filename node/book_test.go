package node

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestDialledAgain has a connection end between the dial and the stream, after both sides said
// who they are: it is made again, to where it was dialled.
func TestDialledAgain(t *testing.T) {
	a, e := newNode(t, 1, nil), newEvil(t, 7)
	e.meets(a)
	id, _ := idOf(a.public)
	if err := e.host.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	// Who is connected has said who it is: Connect waits for that.
	if err := e.host.Network().ClosePeer(id); err != nil {
		t.Fatal(err)
	}
	for len(e.host.Network().ConnsToPeer(id)) > 0 {
		time.Sleep(time.Millisecond)
	}
	s, err := e.host.NewStream(t.Context(), id, ProtocolPrice)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

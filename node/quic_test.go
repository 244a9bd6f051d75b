package node

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"igor.dev/verifier"
)

// TestQUIC hands an agent over between nodes that have QUIC alone.
func TestQUIC(t *testing.T) {
	quic := func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} }
	a, b := newNode(t, 1, quic), newNode(t, 2, quic)
	meet(t, a, b)
	wasm, err := os.ReadFile(counter)
	if err != nil {
		t.Fatal(err)
	}
	man, err := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": []string{did(1), did(2)}}})
	if err != nil {
		t.Fatal(err)
	}
	a.bearWith("watcher", wasm, man)
	a.awaitTicks("watcher", 2)
	if m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}}); err != nil || !m.Arrived {
		t.Fatalf("%+v, %v", m, err)
	}
	b.awaitTicks("watcher", 2)
	for _, at := range a.host.Network().Conns() {
		if !strings.Contains(at.RemoteMultiaddr().String(), "quic-v1") {
			t.Errorf("a connection is to %s", at.RemoteMultiaddr())
		}
	}
	if f := a.Figures(); f.Away != 1 || len(f.Stood) != 1 || len(f.Peers) != 1 {
		t.Errorf("%+v", f)
	}
	if f := b.Figures(); f.Here != 1 || f.Away != 0 {
		t.Errorf("%+v", f)
	}
	if _, err := b.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{publicKey(3)}}); err == nil || len(b.Figures().Refused) != 1 {
		t.Errorf("%v, %+v", err, b.Figures())
	}
}

func TestTCPFirst(t *testing.T) {
	tcp, quic := ma.StringCast("/ip4/192.0.2.1/tcp/1"), ma.StringCast("/ip4/192.0.2.1/udp/1/quic-v1")
	both := tcpFirst([]ma.Multiaddr{quic, tcp})
	if len(both) != 2 || !both[0].Addr.Equal(tcp) || both[0].Delay != 0 || both[1].Delay < 100*time.Millisecond {
		t.Errorf("%+v", both)
	}
	if alone := tcpFirst([]ma.Multiaddr{quic}); len(alone) != 1 || alone[0].Delay != 0 {
		t.Errorf("%+v", alone)
	}
}

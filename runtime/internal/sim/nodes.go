package sim

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"igor.dev/node/price"
	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/hint"
	"igor.dev/verifier"
)

// Limits of a list of nodes.
const (
	MaxNodes     = 64
	MaxNodesSize = 64 << 10
	maxRTT       = time.Hour
)

// A Node is a simulated one, on which an agent may live. Its key follows from its name and
// the seed.
type Node struct {
	Name    string   `json:"name"`
	Price   int64    `json:"price_microcents"` // a second
	Regions []string `json:"regions"`
	RTT     float64  `json:"rtt_ms"`         // that a request takes from there
	From    uint64   `json:"drains_at_tick"` // 0 = never
	Until   uint64   `json:"takes_again_at_tick"`
	Full    bool     `json:"full"` // it has no room, and refuses

	key ed25519.PrivateKey
}

// ParseNodes reads a JSON list of nodes.
func ParseNodes(b []byte, seed uint64) ([]*Node, error) {
	if len(b) > MaxNodesSize {
		return nil, fmt.Errorf("a list of nodes has %d bytes at most", MaxNodesSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var all []*Node
	if err := d.Decode(&all); err != nil {
		return nil, hint.Wrap(fmt.Errorf("the nodes are not a JSON list of nodes: %w", err), "docs/agents.md shows one")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("a JSON list of nodes, and more after it")
	}
	if len(all) == 0 || len(all) > MaxNodes {
		return nil, fmt.Errorf("a list of nodes has 1 to %d, not %d", MaxNodes, len(all))
	}
	names := map[string]bool{}
	for i, n := range all {
		if n == nil {
			return nil, fmt.Errorf("node %d is null", i)
		}
		if !price.IsName(n.Name) || names[n.Name] {
			return nil, fmt.Errorf("node %d: its name %q is no name of a-z, 0-9, -, _ and ., or another one's", i, n.Name)
		}
		names[n.Name] = true
		if n.RTT < 0 || n.RTT > float64(maxRTT/time.Millisecond) || math.IsNaN(n.RTT) {
			return nil, fmt.Errorf("node %s: rtt_ms has to be 0 to an hour", n.Name)
		}
		if n.Until > 0 && n.Until <= n.From {
			return nil, fmt.Errorf("node %s: takes_again_at_tick has to be after drains_at_tick", n.Name)
		}
		var secret [ed25519.SeedSize]byte
		Stream(seed, "node "+n.Name).Read(secret[:])
		n.key = ed25519.NewKeyFromSeed(secret[:])
		if _, err := n.Offer(time.Unix(0, 0), 0); err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return all, nil
}

// Key is the node's public key.
func (n *Node) Key() verifier.PublicKey {
	return verifier.PublicKey(n.key.Public().(ed25519.PublicKey))
}

// Delay is how long a request takes from there.
func (n *Node) Delay() time.Duration { return time.Duration(n.RTT * float64(time.Millisecond)) }

// Drains reports whether the node is to be empty, in a tick.
func (n *Node) Drains(tick uint64) bool {
	return n.From > 0 && tick >= n.From && (n.Until == 0 || tick < n.Until)
}

// Offer is what the node offers at a time, in a tick.
func (n *Node) Offer(now time.Time, tick uint64) ([]byte, error) {
	o := price.Offer{
		HPKE:      [32]byte{9}, // nothing is sealed
		Issued:    now.Unix(),
		Expires:   now.Add(time.Hour).Unix(),
		Price:     n.Price,
		Draining:  n.Drains(tick),
		Schedules: []uint32{fuel.Version1},
		Regions:   n.Regions,
	}
	if !n.Full {
		o.FreeAgents, o.FreeMemory = 1, 1<<30
	}
	if err := o.Sign(n.key); err != nil {
		return nil, err
	}
	return o.Append(nil), nil
}

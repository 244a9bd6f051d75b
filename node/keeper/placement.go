// Package keeper keeps the agents of a fleet alive: it decides which node lives which agent,
// and has a node take over those whose owner is gone. See docs/node.md.
//
// Nobody is in charge. Each node decides by itself, from what it knows of the others, and
// all rank the candidates for an agent by the same rules: the first tries first, the second
// a little later. Where two know different things, both may try. That costs a refused
// append and nothing else: who owns an agent is decided by the fleet's members alone.
package keeper

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/verifier"
)

// A Node is one of a fleet, as another one knows it.
type Node struct {
	Offer  *price.Offer
	Domain string        // what fails together with it, such as a rack; "" = nothing else
	Agents int           // that it lives
	Silent time.Duration // since it was last heard of
}

// Wants are what an agent asks of a node.
type Wants struct {
	Agent     verifier.PublicKey
	Allowed   []verifier.PublicKey // none = nobody
	MaxPrice  int64                // microcents a second, 0 = any
	Required  []string             // regions, of which the node has one; none = anywhere
	Preferred []string             // regions, the best first
	Needs     []price.Capability
	Schedule  uint32
	Memory    uint64 // bytes
	Group     string // agents of a group are spread over domains; "" = no group
}

// Crowd is how many agents of each group live in each domain.
type Crowd map[[2]string]int

// Add counts an agent of a group in a domain.
func (c Crowd) Add(group, domain string) {
	if group != "" && domain != "" {
		c[[2]string{group, domain}]++
	}
}

// Refuses says why a node may not live the agent, or should not be asked to; nil = it may.
// It is the one rule for that: of hand-overs, of takeovers, and of what agents are shown.
func (w *Wants) Refuses(o *price.Offer, now time.Time) *wire.Refusal {
	switch {
	case !slices.Contains(w.Allowed, o.Node):
		return wire.Refuse(wire.Policy, "the agent's manifest does not allow %s", o.Node.DID())
	case o.At(now) != nil:
		return wire.Refuse(wire.Price, "%v", o.At(now))
	case o.Draining:
		return wire.Refuse(wire.NoCapacity, "%s drains", o.Node.DID())
	case o.FreeAgents == 0:
		return wire.Refuse(wire.NoCapacity, "%s has no room", o.Node.DID())
	case o.FreeMemory < w.Memory:
		return wire.Refuse(wire.NoCapacity, "%s has %d bytes of memory, and the agent may use %d", o.Node.DID(), o.FreeMemory, w.Memory)
	case w.MaxPrice > 0 && o.Price > w.MaxPrice:
		return wire.Refuse(wire.Price, "%s costs %s a second, and the agent's manifest allows %s", o.Node.DID(), verifier.FormatMicrocents(o.Price), verifier.FormatMicrocents(w.MaxPrice))
	case len(w.Required) > 0 && first(w.Required, o.Regions) == len(w.Required):
		return wire.Refuse(wire.Policy, "%s is in %v, and the agent's manifest wants one of %v", o.Node.DID(), o.Regions, w.Required)
	case !slices.Contains(o.Schedules, w.Schedule):
		return wire.Refuse(wire.Version, "%s does not have schedule %d of metering, by which the agent lives", o.Node.DID(), w.Schedule)
	}
	for _, c := range w.Needs {
		if !o.Has(c.Name, int(c.Version)) {
			return wire.Refuse(wire.Version, "%s does not give %s in version %d", o.Node.DID(), c.Name, c.Version)
		}
	}
	return nil
}

// first is the index of the first region that is among a node's.
func first(wanted, has []string) int {
	for i, r := range wanted {
		if slices.Contains(has, r) {
			return i
		}
	}
	return len(wanted)
}

// Candidates returns the nodes that may live an agent, the best first: by the agent's
// preferred regions, by how few of its group live in the same domain, by how full a node is
// in quarters, by its price, and then by chance, which is the same for all who ask.
func (w *Wants) Candidates(nodes []Node, crowd Crowd, now time.Time) []Node {
	type ranked struct {
		Node
		region, crowd, full int
		chance              uint64
	}
	all := make([]ranked, 0, min(len(nodes), len(w.Allowed)))
	for _, n := range nodes {
		// A fleet has many nodes and agents, and what refuses most is the cheapest to see.
		if !slices.Contains(w.Allowed, n.Offer.Node) || w.Refuses(n.Offer, now) != nil {
			continue
		}
		r := ranked{Node: n, region: first(w.Preferred, n.Offer.Regions)}
		if w.Group != "" && n.Domain != "" {
			r.crowd = crowd[[2]string{w.Group, n.Domain}]
		}
		r.full = 4 * n.Agents / (n.Agents + int(n.Offer.FreeAgents))
		h := sha256.Sum256(append(append(make([]byte, 0, 64), w.Agent[:]...), n.Offer.Node[:]...))
		r.chance = binary.BigEndian.Uint64(h[:])
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.crowd, b.crowd), cmp.Compare(a.full, b.full),
			cmp.Compare(a.Offer.Price, b.Offer.Price), cmp.Compare(a.chance, b.chance))
	})
	best := make([]Node, len(all))
	for i := range all {
		best[i] = all[i].Node
	}
	return best
}

// rank is a node's place among candidates, from 0 on; -1 = it is none.
func rank(candidates []Node, node verifier.PublicKey) int {
	return slices.IndexFunc(candidates, func(n Node) bool { return n.Offer.Node == node })
}

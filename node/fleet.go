package node

import (
	"context"

	"igor.dev/authority/fleet"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A Fleet is the one in which a node takes part, as long as it runs.
type Fleet struct {
	Description *fleet.Description
	Client      *fleet.Client // by which the node's agents live there too: with one lease
	Home        *runtime.Home // of an agent that lives there
}

// peersOf are the other nodes of a fleet.
func (f *Fleet) peersOf(self *Node) (all []Peer) {
	if f == nil {
		return nil
	}
	for _, n := range f.Description.Nodes {
		if n.Key != self.public {
			all = append(all, Peer{Node: n.Key, Addresses: n.Addresses})
		}
	}
	return all
}

// A Member answers what nodes ask the members of a fleet: a [igor.dev/authority/member.Member].
type Member interface {
	Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte
}

package node

import (
	"context"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/authority/protocol"
	"igor.dev/node/api"
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

// inFleet reports whether another node is in this one's fleet.
func (n *Node) inFleet(node verifier.PublicKey) bool {
	return n.config.Fleet != nil && n.config.Fleet.Description != nil && n.config.Fleet.Description.Node(node) != nil
}

// A Member answers what nodes ask the members of a fleet: a [igor.dev/authority/member.Member].
type Member interface {
	Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte
}

// A hintError says what to do about it.
type hintError struct {
	error
	next string
}

func (e *hintError) Unwrap() error    { return e.error }
func (e *hintError) NextStep() string { return e.next }

// status says how the fleet is, as far as this node knows without asking another one.
func (f *Fleet) status(n *Node) *api.Fleet {
	if f == nil {
		return nil
	}
	s := &api.Fleet{Name: f.Description.Name, Version: f.Description.Version, Home: f.Home.Name, Reached: f.Client.Held() == nil}
	if n.config.Member == nil {
		return s
	}
	s.Member = f.Description.Node(n.public).Member
	ctx, done := context.WithTimeout(n.ctx, time.Second)
	defer done()
	r := protocol.Request{Kind: protocol.Members}
	a, err := protocol.ParseAnswer(r.Kind, n.config.Member.Serve(ctx, n.public, r.Append(nil)))
	if err == nil {
		err = a.Err()
	}
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Newest = a.Standing.Version
	if a.Standing.Leader != (verifier.PublicKey{}) {
		s.Leader = a.Standing.Leader.DID()
	}
	for _, m := range a.Standing.Members {
		s.Members = append(s.Members, api.FleetMember{DID: m.Key.DID(), Came: m.Came})
	}
	return s
}

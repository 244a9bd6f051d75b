package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// An agent's home is its folder, or a store: a fleet or a bucket, of which both nodes of a
// hand-over are clients. Where it is a store, that alone says whose the agent is, and what
// the nodes say to each other changes nothing: docs/spec/handover.md.

// KeyShares has the keys of agents that are sealed to several nodes of one fleet: a
// hand-over between two of them moves no key, and destroys none.
type KeyShares interface {
	// Shared reports whether this node and another one both have an agent's key.
	Shared(agent, with verifier.PublicKey) bool

	// Key returns an agent's key that is sealed to this node.
	Key(ctx context.Context, agent verifier.PublicKey) (ed25519.PrivateKey, error)
}

// homeLimit is how long an agent's home may take to say whose it is.
const homeLimit = 10 * time.Second

// reachable reports whether other nodes can reach a home of that name: a folder of this
// machine, or its network's, they cannot, and nobody has this node open one.
func reachable(home string) bool {
	return strings.HasPrefix(home, fleet.Prefix) || strings.HasPrefix(home, "s3://")
}

// records finds the home of an agent that is handed over.
func (n *Node) records(home string) (authority.Records, error) {
	switch {
	case len(home) > maxHome:
		return nil, wire.Refuse(wire.Unverified, "a home whose name has %d bytes", len(home))
	case !reachable(home):
		return nil, wire.Refuse(wire.Policy, "the agent's home is %.100q, which other nodes cannot reach: name a fleet or a bucket in its manifest", home)
	case n.config.Homes == nil:
		return nil, wire.Refuse(wire.Policy, "this node is no client of agents' homes")
	}
	h, err := n.config.Homes(home)
	if err != nil {
		return nil, wire.Refuse(wire.Transport, "the agent's home: %v", err)
	}
	r, ok := h.Authority.(authority.Records)
	if !ok {
		return nil, wire.Refuse(wire.Version, "the agent's home keeps nothing of hand-overs")
	}
	return r, nil
}

const maxHome = 8 << 10

// owned makes sure that an agent's home says that a node owns it, and gives it away for the
// first time after so many hand-overs.
func (n *Node) owned(ctx context.Context, home string, agent, by verifier.PublicKey, major uint64) (p authority.Position, err error) {
	r, err := n.records(home)
	if err != nil {
		return p, err
	}
	ctx, done := context.WithTimeout(ctx, homeLimit)
	defer done()
	p, err = r.Read(ctx, agent)
	switch {
	case errors.Is(err, authority.ErrNone):
		return p, wire.Refuse(wire.Divergence, "the agent's home does not know it")
	case err != nil:
		return p, wire.Refuse(wire.Transport, "the agent's home: %v", err)
	case p.Owner != by || p.State != authority.Active && p.State != authority.HandingOver:
		return p, wire.Refuse(wire.Divergence, "the agent's home says that %s owns it, and that it is %s", p.Owner.DID(), p.State)
	case p.Major != major:
		return p, wire.Refuse(wire.Divergence, "the agent's home knows of %d hand-overs, and this one would be number %d", p.Major, major+1)
	}
	return p, nil
}

// What an agent's home says of a hand-over.
type homeSays int

const (
	stillOpen homeSays = iota // it may come about yet
	given                     // it did
	void                      // it did not, and cannot any more
)

// ofHome asks an agent's home what became of a hand-over that this node promised to take.
func (n *Node) ofHome(ctx context.Context, t *take, p *promise) (says homeSays, m runtime.Departure, err error) {
	r, err := n.records(p.Home)
	if err != nil {
		return stillOpen, m, err
	}
	ctx, done := context.WithTimeout(ctx, homeLimit)
	defer done()
	at, with, err := r.Record(ctx, t.agent)
	switch {
	case errors.Is(err, authority.ErrNone):
		return stillOpen, m, fmt.Errorf("%w: its home lost data", err)
	case err != nil:
		return stillOpen, m, err
	case at.Sequence < p.Sequence:
		return stillOpen, m, nil
	case at.Sequence > p.Sequence || at.Owner != n.public || at.Major != t.number:
		return void, m, nil
	}
	m, err = runtime.ParseCommit(t.agent, at, with)
	if err == nil && sha256.Sum256(m.Record.AppendMessage(nil)) != sha256.Sum256(p.Record) {
		return void, m, nil
	}
	return given, m, err
}

// keyOf returns the key that a commit brings, or that this node has.
func (n *Node) keyOf(ctx context.Context, m *runtime.Departure) (key ed25519.PrivateKey, err error) {
	switch {
	case m.Sealed != nil:
		key, err = unseal(n.sealing, runtime.SealInfo(&m.Record), m.Sealed)
	case n.config.Keys != nil:
		key, err = n.config.Keys.Key(ctx, m.Agent)
	default:
		err = errors.New("no key came, and none is here")
	}
	if err == nil && verifier.PublicKey(key.Public().(ed25519.PublicKey)) != m.Agent {
		err = errors.New("the key is not the agent's")
	}
	return key, err
}

// shared reports whether a hand-over between this node and another one moves no key.
func (n *Node) shared(agent, with verifier.PublicKey) bool {
	return n.config.Keys != nil && n.config.Keys.Shared(agent, with)
}

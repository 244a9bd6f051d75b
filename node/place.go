package node

import (
	"errors"
	"slices"
	"sync"
	"time"

	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// How an agent's view of its node is kept.
const (
	placeFresh  = time.Second      // a view is no older
	offersFresh = 20 * time.Second // and what it has of others is asked for again after this
)

// A place is what an agent sees of this node, and how it asks to be moved.
type place struct {
	n    *Node
	name string

	mu     sync.Mutex
	view   runtime.NodeView
	seen   time.Time
	asked  time.Time // for offers
	moving runtime.Moving

	leaving bool // since its ticks came to something else here
}

// placeOf makes an agent's place.
func (n *Node) placeOf(name string) *place {
	p := &place{n: n, name: name}
	if a, ok := n.arrivedAt(name); ok && a.Number > 0 {
		p.moving = runtime.Moved
	}
	return p
}

// View implements [runtime.Node]. It never waits for another node.
func (p *place) View() runtime.NodeView {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.seen) >= placeFresh {
		p.view, p.seen = p.n.viewOf(p.name), now
		if now.Sub(p.asked) >= offersFresh {
			p.asked = now
			p.n.background(func() { p.n.askOffers(p.name) })
		}
	}
	v := p.view
	v.Moving = p.moving
	return v
}

// viewOf looks at what is known of other nodes.
func (n *Node) viewOf(name string) runtime.NodeView {
	n.mu.Lock()
	v := runtime.NodeView{ID: n.public, Drain: n.draining}
	n.mu.Unlock()
	policy, err := n.policyOf(n.agentDir(name))
	if err != nil {
		return v
	}
	for _, known := range n.peers.list() {
		if known.Offer != nil && known.Node != n.public && checkOffer(&policy, known.Offer, known.Node) == nil {
			v.Offers = append(v.Offers, runtime.NodeOffer{Node: known.Node, Signed: known.Offer.Append(nil)})
		}
	}
	return v
}

// askOffers asks the nodes that an agent may go to what they offer.
func (n *Node) askOffers(name string) {
	policy, err := n.policyOf(n.agentDir(name))
	if err != nil || !policy.Enabled {
		return
	}
	for _, to := range policy.AllowedNodes {
		if to != n.public && n.peers.knows(to) && n.ctx.Err() == nil {
			n.OfferOf(n.ctx, to) // what came of it the list of peers has
		}
	}
}

// Wish implements [runtime.Node]: the agent is moved while it lives on.
func (p *place) Wish(to verifier.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving = runtime.Asked
	ok := p.n.background(func() {
		_, err := p.n.Move(p.n.ctx, p.name, MoveConfig{To: []verifier.PublicKey{to}, Own: true, Retries: p.n.config.Retries, RetryDelay: p.n.config.RetryDelay})
		if err == nil || errors.Is(err, runtime.ErrMoved) {
			return // whoever asks is not here any more
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moving = cameOf(err)
	})
	if !ok {
		p.moving = runtime.MoveFailed
	}
}

// Diverged implements [runtime.Diverger]: the agent is moved to a machine that may count
// better, if its manifest allows one that takes it. It lives on until then, and where
// nobody does.
func (p *place) Diverged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		return
	}
	p.leaving = p.n.background(func() {
		_, err := p.n.Move(p.n.ctx, p.name, MoveConfig{Retries: p.n.config.Retries, RetryDelay: p.n.config.RetryDelay})
		if err != nil && !errors.Is(err, runtime.ErrMoved) {
			p.n.config.Log.Error("an agent whose ticks come to something else here is taken by nobody", "agent", p.name, "error", err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leaving = false
	})
}

// cameOf is what an agent is told of a move that failed.
func cameOf(err error) runtime.Moving {
	r, ok := errors.AsType[*wire.Refusal](err)
	switch {
	case !ok:
		return runtime.MoveFailed
	case r.Reason == wire.Transport:
		return runtime.MoveTimeout
	case slices.Contains([]wire.Reason{wire.Policy, wire.Price, wire.NoCapacity, wire.Version}, r.Reason):
		return runtime.MoveNotAllowed
	}
	return runtime.MoveFailed
}

// background does something beside everything else, unless the node is being closed.
func (n *Node) background(do func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.serving.Go(do)
	return true
}

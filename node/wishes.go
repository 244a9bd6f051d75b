package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// An outlook is what an agent of this node sees of it, and who carries out what it wishes
// ([runtime.Node]).
type outlook struct {
	n    *Node
	name string

	mu     sync.Mutex
	policy *runtime.MovePolicy // nil: it is read when it is asked for
	moving runtime.Moving
}

// scanEvery is how often peers are asked for their offers, for agents that look at them.
const scanEvery = time.Minute

// outlookOf returns what the agent in a folder sees: the same as long as the node runs.
func (n *Node) outlookOf(name string) *outlook {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.outlooks[name]
	if o == nil {
		o = &outlook{n: n, name: name}
		n.outlooks[name] = o
	}
	return o
}

// View implements [runtime.Node]. It waits for nobody: the offers are those that were
// fetched last.
func (o *outlook) View() runtime.NodeView {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := runtime.NodeView{ID: o.n.public, Moving: o.moving}
	o.n.mu.Lock()
	v.Drain = o.n.draining
	o.n.mu.Unlock()
	if o.policy == nil {
		man, err := os.ReadFile(filepath.Join(o.n.agentDir(o.name), "agent.manifest.json"))
		if err != nil {
			return v
		}
		p, err := runtime.ReadMovePolicy(man)
		if err != nil {
			return v
		}
		o.policy = &p
	}
	if !o.policy.Enabled || len(o.policy.AllowedNodes) == 0 {
		return v
	}
	for _, p := range o.n.peers.list() {
		if p.Offer != nil && checkOffer(o.policy, p.Offer, p.Node) == nil {
			v.Offers = append(v.Offers, runtime.NodeOffer{Node: p.Node, Signed: p.Offer.Append(nil)})
		}
	}
	return v
}

// Wish implements [runtime.Node].
func (o *outlook) Wish(to verifier.PublicKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.moving == runtime.Asked {
		return // one at a time
	}
	o.moving = runtime.Asked
	o.n.serving.Add(1)
	go func() {
		defer o.n.serving.Done()
		_, err := o.n.Move(o.n.ctx, o.name, MoveConfig{To: []verifier.PublicKey{to}, Own: true})
		o.mu.Lock()
		defer o.mu.Unlock()
		o.moving = outcome(err)
	}()
}

// outcome is what an agent is told of a move.
func outcome(err error) runtime.Moving {
	r, _ := errors.AsType[*wire.Refusal](err)
	switch {
	case err == nil:
		return runtime.Moved
	case r == nil:
		return runtime.MoveFailed
	case r.Reason == wire.Policy:
		return runtime.MoveNotAllowed
	case r.Reason == wire.Transport:
		return runtime.MoveTimeout
	}
	return runtime.MoveFailed
}

// scan keeps the offers of peers that agents of this node may go to.
func (n *Node) scan() {
	defer n.serving.Done()
	for {
		for _, to := range n.wanted() {
			ctx, done := context.WithTimeout(n.ctx, 10*time.Second)
			if _, err := n.OfferOf(ctx, to); err != nil && n.ctx.Err() == nil {
				n.config.Log.Debug("an offer is not there", "peer", to.DID(), "error", err)
			}
			done()
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(n.config.ScanEvery):
		}
	}
}

// wanted are the peers to which some agent here may go.
func (n *Node) wanted() (all []verifier.PublicKey) {
	n.mu.Lock()
	var looks []*outlook
	for name := range n.agents {
		if o := n.outlooks[name]; o != nil {
			looks = append(looks, o)
		}
	}
	n.mu.Unlock()
	for _, p := range n.peers.list() {
		if slices.ContainsFunc(looks, func(o *outlook) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.policy != nil && o.policy.Enabled && slices.Contains(o.policy.AllowedNodes, p.Node)
		}) {
			all = append(all, p.Node)
		}
	}
	return all
}

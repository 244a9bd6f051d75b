package runtime

import (
	"context"
	"errors"
	"time"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/sim"
	"igor.dev/verifier"
)

// MaxSimulatedNodes is the most bytes that a list of simulated nodes has.
const MaxSimulatedNodes = sim.MaxNodesSize

// What moving is like on simulated nodes.
const (
	simulatedMove  = 2 * time.Second  // that the agent does not live meanwhile
	simulatedDrain = 10 * time.Minute // in which a node that drains is to be empty
)

// errMoved ends a life on a simulated node, to go on with it on another.
var errMoved = errors.New("the agent moves to another node")

// A simulatedNode is the node on which a life is simulated.
type simulatedNode struct {
	sim    *simulation
	all    []*sim.Node
	here   *sim.Node
	moving Moving
	moves  int
	cancel context.CancelCauseFunc // of the run on this node
	drains time.Time
}

// View implements [Node].
func (n *simulatedNode) View() NodeView {
	tick, now := n.sim.tick+1, n.sim.time
	v := NodeView{ID: n.here.Key(), Moving: n.moving}
	if !n.here.Drains(tick) {
		n.drains = time.Time{}
	} else if n.drains.IsZero() {
		n.drains = now.Add(simulatedDrain)
	}
	v.Drain = n.drains
	for _, other := range n.all {
		if other == n.here || other.Drains(tick) {
			continue
		}
		if signed, err := other.Offer(now, tick); err == nil { // which was tried at the beginning
			v.Offers = append(v.Offers, NodeOffer{Node: other.Key(), Signed: signed})
		}
	}
	return v
}

// Wish implements [Node].
func (n *simulatedNode) Wish(to verifier.PublicKey) {
	for _, other := range n.all {
		if other.Key() != to {
			continue
		}
		if other.Full || other.Drains(n.sim.tick+1) {
			n.moving = MoveNotAllowed
			n.sim.log.Warn("a node refuses the agent", "node", other.Name)
			return
		}
		n.sim.log.Info("the agent moves", "from", n.here.Name, "to", other.Name)
		n.here, n.moving, n.drains = other, Moved, time.Time{}
		n.moves++
		n.cancel(errMoved)
		return
	}
	n.moving = MoveFailed
}

// on has a life be lived on the node where the agent is.
func (n *simulatedNode) on(ctx context.Context, c *Config) context.Context {
	ctx, n.cancel = context.WithCancelCause(ctx)
	c.Node, c.Price = n, &n.here.Price
	return ctx
}

// moved reports whether a life ended to go on elsewhere.
func (n *simulatedNode) moved(ctx context.Context, r *Result, err error) bool {
	return err == nil && r.Reason == Stopped && errors.Is(context.Cause(ctx), errMoved)
}

// A distant web takes as long to answer as it is away from the node.
type distantWeb struct {
	*sim.Web
	node *simulatedNode
}

// Do implements [hostcall.Doer].
func (w distantWeb) Do(ctx context.Context, r *hostcall.HTTPRequest) (body []byte, code int32) {
	body, code = w.Web.Do(ctx, r)
	w.node.sim.time = w.node.sim.time.Add(w.node.here.Delay())
	return body, code
}

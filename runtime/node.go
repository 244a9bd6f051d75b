package runtime

import (
	"context"
	"time"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/verifier"
)

// A Node is the node that an agent lives on, as far as the agent has to do with it: the
// hostcalls of node in docs/spec/abi.md.
type Node interface {
	// View returns what the agent sees in its next tick. It must not wait.
	View() NodeView

	// Wish is told that the agent asked to go to another node, one of those that it saw.
	// The tick in which it asked is over, and its checkpoint durable. Wish must not wait
	// for the move: the agent lives on until then. A wish is told again if the process
	// ends before the next checkpoint.
	Wish(to verifier.PublicKey)
}

// A Diverger is a [Node] that is told when an agent's ticks, run again, come to something
// else, where [DivergenceMigrate] says so. Diverged must not wait.
type Diverger interface{ Diverged() }

// A NodeView is what an agent sees of its node, and of those where it could go.
type NodeView struct {
	ID     verifier.PublicKey // the node's
	Drain  time.Time          // by which agents should be gone; zero = the node goes on
	Offers []NodeOffer        // that are true, and which the agent's manifest allows
	Moving Moving             // what came of the newest wish
}

// A NodeOffer is what another node offers the agent.
type NodeOffer struct {
	Node   verifier.PublicKey
	Signed []byte // what the agent is given of it
}

// Moving is what came of an agent's newest wish to be moved. Negative, it is the result of
// a hostcall that says why it was not.
type Moving int32

// What may come of a wish.
const (
	NotAsked       Moving = 0
	Asked          Moving = 1
	Moved          Moving = 2
	MoveFailed     Moving = hostcall.CodeFailed
	MoveNotAllowed Moving = hostcall.CodeNotAllowed // by the manifest, or by either node
	MoveTimeout    Moving = hostcall.CodeTimeout    // the other node did not answer
)

// An outlook is what an agent sees of its node in one tick, and what it wishes in it.
type outlook struct {
	node Node
	view NodeView
	wish *verifier.PublicKey // of ticks since the newest checkpoint
}

// look begins a tick: all that is seen in it stays as it is now.
func (o *outlook) look() {
	if o.node != nil {
		o.view = o.node.View()
	}
}

// ID implements [hostcall.Node].
func (o *outlook) ID() string { return o.view.ID.DID() }

// PeerCount implements [hostcall.Node].
func (o *outlook) PeerCount() int32 { return int32(len(o.view.Offers)) }

// PeerOffer implements [hostcall.Node].
func (o *outlook) PeerOffer(index uint32) (offer []byte, ok bool) {
	if uint64(index) >= uint64(len(o.view.Offers)) {
		return nil, false
	}
	return o.view.Offers[index].Signed, true
}

// Migrate implements [hostcall.Node].
func (o *outlook) Migrate(did string) int32 {
	to, err := verifier.ParseDID(did)
	if err != nil {
		return hostcall.CodeFailed
	}
	for _, offer := range o.view.Offers {
		if offer.Node == to {
			o.view.Moving = Asked
			return 0
		}
	}
	return hostcall.CodeNotAllowed
}

// MigrateStatus implements [hostcall.Node].
func (o *outlook) MigrateStatus() int32 { return int32(o.view.Moving) }

// DrainDeadline implements [hostcall.Node].
func (o *outlook) DrainDeadline() int64 {
	if o.view.Drain.IsZero() {
		return 0
	}
	return o.view.Drain.UnixNano()
}

// wished notes what the agent asked for in a tick, lived or lived again. Of several
// wishes the newest counts.
func (o *outlook) wished(did string) {
	if to, err := verifier.ParseDID(did); err == nil {
		o.wish = &to
	}
}

// tellWish makes a checkpoint of the ticks in which the agent asked to be moved, and tells
// the node.
func (l *life) tellWish(ctx context.Context) error {
	o := &l.outlook
	if o.wish == nil || o.node == nil {
		o.wish = nil
		return nil
	}
	if err := l.checkpoint(ctx); err != nil {
		return err
	}
	if err := l.commits.waitDurable(); err != nil {
		return err
	}
	to := *o.wish
	o.wish = nil
	l.Log.Info("the agent asks to be moved", "tick", l.tick, "to", to.DID())
	o.node.Wish(to)
	return nil
}

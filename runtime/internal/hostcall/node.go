package hostcall

// MaxDID is the longest DID that migrate takes, in bytes.
const MaxDID = 256

// A Node is what a host that is one of several offers to its agents. What it says of
// peers and their offers stays the same in all of a tick.
type Node interface {
	// ID returns the node's DID.
	ID() string
	// PeerCount returns how many other nodes would take the agent.
	PeerCount() int32
	// PeerOffer returns what one of them offers, by its index.
	PeerOffer(index uint32) (offer []byte, ok bool)
	// Migrate notes that the agent wants to go to another node, after this tick's
	// checkpoint: 0, or CodeNotAllowed.
	Migrate(did string) (code int32)
	// MigrateStatus returns what came of that: 0 nothing was asked for, 1 asked for, 2
	// moved, negative why it was not the last time.
	MigrateStatus() int32
	// DrainDeadline returns when agents should be gone, in Unix nanoseconds, 0 = never.
	DrainDeadline() int64
}

var nodeID = function{
	capability: "node",
	name:       "node_id",
	params:     types(i32, i32),
	results:    types(i32),
	do: func(c *call) {
		room, ok := c.room(0)
		if !ok {
			c.return32(CodeFailed)
			return
		}
		written, code := c.Host.NodeID(room)
		c.output(0, written, code)
	},
}

var peerCount = function{
	capability: "node",
	name:       "peer_count",
	results:    types(i32),
	do: func(c *call) {
		c.moved = 4
		c.return32(c.Host.PeerCount())
	},
}

var peerOffer = function{
	capability: "node",
	name:       "peer_offer",
	params:     types(i32, i32, i32),
	results:    types(i32),
	do: func(c *call) {
		room, ok := c.room(1)
		if !ok {
			c.return32(CodeFailed)
			return
		}
		written, code := c.Host.PeerOffer(c.i32(0), room)
		c.output(1, written, code)
	},
}

var migrate = function{
	capability: "node",
	name:       "migrate",
	params:     types(i32, i32),
	results:    types(i32),
	do: func(c *call) {
		did, code := c.input(0, MaxDID)
		switch {
		case code < 0:
			c.return32(code)
		case c.phase != Tick:
			c.return32(CodeNotAllowed)
		default:
			c.return32(c.Host.Migrate(string(did)))
		}
	},
}

var migrateStatus = function{
	capability: "node",
	name:       "migrate_status",
	results:    types(i32),
	do: func(c *call) {
		c.moved = 4
		c.return32(c.Host.MigrateStatus())
	},
}

var drainDeadline = function{
	capability: "node",
	name:       "drain_deadline",
	results:    types(i64),
	do: func(c *call) {
		c.moved = 8
		c.stack[0] = uint64(c.Host.DrainDeadline())
	},
}

// NodeID implements [Host].
func (l Live) NodeID(room uint32) ([]byte, int32) {
	if l.Node == nil {
		return nil, CodeFailed
	}
	return fitPlain([]byte(l.Node.ID()), room)
}

// PeerCount implements [Host].
func (l Live) PeerCount() int32 {
	if l.Node == nil {
		return CodeFailed
	}
	return l.Node.PeerCount()
}

// PeerOffer implements [Host].
func (l Live) PeerOffer(index, room uint32) ([]byte, int32) {
	if l.Node == nil {
		return nil, CodeFailed
	}
	offer, ok := l.Node.PeerOffer(index)
	if !ok {
		return nil, CodeFailed
	}
	return fitPlain(offer, room)
}

// Migrate implements [Host].
func (l Live) Migrate(did string) int32 {
	if l.Node == nil {
		return CodeFailed
	}
	return l.Node.Migrate(did)
}

// MigrateStatus implements [Host].
func (l Live) MigrateStatus() int32 {
	if l.Node == nil {
		return CodeFailed
	}
	return l.Node.MigrateStatus()
}

// DrainDeadline implements [Host].
func (l Live) DrainDeadline() int64 {
	if l.Node == nil {
		return CodeFailed
	}
	return l.Node.DrainDeadline()
}

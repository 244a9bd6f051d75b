package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"igor.dev/node/api"
	"igor.dev/node/wire"
	"igor.dev/runtime"
)

// Figures are what the node did since it was started, and how it is.
type Figures struct {
	Agents   map[runtime.Supervision]int
	Away     uint64            // agents that were handed over
	Here     uint64            // agents that came
	Refused  map[string]uint64 // moves that came to nothing, by reason; "failed" for another one
	Stood    []time.Duration   // since the last call: how long agents stood still that moved away
	Moving   int               // away
	Taking   int               // here
	Draining bool
	RentDue  int // agents that stand still until their rent is paid
	Peers    []Peer
}

// A meter counts moves.
type meter struct {
	mu      sync.Mutex
	away    uint64
	here    uint64
	refused map[string]uint64
	stood   []time.Duration
}

// maxStood is how many times are kept between two calls of [Node.Figures].
const maxStood = 1000

func (m *meter) left(moved *Move, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.away++
		if len(m.stood) < maxStood {
			m.stood = append(m.stood, moved.Stood)
		}
		return
	}
	reason := "failed"
	if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Reason.Known() {
		reason = string(r.Reason)
	}
	if m.refused == nil {
		m.refused = map[string]uint64{}
	}
	m.refused[reason]++
}

func (m *meter) came() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.here++
}

// Move hands an agent over, to the first of the candidates that takes it.
func (n *Node) Move(ctx context.Context, agent string, c MoveConfig) (*Move, error) {
	m, err := n.move(ctx, agent, c)
	n.meter.left(m, err)
	return m, err
}

// Agents returns the node's agents, those that were given away, and those that come.
func (n *Node) Agents() ([]api.Agent, error) { return n.list() }

// Figures returns the node's.
func (n *Node) Figures() Figures {
	f := Figures{Agents: map[runtime.Supervision]int{}, Refused: map[string]uint64{}, Peers: n.peers.list()}
	n.mu.Lock()
	for _, s := range n.agents {
		f.Agents[s.State]++
		if s.State == runtime.SupervisedEnded && s.Reason == runtime.RentDue {
			f.RentDue++
		}
	}
	f.Moving, f.Taking, f.Draining = len(n.moves), len(n.takes), !n.draining.IsZero()
	n.mu.Unlock()
	m := &n.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	f.Away, f.Here = m.away, m.here
	for reason, times := range m.refused {
		f.Refused[reason] = times
	}
	f.Stood, m.stood = m.stood, nil
	return f
}

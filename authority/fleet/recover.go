package fleet

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// A Finding is what nodes know of an agent, held against what a store has of it.
type Finding struct {
	Agent      verifier.PublicKey
	Store      *authority.Entry      // nil = the store does not know the agent
	Newest     *authority.Candidate  // nil = nodes contradict each other
	Candidates []authority.Candidate // all that nodes know, the oldest first
}

// Compare holds what nodes know against what a store has, in the order of the agents.
func Compare(store []authority.Entry, nodes map[string][]authority.Seen) (all []Finding) {
	byAgent := map[verifier.PublicKey]map[string]authority.Seen{}
	of := func(agent verifier.PublicKey) map[string]authority.Seen {
		if byAgent[agent] == nil {
			byAgent[agent] = map[string]authority.Seen{}
		}
		return byAgent[agent]
	}
	for node, seen := range nodes {
		for i, s := range seen {
			// One node may have several folders of an agent. Each is a witness of its own.
			of(s.Newest.Agent)[fmt.Sprintf("%s\x00%d", node, i)] = s
		}
	}
	have := map[verifier.PublicKey]*authority.Entry{}
	for i := range store {
		have[store[i].Agent] = &store[i]
		if known := of(store[i].Agent); !store[i].Held() {
			known[authority.TheStore] = authority.Seen{Newest: store[i]}
		}
	}
	for agent, seen := range byAgent {
		f := Finding{Agent: agent, Store: have[agent]}
		f.Newest, f.Candidates = authority.Newest(seen)
		for i := range f.Candidates {
			c := &f.Candidates[i]
			for n, name := range c.Nodes {
				c.Nodes[n], _, _ = strings.Cut(name, "\x00")
			}
			c.Nodes = slices.Compact(c.Nodes)
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Finding) int { return bytes.Compare(a.Agent[:], b.Agent[:]) })
	return all
}

// A Verdict says what is to be done about an agent.
type Verdict uint8

// The verdicts.
const (
	Fine    Verdict = iota // the store has what nodes know, or newer
	Lost                   // it lost the newest position, which can be restored
	Divided                // nodes contradict each other, or the store: an operator names one
)

// Verdict says what is to be done.
func (f *Finding) Verdict() Verdict {
	switch {
	case len(f.Candidates) == 0:
		return Fine
	case f.Newest == nil:
		return Divided
	case f.Store != nil && f.Store.Position == f.Newest.Position:
		return Fine
	}
	return Lost
}

// Hold has an agent wait in recovery, where a store lost its position, and nodes contradict
// each other.
func (c *Client) Hold(ctx context.Context, f *Finding) error {
	e := f.Candidates[len(f.Candidates)-1].Entry
	e.Position.State, e.Position.Record, e.Signature = authority.Recovery, verifier.Hash{}, [64]byte{}
	e.Terms, e.Record = nil, nil
	return c.Restore(ctx, e, f.replaces())
}

// Settle restores one position of an agent.
func (c *Client) Settle(ctx context.Context, f *Finding, e authority.Entry) error {
	return c.Restore(ctx, e, f.replaces())
}

func (f *Finding) replaces() verifier.Hash {
	if f.Store == nil {
		return verifier.Hash{}
	}
	return f.Store.Position.Hash(f.Agent)
}

package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/node/api"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// Who had an agent's key, and who says that it deleted it: docs/spec/key-deletion.md. None
// of it decides anything. A word that is missing is shown, and is no error.

// dirDeletions has what nodes said of agents' keys, a file for each agent.
const dirDeletions = "deletions"

// maxDeletions is how many words are kept of one agent, one of each node.
const maxDeletions = 4096

// How long to wait before those are asked again who did not say it yet.
const (
	deletionsSoon  = 200 * time.Millisecond // then twice as long, each time
	deletionsLater = time.Hour
	deletionsLook  = time.Minute // for agents that came otherwise than by a hand-over
)

// A holder is a node that had an agent's key, as far as it is known.
type holder struct {
	node     verifier.PublicKey
	number   uint64        // of the newest hand-over by which the agent left it; 0 = by none
	handOver verifier.Hash // SHA-256 of its record
	owner    bool          // it has the agent
	sealed   bool          // the key is sealed to it, as the agent's manifest allows
	had      bool          // it was, and is not any more
}

// holders returns who had the key of an agent in a folder, and who has it.
func (n *Node) holders(ctx context.Context, dir string, agent verifier.PublicKey) (all []holder, err error) {
	of := func(node verifier.PublicKey) *holder {
		i := slices.IndexFunc(all, func(h holder) bool { return h.node == node })
		if i < 0 {
			i, all = len(all), append(all, holder{node: node})
		}
		return &all[i]
	}
	records, err := runtime.HandOvers(dir)
	if err != nil {
		return nil, err
	}
	last := verifier.PublicKey{}
	for _, r := range records { // in their order
		if r.Check(agent) != verifier.HandOverCounts {
			continue
		}
		from := of(r.From)
		from.number, from.handOver = r.Number, sha256.Sum256(r.Append(nil))
		of(r.To)
		last = r.To
	}
	home, err := runtime.HomeOf(dir)
	if err != nil {
		return nil, err
	}
	_, moved, err := runtime.ReadMoved(dir)
	switch {
	case err != nil:
		return nil, err
	case !moved:
		last = n.public
	}
	of(last).owner = true
	if client := n.fleetOf(home); client != nil {
		ctx, done := context.WithTimeout(ctx, homeLimit)
		defer done()
		s, err := client.Sealed(ctx, agent)
		if err != nil && !errors.Is(err, authority.ErrNone) {
			return nil, fmt.Errorf("to whom the agent's key is sealed is not known: %w", err)
		}
		for _, k := range s.Keys {
			of(k.Node).sealed = true
		}
		for _, node := range s.Had {
			of(node).had = true
		}
	}
	slices.SortStableFunc(all, func(a, b holder) int { return strings.Compare(a.node.DID(), b.node.DID()) })
	return all, nil
}

// fleetOf returns the members of the fleet that is an agent's home, nil if none is.
func (n *Node) fleetOf(home string) *fleet.Client {
	if !strings.HasPrefix(home, fleet.Prefix) || n.config.Homes == nil {
		return nil
	}
	h, err := n.config.Homes(home)
	if err != nil {
		return nil
	}
	client, _ := h.Authority.(*fleet.Client)
	return client
}

// deletedBy reports whether a node says that it has the key no more, since the agent left it
// last.
func (h *holder) deletedBy(all []authority.Deletion) (d authority.Deletion, ok bool) {
	i := slices.IndexFunc(all, func(d authority.Deletion) bool {
		return d.Node == h.node && (d.HandOver == h.handOver || h.had && d.HandOver.IsZero())
	})
	if i < 0 || h.owner || h.sealed {
		return d, false
	}
	return all[i], true
}

func (n *Node) deletionsFile(agent verifier.PublicKey) string {
	return filepath.Join(n.config.Dir, dirDeletions, strings.TrimPrefix(agent.DID(), "did:key:"))
}

// deletions returns what nodes said of an agent's key, one word of each node. What is
// damaged counts as not said.
func (n *Node) deletions(agent verifier.PublicKey) (all []authority.Deletion, err error) {
	f, err := os.Open(n.deletionsFile(agent))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b [authority.DeletionSize]byte
	for len(all) < maxDeletions {
		if _, err := io.ReadFull(f, b[:]); err != nil {
			break
		}
		if d, err := authority.ParseDeletion(b[:]); err == nil && d.Agent == agent {
			all = append(all, d)
		}
	}
	return all, nil
}

// keepDeletions keeps words that count, one of each node.
func (n *Node) keepDeletions(agent verifier.PublicKey, counts func(*authority.Deletion) bool, more ...authority.Deletion) error {
	n.deleting.Lock()
	defer n.deleting.Unlock()
	all, err := n.deletions(agent)
	if err != nil {
		return err
	}
	changed := false
	for _, d := range more {
		i := slices.IndexFunc(all, func(o authority.Deletion) bool { return o.Node == d.Node })
		switch {
		case d.Agent != agent || !counts(&d):
		case i < 0 && len(all) < maxDeletions:
			all, changed = append(all, d), true
		case i >= 0 && all[i].HandOver != d.HandOver:
			all[i], changed = d, true
		}
	}
	if !changed {
		return nil
	}
	var b []byte
	for i := range all {
		b = all[i].Append(b)
	}
	path := n.deletionsFile(agent)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeFile(path, b)
}

// deleted returns this node's word that it has an agent's key no more, if that is so.
func (n *Node) deleted(ctx context.Context, agent verifier.PublicKey) (d authority.Deletion, ok bool) {
	d = authority.Deletion{Agent: agent, Node: n.public, Time: time.Now().Unix()}
	n.mu.Lock()
	busy := n.takes[agent] != nil || n.moves[agent] != nil
	n.mu.Unlock()
	if busy {
		return d, false
	}
	name, here := n.find(agent)
	if here {
		gone, moved, err := runtime.ReadMoved(n.agentDir(name))
		if err != nil || !moved || exists(filepath.Join(n.agentDir(name), "key")) {
			return d, false
		}
		d.HandOver = sha256.Sum256(gone.Record.Append(nil))
	}
	if n.keeping == nil {
		if !here {
			return d, false // nothing is known of it
		}
	} else {
		s, err := n.keeping.fleet.Client.Sealed(ctx, agent)
		_, has := s.For(n.public)
		switch {
		case errors.Is(err, authority.ErrNone) && here:
		case err != nil || has || !here && !slices.Contains(s.Had, n.public):
			return d, false
		}
		for _, dir := range n.keeping.leftOf(agent) {
			if exists(filepath.Join(dir, "key")) {
				return d, false
			}
		}
	}
	// It was said once, and stays as it was said.
	all, err := n.deletions(agent)
	if i := slices.IndexFunc(all, func(o authority.Deletion) bool { return o.Node == n.public && o.HandOver == d.HandOver }); err == nil && i >= 0 {
		return all[i], true
	}
	if err != nil || d.Sign(n.config.Key) != nil {
		return d, false
	}
	if err := n.keepDeletions(agent, func(*authority.Deletion) bool { return true }, d); err != nil {
		return d, false
	}
	return d, true
}

// answerDeleted tells a node that has an agent, or had it, who said that they deleted its
// key, this node too.
func (n *Node) answerDeleted(ctx context.Context, from, agent verifier.PublicKey, c *conn) error {
	a := wire.Deleted{Deletions: [][]byte{}}
	if n.tellsOfKey(ctx, from, agent) {
		if own, ok := n.deleted(ctx, agent); ok {
			a.Deletions = append(a.Deletions, own.Append(nil))
		}
		all, err := n.deletions(agent)
		if err != nil {
			return err
		}
		// The newest are said: those that came last.
		for _, d := range all[max(0, len(all)-wire.MaxDeletions+1):] {
			if d.Node != n.public {
				a.Deletions = append(a.Deletions, d.Append(nil))
			}
		}
	}
	return wire.Write(c, a)
}

// tellsOfKey reports whether a node may know what this one knows of an agent's key: the
// agent was given to it, or it is its owner in this node's fleet.
func (n *Node) tellsOfKey(ctx context.Context, from, agent verifier.PublicKey) bool {
	if name, here := n.find(agent); here {
		records, err := runtime.HandOvers(n.agentDir(name))
		if err == nil && slices.ContainsFunc(records, func(r *verifier.HandOver) bool { return r.To == from }) {
			return true
		}
	}
	if n.keeping == nil {
		return false
	}
	ctx, done := context.WithTimeout(ctx, homeLimit)
	defer done()
	p, err := n.keeping.fleet.Client.Read(ctx, agent)
	return err == nil && p.Owner == from
}

// askAgain has those be asked now who did not say that they deleted a key.
func (n *Node) askAgain() {
	select {
	case n.came <- struct{}{}:
	default:
	}
}

// askDeleted asks those who had the keys of agents that live here, and did not say that they
// deleted them, until they do.
func (n *Node) askDeleted() {
	type pause struct {
		until time.Time
		next  time.Duration
	}
	pauses := map[verifier.PublicKey]*pause{}
	for wake := deletionsSoon; ; {
		select {
		case <-n.came:
			clear(pauses)
		case <-time.After(wake):
		case <-n.ctx.Done():
			return
		}
		wake = deletionsLook
		all, err := n.folders()
		if err != nil {
			continue
		}
		for agent := range pauses {
			if _, here := all[agent]; !here {
				delete(pauses, agent)
			}
		}
		for agent, name := range all {
			p := pauses[agent]
			if p == nil {
				p = &pause{next: deletionsSoon}
				pauses[agent] = p
			}
			if !time.Now().Before(p.until) {
				wait := deletionsLater
				if n.askHolders(agent, n.agentDir(name)) > 0 {
					wait, p.next = p.next, min(2*p.next, deletionsLater)
				}
				p.until = time.Now().Add(wait)
			}
			wake = min(wake, max(time.Until(p.until), deletionsSoon))
			if n.ctx.Err() != nil {
				return
			}
		}
	}
}

// askHolders asks those who did not say yet that they deleted an agent's key, and returns
// how many of them there are.
func (n *Node) askHolders(agent verifier.PublicKey, dir string) (left int) {
	if moves, err := runtime.Moves(dir); err != nil || exists(filepath.Join(dir, "moved")) || moves == 0 && n.keeping == nil {
		return 0
	}
	all, err := n.holders(n.ctx, dir, agent)
	if err != nil {
		return 1
	}
	counts := func(d *authority.Deletion) bool {
		return slices.ContainsFunc(all, func(h holder) bool { _, ok := h.deletedBy([]authority.Deletion{*d}); return ok })
	}
	for i := range all {
		h := &all[i]
		known, err := n.deletions(agent)
		if _, said := h.deletedBy(known); err != nil || said || h.owner || h.sealed {
			continue
		}
		left++
		if h.node == n.public || !n.peers.knows(h.node) {
			continue
		}
		t := &take{from: h.node, agent: agent}
		err = n.ask(n.ctx, t, wire.Ask{Do: "deleted", Agent: agent.DID()}, func(c *conn) error {
			c.until = time.Now().Add(n.config.Silence)
			var a wire.Deleted
			if err := wire.Read(c, &a); err != nil {
				return err
			}
			var words []authority.Deletion
			for _, b := range a.Deletions[:min(len(a.Deletions), wire.MaxDeletions)] {
				if d, err := authority.ParseDeletion(b); err == nil {
					words = append(words, d)
				}
			}
			return n.keepDeletions(agent, counts, words...)
		})
		if err != nil {
			n.config.Log.Debug("a node does not say whether it deleted an agent's key", "did", agent.DID(), "node", h.node.DID(), "error", err)
			continue
		}
		if known, err = n.deletions(agent); err == nil {
			if d, said := h.deletedBy(known); said {
				left--
				n.config.Log.Info("a node says that it deleted an agent's key", "did", agent.DID(), "node", h.node.DID(), "handover", h.number, "time", time.Unix(d.Time, 0).UTC().Format(time.RFC3339))
			}
		}
	}
	return left
}

// keys says who had an agent's key, and who says that it deleted it.
func (n *Node) keys(ctx context.Context, agent string) ([]api.KeyHolder, error) {
	name, err := n.named(agent)
	if err != nil {
		return nil, err
	}
	l, err := n.life(name)
	if err != nil {
		return nil, err
	}
	n.deleted(ctx, l.Agent)
	all, err := n.holders(ctx, n.agentDir(name), l.Agent)
	if err != nil {
		return nil, err
	}
	known, err := n.deletions(l.Agent)
	if err != nil {
		return nil, err
	}
	out := []api.KeyHolder{}
	for i := range all {
		h := &all[i]
		k := api.KeyHolder{Node: h.node.DID(), HandOver: h.number, Owner: h.owner, Sealed: h.sealed}
		if d, said := h.deletedBy(known); said {
			k.Deleted, k.Signed = time.Unix(d.Time, 0).UTC().Format(time.RFC3339), d.Append(nil)
		}
		out = append(out, k)
	}
	return out, nil
}

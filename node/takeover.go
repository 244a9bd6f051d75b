package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"igor.dev/authority"
	"igor.dev/node/keeper"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// take goes on with an agent whose owner is gone: from what the fleet's members keep, its
// key that is sealed to this node, and what is here of its life before.
func (k *upkeep) take(ctx context.Context, agent verifier.PublicKey) error {
	n := k.n
	if !k.begin(agent) {
		// A copy is asked for at the owner, which is gone: its answer may not come for long.
		k.mu.Lock()
		stop := k.pulled[agent]
		k.mu.Unlock()
		if stop != nil {
			stop()
		}
		return errors.New("something else is done with it")
	}
	defer k.end(agent)
	if name, here := n.find(agent); here && !exists(filepath.Join(n.agentDir(name), "moved")) {
		p, err := k.fleet.Client.Read(ctx, agent)
		if err != nil {
			return err
		}
		if p.Owner == n.public {
			n.poke() // its own folder is here
			return nil
		}
		if err := k.leave(name, p); err != nil {
			return err
		}
	}
	if agents, _ := n.room(); agents == 0 {
		return errors.New("there is no room for another agent")
	}
	key, err := k.Key(ctx, agent)
	if err != nil {
		return err
	}
	offer, err := n.Offer()
	if err != nil {
		return err
	}
	began := time.Now()
	dir := filepath.Join(n.config.Dir, dirIncoming, "."+strings.TrimPrefix(agent.DID(), "did:key:"))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	home := *k.fleet.Home
	home.TakeOver = true
	r, err := runtime.Restore(ctx, dir, runtime.RestoreConfig{Home: &home, Key: key, Node: n.config.Key})
	if err != nil {
		os.RemoveAll(dir)
		return err
	}
	// From here on the agent is this node's: what a crash leaves of this is done again.
	copies := k.copiesOf(agent)
	name := k.nameOf(agent, copies)
	whole, err := runtime.PutBack(dir, copies...)
	if err != nil {
		n.config.Log.Warn("not all copies of an agent's history could be read", "did", agent.DID(), "error", err)
	}
	if old, here := n.find(agent); here { // a folder from which it was handed over
		if err := k.setAside(old); err != nil {
			return err
		}
		name = old
	} else if exists(n.agentDir(name)) {
		name = folderName("", agent)
	}
	if err := n.noteArrival(name, arrival{Price: offer.Price, Number: r.Position.Major}); err != nil {
		return err
	}
	if err := os.Rename(dir, n.agentDir(name)); err != nil {
		return err
	}
	if err := syncDir(filepath.Join(n.config.Dir, dirAgents)); err != nil {
		return err
	}
	n.forgetLife(name)
	k.readLocal()
	n.poke()
	n.config.Log.Info("an agent was taken over", "agent", name, "did", agent.DID(), "takeover", r.Position.Generation, "tick", r.Tick, "head", r.Head.CID(), "whole", whole, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// noteArrival keeps for what price an agent came.
func (n *Node) noteArrival(name string, a arrival) error {
	arrivals := filepath.Join(n.config.Dir, "arrivals")
	if err := os.MkdirAll(arrivals, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(arrivals, name+".json"), b)
}

// lost looks, when the life in a folder ended in a conflict, whether the agent is another
// node's by now.
func (k *upkeep) lost(name string, agent verifier.PublicKey) {
	ctx, done := context.WithTimeout(k.n.ctx, homeLimit)
	defer done()
	p, err := k.fleet.Client.Read(ctx, agent)
	if err == nil {
		k.saw(agent, p)
		err = k.leave(name, p)
	}
	if err != nil && k.n.ctx.Err() == nil {
		k.n.config.Log.Debug("an agent that ended in a conflict", "agent", name, "error", err)
	}
}

// inConflict reports whether the life in a folder ended in a conflict.
func (k *upkeep) inConflict(name string) bool {
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	s := k.n.agents[name]
	return s.State == runtime.SupervisedFailed && errors.Is(s.Err, runtime.ErrConflict)
}

// leave moves the folder of an agent away that another node owns, without its key: it may
// have what nobody else has of the agent's history, and nobody lives it.
func (k *upkeep) leave(name string, p authority.Position) error {
	dir := k.n.agentDir(name)
	if p.Owner == k.n.public || p.State != authority.Active && p.State != authority.HandingOver {
		return errors.New("the fleet does not say that another node owns it")
	}
	seen, ok, err := runtime.ReadSeen(dir)
	if err != nil {
		return err
	}
	if ok && seen.Newest.Position.Sequence >= p.Sequence {
		return errors.New("its folder knows of a newer append than the fleet")
	}
	if _, err := runtime.Connect(dir); err == nil {
		return errors.New("it lives here")
	}
	k.n.config.Log.Warn("an agent was taken over from this node: it is not lived here any more, and its folder is kept in left/", "agent", name, "owner", p.Owner.DID(), "takeover", p.Generation, "append", p.Sequence)
	return k.setAside(name)
}

// fileName is a file beside a copy of an agent: what its folder is called where it lives.
const fileName = "name"

// nameOf is what the folder of an agent is called that is taken over: as it was when it was
// here before, or where it lived when a copy was made.
func (k *upkeep) nameOf(agent verifier.PublicKey, copies []string) string {
	name := ""
	for _, c := range copies {
		switch in := filepath.Dir(c); in {
		case filepath.Join(k.n.config.Dir, dirAgents), filepath.Join(k.n.config.Dir, dirLeft):
			name = nameLeft(filepath.Base(c))
		default:
			if b, err := os.ReadFile(filepath.Join(in, fileName)); err == nil {
				name = string(b)
			}
		}
	}
	return folderName(name, agent)
}

// leftAgain stands in the name of a folder in left/ before how often there was one of its
// name: no agent's folder has it, so the name comes back with the agent as it was.
const leftAgain = "@"

// nameLeft is what the folder of an agent was called, by its name in left/.
func nameLeft(base string) string {
	name, _, _ := strings.Cut(base, leftAgain)
	return name
}

// setAside moves a folder of an agent that is not lived here to left/.
func (k *upkeep) setAside(name string) error {
	dir, left := k.n.agentDir(name), filepath.Join(k.n.config.Dir, dirLeft)
	if err := os.MkdirAll(left, 0o700); err != nil {
		return err
	}
	to := filepath.Join(left, name)
	for i := 2; exists(to); i++ {
		to = filepath.Join(left, fmt.Sprintf("%s%s%d", name, leftAgain, i))
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	k.n.forgetLife(name)
	err := os.Remove(filepath.Join(to, "key"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	k.readLocal()
	k.n.poke()
	return errors.Join(err, syncDir(left), syncDir(filepath.Dir(dir)))
}

// copy keeps a copy of an agent that another node lives, if this node is among the first
// that would go on with it. What it does not have of a life before it is not lost with the
// owner's disk.
func (k *upkeep) copy(agent verifier.PublicKey) {
	owner := k.owner(agent)
	others := slices.DeleteFunc(k.ranked(agent), func(c keeper.Node) bool { return c.Offer.Node == owner })
	if rank := slices.IndexFunc(others, func(c keeper.Node) bool { return c.Offer.Node == k.n.public }); rank < 0 || rank >= copies {
		return
	}
	ctx, done := context.WithTimeout(k.n.ctx, homeLimit)
	p, err := k.fleet.Client.Read(ctx, agent)
	done()
	if err != nil || p.Owner == k.n.public || p.State != authority.Active {
		return
	}
	k.saw(agent, p)
	k.mu.Lock()
	has := k.copied[agent] == p.Head
	k.mu.Unlock()
	if has || !k.n.peers.knows(p.Owner) {
		return
	}
	within, stop := context.WithCancel(k.n.ctx)
	defer stop()
	k.mu.Lock()
	k.pulled[agent] = stop
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.pulled, agent)
	}()
	if err := k.pull(within, agent, p.Owner, p.Head); err != nil {
		k.n.config.Log.Debug("a copy of an agent was not made", "did", agent.DID(), "owner", p.Owner.DID(), "error", err)
		return
	}
	k.mu.Lock()
	k.copied[agent] = p.Head
	k.mu.Unlock()
}

// pull makes a copy be up to a checkpoint, by the node that lives the agent.
func (k *upkeep) pull(ctx context.Context, agent, from verifier.PublicKey, head verifier.Hash) error {
	ctx, done := context.WithTimeout(ctx, k.n.config.PrepareLimit)
	defer done()
	t := &take{dir: k.copyDir(agent), from: from, agent: agent, ctx: ctx}
	if err := k.n.seed(t); err != nil {
		return err
	}
	err := k.n.fetch(ctx, t, head)
	k.mu.Lock()
	first := k.copied[agent].IsZero()
	k.mu.Unlock()
	if mark := filepath.Join(t.dir, dirAgent, "restored"); err == nil && (first || exists(mark)) {
		// The owner may have taken it over, and may have got what was before meanwhile.
		var written syncer
		if holes := errors.Join(k.n.fetchHoles(ctx, t, head, &written), written.sync()); holes != nil {
			k.n.config.Log.Debug("a copy of an agent has holes", "did", agent.DID(), "owner", from.DID(), "error", holes)
		} else if exists(mark) {
			err = os.Remove(mark)
		}
	}
	if name := folderName(t.name, agent); err == nil && t.name != "" {
		file := filepath.Join(t.dir, fileName)
		if was, readErr := os.ReadFile(file); readErr != nil || string(was) != name {
			err = writeFile(file, []byte(name))
		}
	}
	if r, ok := errors.AsType[*wire.Refusal](err); ok && (r.Reason == wire.Divergence || r.Reason == wire.Unverified) {
		// It is of another future, or damaged: it is begun anew.
		return errors.Join(err, os.RemoveAll(t.dir))
	}
	return err
}

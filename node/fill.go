package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"igor.dev/node/keeper"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// dirParts is a folder beside a copy of an agent: in it are parts of the agent's life that
// came from other nodes, until the life that is here is whole.
const dirParts = "parts"

// A gap is what an agent that was taken over may lack of its life before.
type gap struct {
	there bool
	again time.Time // when others are asked for it
	tried int
}

// fill completes the history of an agent that was taken over: with what is here, and with
// what nodes have that lived it before. Each may have a part of it alone, and in several
// folders, as it was taken over from there again and again.
func (k *upkeep) fill(name string, agent verifier.PublicKey, plan *keeper.Plan) {
	dir := k.n.agentDir(name)
	k.mu.Lock()
	g := k.gaps[agent]
	k.mu.Unlock()
	if g == nil {
		there, known := runtime.TakenOverWithGaps(dir)
		if !known {
			return // it is looked at again in a moment
		}
		g = &gap{there: there}
		k.mu.Lock()
		k.gaps[agent] = g
		k.mu.Unlock()
	}
	if !g.there {
		// A copy is for when another node lives it.
		if c := k.copyDir(agent); exists(c) {
			os.RemoveAll(c)
		}
		return
	}
	if time.Now().Before(g.again) {
		return
	}
	// Whoever has it may be back in a moment, or in a week.
	g.tried++
	g.again = time.Now().Add(min(time.Duration(g.tried)*k.fleet.Client.Lease/looks, 20*k.fleet.Client.Lease))
	k.n.mu.Lock()
	s := k.n.agents[name]
	k.n.mu.Unlock()
	if s.Agent == nil || s.State != runtime.SupervisedAlive {
		return
	}
	putBack := func() bool {
		ctx, done := context.WithTimeout(k.n.ctx, k.n.config.MoveLimit)
		defer done()
		whole, err := s.Agent.PutBack(ctx, k.copiesOf(agent)...)
		if err != nil {
			k.n.config.Log.Debug("not all copies of an agent's history could be read", "agent", name, "error", err)
		}
		if whole {
			g.there = false
			k.n.config.Log.Info("the history of an agent that was taken over is whole", "agent", name)
		}
		return whole
	}
	if putBack() {
		return
	}
	if k.fillFrom(dir, agent, plan.Nodes, putBack) || k.n.ctx.Err() != nil {
		return
	}
	k.n.config.Log.Debug("some of an agent's life before it was taken over is not here yet", "agent", name, "tried", g.tried)
}

// fillFrom has nodes give what they have of an agent's life before what is in a folder, as
// long as what one gave leads to what another one has.
func (k *upkeep) fillFrom(dir string, agent verifier.PublicKey, nodes []verifier.PublicKey, putBack func() bool) (whole bool) {
	for {
		began, err := runtime.Before(dir)
		if err != nil {
			return false
		}
		for _, from := range nodes {
			if from == k.n.public || !k.n.peers.knows(from) {
				continue
			}
			if k.fillFromOne(dir, agent, from, putBack) {
				return true
			}
		}
		if before, err := runtime.Before(dir); err != nil || before == began || before.IsZero() || k.n.ctx.Err() != nil {
			return false
		}
	}
}

func (k *upkeep) fillFromOne(dir string, agent, from verifier.PublicKey, putBack func() bool) (whole bool) {
	ctx, done := context.WithTimeout(k.n.ctx, k.n.config.PrepareLimit)
	defer done()
	say := func(err error) {
		k.n.config.Log.Debug("a node does not have the history before", "agent", agent.DID(), "node", from.DID(), "error", err)
	}
	lacks, err := runtime.FindLacks(dir)
	if err != nil {
		say(err)
		return false
	}
	// The checkpoints come from whichever folder there has them.
	for asked := (verifier.Hash{}); lacks.Before != asked && ctx.Err() == nil; {
		asked = lacks.Before
		if _, err := k.part(ctx, agent, from, "", &lacks, asked); err != nil {
			say(err)
			break
		}
		if putBack() {
			return true
		}
		if lacks, err = runtime.FindLacks(dir); err != nil {
			say(err)
			return false
		}
	}
	// A record, a program of before an upgrade or a segment of the event log may be in one of
	// them alone.
	for _, folder := range append([]string{""}, k.n.foldersAt(ctx, agent, from)...) {
		if ctx.Err() != nil || !lacks.Any() {
			break
		}
		came, err := k.part(ctx, agent, from, folder, &lacks, verifier.Hash{})
		if err != nil {
			say(err)
			continue
		}
		if came == 0 {
			continue
		}
		if putBack() {
			return true
		}
		if lacks, err = runtime.FindLacks(dir); err != nil {
			say(err)
			return false
		}
	}
	return false
}

// part fetches a part of an agent's life from a node: what helps of the files in one of its
// folders, or, if there is a head, the checkpoints from there on. It returns how many files
// came.
func (k *upkeep) part(ctx context.Context, agent, from verifier.PublicKey, folder string, lacks *runtime.Lacks, head verifier.Hash) (came int, err error) {
	name := sha256.Sum256([]byte(from.DID() + " " + folder))
	t := &take{dir: filepath.Join(k.copyDir(agent), dirParts, hex.EncodeToString(name[:12])), from: from, agent: agent, ctx: ctx, part: &part{folder: folder}}
	t.part.wants = func(files []wire.File) (wanted []wire.File) {
		segments := slices.ContainsFunc(files, func(f wire.File) bool { return filepath.Dir(f.Name) == "events" && lacks.Helps(f.Name) })
		for _, f := range files {
			if lacks.Helps(f.Name) && (segments || filepath.Dir(f.Name) == "." || lacks.Programs[filepath.Base(f.Name)]) {
				wanted = append(wanted, f)
			}
		}
		came = len(wanted)
		return wanted
	}
	if err := t.makeFolders(); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(filepath.Join(t.dir, dirAgent))
	if err != nil {
		return 0, err
	}
	defer root.Close()
	var written syncer
	if !head.IsZero() {
		err = k.n.fetchBlocks(ctx, t, root, head, &written)
	} else {
		_, err = k.n.fetchFiles(ctx, t, root, &written)
	}
	return came, errors.Join(err, written.sync())
}

// foldersAt returns which other folders a node has with something of an agent. A node of
// an earlier version does not say.
func (n *Node) foldersAt(ctx context.Context, agent, from verifier.PublicKey) []string {
	var there wire.Folders
	err := n.ask(ctx, &take{from: from, agent: agent}, wire.Ask{Do: "folders", Agent: agent.DID()}, func(c *conn) error { return wire.Read(c, &there) })
	if err != nil || len(there.Folders) > wire.MaxFolders {
		return nil
	}
	return there.Folders
}

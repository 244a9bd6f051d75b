package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"igor.dev/node/keeper"
	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A MoveConfig says how to move an agent.
type MoveConfig struct {
	To         []verifier.PublicKey // candidates, the best first; none = whom its manifest allows
	Retries    int                  // how often all of them are asked again
	RetryDelay time.Duration        // before; then twice as long, each time. 0 = 5 s

	// Own says that the agent asked for it, or nobody did: then the manifest's hysteresis
	// counts too.
	Own bool

	// Tell is told how it goes.
	Tell func(Progress)
}

// A Progress is how far a move has come.
type Progress struct {
	To     verifier.PublicKey
	State  string // asking, preparing, ready, standing still, committed, arrived, failed
	Reason wire.Reason
	Detail string
}

// A Move is an agent that was handed over.
type Move struct {
	Agent   verifier.PublicKey
	To      verifier.PublicKey
	Number  uint64
	Tick    uint64
	Head    verifier.Hash
	Arrived bool          // the target said that it lives there
	Stood   time.Duration // from its stop to its arrival, or to the commit
}

// A move is one that is under way from here.
type move struct {
	to     verifier.PublicKey
	number uint64
	dir    string
	record string // SHA-256 of what the target is asked to sign, in hex
	agent  *runtime.Agent
	heads  int // how often the target asked how far it is
}

// move is what [Node.Move] counts.
func (n *Node) move(ctx context.Context, agent string, c MoveConfig) (*Move, error) {
	name, err := n.named(agent)
	if err != nil {
		return nil, err
	}
	if c.Tell == nil {
		c.Tell = func(Progress) {}
	}
	if c.RetryDelay <= 0 {
		c.RetryDelay = 5 * time.Second
	}
	dir := n.agentDir(name)
	if gone, moved, err := runtime.ReadMoved(dir); err != nil || moved {
		return nil, errors.Join(fmt.Errorf("%w: %s has it", runtime.ErrMoved, gone.Record.To.DID()), err)
	}
	policy, err := n.policyOf(dir)
	if err != nil {
		return nil, err
	}
	l, err := runtime.ReadLife(dir)
	if err != nil {
		return nil, err
	}
	moves, err := runtime.Moves(dir)
	if err != nil {
		return nil, err
	}
	if c.Own {
		if err := n.settled(dir, &policy); err != nil {
			return nil, err
		}
	}
	var last error
	for attempt, delay := 0, c.RetryDelay; attempt <= c.Retries; attempt, delay = attempt+1, 2*delay {
		if attempt > 0 {
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), last)
			}
		}
		// Another one may have moved it meanwhile, and it may be back by now.
		if now, err := runtime.Moves(dir); attempt > 0 && (err != nil || now != moves) {
			return nil, errors.Join(fmt.Errorf("%w meanwhile", runtime.ErrMoved), err)
		}
		again := false
		failed := func(to verifier.PublicKey, err error) {
			r, ok := errors.AsType[*wire.Refusal](err)
			if !ok {
				r = wire.Refuse(wire.SourceFailed, "%v", err)
			}
			c.Tell(Progress{To: to, State: "failed", Reason: r.Reason, Detail: r.Detail})
			level := slog.LevelWarn
			if !n.new(name, to, r.Error()) {
				level = slog.LevelDebug // a node that drains asks every moment
			}
			n.config.Log.Log(ctx, level, "the agent was not handed over", "agent", name, "to", to.DID(), "reason", string(r.Reason), "detail", r.Detail)
			last, again = err, again || r.Reason.Again()
		}
		candidates, err := n.candidates(ctx, l.Agent, &policy, c.To, failed)
		if err != nil {
			return nil, err
		}
		for _, to := range candidates {
			m, err := n.give(ctx, name, to, &policy, &c)
			if err == nil {
				return m, nil
			}
			failed(to, err)
			if errors.Is(err, runtime.ErrMoved) || errors.Is(err, runtime.ErrMoveUnknown) {
				return nil, err // it is the other's, or may be
			}
		}
		if !again {
			break
		}
	}
	if last == nil {
		last = wire.Refuse(wire.Policy, "there is no node that the agent's manifest allows and that is known here")
	}
	return nil, last
}

// new reports whether why an agent does not go to a node is not why it did not before.
func (n *Node) new(name string, to verifier.PublicKey, why string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused[name] == nil {
		n.refused[name] = map[verifier.PublicKey]string{}
	}
	was := n.refused[name][to]
	n.refused[name][to] = why
	return was != why
}

func (n *Node) policyOf(dir string) (p runtime.MovePolicy, err error) {
	man, err := os.ReadFile(filepath.Join(dir, "agent.manifest.json"))
	if err != nil {
		return p, err
	}
	return runtime.ReadMovePolicy(man)
}

// settled says whether an agent has been here for as long as its manifest wants.
func (n *Node) settled(dir string, p *runtime.MovePolicy) error {
	moves, since, err := runtime.MovesSince(dir, time.Now().Add(-24*time.Hour))
	if err != nil {
		return err
	}
	l, err := runtime.ReadLife(dir)
	if err != nil {
		return err
	}
	switch {
	case p.MaxMovesPerDay > 0 && moves >= p.MaxMovesPerDay:
		return wire.Refuse(wire.Policy, "the agent moved %d times within a day, as often as its manifest lets it", moves)
	case since > 0 && l.Tick-since < p.MinStayTicks:
		return wire.Refuse(wire.Policy, "the agent is here for %d ticks, and its manifest wants %d", l.Tick-since, p.MinStayTicks)
	}
	return nil
}

// saves says whether a move to a node that is cheaper saves as much as an agent's manifest
// wants of those that nobody but the agent asks for. One that has to leave, or goes where it
// pays as much or more, has another reason.
func (n *Node) saves(p *runtime.MovePolicy, pays, would int64) error {
	n.mu.Lock()
	drains := !n.draining.IsZero()
	n.mu.Unlock()
	if p.MinSavingPercent == 0 || drains || would >= pays {
		return nil
	}
	// In whole numbers, and without an overflow: both are less than 2^63.
	saved, wanted := new(big.Int), new(big.Int)
	saved.Mul(big.NewInt(pays-would), big.NewInt(100))
	wanted.Mul(big.NewInt(pays), big.NewInt(int64(p.MinSavingPercent)))
	if saved.Cmp(wanted) >= 0 {
		return nil
	}
	return wire.Refuse(wire.Policy, "it costs %s a second here and %s there, and the agent's manifest wants a saving of %d%%", verifier.FormatMicrocents(pays), verifier.FormatMicrocents(would), p.MinSavingPercent)
}

// candidates are whom to ask, the best first: by the rule of fleets, where nobody is known
// to be fuller than others. failed is told who is none, of those that are known here.
func (n *Node) candidates(ctx context.Context, agent verifier.PublicKey, p *runtime.MovePolicy, given []verifier.PublicKey, failed func(verifier.PublicKey, error)) ([]verifier.PublicKey, error) {
	if !p.Enabled || len(p.AllowedNodes) == 0 {
		return nil, wire.Refuse(wire.Policy, `the agent's manifest allows no node: "migration_policy": {"enabled": true, "allowed_nodes": ["did:key:…"]}`)
	}
	if len(given) > 0 {
		return given, nil
	}
	w := wantsOf(agent, p)
	var known []keeper.Node
	for _, to := range p.AllowedNodes {
		if to == n.public || !n.peers.knows(to) {
			continue
		}
		o, err := n.OfferOf(ctx, to)
		if err == nil {
			if r := w.Refuses(o, time.Now()); r != nil {
				err = r
			}
		}
		if err != nil {
			failed(to, err)
			continue
		}
		known = append(known, keeper.Node{Offer: o})
	}
	var to []verifier.PublicKey
	for _, c := range w.Candidates(known, nil, time.Now()) {
		to = append(to, c.Offer.Node)
	}
	return to, nil
}

// checkOffer holds an offer against what an agent's manifest says: the rule is the fleets',
// too.
func checkOffer(p *runtime.MovePolicy, o *price.Offer, to verifier.PublicKey) error {
	if !p.Enabled || !slices.Contains(p.AllowedNodes, to) {
		return wire.Refuse(wire.Policy, "the agent's manifest does not allow %s", to.DID())
	}
	w := wantsOf(verifier.PublicKey{}, p)
	if r := w.Refuses(o, time.Now()); r != nil {
		return r
	}
	return nil
}

// OfferOf fetches a peer's offer. A connection over a link that was cut says nothing of
// that: what fails is tried once more, over a new one.
func (n *Node) OfferOf(ctx context.Context, to verifier.PublicKey) (*price.Offer, error) {
	o, err := n.offerOf(ctx, to)
	if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Reason == wire.Transport && ctx.Err() == nil {
		if id, err := idOf(to); err == nil && n.host.Network().Connectedness(id) == network.Connected {
			n.host.Network().ClosePeer(id)
		}
		o, err = n.offerOf(ctx, to)
	}
	return o, err
}

func (n *Node) offerOf(ctx context.Context, to verifier.PublicKey) (*price.Offer, error) {
	began := time.Now()
	c, err := n.open(ctx, to, ProtocolPrice, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b, err := io.ReadAll(io.LimitReader(c, price.MaxSize+1))
	if err != nil {
		c.Reset()
		return nil, wire.Refuse(wire.Transport, "the offer of %s: %v", to.DID(), err)
	}
	n.peers.answered(to, time.Since(began))
	o, err := price.Parse(b)
	if err == nil && o.Node != to {
		err = errors.New("it is another node's")
	}
	if err == nil {
		err = o.At(time.Now())
	}
	if err == nil {
		err = n.peers.offered(o)
	}
	if err != nil {
		return nil, wire.Refuse(wire.Price, "the offer of %s: %v", to.DID(), err)
	}
	return o, nil
}

// give hands an agent over to one node.
func (n *Node) give(ctx context.Context, name string, to verifier.PublicKey, policy *runtime.MovePolicy, config *MoveConfig) (_ *Move, err error) {
	step := func(state string) { config.Tell(Progress{To: to, State: state}) }
	dir := n.agentDir(name)
	if to == n.public {
		return nil, wire.Refuse(wire.Policy, "the agent is here already")
	}
	l, err := runtime.ReadLife(dir)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	s := n.agents[name]
	_, twice := n.moves[l.Agent]
	m := &move{to: to, dir: dir, agent: s.Agent}
	if !twice {
		n.moves[l.Agent] = m
	}
	n.mu.Unlock()
	if twice {
		return nil, wire.Refuse(wire.Policy, "the agent is being handed over already")
	}
	defer func() {
		n.mu.Lock()
		delete(n.moves, l.Agent)
		ready := m.heads > 0
		n.mu.Unlock()
		if err != nil && ready {
			n.stay(m.agent)
		}
	}()
	if s.Agent == nil || s.State != runtime.SupervisedAlive {
		return nil, wire.Refuse(wire.Unsupported, "the agent does not live at the moment")
	}
	if !slices.Contains(policy.AllowedNodes, to) {
		return nil, wire.Refuse(wire.Policy, "the agent's manifest does not allow %s", to.DID())
	}
	if !runtime.Whole(dir) {
		return nil, wire.Refuse(wire.Incomplete, "not all of the agent's history is here: nodes that have what was before it was taken over are asked for it")
	}
	step("asking")
	offer, err := n.OfferOf(ctx, to)
	if err != nil {
		return nil, err
	}
	if err := checkOffer(policy, offer, to); err != nil {
		return nil, err
	}
	if config.Own {
		if err := n.saves(policy, s.Agent.Status().Price, offer.Price); err != nil {
			return nil, err
		}
	}
	home, err := runtime.HomeOf(dir)
	if err != nil {
		return nil, err
	}
	moves, _, err := s.Agent.Counts(ctx)
	if err != nil {
		return nil, err
	}
	if home != "" {
		// The home is asked now, rather than when the agent stands still.
		if _, err := n.owned(ctx, home, l.Agent, n.public, moves); err != nil {
			return nil, err
		}
	}
	number := moves + 1
	n.mu.Lock()
	m.number = number
	n.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, n.config.PrepareLimit)
	defer cancel()
	c, err := n.open(ctx, to, ProtocolHandOver, n.config.PrepareLimit+n.config.MoveLimit)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Reset() })()
	size := int64(0)
	files, err := runtime.MovingFiles(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		size += f.Size
	}
	err = wire.Write(c, wire.Propose{Do: "propose", Agent: l.Agent.DID(), Genesis: l.Genesis.String(), Head: l.Head.String(), Number: number, Offer: offer.Append(nil), Bytes: size, Name: name, Home: home})
	if err != nil {
		c.Reset()
		return nil, wire.Refuse(wire.Transport, "%v", err)
	}
	step("preparing")
	if _, err := n.await(c, wire.Ready); err != nil {
		c.Reset()
		return nil, err
	}
	step("ready")
	var stopped time.Time
	told := make(chan error, 1)
	seal := func(info, seed []byte) ([]byte, error) { return sealTo(offer.HPKE, info, seed) }
	if home != "" && n.shared(l.Agent, to) {
		seal = nil
	}
	gone, err := s.Agent.HandOver(ctx, runtime.HandOver{
		To:   to,
		Seal: seal,
		Countersign: func(ctx context.Context, at runtime.Stand) (signature [64]byte, err error) {
			stopped = at.Since
			step("standing still")
			if err := checkOffer(policy, offer, to); err != nil { // it may have ended meanwhile
				return signature, err
			}
			if at.Record.Number != number {
				return signature, fmt.Errorf("hand-over %d was proposed, and it is %d", number, at.Record.Number)
			}
			c.until = time.Now().Add(n.config.MoveLimit)
			n.mu.Lock()
			m.record = digest(at.Record.AppendMessage(nil))
			n.mu.Unlock()
			p := &at.Position
			final := wire.Final{Do: "final", Head: p.Head.String(), Journal: p.Journal.String(), Log: p.Log.String(), Paid: p.Paid.String(), Major: number - 1, Record: at.Record.AppendMessage(nil)}
			if home != "" {
				final.Sequence = p.Sequence
			}
			err = wire.Write(c, final)
			if err != nil {
				return signature, wire.Refuse(wire.Transport, "%v", err)
			}
			a, err := n.await(c, wire.Signed)
			if err == nil && copy(signature[:], a.Signature) != len(signature) {
				err = wire.Refuse(wire.Unverified, "a signature of %d bytes", len(a.Signature))
			}
			return signature, err
		},
		Committed: func() {
			c.until = time.Now().Add(n.config.MoveLimit)
			go func() { told <- wire.Write(c, wire.Committed{Do: "committed"}) }()
		},
	})
	if err != nil {
		c.Reset()
		if errors.Is(err, errors.ErrUnsupported) {
			err = wire.Refuse(wire.Unsupported, "%v", err)
		}
		return nil, err
	}
	step("committed")
	done := &Move{Agent: l.Agent, To: to, Number: gone.Record.Number, Head: gone.Record.Head, Stood: time.Since(stopped)}
	n.config.Log.Info("the agent was handed over", "agent", name, "did", l.Agent.DID(), "to", to.DID(), "number", done.Number, "head", done.Head.CID())
	// From here on nothing that the target says or does changes anything.
	if err := <-told; err == nil {
		if _, err := n.await(c, wire.Arrived); err == nil {
			done.Arrived, done.Stood = true, time.Since(stopped)
			step("arrived")
		}
	}
	n.poke()
	return done, nil
}

// await reads what the target says until it is in a state.
func (n *Node) await(c *conn, state string) (a wire.Answer, err error) {
	for {
		a = wire.Answer{}
		if err := wire.Read(c, &a); err != nil {
			return a, wire.Refuse(wire.Transport, "the other node fell silent: %v", err)
		}
		switch a.State {
		case state:
			return a, nil
		case wire.Working:
		case wire.Refused:
			return a, wire.Refuse(a.Reason[:min(len(a.Reason), 40)], "%.1000s", a.Detail)
		case wire.Ready, wire.Signed, wire.Arrived:
			return a, wire.Refuse(wire.Transport, "the other node says %s, where %s was due", a.State, state)
		default:
			return a, wire.Refuse(wire.Version, "the other node says %.40q, which is not in %s as this node has it", a.State, ProtocolHandOver)
		}
	}
}

// mayTake returns the folder of an agent that a node is being given.
func (n *Node) mayTake(agent, from verifier.PublicKey) (dir string, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.moves[agent]
	if m == nil || m.to != from {
		return "", false
	}
	return m.dir, true
}

// mayHave is mayTake, or returns a folder of an agent that a node of the fleet keeps a copy
// of: the one of that name, or the one in which it lives or lived last.
func (n *Node) mayHave(agent, from verifier.PublicKey, folder string) (dir string, ok bool) {
	if dir, ok := n.mayTake(agent, from); ok && folder == "" {
		return dir, true
	}
	dirs := n.keeping.mayCopy(agent, from)
	if folder == "" && len(dirs) > 0 {
		return dirs[0], true
	}
	i := slices.IndexFunc(dirs, func(dir string) bool { return n.folderID(dir) == folder })
	if i < 0 {
		return "", false
	}
	return dirs[i], true
}

// folderID is by what name another node asks for a folder of an agent.
func (n *Node) folderID(dir string) string {
	name, _ := filepath.Rel(n.config.Dir, dir)
	return digest([]byte(name))[:16]
}

// answerHistory sends checkpoints, the newest first, to who is being given the agent.
func (n *Node) answerHistory(ctx context.Context, from verifier.PublicKey, c *conn) error {
	a, err := wire.ReadBlocksAsk(c)
	if err != nil {
		return err
	}
	dirs := n.keeping.mayCopy(a.Agent, from)
	if dir, ok := n.mayTake(a.Agent, from); ok {
		dirs = []string{dir}
	}
	for _, dir := range dirs {
		if !n.keeping.mayHold(dir, a.Head) {
			continue
		}
		there, err := sendBlocks(ctx, dir, c, &a)
		if there {
			return err
		}
		if err != nil {
			n.config.Log.Debug("a folder of an agent cannot be read", "folder", dir, "error", err)
		}
	}
	_, err = c.Write([]byte{wire.BlocksRefused})
	return err
}

// sendBlocks sends the checkpoints in a folder that are asked for, if the first one is there.
func sendBlocks(ctx context.Context, dir string, c *conn, a *wire.BlocksAsk) (there bool, err error) {
	next, sent := a.Head, uint64(0)
	for b, err := range runtime.BlocksFrom(dir, a.Head) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return there, err
		}
		if sha256.Sum256(b) != next {
			break // what came before is in another folder
		}
		if !there {
			if _, err := c.Write([]byte{wire.BlocksFollow}); err != nil {
				return true, err
			}
		} else if sent+uint64(len(b)) > a.Max {
			break
		}
		there = true
		if err := wire.WriteBlock(c, b); err != nil {
			return true, err
		}
		sent += uint64(len(b))
		ckpt, err := verifier.Parse(b)
		if err != nil {
			return true, err
		}
		if next = ckpt.PrevHash; next.IsZero() || next == a.Until {
			break
		}
	}
	if there {
		err = wire.WriteBlock(c, nil)
	}
	return there, err
}

// answerAsk answers what a target asks.
func (n *Node) answerAsk(ctx context.Context, from verifier.PublicKey, c *conn, q *wire.Ask) error {
	agent, err := verifier.ParseDID(q.Agent)
	if err != nil {
		return err
	}
	switch q.Do {
	case "commit":
		return wire.Write(c, n.commitOf(agent, from, q.Number, q.Record))
	case "deleted":
		return n.answerDeleted(ctx, from, agent, c)
	case "head":
		head, err := n.readyHead(ctx, agent, from)
		if err != nil {
			return err
		}
		return wire.Write(c, wire.Head{Head: head.String()})
	case "files":
		dir, ok := n.mayHave(agent, from, q.Folder)
		if !ok {
			return errors.New("it is not being given that agent")
		}
		files, err := runtime.MovingFiles(dir)
		if err != nil {
			return err
		}
		name := ""
		if filepath.Base(filepath.Dir(dir)) == dirAgents {
			name = filepath.Base(dir)
		}
		for {
			page := wire.Files{Name: name, More: len(files) > wire.MaxPage, Files: []wire.File{}}
			for _, f := range files[:min(len(files), wire.MaxPage)] {
				page.Files = append(page.Files, wire.File(f))
			}
			if err := wire.Write(c, page); err != nil {
				return err
			}
			if !page.More {
				return nil
			}
			files = files[wire.MaxPage:]
		}
	case "folders":
		there := wire.Folders{Folders: []string{}}
		if dirs := n.keeping.mayCopy(agent, from); len(dirs) > 1 {
			for _, dir := range dirs[1:min(len(dirs), 1+wire.MaxFolders)] {
				there.Folders = append(there.Folders, n.folderID(dir))
			}
		}
		return wire.Write(c, there)
	case "get":
		dir, ok := n.mayHave(agent, from, q.Folder)
		if !ok {
			return errors.New("it is not being given that agent")
		}
		if len(q.Files) > wire.MaxPage {
			return errors.New("too many files at once")
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		for _, have := range q.Files {
			if err := sendFile(root, c, have); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("an unknown request %.40q", q.Do)
}

// sendFile sends what a target does not have of a file. What it has is compared by its
// hash: if that is something else, the file comes whole.
func sendFile(root *os.Root, c *conn, have wire.Have) error {
	if !runtime.Travels(have.Name) {
		return fmt.Errorf("%.100q does not go along", have.Name)
	}
	gone := wire.Sending{Name: have.Name, Size: -1} // meanwhile
	if info, err := root.Lstat(have.Name); err != nil || !info.Mode().IsRegular() {
		return wire.Write(c, gone)
	}
	f, err := root.Open(have.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return wire.Write(c, gone)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// Its size is that of what was opened: the name may be another file's by now, such as
	// that of a journal which was compacted.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s := wire.Sending{Name: have.Name, Size: info.Size()}
	if have.Size > 0 && have.Size <= s.Size && have.Hash != "" {
		hash := sha256.New()
		if _, err := io.CopyN(hash, f, have.Size); err != nil {
			return err
		}
		if hex.EncodeToString(hash.Sum(nil)) == have.Hash {
			s.From = have.Size
		}
	}
	if err := wire.Write(c, s); err != nil {
		return err
	}
	_, err = io.Copy(c, io.NewSectionReader(f, s.From, s.Size-s.From))
	return err
}

// maxHeads is how many checkpoints an agent makes because a target asks how far it is: it
// pays for them.
const maxHeads = 8

// readyHead has an agent that is being given to a node make a checkpoint, which it names.
func (n *Node) readyHead(ctx context.Context, agent, to verifier.PublicKey) (head verifier.Hash, err error) {
	n.mu.Lock()
	m := n.moves[agent]
	ok := m != nil && m.to == to && m.record == "" && m.agent != nil
	if ok {
		m.heads++
		ok = m.heads <= maxHeads
	}
	n.mu.Unlock()
	if !ok {
		return head, errors.New("it is not being given that agent, or asks too often")
	}
	within, done := context.WithTimeout(ctx, n.config.Silence-n.config.Silence/8)
	defer done()
	head, err = m.agent.Ready(within)
	n.mu.Lock()
	over := n.moves[agent] != m
	n.mu.Unlock()
	if over { // meanwhile
		n.stay(m.agent)
	}
	return head, err
}

// stay has an agent go on as before that is not given away.
func (n *Node) stay(a *runtime.Agent) {
	ctx, done := context.WithTimeout(n.ctx, n.config.Silence)
	defer done()
	if err := a.Stay(ctx); err != nil && !errors.Is(err, runtime.ErrStopped) {
		n.config.Log.Debug("the agent does not answer", "error", err)
	}
}

func digest(b []byte) string {
	hash := sha256.Sum256(b)
	return hex.EncodeToString(hash[:])
}

// commitOf says what became of a hand-over to a node, and gives it the commit.
func (n *Node) commitOf(agent, to verifier.PublicKey, number uint64, record string) wire.Commit {
	name, ok := n.find(agent)
	if !ok {
		return wire.Commit{State: wire.NoSuch}
	}
	n.mu.Lock()
	m := n.moves[agent]
	asking := m != nil && m.to == to && m.record == record
	n.mu.Unlock()
	gone, ok, err := runtime.ReadMoved(n.agentDir(name))
	switch {
	case err != nil:
		n.config.Log.Error("what became of a hand-over cannot be read", "agent", name, "error", err)
		return wire.Commit{State: wire.NoSuch}
	case ok && gone.Record.To == to && gone.Record.Number == number:
		return wire.Commit{State: wire.Gone, Moved: gone.Append(nil)}
	case asking, !ok && runtime.Undecided(n.agentDir(name)):
		return wire.Commit{State: wire.Asking}
	case ok && gone.Record.Number < number:
		return wire.Commit{State: wire.NoSuch} // an old folder of an agent that lives elsewhere
	}
	return wire.Commit{State: wire.Here}
}

package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/runtime/failpoints"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A take is an agent that is to come here. Its folder is incoming/z6Mk…, in which are
//
//	agent/    the folder that it is to have, but for the key
//	promise   what this node signed, before it did
//	moved     the commit of the hand-over, when it is known
type take struct {
	dir    string
	from   verifier.PublicKey
	agent  verifier.PublicKey
	number uint64
	name   string
	home   string // the agent's, "" = its folder
	price  int64

	ctx      context.Context
	cancel   context.CancelFunc // gives up what is being taken, and was not promised
	promised bool
	ask      chan struct{} // a reason to ask the source now what became of it
	gone     chan struct{} // closed when it is settled

	verified verifier.Hash // up to here it is verified, and its life was run again
	rests    bool          // the source packs nothing of it meanwhile
	release  func()        // lets go of its program

	part *part // nil = all of the agent's life is wanted
}

// A part is what is wanted of an agent's life. What comes of it is kept, however far it goes.
type part struct {
	folder string // at the source; "" = where the agent lives or lived last
	wants  func([]wire.File) []wire.File
}

// A promise is what a node remembers of what it signs.
type promise struct {
	From     string `json:"from"`
	Agent    string `json:"agent"`
	Name     string `json:"name"`
	Price    int64  `json:"price,string"`
	Record   []byte `json:"record"`   // the message
	Position []byte `json:"position"` // head, journal, log, paid
	Home     string `json:"home,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"` // of the append there that makes this node the owner
}

const (
	dirAgent    = "agent"
	dirOld      = "old"
	filePromise = "promise"
	fileCommit  = "moved"

	maxPromise = 64 << 10
	stale      = 24 * time.Hour // what was taken and never promised is dropped after that
)

func (n *Node) incoming(agent verifier.PublicKey) string {
	return filepath.Join(n.config.Dir, dirIncoming, strings.TrimPrefix(agent.DID(), "did:key:"))
}

// answerHandOver answers a source that proposes a hand-over, or a target that asks.
func (n *Node) answerHandOver(ctx context.Context, from verifier.PublicKey, c *conn) error {
	var raw json.RawMessage
	if err := wire.Read(c, &raw); err != nil {
		return err
	}
	var p wire.Propose
	err := error(nil)
	switch do := wire.Do(raw); do {
	case "files", "get", "folders", "head", "commit", "deleted":
		var q wire.Ask
		if err := json.Unmarshal(raw, &q); err != nil {
			return err
		}
		return n.answerAsk(ctx, from, c, &q)
	case "propose":
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		err = n.answerPropose(ctx, from, c, &p)
	case "":
		return errors.New("neither a proposal nor a question")
	default:
		err = wire.Refuse(wire.Version, "%.40q is not in %s as this node has it", do, ProtocolHandOver)
	}
	if r, ok := errors.AsType[*wire.Refusal](err); ok {
		n.config.Log.Warn("an agent is not taken", "did", p.Agent, "from", from.DID(), "reason", string(r.Reason), "detail", r.Detail)
		return wire.Write(c, wire.Answer{State: wire.Refused, Reason: r.Reason, Detail: limited(r.Detail)})
	}
	if err != nil {
		n.config.Log.Warn("an agent is not taken", "did", p.Agent, "from", from.DID(), "error", err)
	}
	return err
}

func strict(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

func limited(s string) string { return s[:min(len(s), 1000)] }

// answerPropose takes an agent, as far as the source gives it.
func (n *Node) answerPropose(_ context.Context, from verifier.PublicKey, c *conn, p *wire.Propose) error {
	t, err := n.accept(from, p)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !kept {
			t.release()
			delete(n.takes, t.agent)
			close(t.gone)
		}
		t.cancel()
	}()
	ctx := t.ctx
	defer context.AfterFunc(ctx, func() { c.Reset() })()
	var writes sync.Mutex
	say := func(a wire.Answer) error {
		writes.Lock()
		defer writes.Unlock()
		return wire.Write(c, a)
	}
	working := func(do func() error) error {
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(min(n.config.Silence/4, 5*time.Second)):
					if say(wire.Answer{State: wire.Working}) != nil {
						return
					}
				}
			}
		}()
		return do()
	}
	head, err := parseHash(p.Head)
	if err != nil {
		return err
	}
	if err := working(func() error { return n.prepare(ctx, t, head, p) }); err != nil {
		return err
	}
	if err := say(wire.Answer{State: wire.Ready}); err != nil {
		return err
	}
	var f wire.Final
	if err := wire.Read(c, &f); err != nil {
		return err
	}
	if f.Do != "final" {
		return fmt.Errorf("%.40q, where the last word of the source was due", f.Do)
	}
	var signature []byte
	if err := working(func() (err error) { signature, err = n.promise(ctx, t, p, &f); return err }); err != nil {
		return err
	}
	kept = true // what was promised is kept, whatever becomes of this stream
	n.mu.Lock()
	over := t.ctx.Err() != nil // it was given up meanwhile: nothing was said yet
	t.promised = !over
	n.mu.Unlock()
	if over {
		kept = false
		return t.ctx.Err()
	}
	settled := make(chan error, 1)
	committed := make(chan struct{})
	n.serving.Add(1)
	go func() {
		defer n.serving.Done()
		settled <- n.settle(t, committed)
	}()
	if err := say(wire.Answer{State: wire.Signed, Signature: signature}); err != nil {
		return err
	}
	var done wire.Committed
	if err := wire.Read(c, &done); err != nil {
		return err
	}
	if done.Do != "committed" {
		return fmt.Errorf("%.40q, where it was due that the hand-over is committed", done.Do)
	}
	close(committed)
	select {
	case err := <-settled:
		if err != nil {
			return err
		}
		return say(wire.Answer{State: wire.Arrived})
	case <-ctx.Done():
		return ctx.Err()
	}
}

// accept says whether an agent may come at all. Nothing of it has come yet.
func (n *Node) accept(from verifier.PublicKey, p *wire.Propose) (*take, error) {
	agent, err := verifier.ParseDID(p.Agent)
	if err != nil {
		return nil, wire.Refuse(wire.Unverified, "the agent's DID: %v", err)
	}
	allowed := n.config.FromPeers && n.peers.knows(from)
	for _, k := range n.config.From {
		allowed = allowed || k == from
	}
	if !allowed {
		return nil, wire.Refuse(wire.Policy, "this node takes no agents of %s", from.DID())
	}
	offer, err := price.Parse(p.Offer)
	switch {
	case err != nil:
		return nil, wire.Refuse(wire.Price, "%v", err)
	case offer.Node != n.public || offer.HPKE != [32]byte(n.sealing.PublicKey().Bytes()):
		return nil, wire.Refuse(wire.Price, "the offer is not this node's")
	}
	if err := offer.At(time.Now()); err != nil {
		return nil, wire.Refuse(wire.Price, "%v", err)
	}
	if p.Number == 0 {
		return nil, wire.Refuse(wire.Unverified, "hand-overs are counted from 1")
	}
	if err := n.roomFor(p.Bytes); err != nil {
		return nil, err
	}
	if p.Home != "" {
		if _, err := n.owned(n.ctx, p.Home, agent, from, p.Number-1); err != nil {
			return nil, err
		}
	}
	t := &take{dir: n.incoming(agent), from: from, agent: agent, number: p.Number, name: folderName(p.Name, agent), home: p.Home, price: offer.Price,
		ask: make(chan struct{}, 1), gone: make(chan struct{}), release: func() {}}
	// Nobody who sends a DID changes anything of an agent that lives here.
	if name, ok := n.find(agent); ok {
		gone, moved, err := runtime.ReadMoved(n.agentDir(name))
		switch {
		case err != nil:
			return nil, wire.Refuse(wire.Divergence, "the agent's folder here is damaged")
		case !moved && (p.Home == "" || n.isAlive(name)):
			return nil, wire.Refuse(wire.Divergence, "the agent lives here")
		case !moved: // an old copy: its home says so
		case gone.Record.Number >= p.Number:
			return nil, wire.Refuse(wire.Divergence, "this node gave the agent away by hand-over %d, and this one is %d", gone.Record.Number, p.Number)
		}
	}
	agents, _ := n.room()
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.takes[agent]; old != nil && old.from == from {
		// It proposes anew: what it proposed before is over. If that was promised, it is
		// asked what became of it.
		if !old.promised {
			old.cancel()
		}
		select {
		case old.ask <- struct{}{}:
		default:
		}
		n.mu.Unlock()
		select {
		case <-old.gone:
		case <-time.After(n.config.Silence / 2):
		case <-n.ctx.Done():
		}
		n.mu.Lock()
	}
	switch {
	case n.closed || !n.draining.IsZero():
		return nil, wire.Refuse(wire.NoCapacity, "the node drains")
	case agents == 0:
		return nil, wire.Refuse(wire.NoCapacity, "there is no room for another agent")
	case n.takes[agent] != nil:
		return nil, wire.Refuse(wire.NoCapacity, "the agent is being taken already, or was promised to be")
	}
	t.ctx, t.cancel = context.WithCancel(n.ctx)
	n.takes[agent] = t
	return t, nil
}

// isAlive reports whether the agent in a folder is lived.
func (n *Node) isAlive(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.agents[name].State == runtime.SupervisedAlive
}

// folderName makes a folder's name of what a stranger calls it.
func folderName(s string, agent verifier.PublicKey) string {
	ok := 0 < len(s) && len(s) <= 64 && s[0] != '.' && s[0] != '-'
	for _, c := range []byte(s) {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if !ok {
		return strings.TrimPrefix(agent.DID(), "did:key:")[:16]
	}
	return s
}

func parseHash(s string) (h verifier.Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, wire.Refuse(wire.Unverified, "%.80q is no hash", s)
	}
	return verifier.Hash(b), nil
}

// prepare takes the agent as it is while it lives on, and verifies it.
func (n *Node) prepare(ctx context.Context, t *take, head verifier.Hash, p *wire.Propose) error {
	genesis, err := parseHash(p.Genesis)
	if err != nil {
		return err
	}
	if err := n.seed(t); err != nil {
		return err
	}
	err = n.fetch(ctx, t, head)
	if r, ok := errors.AsType[*wire.Refusal](err); ok && r.Reason == wire.Divergence && t.verified.IsZero() {
		// It is of an attempt before, and nothing that anybody relies on.
		if err := os.RemoveAll(filepath.Join(t.dir, dirAgent)); err != nil {
			return err
		}
		if err := n.seed(t); err != nil {
			return err
		}
		err = n.fetch(ctx, t, head)
	}
	if err == nil && t.verified.IsZero() { // else all of it was verified here
		var written syncer
		err = errors.Join(n.fetchHoles(ctx, t, head, &written), written.sync())
	}
	if err != nil {
		return err
	}
	// Before anything else costs time: can it live here?
	policy, err := n.policyOf(filepath.Join(t.dir, dirAgent))
	if errors.Is(err, fs.ErrNotExist) {
		return wire.Refuse(wire.Unverified, "the agent's manifest did not come")
	}
	if err != nil {
		return wire.Refuse(wire.Version, "%v", err)
	}
	have := runtime.Capabilities()
	for c, version := range policy.Capabilities {
		if have[c] < version {
			return wire.Refuse(wire.Version, "this node does not give %s in version %d", c, version)
		}
	}
	if _, memory := n.room(); memory < uint64(policy.Memory) {
		return wire.Refuse(wire.NoCapacity, "the agent may use %d bytes of memory, and there are %d", policy.Memory, memory)
	}
	if err := n.verify(ctx, t, head); err != nil {
		return err
	}
	l, err := runtime.ReadLife(filepath.Join(t.dir, dirAgent))
	if err != nil {
		return wire.Refuse(wire.Unverified, "%v", err)
	}
	if l.Genesis != genesis {
		return wire.Refuse(wire.Unverified, "the life begins with %s, and %s was proposed", l.Genesis.CID(), genesis.CID())
	}
	if err := n.keepProgram(ctx, t); err != nil {
		return err
	}
	return n.catchUp(ctx, t)
}

// readProgram reads the program and the manifest that came.
func readProgram(dir string) (wasm, man []byte, err error) {
	wasm, err = os.ReadFile(filepath.Join(dir, "agent.wasm"))
	if err == nil {
		man, err = os.ReadFile(filepath.Join(dir, "agent.manifest.json"))
	}
	if err != nil {
		return nil, nil, wire.Refuse(wire.Unverified, "%v", err)
	}
	return wasm, man, nil
}

// keepProgram has the agent's program compiled when it comes.
func (n *Node) keepProgram(ctx context.Context, t *take) error {
	wasm, man, err := readProgram(filepath.Join(t.dir, dirAgent))
	if err != nil {
		return err
	}
	release, err := n.config.Engine.Keep(ctx, wasm, man)
	if errors.Is(err, runtime.ErrCeiling) {
		return wire.Refuse(wire.NoCapacity, "%v", err)
	}
	if err != nil {
		return wire.Refuse(wire.Unverified, "the agent's program: %v", err)
	}
	t.release = release
	return nil
}

// keptFor is how long the program of an agent that came is kept for it.
const keptFor = 10 * time.Second

// nearEnough is when a target has caught up with an agent that lives on.
const nearEnough = 250 * time.Millisecond

// catchUp takes, verifies and runs again what the agent lived while all before was taken:
// so that when it stands still, there is next to nothing left to do. A source of before
// this question was one does not answer it, and nothing is lost but time.
func (n *Node) catchUp(ctx context.Context, t *take) error {
	for before := time.Duration(math.MaxInt64); ; {
		began := time.Now()
		var a wire.Head
		if err := n.ask(ctx, t, wire.Ask{Do: "head", Agent: t.agent.DID()}, func(c *conn) error { return wire.Read(c, &a) }); err != nil {
			n.config.Log.Debug("the source does not say how far the agent is", "did", t.agent.DID(), "error", err)
			return ctx.Err()
		}
		if a.Head == "" {
			return nil // it refuses the question
		}
		head, err := parseHash(a.Head)
		if err != nil {
			return err
		}
		t.rests = true
		if err := n.fetch(ctx, t, head); err != nil {
			return err
		}
		if err := n.replay(ctx, t, head); err != nil {
			return err
		}
		// The next round takes about as long as the agent lived during this one.
		took := time.Since(began)
		if took < nearEnough || took > before/2 {
			break
		}
		before = took
	}
	return syncTree(filepath.Join(t.dir, dirAgent))
}

// seed begins the agent's folder with what is here of it: from an attempt before, or since
// the agent was here before.
func (n *Node) seed(t *take) error {
	if err := t.makeFolders(); err != nil {
		return err
	}
	agent := filepath.Join(t.dir, dirAgent)
	name, ok := n.find(t.agent)
	if !ok {
		return nil
	}
	old := n.agentDir(name)
	gone, moved, err := runtime.ReadMoved(old)
	if err != nil || !moved {
		return err
	}
	files, err := runtime.MovingFiles(old)
	if err != nil {
		return err
	}
	blocks, err := os.ReadDir(filepath.Join(old, "history"))
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if strings.HasSuffix(b.Name(), history.Ext) {
			files = append(files, runtime.MovingFile{Name: filepath.Join("history", b.Name())})
		}
	}
	for _, f := range files {
		to := filepath.Join(agent, f.Name)
		if exists(to) {
			continue
		}
		// What is written in place, or appended to, is copied; the rest never changes.
		if runtime.Fixed(f.Name) || strings.HasPrefix(f.Name, "history/") {
			err = os.Link(filepath.Join(old, f.Name), to)
		} else {
			err = copyFile(filepath.Join(old, f.Name), to)
		}
		if err != nil {
			return err
		}
	}
	t.verified = gone.Record.Head // it was lived here up to there
	return nil
}

func (t *take) makeFolders() error {
	for _, dir := range []string{"history", "events/payloads", "events/programs"} {
		if err := os.MkdirAll(filepath.Join(t.dir, dirAgent, dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// fetch takes what is not here yet of the agent, up to a checkpoint, and makes it durable,
// but for its names.
func (n *Node) fetch(ctx context.Context, t *take, head verifier.Hash) error {
	var written syncer
	err := n.fetchTo(ctx, t, head, &written)
	return errors.Join(err, written.sync())
}

func (n *Node) fetchTo(ctx context.Context, t *take, head verifier.Hash, written *syncer) error {
	root, err := os.OpenRoot(filepath.Join(t.dir, dirAgent))
	if err != nil {
		return err
	}
	defer root.Close()
	// While the agent lives on, what is old is packed there: a file may be gone when it is
	// asked for, and is in another one then.
	for range maxCuts {
		whole, err := n.fetchFiles(ctx, t, root, written)
		if err != nil {
			return err
		}
		if whole {
			break
		}
	}
	return n.fetchBlocks(ctx, t, root, head, written)
}

// How many of the newest checkpoints, and of their bytes, are looked at for the one that is
// asked for: where files that came are newer than that, it is among them.
const (
	lookBack  = 256
	lookBytes = 64 << 20
)

// maxCuts is how often a history may be cut off while it is taken.
const maxCuts = 5

// blocksAtOnce is for how many bytes of blocks one stream is asked.
const blocksAtOnce = 256 << 20

func (n *Node) fetchBlocks(ctx context.Context, t *take, root *os.Root, head verifier.Hash, syncs *syncer) error {
	until, looked, size := verifier.Hash{}, 0, 0
	for b, err := range runtime.Blocks(filepath.Join(t.dir, dirAgent)) {
		if err != nil || looked == lookBack || size > lookBytes {
			break
		}
		size += len(b)
		hash := verifier.Hash(sha256.Sum256(b))
		if hash == head {
			return nil
		}
		if looked++; looked == 1 {
			until = hash
		}
		if t.rests && hash == t.verified {
			break // no file can be newer than what is asked for
		}
	}
	if t.part != nil {
		until = verifier.Hash{} // what is here is as likely newer than what is asked for
	}
	return n.fetchSpan(ctx, t, root, head, until, syncs)
}

// maxHoles is how many holes a history may have when its files have come.
const maxHoles = 1000

// maxOthers is how many checkpoints may lie between one and the one before it that are no part
// of the life.
const maxOthers = 64

// fetchHoles fetches what the history lacks below a checkpoint that is here. The source may
// have put back what is older than its packed files, which came, and so may an attempt before
// have begun when not all of it was there.
func (n *Node) fetchHoles(ctx context.Context, t *take, head verifier.Hash, syncs *syncer) error {
	root, err := os.OpenRoot(filepath.Join(t.dir, dirAgent))
	if err != nil {
		return err
	}
	defer root.Close()
	for range maxHoles {
		next, until, met, others := head, verifier.Hash{}, false, 0
		for b, err := range runtime.Blocks(filepath.Join(t.dir, dirAgent)) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return wire.Refuse(wire.Unverified, "the history: %v", err)
			}
			hash := verifier.Hash(sha256.Sum256(b))
			if hash != next && !met {
				continue // it is newer
			}
			if met = true; hash != next { // it may be one that was signed, and that nobody appended
				if others++; others == 1 {
					until = hash
				}
				if others == maxOthers {
					break
				}
				continue
			}
			c, err := verifier.Parse(b)
			if err != nil {
				return wire.Refuse(wire.Unverified, "the history: %v", err)
			}
			next, until, others = c.PrevHash, verifier.Hash{}, 0
		}
		if next.IsZero() || !met {
			return nil
		}
		if err := n.fetchSpan(ctx, t, root, next, until, syncs); err != nil {
			return err
		}
	}
	return wire.Refuse(wire.Unverified, "the history has too many holes")
}

// fetchSpan fetches the checkpoints from one on, down to one that is here; zero = to the
// genesis.
func (n *Node) fetchSpan(ctx context.Context, t *take, root *os.Root, head, until verifier.Hash, syncs *syncer) error {
	var written []string
	cuts, since := 0, 0
	for next := head; !next.IsZero(); {
		c, err := n.open(ctx, t.from, ProtocolHistory, n.config.PrepareLimit)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { c.Reset() })
		a := wire.BlocksAsk{Agent: t.agent, Head: next, Until: until, Max: blocksAtOnce}
		_, err = c.Write(a.Append(nil))
		if err == nil {
			before := next
			next, err = wire.ReadBlocks(c, a, func(block []byte, f *verifier.Finding) error {
				name := runtime.BlockFile(f.TickNumber)
				written = append(written, name)
				if f.PrevHash.IsZero() && !until.IsZero() {
					return wire.Refuse(wire.Divergence, "what is here of the agent is no part of the history that is sent")
				}
				if t.part != nil {
					root.Remove(name)
				}
				if since += len(block); since >= unchecked {
					if err := n.roomFor(int64(since)); err != nil {
						return err
					}
					since = 0
				}
				return writeBlock(root, name, block, syncs)
			})
			if err == nil && next == before {
				err = errors.New("nothing came")
			}
		}
		stop()
		c.Reset()
		if err == nil {
			continue
		}
		_, lied := errors.AsType[*wire.LieError](err)
		_, refused := errors.AsType[*wire.Refusal](err)
		if refused && t.part != nil && len(written) > 0 {
			return nil
		}
		if cuts++; !lied && !refused && cuts <= maxCuts && ctx.Err() == nil {
			time.Sleep(time.Duration(cuts) * 200 * time.Millisecond)
			continue // from where it was cut off
		}
		// What came is no history while its end is missing.
		for _, name := range written {
			root.Remove(name)
		}
		if lie, ok := errors.AsType[*wire.LieError](err); ok {
			return wire.Refuse(wire.Unverified, "%v", lie)
		}
		if r, ok := errors.AsType[*wire.Refusal](err); ok {
			return r
		}
		return wire.Refuse(wire.Transport, "the history: %v", err)
	}
	return nil
}

func writeBlock(root *os.Root, name string, block []byte, syncs *syncer) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.Write(block); err != nil {
		return errors.Join(err, f.Close())
	}
	return syncs.add(f)
}

// fetchFiles takes the files that are not here as they are there.
func (n *Node) fetchFiles(ctx context.Context, t *take, root *os.Root, syncs *syncer) (whole bool, err error) {
	var files []wire.File
	folder := ""
	if t.part != nil {
		folder = t.part.folder
	}
	err = n.ask(ctx, t, wire.Ask{Do: "files", Agent: t.agent.DID(), Folder: folder}, func(c *conn) error {
		for {
			var page wire.Files
			if err := wire.Read(c, &page); err != nil {
				return err
			}
			files = append(files, page.Files...)
			if t.name == "" {
				t.name = page.Name
			}
			if len(files) > wire.MaxFiles {
				return wire.Refuse(wire.Unverified, "more than %d files", wire.MaxFiles)
			}
			if !page.More {
				return nil
			}
		}
	})
	if err != nil {
		return false, err
	}
	if t.part != nil {
		files = t.part.wants(files)
	}
	there, bytes := map[string]bool{}, int64(0)
	var want []wire.Have
	for _, f := range files {
		if !runtime.Travels(f.Name) || f.Size < 0 || f.Size > wire.MaxFileSize || there[f.Name] {
			return false, wire.Refuse(wire.Unverified, "a file %.100q of %d bytes", f.Name, f.Size)
		}
		there[f.Name] = true
		have := wire.Have{Name: f.Name}
		if info, err := root.Lstat(f.Name); err == nil {
			if runtime.Fixed(f.Name) && info.Size() == f.Size {
				continue
			}
			if have.Size, have.Hash, err = hashOf(root, f.Name, f.Size); err != nil {
				return false, err
			}
		}
		want = append(want, have)
		bytes += max(0, f.Size-have.Size)
	}
	if err := n.roomFor(bytes); err != nil {
		return false, err
	}
	whole = true
	for len(want) > 0 {
		page := want[:min(len(want), 200)]
		want = want[len(page):]
		err := n.ask(ctx, t, wire.Ask{Do: "get", Agent: t.agent.DID(), Folder: folder, Files: page}, func(c *conn) error {
			for _, have := range page {
				there, err := n.takeFile(root, c, have, syncs)
				if err != nil {
					return err
				}
				whole = whole && there
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	// What is not there any more was dropped there.
	here, err := runtime.MovingFiles(root.Name())
	if err != nil {
		return false, err
	}
	for _, f := range here {
		if !there[f.Name] {
			if err := root.Remove(f.Name); err != nil {
				return false, err
			}
		}
	}
	return whole, nil
}

// hashOf is how much is here of a file that has a size there.
func hashOf(root *os.Root, name string, size int64) (int64, string, error) {
	f, err := root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, io.LimitReader(f, size))
	return n, hex.EncodeToString(hash.Sum(nil)), err
}

func (n *Node) takeFile(root *os.Root, c *conn, have wire.Have, syncs *syncer) (there bool, err error) {
	var s wire.Sending
	if err := wire.Read(c, &s); err != nil {
		return false, err
	}
	if s.Name != have.Name || s.Size > wire.MaxFileSize || s.From != 0 && s.From != have.Size || s.Size >= 0 && s.From > s.Size {
		return false, wire.Refuse(wire.Unverified, "another file than was asked for: %.100q", s.Name)
	}
	if s.Size < 0 {
		err := root.Remove(have.Name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	if info, err := root.Lstat(have.Name); err == nil && s.From == s.Size && info.Size() == s.Size {
		return true, nil // it is the same
	}
	if s.Size-s.From > unchecked { // it may have grown
		if err := n.roomFor(s.Size - s.From); err != nil {
			return false, err
		}
	}
	f, err := root.OpenFile(have.Name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return false, err
	}
	if err = f.Truncate(s.From); err == nil {
		_, err = io.CopyN(io.NewOffsetWriter(f, s.From), c, s.Size-s.From)
	}
	if err != nil {
		return true, errors.Join(err, f.Close())
	}
	return true, syncs.add(f)
}

// ask asks the source something.
func (n *Node) ask(ctx context.Context, t *take, q wire.Ask, read func(c *conn) error) error {
	c, err := n.open(ctx, t.from, ProtocolHandOver, n.config.PrepareLimit)
	if err != nil {
		return err
	}
	defer c.Reset()
	defer context.AfterFunc(ctx, func() { c.Reset() })()
	if err = wire.Write(c, q); err == nil {
		err = read(c)
	}
	if _, ok := errors.AsType[*wire.Refusal](err); err != nil && !ok {
		err = wire.Refuse(wire.Transport, "%s of the source: %v", q.Do, err)
	}
	return err
}

// verify verifies the whole history, and runs the life again from where that was not done
// yet.
func (n *Node) verify(ctx context.Context, t *take, head verifier.Hash) error {
	dir := filepath.Join(t.dir, dirAgent)
	source, err := history.Path(filepath.Join(dir, "history"))
	if err != nil {
		return wire.Refuse(wire.Unverified, "%v", err)
	}
	v := history.Verification{Pins: verifier.Pins{DID: &t.agent, Head: &head}}
	report, err := v.Run(ctx, source)
	if err != nil {
		return wire.Refuse(wire.Unverified, "%v", err)
	}
	if report.Verdict() != verifier.Verified {
		for p := range report.Problems() {
			return wire.Refuse(wire.Unverified, "the history is %s: %s: %s", report.Verdict(), p.Name, p.Message)
		}
		return wire.Refuse(wire.Unverified, "the history is %s", report.Verdict())
	}
	// It may have come further meanwhile.
	newest, _ := report.Head()
	return n.replay(ctx, t, newest)
}

// replay runs the life again, from where that was not done yet: where a part of it was
// verified before, what comes after that is verified here, and nothing else is read.
func (n *Node) replay(ctx context.Context, t *take, head verifier.Hash) error {
	dir := filepath.Join(t.dir, dirAgent)
	if t.verified != head {
		if !t.verified.IsZero() && n.config.NoReplay {
			if err := runtime.VerifyTail(dir, t.agent, t.verified); err != nil {
				return wire.Refuse(wire.Unverified, "%v", err)
			}
		}
		if err := n.runAgain(ctx, t, dir); err != nil {
			return err
		}
	}
	t.verified = head
	return nil
}

func (n *Node) runAgain(ctx context.Context, t *take, dir string) error {
	if n.config.NoReplay {
		return nil
	}
	wasm, man, err := readProgram(dir)
	if err != nil {
		return err
	}
	r, err := runtime.Replay(ctx, dir, runtime.ReplayConfig{WASM: wasm, Manifest: man, Events: filepath.Join(dir, "events"), After: t.verified, CacheDir: n.config.CacheDir, Log: n.config.Log.With("replay", t.name)})
	if err != nil {
		return wire.Refuse(wire.Unverified, "the life cannot be run again: %v", err)
	}
	switch {
	case r.Verdict == runtime.Replayed:
		return nil
	case r.Verdict == runtime.NotReplayed && r.Lineage == verifier.Verified.String() && n.inFleet(t.from):
		// The event log of a node that is gone went with it. What there is of it is right.
		n.config.Log.Warn("a life can be run again only in part: some of its event log is lost", "did", t.agent.DID(), "intervals", r.Intervals, "replayed", r.Replayed)
		return nil
	}
	for _, p := range r.Problems {
		return wire.Refuse(wire.Unverified, "the life, run again, is %s: %s", r.Verdict, p.Message)
	}
	return wire.Refuse(wire.Unverified, "the life, run again, is %s", r.Verdict)
}

// promise takes the last of the agent, which stands still, holds it against what the
// source says, and signs.
func (n *Node) promise(ctx context.Context, t *take, p *wire.Propose, f *wire.Final) ([]byte, error) {
	position := authority.Position{Major: f.Major}
	for text, to := range map[*string]*verifier.Hash{&f.Head: &position.Head, &f.Journal: &position.Journal, &f.Log: &position.Log, &f.Paid: &position.Paid} {
		h, err := parseHash(*text)
		if err != nil {
			return nil, err
		}
		*to = h
	}
	record, err := verifier.ParseHandOver(append(bytes.Clone(f.Record), make([]byte, 2*64)...))
	if err != nil || len(f.Record) != verifier.HandOverMessageSize {
		return nil, wire.Refuse(wire.Unverified, "what is to be signed is no hand-over record")
	}
	switch {
	case record.From != t.from || record.To != n.public:
		return nil, wire.Refuse(wire.Unverified, "the record is of other nodes")
	case record.Genesis.String() != p.Genesis || record.Head != position.Head || record.Number != t.number || position.Major+1 != t.number || (t.home == "") != (f.Sequence == 0):
		return nil, wire.Refuse(wire.Unverified, "the record is of another hand-over than the one that was proposed")
	case record.Sealed.IsZero() && (t.home == "" || !n.shared(t.agent, t.from)):
		return nil, wire.Refuse(wire.Unverified, "no key comes with the agent, and none is here")
	}
	if t.home != "" {
		at, err := n.owned(ctx, t.home, t.agent, t.from, position.Major)
		if err != nil {
			return nil, err
		}
		if at.Sequence+2 != f.Sequence || at.Head != position.Head || at.Journal != position.Journal || at.Log != position.Log || at.Paid != position.Paid {
			return nil, wire.Refuse(wire.Divergence, "the agent's home knows another position (append %d, checkpoint %s) than its owner", at.Sequence, at.Head.CID())
		}
	}
	var written syncer
	err = n.fetchTo(ctx, t, position.Head, &written)
	// The agent stands still: the disk works meanwhile. Nothing is signed before it is done.
	dir := filepath.Join(t.dir, dirAgent)
	durable := make(chan error, 1)
	go func() { durable <- errors.Join(written.sync(), syncTree(dir)) }()
	synced := sync.OnceValue(func() error { return <-durable })
	defer synced()
	if err != nil {
		return nil, err
	}
	if err := n.replay(ctx, t, position.Head); err != nil {
		return nil, err
	}
	if err := runtime.CheckMoved(dir, t.agent, position); err != nil {
		return nil, wire.Refuse(wire.Unverified, "%v", err)
	}
	failpoints.Reach(failpoints.MoveTakenIn)
	b, err := json.Marshal(promise{From: t.from.DID(), Agent: t.agent.DID(), Name: t.name, Price: t.price, Record: f.Record, Position: positionBytes(&position), Home: t.home, Sequence: f.Sequence})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(t.dir, filePromise)
	if err := writeFile(file, b); err != nil {
		return nil, err
	}
	if err := synced(); err != nil {
		return nil, errors.Join(err, os.Remove(file))
	}
	failpoints.Reach(failpoints.MovePromised)
	return ed25519.Sign(n.config.Key, f.Record), nil
}

// positionBytes are what a promise keeps of a position.
func positionBytes(p *authority.Position) (b []byte) {
	for _, h := range [...]verifier.Hash{p.Head, p.Journal, p.Log, p.Paid} {
		b = append(b, h[:]...)
	}
	return b
}

// settle finds out what became of a hand-over that this node promised to take, however
// long it takes, and acts on it. committed is closed when the source says that it counts,
// which is only a reason to ask now.
func (n *Node) settle(t *take, committed <-chan struct{}) error {
	forget := func() {
		time.AfterFunc(keptFor, t.release) // by then it lives, or that takes long anyway
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.takes, t.agent)
		close(t.gone)
	}
	raw, err := os.ReadFile(filepath.Join(t.dir, filePromise))
	if err != nil {
		return err
	}
	var p promise
	if err := strict(raw, &p); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(t.dir, filePromise), err)
	}
	stays := func(where string) error {
		n.config.Log.Info("the agent was not handed over", "did", t.agent.DID(), "at", where)
		err := os.Remove(filepath.Join(t.dir, filePromise))
		forget()
		return errors.Join(err, wire.Refuse(wire.SourceFailed, "the agent was not handed over"))
	}
	here := false // the source said that it stays
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Minute) {
		select {
		case <-committed:
			committed = nil
		case <-t.ask:
		case <-time.After(wait):
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
		if p.Home != "" {
			says, m, err := n.ofHome(n.ctx, t, &p)
			switch {
			case err != nil:
				n.config.Log.Debug("what became of a hand-over is not known yet", "did", t.agent.DID(), "home", p.Home, "error", err)
				continue
			case says == given:
				if err := n.commitOfHome(t, &p, &m); err != nil {
					n.config.Log.Error("the commit of a hand-over is no good: nothing is lived", "did", t.agent.DID(), "from", t.from.DID(), "error", err)
					continue
				}
				err := n.arrive(t.dir, t.verified)
				forget()
				return err
			case says == void, here:
				return stays(p.Home)
			}
		}
		var a wire.Commit
		err := n.ask(n.ctx, t, wire.Ask{Do: "commit", Agent: t.agent.DID(), Number: t.number, Record: digest(p.Record)}, func(c *conn) error {
			c.until = time.Now().Add(n.config.Silence)
			return wire.Read(c, &a)
		})
		switch {
		case err != nil:
			n.config.Log.Debug("what became of a hand-over is not known yet", "did", t.agent.DID(), "error", err)
		case p.Home != "":
			// What the source says is a reason to ask the home: soon, or for the last time.
			if here = a.State == wire.Here; here || a.State != wire.NoSuch {
				wait = min(wait, 100*time.Millisecond)
			}
		case a.State == wire.Gone:
			if err := n.commit(t, &p, a.Moved); err != nil {
				n.config.Log.Error("the commit of a hand-over is no good: nothing is lived", "did", t.agent.DID(), "from", t.from.DID(), "error", err)
				continue
			}
			err := n.arrive(t.dir, t.verified)
			forget()
			return err
		case a.State == wire.Here:
			return stays(t.from.DID())
		case a.State == wire.Asking:
			wait = min(wait, 200*time.Millisecond)
		}
	}
}

// commit keeps the commit of a hand-over, if it is what was promised.
func (n *Node) commit(t *take, p *promise, moved []byte) error {
	m, err := runtime.ParseMoved(moved)
	if err == nil && m.AtHome() {
		err = errors.New("it is of a store, and the agent's home is its folder")
	}
	if err != nil {
		return err
	}
	return n.keepCommit(t, p, &m)
}

// commitOfHome is commit of what the agent's home says.
func (n *Node) commitOfHome(t *take, p *promise, m *runtime.Departure) error {
	key, err := n.keyOf(n.ctx, m)
	if err == nil {
		err = m.Sign(key)
	}
	if err != nil {
		return err
	}
	return n.keepCommit(t, p, m)
}

func (n *Node) keepCommit(t *take, p *promise, m *runtime.Departure) error {
	switch {
	case m.Agent != t.agent || !bytes.Equal(m.Record.AppendMessage(nil), p.Record):
		return errors.New("it is of another hand-over")
	case !bytes.Equal(positionBytes(&m.Position), p.Position):
		return errors.New("it goes on from elsewhere")
	}
	if _, err := n.keyOf(n.ctx, m); err != nil {
		return err
	}
	err := writeFile(filepath.Join(t.dir, fileCommit), m.Append(nil))
	failpoints.Reach(failpoints.MoveFetched)
	return err
}

// An arrival is what a node keeps of an agent that came by a hand-over.
type arrival struct {
	Price  int64  `json:"price,string"` // of the offer on which it came
	Number uint64 `json:"number"`
}

// arrivedAt returns what an agent came for.
func (n *Node) arrivedAt(name string) (a arrival, ok bool) {
	b, err := os.ReadFile(filepath.Join(n.config.Dir, "arrivals", name+".json"))
	return a, err == nil && strict(b, &a) == nil
}

// arrive gives the agent in a folder of incoming/ its key and its place. The commit of its
// hand-over is there. It may be called again after a crash. What this process has verified of
// it, up to the checkpoint with which it comes, is not read again.
func (n *Node) arrive(dir string, verified verifier.Hash) error {
	b, err := os.ReadFile(filepath.Join(dir, fileCommit))
	if err != nil {
		return err
	}
	m, err := runtime.ParseMoved(b)
	if err != nil {
		return err
	}
	var p promise
	raw, err := os.ReadFile(filepath.Join(dir, filePromise))
	if err == nil {
		err = strict(raw, &p)
	}
	if err != nil {
		return err
	}
	agent := filepath.Join(dir, dirAgent)
	name := folderName(p.Name, m.Agent)
	if exists(agent) {
		key, err := n.keyOf(n.ctx, &m)
		if err != nil {
			return err
		}
		if err := runtime.MoveIn(agent, key, &m, p.Home); err != nil {
			return err
		}
		// Where it was before, nobody lives on.
		if old, ok := n.find(m.Agent); ok {
			// Of one whose home is a store, that says so.
			if _, gone, err := runtime.FinishMove(n.agentDir(old)); err != nil || !gone && !m.AtHome() {
				return errors.Join(errors.New("the agent lives here already"), err)
			}
			aside := filepath.Join(dir, dirOld)
			if err := os.RemoveAll(aside); err != nil {
				return err
			}
			if err := os.Rename(n.agentDir(old), aside); err != nil {
				return err
			}
			name = old
			n.forgetLife(old)
		} else if exists(n.agentDir(name)) {
			name = folderName("", m.Agent)
		}
		arrivals := filepath.Join(n.config.Dir, "arrivals")
		if err := os.MkdirAll(arrivals, 0o700); err != nil {
			return err
		}
		a, err := json.Marshal(arrival{Price: p.Price, Number: m.Record.Number})
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(arrivals, name+".json"), a); err != nil {
			return err
		}
		n.mu.Lock()
		n.verified[name] = verified
		n.mu.Unlock()
		if err := os.Rename(agent, n.agentDir(name)); err != nil {
			return err
		}
		if err := syncDirs(filepath.Join(n.config.Dir, dirAgents), dir); err != nil {
			return err
		}
	}
	n.meter.came()
	n.askAgain()
	failpoints.Reach(failpoints.MoveArrived)
	n.forgetLife(name)
	n.config.Log.Info("an agent came", "agent", name, "did", m.Agent.DID(), "from", m.Record.From.DID(), "number", m.Record.Number, "head", m.Record.Head.CID())
	n.poke()
	// The commit goes first: without it the source is asked again, and says the same.
	if err := os.Remove(filepath.Join(dir, fileCommit)); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// forgetLife forgets who is in a folder.
func (n *Node) forgetLife(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.lives, name)
}

// resumeTakes goes on with what the process before left, and with what was given away.
func (n *Node) resumeTakes() error {
	agents, err := os.ReadDir(filepath.Join(n.config.Dir, dirAgents))
	if err != nil {
		return err
	}
	for _, e := range agents {
		if exists(filepath.Join(n.agentDir(e.Name()), "moved")) {
			if _, _, err := runtime.FinishMove(n.agentDir(e.Name())); err != nil {
				n.config.Log.Error("what is left of an agent that was given away", "agent", e.Name(), "error", err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(n.config.Dir, dirIncoming))
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(n.config.Dir, dirIncoming, e.Name())
		if exists(filepath.Join(dir, fileCommit)) {
			if err := n.arrive(dir, verifier.Hash{}); err != nil {
				n.config.Log.Error("an agent that was taken cannot live", "folder", dir, "error", err)
			}
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, filePromise))
		if errors.Is(err, fs.ErrNotExist) {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > stale {
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
			continue
		}
		var p promise
		if err == nil {
			err = strict(raw, &p)
		}
		t := &take{dir: dir, name: p.Name, home: p.Home, price: p.Price, promised: true, ask: make(chan struct{}, 1), gone: make(chan struct{}), cancel: func() {}, release: func() {}}
		if err == nil {
			t.from, err = verifier.ParseDID(p.From)
		}
		if err == nil {
			t.agent, err = verifier.ParseDID(p.Agent)
		}
		var record *verifier.HandOver
		if err == nil {
			record, err = verifier.ParseHandOver(append(bytes.Clone(p.Record), make([]byte, 2*64)...))
		}
		if err != nil {
			n.config.Log.Error("a promise to take an agent cannot be read: nobody takes it", "folder", dir, "error", err)
			continue
		}
		t.number = record.Number
		n.takes[t.agent] = t
		n.serving.Add(1)
		go func() {
			defer n.serving.Done()
			if err := n.settle(t, nil); err != nil && n.ctx.Err() == nil {
				n.config.Log.Warn("a hand-over that was under way", "did", t.agent.DID(), "error", err)
			}
		}()
	}
	return nil
}

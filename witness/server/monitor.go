package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
	"igor.dev/verifier/witness"
)

// A MonitorConfig says which log to read, and whom to ask for lives.
type MonitorConfig struct {
	Dir    string
	Key    *Key
	Policy *witness.Policy // with one log, of which it has the address; its quorum has to have cosigned
	Lives  []string        // addresses at which lives are published (docs/spec/publishing.md)

	Interval time.Duration // between looks at the log; 0 = 10 s
	Logger   *slog.Logger
	HTTP     *http.Client // nil = one with limits
}

// A Monitor reads all of a log, keeps the heads of every key, and finds keys that lived
// twice.
type Monitor struct {
	config MonitorConfig
	signer note.Signer
	tiles  *torchwood.TileFetcher
	client *torchwood.Client
	http   *http.Client
	url    string
	mux    http.ServeMux

	mu         sync.Mutex
	tree       tlog.Tree // as far as the log was read
	checkpoint []byte    // signed, of that tree
	keys       map[verifier.PublicKey]*keyHeads
	records    *os.File // every head statement, in the log's order
	heads      uint32   // in that file
	forks      []Found
	refused    error // why the log is not followed any more
	readAt     atomic.Int64

	work chan question

	unanswered []asked // what is asked again
}

// asked is a question that nobody could answer: lives are published late, and servers fail.
type asked struct {
	question
	next  time.Time
	pause time.Duration
}

// keyHeads are the heads of a key, by tick.
type keyHeads struct {
	all   []seenHead
	forks int
}

type seenHead struct {
	tick, index uint64
	checkpoint  verifier.Hash
	record      uint32
	bad         bool // not signed by the key: a log that takes it is broken
}

// A question is whether two heads of a key are on one chain.
type question struct {
	agent          verifier.PublicKey
	earlier, later seenHead
}

// A Found is a fork that a monitor found.
type Found struct {
	DID  string `json:"did"`
	Kind string `json:"kind"`
	Tick uint64 `json:"tick,string"` // of the earlier side
	Time string `json:"found"`
	File string `json:"proof"` // its name
}

const (
	recordSize = 8 + witness.HeadSize

	// maxForks is how many fork proofs a key gets: one says enough.
	maxForks = 4

	// maxBack is how many checkpoints are fetched to see whether two heads are on one chain.
	maxBack      = 100_000
	maxBackBytes = witness.MaxForkProof - 1<<20

	// maxUnanswered is how many questions are asked again, and longestPause how long it takes
	// at most until one is.
	maxUnanswered = 4096
	longestPause  = time.Hour
)

// OpenMonitor opens a monitor. Run has it read.
func OpenMonitor(c MonitorConfig) (*Monitor, error) {
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	m := &Monitor{config: c, http: c.HTTP, keys: map[verifier.PublicKey]*keyHeads{}, work: make(chan question, 1024)}
	if m.http == nil {
		m.http = &http.Client{Timeout: 30 * time.Second, CheckRedirect: sameHost}
	}
	logs, urls := c.Policy.Logs(), c.Policy.URLs()
	if len(logs) != 1 || urls[0] == "" {
		return nil, errors.New("a monitor reads one log: the policy has to name one, with its address")
	}
	m.url = strings.TrimSuffix(urls[0], "/")
	var err error
	if m.signer, err = c.Key.signer(); err != nil {
		return nil, err
	}
	if m.tiles, err = torchwood.NewTileFetcher(m.url+"/", torchwood.WithHTTPClient(m.http), torchwood.WithUserAgent("igor-log monitor"), torchwood.WithTileFetcherLogger(slog.New(slog.DiscardHandler))); err != nil {
		return nil, err
	}
	if m.client, err = torchwood.NewClient(m.tiles); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "forks"), 0o755); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Dir, err)
	}
	m.mux.HandleFunc("GET /igor/v1/key/{did}", m.word)
	m.mux.HandleFunc("GET /igor/v1/key/{did}/proof", m.proof)
	m.mux.HandleFunc("GET /igor/v1/key/{did}/fork", m.fork)
	m.mux.HandleFunc("GET /igor/v1/forks", m.feed)
	return m, nil
}

// sameHost follows redirects within a server that was named, and no others: who publishes a life
// must not make the monitor ask what only the monitor reaches.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) > 3 || r.URL.Hostname() != via[0].URL.Hostname() || r.URL.Scheme != via[0].URL.Scheme && r.URL.Scheme != "https" {
		return errors.New("it leads elsewhere")
	}
	return nil
}

func (m *Monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Cache-Control", "no-cache")
	m.mux.ServeHTTP(w, r)
}

// Close lets go of the monitor's files.
func (m *Monitor) Close() error { return m.records.Close() }

// State returns how far the log was read, how many heads and keys there are, and why the
// log is not followed any more, if it is not.
func (m *Monitor) State() (size int64, heads, keys, forks int, refused error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tree.N, int(m.heads), len(m.keys), len(m.forks), m.refused
}

// load reads what the monitor knew: the log's checkpoint, and the heads up to there.
func (m *Monitor) load() error {
	b, err := os.ReadFile(m.file("checkpoint"))
	switch {
	case err == nil:
		t, err := m.treeOf(b)
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		m.tree, m.checkpoint = t, b
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if m.records, err = os.OpenFile(m.file("heads"), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	r := bufio.NewReaderSize(m.records, 1<<20)
	record := make([]byte, recordSize)
	for {
		if _, err := io.ReadFull(r, record); err != nil {
			break // of the last, a part may be there
		}
		index := binary.LittleEndian.Uint64(record)
		if index >= uint64(m.tree.N) {
			break // is read again
		}
		h, err := witness.ParseHead(record[8:])
		if err != nil {
			return fmt.Errorf("heads: record %d: %w", m.heads, err)
		}
		m.insert(h, index)
	}
	if err := m.records.Truncate(int64(m.heads) * int64(recordSize)); err != nil {
		return err
	}
	feed, err := os.ReadFile(m.file("forks.jsonl"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for line := range bytes.Lines(feed) {
		var f Found
		if json.Unmarshal(line, &f) != nil {
			continue // cut off; its proof is found again
		}
		m.forks = append(m.forks, f)
		if agent, err := verifier.ParseDID(f.DID); err == nil && m.keys[agent] != nil {
			m.keys[agent].forks++
		}
	}
	return nil
}

func (m *Monitor) file(name string) string { return filepath.Join(m.config.Dir, name) }

// treeOf returns the tree of a checkpoint that the log signed and the quorum cosigned.
func (m *Monitor) treeOf(signed []byte) (t tlog.Tree, err error) {
	origin, size, root, err := m.config.Policy.CheckTree(signed)
	if err != nil {
		return t, err
	}
	if origin != m.config.Policy.Logs()[0] {
		return t, errors.New("of another log")
	}
	return tlog.Tree{N: int64(size), Hash: root}, nil
}

// Run reads the log until ctx is done.
func (m *Monitor) Run(ctx context.Context) {
	go m.ask(ctx)
	for {
		if err := m.Read(ctx); err != nil && ctx.Err() == nil {
			m.config.Logger.Warn("the log was not read", "error", err)
		}
		select {
		case <-time.After(m.config.Interval):
		case <-ctx.Done():
			return
		}
	}
}

// A RolledBackError says that a log signed two things of which it cannot mean both.
type RolledBackError struct {
	Text string

	// Shorter says that it shows a smaller tree than before. That may be an old copy, so the
	// log is followed again once it shows what it had.
	Shorter bool
}

func (e *RolledBackError) Error() string { return e.Text }

// Read reads what is new in the log.
func (m *Monitor) Read(ctx context.Context) error {
	if _, _, _, _, refused := m.State(); refused != nil {
		if back, ok := errors.AsType[*RolledBackError](refused); !ok || !back.Shorter {
			return refused
		}
	}
	signed, err := m.get(ctx, m.url+"/checkpoint", 64<<10)
	if err != nil {
		return err
	}
	next, err := m.treeOf(signed)
	if err != nil {
		return err
	}
	if next == m.tree {
		m.follow()
		m.readAt.Store(time.Now().Unix())
		return nil
	}
	if err := m.consistent(ctx, next); err != nil {
		if back, ok := errors.AsType[*RolledBackError](err); ok {
			// Both are kept: they are the evidence. What is known stays, and is said as of then.
			err := errors.Join(back, writeWhole(m.file(fmt.Sprintf("rolled-back-%d", next.N)), signed, 0o644, true))
			m.mu.Lock()
			m.refused = err
			m.mu.Unlock()
			return err
		}
		return err
	}
	m.follow()
	var fresh []*witness.Head
	var indexes []uint64
	w := bufio.NewWriterSize(io.NewOffsetWriter(m.records, int64(m.heads)*int64(recordSize)), 1<<20)
	for index, entry := range m.client.AllEntries(ctx, next, m.tree.N) {
		h, err := witness.ParseHead(entry)
		if err != nil {
			continue // a commitment, or what is not for us
		}
		var at [8]byte
		binary.LittleEndian.PutUint64(at[:], uint64(index))
		if _, err := w.Write(at[:]); err != nil {
			return err
		}
		w.Write(entry)
		fresh, indexes = append(fresh, h), append(indexes, uint64(index))
	}
	if err := m.client.Err(); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), w.Flush(), m.records.Sync()); err != nil {
		return err
	}
	if err := writeWhole(m.file("checkpoint"), signed, 0o644, true); err != nil {
		return err
	}
	m.mu.Lock()
	m.tree, m.checkpoint = next, signed
	touched := map[verifier.PublicKey]bool{}
	for i, h := range fresh {
		m.insert(h, indexes[i])
		touched[h.Agent] = true
	}
	m.mu.Unlock()
	for agent := range touched {
		m.look(ctx, agent)
	}
	m.readAt.Store(time.Now().Unix())
	return nil
}

// follow says that the log shows what it had.
func (m *Monitor) follow() {
	m.mu.Lock()
	was := m.refused
	m.refused = nil
	m.mu.Unlock()
	if was != nil {
		m.config.Logger.Info("the log shows again what it had: it is followed", "before", was)
	}
}

// consistent holds a new tree against the one that was read: everything is still there.
func (m *Monitor) consistent(ctx context.Context, next tlog.Tree) error {
	if next.N < m.tree.N {
		return &RolledBackError{fmt.Sprintf("the log went back: it signed %d entries, and shows %d", m.tree.N, next.N), true}
	}
	if m.tree.N == 0 {
		return nil
	}
	if next.N == m.tree.N {
		return &RolledBackError{Text: fmt.Sprintf("the log signed two trees of %d entries", next.N)}
	}
	hash, err := tlog.TreeHash(m.tree.N, torchwood.TileHashReaderWithContext(ctx, next, m.tiles))
	if err != nil {
		return fmt.Errorf("the log's new tree cannot be read: %w", err)
	}
	if hash != m.tree.Hash {
		return &RolledBackError{Text: fmt.Sprintf("the log changed what it had: its tree of %d entries is not in that of %d", m.tree.N, next.N)}
	}
	return nil
}

// insert takes notice of a head, which is the next record.
func (m *Monitor) insert(h *witness.Head, index uint64) {
	k := m.keys[h.Agent]
	if k == nil {
		k = new(keyHeads)
		m.keys[h.Agent] = k
	}
	s := seenHead{tick: h.Tick, index: index, checkpoint: h.Checkpoint, record: m.heads}
	m.heads++
	at := len(k.all)
	for at > 0 && k.all[at-1].tick > s.tick {
		at--
	}
	k.all = slices.Insert(k.all, at, s)
}

// head reads a statement again.
func (m *Monitor) head(s seenHead) (*witness.Head, error) {
	b := make([]byte, witness.HeadSize)
	if _, err := m.records.ReadAt(b, int64(s.record)*int64(recordSize)+8); err != nil {
		return nil, err
	}
	return witness.ParseHead(b)
}

// look finds what contradicts itself in the heads of a key, and asks about the newest.
func (m *Monitor) look(ctx context.Context, agent verifier.PublicKey) {
	m.mu.Lock()
	k := m.keys[agent]
	all, tree, checkpoint := slices.Clone(k.all), m.tree, m.checkpoint
	full := k.forks >= maxForks
	m.mu.Unlock()
	if full {
		return
	}
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.bad || b.bad || a.tick != b.tick || a.checkpoint == b.checkpoint {
			continue
		}
		one, err := m.logged(ctx, tree, checkpoint, a)
		if err != nil {
			m.config.Logger.Warn("a statement cannot be proved", "error", err)
			continue
		}
		other, err := m.logged(ctx, tree, checkpoint, b)
		if err != nil {
			m.config.Logger.Warn("a statement cannot be proved", "error", err)
			continue
		}
		m.accuse(witness.NewForkProof(one, other))
	}
	for _, q := range m.steps(agent, all) {
		select {
		case m.work <- q:
		default:
			m.askLater(asked{question: q})
		}
	}
}

// steps returns the questions about the newest two steps of a key: a head that came late may
// stand before the newest.
func (m *Monitor) steps(agent verifier.PublicKey, all []seenHead) (some []question) {
	for i := len(all) - 1; i > 0 && len(m.config.Lives) > 0; i-- {
		if all[i].bad || all[i].tick == all[i-1].tick {
			continue
		}
		some = append(some, question{agent, all[i-1], all[i]})
		if i < len(all)-1 {
			break
		}
	}
	return some
}

// logged returns a statement with its proof.
func (m *Monitor) logged(ctx context.Context, tree tlog.Tree, checkpoint []byte, s seenHead) (witness.Logged, error) {
	h, err := m.head(s)
	if err != nil {
		return witness.Logged{}, err
	}
	proof, err := m.prove(ctx, tree, checkpoint, s.index, nil)
	return witness.Logged{Head: *h, Proof: proof}, err
}

func (m *Monitor) prove(ctx context.Context, tree tlog.Tree, checkpoint []byte, index uint64, extra []byte) ([]byte, error) {
	p, err := tlog.ProveRecord(tree.N, int64(index), torchwood.TileHashReaderWithContext(ctx, tree, m.tiles))
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(p))
	for i := range p {
		hashes[i] = p[i][:]
	}
	return formatProof(extra, index, hashes, checkpoint), nil
}

// accuse keeps a fork proof, if it is one: nobody is accused by what does not hold.
func (m *Monitor) accuse(p *witness.ForkProof) {
	f, err := p.Check(m.config.Policy)
	if err != nil {
		for i := range p.Heads {
			if h := &p.Heads[i].Head; !h.Authentic() {
				m.config.Logger.Error("the log has a statement that nobody signed: it is broken, or lies", "agent", h.Agent.DID(), "tick", h.Tick)
				m.mark(h)
			}
		}
		return
	}
	b := p.Append(nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[f.Agent]
	if k == nil || k.forks >= maxForks {
		return
	}
	// One proof for each pair, whatever the proofs of the log with them.
	name := fmt.Sprintf("%s-%s-%x-%x.fork-proof", strings.TrimPrefix(f.Agent.DID(), "did:key:"), f.Kind, f.Sides[0].Checkpoint[:4], f.Sides[1].Checkpoint[:4])
	if slices.ContainsFunc(m.forks, func(old Found) bool { return old.File == name }) {
		return
	}
	found := Found{f.Agent.DID(), f.Kind.String(), f.Sides[0].Tick, time.Now().UTC().Format(time.RFC3339), name}
	line, err := json.Marshal(found)
	if err == nil {
		err = writeWhole(filepath.Join(m.config.Dir, "forks", name), b, 0o644, true)
	}
	if err == nil {
		err = appendLine(m.file("forks.jsonl"), line)
	}
	if err != nil {
		m.config.Logger.Error("a fork proof cannot be kept", "error", err)
		return
	}
	m.forks = append(m.forks, found)
	k.forks++
	m.config.Logger.Warn("a key lived twice", "agent", found.DID, "kind", found.Kind, "tick", found.Tick, "proof", name)
}

func (m *Monitor) mark(h *witness.Head) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.keys[h.Agent]; k != nil {
		for i := range k.all {
			if k.all[i].tick == h.Tick && k.all[i].checkpoint == h.Checkpoint {
				k.all[i].bad = true
			}
		}
	}
}

func appendLine(file string, line []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// ask answers questions, one after the other. What nobody can answer yet is asked again.
func (m *Monitor) ask(ctx context.Context) {
	go m.recall(ctx)
	look := time.NewTicker(min(m.config.Interval, time.Second))
	defer look.Stop()
	for {
		select {
		case q := <-m.work:
			m.answer(ctx, asked{question: q})
		case <-look.C:
			if a, ok := m.due(); ok {
				m.answer(ctx, a)
			}
		case <-ctx.Done():
			return
		}
	}
}

// recall asks about what was known before the monitor was started: what was not answered then
// is not kept.
func (m *Monitor) recall(ctx context.Context) {
	m.mu.Lock()
	agents := slices.Collect(maps.Keys(m.keys))
	m.mu.Unlock()
	for _, agent := range agents {
		m.mu.Lock()
		all := slices.Clone(m.keys[agent].all)
		m.mu.Unlock()
		for _, q := range m.steps(agent, all) {
			select {
			case m.work <- q:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (m *Monitor) answer(ctx context.Context, a asked) {
	if err := m.chain(ctx, a.question); err != nil && ctx.Err() == nil {
		m.config.Logger.Debug("whether two heads are on one chain is not known", "agent", a.agent.DID(), "error", err)
		m.askLater(a)
	}
}

// askLater keeps a question. Where there are too many, the oldest is given up: the next head of
// its key asks again.
func (m *Monitor) askLater(a asked) {
	a.pause = min(max(2*a.pause, m.config.Interval), longestPause)
	a.next = time.Now().Add(a.pause)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unanswered = slices.DeleteFunc(m.unanswered, func(old asked) bool { return old.question == a.question })
	if len(m.unanswered) >= maxUnanswered {
		m.unanswered = m.unanswered[1:]
	}
	m.unanswered = append(m.unanswered, a)
}

// due returns a question whose time has come.
func (m *Monitor) due() (a asked, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	i := slices.IndexFunc(m.unanswered, func(a asked) bool { return !a.next.After(now) })
	if i < 0 {
		return a, false
	}
	a = m.unanswered[i]
	m.unanswered = slices.Delete(m.unanswered, i, i+1)
	return a, true
}

// chain asks for what is between two heads. The list of hashes is a hint, and evidence of
// nothing: if the earlier head is not in it, the checkpoints themselves are fetched, which
// either pass it, or are a proof.
func (m *Monitor) chain(ctx context.Context, q question) (err error) {
	for _, from := range m.config.Lives {
		from = strings.TrimSuffix(from, "/")
		index, e := m.get(ctx, from+"/"+published.IndexKey(q.agent), maxBack*32)
		if e == nil && inOrder(index, q.earlier.checkpoint, q.later.checkpoint) {
			return nil
		}
		back, passes, e := m.back(ctx, from, q)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		if passes {
			return nil
		}
		m.mu.Lock()
		tree, checkpoint := m.tree, m.checkpoint
		m.mu.Unlock()
		one, e := m.logged(ctx, tree, checkpoint, q.earlier)
		if e != nil {
			return e
		}
		other, e := m.logged(ctx, tree, checkpoint, q.later)
		if e != nil {
			return e
		}
		m.accuse(witness.NewForkProof(one, other, back...))
		return nil
	}
	return err
}

// inOrder reports whether a list of hashes has both, the earlier one first.
func inOrder(index []byte, earlier, later verifier.Hash) bool {
	seen := false
	for ; len(index) >= 32; index = index[32:] {
		switch verifier.Hash(index[:32]) {
		case earlier:
			seen = true
		case later:
			return seen
		}
	}
	return false
}

// back fetches the checkpoints from the later head to below the earlier one's tick.
func (m *Monitor) back(ctx context.Context, from string, q question) (back [][]byte, passes bool, err error) {
	at, size := q.later.checkpoint, 0
	for range maxBack {
		b, err := m.get(ctx, from+"/"+published.BlockKey(at), verifier.MaxCheckpointSize)
		if err != nil {
			return nil, false, err
		}
		f := verifier.Examine(b)
		if f.ContentHash != at || !f.Authentic() || f.AgentPubKey != q.agent {
			return nil, false, fmt.Errorf("%s gives something else as %s", from, at.CID())
		}
		if at == q.earlier.checkpoint {
			return nil, true, nil
		}
		if size += len(b); size > maxBackBytes {
			break
		}
		back = append(back, b)
		if f.TickNumber < q.earlier.tick || f.PrevHash.IsZero() {
			return back, false, nil
		}
		at = f.PrevHash
	}
	return nil, false, errors.New("too far apart")
}

func (m *Monitor) get(ctx context.Context, url string, most int64) ([]byte, error) {
	ctx, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := m.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: longer than %d bytes", url, most)
	}
	return b, err
}

// of returns what is known of a key: its newest authentic head.
func (m *Monitor) of(w http.ResponseWriter, r *http.Request) (agent verifier.PublicKey, heads, forks int, newest seenHead, ok bool) {
	agent, err := verifier.ParseDID(r.PathValue("did"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	const most = 256 // unsigned ones in a row; a log that has more is broken
	var last []seenHead
	m.mu.Lock()
	if k := m.keys[agent]; k != nil {
		heads, forks = len(k.all), k.forks
		last = slices.Clone(k.all[max(0, len(k.all)-most):])
	}
	m.mu.Unlock()
	for _, s := range slices.Backward(last) {
		h, err := m.head(s)
		if err == nil && !s.bad && h.Authentic() {
			return agent, heads, forks, s, true
		}
	}
	http.Error(w, "no head of this key is known here", http.StatusNotFound)
	return
}

func (m *Monitor) word(w http.ResponseWriter, r *http.Request) {
	agent, heads, forks, newest, ok := m.of(w, r)
	if !ok {
		return
	}
	m.mu.Lock()
	tree := m.tree
	m.mu.Unlock()
	said := witness.Word{Log: m.config.Policy.Logs()[0], Agent: agent, Root: tree.Hash, Index: newest.index, Monitor: verifier.Monitor{
		Size: uint64(tree.N), Time: uint64(time.Now().Unix()), Heads: uint64(heads), Tick: newest.tick, Latest: newest.checkpoint, Forks: uint64(forks)}}
	signed, err := note.Sign(&note.Note{Text: said.Text()}, m.signer)
	if err != nil {
		http.Error(w, "the word cannot be signed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(signed)
}

func (m *Monitor) proof(w http.ResponseWriter, r *http.Request) {
	_, _, _, newest, ok := m.of(w, r)
	if !ok {
		return
	}
	m.mu.Lock()
	tree, checkpoint := m.tree, m.checkpoint
	m.mu.Unlock()
	h, err := m.head(newest)
	var proof []byte
	if err == nil {
		proof, err = m.prove(r.Context(), tree, checkpoint, newest.index, h.Append(nil))
	}
	if err != nil {
		m.config.Logger.Warn("a proof cannot be made", "error", err)
		http.Error(w, "the proof cannot be made now", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(proof)
}

func (m *Monitor) fork(w http.ResponseWriter, r *http.Request) {
	agent, err := verifier.ParseDID(r.PathValue("did"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	i := slices.IndexFunc(m.forks, func(f Found) bool { return f.DID == agent.DID() })
	var name string
	if i >= 0 {
		name = m.forks[i].File
	}
	m.mu.Unlock()
	if i < 0 {
		http.Error(w, "no fork of this key is known here", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	http.ServeFile(w, r, filepath.Join(m.config.Dir, "forks", name))
}

func (m *Monitor) feed(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	all := slices.Clone(m.forks)
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/jsonl")
	e := json.NewEncoder(w)
	for _, f := range all {
		e.Encode(f)
	}
}

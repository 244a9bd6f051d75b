package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/storage/posix"

	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

// A LogConfig says how to serve a log.
type LogConfig struct {
	Dir string
	Key *Key // its name is the log's

	// Policy is a c2sp.org/tlog-policy with the addresses of witnesses: nothing is
	// published that its quorum did not cosign. nil = nobody cosigns.
	Policy []byte

	Interval time.Duration // between checkpoints; 0 = 1 s
	Wait     time.Duration // for a checkpoint, before who asked has to come back; 0 = 10 s

	PerSource, PerKey Rate // of statements: by who sends them, and by whom they are

	Logger *slog.Logger
	HTTP   *http.Client // for witnesses, nil = the default
}

// A Log is a transparency log of head statements and commitments.
type Log struct {
	config   LogConfig
	appender *tessera.Appender
	reader   tessera.LogReader
	stop     func()
	mux      http.ServeMux
	awaiter  awaiter

	bySource limiter[string]
	byKey    limiter[verifier.PublicKey]

	mu     sync.Mutex
	known  map[[32]byte]uint64              // statements, by their agent's signature
	latest map[verifier.PublicKey]knownHead // of what is known to be in the log
}

type knownHead struct {
	index, tick uint64
}

// maxKnown is how many statements are known again. Others are logged a second time,
// which does no harm.
const maxKnown = 1 << 18

// OpenLog opens a log, or makes one. One process serves it.
func OpenLog(ctx context.Context, c LogConfig) (*Log, error) {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Wait == 0 {
		c.Wait = 10 * time.Second
	}
	signer, err := c.Key.signer()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: c.Dir, HTTPClient: c.HTTP})
	if err != nil {
		return nil, err
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(c.Interval).
		WithBatching(256, min(c.Interval/2, 250*time.Millisecond)).WithPushback(16 << 10)
	if c.Policy != nil {
		group, err := tessera.NewWitnessGroupFromPolicy(c.Policy)
		if err != nil {
			return nil, err
		}
		options.WithWitnesses(group, &tessera.WitnessOptions{Timeout: 5 * time.Second})
	}
	ctx, cancel := context.WithCancel(ctx)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		cancel()
		return nil, err
	}
	l := &Log{config: c, appender: appender, reader: reader, known: map[[32]byte]uint64{}, latest: map[verifier.PublicKey]knownHead{}}
	l.awaiter.more = make(chan struct{})
	l.bySource.rate, l.byKey.rate = c.PerSource, c.PerKey
	l.stop = func() {
		done, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		if err := shutdown(done); err != nil {
			c.Logger.Warn("the log's last entries may not be published yet; they will be, when it is started again", "error", err)
		}
		cancel()
	}
	if err := l.readBack(ctx); err != nil {
		l.stop()
		return nil, fmt.Errorf("the log in %s cannot be read: %w", c.Dir, err)
	}
	go l.awaiter.run(ctx, l.reader, max(20*time.Millisecond, c.Interval/8))
	l.mux.HandleFunc("POST /igor/v1/add", l.add)
	l.mux.HandleFunc("GET /igor/v1/proof/{index}", l.proof)
	l.mux.HandleFunc("GET /igor/v1/key/{did}/proof", l.keyProof)
	files := http.FileServerFS(os.DirFS(c.Dir))
	l.mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		files.ServeHTTP(w, r)
	})
	l.mux.HandleFunc("GET /tile/", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		files.ServeHTTP(w, r)
	})
	return l, nil
}

// Close ends the log, after what it took is published.
func (l *Log) Close() { l.stop() }

func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.mux.ServeHTTP(w, r) }

// readBack learns the heads that are in the log.
func (l *Log) readBack(ctx context.Context) error {
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil {
		return err
	}
	for first := uint64(0); first < size; first += 256 {
		bundle, err := client.GetEntryBundle(ctx, l.reader.ReadEntryBundle, first/256, size)
		if err != nil {
			return err
		}
		for i, entry := range bundle.Entries {
			l.remember(entry, first+uint64(i))
		}
	}
	return nil
}

func (l *Log) remember(entry []byte, index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxKnown {
		clear(l.known)
	}
	l.known[signatureOf(entry)] = index
	h, err := witness.ParseHead(entry)
	if err != nil {
		return
	}
	if was, ok := l.latest[h.Agent]; !ok || h.Tick >= was.tick {
		l.latest[h.Agent] = knownHead{index, h.Tick}
	}
}

// signatureOf is what a statement is known by: its signature's first half, which nobody
// else can have for other bytes.
func signatureOf(entry []byte) (s [32]byte) {
	copy(s[:], entry[max(0, len(entry)-64):])
	return s
}

// authentic returns by whom a statement is.
func authentic(entry []byte) (k verifier.PublicKey, err error) {
	if h, err := witness.ParseHead(entry); err == nil {
		if !h.Authentic() {
			return k, errors.New("the statement is not signed by the key that it names")
		}
		return h.Agent, nil
	}
	c, err := witness.ParseCommitment(entry)
	switch {
	case err != nil:
		return k, errors.New("neither a head statement nor a commitment of version 1")
	case !c.Authentic():
		return k, errors.New("the commitment is not signed by the key that it names")
	}
	return c.Agent, nil
}

func (l *Log) add(w http.ResponseWriter, r *http.Request) {
	source, _, _ := net.SplitHostPort(r.RemoteAddr)
	now := time.Now()
	if !l.bySource.take(source, now) {
		tooMany(w)
		return
	}
	entry, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1024))
	if err != nil {
		http.Error(w, "longer than a statement is", http.StatusRequestEntityTooLarge)
		return
	}
	l.mu.Lock()
	index, known := l.known[signatureOf(entry)]
	l.mu.Unlock()
	if known {
		if same, err := l.entry(r.Context(), index); err != nil || string(same) != string(entry) {
			known = false
		}
	}
	future := tessera.IndexFuture(func() (tessera.Index, error) { return tessera.Index{Index: index}, nil })
	if !known {
		agent, err := authentic(entry)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !l.byKey.take(agent, now) {
			tooMany(w)
			return
		}
		future = l.appender.Add(context.WithoutCancel(r.Context()), tessera.NewEntry(entry))
	}
	at, err := future()
	if errors.Is(err, tessera.ErrPushback) {
		tooMany(w)
		return
	}
	if err != nil {
		l.config.Logger.Error("an entry was not taken", "error", err)
		http.Error(w, "the log cannot take it now", http.StatusServiceUnavailable)
		return
	}
	l.remember(entry, at.Index)
	ctx, done := context.WithTimeout(r.Context(), l.config.Wait)
	defer done()
	proof, err := l.published(ctx, at.Index, entry)
	if err != nil {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%d\n", at.Index)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(proof)
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "10")
	http.Error(w, "too many statements; later", http.StatusTooManyRequests)
}

// published returns a proof once the log has a checkpoint with the entry.
func (l *Log) published(ctx context.Context, index uint64, entry []byte) ([]byte, error) {
	for {
		newest, more := l.awaiter.newest()
		if newest.covers(index) {
			return l.prove(ctx, newest, index, entry)
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// An awaiter reads the checkpoint that is published, once for all who wait for it.
type awaiter struct {
	mu   sync.Mutex
	last *snapshot     // nil = none so far
	more chan struct{} // closed when there is another one
}

// newest returns the newest checkpoint, and what is closed when there is a newer one.
func (a *awaiter) newest() (*snapshot, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last, a.more
}

// read looks whether there is a newer checkpoint.
func (a *awaiter) read(ctx context.Context, reader tessera.LogReader) (*snapshot, error) {
	text, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return nil, errNotYet
	}
	size, err := checkpointSize(text)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Another reader may have been faster.
	if a.last == nil || size > a.last.size || size == a.last.size && !bytes.Equal(text, a.last.text) {
		p := &snapshot{text: text, size: size}
		if p.builder, err = client.NewProofBuilder(ctx, size, reader.ReadTile); err != nil {
			return nil, err
		}
		a.last = p
		close(a.more)
		a.more = make(chan struct{})
	}
	return a.last, nil
}

// run reads every now and then, until the context ends.
func (a *awaiter) run(ctx context.Context, reader tessera.LogReader, every time.Duration) {
	for ticker := time.NewTicker(every); ; {
		a.read(ctx, reader) // if it fails, the next time
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ticker.Stop()
			return
		}
	}
}

// A snapshot is a checkpoint, and makes proofs by it: what it has read of the tree, it knows.
type snapshot struct {
	text []byte
	size uint64

	mu      sync.Mutex
	builder *client.ProofBuilder
}

func (p *snapshot) covers(index uint64) bool { return p != nil && p.size > index }

// checkpointSize returns how many entries a checkpoint has.
func checkpointSize(text []byte) (uint64, error) {
	lines := strings.SplitN(string(text), "\n", 3)
	return strconv.ParseUint(lines[min(1, len(lines)-1)], 10, 63)
}

// errNotYet says that the log has not published so far.
var errNotYet = errors.New("the log has not come so far")

// prove makes a proof by a checkpoint that covers the entry.
func (l *Log) prove(ctx context.Context, p *snapshot, index uint64, entry []byte) (proof []byte, err error) {
	if entry == nil {
		if entry, err = l.entry(ctx, index); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	hashes, err := p.builder.InclusionProof(ctx, index)
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return formatProof(entry, index, hashes, p.text), nil
}

// formatProof writes a c2sp.org/tlog-proof.
func formatProof(extra []byte, index uint64, hashes [][]byte, checkpoint []byte) []byte {
	var b strings.Builder
	b.WriteString("c2sp.org/tlog-proof@v1\n")
	if extra != nil {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(extra) + "\n")
	}
	fmt.Fprintf(&b, "index %d\n", index)
	for _, h := range hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h) + "\n")
	}
	return []byte(b.String() + "\n" + string(checkpoint))
}

func (l *Log) entry(ctx context.Context, index uint64) ([]byte, error) {
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil || index >= size {
		return nil, errNotYet
	}
	bundle, err := client.GetEntryBundle(ctx, l.reader.ReadEntryBundle, index/256, size)
	if err != nil {
		return nil, err
	}
	return bundle.Entries[index%256], nil
}

func (l *Log) proof(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 63)
	if err != nil {
		http.Error(w, "the index is no number", http.StatusBadRequest)
		return
	}
	l.answer(w, r, index)
}

// keyProof answers with the newest head of a key: the one with the highest tick.
func (l *Log) keyProof(w http.ResponseWriter, r *http.Request) {
	agent, err := verifier.ParseDID(r.PathValue("did"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	at, ok := l.latest[agent]
	l.mu.Unlock()
	if !ok {
		http.Error(w, "no head of this key is in this log", http.StatusNotFound)
		return
	}
	l.answer(w, r, at.index)
}

func (l *Log) answer(w http.ResponseWriter, r *http.Request, index uint64) {
	if source, _, _ := net.SplitHostPort(r.RemoteAddr); !l.bySource.take(source, time.Now()) {
		tooMany(w)
		return
	}
	newest, err := l.awaiter.read(r.Context(), l.reader)
	var proof []byte
	switch {
	case err != nil:
	case !newest.covers(index):
		err = errNotYet
	default:
		proof, err = l.prove(r.Context(), newest, index, nil)
	}
	switch {
	case errors.Is(err, errNotYet):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		l.config.Logger.Error("a proof cannot be made", "index", index, "error", err)
		http.Error(w, "the proof cannot be made", http.StatusInternalServerError)
	default:
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Write(proof)
	}
}

// Size returns how many entries the published checkpoint has.
func (l *Log) Size() uint64 {
	b, err := os.ReadFile(filepath.Join(l.config.Dir, "checkpoint"))
	if err != nil {
		return 0
	}
	size, _ := checkpointSize(b)
	return size
}

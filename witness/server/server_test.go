package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"crypto/ed25519"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
	"igor.dev/verifier/witness"
	logs "igor.dev/witness"
)

var silent = slog.New(slog.DiscardHandler)

// A handler that is set later, since a policy has addresses.
type late struct {
	mu sync.Mutex
	h  http.Handler
}

func (l *late) set(h http.Handler) { l.mu.Lock(); l.h = h; l.mu.Unlock() }
func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	h := l.h
	l.mu.Unlock()
	if h == nil {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}

func serve(t testing.TB) (*late, string) {
	l := new(late)
	s := httptest.NewServer(l)
	t.Cleanup(s.Close)
	return l, s.URL
}

// A world is a log and three witnesses of which two have to cosign.
type world struct {
	t         testing.TB
	logKey    *Key
	url       string
	handler   *late
	witnesses []*late
	policy    []byte
	parsed    *witness.Policy
	client    *logs.Client
	log       *Log
}

func newWorld(t testing.TB, quorum string) *world {
	w := &world{t: t}
	var err error
	if w.logKey, err = OpenKey(filepath.Join(t.TempDir(), "key"), "log.example/heads", Signs); err != nil {
		t.Fatal(err)
	}
	w.handler, w.url = serve(t)
	text := "log " + w.logKey.String() + " " + w.url + "\n"
	for i := range 3 {
		key, err := OpenKey(filepath.Join(t.TempDir(), "key"), fmt.Sprintf("w%d.example", i), Cosigns)
		if err != nil {
			t.Fatal(err)
		}
		one, err := OpenWitness(WitnessConfig{Dir: t.TempDir(), Key: key, Logs: []string{w.logKey.String()}, Logger: silent})
		if err != nil {
			t.Fatal(err)
		}
		h, at := serve(t)
		h.set(one)
		w.witnesses = append(w.witnesses, h)
		text += fmt.Sprintf("witness W%d %s %s\n", i, key, at)
	}
	w.policy = []byte(text + "group two 2 W0 W1 W2\nquorum " + quorum + "\n")
	if w.parsed, err = witness.ParsePolicy(w.policy); err != nil {
		t.Fatal(err)
	}
	if w.client, err = logs.NewClient(w.parsed); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) open(dir string) {
	w.t.Helper()
	l, err := OpenLog(context.Background(), LogConfig{Dir: dir, Key: w.logKey, Policy: w.policy, Interval: 100 * time.Millisecond, Wait: 5 * time.Second, Logger: silent})
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = l
	w.handler.set(l)
	w.t.Cleanup(l.Close)
}

func (w *world) monitor(dir string, lives ...string) *Monitor {
	w.t.Helper()
	key, err := OpenKey(filepath.Join(w.t.TempDir(), "key"), "monitor.example", Signs)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := OpenMonitor(MonitorConfig{Dir: dir, Key: key, Policy: w.parsed, Lives: lives, Logger: silent})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { m.Close() })
	return m
}

func (w *world) add(entry []byte) []byte {
	w.t.Helper()
	ctx, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	b, err := w.client.Add(ctx, entry)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func headOf(by *testkit.Agent, checkpoint []byte) []byte {
	h := &witness.Head{Agent: verifier.PublicKey(by.Key), Tick: testkit.Tick(checkpoint), Checkpoint: testkit.Hash(checkpoint)}
	copy(h.Signature[:], ed25519.Sign(by.Private, h.AppendMessage(nil)))
	return h.Append(nil)
}

func report(t testing.TB, life [][]byte) *verifier.Report {
	pile := new(verifier.Pile)
	for _, c := range life {
		f := verifier.Examine(c)
		if err := pile.Add(&f, ""); err != nil {
			t.Fatal(err)
		}
	}
	return verifier.Link(pile, verifier.Pins{})
}

func get(t testing.TB, h http.Handler, path string) (int, []byte) {
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
	return r.Code, r.Body.Bytes()
}

// publish serves a life as docs/spec/publishing.md has it.
func publish(lives map[verifier.PublicKey][][]byte) http.Handler {
	blocks, index := map[string][]byte{}, map[string][]byte{}
	for agent, life := range lives {
		for _, c := range life {
			h := testkit.Hash(c)
			blocks["/"+published.BlockKey(h)] = c
			index["/"+published.IndexKey(agent)] = append(index["/"+published.IndexKey(agent)], h[:]...)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, ok := blocks[r.URL.Path]; ok {
			w.Write(b)
		} else if b, ok := index[r.URL.Path]; ok {
			w.Write(b)
		} else {
			http.NotFound(w, r)
		}
	})
}

func TestMain(m *testing.M) {
	klog.SetSlogLogger(silent) // Tessera's log
	os.Exit(m.Run())
}

var (
	alice = testkit.NewAgent("alice")
	key   = verifier.PublicKey(alice.Key)
)

// TestLogAndWitnesses has heads logged and cosigned; one of three witnesses may be down.
func TestLogAndWitnesses(t *testing.T) {
	w := newWorld(t, "two")
	dir := t.TempDir()
	w.open(dir)
	life := alice.History(3, 16)
	w.add(headOf(alice, life[0]))
	w.witnesses[1].set(nil)
	proof := w.add(headOf(alice, life[2]))
	r := report(t, life)
	(&witness.Beside{Policy: w.parsed, Proof: proof, Require: true}).Report(r)
	if r.Verdict() != verifier.Verified || r.Witnessed().Tick != 14 || len(r.Witnessed().Cosigners) != 2 || r.Witnessed().Before == 0 {
		t.Fatalf("%s, %+v", r.Verdict(), r.Witnessed())
	}
	if again := w.add(headOf(alice, life[2])); r.Witnessed().Index != 1 {
		t.Errorf("the same again: %s", again)
	}
	p, _ := witness.ParseProof(w.add(headOf(alice, life[2])))
	if p.Index != 1 {
		t.Errorf("the same statement is entry %d", p.Index)
	}
	newest, err := w.client.Newest(context.Background(), key)
	if err != nil || newest == nil || newest.Tick != 14 {
		t.Errorf("the newest is %+v, %v", newest, err)
	}
	if newest, err := w.client.Newest(context.Background(), verifier.PublicKey(testkit.NewAgent("nobody").Key)); err != nil || newest != nil {
		t.Errorf("of nobody: %+v, %v", newest, err)
	}

	// Tessera's own client reads it, and so does torchwood.
	u, _ := url.Parse(w.url + "/")
	fetcher, err := client.NewHTTPFetcher(u, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(w.logKey.String())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, v, v.Name())
	if err != nil || checkpoint.Size != 2 {
		t.Fatalf("%+v, %v", checkpoint, err)
	}
	bundle, err := client.GetEntryBundle(ctx, fetcher.ReadEntryBundle, 0, checkpoint.Size)
	if err != nil || len(bundle.Entries) != 2 || !bytes.Equal(bundle.Entries[1], headOf(alice, life[2])) {
		t.Fatalf("%d entries, %v", len(bundle.Entries), err)
	}

	// A log that is started again goes on, and knows whose heads it has.
	w.log.Close()
	w.open(dir)
	if newest, err := w.client.Newest(ctx, key); err != nil || newest == nil || newest.Tick != 14 {
		t.Errorf("after a start: %+v, %v", newest, err)
	}
	w.add(headOf(testkit.NewAgent("bob"), life[1]))
}

// TestTooFewWitnesses: nothing is published, the statement is not lost, and comes out once
// they are back.
func TestTooFewWitnesses(t *testing.T) {
	w := newWorld(t, "two")
	w.open(t.TempDir())
	w.log.config.Wait = 300 * time.Millisecond
	w.witnesses[0].set(nil)
	w.witnesses[1].set(nil)
	life := alice.History(2, 16)
	ctx, done := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer done()
	if _, err := w.client.Add(ctx, headOf(alice, life[1])); err == nil || !strings.Contains(err.Error(), "not published yet") {
		t.Fatalf("it was logged: %v", err)
	}
	if code, _ := get(t, w.log, "/checkpoint"); code == http.StatusOK {
		if _, b := get(t, w.log, "/checkpoint"); bytes.Contains(b, []byte("\n1\n")) {
			t.Errorf("it was published: %s", b)
		}
	}
}

// TestRefused: the log takes only what is signed, and not too much of it.
func TestRefused(t *testing.T) {
	w := newWorld(t, "none")
	dir := t.TempDir()
	l, err := OpenLog(context.Background(), LogConfig{Dir: dir, Key: w.logKey, Interval: 100 * time.Millisecond, Wait: time.Millisecond, Logger: silent, PerSource: Rate{0.001, 40}, PerKey: Rate{0.001, 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	post := func(b []byte) int {
		r := httptest.NewRecorder()
		l.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/igor/v1/add", bytes.NewReader(b)))
		return r.Code
	}
	life := alice.History(8, 16)
	good := headOf(alice, life[0])
	for name, b := range map[string][]byte{"nothing": nil, "a cut one": good[:156], "a long one": append(bytes.Clone(good), 0), "random bytes": bytes.Repeat([]byte{7}, 157), "a forged one": append(bytes.Clone(good[:156]), good[156]^1)} {
		if code := post(b); code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := post(make([]byte, 2000)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("2,000 bytes: %d", code)
	}
	took := 0
	for _, c := range life {
		switch code := post(headOf(alice, c)); code {
		case http.StatusOK, http.StatusAccepted:
			took++
		case http.StatusTooManyRequests:
		default:
			t.Errorf("%d", code)
		}
	}
	if took != 3 {
		t.Errorf("%d of %d by one key were taken", took, len(life))
	}
	if code := post(headOf(testkit.NewAgent("bob"), life[0])); code != http.StatusOK && code != http.StatusAccepted {
		t.Errorf("another key: %d", code)
	}
	for range 40 {
		post(nil)
	}
	if code := post(headOf(testkit.NewAgent("carol"), life[0])); code != http.StatusTooManyRequests {
		t.Errorf("a flood from one address: %d", code)
	}
	for _, path := range []string{"/.state/treeState", "/key", "/tile/", "/tile/../.state/treeState", "/"} {
		if code, _ := get(t, l, path); code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

// TestMonitorFindsForks: two heads of one tick, and two of different ticks between which
// there is no way.
func TestMonitorFindsForks(t *testing.T) {
	for _, kind := range []string{"two-heads", "head-off-chain"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, "two")
			w.open(t.TempDir())
			life := alice.History(4, 16)
			other := alice.After(life[1], testkit.Fields{Tick: testkit.Tick(life[2]), State: []byte("elsewhere")})
			later := alice.After(other, testkit.Fields{Tick: 40, State: []byte("and on")})
			h, at := serve(t)
			h.set(publish(map[verifier.PublicKey][][]byte{key: {life[0], life[1], other, later}}))
			dir := t.TempDir()
			m := w.monitor(dir, at)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go m.ask(ctx)
			w.add(headOf(alice, life[0]))
			w.add(headOf(alice, life[3]))
			if err := m.Read(ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			if code, _ := get(t, m, "/igor/v1/key/"+alice.DID()+"/fork"); code != http.StatusNotFound {
				t.Fatalf("an honest life is accused: %d", code)
			}
			second := later
			if kind == "two-heads" {
				second = alice.After(other, testkit.Fields{Tick: testkit.Tick(life[3]), State: []byte("twice")})
			}
			w.add(headOf(alice, second))
			if err := m.Read(ctx); err != nil {
				t.Fatal(err)
			}
			var b []byte
			for range 100 {
				var code int
				if code, b = get(t, m, "/igor/v1/key/"+alice.DID()+"/fork"); code == http.StatusOK {
					break
				}
				b = nil
				time.Sleep(50 * time.Millisecond)
			}
			p, err := witness.ParseForkProof(b)
			if err != nil {
				t.Fatal(err)
			}
			f, err := p.Check(w.parsed)
			if err != nil || f.Agent != key || f.Kind.String() != kind || f.Sides[0].Witnessed == nil || f.Sides[1].Witnessed == nil {
				t.Fatalf("%+v, %v", f, err)
			}
			// It holds without a log, and without knowing one.
			if _, err := p.Check(nil); err != nil {
				t.Error(err)
			}
			_, feed := get(t, m, "/igor/v1/forks")
			if n := bytes.Count(feed, []byte("\n")); n != 1 || !bytes.Contains(feed, []byte(alice.DID())) {
				t.Errorf("the feed: %s", feed)
			}
			// Its word says so, and a head that is demanded is none any more.
			_, word := get(t, m, "/igor/v1/key/"+alice.DID())
			monitor, err := witness.ParseMonitorKey(m.config.Key.String())
			if err != nil {
				t.Fatal(err)
			}
			r := report(t, life)
			(&witness.Beside{Policy: w.parsed, Proof: w.add(headOf(alice, life[3])), Monitor: monitor, Word: word, Require: true}).Report(r)
			if r.Verdict() == verifier.Verified || r.Witnessed().Monitor == nil || r.Witnessed().Monitor.Forks != 1 {
				t.Errorf("%s, %+v", r.Verdict(), r.Witnessed())
			}
			// A monitor that is started again knows all of it.
			m.Close()
			m = w.monitor(dir, at)
			size, heads, keys, forks, refused := m.State()
			if size != 3 || heads != 3 || keys != 1 || forks != 1 || refused != nil {
				t.Errorf("after a start: %d entries, %d heads, %d keys, %d forks, %v", size, heads, keys, forks, refused)
			}
		})
	}
}

// TestSplitView: a log that shows two people two trees under one key. Honest witnesses
// cosign one of them, so the other one counts nowhere.
func TestSplitView(t *testing.T) {
	w := newWorld(t, "two")
	w.open(t.TempDir())
	second := w.log // of the same key, and with the same witnesses, which know nothing of either yet
	w.open(t.TempDir())
	life := alice.History(3, 16)
	other := alice.After(life[1], testkit.Fields{Tick: testkit.Tick(life[2]), State: []byte("elsewhere")})
	good := w.add(headOf(alice, life[2]))

	w.handler.set(second)
	second.config.Wait = 300 * time.Millisecond
	ctx, done := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer done()
	if b, err := w.client.Add(ctx, headOf(alice, other)); err == nil {
		t.Fatalf("the witnesses cosigned two trees: %s", b)
	}

	// A log that publishes it without them convinces nobody.
	l, err := OpenLog(context.Background(), LogConfig{Dir: t.TempDir(), Key: w.logKey, Interval: 100 * time.Millisecond, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.handler.set(l)
	if b, err := w.client.Add(context.Background(), headOf(alice, other)); err == nil || !strings.Contains(err.Error(), "too few witnesses") {
		t.Fatalf("%s, %v", b, err)
	}
	r := report(t, life)
	(&witness.Beside{Policy: w.parsed, Proof: good, Require: true}).Report(r)
	if r.Verdict() != verifier.Verified {
		t.Errorf("the tree that was cosigned: %s", r.Verdict())
	}
	r = report(t, append(append([][]byte{}, life[:2]...), other))
	_, alone := get(t, l, "/igor/v1/key/"+alice.DID()+"/proof")
	(&witness.Beside{Policy: w.parsed, Proof: alone, Require: true}).Report(r)
	if r.Verdict() != verifier.Incomplete || r.Witnessed().Problem == "" {
		t.Errorf("the tree that was not: %s, %+v", r.Verdict(), r.Witnessed())
	}

	// A monitor has the policy too: it does not follow a tree that too few cosigned.
	m := w.monitor(t.TempDir())
	if err := m.Read(context.Background()); err == nil || !strings.Contains(err.Error(), "too few witnesses") {
		t.Errorf("the monitor reads it: %v", err)
	}
}

// TestAnythingSigner: one witness cosigns whatever it is shown. It is one of two that are
// needed, so it makes no second tree count.
func TestAnythingSigner(t *testing.T) {
	w := newWorld(t, "two")
	rogue, err := OpenKey(filepath.Join(t.TempDir(), "key"), "w0.example", Cosigns)
	if err != nil {
		t.Fatal(err)
	}
	// The policy has the rogue's key in the place of W0.
	lines := strings.Split(string(w.policy), "\n")
	words := strings.Fields(lines[1])
	words[2] = rogue.String()
	lines[1] = strings.Join(words, " ")
	w.policy = []byte(strings.Join(lines, "\n"))
	if w.parsed, err = witness.ParsePolicy(w.policy); err != nil {
		t.Fatal(err)
	}
	w.client, _ = logs.NewClient(w.parsed)
	signer, _ := rogue.signer()
	w.witnesses[0].set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, signed, _ := strings.Cut(string(b), "\n\n")
		text, _, _ := strings.Cut(signed, "\n\n")
		cosigned, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		rw.Write(cosigned[len(text)+2:])
	}))
	life := alice.History(3, 16)
	other := alice.After(life[1], testkit.Fields{Tick: testkit.Tick(life[2]), State: []byte("elsewhere")})
	w.open(t.TempDir())
	second := w.log
	w.open(t.TempDir())
	w.add(headOf(alice, life[2]))
	w.handler.set(second)
	second.config.Wait = 300 * time.Millisecond
	ctx, done := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer done()
	if b, err := w.client.Add(ctx, headOf(alice, other)); err == nil {
		t.Fatalf("a second tree counts: %s", b)
	}
}

// TestRollback: a log that goes back, or changes what it had, is not followed any more, and
// what it signed is kept.
func TestRollback(t *testing.T) {
	for name, entries := range map[string]int{"shorter": 1, "as long": 2, "longer": 3} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "none")
			life := alice.History(4, 16)
			w.open(t.TempDir())
			w.add(headOf(alice, life[0]))
			w.add(headOf(alice, life[1]))
			dir := t.TempDir()
			m := w.monitor(dir)
			if err := m.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.log.Close()
			w.open(t.TempDir())
			for i := range entries {
				w.add(headOf(alice, alice.After(life[0], testkit.Fields{Tick: uint64(50 + i), State: []byte("another past")})))
			}
			var back *RolledBackError
			if err := m.Read(t.Context()); !errors.As(err, &back) {
				t.Fatalf("it is followed: %v", err)
			}
			if size, heads, _, _, refused := m.State(); size != 2 || heads != 2 || refused == nil {
				t.Errorf("%d entries, %d heads, %v", size, heads, refused)
			}
			if kept, _ := filepath.Glob(filepath.Join(dir, "rolled-back-*")); len(kept) != 1 {
				t.Errorf("evidence: %q", kept)
			}
			if err := m.Read(t.Context()); !errors.As(err, &back) {
				t.Errorf("it is followed again: %v", err)
			}
		})
	}
}

// TestStaleCheckpoint: a cache shows what the log had before. That is no rollback: once it shows
// the newest again, it is followed.
func TestStaleCheckpoint(t *testing.T) {
	w := newWorld(t, "none")
	life := alice.History(4, 16)
	w.open(t.TempDir())
	w.add(headOf(alice, life[0]))
	_, stale := get(t, w.log, "/checkpoint")
	w.add(headOf(alice, life[1]))
	m := w.monitor(t.TempDir())
	if err := m.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.handler.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/checkpoint" {
			rw.Write(stale)
			return
		}
		w.log.ServeHTTP(rw, r)
	}))
	var back *RolledBackError
	if err := m.Read(t.Context()); !errors.As(err, &back) {
		t.Fatalf("an older tree is read: %v", err)
	}
	if _, heads, _, _, refused := m.State(); heads != 2 || refused == nil {
		t.Errorf("%d heads, %v", heads, refused)
	}
	w.handler.set(w.log)
	w.add(headOf(alice, life[2]))
	if err := m.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, heads, _, _, refused := m.State(); heads != 3 || refused != nil {
		t.Errorf("%d heads, %v", heads, refused)
	}
}

// TestPublishedLate: the life is published when nobody logs anything any more. The monitor asks
// again; so does one that was started again meanwhile.
func TestPublishedLate(t *testing.T) {
	w := newWorld(t, "none")
	w.open(t.TempDir())
	life := alice.History(4, 16)
	other := alice.After(life[1], testkit.Fields{Tick: testkit.Tick(life[2]), State: []byte("elsewhere")})
	later := alice.After(other, testkit.Fields{Tick: 40, State: []byte("and on")})
	h, at := serve(t)
	w.add(headOf(alice, life[3]))
	w.add(headOf(alice, later))
	dir := t.TempDir()
	m := w.monitor(dir, at)
	m.config.Interval = 20 * time.Millisecond
	if err := m.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); m.ask(ctx) }()
	waitFor(t, "a question that nobody answers", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.unanswered) == 1
	})
	stop()
	<-ended
	m.Close()
	m = w.monitor(dir, at)
	m.config.Interval = 20 * time.Millisecond
	if err := m.Read(t.Context()); err != nil { // nothing is new
		t.Fatal(err)
	}
	go m.ask(t.Context())
	waitFor(t, "the question to be asked again", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.unanswered) == 1
	})
	h.set(publish(map[verifier.PublicKey][][]byte{key: {life[0], life[1], other, later}}))
	waitFor(t, "the fork", func() bool {
		code, _ := get(t, m, "/igor/v1/key/"+alice.DID()+"/fork")
		return code == http.StatusOK
	})
}

// TestLeadsElsewhere: who publishes a life does not make the monitor ask its neighbours.
func TestLeadsElsewhere(t *testing.T) {
	w := newWorld(t, "none")
	h, at := serve(t)
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	h.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)+"/", http.StatusFound)
	}))
	m := w.monitor(t.TempDir(), at)
	if b, err := m.get(t.Context(), at+"/igor/x", 10); err == nil || asked {
		t.Errorf("%q came from elsewhere", b)
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 600 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("waited in vain for ", what)
}

// TestOmission: a monitor that leaves something out cannot make a stale head green where
// another one is asked, and what it says is said to be its word.
func TestOmission(t *testing.T) {
	w := newWorld(t, "two")
	w.open(t.TempDir())
	life := alice.History(4, 16)
	old := w.add(headOf(alice, life[2]))
	w.add(headOf(alice, life[3]))
	honest := w.monitor(t.TempDir())
	if err := honest.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The liar forgets the newest head.
	liar := w.monitor(t.TempDir())
	if err := liar.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	liar.keys[key].all = liar.keys[key].all[:1]
	for name, c := range map[string]struct {
		m     *Monitor
		green bool
	}{"honest": {honest, false}, "liar": {liar, true}} {
		_, word := get(t, c.m, "/igor/v1/key/"+alice.DID())
		k, err := witness.ParseMonitorKey(c.m.config.Key.String())
		if err != nil {
			t.Fatal(err)
		}
		r := report(t, life[:3])
		(&witness.Beside{Policy: w.parsed, Proof: old, Monitor: k, Word: word, Require: true}).Report(r)
		if (r.Verdict() == verifier.Verified) != c.green {
			t.Errorf("%s: %s, %+v", name, r.Verdict(), r.Witnessed())
		}
		if c.green && (!strings.Contains(r.Witnessed().Says(), "says monitor.example") || !strings.Contains(r.Witnessed().Says(), "never logged is not excluded") ||
			!strings.Contains(r.DoesNotProve(), "that no newer checkpoint exists") || !strings.Contains(r.DoesNotProve(), "never signed another history")) {
			t.Errorf("it says more than was shown: %s\n%s", r.Witnessed().Says(), r.DoesNotProve())
		}
	}
}

// TestWitnessProtocol: what a witness refuses.
func TestWitnessProtocol(t *testing.T) {
	logKey, err := OpenKey(filepath.Join(t.TempDir(), "key"), "log.example", Signs)
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := logKey.signer()
	stranger, _ := OpenKey(filepath.Join(t.TempDir(), "key"), "log.example", Signs)
	strange, _ := stranger.signer()
	key, _ := OpenKey(filepath.Join(t.TempDir(), "key"), "w.example", Cosigns)
	dir := t.TempDir()
	w, err := OpenWitness(WitnessConfig{Dir: dir, Key: key, Logs: []string{logKey.String()}, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i := range int64(9) {
		more, err := tlog.StoredHashes(i, fmt.Appendf(nil, "%d", i), reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	request := func(old, size int64, by note.Signer, change func(string) string) string {
		hash, err := tlog.TreeHash(size, reader)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: "log.example", Tree: tlog.Tree{N: size, Hash: hash}}.String()}, by)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("old %d\n", old)
		if old > 0 && old < size {
			proof, err := tlog.ProveTree(size, old, reader)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range proof {
				s += h.String() + "\n"
			}
		}
		s += "\n" + string(signed)
		if change != nil {
			s = change(s)
		}
		return s
	}
	post := func(body string) (int, string) {
		r := httptest.NewRecorder()
		w.ServeHTTP(r, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(body)))
		return r.Code, r.Body.String()
	}
	other := strings.NewReplacer("log.example\n", "other.example\n")
	steps := []struct {
		name string
		body string
		want int
	}{
		{"the first", request(0, 3, signer, nil), 200},
		{"the first again", request(0, 3, signer, nil), 409},
		{"the same size", request(3, 3, signer, nil), 200},
		{"it grows", request(3, 7, signer, nil), 200},
		{"it goes back", request(7, 5, signer, nil), 400},
		{"an old size", request(3, 9, signer, nil), 409},
		{"no proof", request(7, 9, signer, func(s string) string { _, n, _ := strings.Cut(s, "\n\n"); return "old 7\n\n" + n }), 422},
		{"a stranger's signature", request(7, 9, strange, nil), 403},
		{"another log", request(7, 9, signer, other.Replace), 404},
		{"nothing", "", 400},
		{"no old size", "\n\n", 400},
		{"a negative one", "old -1\n\nlog.example\n", 400},
		{"it goes on", request(7, 9, signer, nil), 200},
	}
	v, err := torchwood.NewCosignatureVerifier(key.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		code, body := post(s.body)
		if code != s.want {
			t.Errorf("%s: %d %q, want %d", s.name, code, body, s.want)
		}
		if code == 200 {
			_, signed, _ := strings.Cut(s.body, "\n\n")
			if _, err := note.Open([]byte(signed+body), note.VerifierList(v)); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		if s.name == "it grows" { // another process goes on with the same folder
			if w, err = OpenWitness(WitnessConfig{Dir: dir, Key: key, Logs: []string{logKey.String()}, Logger: silent}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What it cosigned is damaged: it does not begin anew.
	for _, e := range func() []os.DirEntry { all, _ := os.ReadDir(dir); return all }() {
		os.WriteFile(filepath.Join(dir, e.Name()), []byte("log.example\n1\n"), 0o600)
	}
	if code, _ := post(request(0, 3, signer, nil)); code != 500 {
		t.Errorf("a damaged memory: %d", code)
	}
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "key")
	k, err := OpenKey(file, "log.example", Signs)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenKey(file, "log.example", Signs)
	if err != nil || again.String() != k.String() {
		t.Fatalf("%v, %v", again, err)
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
	b, _ := os.ReadFile(file)
	if _, err := OpenKey(file, "other.example", Signs); err == nil {
		t.Error("a key of another name")
	}
	if _, err := OpenKey(file, "log.example", Cosigns); err == nil {
		t.Error("a key of another type")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		os.WriteFile(file, bad, 0o600)
		if _, err := OpenKey(file, "log.example", Signs); err == nil || strings.Contains(err.Error(), string(b[20:])) {
			t.Errorf("byte %d does not count: %v", i, err)
		}
		if got, _ := os.ReadFile(file); !bytes.Equal(got, bad) {
			t.Fatal("it was replaced")
		}
	}
	for _, name := range []string{"", "a b", "a+b"} {
		if _, err := OpenKey(filepath.Join(t.TempDir(), "key"), name, Signs); err == nil {
			t.Errorf("the name %q", name)
		}
	}
}

// A sizedReader has a checkpoint of a tree of so many entries, 0 = none, and counts how often
// it is read.
type sizedReader struct {
	tessera.LogReader
	reads, size atomic.Int64
}

func (r *sizedReader) ReadCheckpoint(context.Context) ([]byte, error) {
	r.reads.Add(1)
	if n := r.size.Load(); n > 0 {
		return fmt.Appendf(nil, "log.example\n%d\nroot\n", n), nil
	}
	return nil, os.ErrNotExist
}

// TestAwaiter has a thousand wait for one checkpoint, which one reads for them all.
func TestAwaiter(t *testing.T) {
	reader := &sizedReader{}
	l := &Log{reader: reader}
	l.awaiter.more = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const waiters = 1000
	var all sync.WaitGroup
	var got atomic.Int64
	for range waiters {
		all.Go(func() {
			if proof, err := l.published(ctx, 0, []byte("entry")); err == nil && strings.Contains(string(proof), "index 0\n\nlog.example\n1\n") {
				got.Add(1)
			}
		})
	}
	late, give := context.WithCancel(ctx)
	var one sync.WaitGroup
	one.Go(func() {
		if _, err := l.published(late, 1, []byte("entry")); !errors.Is(err, context.Canceled) {
			t.Error("who gave up got", err)
		}
	})
	go l.awaiter.run(ctx, reader, time.Millisecond)
	for reader.reads.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	if got.Load() != 0 {
		t.Error("a proof by no checkpoint")
	}
	reader.size.Store(1)
	all.Wait()
	if n := got.Load(); n != waiters {
		t.Errorf("%d of %d got it", n, waiters)
	}
	give()
	one.Wait()
	newest, more := l.awaiter.newest()
	reader.size.Store(2)
	<-more
	if after, _ := l.awaiter.newest(); newest.size != 1 || after.size != 2 {
		t.Errorf("sizes %d and %d", newest.size, after.size)
	}
	// An older one, as a slow reader has it, replaces nothing.
	reader.size.Store(1)
	if p, err := l.awaiter.read(ctx, reader); err != nil || p.size != 2 {
		t.Error(p.size, err)
	}
}

package publish

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/internal/public"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// serveTree serves a folder as igor serve does.
func serveTree(t testing.TB, dirs ...string) *Server {
	t.Helper()
	s := new(Server)
	for _, dir := range dirs {
		tree, err := OpenTree(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tree.Close() })
		s.Trees = append(s.Trees, tree)
	}
	return s
}

func listen(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// quick makes failures fast.
func quick(t testing.TB) Limits {
	before := pause
	pause = time.Millisecond
	t.Cleanup(func() { pause = before })
	return Limits{Stall: 300 * time.Millisecond, Slowest: 4096}
}

type asked struct {
	mu    sync.Mutex
	paths []string
}

func (a *asked) of(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.paths = append(a.paths, r.URL.Path)
		a.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

func (a *asked) matching(part string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.paths {
		if strings.Contains(p, part) {
			n++
		}
	}
	return n
}

// TestFetch fetches by DID, by CID, by addresses, and asks for nothing that it needs not.
func TestFetch(t *testing.T) {
	smallSegments(t, 16)
	life := testkit.NewAgent("alice").History(100, 200)
	agent := agentOf(t, life[0])
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	var a asked
	url := listen(t, a.of(serveTree(t, dir)))
	for _, c := range []struct {
		what     string
		from     []string
		requests int
	}{
		{agent.DID(), []string{url}, 1 + 6 + 1},
		{agent.DID(), []string{url + "/"}, 8},
		{agent.DID(), []string{url + "/" + published.HeadKey(agent)}, 8},
		{agent.DID(), []string{url, dir}, 8},
		{url + "/igor/" + agent.DID(), nil, 8},
		{url + "/igor/" + agent.DID() + "/head", nil, 8},
		{cidOf(life[99]).CID(), []string{url}, 9},
		{"ipfs://" + cidOf(life[30]).CID(), []string{url}, 9},
		{url + "/ipfs/" + cidOf(life[30]).CID() + "?format=raw", nil, 9},
		{"https://verifier.example/load.html?did=" + agent.DID() + "&from=" + url, nil, 8},
	} {
		a.paths = nil
		address, err := ParseAddress(c.what)
		if err != nil {
			t.Fatal(err)
		}
		address.From = append(c.from, address.From...)
		var out bytes.Buffer
		got, err := Fetch(context.Background(), &Request{Address: *address}, &out)
		if err != nil || got.Slow != "" || got.Apart || !bytes.Equal(out.Bytes(), carOf(life)) || got.Agent != agent || got.Tick != testkit.Tick(life[99]) || got.Checkpoints != 100 {
			t.Errorf("%+v: %d bytes, %+v: %v", c, out.Len(), got, err)
		}
		if len(a.paths) != c.requests {
			t.Errorf("%+v: asked for %q", c, a.paths)
		}
	}
}

// A fault is what a server does wrong. Where it gives nothing back, the request goes on.
type fault func(w http.ResponseWriter, r *http.Request) bool

// faulty is a server with a fault.
func faulty(h http.Handler, f fault) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f == nil || !f(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

func on(part string, f func(w http.ResponseWriter, r *http.Request)) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		f(w, r)
		return true
	}
}

func gives(b []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { w.Write(b) }
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// TestFaults: a server that lies, fails or does not end gets nobody to believe what is not so.
// Either the life comes as it is, another way, or there is an error that says what is wrong.
func TestFaults(t *testing.T) {
	smallSegments(t, 16)
	limits := quick(t)
	alice := testkit.NewAgent("alice")
	life := alice.History(100, 200)
	other := append(slices.Clone(life[:20]), after(alice, life[19], 80, 100)...)
	agent := agentOf(t, life[0])
	dir, otherDir, bob := t.TempDir(), t.TempDir(), t.TempDir()
	mustPublish(t, dir, life, Options{})
	mustPublish(t, otherDir, other, Options{})
	mustPublish(t, bob, testkit.NewAgent("bob").History(40, 10), Options{})
	read := func(dir, key string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	segment := func(n uint64) []byte { return read(dir, published.SegmentKey(agent, n)) }
	head := read(dir, published.HeadKey(agent))
	headAs := func(change func(h *published.Head)) []byte {
		h, err := published.ParseHead(head)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		return h.Append(nil)
	}
	index := read(dir, published.IndexKey(agent))
	wrongIndex := bytes.Clone(index)
	for i := range wrongIndex {
		wrongIndex[i] ^= byte(i)
	}
	endless := func(start []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Write(start)
			junk := make([]byte, 64<<10)
			for r.Context().Err() == nil {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}
	}
	var flaky atomic.Int64
	zipped := func(b []byte) func(http.ResponseWriter, *http.Request) {
		var out bytes.Buffer // once: on a machine that is busy it takes longer than an answer may
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(out.Bytes())
		}
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte{0x3a}); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}
	all := func(fs ...fault) fault {
		return func(w http.ResponseWriter, r *http.Request) bool {
			return slices.ContainsFunc(fs, func(f fault) bool { return f(w, r) })
		}
	}
	seg := func(n int) string { return fmt.Sprintf("/segments/%d.car", n) }
	flip := bytes.Clone(segment(2))
	flip[len(flip)-30] ^= 1
	cases := []struct {
		name  string
		fault fault
		slow  string // the life comes, and this is why it is slow
		err   string // or it does not
	}{
		{"nothing", nil, "", ""},
		{"429 and 503 now and then", func(w http.ResponseWriter, r *http.Request) bool {
			if flaky.Add(1)%3 == 0 {
				w.WriteHeader([]int{429, 503, 500}[flaky.Load()%9/3])
				return true
			}
			return false
		}, "", ""},
		{"connections that break", func(w http.ResponseWriter, r *http.Request) bool {
			if flaky.Add(1)%2 == 0 && strings.HasSuffix(r.URL.Path, ".car") {
				w.Header().Set("Content-Length", fmt.Sprint(len(segment(0))))
				w.Write(segment(0)[:1000])
				panic(http.ErrAbortHandler)
			}
			return false
		}, "", ""},
		{"a segment is missing", on(seg(2), status(404)), "segments/2.car", ""},
		{"two segments are missing", all(on(seg(1), status(404)), on(seg(4), status(404))), "segments/1.car", ""},
		{"all segments are missing", on(".car", status(404)), "segments/0.car", ""},
		{"the tail is missing", on("/tail/", status(404)), "/tail/", ""},
		{"segments are swapped", all(on(seg(1), gives(segment(2))), on(seg(2), gives(segment(1)))), "segments/1.car", ""},
		{"a segment is repeated", on(seg(3), gives(segment(2))), "does not go on", ""},
		{"a segment is cut", on(seg(2), gives(segment(2)[:2000])), "it is cut", ""},
		{"a segment is cut between blocks", on(seg(2), gives(carOf(life[32:47])[:])), "segments/3.car", ""},
		{"a bit of a segment is flipped", on(seg(2), gives(flip)), "CID that it is filed under", ""},
		{"a segment is a page", on(seg(2), gives([]byte("<!doctype html><p>hello"))), "it is no CAR", ""},
		{"a segment is a gzip bomb", on(seg(2), zipped(make([]byte, 20<<20))), "compressed", ""},
		{"a segment has no end", on(seg(2), endless(segment(2))), "", "over the limit of bytes"},
		{"a segment has no byte", on(seg(2), gives(nil)), "it is no CAR", ""},
		{"a segment comes a byte at a time", on(seg(2), drip), "too slowly", ""},
		{"a segment never comes", on(seg(2), func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "segments/2.car", ""},
		{"another future's segments", on(seg(2), gives(read(otherDir, published.SegmentKey(agent, 2)))), "segments/2.car", ""},
		{"another future's from there on", faultsFrom(serveTree(t, otherDir), "/segments/", 2), "segments/2.car", ""},
		{"segments and the index are missing", all(on(".car", status(404)), on("/index", status(404))), "the index cannot be used", ""},
		{"segments are missing and the index is wrong", all(on(".car", status(404)), on("/index", gives(wrongIndex))), "the index names", ""},
		{"segments are missing and the index is short", all(on(".car", status(404)), on("/index", gives(index[:64]))), "the index cannot be used", ""},
		{"segments are missing and the index is another life's", all(on(".car", status(404)), on("/index", gives(read(otherDir, published.IndexKey(agent))))), "segments/0.car", ""},
		{"segments are missing and a block is wrong", all(on(".car", status(404)), on("/ipfs/"+cidOf(life[50]).CID(), gives(life[51]))), "", "not what has this CID"},
		{"segments are missing and a block is there no more", all(on(".car", status(404)), on("/ipfs/"+cidOf(life[50]).CID(), status(404))), "", "it has not the checkpoint"},
		{"segments are missing and a block is a gzip bomb", all(on(".car", status(404)), on("/ipfs/"+cidOf(life[50]).CID(), zipped(make([]byte, 20<<20)))), "", "compressed"},
		{"no head", on("/head", status(404)), "", "has no life of did:key:"},
		{"the head is a page", on("/head", gives([]byte("<!doctype html>\n<p>hello"))), "", "does not begin with igor/head/v1"},
		{"the head is another agent's", on("/head", gives(read(bob, published.HeadKey(agentOf(t, testkit.NewAgent("bob").History(1, 10)[0]))))), "", "the head of another agent"},
		{"the head has no end", on("/head", endless([]byte("igor/head/v1\n"))), "", "sends more than there can be"},
		{"the head never comes", on("/head", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "", ""},
		{"the head is compressed", on("/head", zipped(head)), "", "compressed"},
		{"the head is forbidden", on("/head", status(403)), "", "HTTP status 403"},
		{"the head names a checkpoint that is nowhere", on("/head", gives(headAs(func(h *published.Head) { h.Checkpoint[3] ^= 1 }))), "", "it has not the checkpoint"},
		{"the head says more checkpoints than there are", on("/head", gives(headAs(func(h *published.Head) { h.Checkpoints++; h.Tail++ }))), "101 checkpoints", ""},
		{"the head says fewer", on("/head", gives(headAs(func(h *published.Head) { h.Checkpoints = 98; h.Tail = 2 }))), "more checkpoints than the head says", ""},
		{"the head says a million segments", on("/head", gives(headAs(func(h *published.Head) { h.Checkpoints, h.Segments, h.Tail = 9_999_999, 1_000_000, 0 }))), "segments/6.car", ""},
		{"the head says more than the limit", on("/head", gives(headAs(func(h *published.Head) { h.Checkpoints, h.Segments, h.Tail = 10_000_001, 1, 0 }))), "", "over the limit"},
		{"a redirect to this machine", on(seg(2), redirect("http://127.0.0.1:1/x")), "not public", ""},
		{"a redirect to a private address", on("/head", redirect("http://10.0.0.1/x")), "", "not public"},
		{"a redirect to metadata", on("/head", redirect("http://169.254.169.254/latest/meta-data")), "", "not public"},
		{"a redirect to a name of this machine", on("/head", redirect("http://localhost:1/x")), "", "not public"},
		{"a redirect to an address in other digits", on("/head", redirect("http://[::ffff:127.0.0.1]:1/x")), "", "not public"},
		{"a redirect to a file", on("/head", redirect("file:///etc/passwd")), "", "something else than https"},
		{"a redirect to another scheme", on("/head", redirect("gopher://example.com/")), "", "something else than https"},
		{"a redirect with a password", on("/head", redirect("https://a:b@example.com/")), "", "something else than https"},
		{"redirects without end", on("/head", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }), "", "redirects too often"},
		{"an old head", on("/head", gives(read(dir, published.HeadKey(agent)))), "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := listen(t, faulty(serveTree(t, dir), c.fault))
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			l := limits
			l.Bytes = 4 << 20
			got, err := Fetch(ctx, &Request{Address: Address{Agent: &agent, From: []string{url}}, Limits: l}, &out)
			if ctx.Err() != nil {
				t.Fatal("it takes a minute")
			}
			expectFails := c.err != "" || c.name == "the head never comes"
			switch {
			case err != nil && !expectFails:
				t.Errorf("failed: %v", err)
			case err != nil && !strings.Contains(err.Error(), c.err):
				t.Errorf("%v, want %s", err, c.err)
			case err == nil && expectFails:
				t.Errorf("fetched %+v", got)
			case err == nil && (!bytes.Equal(out.Bytes(), carOf(life)) || !strings.Contains(got.Slow, c.slow) || (c.slow == "") != (got.Slow == "")):
				t.Errorf("%d bytes, slow for %q", out.Len(), got.Slow)
			}
			if err != nil && verdict(t, out.Bytes()) == "verified" {
				t.Error("what was written before the error is verified")
			}
			if err != nil {
				if e, ok := errors.AsType[*Error](err); !ok || e.Hint() == "" {
					t.Errorf("%v has no next step", err)
				}
			}
		})
	}
}

func redirect(to string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(302)
	}
}

// faultsFrom has another server answer from a segment on.
func faultsFrom(h http.Handler, part string, from int) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		_, name, ok := strings.Cut(r.URL.Path, part)
		n := 0
		if _, err := fmt.Sscanf(name, "%d.car", &n); !ok || err != nil || n < from {
			return false
		}
		h.ServeHTTP(w, r)
		return true
	}
}

// TestPrevHashAlone follows a life back from a CID, with nothing but /ipfs/CID.
func TestPrevHashAlone(t *testing.T) {
	quick(t)
	life := testkit.NewAgent("alice").History(60, 20)
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{Blocks: true})
	var a asked
	url := listen(t, a.of(faulty(serveTree(t, dir), on("/igor/", status(404)))))
	h := cidOf(life[49])
	var out bytes.Buffer
	progress := new(Progress)
	got, err := Fetch(context.Background(), &Request{Address: Address{Checkpoint: &h, From: []string{url}}, Progress: progress}, &out)
	if err != nil || !bytes.Equal(out.Bytes(), carOf(life[:50])) || got.Head != h {
		t.Fatal(got, err)
	}
	if !strings.Contains(got.Slow, "no server has a head") || !strings.Contains(progress.String(), "that is slow") || a.matching("/ipfs/") != 50 {
		t.Errorf("%q, %s, %d", got.Slow, progress, a.matching("/ipfs/"))
	}
	if _, err := Fetch(context.Background(), &Request{Address: Address{Checkpoint: &h, From: []string{url}}, Limits: Limits{Singly: 20}}, io.Discard); err == nil || !strings.Contains(err.Error(), "over 20 checkpoints") {
		t.Error(err)
	}
	if _, err := Fetch(context.Background(), &Request{Address: Address{Checkpoint: &h, From: []string{url}}, Limits: Limits{Bytes: 3000}}, io.Discard); err == nil || !strings.Contains(err.Error(), "limit") && !strings.Contains(err.Error(), "more than there can be") {
		t.Error(err)
	}
}

// TestSeveral asks several servers: the one that went furthest is read, and what it lacks
// comes from the others. An old head is seen.
func TestSeveral(t *testing.T) {
	smallSegments(t, 16)
	quick(t)
	life := testkit.NewAgent("alice").History(100, 50)
	agent := agentOf(t, life[0])
	old, new := t.TempDir(), t.TempDir()
	mustPublish(t, old, life[:70], Options{})
	mustPublish(t, new, life, Options{})
	oldURL := listen(t, serveTree(t, old))
	newURL := listen(t, serveTree(t, new))
	down := "http://127.0.0.1:1/"
	car, got, err := fetchFrom(t, agent, down, oldURL, newURL)
	if err != nil || !bytes.Equal(car, carOf(life)) || got.From != newURL || got.Servers[0].Err == nil || got.Servers[1].Head.Checkpoints != 70 {
		t.Errorf("%+v: %v", got, err)
	}
	// Alone, the old one is believed as far as it goes.
	if car, _, err := fetchFrom(t, agent, oldURL); err != nil || !bytes.Equal(car, carOf(life[:70])) {
		t.Error(err)
	}
	// A newer checkpoint than a server's head shows that the head is old.
	h := cidOf(life[99])
	var out bytes.Buffer
	got, err = Fetch(context.Background(), &Request{Address: Address{Checkpoint: &h, From: []string{oldURL, listen(t, faulty(serveTree(t, new), on("/igor/", status(404))))}}}, &out)
	if err != nil || !bytes.Equal(out.Bytes(), carOf(life)) || !strings.Contains(got.Slow, "newer than the head") {
		t.Errorf("%+v: %v", got, err)
	}
	// A server that lost a segment is helped out.
	broken := listen(t, faulty(serveTree(t, new), func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/segments/5") || strings.Contains(r.URL.Path, "/ipfs/") {
			w.WriteHeader(404)
			return true
		}
		return false
	}))
	if car, _, err := fetchFrom(t, agent, broken, newURL); err != nil || !bytes.Equal(car, carOf(life)) {
		t.Error(err)
	}
}

// TestBoaster: a server that says that the life went further than it did keeps nobody from
// hearing the others.
func TestBoaster(t *testing.T) {
	smallSegments(t, 16)
	quick(t)
	life := testkit.NewAgent("alice").History(100, 5000)
	agent := agentOf(t, life[0])
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	head, err := os.ReadFile(filepath.Join(dir, published.HeadKey(agent)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := published.ParseHead(head)
	if err != nil {
		t.Fatal(err)
	}
	h.Tick, h.Checkpoint = 1<<63, cidOf([]byte("none"))
	honest := listen(t, serveTree(t, dir))
	for name, fault := range map[string]fault{
		"with nothing behind it": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/head") {
				w.Write(h.Append(nil))
			} else {
				w.WriteHeader(404)
			}
			return true
		},
		"with all but the end": on("/head", gives(h.Append(nil))),
	} {
		boaster := listen(t, faulty(serveTree(t, dir), fault))
		file, err := os.Create(filepath.Join(t.TempDir(), "life.car"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Fetch(context.Background(), &Request{Address: Address{Agent: &agent, From: []string{boaster, honest}}}, file)
		file.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, err := os.ReadFile(file.Name()); err != nil || !bytes.Equal(b, carOf(life)) || got.From != honest || got.Servers[0].Err == nil {
			t.Errorf("%s: %+v: %v", name, got, err)
		}
	}
}

// TestApart: a checkpoint that is in another future than the server's is a fork, and seen
// as one.
func TestApart(t *testing.T) {
	smallSegments(t, 16)
	alice := testkit.NewAgent("alice")
	life := alice.History(40, 50)
	fork := after(alice, life[20], 1, 30)
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	if err := os.WriteFile(filepath.Join(dir, published.BlockKey(cidOf(fork[0]))), fork[0], 0o666); err != nil {
		t.Fatal(err)
	}
	h := cidOf(fork[0])
	var out bytes.Buffer
	got, err := Fetch(context.Background(), &Request{Address: Address{Checkpoint: &h, From: []string{listen(t, serveTree(t, dir))}}}, &out)
	if err != nil || !got.Apart || verdict(t, out.Bytes()) != "invalid" {
		t.Error(got, err, verdict(t, out.Bytes()))
	}
}

// TestGoesOn interrupts a fetch again and again: each goes on where the one before it ended.
func TestGoesOn(t *testing.T) {
	smallSegments(t, 4)
	quick(t)
	life := testkit.NewAgent("alice").History(100, 3000)
	agent := agentOf(t, life[0])
	dir, keep := t.TempDir(), t.TempDir()
	mustPublish(t, dir, life, Options{})
	var served atomic.Int64
	var a asked
	url := listen(t, a.of(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serveTree(t, dir).ServeHTTP(&stopper{w, &served, 60_000}, r)
	})))
	total := int64(0)
	for range 30 {
		served.Store(0)
		var out bytes.Buffer
		got, err := Fetch(context.Background(), &Request{Address: Address{Agent: &agent, From: []string{url}}, Keep: keep, Limits: Limits{Parallel: 2}}, &out)
		total += served.Load()
		if err != nil {
			continue
		}
		if !bytes.Equal(out.Bytes(), carOf(life)) || got.Slow != "" {
			t.Error(got)
		}
		if size := int64(len(carOf(life))); total > size*3/2 {
			t.Errorf("%d bytes came for %d", total, size)
		}
		return
	}
	t.Error("it never ends")
}

// A stopper breaks connections once so many bytes were sent.
type stopper struct {
	http.ResponseWriter
	sent *atomic.Int64
	most int64
}

func (s *stopper) Write(b []byte) (int, error) {
	if s.sent.Load() > s.most {
		panic(http.ErrAbortHandler)
	}
	b = b[:min(len(b), 2000)]
	n, err := s.ResponseWriter.Write(b)
	s.sent.Add(int64(n))
	s.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// TestKeptFromElsewhere: what an earlier fetch left of another life is not taken for this one.
func TestKeptFromElsewhere(t *testing.T) {
	smallSegments(t, 4)
	life := testkit.NewAgent("alice").History(20, 30)
	agent := agentOf(t, life[0])
	dir, keep := t.TempDir(), t.TempDir()
	mustPublish(t, dir, life, Options{})
	for name, b := range map[string][]byte{"segment-0.car": carOf(testkit.NewAgent("bob").History(4, 30)), "segment-1.car": []byte("junk"), "segment-2.car.part": []byte("junk"), "segment-3.car.part": make([]byte, 1<<20), "blocks": []byte("junk")} {
		if err := os.WriteFile(filepath.Join(keep, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	got, err := Fetch(context.Background(), &Request{Address: Address{Agent: &agent, From: []string{dir}}, Keep: keep}, &out)
	if err != nil || got.Slow != "" || !bytes.Equal(out.Bytes(), carOf(life)) {
		t.Error(got, err)
	}
}

// TestRedirects follows those that are harmless.
func TestRedirects(t *testing.T) {
	life := testkit.NewAgent("alice").History(5, 30)
	agent := agentOf(t, life[0])
	dir := t.TempDir()
	mustPublish(t, dir, life, Options{})
	url := listen(t, faulty(serveTree(t, dir), func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/old/") {
			http.Redirect(w, r, strings.TrimPrefix(r.URL.Path, "/old"), http.StatusMovedPermanently)
			return true
		}
		return false
	}))
	if car, _, err := fetchFrom(t, agent, url+"/old/"); err != nil || !bytes.Equal(car, carOf(life)) {
		t.Error(err)
	}
}

// TestNoRedirectToNeighbours: another port of the same machine is not what was named.
func TestNoRedirectToNeighbours(t *testing.T) {
	quick(t)
	hit := false
	secret := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hit = true }))
	url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, secret, http.StatusFound) }))
	_, _, err := fetchFrom(t, agentOf(t, testkit.NewAgent("alice").History(1, 1)[0]), url)
	if err == nil || !errors.Is(err, errPrivate) || hit {
		t.Error(err, hit)
	}
}

func TestPublic(t *testing.T) {
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111", "185.199.108.153"} {
		if !public.Addr(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"198.18.0.1", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2001:db8::1", "2002:7f00:1::", "2001::1", "fec0::1"} {
		if public.Addr(netip.MustParseAddr(a)) {
			t.Errorf("%s is public", a)
		}
	}
}

func TestParseAddress(t *testing.T) {
	did := testkit.NewAgent("alice").DID()
	cid := cidOf([]byte("x")).CID()
	for _, bad := range []string{
		"did:web:example.com", "did:key:z6Mk", did + "x", "ipfs://Qm", "/ipfs/x", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "https://", "https:///x", "http://[::1", "example.com", "example.com:80", "", "://",
		"https://h/load.html?did=x&from=https://a", "https://h/load.html?from=https://a", "https://h/load.html?did=" + did + "&from=file:///etc", "https://h/igor/did:key:z6Mk/head", "https://h/?history=file:///x",
		"https://h/load.html?did=https://h/igor/" + did + "&from=https://a",
	} {
		if a, err := ParseAddress(bad); err == nil {
			t.Errorf("%s is %+v", bad, a)
		}
	}
	for in, want := range map[string]string{
		did: "agent", cid: "checkpoint", "https://h/igor/" + did: "agent https://h/ linked", "https://h/a/b/igor/" + did + "/segments/0.car?x#y": "agent https://h/a/b/ linked", "https://h/ipfs/" + cid: "checkpoint https://h/ linked",
		"https://s/load.html?did=" + did + "&from=https%3A%2F%2Fh%2F":      "agent https://h/ linked",
		"https://s/load.html?cid=" + cid + "&from=https://h&from=http://i": "checkpoint https://h http://i linked", "https://h/life.car": "file linked", "https://s/load.html?history=https://h/life.car": "file linked",
	} {
		a, err := ParseAddress(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		var got []string
		if a.Agent != nil {
			got = append(got, "agent")
		}
		if a.Checkpoint != nil {
			got = append(got, "checkpoint")
		}
		if a.File != nil {
			got = append(got, "file")
		}
		got = append(got, a.From...)
		if a.Linked {
			got = append(got, "linked")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is %q, want %s", in, got, want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("https://h/igor/did:key:z6Mkabc/head")
	f.Add("https://s/load.html?did=x&from=https://h")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		for _, from := range a.From {
			if u, err := parseBase(from); err != nil || u.Scheme != "http" && u.Scheme != "https" {
				t.Fatal(s, from)
			}
		}
	})
}

// FuzzChain gives a segment's reader anything: what it takes is a chain.
func FuzzChain(f *testing.F) {
	life := testkit.NewAgent("alice").History(3, 10)
	agent := agentOf(f, life[0])
	f.Add(carOf(life))
	f.Add(carOf(life[1:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := chain(b, agent)
		if err != nil {
			return
		}
		for i, c := range all {
			if cidOf(c.bytes) != c.hash || i > 0 && c.prev != all[i-1].hash {
				t.Fatal("it is no chain")
			}
		}
	})
}

// FuzzStore gives a folder's file of single checkpoints any bytes.
func FuzzStore(f *testing.F) {
	b := testkit.NewAgent("alice").History(1, 10)[0]
	f.Add(verifier.AppendCARBlock(nil, cidOf(b), b))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "blocks"), b, 0o666); err != nil {
			t.Fatal(err)
		}
		s, err := (&fetch{dir: dir}).newStore()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for h := range s.at {
			if got, err := s.get(h); err != nil || cidOf(got) != h {
				t.Fatal(err)
			}
		}
	})
}

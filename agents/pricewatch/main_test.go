package main

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk/sdktest"
)

// An api answers as the recording says, a line for each request, the last one
// from then on.
type api struct {
	t       testing.TB
	mu      sync.Mutex
	answers []string
}

// recorded returns the API of testdata/recorded.txt: a status and a body a line.
func recorded(t testing.TB) *api {
	t.Helper()
	b, err := os.ReadFile("testdata/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(answers) < 2 {
		t.Fatal("nothing is recorded")
	}
	return &api{t: t, answers: answers}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Method != "GET" || r.URL.RequestURI() != path || r.Header.Get("Accept") != "application/json" {
		a.t.Errorf("the API got %s %s", r.Method, r.URL)
	}
	status, body, _ := strings.Cut(a.answers[0], " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		a.t.Error(err)
		code = 500
	}
	if len(a.answers) > 1 {
		a.answers = a.answers[1:]
	}
	w.WriteHeader(code)
	w.Write([]byte(body))
}

// said is what the recording makes of an agent, and inHour what it keeps of it.
const said = `watching the price of bitcoin
the price is 64123.45
no price: status 429; asking again in 100ms
no price: the answer is not JSON of a price; asking again in 200ms
no price: "" is not a price; asking again in 400ms
the price is 65002.10
no price: status 500; asking again in 100ms
the price is 63870.00`

var inHour = hour{64123_45, 65002_10, 63870_00, 63870_00}

func TestRecorded(t *testing.T) {
	world := sdktest.New(t)
	world.Web = recorded(t)
	w := &watcher{}
	w.Init()
	for range 60 {
		w.Tick()
		w = sdktest.Restart(t, w, &watcher{})
		world.Time = world.Time.Add(50 * time.Millisecond)
	}
	if world.Log() != said {
		t.Errorf("got\n%s\nwant\n%s", world.Log(), said)
	}
	if h, err := decodeHour(world.KV["2022-01-01T00"]); err != nil || h != inHour {
		t.Errorf("keeps %+v, %v", h, err)
	}
}

// TestWaits asks less and less often, but never less than once a minute.
func TestWaits(t *testing.T) {
	world := sdktest.New(t)
	w := &watcher{}
	for w.failures < 100 {
		w.Tick()
		world.Time = w.next
	}
	before := world.Time
	w.Tick()
	if wait := w.next.Sub(before); wait != maxPause {
		t.Errorf("after many failures it waits %v", wait)
	}
}

func TestHours(t *testing.T) {
	world := sdktest.New(t)
	w := &watcher{}
	for i := range hours + 3 {
		if err := w.keep(world.Time.Add(time.Duration(i)*time.Hour), 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(world.KV) != hours || len(w.kept) != hours || w.kept[0] != "2022-01-01T03" || world.KV[w.kept[0]] == nil {
		t.Errorf("keeps %d of %d, from %s", len(world.KV), len(w.kept), w.kept[0])
	}
}

func TestParseCents(t *testing.T) {
	for in, want := range map[string]int64{"1": 100, "0.5": 50, "64123.45": 64123_45, "2.999": 299, "7.": 700, "999999999999.99": 99999999999999} {
		if got, err := parseCents(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", ".5", "-1", "1e3", "0", "0.001", "1.2.3", "1.x", "1000000000000", "NaN"} {
		if got, err := parseCents(in); err == nil {
			t.Errorf("%q: got %d", in, got)
		}
	}
}

// TestLife kills the machine in the middle of the recording. Not a price is lost.
func TestLife(t *testing.T) {
	local := httptest.NewServer(recorded(t))
	defer local.Close()
	l := life.New(t, "go", server, local.URL)

	p := l.Start()
	lines := strings.Split(said, "\n")
	for _, line := range lines[:5] {
		p.Said(line)
	}
	p.Kill()
	p = l.Start()
	for _, line := range lines[5:] {
		p.Said(line)
	}
	p.Stop()
	l.Verify()

	store, state := parseStore(t, l.State())
	w := &watcher{}
	if err := w.Unmarshal(state); err != nil {
		t.Fatal(err)
	}
	if w.prices < 5 || len(w.kept) != len(store) || len(store) == 0 {
		t.Fatalf("got %+v, and %d hours", w, len(store))
	}
	// The test may go over the end of an hour.
	var all hour
	for i, key := range w.kept {
		h, err := decodeHour(store[key])
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			all = h
		}
		all = hour{all.open, max(all.high, h.high), min(all.low, h.low), h.close}
	}
	if all != inHour {
		t.Errorf("keeps %+v, want %+v", all, inHour)
	}
}

// parseStore takes the store off a state, as docs/spec/abi.md has it.
func parseStore(t *testing.T, b []byte) (store map[string][]byte, state []byte) {
	t.Helper()
	b, ok := bytes.CutPrefix(b, []byte("igor/kv-state/v1\x00"))
	if !ok {
		t.Fatal("a state without a store")
	}
	size := func() int {
		if len(b) < 4 {
			t.Fatal("a store that is cut short")
		}
		n := int(binary.LittleEndian.Uint32(b))
		b = b[4:]
		return n
	}
	next := func() []byte {
		n := size()
		if n > len(b) {
			t.Fatal("a store that is cut short")
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	store = map[string][]byte{}
	for range size() {
		key := next()
		store[string(key)] = next()
	}
	return store, b
}

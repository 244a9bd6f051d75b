package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// A counter is a server that an agent acts on, and that counts. It is slow, so
// that a kill finds effects under way.
type counter struct {
	slow time.Duration

	mu       sync.Mutex
	posts    map[uint64]int // by what was sent
	keys     map[string]uint64
	payments map[[32]byte]int // by nonce
	memos    map[uint64]int
	wrong    []string
	arrived  chan struct{}
}

func newCounter(t *testing.T, slow time.Duration) (*counter, *url.URL) {
	t.Helper()
	c := &counter{slow: slow, posts: map[uint64]int{}, keys: map[string]uint64{}, payments: map[[32]byte]int{},
		memos: map[uint64]int{}, arrived: make(chan struct{}, 1<<16)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c, u
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(rand.N(c.slow + 1))
	body, err := io.ReadAll(r.Body)
	if err == nil {
		c.take(w, r, body)
	}
	select {
	case c.arrived <- struct{}{}:
	default: // nobody waits for so many
	}
	time.Sleep(rand.N(c.slow + 1))
}

func (c *counter) take(w http.ResponseWriter, r *http.Request, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	if r.URL.Path == "/pay" {
		got, size, err := receipt.Parse(body)
		p, ok := got.(*receipt.Payment)
		switch {
		case err != nil || !ok || size != len(body) || !p.Authentic() || fmt.Sprintf("%x", p.Nonce) != key:
			c.wrong = append(c.wrong, fmt.Sprintf("a payment that is none: %x, %v", body, err))
		case len(p.Memo) != 8 || p.Amount != 1 || p.Recipient != "shop":
			c.wrong = append(c.wrong, fmt.Sprintf("another payment: %+v", p))
		default:
			c.payments[p.Nonce]++
			c.memos[binary.LittleEndian.Uint64([]byte(p.Memo))]++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"status": "settled", "nonce": "%x", "amountMicrocents": "%d"}`, p.Nonce, p.Amount)
		}
		return
	}
	if len(body) != 8 || len(key) != 64 || r.Method != "POST" {
		c.wrong = append(c.wrong, fmt.Sprintf("%s with %x, key %q", r.Method, body, key))
		return
	}
	n := binary.LittleEndian.Uint64(body)
	c.posts[n]++
	if was, ok := c.keys[key]; ok && was != n {
		c.wrong = append(c.wrong, fmt.Sprintf("key %s for %d and %d", key, was, n))
	}
	c.keys[key] = n
}

// actor writes the agent of testdata/agents/actor.wat that acts on the server.
func actor(t *testing.T, u *url.URL, class string) (wasm string) {
	t.Helper()
	return acting(t, "actor", u, fmt.Sprintf(`{"capabilities": {"clock": {"version": 1},
		"http": {"version": 1, "options": {"allowed_hosts": ["%s"], "class": "%s"}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 5, "class": "%[2]s"}}}}`, u.Host, class))
}

// stumbler writes the agent of testdata/agents/stumbler.wat.
func stumbler(t *testing.T, u *url.URL) (wasm string) {
	t.Helper()
	return acting(t, "stumbler", u, fmt.Sprintf(`{"capabilities": {"rand": {"version": 1},
		"http": {"version": 1, "options": {"allowed_hosts": ["%s"]}}}}`, u.Host))
}

// acting writes an agent of testdata, with its manifest, that acts on the server.
func acting(t *testing.T, name string, u *url.URL, manifest string) (wasm string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(agents(t), name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprintf("127.0.0.1:%05s", u.Port())
	if b = bytes.Replace(b, []byte("127.0.0.1:00000"), []byte(port), 1); !bytes.Contains(b, []byte(port)) {
		t.Fatal("the agent names no port")
	}
	wasm = filepath.Join(t.TempDir(), name+".wasm")
	if err := os.WriteFile(wasm, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(wasm), name+".manifest.json"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	return wasm
}

// What the actor has done, from its newest checkpoint.
type acts struct {
	ticks, posts, postsDone, postsOpen, postsFailed uint64
	payments, paid, paidOpen, paidFailed            uint64
	last                                            int64
	budget                                          int64
}

// newest returns the newest checkpoint of an agent whose states have so many bytes.
func newest(t *testing.T, dir string, stateBytes int) verifier.Checkpoint {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "history", "*.ckpt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no history: %v", err)
	}
	b, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier.Parse(b)
	if err != nil || len(c.State) != stateBytes {
		t.Fatalf("not a state of %d bytes: %x, %v", stateBytes, c.State, err)
	}
	return c
}

func actsOf(t *testing.T, dir string) (a acts) {
	t.Helper()
	c := newest(t, dir, 88)
	for i, v := range []*uint64{&a.ticks, &a.posts, &a.postsDone, &a.postsOpen, &a.postsFailed, &a.payments, &a.paid, &a.paidOpen, &a.paidFailed} {
		*v = binary.LittleEndian.Uint64(c.State[8*i:])
	}
	a.last, a.budget = int64(binary.LittleEndian.Uint64(c.State[80:])), c.Budget
	return a
}

// TestKillEffects kills an agent that means to act in one tick and acts in the
// next, again and again. What it acts on counts: nothing is done twice, nothing
// that the agent was told is lost, and what is unresolved is known to be.
func TestKillEffects(t *testing.T) {
	for _, class := range []string{"unsafe", "idempotent"} {
		t.Run(class, func(t *testing.T) { killEffects(t, class) })
	}
}

func killEffects(t *testing.T, class string) {
	const budget = 1_000_000 // microcents
	server, u := newCounter(t, 2*time.Millisecond)
	wasm := actor(t, u, class)
	dir := filepath.Join(t.TempDir(), "agent")
	pay := "--pay-at=" + u.String() + "/pay"
	var did string
	var last ack
	for round := range *killRounds {
		args := []string{"resume", dir, pay, "--checkpoint-every=9"}
		if _, err := os.Stat(dir); err != nil {
			args = []string{"run", wasm, "--dir", dir, "--budget=1", "--price=0", pay, "--checkpoint-every=9"}
		}
		p := start(t, args...)
		if rand.IntN(4) == 0 {
			time.Sleep(rand.N(40 * time.Millisecond))
		} else {
			for range 1 + rand.IntN(12) {
				select {
				case <-server.arrived:
				case <-time.After(20 * time.Second):
					p.cmd.Process.Kill()
					p.wait(last)
					t.Fatalf("round %d: nothing arrives:\n%s", round, p.stderr.Bytes())
				}
			}
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		did, last = p.kill(t, did, last)
		for len(server.arrived) > 0 {
			<-server.arrived
		}
		if last.cid != "" {
			verify(t, dir, did, last.cid)
		}
	}
	p := start(t, "resume", dir, pay, "--checkpoint-every=9", "--ticks=8")
	last, err := p.wait(last)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.Bytes())
	}
	verify(t, dir, did, last.cid)
	replayed(t, dir)

	server.mu.Lock()
	defer server.mu.Unlock()
	a := actsOf(t, dir)
	t.Logf("%d kills: %+v", *killRounds, a)
	if len(server.wrong) > 0 {
		t.Errorf("the server received %q", server.wrong)
	}
	if a.postsFailed != 0 || a.paidFailed != 0 {
		t.Errorf("some failed, and the server never does: %+v", a)
	}
	if a.ticks < 8 || a.posts == 0 || a.payments == 0 {
		t.Errorf("it did nothing: %+v", a)
	}
	if class == "unsafe" {
		check(t, "post", server.posts, a.posts, a.postsDone, a.postsOpen)
		check(t, "payment", server.memos, a.payments, a.paid, a.paidOpen)
	} else {
		// The same bytes may come again, and everything is done.
		if a.postsOpen != 0 || a.paidOpen != 0 {
			t.Errorf("what can be sent again is unresolved: %+v", a)
		}
		if len(server.keys) != len(server.posts) || len(server.payments) != len(server.memos) {
			t.Errorf("%d posts under %d keys, %d payments under %d nonces", len(server.posts), len(server.keys), len(server.memos), len(server.payments))
		}
		if missing := a.postsDone - uint64(len(server.posts)); missing != 0 {
			t.Errorf("%d posts are done, and the server does not know them", missing)
		}
		if missing := a.paid - uint64(len(server.memos)); missing != 0 {
			t.Errorf("%d payments are done, and the server does not know them", missing)
		}
	}
	if spent := int64(a.paid + a.paidOpen); a.budget != budget-spent {
		t.Errorf("the budget is %d of %d, and %d was paid or is held", a.budget, budget, spent)
	}
	if *killRounds == 0 {
		t.Error("no kills")
	}
}

// check holds what a server received against what the agent was told.
func check(t *testing.T, what string, received map[uint64]int, meant, done, open uint64) {
	t.Helper()
	for n, times := range received {
		if times != 1 {
			t.Errorf("%s %d came %d times", what, n, times)
		}
	}
	if got := uint64(len(received)); got < done || got > done+open {
		t.Errorf("%d of %ss arrived, and the agent knows of %d, and of %d that they may have", got, what, done, open)
	}
	// The newest may be meant, and not begun.
	if over := done + open; over != meant && over+1 != meant {
		t.Errorf("%d %ss were meant, and %d are accounted for", meant, what, over)
	}
}

// TestUnresolved has a server that never answers. The agent is told that nobody
// knows, and an operator who finds out says so.
func TestUnresolved(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	live := func(args ...string) {
		t.Helper()
		p := start(t, append(args, "--pay-at="+server.URL, "--checkpoint-every=100")...)
		if _, err := p.wait(ack{}); err != nil {
			t.Fatalf("%v\n%s", err, p.stderr.Bytes())
		}
	}
	effects := func(args ...string) (found []map[string]string) {
		t.Helper()
		out, err := igor(t, append([]string{"effects", dir, "--json"}, args...)...).Output()
		if err == nil {
			err = json.Unmarshal(out, &found)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return found
	}
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := igor(t, args...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("%q: exit code %d, want %d\n%s", args, got, want, out)
		}
		return string(out)
	}
	live("run", actor(t, u, "unsafe"), "--dir", dir, "--budget=1", "--price=0", "--ticks=8")
	open := effects()
	if len(open) != 4 || open[0]["kind"] != "http" || open[0]["tick"] != "2" || open[1]["kind"] != "payment" || open[1]["heldMicrocents"] != "1" ||
		!strings.Contains(open[0]["request"], u.Host) || !strings.Contains(open[1]["request"], "shop") {
		t.Fatalf("got %v", open)
	}
	if a := actsOf(t, dir); a.postsOpen != 2 || a.paidOpen != 2 || a.last != -7 || a.budget != 999_998 {
		t.Errorf("got %+v", a)
	}
	if out := run(0, "effects", dir); strings.Count(out, "unresolved") != 4 || !strings.Contains(out, "holds 0.000001") || !strings.Contains(out, "\n  nonce "+open[1]["nonce"]+"\n") {
		t.Errorf("got\n%s", out)
	}
	run(0, "effects", "confirm", dir, open[0]["id"][:16], "--note", "seen in the server's log")
	run(0, "effects", "compensate", dir, open[1]["id"], "--note", "the shop never had it")
	if out := run(0, "effects", "confirm", dir, open[3]["id"], "--json"); !strings.Contains(out, `"id": "`+open[3]["id"]+`"`) || !strings.Contains(out, `"state": "confirmed"`) {
		t.Errorf("got\n%s", out)
	}
	run(1, "effects", "confirm", dir, open[1]["id"])
	run(1, "effects", "confirm", dir, "ffffffff"+open[1]["id"])
	run(2, "effects", "confirm", dir)
	if left := effects(); len(left) != 1 || left[0]["id"] != open[2]["id"] {
		t.Errorf("left are %v", left)
	}
	for range 2 { // the hold goes back once
		live("resume", dir, "--ticks=1")
		if a := actsOf(t, dir); a.budget != 999_999 {
			t.Errorf("the budget is %d after one of two payments was compensated", a.budget)
		}
	}
	replayed(t, dir)
	out := run(0, "receipts", dir)
	if !strings.Contains(out, "\nmoney added 1.000001, cost 0.000000, paid 0.000002, left 0.999999\n") || !strings.Contains(out, "\nverified: 4 receipts, every microcent accounted for; ") {
		t.Errorf("got\n%s", out)
	}
}

// TestEffectsOfLiving lists the effects of an agent that lives: one that is unresolved,
// and one that a server does not answer yet. Neither waits for anything, and nothing of
// the folder changes.
func TestEffectsOfLiving(t *testing.T) {
	release, held := make(chan struct{}), make(chan struct{}, 1)
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if first && r.URL.Path != "/pay" {
			first = false
			panic(http.ErrAbortHandler)
		}
		held <- struct{}{}
		<-release
	}))
	t.Cleanup(server.Close)
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	before := time.Now()
	p := start(t, "run", actor(t, u, "unsafe"), "--dir", dir, "--budget=1", "--price=0", "--ticks=8", "--checkpoint-every=100")
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatalf("the agent does not act:\n%s", p.stderr.Bytes())
	}
	list := func(dir string) []map[string]string {
		t.Helper()
		was := treeOf(t, dir)
		out, err := igor(t, "effects", dir, "--json").CombinedOutput()
		var found []map[string]string
		if err == nil {
			err = json.Unmarshal(out, &found)
		}
		if err != nil || len(found) != 2 {
			t.Fatalf("%v\n%s", err, out)
		}
		if is := treeOf(t, dir); is != was {
			t.Errorf("the folder was\n%s\nand is\n%s", was, is)
		}
		for _, e := range found {
			at, err := time.Parse(time.RFC3339Nano, e["began"])
			if err != nil || at.Before(before) || at.After(time.Now()) {
				t.Errorf("sent %q, %v", e["began"], err)
			}
		}
		return found
	}
	if found := list(dir); found[0]["state"] != "unresolved" || found[1]["state"] != "under way" {
		t.Errorf("got %v", found)
	}
	// Of a copy, nobody knows more than that it began.
	backup := filepath.Join(t.TempDir(), "copy")
	b, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err == nil {
		err = os.CopyFS(filepath.Join(backup, "history"), os.DirFS(filepath.Join(dir, "history")))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(backup, "journal"), b, 0o444)
	}
	if err != nil {
		t.Fatal(err)
	}
	if found := list(backup); found[0]["state"] != "unresolved" || found[1]["state"] != "unresolved" {
		t.Errorf("got %v", found)
	}
	p.cmd.Process.Kill()
	p.wait(ack{})
	if found := list(dir); found[0]["state"] != "unresolved" || found[1]["state"] != "unresolved" {
		t.Errorf("after a kill: %v", found)
	}
}

// treeOf says what files a folder has, and of which size and time.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAnyAnswer has payments sent to an address at which a page answers, whatever
// it is asked. None of them counts as made, or as not made.
func TestAnyAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("<!doctype html><title>app</title>"))
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"unsafe", "idempotent"} {
		dir := filepath.Join(t.TempDir(), "agent")
		p := start(t, "run", actor(t, u, class), "--dir", dir, "--budget=1", "--price=0", "--ticks=8", "--pay-at="+server.URL+"/pay")
		if _, err := p.wait(ack{}); err != nil {
			t.Fatalf("%v\n%s", err, p.stderr.Bytes())
		}
		if !bytes.Contains(p.stderr.Bytes(), []byte("does not answer as one")) {
			t.Errorf("%s: the operator is not told:\n%s", class, p.stderr.Bytes())
		}
		if a := actsOf(t, dir); a.payments == 0 || a.paid != 0 || a.paidFailed != 0 || a.paidOpen != a.payments || a.budget != 1_000_000-int64(a.payments) {
			t.Errorf("%s: got %+v", class, a)
		}
		replayed(t, dir)
	}
}

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A counted server counts what came to it, by idempotency key.
type counted struct {
	mu    sync.Mutex
	posts map[string]int
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts[r.Header.Get("Idempotency-Key")]++
	w.Write(bytes.Repeat([]byte("thanks "), 1000))
}

// trader writes the program of an agent that sends to a server and tries to pay, with its
// manifest, and returns where it is, and what comes to the server.
func trader(t *testing.T) (program string, c *counted) {
	t.Helper()
	c = &counted{posts: map[string]int{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	wasm, err := os.ReadFile("../../runtime/testdata/trader.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm = bytes.Replace(wasm, []byte("127.0.0.1:00000"), fmt.Appendf(nil, "127.0.0.1:%05s", strings.Split(host, ":")[1]), 1)
	manifest := fmt.Appendf(nil, `{"capabilities": {"clock": {"version": 1}, "kv": {"version": 1}, "http": {"version": 1, "options": {"allowed_hosts": [%q]}},
		"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 1}}}}`, host)
	program = filepath.Join(t.TempDir(), "trader.wasm")
	for name, content := range map[string][]byte{program: wasm, beside(program): manifest} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return program, c
}

// TestRestore kills an agent, takes its folder away, and has it go on in another process
// and another folder, again and again, from what its store has and from its key alone: its
// side effects were all done once, and it knows of them.
func TestRestore(t *testing.T) {
	program, c := trader(t)
	tmp := t.TempDir()
	in := func(names ...string) string { return filepath.Join(append([]string{tmp}, names...)...) }
	store, dir, key := in("store"), in("agent"), in("agent.key")
	acked := ack{}
	did := ""
	var err error
	p := start(t, "run", program, "--dir", dir, "--store", store, "--budget=10", "--checkpoint-every=3")
	rounds := max(4, *killRounds/2)
	for round := range rounds {
		did, acked = p.killSomewhere(t, did, acked)
		if round == 0 {
			copyKey(t, dir, key)
		}
		old := dir
		if rand.IntN(2) == 0 {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			old = ""
		}
		dir = in(fmt.Sprint("agent", round))
		out, err := igor(t, "restore", store, dir, "--key", key).CombinedOutput()
		if err != nil || !strings.Contains(string(out), did) {
			t.Fatalf("igor restore: %v\n%s", err, out)
		}
		p = start(t, "resume", dir, "--checkpoint-every=3")
		a, ok := <-p.acks
		if !ok || a.tick <= acked.tick {
			t.Fatalf("after tick %d it went on at %d: %v\n%s", acked.tick, a.tick, ok, &p.stderr)
		}
		acked = a
		if old != "" { // the folder that was not lost is an old copy
			cmd := igor(t, "resume", old, "--ticks=5")
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != exitConflict {
				t.Fatalf("the old folder: exit code %d\n%s", code, out)
			}
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if acked, err = p.wait(acked); err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
	b, err := os.ReadFile(filepath.Join(dir, "history", fmt.Sprintf("%010d.ckpt", acked.tick)))
	if err != nil {
		t.Fatal(err)
	}
	last, err := verifier.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	state := last.State[len(last.State)-88:]
	word := func(at int) int { return int(binary.LittleEndian.Uint64(state[at:])) }
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(word(0)) != acked.tick {
		t.Errorf("it is at tick %d, and counted %d", acked.tick, word(0))
	}
	if sent := len(c.posts); sent < rounds || sent < word(16) || sent > word(16)+word(24) {
		t.Errorf("%d posts came; the agent knows of %d, and of %d that may have", sent, word(16), word(24))
	}
	for id, n := range c.posts {
		if n > 1 {
			t.Errorf("effect %s came %d times", id, n)
		}
	}
	// The history begins where the last folder was made.
	cmd := igor(t, "verify", "--did", did, "--head", acked.cid, dir)
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(string(out), "incomplete") {
		t.Errorf("igor verify: exit code %d\n%s", code, out)
	}
	if _, err := runtime.Effects(t.Context(), dir); err != nil {
		t.Errorf("igor effects: %v", err)
	}
}

// killSomewhere kills an igor that lives, some checkpoints later, and as kill does says what is
// known of its life.
func (p *process) killSomewhere(t *testing.T, did string, acked ack) (string, ack) {
	t.Helper()
	for range 2 + rand.IntN(6) {
		a, ok := <-p.acks
		if !ok {
			t.Fatalf("it ended: %v\n%s", p.cmd.Wait(), &p.stderr)
		}
		acked = a
	}
	time.Sleep(rand.N(20 * time.Millisecond))
	return p.kill(t, did, acked)
}

// copyKey copies an agent's key out of its folder.
func copyKey(t *testing.T, dir, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "key"))
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

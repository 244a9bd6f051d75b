package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/internal/homes"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// buildNode builds igor-node with the moments at which it can be killed, once.
var buildNode = sync.OnceValues(func() (string, error) {
	path := filepath.Join(cache, "igor-node")
	out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", path, "igor.dev/cmd/igor-node").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return path, err
})

// A process is an igor-node of its own.
type process struct {
	t       testing.TB
	n       byte
	dir     string
	port    int
	did     string
	cmd     *exec.Cmd
	log     *bytes.Buffer
	mu      sync.Mutex
	env     []string
	program string                                        // "" = the one with failpoints
	at      func(program string, args ...string) []string // how to run a program where it is; nil = here
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// freePort returns a port at which, and at whose next one, nothing listens. It is not one
// that a connection gets by itself, while the node that has it is down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		one, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		next, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		one.Close()
		if err == nil {
			next.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// processes makes nodes that know each other.
func processes(t testing.TB, count int, change func(i int, settings map[string]any)) []*process {
	t.Helper()
	if _, err := buildNode(); err != nil {
		t.Fatal(err)
	}
	var all []*process
	for i := range count {
		p := &process{t: t, n: byte(i + 1), dir: filepath.Join(t.TempDir(), "node"), port: freePort(t), log: &bytes.Buffer{}}
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		key, err := runtime.NodeKey(filepath.Join(p.dir, "node.key"))
		if err != nil {
			t.Fatal(err)
		}
		p.did = verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID()
		all = append(all, p)
	}
	for i, p := range all {
		var peers []string
		for _, o := range all {
			if o != p {
				peers = append(peers, fmt.Sprintf("%s /ip4/127.0.0.1/tcp/%d", o.did, o.port))
			}
		}
		settings := map[string]any{"key": filepath.Join(p.dir, "node.key"), "listen": []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p.port)}, "peers": peers, "take_from": []string{"peers"},
			"tick_interval": "3ms", "checkpoint_every": "50ms", "move_limit": "10s", "price": fmt.Sprintf("0.00%d", i+1)}
		if change != nil {
			change(i, settings)
		}
		b, err := json.Marshal(settings)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, "node.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.kill() })
	}
	return all
}

// start starts the process; at is the moment at which it is to die, "" for never.
func (p *process) start(at string) {
	p.t.Helper()
	path := p.program
	if path == "" {
		path, _ = buildNode()
	}
	args := []string{path, "start", "--dir", p.dir, "--cache-dir", cache, "-v"}
	if p.at != nil {
		args = p.at(path, args[1:]...)
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(append(os.Environ(), "IGOR_FAILPOINT="+at), p.env...)
	p.cmd.Stderr, p.cmd.Stdout = p, p
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := api.Dial(p.dir); err == nil {
			return
		}
		if time.Since(began) > 60*time.Second || p.dead() {
			p.t.Fatalf("node %d does not start:\n%s", p.n, p.tail())
		}
	}
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.log.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// dead reports whether the process has ended, which is then reaped.
func (p *process) dead() bool {
	if p.cmd == nil {
		return true
	}
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WNOHANG, nil)
	if pid == p.cmd.Process.Pid || errors.Is(err, syscall.ECHILD) {
		p.cmd = nil
		return true
	}
	return false
}

func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGKILL)
	for !p.dead() {
		time.Sleep(time.Millisecond)
	}
}

func (p *process) agents() (all []api.Agent) {
	c, err := api.Dial(p.dir)
	if err != nil {
		return nil
	}
	ctx, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	c.Get(ctx, "/v1/agents", &all)
	return all
}

// at returns the node at which an agent lives and comes further, and fails if two do.
func at(t testing.TB, nodes []*process, did string) *process {
	t.Helper()
	for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(20 * time.Millisecond) {
		var lives []*process
		for _, p := range nodes {
			for _, a := range p.agents() {
				if a.DID == did && a.State == "alive" {
					lives = append(lives, p)
				}
			}
		}
		if len(lives) > 1 {
			t.Fatalf("the agent lives at two nodes")
		}
		if len(lives) == 1 {
			return lives[0]
		}
	}
	for _, p := range nodes {
		t.Logf("node %d: %+v\n%s", p.n, p.agents(), p.tail())
	}
	t.Fatal("the agent lives nowhere")
	return nil
}

// migrate asks for a move, and returns without an error if it was committed.
func (p *process) migrate(to *process, agent string) (*api.Moved, error) {
	c, err := api.Dial(p.dir)
	if err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(context.Background(), 60*time.Second)
	defer done()
	return c.Migrate(ctx, api.Migrate{Agent: agent, To: []string{to.did}}, nil)
}

// A shop counts what it is sent.
type shop struct {
	mu    sync.Mutex
	posts map[string]int
	keys  map[string]map[string]int // of what was posted, by Idempotency-Key
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	body := fmt.Sprintf("%x", b)
	s.posts[body]++
	if s.keys == nil {
		s.keys = map[string]map[string]int{}
	}
	if s.keys[body] == nil {
		s.keys[body] = map[string]int{}
	}
	s.keys[body][r.Header.Get("Idempotency-Key")]++
}

// members has three members of a fleet listen, and returns the fleet's name.
func members(t testing.TB) string {
	t.Helper()
	name := fleet.Prefix
	for i, m := range threeMembers(t) {
		key := testKey(200 + byte(i))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, err := https.Serve(l, key, m, testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if i > 0 {
			name += ","
		}
		name += fleet.Member{Key: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Address: s.Addr().String()}.String()
	}
	return name
}

// actor makes an agent that posts its numbers to a shop, at a node that does not run. Its
// home is a store, or its folder if home is "".
func actor(t testing.TB, p *process, nodes []*process, home string) (did string, s *shop) {
	t.Helper()
	s = &shop{posts: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	wasm, err := os.ReadFile("../cmd/igor/testdata/agents/actor.wasm")
	if err != nil {
		t.Fatal(err)
	}
	wasm = bytes.Replace(wasm, []byte("127.0.0.1:00000"), fmt.Appendf(nil, "127.0.0.1:%05s", strings.Split(host, ":")[1]), 1)
	var allowed []string
	for _, o := range nodes {
		allowed = append(allowed, o.did)
	}
	man, err := json.Marshal(map[string]any{
		"capabilities": map[string]any{"clock": map[string]any{"version": 1}, "http": map[string]any{"version": 1, "options": map[string]any{"allowed_hosts": []string{host}}},
			"x402": map[string]any{"version": 1, "options": map[string]any{"allowed_recipients": []string{"shop"}, "max_payment_microcents": 1}}},
		"migration_policy": map[string]any{"enabled": true, "allowed_nodes": allowed},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(p.dir, "agents", "actor")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	return p.bear(dir, home, runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e12, Price: 1000}), s
}

// bear bears an agent in a folder, by a node that does not run. Its home is a store, or its
// folder if home is "".
func (p *process) bear(dir, home string, birth runtime.Birth) (did string) {
	t := p.t
	t.Helper()
	key, err := runtime.NodeKey(filepath.Join(p.dir, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := runtime.NewEngine(runtime.EngineConfig{Log: testLog(t), NodeKey: key, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := runtime.Config{MaxTicks: 1}
	if home != "" {
		finder := homes.Finder{Node: func() (ed25519.PrivateKey, error) { return key, nil }}
		defer finder.Close()
		if c.Home, err = finder.Find(home); err != nil {
			t.Fatal(err)
		}
	}
	r, err := e.Start(t.Context(), dir, birth, c).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.DID
}

// once checks that the shop was sent nothing twice.
func (s *shop) once(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for body, times := range s.posts {
		if times != 1 {
			t.Errorf("%s was sent %d times", body, times)
		}
	}
	if len(s.posts) < 5 {
		t.Errorf("%d posts", len(s.posts))
	}
}

// TestKills kills the source or the target at each step of a hand-over. The agent lives at
// one of them afterwards, by itself, and its life is one: verified, run again, paid for,
// and everything that it did was done once.
func TestKills(t *testing.T) {
	t.Run("folder", func(t *testing.T) { testKills(t, "") })
	t.Run("fleet", func(t *testing.T) { testKills(t, members(t)) })
}

func testKills(t *testing.T, home string) {
	nodes := processes(t, 2, nil)
	did, server := actor(t, nodes[0], nodes, home)
	agent, err := verifier.ParseDID(did)
	if err != nil {
		t.Fatal(err)
	}
	points := []struct {
		at     string
		source bool
	}{
		{"move-stopped", true}, {"move-signed", true}, {"move-committed", true}, {"move-recorded", true}, {"move-key-gone", true},
		{"move-taken-in", false}, {"move-promised", false}, {"move-fetched", false}, {"move-key-kept", false}, {"move-arrived", false},
	}
	before := []string{"move-stopped", "move-signed", "move-kept", "move-offered", "move-taken-in", "move-promised"} // it counts
	if home != "" {
		for _, at := range []string{"move-kept", "move-offered", "move-appended"} {
			points = append(points, struct {
				at     string
				source bool
			}{at, true})
		}
	}
	for _, p := range nodes {
		p.start("")
	}
	source := at(t, nodes, did)
	moved, stayed := 0, 0
	for _, point := range points {
		target := nodes[0]
		if source == target {
			target = nodes[1]
		}
		victim := target
		if point.source {
			victim = source
		}
		time.Sleep(30 * time.Millisecond) // it lives
		victim.kill()
		victim.start(point.at + ":1")
		at(t, nodes, did)
		_, err := source.migrate(target, "actor")
		for began := time.Now(); !victim.dead(); time.Sleep(5 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s: it was not killed: %v\n%s\nsource:\n%s", point.at, err, target.tail(), source.tail())
			}
		}
		victim.start("")
		now := at(t, nodes, did)
		if now == target {
			moved++
		} else {
			stayed++
		}
		if committed := !slices.Contains(before, point.at); committed != (now == target) {
			t.Errorf("%s: the agent is at node %d, of %d -> %d", point.at, now.n, source.n, target.n)
		}
		for _, p := range nodes {
			// A source that starts again finds out first what became of its append.
			for began := time.Now(); p != now && exists(filepath.Join(p.dir, "agents", "actor", "key")); time.Sleep(5 * time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					t.Fatalf("%s: node %d has the key too\n%s", point.at, p.n, p.tail())
				}
			}
		}
		source = now
	}
	if moved < 4 || stayed < 4 {
		t.Errorf("it moved %d times, and stayed %d times", moved, stayed)
	}
	time.Sleep(200 * time.Millisecond)
	for _, p := range nodes {
		p.stop()
	}
	oneLife(t, filepath.Join(source.dir, "agents", "actor"), agent, moved)
	server.once(t)
}

// stop ends the process as an operator does.
func (p *process) stop() {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for began := time.Now(); !p.dead(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			p.t.Fatalf("node %d does not stop:\n%s", p.n, p.tail())
		}
	}
}

// TestRandomKills kills and stops nodes at random moments while an agent goes to and fro.
// NODE_ROUNDS says how often, NODE_SEED when.
func TestRandomKills(t *testing.T) {
	rounds, seed := 6, uint64(time.Now().UnixNano())
	if s := os.Getenv("NODE_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("NODE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("NODE_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	nodes := processes(t, 3, nil)
	home := ""
	if r.IntN(2) == 0 {
		home = members(t)
	}
	did, server := actor(t, nodes[0], nodes, home)
	agent, err := verifier.ParseDID(did)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range nodes {
		p.start("")
	}
	kills, stops, committed := 0, 0, 0
	for range rounds {
		source := at(t, nodes, did)
		target := nodes[r.IntN(len(nodes))]
		for target == source {
			target = nodes[r.IntN(len(nodes))]
		}
		done := make(chan error, 1)
		go func() { _, err := source.migrate(target, "actor"); done <- err }()
		time.Sleep(time.Duration(r.Int64N(int64(150 * time.Millisecond))))
		victims := []*process{source}
		switch r.IntN(3) {
		case 1:
			victims = []*process{target}
		case 2:
			victims = []*process{source, target}
		}
		if r.IntN(4) == 0 {
			stops++
			for _, v := range victims {
				v.cmd.Process.Signal(syscall.SIGSTOP)
			}
			time.Sleep(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
			for _, v := range victims {
				v.cmd.Process.Signal(syscall.SIGCONT)
			}
		} else {
			kills++
			for _, v := range victims {
				v.kill()
			}
			for _, v := range victims {
				v.start("")
			}
		}
		if err := <-done; err == nil {
			committed++
		}
	}
	last := at(t, nodes, did)
	time.Sleep(200 * time.Millisecond)
	for _, p := range nodes {
		p.stop()
	}
	dir := filepath.Join(last.dir, "agents", "actor")
	moves, err := runtime.Moves(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills, %d stops, %d moves (%d seen to be committed)", kills, stops, moves, committed)
	oneLife(t, dir, agent, int(moves))
	server.once(t)
}

package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/receipt"
)

const counter = "../cmd/igor/testdata/agents/counter.wasm"

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))
}

func did(n byte) string { return publicKey(n).DID() }

func publicKey(n byte) verifier.PublicKey {
	return verifier.PublicKey(testKey(n).Public().(ed25519.PublicKey))
}

// aNode is a node of a test, which can be stopped and started again.
type aNode struct {
	*Node
	t      testing.TB
	n      byte
	dir    string
	engine *runtime.Engine
	config Config
	home   string // of the agents that it bears, "" = their folders
}

// cache is of compiled programs, for all tests.
var cache string

func TestMain(m *testing.M) {
	var err error
	if cache, err = os.MkdirTemp("", "igor-node-test-*"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(cache)
	os.Exit(code)
}

func newNode(t testing.TB, n byte, change func(*Config)) *aNode {
	t.Helper()
	a := &aNode{t: t, n: n, dir: filepath.Join(t.TempDir(), "node")}
	a.config = Config{Dir: a.dir, Key: testKey(n), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, FromPeers: true, Price: int64(n) * 1000, Silence: 5 * time.Second, MoveLimit: 20 * time.Second,
		Agent: func(string) runtime.Config {
			return runtime.Config{TickInterval: 2 * time.Millisecond, CheckpointEvery: runtime.Every{Ticks: 10}}
		}}
	if change != nil {
		change(&a.config)
	}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("NODE_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func (a *aNode) start() {
	a.t.Helper()
	log := testLog(a.t).With("node", a.n)
	if a.config.Log != nil {
		log = a.config.Log
	}
	var err error
	if a.engine, err = runtime.NewEngine(runtime.EngineConfig{Log: log, NodeKey: a.config.Key, CacheDir: cache, Homes: a.config.Homes}); err != nil {
		a.t.Fatal(err)
	}
	c := a.config
	c.Log, c.Engine, c.CacheDir = log, a.engine, cache
	if a.Node, err = Start(c); err != nil {
		a.t.Fatal(err)
	}
}

func (a *aNode) stop() {
	if a.Node == nil {
		return
	}
	a.Node.Close()
	a.engine.Close()
	a.Node = nil
}

// meet makes nodes known to each other.
func meet(t testing.TB, all ...*aNode) {
	t.Helper()
	for _, a := range all {
		for _, b := range all {
			if a == b {
				continue
			}
			if err := a.peers.add(Peer{Node: b.public, Addresses: b.Addresses()}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// bear makes an agent that may go to nodes.
func (a *aNode) bear(name string, to ...byte) verifier.PublicKey {
	a.t.Helper()
	wasm, err := os.ReadFile(counter)
	if err != nil {
		a.t.Fatal(err)
	}
	nodes := []string{}
	for _, n := range to {
		nodes = append(nodes, did(n))
	}
	man, _ := json.Marshal(map[string]any{"migration_policy": map[string]any{"enabled": true, "allowed_nodes": nodes}})
	return a.bearWith(name, wasm, man)
}

func (a *aNode) bearWith(name string, wasm, man []byte) verifier.PublicKey {
	a.t.Helper()
	tmp := filepath.Join(a.t.TempDir(), name)
	c := runtime.Config{MaxTicks: 3, CheckpointEvery: runtime.Every{Ticks: 1}}
	var err error
	if a.home != "" {
		if c.Home, err = a.config.Homes(a.home); err != nil {
			a.t.Fatal(err)
		}
	}
	r, err := a.engine.Start(a.t.Context(), tmp, runtime.Birth{WASM: wasm, Manifest: man, Budget: 1e9, Price: 1000}, c).Wait(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(tmp, a.agentDir(name)); err != nil {
		a.t.Fatal(err)
	}
	a.poke()
	k, err := verifier.ParseDID(r.DID)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

// awaitTicks waits until an agent lives here, and has lived n ticks more.
func (a *aNode) awaitTicks(name string, n uint64) uint64 {
	a.t.Helper()
	began, first := time.Now(), uint64(0)
	for {
		a.mu.Lock()
		s := a.agents[name]
		a.mu.Unlock()
		if s.Agent != nil && s.State == runtime.SupervisedAlive {
			if at := s.Agent.Status().Tick; at > 0 {
				if first == 0 {
					first = at
				}
				if at >= first+n {
					return at
				}
			}
		}
		if time.Since(began) > 30*time.Second {
			a.t.Fatalf("node %d: %s does not live: %s, %v", a.n, name, s.State, s.Err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// oneLife checks that a folder has one whole life.
func oneLife(t testing.TB, dir string, agent verifier.PublicKey, moves int) {
	t.Helper()
	replayed(t, dir, agent)
	all, err := os.ReadFile(filepath.Join(dir, "handovers"))
	if moves > 0 && err != nil {
		t.Fatal(err)
	}
	records, err := verifier.ParseHandOvers(all)
	if err != nil || len(records) != moves {
		t.Fatalf("%d hand-overs, want %d, %v", len(records), moves, err)
	}
	for i, h := range records {
		if h.Check(agent) != verifier.HandOverCounts || h.Number != uint64(i+1) || i > 0 && h.From != records[i-1].To {
			t.Errorf("hand-over %d: %s", i, h.Check(agent).What())
		}
	}
	accounted(t, dir)
}

// replayed holds the history in a folder to be whole, and runs it again.
func replayed(t testing.TB, dir string, agent verifier.PublicKey) {
	t.Helper()
	source, err := history.Path(filepath.Join(dir, "history"))
	if err != nil {
		t.Fatal(err)
	}
	v := history.Verification{Pins: verifier.Pins{DID: &agent}}
	report, err := v.Run(context.Background(), source)
	if err != nil || report.Verdict() != verifier.Verified {
		t.Fatalf("verify: %v, %v", report, err)
	}
	wasm, _ := os.ReadFile(filepath.Join(dir, "agent.wasm"))
	man, _ := os.ReadFile(filepath.Join(dir, "agent.manifest.json"))
	r, err := runtime.Replay(context.Background(), filepath.Join(dir, "history"), runtime.ReplayConfig{WASM: wasm, Manifest: man, Events: filepath.Join(dir, "events"), Log: testLog(t)})
	if err != nil || r.Verdict != runtime.Replayed {
		t.Fatalf("replay: %+v, %v", r, err)
	}
}

// accounted checks the receipts of all nodes together.
func accounted(t testing.TB, dir string) {
	t.Helper()
	if r := account(t, dir); r.Verdict != verifier.Verified {
		t.Errorf("receipts: %+v", r)
	}
}

// account holds the receipts of all nodes against the life in dir.
func account(t testing.TB, dir string) *receipt.Report {
	t.Helper()
	var c receipt.Checker
	b, err := os.ReadFile(filepath.Join(dir, "receipts"))
	if err != nil {
		t.Fatal(err)
	}
	for r := receipt.NewReader(bytes.NewReader(b)); ; {
		got, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Add(got)
	}
	for b, err := range runtime.Blocks(dir) {
		if err != nil {
			t.Fatal(err)
		}
		f := verifier.Examine(b)
		c.AddCheckpoint(&f)
	}
	r, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRound has an agent go round three nodes and home again, twice.
func TestRound(t *testing.T) { everyHome(t, testRound) }

func testRound(t *testing.T, home *testHome) {
	a, b, c := newNode(t, 1, home.at), newNode(t, 2, home.at), newNode(t, 3, home.at)
	meet(t, a, b, c)
	a.home = home.name
	agent := a.bear("watcher", 1, 2, 3)
	all := []*aNode{a, b, c}
	tick := uint64(0)
	for i := range 6 {
		from, to := all[i%3], all[(i+1)%3]
		if at := from.awaitTicks("watcher", 5); at < tick {
			t.Errorf("it went back to tick %d", at)
		}
		m, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}})
		if err != nil {
			t.Fatal(err)
		}
		if !m.Arrived || m.Number != uint64(i+1) {
			t.Errorf("%+v", m)
		}
		tick = to.awaitTicks("watcher", 1)
		if exists(filepath.Join(from.agentDir("watcher"), "key")) {
			t.Error("the source has the key")
		}
	}
	a.awaitTicks("watcher", 15)
	a.stop()
	oneLife(t, filepath.Join(a.dir, "agents", "watcher"), agent, 6)
	l, err := runtime.ReadLife(filepath.Join(a.dir, "agents", "watcher"))
	if err != nil || l.Price != 1000 {
		t.Errorf("it pays %d, %v", l.Price, err)
	}
}

// TestRefusals has hand-overs end before they begin, each for its reason.
func TestRefusals(t *testing.T) {
	a, b, c := newNode(t, 1, nil), newNode(t, 2, nil), newNode(t, 3, func(c *Config) { c.FromPeers = false })
	full := newNode(t, 4, func(c *Config) { c.MaxMemory = 1 })
	meet(t, a, b, c, full)
	a.bear("watcher", 2, 3, 4, 9)
	a.bear("homebody")
	a.awaitTicks("watcher", 1)
	a.awaitTicks("homebody", 1)
	for name, test := range map[string]struct {
		agent  string
		to     byte
		reason wire.Reason
	}{
		"nobody is allowed":        {"homebody", 2, wire.Policy},
		"another is allowed":       {"watcher", 1, wire.Policy},
		"the target says no":       {"watcher", 3, wire.Policy},
		"no room":                  {"watcher", 4, wire.NoCapacity},
		"a node that is not there": {"watcher", 9, wire.Transport},
	} {
		m, err := a.Move(t.Context(), test.agent, MoveConfig{To: []verifier.PublicKey{publicKey(test.to)}})
		r, ok := errors.AsType[*wire.Refusal](err)
		if !ok || r.Reason != test.reason {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if _, err := a.Move(t.Context(), "nobody", MoveConfig{}); err == nil || !strings.Contains(err.Error(), "no agent") {
		t.Error(err)
	}
	a.awaitTicks("watcher", 5)
	for _, n := range []*aNode{b, c, full} {
		if entries, _ := os.ReadDir(filepath.Join(n.dir, "agents")); len(entries) > 0 {
			t.Errorf("node %d has %v", n.n, entries)
		}
	}
}

package node

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// TestIncomplete has an agent be handed over of which not all history is here: it is asked
// for again, and goes when there is.
func TestIncomplete(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	meet(t, a, b)
	agent := a.bear("watcher", 2)
	a.awaitTicks("watcher", 5)
	mark := filepath.Join(a.agentDir("watcher"), "restored") // as a takeover leaves it
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := a.Move(t.Context(), "watcher", MoveConfig{})
	if r, ok := errors.AsType[*wire.Refusal](err); !ok || r.Reason != wire.Incomplete {
		t.Fatal(err)
	}
	said := 0
	m, err := a.Move(t.Context(), "watcher", MoveConfig{Retries: 3, RetryDelay: time.Millisecond, Tell: func(p Progress) {
		if p.Reason == wire.Incomplete {
			if said++; said == 2 {
				os.Remove(mark) // the rest has come
			}
		}
	}})
	if err != nil || !m.Arrived || said != 2 {
		t.Fatalf("%+v, %v, said %d times", m, err, said)
	}
	b.awaitTicks("watcher", 1)
	b.stop()
	oneLife(t, b.agentDirOf("watcher"), agent, 1)
	// Whoever looks at the folder that it left is not told to mend it.
	a.stop()
	o, err := runtime.OverviewOf(t.Context(), a.agentDirOf("watcher"))
	if err != nil || o.State != runtime.StateMoved || o.MovedTo != did(2) || len(o.Problems) > 0 {
		t.Errorf("%+v, %v", o, err)
	}
}

// agentDirOf is agentDir, of a node that may have stopped.
func (a *aNode) agentDirOf(name string) string { return filepath.Join(a.dir, dirAgents, name) }

// TestDrainAndWish has an agent ask to be moved to a node that does not take it, again and
// again, while its own node drains; and one that asks for another node than the drain does.
func TestDrainAndWish(t *testing.T) {
	again := func(c *Config) { c.Retries, c.RetryDelay = 8, 20*time.Millisecond }
	a, b := newNode(t, 1, again), newNode(t, 2, nil)
	c, d := newNode(t, 3, func(c *Config) { c.MaxMemory = 1 }), newNode(t, 4, nil)
	meet(t, a, b, c, d)
	first, second := a.bear("first", 2, 3), a.bear("second", 2, 4)
	for _, name := range []string{"first", "second"} {
		a.awaitTicks(name, 2)
	}
	asked := map[string]*place{"first": a.placeOf("first"), "second": a.placeOf("second")}
	asked["first"].Wish(c.public)
	asked["second"].Wish(d.public)
	a.Drain(time.Hour)
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, one, _ := runtime.ReadMoved(a.agentDir("first"))
		_, two, _ := runtime.ReadMoved(a.agentDir("second"))
		if one && two {
			break
		}
		if time.Since(began) > 60*time.Second {
			t.Fatalf("the node is not empty: %v, %v", one, two)
		}
	}
	b.awaitTicks("first", 2)
	at := b
	if gone, _, _ := runtime.ReadMoved(a.agentDir("second")); gone.Record.To == d.public {
		at = d
	}
	at.awaitTicks("second", 2)
	// It may come back at once, and what it asked for before is not asked for any more.
	a.EndDrain()
	if _, err := b.Move(t.Context(), "first", MoveConfig{To: []verifier.PublicKey{a.public}}); err == nil {
		t.Error("its manifest does not allow that")
	}
	for _, n := range []*aNode{a, b, c, d} {
		n.stop()
	}
	oneLife(t, b.agentDirOf("first"), first, 1)
	oneLife(t, at.agentDirOf("second"), second, 1)
}

// TestStays has a node that drains say why an agent is still there.
func TestStays(t *testing.T) {
	a := newNode(t, 1, nil)
	a.bear("watcher", 9)
	a.awaitTicks("watcher", 1)
	a.Drain(time.Hour)
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		all, err := a.list()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && strings.Contains(all[0].Error, "the node drains, and nobody took it: there is no node that") {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("%+v", all)
		}
	}
	a.EndDrain()
	// Of a node that is known and not there it is said so, and it may be back later.
	if err := a.peers.add(Peer{Node: publicKey(9), Addresses: []string{"/ip4/127.0.0.1/tcp/1"}}); err != nil {
		t.Fatal(err)
	}
	asked := 0
	_, err := a.Move(t.Context(), "watcher", MoveConfig{Retries: 2, RetryDelay: time.Millisecond, Tell: func(p Progress) {
		if p.To == publicKey(9) && p.Reason == wire.Transport {
			asked++
		}
	}})
	if r, ok := errors.AsType[*wire.Refusal](err); !ok || r.Reason != wire.Transport || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if all, err := a.list(); err != nil || all[0].Error != "" {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestUnknownPeer has one of two nodes not know the other one: both say so.
func TestUnknownPeer(t *testing.T) {
	var mu sync.Mutex
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return said.Write(p)
	}), nil))
	a, b := newNode(t, 1, nil), newNode(t, 2, func(c *Config) { c.Log = log })
	a.bear("watcher", 2)
	a.awaitTicks("watcher", 1)
	move := func() error {
		_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
		return err
	}
	if err := move(); err == nil || !strings.Contains(err.Error(), `is not known here: igor node peers --add "`+did(2)) {
		t.Error(err)
	}
	if err := a.peers.add(Peer{Node: b.public, Addresses: b.Addresses()}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := move(); err == nil || !strings.Contains(err.Error(), "cannot be reached: ") || strings.Contains(err.Error(), "\n") {
			t.Error(err)
		}
	}
	mu.Lock()
	if n := strings.Count(said.String(), "was turned away"); n != 1 || !strings.Contains(said.String(), did(1)) {
		t.Errorf("it says %d times that it turned the other one away: %s", n, &said)
	}
	mu.Unlock()
	meet(t, a, b)
	if err := move(); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(a.peers.list(), func(p Peer) bool { return p.Node == b.public })
	if p := a.peers.list()[i]; p.Latency <= 0 || a.versionOf(b.public) != release() {
		t.Errorf("%+v, version %q", p, a.versionOf(b.public))
	}
	if v := a.versionOf(publicKey(9)); v != "" {
		t.Errorf("a node that was not met has version %q", v)
	}
	if _, err := a.named("watcher"); err != nil {
		t.Error(err)
	}
	if err := move(); !errors.Is(err, runtime.ErrMoved) || !strings.Contains(err.Error(), did(2)+" has it") {
		t.Errorf("of one that is gone: %v", err)
	}
	if all, err := a.list(); err != nil || all[0].State != "moved" || all[0].To != did(2) {
		t.Errorf("%+v, %v", all, err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// TestHoles has an agent be handed over to a node that has some of the newest checkpoints
// already, and one of long before, and not what is between and below them: an attempt before
// left them, or they came packed.
func TestHoles(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	meet(t, a, b)
	agent := a.bear("watcher", 2)
	a.awaitTicks("watcher", 60)
	there := filepath.Join(b.dir, dirIncoming, strings.TrimPrefix(agent.DID(), "did:key:"), dirAgent, "history")
	if err := os.MkdirAll(there, 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, err := range runtime.Blocks(a.agentDir("watcher")) {
		if err != nil {
			t.Fatal(err)
		}
		f := verifier.Examine(block)
		if n++; n == 1 || n == 2 || n == 4 {
			if err := os.WriteFile(filepath.Join(filepath.Dir(there), runtime.BlockFile(f.TickNumber)), block, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n < 6 {
		t.Fatalf("only %d checkpoints", n)
	}
	m, err := a.Move(t.Context(), "watcher", MoveConfig{})
	if err != nil || !m.Arrived {
		t.Fatalf("%+v, %v", m, err)
	}
	b.awaitTicks("watcher", 1)
	b.stop()
	oneLife(t, b.agentDirOf("watcher"), agent, 1)
}

// TestLeft has an agent be taken over from a node again and again: its folder is called the
// same each time that it is back.
func TestLeft(t *testing.T) {
	for _, name := range []string{"watcher", dirAgent} {
		t.Run(name, func(t *testing.T) { testLeft(t, name) })
	}
}

func testLeft(t *testing.T, called string) {
	a := newNode(t, 1, nil)
	agent := a.bear(called)
	a.awaitTicks(called, 1)
	a.stop()
	whole := a.agentDirOf(called)
	n := &Node{config: Config{Dir: t.TempDir()}, agents: map[string]runtime.Supervised{}, lives: map[string]runtime.Life{}}
	k := &upkeep{n: n}
	name := called
	if err := os.CopyFS(n.agentDir(name), os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{called, called + "@2", called + "@3"} {
		if err := k.setAside(name); err != nil {
			t.Fatal(err)
		}
		dirs := k.leftOf(agent)
		if len(dirs) != i+1 || !slices.ContainsFunc(dirs, func(dir string) bool { return filepath.Base(dir) == want }) {
			t.Fatalf("%v, want %s", dirs, want)
		}
		if exists(filepath.Join(n.config.Dir, dirLeft, want, "key")) {
			t.Error("the key is in the folder that was left")
		}
		if name = k.nameOf(agent, k.copiesOf(agent)); name != called {
			t.Fatalf("it comes back as %s", name)
		}
		if err := os.CopyFS(n.agentDir(name), os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
	}
	copied := filepath.Join(k.copyDir(agent), dirAgent)
	if err := os.MkdirAll(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"observer": "observer", "../x": folderName("", agent)} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(copied), fileName), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if name := k.nameOf(agent, []string{copied}); name != want {
			t.Errorf("it is called %s, want %s", name, want)
		}
	}
	if name := k.nameOf(publicKey(9), nil); name != folderName("", publicKey(9)) {
		t.Errorf("of one that was never here: %s", name)
	}
}

// TestRelearn has a manifest that does not let an agent be taken over be asked for again
// soon: an operator may have changed it, and its owner's lease run out a moment later.
func TestRelearn(t *testing.T) {
	p := &policyKnown{policy: runtime.MovePolicy{AllowedNodes: []verifier.PublicKey{publicKey(1)}, Resurrect: true}}
	for _, tt := range []struct {
		known  *policyKnown
		self   byte
		leases int
	}{{p, 1, relearnIn}, {p, 2, 1}, {&policyKnown{}, 1, 1}, {nil, 1, 1}} {
		if n := tt.known.leases(publicKey(tt.self), 10); n != tt.leases {
			t.Errorf("node %d asks again after %d leases, want %d", tt.self, n, tt.leases)
		}
	}
}

package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A testHome is where the agents of a test have their home, as each node reaches it.
type testHome struct {
	name string // "" = their folders
	of   func(node ed25519.PrivateKey) (*runtime.Home, error)

	mu    sync.Mutex
	nodes map[verifier.PublicKey]*runtime.Home
	cut   map[verifier.PublicKey]bool // those that do not reach it

	// asks is told of each request of a node to a fleet. With deaf the node is cut off once
	// it was done, without an answer; with cut before it is.
	asks func(by verifier.PublicKey, r *protocol.Request) (cut, deaf bool)
}

// find is how a node finds it.
func (h *testHome) find(node ed25519.PrivateKey) func(string) (*runtime.Home, error) {
	return func(name string) (*runtime.Home, error) {
		if name != h.name {
			return nil, fmt.Errorf("no home %s", name)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		k := verifier.PublicKey(node.Public().(ed25519.PublicKey))
		if h.nodes[k] == nil {
			its, err := h.of(node)
			if err != nil {
				return nil, err
			}
			its.Name = name
			h.nodes[k] = its
		}
		its := *h.nodes[k]
		return &its, nil
	}
}

func (h *testHome) isCut(k verifier.PublicKey) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cut[k]
}

// reach says whether a node reaches the home from now on.
func (h *testHome) reach(k verifier.PublicKey, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut[k] = !ok
}

// on has a request be told of before it is done.
func (h *testHome) on(asks func(by verifier.PublicKey, r *protocol.Request) (cut, deaf bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asks = asks
}

// at is a change of a node's configuration: its agents may have their home there.
func (h *testHome) at(c *Config) {
	if h.name != "" {
		c.Homes = h.find(c.Key)
	}
}

// inFolders is the home of agents whose folder it is.
func inFolders() *testHome { return &testHome{} }

// inMemory is a store that whoever reaches it is trusted with.
func inMemory(s *authoritytest.Store) *testHome {
	return &testHome{name: "s3://bucket/test", nodes: map[verifier.PublicKey]*runtime.Home{}, cut: map[verifier.PublicKey]bool{}, of: func(ed25519.PrivateKey) (*runtime.Home, error) {
		return &runtime.Home{Authority: s, Replicas: authority.Replicas{Places: []authority.Replica{s}}}, nil
	}}
}

// threeMembers are those of a fleet whose store is in memory.
func threeMembers(t testing.TB) (all []*member.Member) {
	t.Helper()
	engine := member.NewMemory()
	for range 3 {
		blobs, err := dir.Blobs(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m, err := member.New(member.Config{Engine: engine, Replica: blobs})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// inFleet is a fleet of three members.
func inFleet(t testing.TB) *testHome {
	t.Helper()
	serve := map[verifier.PublicKey]*member.Member{}
	var all []fleet.Member
	for i, m := range threeMembers(t) {
		k := publicKey(200 + byte(i))
		serve[k] = m
		all = append(all, fleet.Member{Key: k, Address: fmt.Sprintf("member%d:7450", i)})
	}
	h := &testHome{name: "fleet:", nodes: map[verifier.PublicKey]*runtime.Home{}, cut: map[verifier.PublicKey]bool{}}
	for i, m := range all {
		if i > 0 {
			h.name += ","
		}
		h.name += m.String()
	}
	h.of = func(node ed25519.PrivateKey) (*runtime.Home, error) {
		k := verifier.PublicKey(node.Public().(ed25519.PublicKey))
		c, err := fleet.New(fleet.Config{Members: all, Attempt: time.Second, Lease: 5 * time.Second, Via: direct(func(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
			r, err := protocol.ParseRequest(request)
			if err != nil {
				return nil, err
			}
			h.mu.Lock()
			asks := h.asks
			h.mu.Unlock()
			var cut, deaf bool
			if asks != nil {
				cut, deaf = asks(k, &r)
			}
			if cut {
				h.reach(k, false)
			}
			if h.isCut(k) {
				return nil, errors.New("cut off")
			}
			answer := serve[m.Key].Serve(ctx, k, request)
			if deaf {
				h.reach(k, false)
				return nil, errors.New("cut off")
			}
			return answer, nil
		})})
		if err != nil {
			return nil, err
		}
		c.KeepLease()
		t.Cleanup(func() { c.Close() })
		return &runtime.Home{Authority: c, Replicas: authority.Replicas{Places: c.Places(), Need: 2}, Node: k, AppendLimit: 3 * time.Second}, nil
	}
	return h
}

type direct func(ctx context.Context, m fleet.Member, request []byte) ([]byte, error)

func (d direct) Do(ctx context.Context, m fleet.Member, request []byte) ([]byte, error) {
	return d(ctx, m, request)
}

// handsOver reports whether a request is the commit of a hand-over, and offers whether it is
// the append before.
func handsOver(r *protocol.Request) bool {
	return r.Kind == protocol.Append && r.Next.Position.Major > r.Prev.Major
}

func offers(r *protocol.Request) bool {
	return r.Kind == protocol.Append && r.Next.Position.State == authority.HandingOver
}

// settled waits until a node takes nothing any more.
func (a *aNode) settled() {
	a.t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		n := len(a.takes)
		a.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Since(began) > 30*time.Second {
			a.t.Fatalf("node %d still waits for an agent", a.n)
		}
	}
}

// TestHomeCutBefore cuts the source off when it is about to give the agent away: nobody
// knows what became of that, and nobody lives it, until the source reaches the home again
// and goes on. The target, which promised to take it, is told by the home that it is not
// its.
func TestHomeCutBefore(t *testing.T) {
	for name, at := range map[string]func(*protocol.Request) bool{"the offer": offers, "the commit": handsOver} {
		t.Run(name, func(t *testing.T) {
			home := inFleet(t)
			a, b, c := newNode(t, 1, home.at), newNode(t, 2, home.at), newNode(t, 3, home.at)
			a.home = home.name
			meet(t, a, b, c)
			agent := a.bear("watcher", 2, 3)
			a.awaitTicks("watcher", 3)
			var once atomic.Bool
			home.on(func(by verifier.PublicKey, r *protocol.Request) (bool, bool) {
				return by == publicKey(1) && at(r) && once.CompareAndSwap(false, true), false
			})
			_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
			if err == nil {
				t.Fatal("it was handed over")
			}
			if name == "the commit" && !errors.Is(err, runtime.ErrMoveUnknown) {
				t.Errorf("it is said to be known: %v", err)
			}
			home.reach(publicKey(2), false) // the target finds out later
			home.reach(publicKey(1), true)
			a.awaitTicks("watcher", 3)
			// The source gives it to another one, which is not the first one's business.
			m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{c.public}})
			if err != nil || m.Number != 1 {
				t.Fatalf("%+v, %v", m, err)
			}
			c.awaitTicks("watcher", 3)
			home.reach(publicKey(2), true)
			b.settled()
			if entries, _ := os.ReadDir(filepath.Join(b.dir, "agents")); len(entries) > 0 || len(hasKey(t, b.dir, "")) > 0 {
				t.Errorf("the one that was promised it first has %v", entries)
			}
			c.stop()
			oneLife(t, filepath.Join(c.dir, "agents", "watcher"), agent, 1)
		})
	}
}

// TestHomeCutAfter cuts the source off when it has given the agent away, and before it hears
// of that: it does not live on, the target does, and the source finds out when it reaches
// the home again.
func TestHomeCutAfter(t *testing.T) {
	home := inFleet(t)
	a, b := newNode(t, 1, home.at), newNode(t, 2, home.at)
	a.home = home.name
	meet(t, a, b)
	agent := a.bear("watcher", 2)
	a.awaitTicks("watcher", 3)
	home.on(func(by verifier.PublicKey, r *protocol.Request) (bool, bool) {
		return false, by == publicKey(1) && handsOver(r)
	})
	m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
	if !errors.Is(err, runtime.ErrMoveUnknown) {
		t.Fatalf("%+v, %v", m, err)
	}
	b.awaitTicks("watcher", 3)
	if _, gone, err := runtime.ReadMoved(a.agentDir("watcher")); err != nil || gone {
		t.Fatalf("the source knows already: %t, %v", gone, err)
	}
	home.reach(publicKey(1), true)
	for began := time.Now(); len(hasKey(t, a.dir, "watcher")) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the source has the key")
		}
	}
	if m, gone, err := runtime.ReadMoved(a.agentDir("watcher")); err != nil || !gone || m.Record.To != b.public {
		t.Errorf("the folder says %t, %v", gone, err)
	}
	b.awaitTicks("watcher", 3)
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
	records, err := os.ReadFile(filepath.Join(a.agentDir("watcher"), "handovers"))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := os.ReadFile(filepath.Join(b.dir, "agents", "watcher", "handovers")); err != nil || !bytes.Equal(same, records) {
		t.Errorf("the records of the two differ: %v", err)
	}
}

// TestHomeTargetCut cuts the target off after it promised: it lives nothing until the home
// says that the agent is its.
func TestHomeTargetCut(t *testing.T) {
	home := inFleet(t)
	a, b := newNode(t, 1, func(c *Config) { home.at(c); c.MoveLimit = time.Second }), newNode(t, 2, home.at)
	a.home = home.name
	meet(t, a, b)
	agent := a.bear("watcher", 2)
	a.awaitTicks("watcher", 3)
	home.on(func(by verifier.PublicKey, r *protocol.Request) (bool, bool) {
		if by == publicKey(1) && offers(r) {
			home.reach(publicKey(2), false)
		}
		return false, false
	})
	m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Arrived || len(hasKey(t, b.dir, "")) > 0 {
		t.Errorf("it arrived before the home said so: %+v", m)
	}
	a.stop() // the source is gone for good: the home is enough
	home.reach(publicKey(2), true)
	b.awaitTicks("watcher", 3)
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
}

// TestHomeOfOthers has a source propose what its agent's home knows nothing of, or the home
// be one that nodes do not open for each other.
func TestHomeOfOthers(t *testing.T) {
	home := inFleet(t)
	a, b := newNode(t, 1, home.at), newNode(t, 2, home.at)
	none := newNode(t, 3, nil)
	a.home = home.name
	meet(t, a, b, none)
	agent := a.bear("watcher", 2, 3)
	a.awaitTicks("watcher", 3)
	if _, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{none.public}}); reasonOf(err) != wire.Policy {
		t.Errorf("a node without homes takes it: %v", err)
	}
	e := newEvil(t, 7)
	e.meets(b)
	for name, test := range map[string]struct {
		home   string
		number uint64
		reason wire.Reason
	}{
		"a folder of the target":     {"/etc", 1, wire.Policy},
		"another's agent":            {home.name, 1, wire.Divergence},
		"of another number":          {home.name, 7, wire.Divergence},
		"a name without end":         {"fleet:" + strings.Repeat("x", 9<<10), 1, wire.Unverified},
		"a fleet that is none":       {"fleet:nobody", 1, wire.Transport},
		"its folder, while it is in": {"", 1, wire.Unverified},
	} {
		offer, err := b.Offer()
		if err != nil {
			t.Fatal(err)
		}
		c := e.open(b, ProtocolHandOver)
		var answer wire.Answer
		e.send(ProtocolHandOver, func(c *conn) { wire.Write(c, wire.Files{Files: []wire.File{{Name: "../key"}}}) })
		if err := wire.Write(c, wire.Propose{Do: "propose", Agent: agent.DID(), Genesis: strings.Repeat("11", 32), Head: strings.Repeat("22", 32), Number: test.number, Offer: offer.Append(nil), Name: "x", Home: test.home}); err != nil {
			t.Fatal(err)
		}
		for answer.State == "" || answer.State == wire.Working {
			if err := wire.Read(c, &answer); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		c.Reset()
		if answer.Reason != test.reason {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	a.awaitTicks("watcher", 3)
}

// everyHome runs a test for agents of each kind of home.
func everyHome(t *testing.T, do func(t *testing.T, home *testHome)) {
	t.Run("folder", func(t *testing.T) { do(t, inFolders()) })
	t.Run("bucket", func(t *testing.T) { do(t, inMemory(authoritytest.NewStore())) })
	t.Run("fleet", func(t *testing.T) { do(t, inFleet(t)) })
}

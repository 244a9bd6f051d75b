package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/authoritytest"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/member"
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
func (h *testHome) reach(n *aNode, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut[n.public] = !ok
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

// inFleet is a fleet of three members.
func inFleet(t testing.TB) *testHome {
	t.Helper()
	engine := member.NewMemory()
	serve := map[verifier.PublicKey]*member.Member{}
	var all []fleet.Member
	for i := range byte(3) {
		blobs, err := dir.Blobs(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m, err := member.New(member.Config{Engine: engine, Replica: blobs})
		if err != nil {
			t.Fatal(err)
		}
		serve[publicKey(200+i)] = m
		all = append(all, fleet.Member{Key: publicKey(200 + i), Address: fmt.Sprintf("member%d:7450", i)})
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
			if h.isCut(k) {
				return nil, errors.New("cut off")
			}
			return serve[m.Key].Serve(ctx, k, request), nil
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

// everyHome runs a test for agents of each kind of home.
func everyHome(t *testing.T, do func(t *testing.T, home *testHome)) {
	t.Run("folder", func(t *testing.T) { do(t, inFolders()) })
	t.Run("bucket", func(t *testing.T) { do(t, inMemory(authoritytest.NewStore())) })
	t.Run("fleet", func(t *testing.T) { do(t, inFleet(t)) })
}

package etcd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/member"
	"igor.dev/verifier"
)

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func public(k ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(k.Public().(ed25519.PublicKey))
}

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// begin is the first position of an agent.
func begin(owner verifier.PublicKey, writer byte) authority.Position {
	return authority.Position{Sequence: 1, State: authority.Active, Owner: owner, Writer: authority.WriterID{writer},
		Head: hash("head"), Journal: hash("journal"), Log: hash("log")}
}

// freePorts returns addresses at which nothing listens.
func freePorts(t testing.TB, host string, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

// single starts a fleet of one.
func single(t testing.TB) *Engine {
	t.Helper()
	e, err := Start(Config{Key: key(1), Dir: t.TempDir(), Members: []Peer{{public(key(1)), freePorts(t, "127.0.0.1", 1)[0]}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// ready waits until a store lives.
func ready(t *testing.T, e *Engine) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), 60*time.Second)
	defer done()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestEngine holds etcd, and the engine in memory, to what members rely on.
func TestEngine(t *testing.T) {
	for name, engine := range map[string]member.Engine{"etcd": single(t), "memory": member.NewMemory()} {
		t.Run(name, func(t *testing.T) { testEngine(t, engine) })
	}
}

func testEngine(t *testing.T, e member.Engine) {
	ctx := t.Context()
	agent, node := public(key(7)), public(key(8))
	if _, err := e.Read(ctx, agent); !errors.Is(err, authority.ErrNone) {
		t.Fatalf("an empty one has %v", err)
	}
	entry := func(p authority.Position) authority.Entry {
		e := authority.Entry{Agent: agent, Position: p}
		if err := e.Sign(key(7)); err != nil {
			t.Fatal(err)
		}
		return e
	}
	first := begin(node, 1)
	second := first
	second.Sequence = 2
	changed := func(err error, have authority.Position) {
		t.Helper()
		if c, ok := errors.AsType[*member.Changed](err); !ok || c.Have.Position != have {
			t.Errorf("it ends with %v, and a conflict with append %d was due", err, have.Sequence)
		} else if !have.IsZero() && c.Have.Check() != nil {
			t.Errorf("what there is comes unsigned: %v", c.Have.Check())
		}
	}
	changed(e.Swap(ctx, member.Swap{Prev: first, Next: entry(second)}), authority.Position{})
	terms, err := (&authority.Terms{Agent: agent, Nodes: []verifier.PublicKey{node}}).Sign(key(7))
	if err != nil {
		t.Fatal(err)
	}
	one := entry(first)
	one.Terms = terms
	if err := e.Swap(ctx, member.Swap{Next: one, Lease: 99, TTL: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
	changed(e.Swap(ctx, member.Swap{Next: one, Lease: 99, TTL: 2 * time.Second}), first)
	h, err := e.Read(ctx, agent)
	if err != nil || h.Position != first || !bytes.Equal(h.Terms, terms) || h.Lease <= 0 || h.Lease > 4*time.Second || h.Check() != nil {
		t.Errorf("it has %+v, %v", h, err)
	}
	if err := e.Swap(ctx, member.Swap{Prev: first, Next: entry(second), Lease: 5, TTL: time.Second, Free: true}); !errors.Is(err, member.ErrLeased) {
		t.Errorf("while the lease runs: %v", err)
	}
	if _, err := e.Renew(ctx, 99, 2*time.Second); err != nil {
		t.Error(err)
	}
	if err := e.Release(ctx, 99); err != nil {
		t.Error(err)
	}
	if err := e.Release(ctx, 98); err != nil {
		t.Errorf("of a lease that is not there: %v", err)
	}
	two := entry(second)
	two.Record = []byte("record")
	if err := e.Swap(ctx, member.Swap{Prev: first, Next: two, Free: true}); err != nil { // held without end
		t.Fatal(err)
	}
	h, err = e.Read(ctx, agent)
	if err != nil || h.Position != second || !bytes.Equal(h.Terms, terms) || !bytes.Equal(h.Record, two.Record) || h.Lease != member.Endless {
		t.Errorf("it has %+v, %v", h, err)
	}
	third := second
	third.Sequence = 3
	if err := e.Swap(ctx, member.Swap{Prev: second, Next: entry(third), Free: true}); !errors.Is(err, member.ErrLeased) {
		t.Errorf("while it is held: %v", err)
	}
	if err := e.Swap(ctx, member.Swap{Prev: second, Next: entry(third), Lease: 6, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	if h, err = e.Read(ctx, agent); err != nil || h.Record != nil || h.Lease > 3*time.Second {
		t.Errorf("it has %+v, %v", h, err)
	}
	// A lease that nobody renews runs out.
	deadline := time.Now().Add(20 * time.Second)
	for h.Lease > 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		if h, err = e.Read(ctx, agent); err != nil {
			t.Fatal(err)
		}
	}
	if h.Lease > 0 {
		t.Error("a lease does not run out")
	}
	// Lists, in pieces.
	for n := range 10 {
		other := entry(first)
		other.Agent = verifier.PublicKey{byte(n)}
		if err := e.Swap(ctx, member.Swap{Next: other}); err != nil {
			t.Fatal(err)
		}
	}
	var after verifier.PublicKey
	var all []string
	for {
		some, err := e.List(ctx, after, 4)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		for _, s := range some {
			all = append(all, fmt.Sprint(s.Agent[0], len(s.Terms) > 0))
			after = s.Agent
		}
	}
	// The agent of zeros is the one after which a list begins; there is none with such a key.
	if len(all) != 11 && len(all) != 10 {
		t.Errorf("the list has %d: %v", len(all), all)
	}
}

// TestAgain has a member die and come back: what it answered is there.
func TestAgain(t *testing.T) {
	c := Config{Key: key(1), Dir: t.TempDir(), Members: []Peer{{public(key(1)), freePorts(t, "127.0.0.1", 1)[0]}}}
	agent, node := public(key(7)), public(key(8))
	at := authority.Position{}
	for n := range uint64(3) {
		e, err := Start(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		h, err := e.Read(t.Context(), agent)
		if n > 0 && (err != nil || h.Position != at) {
			t.Errorf("it comes back with %+v, %v", h, err)
		}
		next := begin(node, 1)
		next.Sequence = n + 1
		if err := e.Swap(t.Context(), member.Swap{Prev: at, Next: authority.Entry{Agent: agent, Position: next}, Lease: 5, TTL: time.Minute}); err != nil {
			t.Fatal(err)
		}
		at = next
		if s, err := e.Standing(t.Context()); err != nil || s.Leader != public(key(1)) || len(s.Members) != 1 || !s.Members[0].Came {
			t.Errorf("%+v, %v", s, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJoin has a member come to a fleet that lives already: those that are there are started
// again with the new list.
func TestJoin(t *testing.T) {
	addresses := freePorts(t, "127.0.0.1", 2)
	one := Config{Key: key(1), Dir: t.TempDir(), Members: []Peer{{public(key(1)), addresses[0]}}}
	start := func(c Config) *Engine {
		t.Helper()
		e, err := Start(c)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	agent := public(key(7))
	a := start(one)
	ready(t, a)
	first := begin(public(key(8)), 1)
	if err := a.Swap(t.Context(), member.Swap{Next: authority.Entry{Agent: agent, Position: first}}); err != nil {
		t.Fatal(err)
	}
	follow := func(e *Engine, version uint64, description string, changes int) {
		t.Helper()
		ctx, done := context.WithTimeout(t.Context(), 60*time.Second)
		defer done()
		newest, changed, err := e.Follow(ctx, version, []byte(description))
		if err != nil || newest != version || len(changed) != changes {
			t.Fatalf("version %d, %q, %v", newest, changed, err)
		}
	}
	follow(a, 1, "one", 0)
	added := Peer{public(key(2)), addresses[1]}
	a.Close()
	alone := one
	one.Members = append(one.Members, added)
	a = start(one)
	defer func() { a.Close() }()
	ready(t, a)
	follow(a, 2, "two", 1)
	s, err := a.Standing(t.Context())
	if err != nil || s.Version != 2 || len(s.Members) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, m := range s.Members {
		if m.Came != (m.Key == public(key(1))) {
			t.Errorf("%+v", s)
		}
	}
	b := start(Config{Key: key(2), Dir: t.TempDir(), Members: one.Members, Join: []verifier.PublicKey{public(key(1)), public(key(2))}})
	ready(t, b)
	follow(b, 2, "two", 0)
	if _, _, err := a.Follow(t.Context(), 2, []byte("two others")); !errors.Is(err, ErrOther) {
		t.Errorf("another description of the same version: %v", err)
	}
	if h, err := b.Read(t.Context(), agent); err != nil || h.Position != first {
		t.Errorf("the new one has %+v, %v", h, err)
	}
	if s, err := b.Standing(t.Context()); err != nil || len(s.Members) != 2 || !s.Members[0].Came || !s.Members[1].Came {
		t.Errorf("%+v, %v", s, err)
	}
	// An old list changes nothing.
	if newest, changed, err := b.Follow(t.Context(), 1, []byte("one")); err != nil || newest != 2 || len(changed) > 0 {
		t.Errorf("version %d, %q, %v", newest, changed, err)
	}
	a.Close()
	a = start(alone)
	ready(t, a)
	follow(a, 3, "three", 1)
	b.Close()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) { // b may have been the leader
		h, err := a.Read(t.Context(), agent)
		if err == nil && h.Position == first {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("the one that is left has append %d, %v", h.Position.Sequence, err)
		}
	}
}

// TestLostData has a member of a fleet whose data are gone start as it did at first: it must
// not, since it promised to have them.
func TestLostData(t *testing.T) {
	addresses := freePorts(t, "127.0.0.1", 3)
	var all []Peer
	for i, a := range addresses {
		all = append(all, Peer{public(key(byte(i + 1))), a})
	}
	var dirs []string
	for i := range all {
		dirs = append(dirs, t.TempDir())
		e, err := Start(Config{Key: key(byte(i + 1)), Dir: dirs[i], Members: all})
		if err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			defer e.Close()
			continue
		}
		ctx, done := context.WithTimeout(t.Context(), 60*time.Second)
		defer done()
		if err := e.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		for s, err := e.Standing(ctx); ; s, err = e.Standing(ctx) {
			came := 0
			for _, m := range s.Members {
				if m.Came {
					came++
				}
			}
			if err == nil && came == 3 {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%+v, %v", s, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		e.Close()
	}
	if !Exists(dirs[2]) || os.RemoveAll(dirs[2]) != nil || Exists(dirs[2]) {
		t.Fatal("its data are not where they should be")
	}
	e, err := Start(Config{Key: key(3), Dir: dirs[2], Members: all})
	if err == nil {
		e.Close()
		t.Fatal("a member that lost its data began again")
	}
	if !strings.Contains(err.Error(), "already been bootstrapped") {
		t.Error(err)
	}
}

// TestThirdComesLater has two of three members be a fleet, and the third start when that lives:
// it never came, so that it lost nothing, and it is let in.
func TestThirdComesLater(t *testing.T) {
	addresses := freePorts(t, "127.0.0.1", 3)
	var all []Peer
	for i, a := range addresses {
		all = append(all, Peer{public(key(byte(i + 1))), a})
	}
	ctx, done := context.WithTimeout(t.Context(), 60*time.Second)
	defer done()
	var first *Engine
	for i := range 2 {
		e, err := Start(Config{Key: key(byte(i + 1)), Dir: t.TempDir(), Members: all})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		first = cmp.Or(first, e)
	}
	if err := first.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	came := func() (n int) {
		s, err := first.Standing(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range s.Members {
			if m.Came {
				n++
			}
		}
		return n
	}
	for n := came(); n != 2; n = came() {
		if n == 3 {
			t.Fatal("one that never started is said to have come")
		}
		time.Sleep(20 * time.Millisecond)
	}
	third, err := Start(Config{Key: key(3), Dir: t.TempDir(), Members: all, Join: []verifier.PublicKey{all[0].Key, all[1].Key, all[2].Key}})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if err := third.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for came() < 3 {
		time.Sleep(20 * time.Millisecond)
	}
}

// TestValues holds both engines to what members rely on of what is kept beside entries.
func TestValues(t *testing.T) {
	for name, e := range map[string]member.Engine{"etcd": single(t), "memory": member.NewMemory()} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := e.Value(ctx, "x"); !errors.Is(err, authority.ErrNone) {
				t.Errorf("what is not there: %v", err)
			}
			for _, step := range []struct {
				number uint64
				want   error
			}{{0, member.ErrNotNext}, {2, member.ErrNotNext}, {1, nil}, {1, member.ErrNotNext}, {3, member.ErrNotNext}, {2, nil}, {1, member.ErrNotNext}} {
				if err := e.Keep(ctx, "x", member.Value{Number: step.number, Bytes: fmt.Append(nil, step.number)}); !errors.Is(err, step.want) {
					t.Errorf("value %d: %v, and %v was due", step.number, err, step.want)
				}
			}
			if v, err := e.Value(ctx, "x"); err != nil || v.Number != 2 || string(v.Bytes) != "2" {
				t.Errorf("value %d is kept, %q, %v", v.Number, v.Bytes, err)
			}
			large := member.Value{Number: 1, Bytes: make([]byte, authority.MaxPlan)}
			if err := e.Keep(ctx, "y", large); err != nil {
				t.Errorf("the largest plan: %v", err)
			}
		})
	}
}

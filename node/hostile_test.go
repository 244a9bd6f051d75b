package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"igor.dev/internal/testkit"
	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// An evil is a peer that says what it likes.
type evil struct {
	host host.Host
	key  ed25519.PrivateKey
	did  verifier.PublicKey
	t    testing.TB
}

func everybody(verifier.PublicKey) bool { return true }

func newEvil(t testing.TB, n byte) *evil {
	t.Helper()
	h, err := newHost(testKey(n), []string{"/ip4/127.0.0.1/tcp/0"}, nil, nil, &gate{allowed: everybody, known: everybody})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &evil{h, testKey(n), publicKey(n), t}
}

// meets makes a node know it.
func (e *evil) meets(a *aNode) {
	e.t.Helper()
	p := Peer{Node: e.did}
	for _, x := range e.host.Addrs() {
		p.Addresses = append(p.Addresses, x.String())
	}
	if err := a.peers.add(p); err != nil {
		e.t.Fatal(err)
	}
}

func (e *evil) open(to *aNode, of protocol.ID) *conn {
	e.t.Helper()
	id, _ := idOf(to.public)
	if err := e.host.Connect(e.t.Context(), peer.AddrInfo{ID: id, Addrs: to.host.Addrs()}); err != nil {
		e.t.Fatal(err)
	}
	s, err := e.host.NewStream(e.t.Context(), id, of)
	if err != nil {
		e.t.Fatal(err)
	}
	return &conn{Stream: s, until: time.Now().Add(30 * time.Second), silence: 10 * time.Second}
}

// offers has it offer what it is told.
func (e *evil) offers(change func(*price.Offer)) *price.Offer {
	e.t.Helper()
	k, err := sealingKey(e.key)
	if err != nil {
		e.t.Fatal(err)
	}
	o := &price.Offer{Issued: time.Now().Unix(), Expires: time.Now().Unix() + 600, FreeAgents: 10, FreeMemory: 1 << 40, Schedules: runtime.Schedules()}
	copy(o.HPKE[:], k.PublicKey().Bytes())
	for _, name := range []string{"clock", "http", "kv", "log", "node", "pricing", "rand", "wallet", "x402"} {
		o.Capabilities = append(o.Capabilities, price.Capability{Name: name, Version: 2})
	}
	if change != nil {
		change(o)
	}
	if err := o.Sign(e.key); err != nil {
		e.t.Fatal(err)
	}
	e.send(ProtocolPrice, func(c *conn) { c.Write(o.Append(nil)) })
	return o
}

func (e *evil) send(of protocol.ID, do func(c *conn)) {
	e.host.SetStreamHandler(of, func(s network.Stream) {
		defer s.Close()
		do(&conn{Stream: s, until: time.Now().Add(60 * time.Second), silence: 30 * time.Second})
	})
}

func reasonOf(err error) wire.Reason {
	if r, ok := errors.AsType[*wire.Refusal](err); ok {
		return r.Reason
	}
	return ""
}

// hasKey reports whether the key of an agent is anywhere in a node's folder.
func hasKey(t testing.TB, dir string, agent string) (found []string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "key" && strings.Contains(path, agent) {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// TestAttackNobodyHasTheKey is the first: a migration left the agent's key at neither
// node, and the source went on ticking. Here the target is gone as soon as it signed: the
// key is sealed in the commit, which the source keeps, and nobody ticks; when the target
// is there again, it lives.
func TestAttackNobodyHasTheKey(t *testing.T) { everyHome(t, testAttackNobodyHasTheKey) }

func testAttackNobodyHasTheKey(t *testing.T, home *testHome) {
	a, b := newNode(t, 1, home.at), newNode(t, 2, home.at)
	a.home = home.name
	meet(t, a, b)
	agent := a.bear("watcher", 1, 2)
	a.awaitTicks("watcher", 3)
	addresses := b.Addresses()
	signed := make(chan struct{})
	go func() {
		for !exists(filepath.Join(b.incoming(agent), filePromise)) {
			time.Sleep(100 * time.Microsecond)
		}
		close(signed)
	}()
	done := make(chan error, 1)
	go func() {
		_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
		done <- err
	}()
	<-signed
	b.stop()
	err := <-done
	_, gone, readErr := runtime.ReadMoved(a.agentDir("watcher"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	switch {
	case gone && len(hasKey(t, a.dir, "watcher")) > 0:
		t.Error("the source gave it away, and has the key")
	case !gone && len(hasKey(t, a.dir, "watcher")) != 1:
		t.Error("the source has it, and no key")
	case gone != (err == nil):
		t.Errorf("moved %t, and the source says %v", gone, err)
	}
	b.config.Listen = addresses
	b.start()
	if gone {
		b.awaitTicks("watcher", 3)
		b.stop()
		oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
		return
	}
	a.awaitTicks("watcher", 3)
}

// TestAttackTwoOwners is the second: a lost confirmation made both owners. Here the target
// never confirms: it asks for the commit and is told, and the source does not live on.
func TestAttackTwoOwners(t *testing.T) { everyHome(t, testAttackTwoOwners) }

func testAttackTwoOwners(t *testing.T, home *testHome) {
	a, e := newNode(t, 1, func(c *Config) { home.at(c); c.MoveLimit = 2 * time.Second }), newEvil(t, 7)
	a.home = home.name
	e.meets(a)
	e.offers(nil)
	agent := a.bear("watcher", 7)
	a.awaitTicks("watcher", 3)
	var final wire.Final
	e.send(ProtocolHandOver, func(c *conn) {
		var p wire.Propose
		if wire.Read(c, &p) != nil {
			return
		}
		wire.Write(c, wire.Answer{State: wire.Ready})
		if wire.Read(c, &final) != nil {
			return
		}
		wire.Write(c, wire.Answer{State: wire.Signed, Signature: ed25519.Sign(e.key, final.Record)})
		var done wire.Committed
		wire.Read(c, &done)
		io.Copy(io.Discard, c) // and falls silent
	})
	m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{e.did}})
	if err != nil || m.Arrived {
		t.Fatalf("%+v, %v", m, err)
	}
	head := m.Head
	time.Sleep(100 * time.Millisecond)
	l, err := runtime.ReadLife(a.agentDir("watcher"))
	if err != nil || l.Head != head {
		t.Errorf("the source lived on: %+v, %v", l, err)
	}
	if len(hasKey(t, a.dir, "watcher")) > 0 {
		t.Error("the source has the key")
	}
	// The target can have the commit whenever it asks, and nobody else can.
	ask := func(by *evil) (w wire.Commit) {
		c := by.open(a, ProtocolHandOver)
		defer c.Close()
		if err := wire.Write(c, wire.Ask{Do: "commit", Agent: agent.DID(), Number: 1}); err != nil {
			t.Fatal(err)
		}
		if err := wire.Read(c, &w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	other := newEvil(t, 8)
	other.meets(a)
	if w := ask(other); w.State == wire.Gone || len(w.Moved) > 0 {
		t.Errorf("a stranger is given the commit: %+v", w)
	}
	a.stop()
	a.start()
	w := ask(e)
	gone, err := runtime.ParseMoved(w.Moved)
	if err != nil {
		t.Fatal(err)
	}
	k, _ := sealingKey(e.key)
	key, err := unseal(k, runtime.SealInfo(&gone.Record), gone.Sealed)
	if err != nil || verifier.PublicKey(key.Public().(ed25519.PublicKey)) != agent {
		t.Errorf("the key of the commit: %v", err)
	}
	if k, _ := sealingKey(other.key); k != nil {
		if _, err := unseal(k, runtime.SealInfo(&gone.Record), gone.Sealed); err == nil {
			t.Error("another node can open it")
		}
	}
	info := runtime.SealInfo(&gone.Record)
	info[len(info)-1]++
	if _, err := unseal(k, info, gone.Sealed); err == nil {
		t.Error("it can be opened for another hand-over")
	}
}

// TestAttackReplacedVictim is the third: a peer that sent a known agent's identifier
// replaced its key and deleted its checkpoint.
func TestAttackReplacedVictim(t *testing.T) { everyHome(t, testAttackReplacedVictim) }

func testAttackReplacedVictim(t *testing.T, home *testHome) {
	a, b, e := newNode(t, 1, home.at), newNode(t, 2, home.at), newEvil(t, 7)
	a.home = home.name
	meet(t, a, b)
	e.meets(a)
	e.meets(b)
	agent := a.bear("watcher", 1, 2)
	tick := a.awaitTicks("watcher", 3)
	attack := func(on *aNode, number uint64) wire.Answer {
		offer, err := on.Offer()
		if err != nil {
			t.Fatal(err)
		}
		c := e.open(on, ProtocolHandOver)
		defer c.Close()
		p := wire.Propose{Do: "propose", Agent: agent.DID(), Genesis: strings.Repeat("11", 32), Head: strings.Repeat("22", 32), Number: number, Offer: offer.Append(nil), Name: "watcher", Home: home.name}
		if err := wire.Write(c, p); err != nil {
			t.Fatal(err)
		}
		for {
			var answer wire.Answer
			if err := wire.Read(c, &answer); err != nil || answer.State != wire.Working {
				return answer
			}
		}
	}
	for _, number := range []uint64{1, 2, 1 << 60} {
		if got := attack(a, number); got.State != wire.Refused || got.Reason != wire.Divergence {
			t.Errorf("of an agent that lives here, hand-over %d: %+v", number, got)
		}
	}
	if at := a.awaitTicks("watcher", 3); at <= tick {
		t.Error("the victim does not live")
	}
	if _, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}}); err != nil {
		t.Fatal(err)
	}
	b.awaitTicks("watcher", 3)
	before, err := os.ReadFile(filepath.Join(a.agentDir("watcher"), "moved"))
	if err != nil {
		t.Fatal(err)
	}
	if got := attack(a, 1); got.Reason != wire.Divergence {
		t.Errorf("of an agent that was given away: %+v", got)
	}
	e.send(ProtocolHistory, func(c *conn) { c.Write([]byte{wire.BlocksFollow, 0, 0, 0, 0}) })
	if got := attack(a, 2); got.State != wire.Refused {
		t.Errorf("of an agent that was given away, as if it came back: %+v", got)
	}
	if after, err := os.ReadFile(filepath.Join(a.agentDir("watcher"), "moved")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("what is left of it changed: %v", err)
	}
	b.awaitTicks("watcher", 3)
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
}

// TestAttackKeptKey is the fourth: a target that answered "out of memory" kept the key and
// the state, and the source moved on to the next target. Here a target that refuses, at
// any moment, has no key, and never had one.
func TestAttackKeptKey(t *testing.T) { everyHome(t, testAttackKeptKey) }

func testAttackKeptKey(t *testing.T, home *testHome) {
	a, b, e := newNode(t, 1, home.at), newNode(t, 2, home.at), newEvil(t, 7)
	a.home = home.name
	meet(t, a, b)
	e.meets(a)
	e.offers(nil)
	agent := a.bear("watcher", 2, 7)
	a.awaitTicks("watcher", 3)
	var final wire.Final
	e.send(ProtocolHandOver, func(c *conn) {
		var p wire.Propose
		if wire.Read(c, &p) != nil {
			return
		}
		wire.Write(c, wire.Answer{State: wire.Ready})
		if wire.Read(c, &final) != nil {
			return
		}
		wire.Write(c, wire.Answer{State: wire.Refused, Reason: wire.NoCapacity, Detail: "out of memory"})
	})
	m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{e.did, b.public}})
	if err != nil || m.To != b.public {
		t.Fatalf("%+v, %v", m, err)
	}
	b.awaitTicks("watcher", 3)
	// All that the first one has is the hash of a sealed key, of which the bytes were
	// given to nobody.
	record, err := verifier.ParseHandOver(append(bytes.Clone(final.Record), make([]byte, 128)...))
	if err != nil {
		t.Fatal(err)
	}
	c := e.open(a, ProtocolHandOver)
	defer c.Close()
	var w wire.Commit
	if err := errors.Join(wire.Write(c, wire.Ask{Do: "commit", Agent: agent.DID(), Number: record.Number, Record: digest(final.Record)}), wire.Read(c, &w)); err != nil {
		t.Fatal(err)
	}
	if w.State == wire.Gone || w.State == wire.Asking || len(w.Moved) > 0 {
		t.Errorf("the target that refused is given %+v", w)
	}
	b.stop()
	oneLife(t, filepath.Join(b.dir, "agents", "watcher"), agent, 1)
}

// TestSourceGivesTwice has a source sign two hand-overs with one number. Each target has
// its own; the records, together, say who did it.
func TestSourceGivesTwice(t *testing.T) {
	agent := testkit.NewAgent("alice")
	life := agent.History(3, 8)
	var pile verifier.Pile
	for _, c := range life {
		f := verifier.Examine(c)
		pile.Add(&f, "")
	}
	for _, to := range []byte{2, 3} {
		h := &verifier.HandOver{Genesis: sha256.Sum256(life[0]), Head: sha256.Sum256(life[2]), From: publicKey(1), To: publicKey(to), Number: 1}
		h.ToSignature = [64]byte(ed25519.Sign(testKey(to), h.AppendMessage(nil)))
		h.AgentSignature = [64]byte(ed25519.Sign(agent.Private, h.AppendCountersigned(nil)))
		pile.AddHandOvers(h)
	}
	n := 0
	for h := range verifier.Link(&pile, verifier.Pins{}).HandOvers() {
		if n++; h.Problem != verifier.HandOverConflict {
			t.Errorf("hand-over to %s: %q", h.To.DID(), h.Problem)
		}
	}
	if n != 2 {
		t.Errorf("%d hand-overs", n)
	}
}

// TestHostileOffers has a peer offer what nobody may believe.
func TestHostileOffers(t *testing.T) {
	a, e := newNode(t, 1, nil), newEvil(t, 7)
	e.meets(a)
	now := time.Now().Unix()
	good := e.offers(nil)
	if _, err := a.OfferOf(t.Context(), e.did); err != nil {
		t.Fatal(err)
	}
	e.offers(func(o *price.Offer) { o.Issued = now - 100 })
	if _, err := a.OfferOf(t.Context(), e.did); reasonOf(err) != wire.Price || !strings.Contains(err.Error(), "older") {
		t.Errorf("replayed: %v", err)
	}
	e.offers(func(o *price.Offer) { o.Issued, o.Expires = now-700, now-1 })
	if _, err := a.OfferOf(t.Context(), e.did); reasonOf(err) != wire.Price || !strings.Contains(err.Error(), "ended") {
		t.Errorf("expired: %v", err)
	}
	e.offers(func(o *price.Offer) { o.Issued, o.Expires = now+3600, now+7200 })
	if _, err := a.OfferOf(t.Context(), e.did); reasonOf(err) != wire.Price {
		t.Errorf("of the future: %v", err)
	}
	// It passes on what another node that is known here offers.
	if err := a.peers.add(Peer{Node: publicKey(9)}); err != nil {
		t.Fatal(err)
	}
	forged := *good
	forged.Price = 0
	b := forged.Append(nil)
	b[len(b)-1] ^= 1
	for name, bytes := range map[string][]byte{"forged": b, "nothing": nil, "endless": bytes.Repeat([]byte{1}, 1<<20), "another's": func() []byte { o := *good; o.Sign(testKey(9)); return o.Append(nil) }()} {
		e.send(ProtocolPrice, func(c *conn) { c.Write(bytes) })
		if _, err := a.OfferOf(t.Context(), e.did); reasonOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range a.peers.list() {
		if p.Node == e.did && (p.Offer == nil || p.Offer.Issued != good.Issued) {
			t.Error("the good offer is gone")
		}
	}
}

// TestReasons has a target refuse for reasons without end: none of them is kept.
func TestReasons(t *testing.T) {
	a, e := newNode(t, 1, nil), newEvil(t, 7)
	e.meets(a)
	e.offers(nil)
	a.bear("watcher", 7)
	a.awaitTicks("watcher", 1)
	said := 0
	e.send(ProtocolHandOver, func(c *conn) {
		var p wire.Propose
		if wire.Read(c, &p) == nil {
			said++
			wire.Write(c, wire.Answer{State: wire.Refused, Reason: wire.Reason(fmt.Sprint(said) + strings.Repeat("x", 50_000)), Detail: strings.Repeat("y", 10_000)})
		}
	})
	for range 5 {
		_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{e.did}})
		if r := reasonOf(err); r == "" || len(err.Error()) > 1200 {
			t.Errorf("it is refused with %d bytes: %.100v", len(err.Error()), err)
		}
	}
	if f := a.Figures(); said != 5 || len(f.Refused) != 1 || f.Refused["failed"] != 5 {
		t.Errorf("%d refusals are counted by %d reasons, %d of which are none", said, len(f.Refused), f.Refused["failed"])
	}
}

// TestHostileHistories has a source send what is not the agent's life. The target says no,
// and has nothing of it where agents live.
func TestHostileHistories(t *testing.T) {
	defer func(d func(string) (uint64, uint64, bool)) { disk = d }(disk)
	disk = func(string) (size, free uint64, ok bool) { return 100 << 30, 2 << 30, true }
	b, e := newNode(t, 2, func(c *Config) { c.Silence = 2 * time.Second }), newEvil(t, 7)
	e.meets(b)
	who := testkit.NewAgent("alice")
	life := who.History(30, 8)
	head := sha256.Sum256(life[29])
	offer, err := b.Offer()
	if err != nil {
		t.Fatal(err)
	}
	propose := func() wire.Answer {
		c := e.open(b, ProtocolHandOver)
		defer c.Reset()
		p := wire.Propose{Do: "propose", Agent: verifier.PublicKey(who.Key).DID(), Genesis: verifier.Hash(sha256.Sum256(life[0])).String(), Head: verifier.Hash(head).String(), Number: 1, Offer: offer.Append(nil), Name: "x"}
		if err := wire.Write(c, p); err != nil {
			t.Fatal(err)
		}
		for {
			var a wire.Answer
			if err := wire.Read(c, &a); err != nil {
				t.Fatal(err)
			}
			if a.State != wire.Working {
				return a
			}
		}
	}
	send := func(c *conn, blocks [][]byte) {
		if _, err := wire.ReadBlocksAsk(c); err != nil {
			return
		}
		c.Write([]byte{wire.BlocksFollow})
		for i := range blocks {
			wire.WriteBlock(c, blocks[len(blocks)-1-i])
		}
		wire.WriteBlock(c, nil)
	}
	for name, test := range map[string]struct {
		history func(c *conn)
		ask     func(c *conn)
		reason  wire.Reason
	}{
		"another agent's":                 {func(c *conn) { send(c, testkit.NewAgent("eve").History(3, 8)) }, nil, wire.Unverified},
		"without its beginning, for ever": {func(c *conn) { send(c, life[20:21]) }, nil, wire.Unverified},
		"refused":                         {func(c *conn) { wire.ReadBlocksAsk(c); c.Write([]byte{wire.BlocksRefused}) }, nil, wire.Policy},
		"whole, and nothing with it":      {func(c *conn) { send(c, life) }, func(c *conn) { wire.Write(c, wire.Files{}) }, wire.Unverified},
		"whole, and a file outside":       {func(c *conn) { send(c, life) }, func(c *conn) { wire.Write(c, wire.Files{Files: []wire.File{{Name: "../../node.json", Size: 1}}}) }, wire.Unverified},
		"whole, and a key":                {func(c *conn) { send(c, life) }, func(c *conn) { wire.Write(c, wire.Files{Files: []wire.File{{Name: "key", Size: 1}}}) }, wire.Unverified},
		"whole, and a file twice": {func(c *conn) { send(c, life) }, func(c *conn) {
			wire.Write(c, wire.Files{Files: []wire.File{{Name: "journal", Size: 1}, {Name: "journal", Size: 1}}})
		}, wire.Unverified},
		"whole, and a file of 2^62 bytes": {func(c *conn) { send(c, life) }, func(c *conn) { wire.Write(c, wire.Files{Files: []wire.File{{Name: "journal", Size: 1 << 62}}}) }, wire.Unverified},
		"whole, and more than the disk has": {func(c *conn) { send(c, life) }, func(c *conn) {
			wire.Write(c, wire.Files{Files: []wire.File{{Name: "journal", Size: 1 << 30}, {Name: "events/payloads/a", Size: 1 << 30}}})
		}, wire.NoCapacity},
		"whole, and a file that grows": {func(c *conn) { send(c, life) }, func() func(*conn) {
			asked := 0
			return func(c *conn) {
				if asked++; asked == 1 {
					wire.Write(c, wire.Files{Files: []wire.File{{Name: "journal", Size: 1}}})
				} else {
					wire.Write(c, wire.Sending{Name: "journal", Size: 2 << 30})
					io.Copy(c, endless{})
				}
			}
		}(), wire.NoCapacity},
	} {
		if err := os.RemoveAll(b.incoming(verifier.PublicKey(who.Key))); err != nil {
			t.Fatal(err)
		}
		e.send(ProtocolHistory, test.history)
		e.send(ProtocolHandOver, func(c *conn) {
			var q wire.Ask
			if wire.Read(c, &q) != nil {
				return
			}
			if test.ask == nil {
				wire.Write(c, wire.Files{})
				return
			}
			test.ask(c)
		})
		if a := propose(); a.State != wire.Refused || a.Reason != test.reason {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(b.dir, "agents")); err != nil || len(entries) > 0 {
		t.Errorf("it has agents: %v, %v", entries, err)
	}
	if b.status().Taking != 0 {
		t.Error("something is still being taken")
	}
}

// TestFloods has a peer open as many streams as it can, and say nothing, or never read.
// The node answers others meanwhile, in little memory.
func TestFloods(t *testing.T) {
	a, b, e := newNode(t, 1, func(c *Config) { c.Silence = 5 * time.Second }), newNode(t, 2, nil), newEvil(t, 7)
	meet(t, a, b)
	e.meets(a)
	a.bear("watcher", 2)
	a.awaitTicks("watcher", 1)
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Second)
	defer stop()
	opened := 0
	id, _ := idOf(a.public)
	e.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: a.host.Addrs()})
	for i := range 2000 {
		of := []protocol.ID{ProtocolPrice, ProtocolHistory, ProtocolHandOver, "/ipfs/ping/1.0.0"}[i%4]
		s, err := e.host.NewStream(ctx, id, of)
		if err != nil {
			continue
		}
		opened++
		switch i % 3 {
		case 0:
			s.Write([]byte{0xff, 0xff, 0, 0}) // a message that never comes
		case 1:
			go io.Copy(s, endless{})
		}
	}
	if _, err := b.OfferOf(t.Context(), a.public); err != nil {
		t.Errorf("another peer is not answered: %v", err)
	}
	m, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}})
	if err != nil || !m.Arrived {
		t.Errorf("%+v, %v", m, err)
	}
	debug.FreeOSMemory()
	t.Logf("%d streams of 2000 came about", opened)
	b.awaitTicks("watcher", 3)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestStrangers have no way in.
func TestStrangers(t *testing.T) {
	a, e := newNode(t, 1, nil), newEvil(t, 7)
	id, _ := idOf(a.public)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if err := e.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err == nil {
		if s, err := e.host.NewStream(ctx, id, ProtocolPrice); err == nil {
			if b, _ := io.ReadAll(s); len(b) > 0 {
				t.Error("a stranger is answered")
			}
		}
	}
	if a.host.Network().Connectedness(e.host.ID()) == network.Connected {
		t.Error("a stranger is connected")
	}
	private := newNode(t, 3, func(c *Config) { c.NetworkKey = bytes.Repeat([]byte{1}, 32) })
	e.meets(private)
	pid, _ := idOf(private.public)
	if err := e.host.Connect(ctx, peer.AddrInfo{ID: pid, Addrs: private.host.Addrs()}); err == nil {
		t.Error("a peer without the network's key is let in")
	}
}

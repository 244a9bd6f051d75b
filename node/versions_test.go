package node

import (
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/verifier"
)

// A peer of another version is spoken to as docs/spec/versions.md says.

// TestFutureVersion has peers that speak none but later versions of one protocol or another:
// they are refused as such, and asked again nothing changed hands.
func TestFutureVersion(t *testing.T) {
	a := newNode(t, 1, nil)
	agent := a.bear("watcher", 1, 7, 8)
	a.awaitTicks("watcher", 1)
	is := func(what string, err error, words ...string) {
		t.Helper()
		if reasonOf(err) != wire.Version {
			t.Errorf("%s: %v", what, err)
		}
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: it does not say %s: %v", what, w, err)
			}
		}
	}
	// Offers.
	e := newEvil(t, 7)
	e.meets(a)
	nothing := func(*conn) {}
	e.send("/igor/price/2", nothing)
	e.send("/igor/price/3", nothing)
	_, err := a.OfferOf(t.Context(), e.did)
	is("offers", err, e.did.DID(), `"/igor/price/2", "/igor/price/3"`, "this node /igor/price/1", "newer igor-node")
	if p := a.peers.list()[0]; p.Failures > 0 || p.Successes == 0 {
		t.Errorf("it was reached: %+v", p)
	}
	// The hand-over, with offers as they are.
	late := newEvil(t, 8)
	late.meets(a)
	late.offers(nil)
	late.send("/igor/handover/2", nothing)
	_, err = a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{late.did}, Retries: 5})
	is("hand-over", err, "/igor/handover/2")
	// The history, which the target asks the source for.
	b := newNode(t, 2, nil)
	e.meets(b)
	e.send("/igor/history/2", nothing)
	e.send(ProtocolHandOver, func(c *conn) {
		var q wire.Ask
		if wire.Read(c, &q) == nil {
			wire.Write(c, wire.Files{Files: []wire.File{}})
		}
	})
	offer, err := b.Offer()
	if err != nil {
		t.Fatal(err)
	}
	c := e.open(b, ProtocolHandOver)
	defer c.Close()
	answer := wire.Answer{State: wire.Working}
	err = wire.Write(c, wire.Propose{Do: "propose", Agent: did(99), Genesis: strings.Repeat("11", 32), Head: strings.Repeat("22", 32), Number: 1, Offer: offer.Append(nil), Name: "x"})
	for err == nil && answer.State == wire.Working {
		answer = wire.Answer{}
		err = wire.Read(c, &answer)
	}
	if err != nil || answer.State != wire.Refused || answer.Reason != wire.Version || !strings.Contains(answer.Detail, "/igor/history/2") {
		t.Errorf("history: %+v, %v", answer, err)
	}
	// A peer that speaks a later version too comes down to this one.
	id, _ := idOf(a.public)
	if err := e.host.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	if s, err := e.host.NewStream(t.Context(), id, "/igor/price/2"); err == nil {
		t.Errorf("this node speaks %s", s.Protocol())
	}
	s, err := e.host.NewStream(t.Context(), id, "/igor/price/2", ProtocolPrice)
	if err != nil || s.Protocol() != ProtocolPrice {
		t.Fatalf("both: %v", err)
	}
	raw, err := io.ReadAll(s)
	if o, bad := price.Parse(raw); err != nil || bad != nil || o.Node != a.public {
		t.Errorf("its offer: %v, %v", err, bad)
	}
	a.awaitTicks("watcher", 3)
	a.stop()
	oneLife(t, filepath.Join(a.dir, dirAgents, "watcher"), agent, 0)
}

// TestFutureMessages has both sides of a hand-over be sent what a later node may say within
// this version: what is beside what they know makes no difference, and what they do not know
// is refused as such.
func TestFutureMessages(t *testing.T) {
	a, e := newNode(t, 1, nil), newEvil(t, 7)
	e.meets(a)
	e.offers(nil)
	agent := a.bear("watcher", 1, 7)
	a.awaitTicks("watcher", 1)
	raw := func(c *conn, s string) error { return wire.Write(c, json.RawMessage(s)) }
	// As a target.
	stood := make(chan wire.Final, 1)
	e.send(ProtocolHandOver, func(c *conn) {
		var p wire.Propose
		if wire.Read(c, &p) != nil {
			return
		}
		raw(c, `{"state":"working","eta":{"seconds":5},"do":"nothing"}`)
		raw(c, `{"state":"ready","eta":5}`)
		var f wire.Final
		if wire.Read(c, &f) == nil {
			stood <- f
		}
		raw(c, `{"state":"pondering"}`)
	})
	_, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{e.did}})
	if reasonOf(err) != wire.Version || !strings.Contains(err.Error(), `"pondering"`) {
		t.Errorf("a state that is not known: %v", err)
	}
	select {
	case f := <-stood:
		if f.Do != "final" {
			t.Errorf("%+v", f)
		}
	default:
		t.Error("the source gave up at a key that it does not know")
	}
	a.awaitTicks("watcher", 3)
	// As a source.
	said := func(s string) (answer wire.Answer, err error) {
		c := e.open(a, ProtocolHandOver)
		defer c.Close()
		if err := raw(c, s); err != nil {
			return answer, err
		}
		return answer, wire.Read(c, &answer)
	}
	for do, want := range map[string]struct {
		message string
		reason  wire.Reason
		detail  string
	}{
		"another question": {`{"do":"weather","agent":"` + agent.DID() + `"}`, wire.Version, "weather"},
		"another key":      {`{"do":"propose","agent":"` + agent.DID() + `","number":1,"offer":"","hue":["red"]}`, wire.Price, ""},
	} {
		got, err := said(want.message)
		if err != nil || got.State != wire.Refused || got.Reason != want.reason || !strings.Contains(got.Detail, want.detail) {
			t.Errorf("%s: %+v, %v", do, got, err)
		}
	}
	var answer wire.Commit
	c := e.open(a, ProtocolHandOver)
	defer c.Close()
	if err := raw(c, `{"do":"commit","agent":"`+agent.DID()+`","number":1,"why":"to know"}`); err != nil {
		t.Fatal(err)
	}
	if err := wire.Read(c, &answer); err != nil || answer.State != wire.Here {
		t.Errorf("a question with another key: %+v, %v", answer, err)
	}
	a.stop()
	oneLife(t, filepath.Join(a.dir, dirAgents, "watcher"), agent, 0)
}

package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"igor.dev/internal/testkit"
	"igor.dev/node/price"
	"igor.dev/node/wire"
	"igor.dev/verifier"
)

// TestHostileProposals has a source propose what no node means: the target says no before
// it takes anything, or asks anybody.
func TestHostileProposals(t *testing.T) {
	b, e := newNode(t, 2, nil), newEvil(t, 7)
	e.meets(b)
	offer, err := b.Offer()
	if err != nil {
		t.Fatal(err)
	}
	signed := func(change func(*price.Offer)) []byte {
		o := *offer
		change(&o)
		if err := o.Sign(testKey(2)); err != nil {
			t.Fatal(err)
		}
		return o.Append(nil)
	}
	ask := func(p wire.Propose) (a wire.Answer, err error) {
		c := e.open(b, ProtocolHandOver)
		defer c.Reset()
		if err := wire.Write(c, p); err != nil {
			return a, err
		}
		for {
			a = wire.Answer{}
			if err := wire.Read(c, &a); err != nil || a.State != wire.Working {
				return a, err
			}
		}
	}
	now := time.Now().Unix()
	who := testkit.NewAgent("alice")
	good := wire.Propose{Do: "propose", Agent: verifier.PublicKey(who.Key).DID(), Genesis: strings.Repeat("11", 32), Head: strings.Repeat("22", 32), Number: 1, Offer: offer.Append(nil), Name: "x"}
	for what, test := range map[string]struct {
		change func(*wire.Propose)
		reason wire.Reason
	}{
		"no proposal":           {func(p *wire.Propose) { p.Do = "take" }, wire.Version},
		"no agent":              {func(p *wire.Propose) { p.Agent = "did:key:z6Mk" }, wire.Unverified},
		"another kind of key":   {func(p *wire.Propose) { p.Agent = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme" }, wire.Unverified},
		"number 0":              {func(p *wire.Propose) { p.Number = 0 }, wire.Unverified},
		"no offer":              {func(p *wire.Propose) { p.Offer = nil }, wire.Price},
		"an offer of its own":   {func(p *wire.Propose) { p.Offer = e.offers(nil).Append(nil) }, wire.Price},
		"an offer, changed":     {func(p *wire.Propose) { p.Offer = bytes.Clone(p.Offer); p.Offer[60] ^= 1 }, wire.Price},
		"an offer that ended":   {func(p *wire.Propose) { p.Offer = signed(func(o *price.Offer) { o.Issued, o.Expires = now-700, now-1 }) }, wire.Price},
		"an offer to another":   {func(p *wire.Propose) { p.Offer = signed(func(o *price.Offer) { o.HPKE[3] ^= 1 }) }, wire.Price},
		"no hash":               {func(p *wire.Propose) { p.Head = "../../.." }, wire.Unverified},
		"a file as its home":    {func(p *wire.Propose) { p.Home = "/etc/passwd" }, wire.Policy},
		"a web address as home": {func(p *wire.Propose) { p.Home = "http://169.254.169.254/latest" }, wire.Policy},
		"a home without end":    {func(p *wire.Propose) { p.Home = "fleet:" + strings.Repeat("x", 9<<10) }, wire.Unverified},
		"a fleet, unknown here": {func(p *wire.Propose) { p.Home = "fleet:" + e.did.DID() + "@127.0.0.1:1" }, wire.Policy},
		"the last hand-over":    {func(p *wire.Propose) { p.Number = math.MaxUint64; p.Bytes = math.MinInt64 }, wire.Policy},
		"a name that is a path": {func(p *wire.Propose) { p.Name = "../../agents/x" }, wire.Policy},
	} {
		p := good
		test.change(&p)
		e.send(ProtocolHistory, func(c *conn) { wire.ReadBlocksAsk(c); c.Write([]byte{wire.BlocksRefused}) })
		e.send(ProtocolHandOver, func(c *conn) { wire.Write(c, wire.Files{}) })
		a, err := ask(p)
		if a.State != wire.Refused || a.Reason != test.reason {
			t.Errorf("%s: %+v, %v; %q was due", what, a, err, test.reason)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(b.dir, "agents")); err != nil || len(entries) > 0 || b.status().Taking != 0 {
		t.Errorf("it has agents, or takes some: %v, %v", entries, err)
	}
}

// TestTwoSources has two nodes propose one agent at the same time, each as if it owned it:
// one is heard, and the other one is told so.
func TestTwoSources(t *testing.T) {
	b, one, two := newNode(t, 2, nil), newEvil(t, 7), newEvil(t, 8)
	one.meets(b)
	two.meets(b)
	offer, err := b.Offer()
	if err != nil {
		t.Fatal(err)
	}
	who := testkit.NewAgent("alice")
	life := who.History(3, 8)
	heard, answer := make(chan struct{}), make(chan struct{})
	defer close(answer)
	one.send(ProtocolHandOver, func(c *conn) { close(heard); <-answer })
	p := wire.Propose{Do: "propose", Agent: verifier.PublicKey(who.Key).DID(), Genesis: verifier.Hash(sha256.Sum256(life[0])).String(), Head: verifier.Hash(sha256.Sum256(life[2])).String(), Number: 1, Offer: offer.Append(nil), Name: "x"}
	first := one.open(b, ProtocolHandOver)
	defer first.Reset()
	if err := wire.Write(first, p); err != nil {
		t.Fatal(err)
	}
	<-heard
	second := two.open(b, ProtocolHandOver)
	defer second.Reset()
	var a wire.Answer
	if err := wire.Write(second, p); err != nil {
		t.Fatal(err)
	}
	for a.State = wire.Working; a.State == wire.Working; {
		a = wire.Answer{}
		if err := wire.Read(second, &a); err != nil {
			t.Fatal(err)
		}
	}
	if a.State != wire.Refused || a.Reason != wire.NoCapacity || !strings.Contains(a.Detail, "taken already") {
		t.Errorf("the second one: %+v", a)
	}
}

// TestNegotiations has a peer open streams without end, on which it names protocols that
// nobody has, one byte, or nothing at all: they are cut off, and others are answered.
func TestNegotiations(t *testing.T) {
	a, b, e := newNode(t, 1, func(c *Config) { c.Silence = time.Second }), newNode(t, 2, nil), newEvil(t, 7)
	meet(t, a, b)
	e.meets(a)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	id, _ := idOf(a.public)
	if err := e.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	opened := 0
	for i := range 1000 {
		s, err := e.host.Network().NewStream(ctx, id)
		if err != nil {
			break // it has as many as it may
		}
		opened++
		switch i % 4 {
		case 0:
			s.Write([]byte{0x13})
		case 1:
			s.Write([]byte("\x13/multistream/1.0.0\n" + strings.Repeat("\x0d/igor/none/1\n", 200)))
		case 2:
			s.Write(bytes.Repeat([]byte{0xff}, 1<<10))
		}
	}
	if opened == 0 {
		t.Fatal("no stream came about")
	}
	if _, err := b.OfferOf(ctx, a.public); err != nil {
		t.Errorf("another peer is not answered: %v", err)
	}
	t.Logf("%d streams of 1000 came about", opened)
}

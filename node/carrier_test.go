package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"igor.dev/authority"
	dirstore "igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// aMember is a member of a fleet in memory.
func aMember(t testing.TB) *member.Member {
	t.Helper()
	blobs, err := dirstore.Blobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: blobs})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCarriers has one node ask one member by libp2p and by HTTP: it is the same node to
// the member, and the same store.
func TestCarriers(t *testing.T) {
	m := aMember(t)
	a := newNode(t, 1, func(c *Config) { c.Member = m })
	carrier := NewCarrier(testKey(2))
	b := newNode(t, 2, func(c *Config) { c.Carrier = carrier })
	meet(t, a, b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := https.Serve(l, testKey(1), m, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	agentKey := testKey(9)
	agent := verifier.PublicKey(agentKey.Public().(ed25519.PublicKey))
	at := authority.Position{}
	for i, address := range []string{a.Addresses()[0], s.Addr().String(), a.Addresses()[0]} {
		c, err := fleet.New(fleet.Config{Members: []fleet.Member{{Key: a.public, Address: address}}, Via: carrier})
		if err != nil {
			t.Fatal(err)
		}
		have, err := c.Read(t.Context(), agent)
		if i == 0 && !errors.Is(err, authority.ErrNone) || i > 0 && (err != nil || have != at) {
			t.Fatalf("by %s: %+v, %v", address, have, err)
		}
		blob := authority.Blob{Name: authority.Name{Kind: authority.Log, Hash: verifier.Hash{1}}, Data: bytes.Repeat([]byte{byte(i)}, 3<<20)}
		if err := c.Places()[0].Put(t.Context(), agent, at.Sequence+1, blob); err != nil {
			t.Fatalf("by %s: %v", address, err)
		}
		signed, err := c.SignedBy(agentKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		next := authority.Position{Sequence: at.Sequence + 1, State: authority.Active, Owner: b.public, Writer: authority.WriterID{1}, Head: verifier.Hash{byte(i + 1)}, Journal: verifier.Hash{2}, Log: verifier.Hash{1}}
		if err := signed.Append(t.Context(), agent, at, next); err != nil {
			t.Fatalf("by %s: %v", address, err)
		}
		stale := next
		stale.Log = verifier.Hash{5}
		if _, is := errors.AsType[*authority.Conflict](signed.Append(t.Context(), agent, at, stale)); !is {
			t.Errorf("by %s: a second append after the same one", address)
		}
		at = next
		got, err := c.Places()[0].Get(t.Context(), agent, at, blob.Name)
		if err != nil || len(got.Data) != 3<<20 {
			t.Errorf("by %s: %d bytes, %v", address, len(got.Data), err)
		}
	}
	// Who is not known to the node is not heard, and an address that is another node's is none.
	other := NewCarrier(testKey(3))
	newNode(t, 3, func(c *Config) { c.Carrier = other })
	for _, bad := range []struct {
		via *Carrier
		m   fleet.Member
	}{{other, fleet.Member{Key: a.public, Address: a.Addresses()[0]}}, {carrier, fleet.Member{Key: publicKey(3), Address: a.Addresses()[0]}}} {
		r := protocol.Request{Kind: protocol.Read, Agent: agent}
		ctx, done := context.WithTimeout(t.Context(), 5*time.Second)
		if b, err := bad.via.Do(ctx, bad.m, r.Append(nil)); err == nil {
			t.Errorf("it answers %x", b)
		}
		done()
	}
	// A node asks the member that is in it, too.
	self := NewCarrier(testKey(1))
	self.attach(a.Node)
	r := protocol.Request{Kind: protocol.Read, Agent: agent}
	raw, err := self.Do(t.Context(), fleet.Member{Key: a.public, Address: a.Addresses()[0]}, r.Append(nil))
	if answer, perr := protocol.ParseAnswer(protocol.Read, raw); err != nil || perr != nil || answer.Status != protocol.Conflict || answer.Have.Position != at {
		t.Errorf("%+v, %v, %v", answer, err, perr)
	}
}

// TestHostileRequests has a peer send a member what is no request, too much, and half of one
// for ever: others are answered all the same.
func TestHostileRequests(t *testing.T) {
	carrier := NewCarrier(testKey(2))
	a := newNode(t, 1, func(c *Config) { c.Member, c.Silence = aMember(t), time.Second })
	b := newNode(t, 2, func(c *Config) { c.Carrier = carrier })
	e := newEvil(t, 7)
	meet(t, a, b)
	e.meets(a)
	id, _ := idOf(a.public)
	ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if err := e.host.Connect(ctx, peer.AddrInfo{ID: id, Addrs: a.host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	r := protocol.Request{Kind: protocol.Read, Agent: verifier.PublicKey{1}}
	good := r.Append(nil)
	put := protocol.Request{Kind: protocol.Put, Agent: verifier.PublicKey{1}, Sequence: 1}
	frame := func(n uint32, b []byte) []byte { return append(binary.LittleEndian.AppendUint32(nil, n), b...) }
	for name, bad := range map[string][]byte{
		"too long":   frame(1<<31, good),
		"too short":  frame(5, good),
		"no request": frame(64, bytes.Repeat([]byte("GET / HTTP/1.1 "), 5)),
		"longer":     frame(200_000, good),
	} {
		s, err := e.host.NewStream(ctx, id, ProtocolAuthority)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(bad)
		s.SetReadDeadline(time.Now().Add(10 * time.Second))
		if b, err := io.ReadAll(s); err == nil && len(b) > 0 {
			t.Errorf("%s: it answers %x", name, b)
		}
		s.Reset()
	}
	// Large requests that never end, and answers that are never read.
	for range 200 {
		if s, err := e.host.NewStream(ctx, id, ProtocolAuthority); err == nil {
			s.Write(frame(100<<20, put.Append(nil)))
		}
		if s, err := e.host.NewStream(ctx, id, ProtocolAuthority); err == nil {
			s.Write(frame(uint32(len(good)), good))
		}
	}
	for began := time.Now(); ; {
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		raw, err := carrier.Do(short, fleet.Member{Key: a.public, Address: a.Addresses()[0]}, good)
		cancel()
		if answer, perr := protocol.ParseAnswer(protocol.Read, raw); err == nil && perr == nil && answer.Status == protocol.None {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("another peer is not answered: %v", err)
		}
	}
}

// TestFrame holds the frame to what the spec says.
func TestFrame(t *testing.T) {
	// The agent of RFC 8032, test 1.
	agent, err := verifier.ParseDID("did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw")
	if err != nil {
		t.Fatal(err)
	}
	r := protocol.Request{Kind: protocol.Read, Agent: agent}
	var b bytes.Buffer
	if err := writeFrame(&b, r.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if want := testkit.SpecBytes(t, "../docs/spec", "authority.md", "hex frame"); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, b.Bytes())
	}
	got, done, err := readRequest(t.Context(), &b, make(chan struct{}, 1))
	if err != nil || !bytes.Equal(got, r.Append(nil)) {
		t.Errorf("%x, %v", got, err)
	}
	done()
}

type both struct {
	io.Reader
	io.Writer
}

// FuzzFrame has a member read what anybody sends, and a client what a member answers: an
// error, or what is there, in as much memory as came.
func FuzzFrame(f *testing.F) {
	r := protocol.Request{Kind: protocol.Read, Agent: verifier.PublicKey{1}}
	var b bytes.Buffer
	writeFrame(&b, r.Append(nil))
	f.Add(b.Bytes())
	put := protocol.Request{Kind: protocol.Put, Agent: verifier.PublicKey{1}, Sequence: 1}
	f.Add(append(binary.LittleEndian.AppendUint32(nil, 90<<20), put.Append(nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		large := make(chan struct{}, 1)
		got, done, err := readRequest(t.Context(), bytes.NewReader(b), large)
		if err == nil {
			if n := binary.LittleEndian.Uint32(b); !bytes.Equal(got, b[4:4+n]) {
				t.Errorf("%x reads as %x", b, got)
			}
			done()
		}
		if len(large) > 0 {
			t.Error("the turn of a large request is kept")
		}
		if answer, err := ask(both{bytes.NewReader(b), io.Discard}, r.Append(nil)); err == nil && !bytes.HasPrefix(b[4:], answer) {
			t.Errorf("%x reads as %x", b, answer)
		}
	})
}

package https_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func public(k ed25519.PrivateKey) verifier.PublicKey {
	return verifier.PublicKey(k.Public().(ed25519.PublicKey))
}

func hash(s string) verifier.Hash { return sha256.Sum256([]byte(s)) }

// begin is the first position of an agent that a node owns.
func begin(node ed25519.PrivateKey, writer byte) authority.Position {
	return authority.Position{Sequence: 1, State: authority.Active, Owner: public(node), Writer: authority.WriterID{writer},
		Head: hash("head"), Journal: hash("journal"), Log: hash("log")}
}

// serve has a member listen.
func serve(t *testing.T, node ed25519.PrivateKey, c member.Config) fleet.Member {
	t.Helper()
	m, err := member.New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := https.Serve(l, node, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return fleet.Member{Key: public(node), Address: s.Addr().String()}
}

func client(t *testing.T, node ed25519.PrivateKey, members ...fleet.Member) *fleet.Client {
	t.Helper()
	via := https.NewTransport(node)
	c, err := fleet.New(fleet.Config{Members: members, Via: via, Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); via.Close() })
	return c
}

func signed(t *testing.T, c *fleet.Client, agent ed25519.PrivateKey, allowed ...ed25519.PrivateKey) authority.Recording {
	t.Helper()
	terms := authority.Terms{Agent: public(agent), Manifest: hash("manifest")}
	for _, k := range allowed {
		terms.Nodes = append(terms.Nodes, public(k))
	}
	slices.SortFunc(terms.Nodes, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	s, err := c.SignedBy(agent, &terms)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func refusedAs(t *testing.T, err error, code authority.RefusalCode) {
	t.Helper()
	if r, ok := errors.AsType[*authority.Refusal](err); !ok || r.Code != code {
		t.Errorf("it ends with %v, and a refusal of code %d was due", err, code)
	}
}

// TestGuard has nodes ask a member for what they may, and for what they may not.
func TestGuard(t *testing.T) {
	agent, memberKey, owner, other, stranger, operator := key(1), key(2), key(3), key(4), key(5), key(6)
	engine := member.NewMemory()
	var mu sync.Mutex
	clock := time.Duration(0)
	engine.Now = func() time.Duration { mu.Lock(); defer mu.Unlock(); return clock }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); clock += d }
	blobs, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := serve(t, memberKey, member.Config{Engine: engine, Operators: []verifier.PublicKey{public(operator)}, Replica: blobs})
	ctx, of := t.Context(), public(agent)
	mine, theirs, nobodys := client(t, owner, m), client(t, other, m), client(t, stranger, m)
	a := signed(t, mine, agent, owner, other)
	first := begin(owner, 1)

	refusedAs(t, signed(t, nobodys, agent).Append(ctx, of, authority.Position{}, first), authority.NotOwner) // in another's name
	refusedAs(t, signed(t, mine, key(9)).Append(ctx, of, authority.Position{}, first), authority.NotSigned)  // without its key
	if _, err := mine.Read(ctx, of); !errors.Is(err, authority.ErrNone) {
		t.Fatalf("there is %v", err)
	}
	mine.KeepLease()
	if err := mine.WaitHeld(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Append(ctx, of, authority.Position{}, first); err != nil {
		t.Fatal(err)
	}
	second := first
	second.Sequence, second.Log = 2, hash("log 2")
	// A node with a certificate that writes a position which it does not own, with the agent's key too.
	for who, c := range map[string]*fleet.Client{"another node": theirs, "a stranger": nobodys} {
		t.Log(who)
		refusedAs(t, signed(t, c, agent).Append(ctx, of, first, second), authority.NotOwner)
	}
	if err := a.Append(ctx, of, first, second); err != nil {
		t.Fatal(err)
	}
	conflict, is := errors.AsType[*authority.Conflict](a.Append(ctx, of, first, second))
	if !is || conflict.Have != second {
		t.Errorf("again it ends with %v", conflict)
	}
	// Counts that do not grow as they should, and sequences.
	for _, wrong := range []func(p *authority.Position){
		func(p *authority.Position) { p.Sequence = 4 },
		func(p *authority.Position) { p.Major++ },
		func(p *authority.Position) { p.Generation++ },
		func(p *authority.Position) { p.Generation-- },
		func(p *authority.Position) { p.Owner = public(other) },
	} {
		p := second
		p.Sequence = 3
		wrong(&p)
		if _, is := errors.AsType[*authority.RuleError](a.Append(ctx, of, second, p)); !is {
			t.Errorf("%+v may follow", p)
		}
	}
	// A takeover has to wait for the lease, and is for those that the manifest names.
	taken := second
	taken.Sequence, taken.Owner, taken.Writer, taken.Generation = 3, public(other), authority.WriterID{2}, 1
	b := signed(t, theirs, agent, owner, other)
	refusedAs(t, b.Append(ctx, of, second, taken), authority.Leased)
	if _, e, err := theirs.ReadLease(ctx, of); err != nil || e <= 0 || e > 2*time.Second {
		t.Errorf("the lease runs for %v, %v", e, err)
	}
	if err := mine.Close(); err != nil { // nobody renews it; that it was given back is undone here
		t.Fatal(err)
	}
	pass(time.Minute)
	byStranger := taken
	byStranger.Owner = public(stranger)
	refusedAs(t, signed(t, nobodys, agent).Append(ctx, of, second, byStranger), authority.NotAllowed)
	if err := b.Append(ctx, of, second, taken); err != nil {
		t.Fatal(err)
	}
	third := second
	third.Sequence = 3
	third.Log = hash("log 3")
	if _, is := errors.AsType[*authority.Conflict](a.Append(ctx, of, second, third)); !is {
		t.Error("the zombie appends")
	}
	// It is handed back: the record is for the new owner, and for nobody before.
	record := []byte("the key, sealed to the owner")
	offered := taken
	offered.Sequence, offered.State, offered.Record = 4, authority.HandingOver, sha256.Sum256(record)
	given := offered
	given.Sequence, given.State, given.Owner, given.Writer, given.Major = 5, authority.Active, public(owner), authority.WriterID{3}, 1
	if err := b.Append(ctx, of, taken, offered); err != nil {
		t.Fatal(err)
	}
	if _, is := errors.AsType[*authority.RuleError](b.Append(ctx, of, offered, given)); !is {
		t.Error("a hand-over without its record")
	}
	refusedAs(t, a.AppendRecord(ctx, of, offered, given, record), authority.NotOwner) // by its target
	toStranger := given
	toStranger.Owner = public(stranger)
	refusedAs(t, b.AppendRecord(ctx, of, offered, toStranger, record), authority.NotAllowed)
	if _, got, _ := a.Record(ctx, of); got != nil {
		t.Error("the record is there before the hand-over")
	}
	if err := b.AppendRecord(ctx, of, offered, given, record); err != nil {
		t.Fatal(err)
	}
	if _, got, err := b.Record(ctx, of); got != nil || err != nil {
		t.Errorf("the old owner reads %q, %v", got, err)
	}
	if p, got, err := a.Record(ctx, of); !bytes.Equal(got, record) || err != nil || p != given {
		t.Errorf("the new owner reads %q, %v", got, err)
	}
	// Blobs are put by the owner, and read by those that may go on.
	blob := authority.Blob{Name: authority.Name{Kind: authority.Payload, Hash: hash("payload")}, Data: []byte("payload")}
	refusedAs(t, theirs.Places()[0].Put(ctx, of, 6, blob), authority.NotOwner)
	if err := mine.Places()[0].Put(ctx, of, 6, blob); err != nil {
		t.Error(err)
	}
	_, err = nobodys.Places()[0].Get(ctx, of, given, blob.Name)
	refusedAs(t, err, authority.NotAllowed)
	if _, err := theirs.Places()[0].Get(ctx, of, given, blob.Name); err == nil || errors.As(err, new(*authority.Refusal)) {
		t.Errorf("who may go on gets %v", err)
	}
	// Only operators see all, and restore.
	_, err = mine.List(ctx)
	refusedAs(t, err, authority.NotOperator)
	all, err := client(t, operator, m).List(ctx)
	if err != nil || len(all) != 1 || all[0].Position != given {
		t.Errorf("the operator sees %v, %v", all, err)
	}
	refusedAs(t, mine.Restore(ctx, all[0], verifier.Hash{}), authority.NotOperator)
	second.Sequence = 4
	lost := authority.Entry{Agent: of, Position: second}
	if err := lost.Sign(agent); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, client(t, operator, m).Restore(ctx, lost, given.Hash(of)), authority.InTheWay) // an older one
	if _, is := errors.AsType[*authority.Conflict](client(t, operator, m).Restore(ctx, lost, verifier.Hash{})); !is {
		t.Error("it restores over what there is")
	}
}

// TestHostilePeers speaks to a member in ways that no node does.
func TestHostilePeers(t *testing.T) {
	node, stranger := key(2), key(5)
	m := serve(t, node, member.Config{Engine: member.NewMemory(), Admit: func(n verifier.PublicKey) bool { return n == public(key(3)) }})
	a := signed(t, client(t, stranger, m), key(1))
	refusedAs(t, a.Append(t.Context(), public(key(1)), authority.Position{}, begin(stranger, 1)), authority.NotAllowed)

	// Somebody else at the member's address.
	wrong := m
	wrong.Key = public(key(7))
	if _, err := client(t, key(3), wrong).Read(t.Context(), public(key(1))); err == nil || !strings.Contains(err.Error(), "and not") {
		t.Errorf("another node's answer counts: %v", err)
	}

	post := func(c *tls.Config, body io.Reader) (int, error) {
		h := http.Client{Transport: &http.Transport{TLSClientConfig: c}, Timeout: 5 * time.Second}
		defer h.CloseIdleConnections()
		r, err := h.Post("https://"+m.Address+protocol.ID, "", body)
		if err != nil {
			return 0, err
		}
		return r.StatusCode, r.Body.Close()
	}
	with := func(k ed25519.PrivateKey) *tls.Config {
		cert, err := https.Certificate(k)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}
	}
	read := (&protocol.Request{Kind: protocol.Read}).Append(nil)
	if _, err := post(&tls.Config{InsecureSkipVerify: true}, bytes.NewReader(read)); err == nil {
		t.Error("a peer without a key is served")
	}
	// The member's certificate, which everybody sees, without its key.
	stolen := with(node)
	stolen.Certificates[0].PrivateKey = key(8)
	if _, err := post(stolen, bytes.NewReader(read)); err == nil {
		t.Error("a peer with another's certificate is served")
	}
	old := with(key(3))
	old.MaxVersion = tls.VersionTLS12
	if _, err := post(old, bytes.NewReader(read)); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	endless := io.LimitReader(zeros{}, 1<<40)
	for what, body := range map[string]io.Reader{
		"nothing": strings.NewReader(""), "garbage": strings.NewReader(strings.Repeat("x", 1000)),
		"an endless request": endless, "an endless append": io.MultiReader(bytes.NewReader((&protocol.Request{Kind: protocol.Read}).Append(nil)), zeros{}),
	} {
		if status, err := post(with(key(3)), body); err == nil && status < 400 {
			t.Errorf("%s: status %d", what, status)
		}
	}
	if _, err := client(t, key(3), m).Read(t.Context(), public(key(1))); !errors.Is(err, authority.ErrNone) {
		t.Errorf("after all that it answers %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestFlood has a node ask more at once than it may: others are served.
func TestFlood(t *testing.T) {
	slow := &slowEngine{Memory: member.NewMemory(), go_: make(chan struct{})}
	m, err := member.New(member.Config{Engine: slow, PerNode: 4})
	if err != nil {
		t.Fatal(err)
	}
	read := protocol.Request{Kind: protocol.Read, Agent: public(key(1))}
	var all sync.WaitGroup
	answers := make(chan protocol.Status, 100)
	for range 100 {
		all.Go(func() { a := m.Do(t.Context(), public(key(2)), &read); answers <- a.Status })
	}
	for range 96 {
		if s := <-answers; s != protocol.Unavailable {
			t.Errorf("a flood is answered with %v", s)
		}
	}
	renew := protocol.Request{Kind: protocol.Renew, Session: protocol.Session{1}, TTL: time.Second}
	if a := m.Do(t.Context(), public(key(3)), &renew); a.Status != protocol.Done {
		t.Errorf("another node gets %v", a.Status)
	}
	close(slow.go_)
	all.Wait()
}

// TestFull has a node put blobs for agents that never begin: there is an end to it, and an
// agent that begins has its place back.
func TestFull(t *testing.T) {
	blobs, err := dir.Blobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := serve(t, key(2), member.Config{Engine: member.NewMemory(), Replica: blobs, Unborn: 16 << 10, Pending: 15000})
	c := client(t, key(3), m)
	put := func(agent byte, name string) error {
		data := append([]byte(name), make([]byte, 1000)...)
		return c.Places()[0].Put(t.Context(), public(key(agent)), 1, authority.Blob{Name: authority.Name{Kind: authority.Payload, Hash: sha256.Sum256(data)}, Data: data})
	}
	for agent := range byte(3) {
		if err := put(50+agent, "a"); err != nil {
			t.Fatal(err)
		}
	}
	refusedAs(t, put(60, "a"), authority.TooMuch)
	if err := signed(t, c, key(50)).Append(t.Context(), public(key(50)), authority.Position{}, begin(key(3), 1)); err != nil {
		t.Fatal(err)
	}
	if err := put(60, "a"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"b", "c"} {
		if err := put(50, name); err != nil {
			t.Error(err)
		}
	}
	refusedAs(t, put(50, "d"), authority.TooMuch)
	// To say again that the position is the agent's makes no room: only an append does.
	if err := c.Places()[0].Accept(t.Context(), public(key(50)), authority.Position{}); err != nil {
		t.Log(err) // what it names was never put
	}
	refusedAs(t, put(50, "d"), authority.TooMuch)
}

type slowEngine struct {
	*member.Memory
	go_ chan struct{}
}

func (s *slowEngine) Read(ctx context.Context, a verifier.PublicKey) (member.Held, error) {
	<-s.go_
	return s.Memory.Read(ctx, a)
}

// TestMemberThatLies has a member answer as it likes: what the agent did not sign is not
// believed, and the other members are asked.
func TestMemberThatLies(t *testing.T) {
	agent, owner := key(1), key(3)
	engine := member.NewMemory()
	honest := serve(t, key(2), member.Config{Engine: engine})
	ctx, of := t.Context(), public(agent)
	if err := signed(t, client(t, owner, honest), agent).Append(ctx, of, authority.Position{}, begin(owner, 1)); err != nil {
		t.Fatal(err)
	}
	lying := &lyingEngine{Engine: engine}
	liar := serve(t, key(7), member.Config{Engine: lying})
	for what, lie := range map[string]func(e *authority.Entry){
		"a position that nobody signed": func(e *authority.Entry) { e.Position.Sequence = 100 },
		"another owner":                 func(e *authority.Entry) { e.Position.Owner = public(key(8)) },
		"another agent's":               func(e *authority.Entry) { e.Agent = public(key(9)); e.Sign(key(9)) },
		"terms of its own": func(e *authority.Entry) {
			e.Terms, _ = (&authority.Terms{Agent: of, Nodes: []verifier.PublicKey{public(key(7))}}).Sign(key(7))
		},
	} {
		lying.lie = lie
		p, err := client(t, owner, liar, honest).Read(ctx, of)
		if err != nil || p != begin(owner, 1) {
			t.Errorf("%s: it reads %+v, %v", what, p, err)
		}
		if _, err := client(t, owner, liar).Read(ctx, of); err == nil {
			t.Errorf("%s is believed", what)
		}
	}
}

type lyingEngine struct {
	member.Engine
	lie func(*authority.Entry)
}

func (l *lyingEngine) Read(ctx context.Context, a verifier.PublicKey) (member.Held, error) {
	h, err := l.Engine.Read(ctx, a)
	l.lie(&h.Entry)
	h.Position.Owner = h.Entry.Position.Owner
	return h, err
}

// TestManyAtOnce has several processes fight for agents through several members.
func TestManyAtOnce(t *testing.T) {
	engine := member.NewMemory()
	members := []fleet.Member{serve(t, key(20), member.Config{Engine: engine}), serve(t, key(21), member.Config{Engine: engine})}
	agent, node := key(1), key(3)
	of := public(agent)
	if err := signed(t, client(t, node, members...), agent).Append(t.Context(), of, authority.Position{}, begin(node, 1)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	after := map[authority.Position]int{}
	var all sync.WaitGroup
	for p := range 4 {
		c := client(t, node, members...)
		all.Go(func() {
			a := signed(t, c, agent)
			for n := range 20 {
				at, err := c.Read(t.Context(), of)
				if err != nil {
					t.Error(err)
					return
				}
				next := at
				next.Sequence++
				next.Writer = authority.WriterID{byte(p), byte(n), 1}
				if authority.Settle(t.Context(), a, of, at, next) == nil {
					mu.Lock()
					after[at]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for p, n := range after {
		if n > 1 {
			t.Errorf("%d go on from append %d", n, p.Sequence)
		}
	}
	if len(after) < 20 {
		t.Error(fmt.Sprint(len(after), " appends"))
	}
}

// TestKept has nodes keep and read sealed keys and desired states: what they may, and what
// they may not.
func TestKept(t *testing.T) {
	agent, memberKey, owner, other, stranger, operator := key(1), key(2), key(3), key(4), key(5), key(6)
	m := serve(t, memberKey, member.Config{Engine: member.NewMemory(), Operators: []verifier.PublicKey{public(operator)}, Members: []verifier.PublicKey{public(memberKey)}})
	ctx, of := t.Context(), public(agent)
	mine, theirs, nobodys, operators := client(t, owner, m), client(t, other, m), client(t, stranger, m), client(t, operator, m)
	keys := func(number uint64, nodes ...ed25519.PrivateKey) authority.SealedKeys {
		k := authority.SealedKeys{Agent: of, Number: number, Manifest: hash("manifest")}
		for _, n := range nodes {
			k.Keys = append(k.Keys, authority.SealedKey{Node: public(n)})
		}
		slices.SortFunc(k.Keys, func(a, b authority.SealedKey) int { return bytes.Compare(a.Node[:], b.Node[:]) })
		return k
	}
	signedBy := func(k authority.SealedKeys, by ed25519.PrivateKey) []byte {
		b, err := k.Sign(by)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := mine.Seal(ctx, signedBy(keys(1, owner), agent)); !errors.Is(err, authority.ErrNone) {
		t.Errorf("keys of an agent that is not here: %v", err)
	}
	if err := signed(t, mine, agent, owner, other).Append(ctx, of, authority.Position{}, begin(owner, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Sealed(ctx, of); !errors.Is(err, authority.ErrNone) {
		t.Errorf("there are %v", err)
	}
	refusedAs(t, theirs.Seal(ctx, signedBy(keys(1, other), agent)), authority.NotOwner)
	refusedAs(t, mine.Seal(ctx, signedBy(keys(1, owner), key(9))), authority.NotSigned)
	refusedAs(t, mine.Seal(ctx, signedBy(keys(1, stranger), agent)), authority.NotAllowed)
	refusedAs(t, mine.Seal(ctx, signedBy(keys(2, owner), agent)), authority.InTheWay)
	if err := mine.Seal(ctx, signedBy(keys(1, owner, other), agent)); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, mine.Seal(ctx, signedBy(keys(1, owner), agent)), authority.InTheWay)
	refusedAs(t, mine.Seal(ctx, signedBy(keys(2, owner), agent)), authority.InTheWay) // it leaves out who had the key
	named := keys(2, owner)
	named.Had = []verifier.PublicKey{public(other)}
	if err := mine.Seal(ctx, signedBy(named, agent)); err != nil {
		t.Fatal(err)
	}
	for who, c := range map[string]*fleet.Client{"owner": mine, "allowed": theirs, "operator": operators} {
		if k, err := c.Sealed(ctx, of); err != nil || k.Number != 2 || len(k.Had) != 1 {
			t.Errorf("%s: %+v, %v", who, k, err)
		}
	}
	_, err := nobodys.Sealed(ctx, of)
	refusedAs(t, err, authority.NotAllowed)

	plan := authority.Plan{Number: 1, Nodes: []verifier.PublicKey{public(owner)}, Text: []byte("{}")}
	if _, err := operators.Planned(ctx, 0); !errors.Is(err, authority.ErrNone) {
		t.Errorf("there is a plan: %v", err)
	}
	refusedAs(t, mine.Plan(ctx, &plan), authority.NotOperator)
	if err := operators.Plan(ctx, &plan); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, operators.Plan(ctx, &plan), authority.InTheWay)
	if p, err := mine.Planned(ctx, 0); err != nil || p.Number != 1 || string(p.Text) != "{}" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := mine.Planned(ctx, 1); err != nil || p.Number != 0 {
		t.Errorf("what is known comes again: %+v, %v", p, err)
	}
	_, err = theirs.Planned(ctx, 0)
	refusedAs(t, err, authority.NotAllowed)
	_, err = operators.Planned(ctx, 7)
	if err != nil {
		t.Error(err)
	}
}

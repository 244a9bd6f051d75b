package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/node/wire"
	"igor.dev/verifier"
)

// awaitKeys waits until a node says of those who had an agent's key what it should.
func (a *aNode) awaitKeys(agent string, want map[byte]string) {
	a.t.Helper()
	var got map[byte]string
	for i, began := 0, time.Now(); time.Since(began) < 60*time.Second; time.Sleep(20 * time.Millisecond) {
		if i++; i%50 == 0 {
			a.askAgain() // rather than after the pause that has grown meanwhile
		}
		all, err := a.keys(a.t.Context(), agent)
		if err != nil {
			a.t.Fatal(err)
		}
		got = map[byte]string{}
		for _, k := range all {
			n := byte(1)
			for ; did(n) != k.Node && n < 20; n++ {
			}
			switch {
			case k.Owner:
				got[n] = "owner"
			case k.Deleted != "":
				got[n] = "deleted"
				if d, err := authority.ParseDeletion(k.Signed); err != nil || d.Node != publicKey(n) {
					a.t.Fatalf("%+v, %v", d, err)
				}
			default:
				got[n] = "silent"
			}
		}
		same := len(got) == len(want)
		for n, w := range want {
			same = same && got[n] == w
		}
		if same {
			return
		}
	}
	a.t.Fatalf("node %d: %v, want %v", a.n, got, want)
}

// TestDeletions has an agent move on and come back: each node that it left says that it
// deleted the key, the one that has it knows who said so, and what was said before an agent
// came back does not count when it has left again.
func TestDeletions(t *testing.T) { everyHome(t, testDeletions) }

func testDeletions(t *testing.T, home *testHome) {
	a, b, c := newNode(t, 1, home.at), newNode(t, 2, home.at), newNode(t, 3, home.at)
	a.home = home.name
	meet(t, a, b, c)
	agent := a.bear("watcher", 1, 2, 3)
	a.awaitTicks("watcher", 1)
	move := func(from, to *aNode) {
		t.Helper()
		if _, err := from.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{to.public}}); err != nil {
			t.Fatal(err)
		}
		to.awaitTicks("watcher", 1)
	}
	a.awaitKeys("watcher", map[byte]string{1: "owner"})
	move(a, b)
	b.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "owner"})
	a.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "owner"})
	if hasKey(t, a.dir, "watcher") != nil {
		t.Error("who says that it deleted the key has it")
	}
	// The first is gone for good: its word goes along.
	a.stop()
	move(b, c)
	c.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "deleted", 3: "owner"})
	a.start()
	meet(t, a, b, c)
	move(c, a)
	a.awaitKeys("watcher", map[byte]string{1: "owner", 2: "deleted", 3: "deleted"})
	if d, ok := a.deleted(t.Context(), agent); ok {
		t.Errorf("who has it says that it deleted it: %+v", d)
	}
	// What it said when it left first does not count for its second time.
	before, err := os.ReadFile(a.deletionsFile(agent))
	if err != nil {
		t.Fatal(err)
	}
	move(a, b)
	a.stop()
	if err := b.keepDeletions(agent, func(*authority.Deletion) bool { return true }, parseAll(t, before)...); err != nil {
		t.Fatal(err)
	}
	a.start()
	meet(t, a, b, c)
	b.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "owner", 3: "deleted"})
	// What is kept is damaged: it is asked for again.
	if err := os.Truncate(b.deletionsFile(agent), 100); err != nil {
		t.Fatal(err)
	}
	b.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "owner", 3: "deleted"})
	b.stop()
	oneLife(t, filepath.Join(b.dir, dirAgents, "watcher"), agent, 4)
}

func parseAll(t testing.TB, b []byte) (all []authority.Deletion) {
	t.Helper()
	for ; len(b) > 0; b = b[authority.DeletionSize:] {
		d, err := authority.ParseDeletion(b[:authority.DeletionSize])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// TestDeletionsOfOthers has peers say what they may not, and nothing: who did not say that it
// deleted the key is shown as such, and the agent lives.
func TestDeletionsOfOthers(t *testing.T) {
	a, b, e := newNode(t, 1, nil), newNode(t, 2, nil), newEvil(t, 7)
	meet(t, a, b)
	e.meets(a)
	e.meets(b)
	agent := a.bear("watcher", 1, 2)
	a.awaitTicks("watcher", 1)
	asks := func(on *aNode) wire.Deleted {
		t.Helper()
		var d wire.Deleted
		c := e.open(on, ProtocolHandOver)
		defer c.Close()
		if err := wire.Write(c, wire.Ask{Do: "deleted", Agent: agent.DID()}); err != nil {
			t.Fatal(err)
		}
		if err := wire.Read(c, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if _, err := a.Move(t.Context(), "watcher", MoveConfig{To: []verifier.PublicKey{b.public}}); err != nil {
		t.Fatal(err)
	}
	b.awaitTicks("watcher", 1)
	b.awaitKeys("watcher", map[byte]string{1: "deleted", 2: "owner"})
	// A stranger to the agent is told nothing.
	for _, on := range []*aNode{a, b} {
		if d := asks(on); len(d.Deletions) > 0 {
			t.Errorf("node %d tells a stranger: %d", on.n, len(d.Deletions))
		}
	}
	// The source is now one that lies: words of others, of another agent and hand-over, and
	// forged ones. b has nothing but what counts.
	a.stop()
	if err := os.Remove(b.deletionsFile(agent)); err != nil {
		t.Fatal(err)
	}
	liar, err := newHost(testKey(1), []string{"/ip4/127.0.0.1/tcp/0"}, nil, nil, &gate{allowed: everybody, known: everybody})
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	one := &evil{liar, testKey(1), publicKey(1), t}
	one.meets(b)
	asked := make(chan struct{}, 1)
	one.send(ProtocolHandOver, func(c *conn) {
		var q wire.Ask
		if wire.Read(c, &q) != nil {
			return
		}
		var said wire.Deleted
		add := func(d authority.Deletion, n byte) {
			if err := d.Sign(testKey(n)); err != nil {
				t.Error(err)
			}
			said.Deletions = append(said.Deletions, d.Append(nil))
		}
		add(authority.Deletion{Agent: agent, Node: publicKey(9), Time: 1}, 9)                                  // who never had it
		add(authority.Deletion{Agent: publicKey(5), Node: publicKey(1), Time: 1}, 1)                           // of another agent
		add(authority.Deletion{Agent: agent, Node: publicKey(1), Time: 1, HandOver: verifier.Hash{1}}, 1)      // of another hand-over
		add(authority.Deletion{Agent: agent, Node: publicKey(2), Time: 1 << 40, HandOver: verifier.Hash{}}, 2) // of who has it
		said.Deletions = append(said.Deletions, nil, []byte("x"), make([]byte, authority.DeletionSize))        // none
		forged := append([]byte(nil), said.Deletions[0]...)
		forged[60] ^= 1
		said.Deletions = append(said.Deletions, forged)
		wire.Write(c, said)
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	b.came <- struct{}{}
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody is asked")
	}
	b.awaitTicks("watcher", 3)
	b.awaitKeys("watcher", map[byte]string{1: "silent", 2: "owner"})
	if all, err := b.deletions(agent); err != nil || len(all) > 0 {
		t.Errorf("it keeps %+v, %v", all, err)
	}
}

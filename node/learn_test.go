package node

import (
	"context"
	"crypto/ed25519"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/member"
	"igor.dev/node/keeper"
	"igor.dev/verifier"
)

// A countedMember is a member in this process, and counts what it is asked.
type countedMember struct {
	member *member.Member
	asks   verifier.PublicKey
	n      int
}

func (c *countedMember) Do(ctx context.Context, _ fleet.Member, request []byte) ([]byte, error) {
	c.n++
	return c.member.Serve(ctx, c.asks, request), nil
}

// TestLearnsRarely has a node look at agents of its fleet that do not allow it: of a fleet with
// ten thousand these are most, and all nodes would ask for all of them at each look.
func TestLearnsRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := member.New(member.Config{Engine: member.NewMemory()})
		if err != nil {
			t.Fatal(err)
		}
		public := func(key ed25519.PrivateKey) verifier.PublicKey {
			return verifier.PublicKey(key.Public().(ed25519.PublicKey))
		}
		key := func(i byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(append(make([]byte, 31), i)) }
		owner, agent, other := public(key(1)), public(key(2)), public(key(3))
		clientOf := func(node verifier.PublicKey) (*fleet.Client, *countedMember) {
			via := &countedMember{member: m, asks: node}
			c, err := fleet.New(fleet.Config{Members: []fleet.Member{{Key: public(key(9)), Address: "m:1"}}, Via: via})
			if err != nil {
				t.Fatal(err)
			}
			return c, via
		}
		home, _ := clientOf(owner)
		signed, err := home.SignedBy(key(2), &authority.Terms{Agent: agent, Manifest: verifier.Hash{1}, Nodes: []verifier.PublicKey{owner}})
		if err != nil {
			t.Fatal(err)
		}
		first := authority.Position{Sequence: 1, State: authority.Active, Owner: owner, Writer: authority.WriterID{1}, Head: verifier.Hash{1}, Journal: verifier.Hash{1}, Log: verifier.Hash{1}}
		if err := signed.Append(t.Context(), agent, authority.Position{}, first); err != nil {
			t.Fatal(err)
		}

		client, via := clientOf(other)
		k := &upkeep{n: &Node{public: other}, fleet: &Fleet{Client: client}, policies: map[verifier.PublicKey]*policyKnown{}, learned: map[verifier.PublicKey]time.Time{}, owners: map[verifier.PublicKey]authority.Position{}}
		k.plan.Agents = make([]keeper.PlannedAgent, 10*strangers)
		looked := 0
		for until := time.Now().Add(100 * client.Lease); time.Now().Before(until); time.Sleep(client.Lease / looks) {
			if k.learn(t.Context(), agent) != nil {
				t.Fatal("it learned of an agent that does not allow it")
			}
			looked++
		}
		if via.n < 100/(11*3/2) || via.n > 100/(11/2) {
			t.Errorf("in %d looks, over 100 leases, it asked %d times", looked, via.n)
		}
		// Of one that is not there yet it asks each time: it is new.
		via.n = 0
		for range 10 {
			k.learn(t.Context(), public(key(4)))
		}
		if via.n != 10 {
			t.Errorf("it asked %d times in 10 looks", via.n)
		}
	})
}

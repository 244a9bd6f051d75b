package evm_test

import (
	"testing"
	"time"

	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// TestChain holds signatures, and what is found out, to a real chain with the real token.
func TestChain(t *testing.T) {
	c := x402test.NewChain(t)
	node, domain := c.Node(), c.Domain()
	if got, err := node.Separator(t.Context(), c.Token); err != nil || got != domain.Separator() {
		t.Fatalf("the token's domain is %s, %v; here it is %s", got, err, domain.Separator())
	}
	key := x402test.Key(5)
	from := evm.AddressOf(key.PubKey())
	c.Mint(from, 1_000_000)
	nodes := &evm.Nodes{All: []*evm.Node{node}, Quorum: 1}

	newest, err := nodes.Newest(t.Context(), x402test.ChainID)
	if err != nil {
		t.Fatal(err)
	}
	authorize := func(nonce byte) (*evm.Query, evm.Signature) {
		a := evm.Authorization{From: from, To: evm.Address{19: 7}, Value: 1000, ValidBefore: newest.Time + 600, Nonce: evm.Hash{31: nonce}}
		return &evm.Query{Domain: domain, Authorization: a, Since: newest.Number, Confirmations: 3}, evm.Sign(key, a.Digest(&domain))
	}
	is := func(q *evm.Query, fate evm.Fate, confirmed bool) {
		t.Helper()
		f, errs := nodes.Ask(t.Context(), q)
		if len(errs) > 0 || f.Fate != fate || f.Confirmed != confirmed {
			t.Errorf("got %v (confirmed %v), %v; want %v (%v)", f.Fate, f.Confirmed, errs, fate, confirmed)
		}
	}

	paid, s := authorize(1)
	is(paid, evm.Open, false)
	if err := c.Settle(&paid.Authorization, s); err != nil {
		t.Fatal(err)
	}
	is(paid, evm.Paid, false)
	if err := c.Settle(&paid.Authorization, s); err == nil {
		t.Error("the chain took an authorization twice")
	}
	if n, err := node.Balance(t.Context(), c.Token, paid.Authorization.To); err != nil || n != 1000 {
		t.Errorf("the recipient has %d, %v", n, err)
	}
	c.Mine(3)
	is(paid, evm.Paid, true)

	// A nonce that moved something else than we think.
	other := *paid
	other.Authorization.Value++
	is(&other, evm.Conflict, true)

	cancelled, s := authorize(2)
	if err := c.Cancel(from, cancelled.Authorization.Nonce, evm.Sign(key, evm.CancelDigest(&domain, from, cancelled.Authorization.Nonce))); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(&cancelled.Authorization, s); err == nil {
		t.Error("the chain took a cancelled authorization")
	}
	c.Mine(3)
	is(cancelled, evm.Cancelled, true)

	// A block that is taken back.
	again, s := authorize(3)
	if err := c.Settle(&again.Authorization, s); err != nil {
		t.Fatal(err)
	}
	c.Mine(1)
	is(again, evm.Paid, false)
	c.Reorganise(2)
	is(again, evm.Open, false)

	never, s := authorize(4)
	is(never, evm.Open, false)
	c.Pass(time.Hour)
	is(never, evm.Never, true)
	if err := c.Settle(&never.Authorization, s); err == nil {
		t.Error("the chain took an authorization after its time")
	}
}

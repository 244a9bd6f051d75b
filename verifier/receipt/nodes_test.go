package receipt

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// TestNodesTogether has a life that went over three nodes, each with its own price, and back
// to the first: their receipts account for it together, to the unit, and what one of them is
// silent about, or lies about, is not made up for by the others.
func TestNodesTogether(t *testing.T) {
	agent := testkit.NewAgent("alice")
	nodes := []ed25519.PrivateKey{key(0x20), key(0x40), key(0x60)}
	prices := []int64{1000, 3000, 250}
	public := func(k ed25519.PrivateKey) verifier.PublicKey {
		return verifier.PublicKey(k.Public().(ed25519.PublicKey))
	}
	sign := func(e Execution, k ed25519.PrivateKey) *Execution {
		e.Node = public(k)
		copy(e.Signature[:], ed25519.Sign(k, e.AppendMessage(nil)))
		return &e
	}
	var life []verifier.Finding
	var whole []Receipt
	var before []byte
	at := []int{0, 0, 1, 1, 2, 2, 0, 0} // the node of each checkpoint
	f := testkit.Fields{Budget: 1_000_000, WASMHash: [32]byte{1}, State: []byte("state")}
	cost := int64(0)
	for i, n := range at {
		e := Execution{Agent: verifier.PublicKey(agent.Key), Price: prices[n], Ticks: 5, Elapsed: 1e9, Time: int64(i)}
		if i == 0 {
			f.Tick, f.Price, e.Added, e.Ticks, e.Elapsed = 4, prices[n], f.Budget, 4, 0
			before = agent.Checkpoint(f)
		} else {
			e.Prev, e.Cost = testkit.Hash(before), prices[n]
			cost += e.Cost
			f.Tick, f.Price, f.Budget = f.Tick+5, prices[n], f.Budget-e.Cost
			before = agent.After(before, f)
		}
		e.Checkpoint, e.Tick, e.Budget = testkit.Hash(before), f.Tick, f.Budget
		life = append(life, verifier.Examine(before))
		whole = append(whole, sign(e, nodes[n]))
	}
	swap := func(i int, change func(*Execution), by ed25519.PrivateKey) []Receipt {
		all := slices.Clone(whole)
		e := *all[i].(*Execution)
		change(&e)
		if by == nil {
			all[i] = &e
		} else {
			all[i] = sign(e, by)
		}
		return all
	}
	without := func(n int) (all []Receipt) {
		for i, r := range whole {
			if at[i] != n {
				all = append(all, r)
			}
		}
		return all
	}
	other := *whole[3].(*Execution)
	other.Agent = verifier.PublicKey(testkit.NewAgent("bob").Key)
	for name, c := range map[string]struct {
		receipts []Receipt
		verdict  verifier.Verdict
		codes    []Code
	}{
		"all":                         {whole, verifier.Verified, nil},
		"twice":                       {append(slices.Clone(whole), whole...), verifier.Verified, nil},
		"without the first node":      {without(0), verifier.Incomplete, []Code{MissingReceipt}},
		"without the second":          {without(1), verifier.Incomplete, []Code{MissingReceipt}},
		"without the third":           {without(2), verifier.Incomplete, []Code{MissingReceipt}},
		"forged":                      {swap(3, func(e *Execution) { e.Signature[5] ^= 1 }, nil), verifier.Invalid, []Code{BadSignature, MissingReceipt}},
		"at the price of before":      {swap(2, func(e *Execution) { e.Price = prices[0] }, nodes[1]), verifier.Invalid, []Code{CheckpointMismatch}},
		"dearer than was paid":        {swap(4, func(e *Execution) { e.Cost += 7 }, nodes[2]), verifier.Invalid, []Code{BudgetMismatch}},
		"by two nodes":                {append(slices.Clone(whole), sign(*whole[3].(*Execution), nodes[2])), verifier.Invalid, []Code{Conflict}},
		"and one of another agent":    {append(slices.Clone(whole), sign(other, nodes[1])), verifier.Invalid, []Code{IdentityMismatch}},
		"of a life that is elsewhere": {append(slices.Clone(whole), sign(Execution{Agent: verifier.PublicKey(agent.Key), Prev: whole[7].(*Execution).Checkpoint, Checkpoint: [32]byte{9}, Tick: 44, Ticks: 5, Price: 3000, Cost: 3000, Elapsed: 1e9, Budget: f.Budget - 3000}, nodes[1])), verifier.Incomplete, []Code{UnknownCheckpoint}},
	} {
		var check Checker
		check.Agent = &whole[0].(*Execution).Agent
		for i := range life {
			check.AddCheckpoint(&life[i])
		}
		for _, r := range c.receipts {
			if err := check.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		got, err := check.Check()
		if err != nil {
			t.Fatal(err)
		}
		if have := codes(got.Problems); got.Verdict != c.verdict || !slices.Equal(slices.Compact(slices.Sorted(slices.Values(have))), slices.Sorted(slices.Values(c.codes))) {
			t.Errorf("%s: %s, %v, want %s, %v", name, got.Verdict, have, c.verdict, c.codes)
		}
		if name == "all" {
			sum := int64(0)
			for _, e := range got.Lived {
				sum += e.Cost
			}
			if sum != cost || f.Budget+sum != 1_000_000 {
				t.Errorf("the nodes cost %d together, and it was %d; %d are left", sum, cost, f.Budget)
			}
		}
	}
}

// Command genreceipts writes testdata/receipts. Every expectation is stated by hand, from
// docs/spec/receipts.md; nothing here verifies.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"

	"igor.dev/internal/testkit"
)

func main() { testkit.Generate("genreceipts", "receipts", files()) }

func files() map[string][]byte {
	all := make(map[string][]byte)
	for _, v := range vectors() {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			panic(err)
		}
		name := v.name + ".json"
		if all[name] != nil {
			panic(name + " twice")
		}
		all[name] = append(b, '\n')
	}
	return all
}

type vector struct {
	name        string
	Description string   `json:"description"`
	Agent       string   `json:"agent,omitempty"`
	Checkpoints []string `json:"checkpoints,omitempty"`
	Receipts    string   `json:"receipts"`
	Expect      outcome  `json:"expect"`
}

type outcome struct {
	Verdict    string   `json:"verdict,omitempty"`
	Exit       int      `json:"exit"`
	Codes      []string `json:"codes,omitempty"`
	Executions int      `json:"executions"`
	Payments   int      `json:"payments"`
	Duplicates int      `json:"duplicates"`
	Error      string   `json:"error,omitempty"`
}

var (
	alice = testkit.NewAgent("alice")
	bob   = testkit.NewAgent("bob")
	node  = testkit.NewAgent("node")
)

// execution is an execution receipt, field by field.
type execution struct {
	agent, node                      []byte
	prev, checkpoint                 [32]byte
	tick, ticks, elapsed             uint64
	price, added, cost, paid, budget int64
	time                             int64
}

func (e execution) sign(by *testkit.Agent) []byte {
	b := []byte("igor/execution-receipt/v1\x00")
	for _, part := range [][]byte{e.agent, e.node, e.prev[:], e.checkpoint[:]} {
		b = append(b, part...)
	}
	for _, v := range []uint64{e.tick, e.ticks, e.elapsed, uint64(e.price), uint64(e.added), uint64(e.cost), uint64(e.paid), uint64(e.budget), uint64(e.time)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, ed25519.Sign(by.Private, b)...)
}

func payment(by *testkit.Agent, effect byte, amount int64, recipient, memo string) []byte {
	nonce := sha256.Sum256(append([]byte("igor/payment-nonce/v1\x00"), bytes.Repeat([]byte{effect}, 32)...))
	b := append([]byte("igor/payment-receipt/v1\x00"), by.Key...)
	b = append(b, nonce[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(amount))
	b = binary.LittleEndian.AppendUint64(b, 1_700_000_000_000_000_000)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(recipient)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(memo)))
	b = append(append(b, recipient...), memo...)
	return append(b, ed25519.Sign(by.Private, b)...)
}

// onchain is the receipt of a payment on a chain.
func onchain(by *testkit.Agent, effect byte, index uint64, amount int64) []byte {
	nonce := sha256.Sum256(append([]byte("igor/payment-nonce/v1\x00"), bytes.Repeat([]byte{effect}, 32)...))
	b := append([]byte("igor/x402-receipt/v1\x00"), by.Key...)
	b = append(b, nonce[:]...)
	b = binary.LittleEndian.AppendUint64(b, index)
	b = binary.LittleEndian.AppendUint64(b, 8453)
	for i := range byte(3) { // asset, from, to
		b = append(b, bytes.Repeat([]byte{0xa0 + i}, 20)...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(amount))
	b = append(b, bytes.Repeat([]byte{0xb0 + effect}, 32)...) // transaction
	b = binary.LittleEndian.AppendUint64(b, 31_000_000)
	b = append(b, bytes.Repeat([]byte{0xc0 + effect}, 32)...) // block
	b = append(b, 2, 3)
	b = binary.LittleEndian.AppendUint64(b, 1_700_000_000_000_000_000)
	return append(b, ed25519.Sign(by.Private, b)...)
}

// rent is a node's receipt for rent: of a lease where receipts is 0.
func rent(agent, by *testkit.Agent, nonce byte, amount int64, prev, checkpoint [32]byte, receipts uint64) []byte {
	b := append(append([]byte("igor/rent-receipt/v1\x00"), agent.Key...), by.Key...)
	b = binary.LittleEndian.AppendUint64(b, 8453)
	for i := range byte(3) { // asset, from, to
		b = append(b, bytes.Repeat([]byte{0xa0 + i}, 20)...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(amount))
	b = append(b, bytes.Repeat([]byte{0xd0 + nonce}, 32)...)
	b = append(b, bytes.Repeat([]byte{0xb0 + nonce}, 32)...) // transaction
	b = append(append(b, prev[:]...), checkpoint[:]...)
	begins, ends := uint64(1_700_000_000_000_000_000), uint64(1_702_592_000_000_000_000)
	if receipts > 0 {
		begins, ends = 0, 0
	}
	for _, v := range []uint64{receipts, begins, ends, 1_700_000_000_000_000_000} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, ed25519.Sign(by.Private, b)...)
}

// A life of three checkpoints: ticks 0, 10, 20.
var (
	wasm        = sha256.Sum256([]byte("wasm"))
	genesis     = alice.Checkpoint(testkit.Fields{Budget: 1000, Price: 7, WASMHash: wasm})
	second      = alice.After(genesis, testkit.Fields{Budget: 850, Price: 7, Tick: 10, WASMHash: wasm})
	third       = alice.After(second, testkit.Fields{Budget: 1200, Price: 8, Tick: 20, WASMHash: wasm})
	checkpoints = [][]byte{genesis, second, third}
)

// Their receipts.
var (
	born   = execution{alice.Key, node.Key, [32]byte{}, testkit.Hash(genesis), 0, 0, 0, 7, 1000, 0, 0, 1000, 1}
	lived  = execution{alice.Key, node.Key, testkit.Hash(genesis), testkit.Hash(second), 10, 10, 5e9, 7, 0, 35, 115, 850, 2}
	topped = execution{alice.Key, node.Key, testkit.Hash(second), testkit.Hash(third), 20, 10, 1e9, 8, 400, 8, 42, 1200, 3}
)

func vectors() (vs []vector) {
	var r1, r2, r3 = born.sign(node), lived.sign(node), topped.sign(node)
	add := func(name, description string, history [][]byte, receipts [][]byte, o outcome) *vector {
		v := vector{name: name, Description: description, Receipts: hex.EncodeToString(bytes.Join(receipts, nil)), Expect: o}
		for _, c := range history {
			v.Checkpoints = append(v.Checkpoints, hex.EncodeToString(c))
		}
		vs = append(vs, v)
		return &vs[len(vs)-1]
	}
	list := func(b ...[]byte) [][]byte { return b }
	verified := func(executions, payments int) outcome {
		return outcome{Verdict: "verified", Executions: executions, Payments: payments}
	}
	invalid := func(executions, payments int, codes ...string) outcome {
		return outcome{Verdict: "invalid", Exit: 1, Codes: codes, Executions: executions, Payments: payments}
	}
	incomplete := func(executions int, codes ...string) outcome {
		return outcome{Verdict: "incomplete", Exit: 3, Codes: codes, Executions: executions}
	}
	refused := func(why string) outcome { return outcome{Exit: 2, Error: why} }
	// edited has the second receipt changed, and signed again.
	edited := func(change func(*execution)) [][]byte {
		e := lived
		change(&e)
		return list(r1, e.sign(node), r3)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	pay := payment(alice, 1, 115, "bob", "for data")

	add("whole", "A receipt for each checkpoint.", checkpoints, list(r1, r2, r3), verified(3, 0))
	add("whole-with-payment", "And a payment.", checkpoints, list(r1, pay, r2, r3), verified(3, 1))
	add("any-order", "The order of the receipts is not judged.", list(third, genesis, second), list(r3, pay, r1, r2), verified(3, 1))
	add("no-checkpoints", "The receipts agree with one another.", nil, list(r1, r2, r3), verified(3, 0))
	add("payments-only", "Two payments.", nil, list(pay, payment(alice, 2, 0, "b", "")), verified(0, 2))
	moved := onchain(alice, 3, 1, 115)
	add("on-chain", "A payment on a chain, beside another.", checkpoints, list(r1, pay, moved, r2, r3), verified(3, 1))
	add("on-chain-same-nonce", "Two payments on a chain that have one nonce.", nil, list(moved, onchain(alice, 3, 2, 116)), invalid(0, 0, "conflict"))
	add("on-chain-nonce-of-payment", "A payment and one on a chain may have one nonce.", nil, list(pay, onchain(alice, 1, 1, 115)), verified(0, 1))
	add("on-chain-negative", "Less than nothing on a chain.", nil, list(onchain(alice, 3, 1, -1)), invalid(0, 0, "negative-amount"))
	add("on-chain-flipped", "A bit of the transaction is another one.", nil, list(flip(moved, 200)), invalid(0, 0, "bad-signature"))
	add("on-chain-of-another", "Somebody else's.", checkpoints, list(r1, r2, r3, onchain(bob, 3, 0, 1)), invalid(3, 0, "identity-mismatch"))
	add("on-chain-cut", "A payment on a chain that is cut short.", nil, list(moved[:len(moved)-1]), refused("a receipt is cut short"))
	var none [32]byte
	leased := rent(alice, node, 1, 5000, none, none, 0)
	settled := rent(alice, node, 2, 35, none, testkit.Hash(second), 2)
	add("rent", "A lease, and rent for two receipts.", checkpoints, list(r1, leased, r2, settled, r3), verified(3, 0))
	add("rent-same-payment", "Two receipts for rent by one payment.", nil, list(leased, rent(alice, node, 1, 5000, none, testkit.Hash(second), 2)), invalid(0, 0, "conflict"))
	add("rent-twice", "Two receipts for rent after the same checkpoint.", nil, list(settled, rent(alice, node, 3, 43, none, testkit.Hash(third), 3)), invalid(0, 0, "conflict"))
	add("rent-of-two-nodes", "Two nodes are paid from the beginning.", nil, list(settled, rent(alice, bob, 3, 43, none, testkit.Hash(third), 3)), verified(0, 0))
	add("rent-negative", "Less than nothing.", nil, list(rent(alice, node, 1, -1, none, none, 0)), invalid(0, 0, "negative-amount"))
	add("rent-flipped", "A bit of the lease's end is another one.", nil, list(flip(leased, len(leased)-64-16)), invalid(0, 0, "bad-signature"))
	add("rent-of-another", "Somebody else's.", checkpoints, list(r1, r2, r3, rent(bob, node, 1, 1, none, none, 0)), invalid(3, 0, "identity-mismatch"))
	add("rent-cut", "A receipt for rent that is cut short.", nil, list(leased[:len(leased)-1]), refused("a receipt is cut short"))
	d := verified(3, 0)
	d.Duplicates = 2
	add("duplicates", "Byte-identical receipts are one.", checkpoints, list(r1, r2, r2, r3, r1), d)
	add("agent-right", "The agent is pinned.", checkpoints, list(r1, r2, r3), verified(3, 0)).Agent = alice.DID()

	add("missing-receipt", "A checkpoint has no receipt.", checkpoints, list(r1, r3), incomplete(2, "missing-receipt"))
	add("missing-receipt-no-checkpoints", "A predecessor has no receipt.", nil, list(r1, r3), incomplete(2, "missing-receipt"))
	add("unknown-checkpoint", "A receipt's checkpoint was not supplied.", list(genesis, second), list(r1, r2, r3), incomplete(3, "unknown-checkpoint"))
	bad := bytes.Clone(second)
	bad[len(bad)-1] ^= 1
	add("checkpoint-not-authentic", "A checkpoint that its key did not sign is as if it were not there.", list(genesis, bad, third), list(r1, r2, r3), incomplete(3, "unknown-checkpoint"))

	add("bad-signature", "A bit of the signature is flipped.", checkpoints, list(r1, flip(r2, len(r2)-40), r3), invalid(2, 0, "bad-signature", "missing-receipt"))
	add("bad-signature-cost", "The cost was changed and not signed again.", checkpoints, list(r1, flip(r2, 26+128+40), r3), invalid(2, 0, "bad-signature", "missing-receipt"))
	add("bad-signature-payment", "The amount of a payment was changed.", nil, list(r1, flip(pay, 24+64)), invalid(1, 0, "bad-signature"))
	byOther := lived
	byOther.node = bob.Key
	add("bad-signature-node", "Another node's key stands in it.", nil, list(r1, byOther.sign(node)), invalid(1, 0, "bad-signature"))
	byAgent := lived
	add("bad-signature-agent", "The agent signed a receipt of the node.", nil, list(r1, byAgent.sign(alice)), invalid(1, 0, "bad-signature"))
	weak := lived
	weak.node = append([]byte{1}, make([]byte, 31)...)
	add("weak-key", "The node's key is the identity point, for which anybody can sign.", nil, list(r1, weak.sign(node)), invalid(1, 0, "weak-key"))

	other := lived
	other.agent = bob.Key
	add("other-agent", "A receipt is another agent's.", checkpoints, list(r1, other.sign(node), r3), invalid(2, 0, "identity-mismatch", "missing-receipt"))
	add("other-payer", "A payment is another agent's.", checkpoints, list(r1, r2, r3, payment(bob, 1, 1, "x", "")), invalid(3, 0, "identity-mismatch"))
	add("agent-wrong", "Another agent is pinned.", nil, list(r1), invalid(0, 0, "identity-mismatch")).Agent = bob.DID()
	add("several-histories", "The checkpoints are of two agents.", append(list(bob.Checkpoint(testkit.Fields{})), checkpoints...), list(r1, r2, r3), invalid(0, 0, "identity-mismatch", "missing-receipt")).Agent = bob.DID()

	// Without a pin: whoever has most of it, checkpoints and receipts together.
	bobs := func(n int) (b [][]byte) {
		for i := range n {
			b = append(b, payment(bob, byte(i), 1, "x", ""))
		}
		return b
	}
	add("stranger-first", "A stranger's payment comes before the agent's receipts by its tick, which is 0.", nil, append(bobs(1), r2, r3), invalid(2, 0, "identity-mismatch", "missing-receipt"))
	add("strangers-tie", "As many receipts of one as of the other: the first by its tick is the agent's.", nil, append(bobs(1), r2), invalid(0, 1, "identity-mismatch"))
	add("strangers-outnumber", "A stranger has more receipts than the agent, who is not pinned.", nil, append(bobs(4), r1, r2, r3), invalid(0, 4, "identity-mismatch"))
	add("strangers-outnumber-pinned", "A stranger has more receipts than the agent, who is pinned.", nil, append(bobs(4), r1, r2, r3), invalid(3, 0, "identity-mismatch")).Agent = alice.DID()
	strange := bob.Checkpoint(testkit.Fields{Tick: 1})
	add("stranger-checkpoint", "A stranger's checkpoint lies with the agent's.", append(list(strange), checkpoints...), list(r1, r2, r3), invalid(3, 0, "identity-mismatch", "missing-receipt"))
	add("stranger-checkpoint-alone", "The only checkpoint is a stranger's.", list(strange), list(r1, r2, r3), invalid(3, 0, "identity-mismatch", "missing-receipt", "unknown-checkpoint"))
	add("strangers-tie-checkpoints", "Two checkpoints of one, a checkpoint and a receipt of the other, who has the first checkpoint.",
		list(strange, bob.After(strange, testkit.Fields{Tick: 2}), genesis), list(r1), invalid(1, 0, "identity-mismatch", "missing-receipt"))

	later := lived
	later.time++
	add("conflict", "Two different receipts for one checkpoint.", checkpoints, list(r1, r2, later.sign(node), r3), invalid(4, 0, "conflict"))
	add("conflict-nonce", "Two different payments with one nonce.", nil, list(pay, payment(alice, 1, 116, "bob", "for data")), invalid(0, 2, "conflict"))
	fork := lived
	fork.checkpoint = [32]byte{1}
	add("conflict-predecessor", "Receipts for two checkpoints after the same one.", nil, list(r1, r2, fork.sign(node)), invalid(3, 0, "conflict"))

	add("cost-higher", "More cost than left the budget.", checkpoints, edited(func(e *execution) { e.cost++ }), invalid(3, 0, "budget-mismatch"))
	add("cost-higher-no-checkpoints", "The same, known from the receipt before.", nil, edited(func(e *execution) { e.cost++ }), invalid(3, 0, "budget-mismatch"))
	add("paid-lower", "Less paid than left the budget.", checkpoints, edited(func(e *execution) { e.paid-- }), invalid(3, 0, "budget-mismatch"))
	add("added-from-nowhere", "Money came in that is not in the budget.", checkpoints, edited(func(e *execution) { e.added++ }), invalid(3, 0, "budget-mismatch"))
	poor, rich := born, lived
	poor.added, poor.budget = 100, 100
	rich.added, rich.cost, rich.paid = 748, 1<<63-1, 1<<63-1
	add("sums-beyond-64-bits", "100 + 748 and 2 * (2^63 - 1) + 850 are equal modulo 2^64.", nil, list(poor.sign(node), rich.sign(node)), invalid(2, 0, "budget-mismatch"))
	poor.added, poor.budget = 1<<63-1, 1<<63-1
	rich.added, rich.cost, rich.paid, rich.budget = 1<<63-1, 1<<63-1, 0, 1<<63-1
	add("added-beyond-64-bits", "What came in in a whole life is more than a budget holds at a time.", nil, list(poor.sign(node), rich.sign(node)), verified(2, 0))
	add("budget-other", "The budget is not the checkpoint's.", checkpoints, edited(func(e *execution) { e.budget++; e.cost-- }), invalid(3, 0, "checkpoint-mismatch"))
	add("price-other", "The price is not the checkpoint's.", checkpoints, edited(func(e *execution) { e.price++ }), invalid(3, 0, "checkpoint-mismatch"))
	add("tick-other", "The tick is not the checkpoint's.", checkpoints, edited(func(e *execution) { e.tick++; e.ticks++ }), invalid(3, 0, "checkpoint-mismatch"))
	add("prev-other", "The predecessor is not the checkpoint's.", checkpoints, edited(func(e *execution) { e.prev = [32]byte{9} }), invalid(3, 0, "checkpoint-mismatch", "missing-receipt"))
	add("ticks-higher", "More ticks than there were.", checkpoints, edited(func(e *execution) { e.ticks++ }), invalid(3, 0, "tick-mismatch"))
	impossible := lived
	impossible.ticks = 11
	add("ticks-above-tick", "More ticks than the whole life had, of a receipt whose predecessor is not known.", nil, list(impossible.sign(node)), invalid(1, 0, "tick-mismatch", "missing-receipt"))
	impossible.ticks = 10
	add("ticks-are-tick", "As many ticks as the whole life had, though a predecessor had some: that is not known.", nil, list(impossible.sign(node)), incomplete(1, "missing-receipt"))
	impossible.ticks = 0
	add("ticks-none", "A checkpoint after another has ticks, whichever that is.", nil, list(impossible.sign(node)), invalid(1, 0, "tick-mismatch", "missing-receipt"))
	add("ticks-none-known", "The same, with the receipt before.", nil, list(func() []byte { e := born; e.tick = 10; return e.sign(node) }(), func() []byte {
		e := lived
		e.ticks = 0
		return e.sign(node)
	}()), invalid(2, 0, "tick-mismatch"))
	still := func(prev, checkpoint byte) []byte {
		e := execution{agent: alice.Key, node: node.Key, prev: [32]byte{prev}, checkpoint: [32]byte{checkpoint}, tick: 10, budget: 1000}
		return e.sign(node)
	}
	add("circle", "Two receipts that are each before the other.", nil, list(still(1, 2), still(2, 1)), invalid(2, 0, "tick-mismatch"))
	add("circle-of-one", "A receipt that is before itself.", nil, list(still(1, 1)), invalid(1, 0, "tick-mismatch"))
	debt := alice.Checkpoint(testkit.Fields{Budget: -5, WASMHash: wasm})
	afterDebt := alice.After(debt, testkit.Fields{Budget: 2, Tick: 10, WASMHash: wasm})
	add("budget-before-negative", "Modulo 2^64, -5 + 5 and 2 * (2^63 - 1) + 2 are equal.", list(debt, afterDebt),
		list(execution{alice.Key, node.Key, testkit.Hash(debt), testkit.Hash(afterDebt), 10, 10, 0, 0, 5, 1<<63 - 1, 1<<63 - 1, 2, 1}.sign(node)), invalid(1, 0, "budget-mismatch", "missing-receipt"))
	forked := alice.Checkpoint(testkit.Fields{Budget: 1000, Price: 7, Tick: 9, WASMHash: wasm})
	fork9 := execution{alice.Key, node.Key, [32]byte{}, testkit.Hash(forked), 9, 0, 0, 7, 1000, 0, 0, 1000, 1}
	add("genesis-fork", "A fork's genesis: the ticks before it are another's.", list(forked), list(fork9.sign(node)), verified(1, 0))
	fork9.ticks = 9
	add("genesis-late", "A genesis after the first ticks.", list(forked), list(fork9.sign(node)), verified(1, 0))
	fork9.ticks = 8
	add("genesis-late-ticks", "Another number of ticks than there were.", list(forked), list(fork9.sign(node)), invalid(1, 0, "tick-mismatch"))
	add("genesis-ticks", "A genesis of tick 0 with a tick.", nil, list(func() []byte { e := born; e.ticks = 1; return e.sign(node) }()), invalid(1, 0, "tick-mismatch"))
	for name, change := range map[string]func(*execution){
		"cost": func(e *execution) { e.cost = -1 }, "paid": func(e *execution) { e.paid = -1 }, "added": func(e *execution) { e.added = -1 },
		"budget": func(e *execution) { e.budget = -1 }, "price": func(e *execution) { e.price = -1 },
	} {
		e := born
		change(&e)
		add("negative-"+name, "A negative amount.", nil, list(e.sign(node)), invalid(1, 0, "negative-amount"))
	}
	add("negative-payment", "A negative payment.", nil, list(payment(alice, 1, -1, "bob", "")), invalid(0, 1, "negative-amount"))

	add("nothing", "No receipt.", checkpoints, nil, refused("there is nothing to verify"))
	add("truncated", "The last receipt is cut short.", nil, list(r1, r2[:len(r2)-1]), refused("a receipt is cut short"))
	add("truncated-tag", "The last receipt is cut in its first bytes.", nil, list(r1, r2[:9]), refused("a receipt is cut short"))
	add("unknown-version", "A receipt of version 2.", nil, list([]byte("igor/execution-receipt/v2\x00"), r1[26:]), refused("an unknown kind of receipt"))
	add("trailing-byte", "A byte after the last receipt.", nil, list(r1, []byte{0}), refused("something that is no receipt"))
	add("recipient-empty", "A payment to nobody.", nil, list(payment(alice, 1, 1, "", "m")), refused("a recipient has 1 to 256 bytes"))
	add("recipient-max", "The longest recipient and memo.", nil, list(payment(alice, 1, 1, string(bytes.Repeat([]byte("r"), 256)), string(bytes.Repeat([]byte("m"), 1024)))), verified(0, 1))
	add("recipient-long", "A recipient of 257 bytes.", nil, list(payment(alice, 1, 1, string(bytes.Repeat([]byte("r"), 257)), "")), refused("a recipient has 1 to 256 bytes"))
	add("memo-long", "A memo of 1,025 bytes.", nil, list(payment(alice, 1, 1, "r", string(bytes.Repeat([]byte("m"), 1025)))), refused("a memo has at most 1024 bytes"))
	return vs
}

// Command genhandovers writes testdata/handovers. Every expectation is stated by hand, from
// docs/spec/handover.md; nothing here verifies.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"igor.dev/internal/testkit"
)

func main() { testkit.Generate("genhandovers", "handovers", files()) }

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
	DID         string   `json:"did,omitempty"`
	Checkpoints []string `json:"checkpoints"`
	HandOvers   string   `json:"handovers"`
	Expect      outcome  `json:"expect"`
}

type outcome struct {
	Verdict   string   `json:"verdict"`
	HandOvers []judged `json:"handovers"`
	Error     string   `json:"error,omitempty"` // of the file of records: it is not looked at
}

type judged struct {
	Number  string `json:"number"`
	From    string `json:"from"`
	To      string `json:"to"`
	Head    string `json:"head"`
	Tick    string `json:"tick,omitempty"`
	Problem string `json:"problem,omitempty"`
}

var (
	alice = testkit.NewAgent("alice")
	eve   = testkit.NewAgent("eve")
	nodeA = testkit.NewAgent("node a")
	nodeB = testkit.NewAgent("node b")
	nodeC = testkit.NewAgent("node c")

	life    = testkit.NewAgent("alice").History(4, 8)
	genesis = testkit.Hash(life[0])
	sealed  = sha256.Sum256([]byte("a sealed key"))
)

// record is a hand-over, field by field.
type record struct {
	genesis, head [32]byte
	from, to      []byte
	number        uint64
	sealed        [32]byte
}

func (r record) sign(to, agent *testkit.Agent) []byte {
	b := []byte("igor/handover/v1\x00")
	for _, part := range [][]byte{r.genesis[:], r.head[:], r.from, r.to} {
		b = append(b, part...)
	}
	b = binary.LittleEndian.AppendUint64(b, r.number)
	b = append(b, r.sealed[:]...)
	b = append(b, ed25519.Sign(to.Private, b)...)
	return append(b, ed25519.Sign(agent.Private, b)...)
}

// at is a good record of alice's life.
func at(i int, from, to *testkit.Agent, number uint64) record {
	return record{genesis, testkit.Hash(life[i]), from.Key, to.Key, number, sealed}
}

func said(r record, tick uint64, problem string) judged {
	j := judged{Number: fmt.Sprint(r.number), From: testkit.DID(r.from), To: testkit.DID(r.to),
		Head: testkit.CIDText(append([]byte{0x01, 0x55, 0x12, 0x20}, r.head[:]...)), Problem: problem}
	if tick > 0 {
		j.Tick = fmt.Sprint(tick)
	}
	return j
}

func tick(i int) uint64 { return testkit.Tick(life[i]) }

func vectors() (all []vector) {
	add := func(name, description, verdict string, checkpoints [][]byte, records [][]byte, want ...judged) *vector {
		v := vector{name: name, Description: description, HandOvers: hex.EncodeToString(bytes.Join(records, nil))}
		for _, c := range checkpoints {
			v.Checkpoints = append(v.Checkpoints, hex.EncodeToString(c))
		}
		v.Expect = outcome{Verdict: verdict, HandOvers: append([]judged{}, want...)}
		all = append(all, v)
		return &all[len(all)-1]
	}
	one, two, three := at(1, nodeA, nodeB, 1), at(2, nodeB, nodeC, 2), at(3, nodeC, nodeA, 3)
	sign := func(r record, to *testkit.Agent) []byte { return r.sign(to, alice) }
	good := sign(one, nodeB)

	add("none", "No records.", "verified", life, nil)
	add("one", "One hand-over.", "verified", life, [][]byte{good}, said(one, tick(1), ""))
	add("three", "From a to b, c and home again.", "verified", life, [][]byte{good, sign(two, nodeC), sign(three, nodeA)},
		said(one, tick(1), ""), said(two, tick(2), ""), said(three, tick(3), ""))
	add("any-order", "The order in the file means nothing.", "verified", life, [][]byte{sign(three, nodeA), good, sign(two, nodeC)},
		said(one, tick(1), ""), said(two, tick(2), ""), said(three, tick(3), ""))
	add("twice", "A record that is there twice is one.", "verified", life, [][]byte{good, good}, said(one, tick(1), ""))
	noKey := one
	noKey.sealed = [32]byte{}
	add("no-key-moved", "In a fleet no key moves.", "verified", life, [][]byte{sign(noKey, nodeB)}, said(noKey, tick(1), ""))
	add("number-missing", "A number may be missing: who has the record did not give it.", "verified", life, [][]byte{good, sign(three, nodeA)},
		said(one, tick(1), ""), said(three, tick(3), ""))
	last := at(3, nodeA, nodeB, 1)
	add("after-the-head", "A hand-over at the newest checkpoint: nothing was lived since.", "verified", life, [][]byte{sign(last, nodeB)}, said(last, tick(3), ""))
	same := at(1, nodeB, nodeC, 2)
	add("nothing-lived-between", "A node took the agent and gave it on before it made a checkpoint.", "verified", life,
		[][]byte{good, sign(same, nodeC)}, said(one, tick(1), ""), said(same, tick(1), ""))

	add("countersigned-by-another", "Another node than the one it names countersigned.", "verified", life, [][]byte{sign(one, nodeC)}, said(one, tick(1), "bad-countersignature"))
	add("signed-by-another", "Another key than the agent's signed.", "verified", life, [][]byte{one.sign(nodeB, eve)}, said(one, tick(1), "bad-signature"))
	add("signed-by-the-node", "The node signed for the agent.", "verified", life, [][]byte{one.sign(nodeB, nodeA)}, said(one, tick(1), "bad-signature"))
	for _, flip := range []struct {
		name    string
		offset  int
		problem string
	}{{"from", 81, "bad-countersignature"}, {"to", 113, "bad-countersignature"}, {"sealed", 160, "bad-countersignature"},
		{"countersignature", 200, "bad-countersignature"}, {"signature", 260, "bad-signature"}} {
		b := bytes.Clone(good)
		b[flip.offset] ^= 1
		r := one
		r.from, r.to = b[81:113], b[113:145]
		add("flipped-"+flip.name, "A bit is another one, in "+flip.name+".", "verified", life, [][]byte{b}, said(r, tick(1), flip.problem))
	}
	weak := one
	weak.to = append([]byte{1}, make([]byte, 31)...)
	add("weak-node", "The node's key is of small order.", "verified", life, [][]byte{sign(weak, nodeB)}, said(weak, tick(1), "weak-key"))
	self := at(1, nodeA, nodeA, 1)
	add("same-node", "From a node to itself.", "verified", life, [][]byte{sign(self, nodeA)}, said(self, tick(1), "same-node"))
	other := one
	other.genesis = sha256.Sum256([]byte("another genesis"))
	add("other-life", "Of a life with another genesis.", "verified", life, [][]byte{sign(other, nodeB)}, said(other, tick(1), "other-life"))
	unknown := one
	unknown.head = sha256.Sum256([]byte("no checkpoint"))
	add("unknown-head", "Of a checkpoint that was not supplied.", "verified", life, [][]byte{sign(unknown, nodeB)}, said(unknown, 0, "unknown-head"))
	add("no-genesis", "Where the genesis was not supplied it is not compared.", "incomplete", life[1:], [][]byte{sign(other, nodeB)}, said(other, tick(1), ""))
	toC := at(1, nodeA, nodeC, 1)
	first, second := one, toC
	if bytes.Compare(one.to, toC.to) > 0 {
		first, second = toC, one
	}
	add("given-twice", "The source gave the agent to two nodes at one checkpoint.", "verified", life, [][]byte{good, sign(toC, nodeC)},
		said(first, tick(1), "conflict"), said(second, tick(1), "conflict"))
	later := at(2, nodeA, nodeC, 1)
	pair := []judged{said(one, tick(1), "conflict"), said(later, tick(2), "conflict")}
	if bytes.Compare(one.head[:], later.head[:]) > 0 {
		pair[0], pair[1] = pair[1], pair[0]
	}
	add("number-twice", "Two hand-overs have one number.", "verified", life, [][]byte{good, sign(later, nodeC)}, pair...)
	hidden := at(1, nodeA, nodeC, 1)
	hidden.head = sha256.Sum256([]byte("a checkpoint that is kept back"))
	pair = []judged{said(one, tick(1), "conflict"), said(hidden, 0, "conflict")}
	if bytes.Compare(one.head[:], hidden.head[:]) > 0 {
		pair[0], pair[1] = pair[1], pair[0]
	}
	add("number-twice-unknown-head", "The agent's key signed the second one too, of a checkpoint that was not supplied.", "verified", life, [][]byte{good, sign(hidden, nodeC)}, pair...)
	forged := at(2, nodeA, nodeC, 1)
	pair = []judged{said(one, tick(1), ""), said(forged, tick(2), "bad-signature")}
	if bytes.Compare(one.head[:], forged.head[:]) > 0 {
		pair[0], pair[1] = pair[1], pair[0]
	}
	add("forged-does-not-conflict", "A record that the agent did not sign accuses nobody.", "verified", life, [][]byte{good, forged.sign(nodeC, eve)}, pair...)
	early := at(0, nodeB, nodeC, 2)
	add("order", "The second hand-over was at an earlier checkpoint than the first.", "verified", life, [][]byte{good, sign(early, nodeC)},
		said(one, tick(1), ""), said(early, tick(0), "order"))
	add("invalid-history", "The verdict is the history's.", "invalid", [][]byte{life[0], life[1], append(bytes.Clone(life[2]), 'x'), life[3]}, [][]byte{good}, said(one, tick(1), ""))
	strangers := eve.History(3, 8)
	add("pinned", "The agent that is pinned is the one whose records count.", "invalid", append(append([][]byte{}, life...), strangers...), [][]byte{good}, said(one, tick(1), "")).DID = alice.DID()

	broken := func(name, description string, b []byte) {
		add(name, description, "verified", life, [][]byte{b}).Expect.Error = "cut short, unknown or too long"
	}
	broken("cut-short", "The last byte is missing.", good[:len(good)-1])
	broken("one-byte-more", "There is a byte after the last record.", append(bytes.Clone(good), 0))
	version := bytes.Clone(good)
	version[15] = '2'
	broken("unknown-version", "A version that there is not yet.", version)
	zero := one
	zero.number = 0
	broken("number-zero", "Hand-overs are counted from 1.", sign(zero, nodeB))
	nothing := one
	nothing.head = [32]byte{}
	broken("no-head", "A record without a checkpoint.", sign(nothing, nodeB))
	return all
}

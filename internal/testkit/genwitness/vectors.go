package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"igor.dev/internal/testkit"
)

var (
	alice = testkit.NewAgent("alice")
	bob   = testkit.NewAgent("bob")
)

func hexes(all [][]byte) []string {
	out := make([]string, len(all))
	for i, b := range all {
		out[i] = hex.EncodeToString(b)
	}
	return out
}

func vectors() []vector {
	return append(append(forkVectors(), headVectors()...), successionVectors()...)
}

func forkVectors() (all []vector) {
	life := alice.History(6, 16) // ticks 4, 9, 14, 19, 24, 29
	branch := func(after []byte, tick uint64) []byte {
		return alice.After(after, testkit.Fields{Tick: tick, Budget: 7, Price: 1000, State: []byte("elsewhere")})
	}
	other19 := branch(life[2], 19)
	other22 := branch(other19, 22)
	other27 := branch(other22, 27)
	bobs := bob.History(2, 16)
	add := func(name, description string, file []byte, want outcome) {
		all = append(all, vector{name: name, Kind: "fork", Description: description, File: hex.EncodeToString(file), Policy: policy, Expect: want})
	}
	yes := func(kind string, a, b uint64, witnessed ...bool) outcome {
		return outcome{DID: alice.DID(), ForkKind: kind, Ticks: []string{fmt.Sprint(a), fmt.Sprint(b)}, Witnessed: append(witnessed, false, false)[:2]}
	}
	no, unreadable := outcome{Exit: 1}, outcome{Exit: 2}

	a, b := headOf(alice, life[3]), headOf(alice, other19)
	leaves := [][]byte{[]byte("another entry"), a, []byte("one more"), b, []byte("and more")}
	noted := func(index int, by cosigned) logged {
		return logged{leaves[index], proofOf(heads, leaves, index, false, by)}
	}
	plain := func(head []byte) logged { return logged{head: head} }

	add("heads", "two statements of one tick with two checkpoints; no log has to be known", forkProof(1, sorted(plain(a), plain(b))), yes("two-heads", 19, 19))
	both := sorted(noted(1, twoOfThree), noted(3, twoOfThree))
	add("heads-logged", "the same, and both are in a log that the policy knows", forkProof(1, both), yes("two-heads", 19, 19, true, true))
	first := sorted(noted(1, cosigned{&w1: at}), noted(3, twoOfThree))
	add("heads-one-logged", "the same; too few witnesses saw one of them, which takes nothing from the proof", forkProof(1, first),
		yes("two-heads", 19, 19, !bytes.Equal(first[0].head, a), bytes.Equal(first[0].head, a)))
	add("heads-of-two-epochs", "the same tick in two epochs: ticks only go up along a life, whatever its epoch", forkProof(1, sorted(plain(a), plain(head(alice, 3, 19, testkit.Hash(other19))))), yes("two-heads", 19, 19))
	add("heads-same", "two statements of the same checkpoint, in two epochs, are no fork", forkProof(1, sorted(plain(a), plain(head(alice, 3, 19, testkit.Hash(life[3]))))), no)
	add("heads-once", "one statement twice", forkProof(1, []logged{plain(a), plain(a)}), no)
	add("heads-of-two-ticks", "two statements of different ticks alone are one life that went on", forkProof(1, sorted(plain(a), plain(headOf(alice, life[4])))), no)
	add("heads-wrong-order", "a proof has one spelling: the smaller statement is first", forkProof(1, []logged{sorted(plain(a), plain(b))[1], sorted(plain(a), plain(b))[0]}), no)
	add("heads-of-two-keys", "two agents may stand anywhere", forkProof(1, sorted(plain(a), plain(headOf(bob, bobs[0])))), no)
	forged := bytes.Clone(b)
	forged[156] ^= 1
	add("heads-forged", "a statement that the agent did not sign accuses nobody", forkProof(1, sorted(plain(a), plain(forged))), no)
	add("heads-other-proof", "a log's proof of another entry", forkProof(1, sorted(logged{a, proofOf(heads, leaves, 3, false, twoOfThree)}, plain(b))), no)
	add("heads-broken-proof", "a log's proof that is none", forkProof(1, sorted(logged{a, "c2sp.org/tlog-proof@v1\nindex 1\n"}, plain(b))), no)
	add("heads-with-checkpoint", "checkpoints have no place in this kind", forkProof(1, sorted(plain(a), plain(b)), life[3]), unreadable)

	two := [][]byte{life[3], other19}
	if x, y := testkit.Hash(two[0]), testkit.Hash(two[1]); bytes.Compare(x[:], y[:]) > 0 {
		two[0], two[1] = two[1], two[0]
	}
	add("checkpoints", "two checkpoints with one predecessor", forkProof(2, nil, two...), yes("two-checkpoints", testkit.Tick(two[0]), testkit.Tick(two[1])))
	add("checkpoints-wrong-order", "a proof has one spelling: the smaller hash is first", forkProof(2, nil, two[1], two[0]), no)
	add("checkpoints-once", "one checkpoint twice", forkProof(2, nil, two[0], two[0]), no)
	add("checkpoints-after-each-other", "two checkpoints of one life", forkProof(2, nil, life[2], life[3]), no)
	add("checkpoints-of-two-keys", "two geneses of two agents", forkProof(2, nil, life[0], bobs[0]), no)
	bad := bytes.Clone(two[1])
	bad[len(bad)-1] ^= 1
	add("checkpoints-forged", "a checkpoint that was changed after it was signed accuses nobody", forkProof(2, nil, two[0], bad), no)
	geneses := [][]byte{life[0], alice.Checkpoint(testkit.Fields{Tick: 2, Budget: 1, State: []byte("again")})}
	if x, y := testkit.Hash(geneses[0]), testkit.Hash(geneses[1]); bytes.Compare(x[:], y[:]) > 0 {
		geneses[0], geneses[1] = geneses[1], geneses[0]
	}
	add("geneses", "one key began two lives", forkProof(2, nil, geneses...), yes("two-checkpoints", testkit.Tick(geneses[0]), testkit.Tick(geneses[1])))
	add("three-checkpoints", "two belong into it", forkProof(2, nil, life[1], life[2], life[3]), unreadable)

	back := [][]byte{other27, other22, other19, life[2]}
	h24, h27 := headOf(alice, life[4]), headOf(alice, other27)
	add("off-chain", "the way back from the later head goes past the tick of the earlier one, and does not pass it", forkProof(3, []logged{plain(h24), plain(h27)}, back[:2]...), yes("head-off-chain", 24, 27))
	add("off-chain-too-far", "the way back goes on after it has come below the tick", forkProof(3, []logged{plain(h24), plain(h27)}, back[:3]...), no)
	add("off-chain-too-short", "the way back ends before it has come below the tick", forkProof(3, []logged{plain(h24), plain(h27)}, back[:1]...), no)
	add("off-chain-one-life", "the earlier head is on the way back: one life", forkProof(3, []logged{plain(headOf(alice, other22)), plain(h27)}, back[:3]...), no)
	add("off-chain-gap", "a checkpoint is missing on the way back", forkProof(3, []logged{plain(h24), plain(h27)}, back[0], back[2]), no)
	add("off-chain-other-start", "the way back begins elsewhere", forkProof(3, []logged{plain(h24), plain(h27)}, back[1]), no)
	add("off-chain-wrong-order", "the earlier statement is first", forkProof(3, []logged{plain(h27), plain(h24)}, life[4]), no)
	add("off-chain-no-way", "no checkpoint at all", forkProof(3, []logged{plain(h24), plain(h27)}), unreadable)
	early := alice.Checkpoint(testkit.Fields{Tick: 26, Budget: 1, State: []byte("late genesis")})
	late := branch(early, 40)
	add("off-chain-genesis", "the way back ends in a genesis of a later tick", forkProof(3, []logged{plain(h24), plain(headOf(alice, late))}, late, early), yes("head-off-chain", 24, 40))
	lied := head(alice, 0, 30, testkit.Hash(life[1]))
	add("off-chain-below", "the later statement names a checkpoint of an earlier tick than the earlier statement: a lie, but no fork", forkProof(3, []logged{plain(h24), plain(lied)}, life[1]), no)

	whole := forkProof(1, sorted(plain(a), plain(b)))
	add("cut", "cut short", whole[:len(whole)-1], unreadable)
	add("trailing", "a byte after the end", append(bytes.Clone(whole), 0), unreadable)
	add("kind-4", "a kind that is not known", forkProof(4, sorted(plain(a), plain(b))), unreadable)
	add("version-2", "another version", bytes.Replace(whole, []byte("/v1"), []byte("/v2"), 1), unreadable)
	add("length-over-end", "a length that goes past the end", append(bytes.Clone(whole[:len(whole)-4]), 0xff, 0xff, 0xff, 0xff), unreadable)
	return all
}

func headVectors() (all []vector) {
	life := alice.History(4, 16) // ticks 4, 9, 14, 19
	last := headOf(alice, life[3])
	leaves := [][]byte{headOf(alice, life[1]), []byte("another's"), last, headOf(bob, life[2]), []byte("more")}
	good := proofOf(heads, leaves, 2, true, twoOfThree)
	names, before := []string{"W1", "W3"}, "2027-01-15T08:00:03Z"
	yes := outcome{Tick: "19", Before: before, Cosigners: names}
	no, noRequired := outcome{Problem: true}, outcome{Problem: true, Exit: 3}
	add := func(name, description, proof string, require bool, want outcome) {
		all = append(all, vector{name: name, Kind: "head", Description: description, Policy: policy, Checkpoints: hexes(life), Proof: proof, Require: require, Expect: want})
	}
	both := func(name, description, proof string) {
		add(name, description, proof, false, no)
		add(name+"-required", description+"; and that is demanded", proof, true, noRequired)
	}
	add("good", "the head is in the log, and two of three witnesses saw it", good, false, yes)
	add("good-required", "the same, and that is demanded", good, true, yes)
	add("all-three", "the time is when the quorum was met, not when the last one came", proofOf(heads, leaves, 2, true, cosigned{&w1: at + 1, &w2: at + 900, &w3: at + 3}), true, outcome{Tick: "19", Before: before, Cosigners: []string{"W1", "W2", "W3"}})
	stale := outcome{Tick: "9", Before: before, Cosigners: names}
	older := proofOf(heads, leaves, 0, true, twoOfThree)
	add("stale", "an older head is in the log: the report says which", older, false, stale)
	stale.Exit = 3
	add("stale-required", "an older head is in the log, and the newest is demanded", older, true, stale)
	add("none", "there is no proof", "", false, no)
	add("none-required", "there is no proof, and one is demanded", "", true, noRequired)
	both("one-witness", "one of three witnesses, and two are wanted", proofOf(heads, leaves, 2, true, cosigned{&w2: at}))
	both("no-extra", "the statement is not with the proof", proofOf(heads, leaves, 2, false, twoOfThree))
	both("another-agent", "the head of another agent", proofOf(heads, leaves, 3, true, twoOfThree))
	both("not-a-head", "an entry that is no statement", proofOf(heads, leaves, 4, true, twoOfThree))
	impostor := newSigner("impostor.example", 1)
	impostor.name = heads.name
	both("other-log", "a log of the same name with another key", proofOf(impostor, leaves, 2, true, twoOfThree))
	forged := bytes.Clone(last)
	forged[100] ^= 1
	forgedLeaves := [][]byte{forged, []byte("x")}
	both("unsigned", "a statement that the agent did not sign, logged and witnessed", proofOf(heads, forgedLeaves, 0, true, twoOfThree))
	both("cut", "cut short", good[:len(good)-1])
	both("malleable", "base64 with other spare bits", strings.Replace(good, "==\nindex", "=\nindex", 1))
	both("cr-lf", "lines that end in CR LF", strings.ReplaceAll(good, "\n", "\r\n"))
	both("twice", "a signature twice", good+strings.SplitAfter(good, "\n")[len(strings.SplitAfter(good, "\n"))-2])

	monitor := func(name, description, word string, require bool, want outcome) {
		all = append(all, vector{name: "monitor-" + name, Kind: "head", Description: description, Policy: policy, Checkpoints: hexes(life), Proof: good, Monitor: watcher.vkey(), Word: word, Require: require, Expect: want})
	}
	with := func(exit int, latest []byte, forks string) outcome {
		return outcome{Exit: exit, Tick: "19", Before: before, Cosigners: names, Latest: testkit.CID(latest), Forks: forks}
	}
	more := append(append([][]byte{}, leaves...), headOf(alice, alice.After(life[3], testkit.Fields{Tick: 50, State: []byte("more")})))
	newer := alice.After(life[3], testkit.Fields{Tick: 50, State: []byte("more")})
	monitor("good", "a monitor says that there is no newer head", word(watcher, heads.name, alice, leaves, 2, 2, life[3], 0), true, with(0, life[3], "0"))
	monitor("newer", "a monitor knows a newer head: what was given is stale", word(watcher, heads.name, alice, more, 3, 5, newer, 0), false, with(0, newer, "0"))
	monitor("newer-required", "a monitor knows a newer head, and the newest is demanded", word(watcher, heads.name, alice, more, 3, 5, newer, 0), true, with(3, newer, "0"))
	monitor("forks-required", "a monitor has fork proofs against the key", word(watcher, heads.name, alice, leaves, 2, 2, life[3], 1), true, with(3, life[3], "1"))
	monitor("behind-required", "a monitor that had not read the entry says nothing of it", word(watcher, heads.name, alice, leaves[:2], 1, 0, life[1], 0), true, outcome{Exit: 3, Tick: "19", Before: before, Cosigners: names})
	monitor("silent-required", "a monitor is named, and its word is not there", "", true, outcome{Exit: 3, Tick: "19", Before: before, Cosigners: names})
	monitor("split-required", "monitor and witnesses saw two trees of one size", word(watcher, heads.name, alice, append(append([][]byte{}, leaves[:4]...), []byte("less")), 2, 2, life[3], 0), true, noRequired)
	monitor("other-agent-required", "a monitor's word about another agent", word(watcher, heads.name, bob, leaves, 2, 2, life[3], 0), true, noRequired)
	monitor("other-log-required", "a monitor's word about another log", word(watcher, "other.example", alice, leaves, 2, 2, life[3], 0), true, noRequired)
	monitor("other-key-required", "the word of somebody else", word(newSigner("liar.example", 1), heads.name, alice, leaves, 2, 2, life[3], 0), true, noRequired)
	monitor("cut-required", "a monitor's word that is cut short", strings.TrimSuffix(word(watcher, heads.name, alice, leaves, 2, 2, life[3], 0), "\n"), true, noRequired)
	return all
}

func successionVectors() (all []vector) {
	old := alice.History(3, 16)
	genesis := bob.Checkpoint(testkit.Fields{Tick: 14, Budget: 5, State: []byte("as it was")})
	next := [][]byte{genesis, bob.After(genesis, testkit.Fields{Tick: 20, State: []byte("and on")})}
	good := succession(alice, bob, old[2], genesis)
	commit := commitment(alice, bob)
	leaves := [][]byte{[]byte("x"), commit, []byte("y")}
	committed := proofOf(heads, leaves, 1, true, twoOfThree)
	yes := outcome{DID: alice.DID(), Tick: "14"}
	add := func(name, description string, statement []byte, oldLife [][]byte, commitment string, want outcome) {
		all = append(all, vector{name: name, Kind: "succession", Description: description, Policy: policy, Checkpoints: hexes(next), Succession: hex.EncodeToString(statement), Old: hexes(oldLife), Commitment: commitment, Expect: want})
	}
	with := func(life, before string) outcome {
		o := yes
		o.Life, o.Before = life, before
		return o
	}
	no := outcome{Problem: true}
	add("alone", "a statement signed by both keys", good, nil, "", yes)
	add("old-life", "the old life was given too, and ends where the statement says", good, old, "", with("verified", ""))
	add("old-life-cut", "of the old life the end was given alone", good, old[2:], "", with("incomplete", ""))
	add("old-life-longer", "the old life went on", good, append(append([][]byte{}, old...), alice.After(old[2], testkit.Fields{Tick: 15, State: []byte("still here")})), "", no)
	add("old-life-other", "another life was given as the old one", good, testkit.NewAgent("carol").History(2, 16), "", no)
	add("committed", "the old key had committed to the successor, and witnesses saw it", good, old, committed, with("verified", "2027-01-15T08:00:03Z"))
	add("committed-other", "the old key had committed to somebody else", good, old, proofOf(heads, [][]byte{commitment(alice, testkit.NewAgent("carol"))}, 0, true, twoOfThree), no)
	add("committed-unseen", "too few witnesses saw the commitment", good, old, proofOf(heads, leaves, 1, true, cosigned{&w1: at}), no)
	add("committed-by-another", "somebody else's commitment", good, old, proofOf(heads, [][]byte{commitment(bob, bob)}, 0, true, twoOfThree), no)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	add("not-signed-by-new", "the successor did not sign it", flipped, nil, "", no)
	flipped = bytes.Clone(good)
	flipped[len(flipped)-65] ^= 1
	add("not-signed-by-old", "the old key did not sign it", flipped, nil, "", no)
	add("other-successor", "it names another successor", succession(alice, testkit.NewAgent("carol"), old[2], genesis), nil, "", no)
	add("other-genesis", "it names another genesis", succession(alice, bob, old[2], old[0]), nil, "", no)
	add("itself", "a key cannot succeed itself", succession(bob, bob, next[1], genesis), nil, "", no)
	add("cut", "cut short", good[:len(good)-1], nil, "", no)
	return all
}

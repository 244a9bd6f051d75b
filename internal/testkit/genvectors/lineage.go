package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"

	"igor.dev/internal/testkit"
)

type (
	fields = testkit.Fields
	args   = testkit.Args
)

var (
	alice = testkit.NewAgent("alice")
	bob   = testkit.NewAgent("bob")
	carol = testkit.NewAgent("carol")

	wasm1 = sha256.Sum256([]byte("agent 1"))
	wasm2 = sha256.Sum256([]byte("agent 2"))
)

// plain returns the fields of checkpoint i of an uneventful life, but its PrevHash.
func plain(i int) fields {
	return fields{
		Budget:   int64(1000000 - 5000*i),
		Price:    1000,
		Tick:     uint64(4 + 5*i),
		WASMHash: wasm1,
		State:    fmt.Appendf(nil, "state %d", i),
	}
}

// at returns those fields with another tick number.
func at(tick uint64) fields {
	f := plain(0)
	f.Tick = tick
	f.State = fmt.Appendf(nil, "state at tick %d", tick)
	return f
}

// life returns a whole life of n checkpoints, each changed by the functions in turn.
func life(a *testkit.Agent, n int, change ...func(i int, f *fields)) [][]byte {
	return extend(a, nil, n, change...)
}

// extend returns the checkpoints and those that go on from the last one, up to n.
func extend(a *testkit.Agent, checkpoints [][]byte, n int, change ...func(i int, f *fields)) [][]byte {
	checkpoints = slices.Clone(checkpoints)
	for i := len(checkpoints); i < n; i++ {
		f := plain(i)
		if i > 0 {
			f.PrevHash = testkit.Hash(checkpoints[i-1])
		}
		for _, c := range change {
			c(i, &f)
		}
		checkpoints = append(checkpoints, a.Checkpoint(f))
	}
	return checkpoints
}

func ticks(ticks ...uint64) func(int, *fields) {
	return func(i int, f *fields) { f.Tick = ticks[i] }
}

// branch gives checkpoints a state of their own.
func branch(name string) func(int, *fields) {
	return func(i int, f *fields) { f.State = fmt.Appendf(nil, "state %d of branch %s", i, name) }
}

// lowerHashFirst orders two checkpoints as rule 2 does for equal tick numbers.
func lowerHashFirst(a, b []byte) (first, second []byte) {
	x, y := testkit.Hash(a), testkit.Hash(b)
	if bytes.Compare(x[:], y[:]) < 0 {
		return a, b
	}
	return b, a
}

func vectors() []vector {
	var s set
	s.whole()
	s.truncated()
	s.tampered()
	s.versions()
	s.fieldLimits()
	s.tickOrder()
	s.gaps()
	s.forks()
	s.identities()
	s.cycles()
	s.duplicates()
	s.naming()
	s.segments()
	s.kinds()
	s.pins()
	s.order()
	s.signingDomain()
	s.keys()
	s.signatures()
	s.cars()
	s.brokenCARs()
	return s
}

func (s *set) whole() {
	did := alice.DID()
	h := life(alice, 5)
	s.folder("whole-life", "Five checkpoints from the genesis to the head.", folder(h...), verified(did, 5))
	s.folder("genesis-only", "A life of one checkpoint.", folder(h[0]), verified(did, 1))

	example := testkit.AgentFromSeed([32]byte(unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")))
	wasm := [32]byte(unhex("d4f0bc5a29de06b510f9aa428f1eedba926012b591fef7a518e776a7c9bd1824"))
	genesis := example.Checkpoint(fields{Budget: 1000000, Price: 1000, Tick: 4, WASMHash: wasm, State: []byte("hello")})
	successor := example.After(genesis, fields{Budget: 999995, Price: 1000, Tick: 9, WASMHash: wasm, State: []byte("world")})
	s.folder("spec-example", "The two checkpoints that docs/spec shows.", folder(genesis, successor),
		verified("did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd", 2))

	s.folder("hundred-checkpoints", "A hundred checkpoints.", folder(life(alice, 100)...), verified(did, 100))
	s.folder("state-empty", "Every checkpoint is exactly its header: the state may be empty.",
		folder(life(alice, 3, func(_ int, f *fields) { f.State = nil })...), verified(did, 3))
	s.folder("state-16-mib", "The second checkpoint has a state of 16 MiB, all zero.",
		folder(life(alice, 2, func(i int, f *fields) {
			if i == 1 {
				f.State = make([]byte, 16<<20)
			}
		})...), verified(did, 2))
	s.folder("state-repeats", "The state never changes; the checkpoints differ all the same.",
		folder(life(alice, 3, func(_ int, f *fields) { f.State = []byte("same") })...), verified(did, 3))
	s.folder("state-is-a-checkpoint", "The states are whole checkpoints of another agent. A state is opaque.",
		folder(life(alice, 3, func(i int, f *fields) { f.State = life(bob, 3)[i] })...), verified(did, 3))
}

func (s *set) truncated() {
	did := alice.DID()
	h := life(alice, 5)
	v2, v3 := plain(0).Encode(2, nil, nil), plain(0).Encode(3, nil, nil)
	alone := func(b []byte) files { return files{}.with("0000000004.ckpt", b) }

	s.folder("empty-file", "A file of no byte.", alone([]byte{}), invalid("", 1, "empty"))
	s.folder("truncated-to-1-byte", "Only the version byte, 0x04.", alone([]byte{4}), invalid("", 1, "truncated"))
	s.folder("truncated-to-1-byte-v3", "Only the version byte, 0x03.", alone([]byte{3}), invalid("", 1, "truncated"))
	s.folder("truncated-to-1-byte-v2", "Only the version byte, 0x02.", alone([]byte{2}), invalid("", 1, "truncated"))
	s.folder("truncated-to-1-byte-unknown", "Only a version byte that nobody knows: that is looked at first.", alone([]byte{5}), invalid("", 1, "unsupported-version"))
	s.folder("truncated-mid-header", "Cut in the middle of the header, inside the wasmHash.", alone(h[0][:40]), invalid("", 1, "truncated"))
	s.folder("truncated-v4-at-v2-header", "Version 0x04, cut to 57 bytes, a header of version 0x02.", alone(h[0][:57]), invalid("", 1, "truncated"))
	s.folder("truncated-v4-at-v3-header", "Version 0x04, cut to 81 bytes, a header of version 0x03.", alone(h[0][:81]), invalid("", 1, "truncated"))
	s.folder("truncated-before-signature", "Cut before the signature.", alone(h[0][:145]), invalid("", 1, "truncated"))
	s.folder("truncated-v4-one-byte-short", "208 bytes of version 0x04.", alone(h[0][:208]), invalid("", 1, "truncated"))
	s.folder("truncated-v3-one-byte-short", "80 bytes of version 0x03.", alone(v3[:80]), invalid("", 1, "truncated"))
	s.folder("truncated-v2-one-byte-short", "56 bytes of version 0x02.", alone(v2[:56]), invalid("", 1, "truncated"))
	s.folder("truncated-v4-at-header", "Cut to 209 bytes: a whole header, but the signature is on the state too.", alone(h[0][:209]), invalid(did, 1, "bad-signature"))
	s.folder("truncated-state", "The last byte of the state is missing.", alone(h[0][:len(h[0])-1]), invalid(did, 1, "bad-signature"))

	s.folder("truncated-genesis", "The genesis is cut to 208 bytes. It cannot be parsed, so no genesis was supplied.",
		folder(replace(h, 0, h[0][:208])...), invalid(did, 5, "truncated", "missing-genesis"))
	s.folder("truncated-middle", "The third of five is cut inside its header; the fourth has lost its predecessor.",
		folder(replace(h, 2, h[2][:100])...), invalid(did, 5, "truncated", "gap"))
	s.folder("truncated-middle-state", "The third of five is cut inside its state.",
		folder(replace(h, 2, h[2][:len(h[2])-3])...), invalid(did, 5, "bad-signature", "gap"))
	s.folder("truncated-head", "The head is cut inside its header.", folder(replace(h, 4, h[4][:200])...), invalid(did, 5, "truncated"))
	s.folder("empty-middle", "The third of five is an empty file.",
		folder(without(h, 2)...).with("0000000014.ckpt", []byte{}), invalid(did, 5, "empty", "gap"))
	s.folder("empty-head", "The newest file is empty, as after a crash.",
		folder(h[:4]...).with("0000000024.ckpt", []byte{}), invalid(did, 5, "empty"))
	s.folder("trailing-byte-middle", "A byte follows the state of the third of five.",
		folder(replace(h, 2, append(slices.Clone(h[2]), 0))...), invalid(did, 5, "bad-signature", "gap"))
	s.folder("trailing-byte-head", "A byte follows the head's state.",
		folder(replace(h, 4, append(slices.Clone(h[4]), 0))...), invalid(did, 5, "bad-signature"))
}

func (s *set) tampered() {
	did := alice.DID()
	h := life(alice, 5)
	for _, t := range []struct {
		field  string
		offset int
		bits   byte
	}{
		{"budget", 1, 0x01}, {"price", 9, 0x01}, {"tick", 17, 0x01}, {"wasm-hash", 25, 0x01},
		{"major-version", 57, 0x01}, {"lease-generation", 65, 0x01}, {"lease-expiry", 73, 0x01},
		{"prev-hash", 81, 0x01}, {"key", 113, 0x01}, {"signature-r", 145, 0x01}, {"signature-s", 177, 0x01},
		{"state", 209, 0x01},
	} {
		s.folder("tampered-middle-"+t.field, "One bit is flipped in the third of five; the fourth has lost its predecessor.",
			folder(flip(h, 2, t.offset, t.bits)...), invalid(did, 5, "bad-signature", "gap"))
		codes := []string{"bad-signature", "gap"}
		if t.field == "prev-hash" {
			codes[1] = "missing-genesis"
		}
		s.folder("tampered-genesis-"+t.field, "One bit is flipped in the genesis of five. It is supplied, though nobody vouches for it, unless its prevHash is no longer zero.",
			folder(flip(h, 0, t.offset, t.bits)...), invalid(did, 5, codes...))
		s.folder("tampered-head-"+t.field, "One bit is flipped in the head of five; nothing else is wrong.",
			folder(flip(h, 4, t.offset, t.bits)...), invalid(did, 5, "bad-signature"))
	}

	s.folder("tampered-middle-version-5", "The third of five claims version 0x05.", folder(flip(h, 2, 0, 0x01)...), invalid(did, 5, "unsupported-version", "gap"))
	s.folder("tampered-middle-version-3", "The third of five claims version 0x03, which is not signed.", folder(flip(h, 2, 0, 0x07)...), invalid(did, 5, "unsigned-version", "gap"))
	s.folder("tampered-genesis-version-5", "The genesis claims version 0x05; nobody can tell that it is a genesis.", folder(flip(h, 0, 0, 0x01)...), invalid(did, 5, "unsupported-version", "missing-genesis"))
	s.folder("tampered-genesis-version-2", "The genesis claims version 0x02, which has no prevHash.", folder(flip(h, 0, 0, 0x06)...), invalid(did, 5, "unsigned-version", "missing-genesis"))
	s.folder("tampered-head-version-0", "The head claims version 0x00.", folder(flip(h, 4, 0, 0x04)...), invalid(did, 5, "unsupported-version"))
	s.folder("tampered-middle-budget-sign", "The third of five has the top bit of its budget flipped.", folder(flip(h, 2, 8, 0x80)...), invalid(did, 5, "bad-signature", "negative-budget", "gap"))
	s.folder("tampered-middle-price-sign", "The third of five has the top bit of its price flipped.", folder(flip(h, 2, 16, 0x80)...), invalid(did, 5, "bad-signature", "negative-price", "gap"))
	s.folder("tampered-middle-last-bit", "The last bit of the state of the third of five is flipped.",
		folder(flip(h, 2, len(h[2])-1, 0x80)...), invalid(did, 5, "bad-signature", "gap"))

	zeroed := slices.Clone(h[2])
	clear(zeroed[testkit.OffPrevHash:testkit.OffKey])
	s.folder("tampered-middle-to-genesis", "The third of five has its prevHash zeroed. It is no second genesis: the key did not sign that.",
		folder(replace(h, 2, zeroed)...), invalid(did, 5, "bad-signature", "gap"))
	unsigned := slices.Clone(h[2])
	clear(unsigned[testkit.OffSignature:testkit.OffState])
	s.folder("tampered-middle-signature-zeroed", "The signature of the third of five is 64 zero bytes.",
		folder(replace(h, 2, unsigned)...), invalid(did, 5, "bad-signature", "gap"))
	swapped := slices.Clone(h[2])
	copy(swapped[testkit.OffSignature:testkit.OffState], h[1][testkit.OffSignature:])
	s.folder("tampered-middle-signature-moved", "The third of five has the signature of the second.",
		folder(replace(h, 2, swapped)...), invalid(did, 5, "bad-signature", "gap"))
	halves := slices.Clone(h[4])
	copy(halves[145:177], h[4][177:209])
	copy(halves[177:209], h[4][145:177])
	s.folder("tampered-head-signature-halves", "S stands before R in the head.", folder(replace(h, 4, halves)...), invalid(did, 5, "bad-signature"))

	all := make([][]byte, len(h))
	for i := range h {
		all[i] = flipByte(h[i], testkit.OffState, 0x20)
	}
	s.folder("tampered-all", "A bit is flipped in every checkpoint. None is authentic; the DID is what the genesis claims.", folder(all...), invalid(did, 5, "bad-signature"))
	s.folder("tampered-genesis-only", "A single checkpoint, tampered.", folder(all[0]), invalid(did, 1, "bad-signature"))
	stolen := slices.Clone(h[0])
	copy(stolen[testkit.OffKey:], bob.Key)
	s.folder("tampered-genesis-only-key", "A single checkpoint under another's key. The DID is the claimed one.", folder(stolen), invalid(bob.DID(), 1, "bad-signature"))
	s.folder("tampered-two", "The second and the fourth of five are tampered.", folder(flip(flip(h, 1, 209, 1), 3, 209, 1)...), invalid(did, 5, "bad-signature", "gap"))

	broken := alice.After(h[1], plain(2))
	broken[testkit.OffSignature] ^= 1
	s.folder("bad-signature-inside-chain", "The third of five never had a good signature, but the fourth names its bytes: nothing is missing.",
		folder(extend(alice, append(slices.Clone(h[:2]), broken), 5)...), invalid(did, 5, "bad-signature"))
	brokenGenesis := flipByte(h[0], testkit.OffSignature, 1)
	s.folder("bad-signature-genesis-inside-chain", "The genesis never had a good signature, but the second names its bytes.",
		folder(extend(alice, [][]byte{brokenGenesis}, 4)...), invalid(did, 4, "bad-signature"))
}

func (s *set) versions() {
	did := alice.DID()
	h := life(alice, 3)
	old := func(version byte, i int) []byte { return plain(i).Encode(version, nil, nil) }
	empty := plain(0)
	empty.State = nil

	s.folder("v2-alone", "A checkpoint of version 0x02.", folder(old(2, 0)), invalid("", 1, "unsigned-version"))
	s.folder("v3-alone", "A checkpoint of version 0x03.", folder(old(3, 0)), invalid("", 1, "unsigned-version"))
	s.folder("v2-exactly-header", "57 bytes of version 0x02.", folder(empty.Encode(2, nil, nil)), invalid("", 1, "unsigned-version"))
	s.folder("v3-exactly-header", "81 bytes of version 0x03.", folder(empty.Encode(3, nil, nil)), invalid("", 1, "unsigned-version"))
	s.folder("v2-and-v3", "Several checkpoints of both old versions.", folder(old(2, 0), old(2, 1), old(3, 2)), invalid("", 3, "unsigned-version"))
	s.folder("v3-with-v4-bytes", "Version 0x03 with all that version 0x04 would need in its state.", folder(flipByte(h[0], 0, 0x07)), invalid("", 1, "unsigned-version"))
	s.folder("v2-before-genesis", "A checkpoint of version 0x02 beside a whole life.", folder(append(life(alice, 3, ticks(9, 14, 19)), old(2, 0))...), invalid(did, 4, "unsigned-version"))
	s.folder("v3-before-genesis", "A checkpoint of version 0x03 beside a whole life.", folder(append(life(alice, 3, ticks(9, 14, 19)), old(3, 0))...), invalid(did, 4, "unsigned-version"))
	s.folder("v3-inside-chain", "A checkpoint of version 0x03 in the middle; the next names its bytes.",
		folder(extend(alice, [][]byte{h[0], h[1], old(3, 2)}, 5)...), invalid(did, 5, "unsigned-version"))
	for _, version := range []byte{2, 3} {
		s.folder(fmt.Sprintf("v4-after-v%d", version), "The first checkpoint of version 0x04 names an older version's checkpoint as its predecessor. No genesis is there.",
			folder(extend(alice, [][]byte{old(version, 0)}, 3)...), invalid(did, 3, "unsigned-version", "missing-genesis"))
	}
	s.folder("v4-after-v3-ticks-decrease", "As v4-after-v3, and the older version's tick number is the larger one.",
		folder(extend(alice, [][]byte{at(100).Encode(3, nil, nil)}, 3)...), invalid(did, 3, "unsigned-version", "tick-order", "missing-genesis"))

	minus := plain(0)
	minus.Budget, minus.Price = -1, -1
	s.folder("v3-negative", "Version 0x03 with a negative budget and price: both are said.", folder(minus.Encode(3, nil, nil)), invalid("", 1, "unsigned-version", "negative-budget", "negative-price"))
	s.folder("v2-negative", "Version 0x02 with a negative budget and price.", folder(minus.Encode(2, nil, nil)), invalid("", 1, "unsigned-version", "negative-budget", "negative-price"))

	for _, version := range []byte{0x00, 0x01, 0x05, 0x84, 0xff} {
		s.folder(fmt.Sprintf("version-%02x", version), "A version that nobody knows, otherwise a fine genesis.", folder(flipByte(h[0], 0, 4^version)), invalid("", 1, "unsupported-version"))
	}
	text := []byte("This is not a checkpoint.\n")
	s.folder("not-a-checkpoint", "A text beside a whole life.", folder(h...).with("readme.ckpt", text), invalid(did, 4, "unsupported-version"))
}

func (s *set) fieldLimits() {
	did := alice.DID()
	set := func(change func(f *fields)) files {
		return folder(life(alice, 3, func(i int, f *fields) {
			if i == 1 {
				change(f)
			}
		})...)
	}
	for _, v := range []struct {
		name  string
		value int64
		fine  bool
	}{{"zero", 0, true}, {"max", math.MaxInt64, true}, {"minus-one", -1, false}, {"min", math.MinInt64, false}} {
		budget, price := invalid(did, 3, "negative-budget"), invalid(did, 3, "negative-price")
		if v.fine {
			budget, price = verified(did, 3), verified(did, 3)
		}
		s.folder("budget-"+v.name, fmt.Sprintf("The second of three has the budget %d, signed.", v.value), set(func(f *fields) { f.Budget = v.value }), budget)
		s.folder("price-"+v.name, fmt.Sprintf("The second of three has the price %d, signed.", v.value), set(func(f *fields) { f.Price = v.value }), price)
	}
	s.folder("budget-and-price-negative", "Both are negative in one checkpoint.", set(func(f *fields) { f.Budget, f.Price = -5, -7 }), invalid(did, 3, "negative-budget", "negative-price"))
	s.folder("budget-negative-after-price", "The price of the second is negative, then the budget of the third: tick order decides.",
		folder(life(alice, 3, func(i int, f *fields) {
			switch i {
			case 1:
				f.Price = -1
			case 2:
				f.Budget = -1
			}
		})...), invalid(did, 3, "negative-price", "negative-budget"))
	s.folder("budget-rises", "A top-up: the budget grows along the way.", set(func(f *fields) { f.Budget = 9000000 }), verified(did, 3))
	s.folder("price-changes", "The price changes along the way.", set(func(f *fields) { f.Price = 4000 }), verified(did, 3))
	s.folder("wasm-upgrade", "The WASM hash changes once.", folder(life(alice, 4, func(i int, f *fields) {
		if i >= 2 {
			f.WASMHash = wasm2
		}
	})...), verified(did, 4))
	s.folder("wasm-upgrade-and-back", "The WASM hash changes, and changes back: three segments.", folder(life(alice, 5, func(i int, f *fields) {
		if i == 2 {
			f.WASMHash = wasm2
		}
	})...), verified(did, 5))
	s.folder("wasm-hash-zero", "The WASM hash is zero.", set(func(f *fields) { f.WASMHash = [32]byte{} }), verified(did, 3))
	s.folder("epochs-max", "The three reserved epoch fields are as large as can be. Nobody judges them.",
		set(func(f *fields) {
			f.MajorVersion, f.LeaseGeneration, f.LeaseExpiry = math.MaxUint64, math.MaxUint64, math.MaxInt64
		}), verified(did, 3))
	s.folder("epochs-lease-expiry-negative", "The reserved leaseExpiry is negative.", set(func(f *fields) { f.LeaseExpiry = math.MinInt64 }), verified(did, 3))
	s.folder("epochs-decrease", "The reserved epoch fields go down along the way.", folder(life(alice, 3, func(i int, f *fields) {
		f.MajorVersion, f.LeaseGeneration, f.LeaseExpiry = uint64(9-i), uint64(90-i), int64(900-i)
	})...), verified(did, 3))
}

func (s *set) tickOrder() {
	did := alice.DID()
	const top = math.MaxUint64
	s.folder("tick-first-0", "The genesis has tick 0.", folder(life(alice, 3, ticks(0, 1, 2))...), verified(did, 3))
	s.folder("tick-first-large", "The genesis has a large tick number.", folder(life(alice, 3, ticks(1000000, 1000001, 1000005))...), verified(did, 3))
	s.folder("tick-skips", "Ticks are skipped, a few and many.", folder(life(alice, 4, ticks(1, 2, 1000, 1<<40))...), verified(did, 4))
	s.folder("tick-max-head", "The head has tick 2^64-1.", folder(life(alice, 3, ticks(1, 2, top))...), verified(did, 3))
	s.folder("tick-max-genesis", "A genesis with tick 2^64-1.", folder(life(alice, 1, ticks(top))...), verified(did, 1))
	s.folder("tick-above-2-53", "Ticks that a double cannot tell apart.", folder(life(alice, 3, ticks(1<<53, 1<<53+1, 1<<53+2))...), verified(did, 3))
	s.folder("tick-across-2-63", "Ticks on both sides of 2^63: they have no sign.", folder(life(alice, 3, ticks(1<<63-1, 1<<63, 1<<63+1))...), verified(did, 3))
	s.folder("tick-wraps", "After tick 2^64-1 comes tick 0.", folder(life(alice, 3, ticks(1, top, 0))...), invalid(did, 3, "tick-order"))
	s.folder("tick-max-twice", "After tick 2^64-1 comes tick 2^64-1.", folder(life(alice, 3, ticks(1, top, top))...), invalid(did, 3, "tick-order"))
	s.folder("tick-equal", "The third of four has the tick number of the second.", folder(life(alice, 4, ticks(1, 2, 2, 3))...), invalid(did, 4, "tick-order"))
	s.folder("tick-decreases", "The third of four has a smaller tick number than the second.", folder(life(alice, 4, ticks(1, 7, 5, 9))...), invalid(did, 4, "tick-order"))
	s.folder("tick-reversed", "Every tick number is smaller than the one before.", folder(life(alice, 4, ticks(9, 7, 5, 3))...), invalid(did, 4, "tick-order"))
	s.folder("tick-before-genesis", "The second has a smaller tick number than the genesis.", folder(life(alice, 3, ticks(5, 0, 6))...), invalid(did, 3, "tick-order"))

	h := life(alice, 2)
	late := alice.After(h[1], at(100))
	late[testkit.OffSignature+40] ^= 1
	s.folder("tick-after-bad-signature", "The predecessor's signature is bad; its tick number counts all the same, and is larger.",
		folder(h[0], h[1], late, alice.After(late, at(50))), invalid(did, 4, "bad-signature", "tick-order"))
	cut := alice.After(h[1], at(100))[:150]
	s.folder("tick-after-truncated", "The predecessor cannot be parsed, so it has no tick number, whatever its bytes say.",
		folder(h[0], h[1], cut, alice.After(cut, at(50))), invalid(did, 4, "truncated"))
}

func (s *set) gaps() {
	did := alice.DID()
	h := life(alice, 8)
	s.folder("gap-one", "One checkpoint is missing.", folder(without(h, 3)...), incomplete(did, 7, "gap"))
	s.folder("gap-several", "Three checkpoints in a row are missing: one gap.", folder(without(h, 2, 3, 4)...), incomplete(did, 5, "gap"))
	s.folder("gap-two", "Checkpoints are missing at two places.", folder(without(h, 2, 5)...), incomplete(did, 6, "gap"))
	s.folder("gap-after-genesis", "The second checkpoint is missing.", folder(without(h, 1)...), incomplete(did, 7, "gap"))
	s.folder("gap-ends-only", "Only the genesis and the head are there.", folder(h[0], h[7]), incomplete(did, 2, "gap"))
	s.folder("cut-at-end", "The head is missing. Nobody can tell unless the head is pinned.", folder(h[:7]...), verified(did, 7))
	s.folder("missing-genesis", "The genesis is missing.", folder(h[1:]...), incomplete(did, 7, "missing-genesis"))
	s.folder("missing-genesis-several", "The first three are missing.", folder(h[3:]...), incomplete(did, 5, "missing-genesis"))
	s.folder("missing-genesis-and-gap", "The genesis is missing, and another.", folder(without(h, 0, 4)...), incomplete(did, 6, "missing-genesis", "gap"))
	s.folder("missing-genesis-head-only", "Only the head is there.", folder(h[7]), incomplete(did, 1, "missing-genesis"))
	s.folder("missing-genesis-middle-only", "Only the middle is there.", folder(h[3:5]...), incomplete(did, 2, "missing-genesis"))
	s.folder("missing-genesis-every-other", "Every other checkpoint is missing, the genesis among them.", folder(h[1], h[3], h[5], h[7]), incomplete(did, 4, "missing-genesis", "gap"))
	s.folder("missing-genesis-empty-file", "The first checkpoint names the SHA-256 of no byte as its predecessor, and an empty file is there. Nothing is missing but a genesis.",
		folder(extend(alice, [][]byte{{}}, 3)[1:]...).with("0000000004.ckpt", []byte{}), invalid(did, 3, "empty", "missing-genesis"))
	s.folder("unparsable-inside-chain", "The third of five is a text; the fourth names its bytes.",
		folder(extend(alice, append(slices.Clone(h[:2]), []byte("not a checkpoint, but a long enough text")), 5)...), invalid(did, 5, "unsupported-version"))

	unlike := func(name, description string, prev func(previous []byte) [32]byte) {
		f := plain(2)
		f.PrevHash = prev(h[1])
		s.folder(name, description, folder(h[0], h[1], alice.Checkpoint(f)), incomplete(did, 3, "gap"))
	}
	unlike("prev-hash-of-message", "The third names the hash of what the second's signature signs, not of all its bytes.",
		func(c []byte) [32]byte { return sha256.Sum256(testkit.Message(c)) })
	unlike("prev-hash-of-state", "The third names the hash of the second's state.",
		func(c []byte) [32]byte { return sha256.Sum256(c[testkit.OffState:]) })
	unlike("prev-hash-reversed", "The third names its predecessor's hash in reversed byte order.",
		func(c []byte) [32]byte { h := testkit.Hash(c); slices.Reverse(h[:]); return h })
	unlike("prev-hash-sha512", "The third names half of the SHA-512 of its predecessor.",
		func(c []byte) [32]byte { h := sha512.Sum512(c); return [32]byte(h[:32]) })
	unlike("prev-hash-all-ones", "The third names a predecessor that nobody can have.",
		func([]byte) [32]byte { return [32]byte(bytes.Repeat([]byte{0xff}, 32)) })
}

func (s *set) forks() {
	did := alice.DID()
	h := life(alice, 6)
	other := func(from, n int, name string) [][]byte {
		return extend(alice, h[:from], n, branch(name))[from:]
	}
	s.folder("fork-middle", "A second checkpoint names the third as its predecessor.", folder(append(h, other(3, 4, "b")...)...), invalid(did, 7, "fork"))
	s.folder("fork-at-head", "Two heads.", folder(append(h, other(5, 6, "b")...)...), invalid(did, 7, "fork"))
	s.folder("fork-long-branches", "Both branches go on for three checkpoints.", folder(append(h, other(3, 6, "b")...)...), invalid(did, 9, "fork"))
	s.folder("fork-three-way", "Three checkpoints have one predecessor.", folder(slices.Concat(h, other(3, 5, "b"), other(3, 5, "c"))...), invalid(did, 10, "fork"))
	s.folder("fork-twice", "Forks at two places.", folder(slices.Concat(h, other(2, 3, "b"), other(4, 5, "c"))...), invalid(did, 8, "fork"))
	s.folder("fork-after-genesis", "Two checkpoints follow the genesis.", folder(append(h, other(1, 2, "b")...)...), invalid(did, 7, "fork"))
	s.folder("fork-other-tick", "The second branch has other tick numbers.", folder(append(h, alice.After(h[2], at(1000)))...), invalid(did, 7, "fork"))
	s.folder("fork-two-geneses", "Two geneses by one key.", folder(append(h, life(alice, 1, branch("b"))...)...), invalid(did, 7, "fork"))
	s.folder("fork-two-lives", "Two whole lives by one key.", folder(append(h, life(alice, 6, branch("b"))...)...), invalid(did, 12, "fork"))
	s.folder("fork-missing-predecessor", "Two checkpoints name the same predecessor, which is missing: one gap.",
		folder(append(without(h, 3), other(4, 5, "b")...)...), invalid(did, 6, "fork", "gap"))
	s.folder("fork-no-genesis", "Two checkpoints name the same predecessor, the missing genesis.",
		folder(append(h[1:], other(1, 2, "b")...)...), invalid(did, 6, "fork", "missing-genesis"))
	s.folder("fork-tick-order", "The second branch goes back in time.", folder(append(h, alice.After(h[3], at(2)))...), invalid(did, 7, "fork", "tick-order"))
	s.folder("fork-same-message", "The head was signed twice, with two nonces: the same fields, both signatures good, other bytes.",
		folder(append(h, resigned(h[5]))...), invalid(did, 7, "fork"))

	forged := other(3, 4, "b")[0]
	forged[testkit.OffSignature] ^= 1
	s.folder("fork-bad-signature", "The second branch has a bad signature. That is no fork: the key did not sign it.",
		folder(append(h, forged)...), invalid(did, 7, "bad-signature"))
	accused := slices.Clone(h[3])
	copy(accused[testkit.OffState:], "STATE")
	s.folder("fork-forged", "Somebody without the key altered a copy of the fourth checkpoint, to look like a fork.",
		folder(append(h, accused)...), invalid(did, 7, "bad-signature"))
	forgedGenesis := life(alice, 1, branch("b"))[0]
	forgedGenesis[testkit.OffSignature] ^= 1
	s.folder("fork-genesis-bad-signature", "A second genesis with a bad signature is no fork.", folder(append(h, forgedGenesis)...), invalid(did, 7, "bad-signature"))
}

// resigned returns the checkpoint, which is alice's, with another good signature.
func resigned(c []byte) []byte {
	c = slices.Clone(c)
	copy(c[testkit.OffSignature:], signature(alice.Key, secret(alice), big.NewInt(12345), testkit.Message(c)))
	return c
}

func (s *set) identities() {
	a, b := life(alice, 4), life(bob, 4, ticks(5, 10, 15, 20))
	did := alice.DID()
	s.folder("two-agents", "Two whole lives by two keys, as long as each other. The history's key is that of the first checkpoint; the other genesis is a fork of it.",
		folder(slices.Concat(a, b)...), invalid(did, 8, "identity-mismatch", "fork"))
	s.folder("two-agents-other-first", "As two-agents, but the other agent's genesis has the smaller tick number.",
		folder(slices.Concat(a, life(bob, 4, ticks(3, 10, 15, 20)))...), invalid(bob.DID(), 8, "identity-mismatch", "fork"))
	first, second := lowerHashFirst(life(alice, 1)[0], life(bob, 1)[0])
	s.folder("two-agents-equal-ticks", "Two geneses by two keys with one tick number: the content hash decides.",
		folder(second, first), invalid(testkit.DID(first[testkit.OffKey:testkit.OffSignature]), 2, "identity-mismatch", "fork"))
	s.folder("two-agents-no-genesis", "Two lives without their geneses: the first authentic checkpoint decides.",
		folder(slices.Concat(a[1:], b[1:])...), invalid(did, 6, "identity-mismatch", "missing-genesis", "gap"))
	s.folder("three-agents", "Three geneses by three keys.",
		folder(life(alice, 1)[0], life(bob, 1, ticks(5))[0], life(carol, 1, ticks(6))[0]), invalid(did, 3, "identity-mismatch", "fork"))
	s.folder("foreign-at-head", "Another key's checkpoint names the head as its predecessor.", folder(append(a, bob.After(a[3], plain(4)))...), invalid(did, 5, "identity-mismatch"))
	s.folder("foreign-in-middle", "Another key's checkpoint names the second as its predecessor, as the third does.",
		folder(append(a, bob.After(a[1], at(16)))...), invalid(did, 5, "identity-mismatch", "fork"))
	s.folder("foreign-continues", "Another key goes on with the life from the third checkpoint.", folder(extend(bob, a[:2], 5)...), invalid(bob.DID(), 5, "identity-mismatch").lives(3, 2))
	s.folder("foreign-one-inside", "One checkpoint in the middle is by another key, and the chain goes on through it.",
		folder(extend(alice, extend(bob, a[:2], 3), 5)...), invalid(did, 5, "identity-mismatch"))
	s.folder("foreign-genesis", "The genesis is by another key than all the rest, and so the stranger.",
		folder(extend(alice, life(bob, 1), 4)...), invalid(did, 4, "identity-mismatch").lives(3, 1).accused("0000000004.ckpt"))
	s.folder("foreign-bad-signature", "A checkpoint that claims another key, with a bad signature: nobody else is accused.",
		folder(append(a, flipByte(bob.After(a[3], plain(4)), testkit.OffSignature, 1))...), invalid(did, 5, "bad-signature"))
	s.folder("most-decide-over-tick", "Another key's checkpoint has the smallest tick number. The key with most checkpoints is the history's.",
		folder(append(a, bob.After(a[3], at(1)))...), invalid(did, 5, "identity-mismatch", "tick-order"))
	stranger := bob.Checkpoint(at(1))
	s.folder("most-decide-over-genesis", "A stranger's genesis with the smallest tick number lies in an honest life: the stranger is the stranger.",
		folder(append(slices.Clone(a), stranger)...), invalid(did, 5, "identity-mismatch", "fork").lives(4, 1).accused("0000000001.ckpt", "0000000001.ckpt"))
	s.folder("most-decide-tampered-do-not-count", "Two of four are tampered: only authentic checkpoints count.",
		folder(append(flip(flip(a[:3], 1, 209, 1), 2, 209, 1), life(bob, 2, ticks(5, 10))...)...), invalid(bob.DID(), 5, "bad-signature", "identity-mismatch", "fork").lives(2, 1))
	s.folder("outnumbered", "A stranger with one checkpoint more than the life has is taken for the agent: only a pin says who it has to be.",
		folder(slices.Concat(a, life(bob, 5, ticks(5, 10, 15, 20, 25)))...), invalid(bob.DID(), 9, "identity-mismatch", "fork").lives(5, 4))
	s.pinned("outnumbered-pinned", "As outnumbered, and the DID is pinned.", args{DID: did},
		folder(slices.Concat(a, life(bob, 5, ticks(5, 10, 15, 20, 25)))...), invalid(did, 9, "identity-mismatch", "fork").lives(5, 4))
	crowd := slices.Clone(a)
	for i := range 120 {
		crowd = append(crowd, testkit.NewAgent(fmt.Sprintf("crowd %d", i)).Checkpoint(at(uint64(1000+i))))
	}
	// 99 of the crowd are listed beside alice, and the others counted.
	s.folder("crowd", "A hundred and twenty strangers: the report lists a hundred keys and counts the others.",
		folder(crowd...), invalid(did, 124, "identity-mismatch", "fork").lives(append(append([]int{4}, slices.Repeat([]int{1}, 99)...), 21)...))

	early := bob.After(a[1], at(10))
	s.folder("fork-own-branch-first", "Another key's branch has the smaller tick number; the branch by the history's key is the first all the same.",
		folder(append(slices.Clone(a), early)...), invalid(did, 5, "identity-mismatch", "fork").accused("0000000010.ckpt", "0000000010.ckpt"))
	s.folder("fork-own-branches", "Two branches by the history's key and one by another, which has the smallest tick number.",
		folder(append(slices.Clone(a), early, alice.After(a[1], at(99)))...), invalid(did, 6, "identity-mismatch", "fork").accused("0000000010.ckpt", "0000000010.ckpt", "0000000099.ckpt"))
	s.folder("fork-own-orphan-first", "As fork-own-branch-first, but the predecessor is missing: the gap is at the branch by the history's key.",
		folder(append(without(a, 1), early)...), invalid(did, 4, "identity-mismatch", "fork", "gap").accused("0000000010.ckpt", "0000000010.ckpt", "0000000014.ckpt"))

	s.folder("authentic-decides-over-genesis", "The only genesis has a bad signature and claims another key. The first authentic checkpoint decides.",
		folder(append(slices.Clone(a[1:]), flipByte(bob.Checkpoint(at(1)), testkit.OffSignature, 1))...), invalid(did, 4, "bad-signature", "gap"))
	s.folder("claimed-genesis-decides", "Nothing is authentic. The key is what the one with the zero prevHash claims, not the one with the smaller tick number.",
		folder(flipByte(alice.Checkpoint(at(9)), testkit.OffSignature, 1), flipByte(bob.After(a[0], at(1)), testkit.OffSignature, 1)), invalid(did, 2, "bad-signature"))
	s.folder("claimed-first-decides", "Nothing is authentic and nothing has a zero prevHash. The key is what the first claims.",
		folder(flipByte(alice.After(a[0], at(5)), testkit.OffSignature, 1), flipByte(bob.After(a[0], at(7)), testkit.OffSignature, 1)), invalid(did, 2, "bad-signature"))
}

func (s *set) cycles() {
	did := alice.DID()
	f := plain(0)
	for range 3 {
		f.PrevHash = testkit.Hash(alice.Checkpoint(f))
	}
	s.folder("cycle-self", "A checkpoint that tries to be its own predecessor: its prevHash is the hash of its last variant.", folder(alice.Checkpoint(f)), incomplete(did, 1, "missing-genesis"))

	x, y := at(1), at(2)
	y.PrevHash = testkit.Hash(alice.Checkpoint(x))
	second := alice.Checkpoint(y)
	x.PrevHash = testkit.Hash(second)
	s.folder("cycle-two", "Two checkpoints that try to name each other. The one that was signed last has the smaller tick number.",
		folder(alice.Checkpoint(x), second), invalid(did, 2, "tick-order", "missing-genesis"))
	x.Tick = 3
	s.folder("cycle-two-ticks-rise", "Two checkpoints that try to name each other, with rising ticks.",
		folder(alice.Checkpoint(x), second), incomplete(did, 2, "missing-genesis"))

	h := life(alice, 4)
	g := plain(0)
	g.PrevHash = testkit.Hash(h[3])
	closed := alice.Checkpoint(g)
	s.folder("cycle-genesis-names-head", "In place of the genesis stands one that names the head. The second still names the true genesis.",
		folder(replace(h, 0, closed)...), invalid(did, 4, "tick-order", "missing-genesis"))
	s.folder("cycle-rebuilt", "A life whose genesis names the head of another variant of itself.", folder(extend(alice, [][]byte{closed}, 4)...), incomplete(did, 4, "missing-genesis"))
	s.folder("cycle-after-head", "A copy of the genesis with the head as its predecessor follows the head.", folder(append(h, closed)...), invalid(did, 5, "tick-order"))
}

func (s *set) duplicates() {
	did := alice.DID()
	h := life(alice, 4)
	s.folder("duplicate-one", "One checkpoint lies there under two names.", folder(h...).with("copy of 9.ckpt", h[1]), verified(did, 4).duplicates(1))
	all := folder(h...)
	for i, c := range h {
		all.with(fmt.Sprintf("backup/%d.ckpt", i), c)
	}
	s.folder("duplicate-all", "A whole copy of the life lies beside it.", all, verified(did, 4).duplicates(4))
	s.folder("duplicate-many", "The genesis lies there six times.", folder(h[0], h[0], h[0], h[0], h[0], h[0]), verified(did, 1).duplicates(5))
	s.folder("duplicate-genesis", "Two copies of the genesis are one genesis.", folder(append(h, h[0])...), verified(did, 4).duplicates(1))
	bad := flip(h, 3, 209, 1)
	s.folder("duplicate-tampered", "Two copies of a tampered head are one problem.", folder(append(bad, bad[3])...), invalid(did, 4, "bad-signature").duplicates(1))
	s.folder("duplicate-empty", "Three empty files are one checkpoint and two duplicates.",
		files{}.with("a.ckpt", []byte{}).with("b.ckpt", []byte{}).with("c.ckpt", []byte{}), invalid("", 1, "empty").duplicates(2))
	f := folder(h...)
	*s = append(*s,
		vector{name: "duplicate-input", description: "One file is given twice.", inputs: []string{"history", "history/0000000009.ckpt"}, files: f, expect: verified(did, 4).duplicates(1)},
		vector{name: "duplicate-folder-and-car", description: "A folder and a CAR with the same checkpoints.", inputs: []string{"history", "history.car"},
			files: files{"history.car": testkit.CAR(h[3], h...), "history/a.ckpt": h[0], "history/b.ckpt": h[1], "history/c.ckpt": h[2], "history/d.ckpt": h[3]}, expect: verified(did, 4).duplicates(4)},
	)
}

// segments are folders in which checkpoints lie in CARs: docs/spec/segments.md.
func (s *set) segments() {
	did := alice.DID()
	h := life(alice, 9)
	seg := func(h ...[]byte) []byte { return testkit.CAR(h[len(h)-1], h...) }
	const one, two = "history/0000000004-0000000014.car", "history/0000000019-0000000029.car"
	packed := func() files {
		return files{}.with("0000000034.ckpt", h[6]).with("0000000039.ckpt", h[7]).with("0000000044.ckpt", h[8])
	}
	both := func() files { f := packed(); f[one], f[two] = seg(h[:3]...), seg(h[3:6]...); return f }
	add := func(f files, name string, b []byte) files { f["history/"+name] = b; return f }
	s.folder("segments-and-checkpoints", "Two segments, and the newest checkpoints by themselves.", both(), verified(did, 9))
	only := files{"history/0.car": seg(h[:4]...), "history/1.CAR": seg(h[4:5]...), "history/old/2-3.car": seg(h[5:]...)}
	s.folder("segments-only", "Segments alone, one in a folder of its own, and one with a name in capitals.", only, verified(did, 9))
	s.folder("segments-packed-twice", "What a killed process leaves: checkpoints are in a segment, in a longer one, and by themselves.",
		add(add(both(), "0000000029.ckpt", h[5]), "0000000004-0000000029.car", seg(h[:6]...)), verified(did, 9).duplicates(7))
	missing := both()
	delete(missing, two)
	s.folder("segments-one-missing", "The second segment is not there.", missing, incomplete(did, 6, "gap"))
	first := both()
	delete(first, one)
	s.folder("segments-first-missing", "The first segment is not there.", first, incomplete(did, 6, "missing-genesis"))
	s.folder("segments-cut", "A segment is cut in its last block.", add(both(), "0000000019-0000000029.car", seg(h[3:6]...)[:700]), refused("malformed CAR"))
	s.folder("segments-flipped", "A bit of a segment is flipped.", add(both(), "0000000004-0000000014.car", flipByte(seg(h[:3]...), 400, 1)), refused("malformed CAR"))
	s.folder("segments-empty", "A segment is an empty file.", add(both(), "0000000004-0000000014.car", nil), refused("malformed CAR"))
	s.folder("segments-no-car", "What is named as a segment is a text.", add(both(), "5.car", []byte("notes\n")), refused("malformed CAR"))
	bad := extend(alice, flip(h, 5, 209, 1)[:6], 9)
	s.folder("segments-bad-signature", "A checkpoint in a segment is not signed by its key, though its CID is right.",
		files{}.with("0000000034.ckpt", bad[6]).with("0000000039.ckpt", bad[7]).with("0000000044.ckpt", bad[8]).with("0000000004-0000000029.car", seg(bad[:6]...)), invalid(did, 9, "bad-signature"))
	s.folder("segments-of-another", "A segment of another life lies among them.", add(both(), "0000000049-0000000064.car", seg(life(bob, 2)...)), invalid(did, 11, "identity-mismatch", "fork"))
	s.folder("segments-other-names", "CARs whose names are no segments' are not looked at, though they are broken.",
		add(add(add(add(add(both(), "life.car", []byte("broken")), "1-2-3.car", []byte("broken")), "-2.car", []byte("broken")), "1-.car", []byte("broken")), "1-2.car.next", []byte("broken")),
		verified(did, 9).beside("car", 4).beside("other", 1))
	s.folder("segments-macos", "What macOS adds to a copy of them is not looked at.", add(add(both(), "._1-2.car", []byte{0}), "__MACOSX/1-2.car", []byte{0}), verified(did, 9).beside("macos", 2))
}

func (s *set) naming() {
	did := alice.DID()
	h := life(alice, 4)
	name := func(names ...string) files {
		f := make(files)
		for i, n := range names {
			f.with(n, h[i])
		}
		return f
	}
	s.folder("names-shuffled", "The names say nothing about the order.", name("kiwi.ckpt", "apple.ckpt", "pear.ckpt", "fig.ckpt"), verified(did, 4))
	s.folder("names-reversed", "The names lie: they say the opposite order.", name("0000000004.ckpt", "0000000003.ckpt", "0000000002.ckpt", "0000000001.ckpt"), verified(did, 4))
	s.folder("names-wrong-ticks", "The names are other checkpoints' tick numbers.", name("0000000009.ckpt", "0000000014.ckpt", "0000000019.ckpt", "0000000004.ckpt"), verified(did, 4))
	s.folder("names-without-zeros", "The names are tick numbers without leading zeros.", name("4.ckpt", "9.ckpt", "14.ckpt", "19.ckpt"), verified(did, 4))
	s.folder("names-non-ascii", "The names are in four scripts.", name("grüße.ckpt", "検査点.ckpt", "точка.ckpt", "σημείο.ckpt"), verified(did, 4))
	s.folder("names-spaces", "The names have spaces.", name("a b.ckpt", "first checkpoint.ckpt", "x   y.ckpt", "z .ckpt"), verified(did, 4))
	s.folder("names-nested", "The checkpoints lie in folders inside the folder, at several depths.", name("a.ckpt", "2026/01/b.ckpt", "2026/02/c.ckpt", "2026/d.ckpt"), verified(did, 4))
	s.folder("names-same-in-folders", "Every file has the same name, in another folder.", name("1/c.ckpt", "2/c.ckpt", "3/c.ckpt", "4/c.ckpt"), verified(did, 4))
	s.folder("names-folder-is-ckpt", "A folder is named like a checkpoint; the checkpoints lie inside.", name("life.ckpt/1.ckpt", "life.ckpt/2.ckpt", "3.ckpt", "4.ckpt"), verified(did, 4))
	s.folder("names-other-files", "Other files lie beside the checkpoints and are not looked at.",
		name("1.ckpt", "2.ckpt", "3.ckpt", "4.ckpt").with("notes.txt", []byte("notes\n")).with("5.ckpt.tmp", h[0][:50]).with("ckpt", []byte("x")).with("manifest.json", []byte("{}\n")), verified(did, 4))
	s.folder("names-hidden", "Files and folders whose names begin with a dot are checkpoints like all others.", name(".ckpt", ".1.ckpt", ".x/2.ckpt", "3.ckpt"), verified(did, 4))
	s.folder("names-car-in-folder", "A CAR inside a folder is not looked at, though it is broken.", name("1.ckpt", "2.ckpt", "3.ckpt", "4.ckpt").with("history.car", []byte("broken")), verified(did, 4))
	s.folder("names-tampered-shuffled", "The third of four is tampered; the names say nothing.",
		files{}.with("d.ckpt", h[0]).with("c.ckpt", h[1]).with("b.ckpt", flipByte(h[2], 209, 1)).with("a.ckpt", h[3]), invalid(did, 4, "bad-signature", "gap"))

	hostile := []string{
		"<img src=x onerror=alert(1)>.ckpt", "a\"quoted\"'name'.ckpt", "line\nbreak\r.ckpt", "\x1b[31mred\x1b[0m\a.ckpt",
		"::error::injected.ckpt", "--did.ckpt", "$(id) `id` ;&|.ckpt", "%0A%s%n.ckpt", "\u202etpkc.ckpt", "back\\slash.ckpt", "&amp;]]><!--.ckpt", " .ckpt",
	}
	long := life(alice, len(hostile))
	names := make(map[string]string)
	plainNames := make(files)
	for i, n := range hostile {
		from := fmt.Sprintf("history/%02d.ckpt", i)
		plainNames[from] = long[i]
		names[from] = "history/" + n
	}
	*s = append(*s, vector{name: "names-hostile", description: "Names with markup, quotes, control characters and commands in them.",
		inputs: []string{"history"}, names: names, files: plainNames, expect: verified(did, len(hostile))})
	tampered := make(files)
	for n, c := range plainNames {
		tampered[n] = flipByte(c, testkit.OffState, 1)
	}
	*s = append(*s, vector{name: "names-hostile-in-problems", description: "As names-hostile, every checkpoint tampered: every name stands in a problem.",
		inputs: []string{"history"}, names: names, files: tampered, expect: invalid(did, len(hostile), "bad-signature")})

	*s = append(*s,
		vector{name: "files-in-order", description: "The checkpoints are given one by one.", inputs: []string{"1.ckpt", "2.ckpt", "3.ckpt"},
			files: files{"1.ckpt": h[0], "2.ckpt": h[1], "3.ckpt": h[2]}, expect: verified(did, 3)},
		vector{name: "files-reversed", description: "The checkpoints are given one by one, the head first.", inputs: []string{"3.ckpt", "2.ckpt", "1.ckpt"},
			files: files{"1.ckpt": h[0], "2.ckpt": h[1], "3.ckpt": h[2]}, expect: verified(did, 3)},
		vector{name: "files-some", description: "Only two of three files are given.", inputs: []string{"1.ckpt", "3.ckpt"},
			files: files{"1.ckpt": h[0], "2.ckpt": h[1], "3.ckpt": h[2]}, expect: incomplete(did, 2, "gap")},
		vector{name: "files-any-name", description: "A file given by itself may have any name that is not a CAR's.", inputs: []string{"genesis", "head.bin"},
			files: files{"genesis": h[0], "head.bin": h[1]}, expect: verified(did, 2)},
		vector{name: "folders-two", description: "One life in two folders, given the later first.", inputs: []string{"later", "earlier"},
			files: files{"earlier/1.ckpt": h[0], "earlier/2.ckpt": h[1], "later/1.ckpt": h[2], "later/2.ckpt": h[3]}, expect: verified(did, 4)},
		vector{name: "no-input", description: "Nothing is given.", inputs: []string{}, expect: refused("nothing to verify")},
		vector{name: "no-such-input", description: "A path that is not there.", inputs: []string{"history"}, expect: refused("no such file")},
		vector{name: "no-such-input-beside-good", description: "A good history and a path that is not there.", inputs: []string{"history", "more"}, files: folder(h...), expect: refused("no such file")},
		vector{name: "no-checkpoint-in-folder", description: "A folder with files, none of them a checkpoint.", inputs: []string{"history"},
			files: files{"history/notes.txt": []byte("nothing here\n")}, expect: refused("nothing to verify")},
	)
}

// kinds has inputs that are not what their names say, and such as are no history.
func (s *set) kinds() {
	did := alice.DID()
	h := life(alice, 3)
	lfs := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4cac19622fc3ada9c0fdeadb33f88f367b541f38b89102a3f1261ac81fd5bcb5\nsize 225\n")
	html := []byte("<!DOCTYPE html>\n<title>Sign in</title>\n")
	zip := append([]byte("PK\x03\x04"), make([]byte, 60)...)
	tar := append(append([]byte("0000000004.ckpt"), make([]byte, 242)...), "ustar\x0000"...)
	tar = append(tar, make([]byte, 1024-len(tar))...)
	double := append([]byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "), make([]byte, 80)...)
	good := func() files { return files{"1.ckpt": h[0], "2.ckpt": h[1], "3.ckpt": h[2]} }
	loose := func(name, description string, f files, expect any) {
		inputs := slices.Sorted(maps.Keys(f))
		*s = append(*s, vector{name: "kind-" + name, description: description, inputs: inputs, files: f, expect: expect})
	}
	with := func(name string, b []byte) files { f := good(); f[name] = b; return f }
	in := func(name, description string, f files, expect any) { s.folder("kind-"+name, description, f, expect) }

	loose("car-upper-case", "A CAR whose name is in capitals.", files{"LIFE.CAR": testkit.CAR(h[2], h...)}, verified(did, 3))
	loose("car-other-name", "A CAR whose name says nothing: it begins as one.", files{"download": testkit.CAR(h[2], h...)}, verified(did, 3))
	loose("car-no-roots", "A CAR without a root, under a name that says nothing, is a malformed CAR and no bad checkpoint.", files{"life": testkit.CARSection(testkit.CARHeader())}, refused("malformed CAR"))
	in("car-named-ckpt", "A CAR that is named as a checkpoint is judged as one.", folder(h...).with("life.ckpt", testkit.CAR(h[2], h...)), invalid(did, 4, "unsupported-version"))
	loose("ckpt-upper-case", "Files whose names end in capitals.", files{"1.CKPT": h[0], "2.Ckpt": h[1], "3.ckpt": h[2]}, verified(did, 3))
	in("ckpt-upper-case-in-folder", "The same in a folder.", files{"history/1.CKPT": h[0], "history/2.Ckpt": h[1], "history/3.ckpt": h[2]}, verified(did, 3))
	loose("begins-like-checkpoint", "A file of another name that begins like a checkpoint is judged.", with("readme", []byte("\x04 is how it begins")), invalid(did, 4, "truncated"))
	loose("text-beside", "A text beside checkpoints is left out.", with("notes.txt", []byte("notes\n")), verified(did, 3).beside("text", 1))
	loose("other-beside", "Bytes of no known kind, an empty file and a receipt beside checkpoints are left out.", func() files {
		f := with("data", []byte{0xff, 0, 1})
		f["empty"], f["receipts"] = nil, []byte("igor/execution-receipt/v1\x00")
		return f
	}(), verified(did, 3).beside("other", 2).beside("receipts", 1))
	loose("text-alone", "A text is nothing to verify.", files{"notes.txt": []byte("notes\n")}, refused("a text"))
	loose("other-alone", "Bytes of no known kind are nothing to verify.", files{"data": {0xff, 0, 1}}, refused("no known kind"))
	loose("empty-alone", "An empty file that is not named as a checkpoint is nothing to verify.", files{"data": nil}, refused("no known kind"))
	loose("empty-ckpt", "An empty file that is named as a checkpoint is judged.", with("data.ckpt", nil), invalid(did, 4, "empty"))
	for name, b := range map[string][]byte{
		"zip": zip, "gzip": unhex("1f8b0800000000000003"), "tar": tar, "7z": unhex("377abcaf271c0004"), "xz": unhex("fd377a585a000004"),
		"bzip2": []byte("BZh91AY&SY"), "zstd": unhex("28b52ffd0458"), "lfs-pointer": lfs, "html": html,
	} {
		loose(name+"-alone", "It is "+name+", whatever its name, and no verdict.", files{"life": b}, refused(name))
		loose(name+"-beside", "It is "+name+" beside good checkpoints: what belongs to the history may be in it, so there is no verdict.", with("more", b), refused(name))
		loose(name+"-named-car", "It is "+name+" and is named as a CAR.", files{"life.car": b}, refused(name))
		in(name+"-named-ckpt", "It is "+name+" and is named as a checkpoint, so it is judged.", folder(h...).with("0000000019.ckpt", b), invalid(did, 4, "unsupported-version"))
	}
	in("lfs-pointers", "Every checkpoint is a Git LFS pointer.", folder(h...).with("0000000004.ckpt", lfs).with("0000000009.ckpt", append(lfs, '\n')).with("0000000014.ckpt", append(lfs, ' ')),
		invalid("", 3, "unsupported-version"))
	in("macos-beside", "What macOS adds to a copied folder is no part of the history.",
		folder(h...).with("._0000000004.ckpt", double).with(".DS_Store", unhex("0000000142756431")).with("__MACOSX/._0000000009.ckpt", double).with("__MACOSX/0000000009.ckpt", flipByte(h[1], 209, 1)),
		verified(did, 3).beside("macos", 4))
	in("macos-alone", "There is nothing but what macOS adds.", files{"history/._0000000004.ckpt": double}, refused("nothing to verify"))
	loose("macos-loose", "The same, given by itself.", with("._1.ckpt", double), verified(did, 3).beside("macos", 1))
	in("macos-named-ckpt", "An AppleDouble file under a checkpoint's name is judged.", folder(h...).with("0000000019.ckpt", double), invalid(did, 4, "unsupported-version"))
	in("agent-folder", "An agent's folder: what is not in its history is not looked at.", files{
		"history/agent.wasm": []byte("\x00asm\x01\x00\x00\x00"), "history/agent.manifest.json": []byte("{}"), "history/key": []byte("no key\n"), "history/journal": {0}, "history/receipts": {0},
		"history/events/0000000004.events": {0}, "history/events/0000000009.events": {0}, "history/events/payloads/00ff": {0}, "history/lock": {0}, "history/life.car": {0}, "history/old.zip": {0},
		"history/history/0000000004.ckpt": h[0], "history/history/0000000009.ckpt": h[1], "history/history/0000000014.ckpt": h[2],
	}, verified(did, 3).beside("wasm", 1).beside("text", 1).beside("key", 1).beside("journal", 1).beside("receipts", 1).beside("events", 3).beside("other", 1).beside("car", 1).beside("zip", 1))
}

func (s *set) pins() {
	did := alice.DID()
	h := life(alice, 4)
	f := folder(h...)
	s.pinned("did-right", "The DID is pinned, and right.", args{DID: did}, f, verified(did, 4))
	s.pinned("did-wrong", "The pinned DID is another's.", args{DID: bob.DID()}, f, invalid(did, 4, "identity-mismatch"))
	taken := extend(bob, h[:2], 5)
	s.pinned("did-of-first-part", "Another key went on with the life; the first one is pinned.", args{DID: did}, folder(taken...), invalid(did, 5, "identity-mismatch"))
	s.pinned("did-of-later-part", "Another key went on with the life, and is pinned: it is the history's key, and the genesis is not by it.", args{DID: bob.DID()}, folder(taken...), invalid(bob.DID(), 5, "identity-mismatch"))
	s.pinned("did-of-third-party", "Two keys in the life, and a third is pinned.", args{DID: carol.DID()}, folder(taken...), invalid(bob.DID(), 5, "identity-mismatch").lives(3, 2))
	s.pinned("did-chooses-life", "Two lives; the pinned DID is that of the one with the later genesis.", args{DID: bob.DID()},
		folder(slices.Concat(h, life(bob, 3, ticks(5, 10, 15)))...), invalid(bob.DID(), 7, "identity-mismatch", "fork"))
	s.pinned("did-right-tampered", "The DID is right, the head tampered.", args{DID: did}, folder(flip(h, 3, 209, 1)...), invalid(did, 4, "bad-signature"))
	s.pinned("did-right-none-authentic", "The DID is right, but nothing is authentic.", args{DID: did}, folder(flipByte(h[0], 209, 1)), invalid(did, 1, "bad-signature"))
	s.pinned("did-wrong-none-authentic", "The DID is wrong, and nothing is authentic.", args{DID: bob.DID()}, folder(flipByte(h[0], 209, 1)), invalid(did, 1, "bad-signature", "identity-mismatch"))
	s.pinned("did-claimed-only", "The pinned key is only claimed, by a checkpoint that it did not sign.", args{DID: bob.DID()},
		folder(append(h, flipByte(bob.After(h[3], plain(4)), testkit.OffSignature, 1))...), invalid(did, 5, "bad-signature", "identity-mismatch"))
	s.pinned("did-no-key", "A DID is pinned, and nothing that was supplied has a key at all.", args{DID: did}, folder(plain(0).Encode(3, nil, nil)), invalid("", 1, "unsigned-version", "identity-mismatch"))
	s.pinned("did-incomplete", "The DID is right, the genesis missing.", args{DID: did}, folder(h[1:]...), incomplete(did, 3, "missing-genesis"))
	s.pinned("did-wrong-incomplete", "The DID is wrong, and the genesis missing.", args{DID: bob.DID()}, folder(h[1:]...), invalid(did, 3, "identity-mismatch", "missing-genesis"))

	cid := testkit.CID
	s.pinned("head-right", "The head is pinned, and right.", args{Head: cid(h[3])}, f, verified(did, 4))
	s.pinned("head-and-did-right", "The head and the DID are pinned, and right.", args{DID: did, Head: cid(h[3])}, f, verified(did, 4))
	s.pinned("head-in-middle", "The pinned head is not the newest checkpoint: the life has gone on since.", args{Head: cid(h[1])}, f, verified(did, 4))
	s.pinned("head-is-genesis", "The pinned head is the genesis.", args{Head: cid(h[0])}, f, verified(did, 4))
	s.pinned("head-cut", "The history was cut before the pinned head. What is left is whole in itself.", args{Head: cid(h[3])}, folder(h[:3]...), incomplete(did, 3, "head-not-found"))
	s.pinned("head-in-gap", "The pinned head is the missing one.", args{Head: cid(h[2])}, folder(without(h, 2)...), incomplete(did, 3, "gap", "head-not-found"))
	s.pinned("head-cut-and-no-genesis", "Both ends are missing.", args{Head: cid(h[3])}, folder(h[1:3]...), incomplete(did, 2, "missing-genesis", "head-not-found"))
	s.pinned("head-tampered", "The pinned head was tampered with: it is not there.", args{Head: cid(h[3])}, folder(flip(h, 3, 209, 1)...), invalid(did, 4, "bad-signature", "head-not-found"))
	bad := flip(h, 3, 209, 1)
	s.pinned("head-is-tampered", "The pinned head is the tampered file's own CID: it is there, and bad.", args{Head: cid(bad[3])}, folder(bad...), invalid(did, 4, "bad-signature"))
	s.pinned("head-is-empty-file", "The pinned head is the CID of the empty file that is there.", args{Head: cid(nil)}, folder(h...).with("e.ckpt", []byte{}), invalid(did, 5, "empty"))
	s.pinned("head-zero", "The pinned head is a CID whose digest is zero: nobody has it.", args{Head: testkit.CIDText(append([]byte{1, 0x55, 0x12, 0x20}, make([]byte, 32)...))}, f, incomplete(did, 4, "head-not-found"))
	s.pinned("head-wrong-and-did-wrong", "Both pins are wrong.", args{DID: bob.DID(), Head: cid(life(bob, 1)[0])}, f, invalid(did, 4, "identity-mismatch", "head-not-found"))

	good := did
	last := good[len(good)-1]
	for _, m := range []struct{ name, why, did string }{
		{"method", "did:web is another method", "did:web:example.com"},
		{"no-prefix", "the did:key prefix is missing", good[len("did:key:"):]},
		{"upper-case", "the prefix is in upper case", "DID:KEY:" + good[len("did:key:"):]},
		{"short", "the last character is missing", good[:len(good)-1]},
		{"long", "the last character is there twice", good + string(last)},
		{"alphabet", "0 is not in the alphabet", good[:20] + "0" + good[21:]},
		{"multibase", "the multibase is not z", "did:key:f" + good[len("did:key:z"):]},
		{"fragment", "a DID URL with a fragment", good + "#" + good[len("did:key:"):]},
		{"space", "a space follows", good + " "},
		{"codec", "the key type is X25519", testkit.DIDKey(append([]byte{0xec, 0x01}, alice.Key...))},
		{"key-31-bytes", "the key has 31 bytes", testkit.DIDKey(append([]byte{0xed, 0x01}, alice.Key[:31]...))},
		{"key-33-bytes", "the key has 33 bytes", testkit.DIDKey(append(append([]byte{0xed, 0x01}, alice.Key...), 0))},
	} {
		s.pinned("did-malformed-"+m.name, "The pinned DID is malformed: "+m.why+".", args{DID: m.did}, f, refused("DID"))
	}

	goodCID := cid(h[3])
	binary := testkit.CIDBytes(h[3])
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	lastBits := alphabet[bytes.IndexByte([]byte(alphabet), goodCID[58])|1]
	for _, m := range []struct{ name, why, head string }{
		{"upper-case", "it is in upper case", string(bytes.ToUpper([]byte(goodCID)))},
		{"short", "the last character is missing", goodCID[:58]},
		{"long", "a character follows", goodCID + "a"},
		{"padding", "padding follows", goodCID + "======"},
		{"low-bits", "the unused low bits of the last character are not zero", goodCID[:58] + string(lastBits)},
		{"alphabet", "1 is not in the alphabet", goodCID[:30] + "1" + goodCID[31:]},
		{"multibase", "the multibase is not b", "z" + goodCID[1:]},
		{"dag-pb", "the codec is dag-pb", testkit.CIDText(append([]byte{0x01, 0x70}, binary[2:]...))},
		{"sha3", "the hash is SHA3-256", testkit.CIDText(append([]byte{0x01, 0x55, 0x16}, binary[3:]...))},
		{"v0", "it is a CIDv0", testkit.DIDKey(binary[2:])[len("did:key:z"):]},
		{"hex", "it is a digest in hex", fmt.Sprintf("%x", testkit.Hash(h[3]))},
		{"url", "it is an ipfs URL", "ipfs://" + goodCID},
	} {
		s.pinned("head-malformed-"+m.name, "The pinned head is malformed: "+m.why+".", args{Head: m.head}, f, refused("CID"))
	}
}

func (s *set) order() {
	did := alice.DID()
	h := life(alice, 3)
	s.folder("order-unreadable-by-name", "Checkpoints without a readable tick come in the order of their names.",
		files{}.with("a.ckpt", h[0][:100]).with("b.ckpt", []byte{}).with("c.ckpt", []byte{9}), invalid("", 3, "truncated", "empty", "unsupported-version"))
	s.folder("order-unreadable-by-name-2", "The same bytes under other names.",
		files{}.with("c.ckpt", h[0][:100]).with("b.ckpt", []byte{}).with("a.ckpt", []byte{9}), invalid("", 3, "unsupported-version", "empty", "truncated"))
	s.folder("order-unreadable-first", "What has no readable tick comes before what has one.",
		files{}.with("z.ckpt", []byte{}).with("a.ckpt", flipByte(h[0], 209, 1)), invalid(did, 2, "empty", "bad-signature"))
	early, late := at(3), at(30)
	early.Price, late.Budget = -1, -1
	s.folder("order-by-tick-not-name", "Problems of the examination come by tick number, not by name.",
		files{}.with("a.ckpt", flipByte(alice.Checkpoint(late), 209, 1)).with("b.ckpt", early.Encode(3, nil, nil)),
		invalid(did, 2, "unsigned-version", "negative-price", "bad-signature", "negative-budget"))

	x, y := plain(0), plain(0)
	x.Budget, y.Price = -1, -1
	first, second := lowerHashFirst(flipByte(alice.Checkpoint(x), 145, 1), flipByte(alice.Checkpoint(y), 145, 1))
	codes := []string{"bad-signature", "negative-budget", "negative-price"}
	if first[testkit.OffPrice+7] == 0xff {
		codes = []string{"bad-signature", "negative-price", "negative-budget"}
	}
	s.folder("order-by-hash", "Two checkpoints with one tick number: their problems come by content hash.", folder(second, first), invalid(did, 2, codes...))

	weak := at(2)
	weak.PrevHash = testkit.Hash(h[0])
	negative := at(4)
	negative.Budget, negative.Price, negative.PrevHash = -1, -1, testkit.Hash(h[0])
	root := alice.Checkpoint(negative)
	back := alice.After(root, at(4))
	all := files{}.
		with("a.ckpt", []byte{}).with("b.ckpt", []byte{4}).with("c.ckpt", []byte{5}).
		with("01.ckpt", at(1).Encode(3, nil, nil)).
		with("02.ckpt", weak.Encode(4, make([]byte, 32), make([]byte, 64))).
		with("03.ckpt", flipByte(alice.After(h[0], at(3)), testkit.OffSignature, 1)).
		with("04.ckpt", root).
		with("05.ckpt", back).
		with("06.ckpt", alice.After(back, at(7))).with("07.ckpt", alice.After(back, at(8))).
		with("08.ckpt", alice.After(h[1], at(9))).
		with("09.ckpt", bob.After(h[2], at(10)))
	s.pinned("every-code", "Every problem code there is, in the order of the report.", args{Head: testkit.CID(h[2])}, all, invalid(did, 12,
		"empty", "truncated", "unsupported-version", "unsigned-version", "weak-key", "bad-signature", "negative-budget", "negative-price",
		"identity-mismatch", "fork", "tick-order", "missing-genesis", "gap", "head-not-found"))
}

func (s *set) signingDomain() {
	did := alice.DID()
	sign := func(name, description string, signature func(c []byte) []byte) {
		c := plain(0).Encode(4, alice.Key, nil)
		copy(c[testkit.OffSignature:], signature(c))
		s.folder(name, description, folder(c), invalid(did, 1, "bad-signature"))
	}
	with := func(message []byte, o *ed25519.Options) []byte {
		if o.Hash == crypto.SHA512 {
			h := sha512.Sum512(message)
			message = h[:]
		}
		b, err := alice.Private.Sign(nil, message, o)
		if err != nil {
			panic(err)
		}
		return b
	}
	sign("signed-header-only", "The signature leaves the state out.", func(c []byte) []byte { return ed25519.Sign(alice.Private, c[:testkit.OffSignature]) })
	sign("signed-zeroed-signature", "The signature is on the whole checkpoint with the signature zeroed.", func(c []byte) []byte { return ed25519.Sign(alice.Private, c) })
	sign("signed-digest", "The signature is on the SHA-256 of the message.", func(c []byte) []byte {
		h := sha256.Sum256(testkit.Message(c))
		return ed25519.Sign(alice.Private, h[:])
	})
	sign("signed-prehash", "The signature is Ed25519ph.", func(c []byte) []byte { return with(testkit.Message(c), &ed25519.Options{Hash: crypto.SHA512}) })
	sign("signed-context", "The signature is Ed25519ctx.", func(c []byte) []byte {
		return with(testkit.Message(c), &ed25519.Options{Context: "igor"})
	})
	sign("signed-by-other-key", "The signature is another key's.", func(c []byte) []byte { return ed25519.Sign(bob.Private, testkit.Message(c)) })
}

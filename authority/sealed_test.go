package authority_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"slices"
	"testing"

	"igor.dev/authority"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// sealedSpecimen is the one of docs/spec/sealed-keys.md.
func sealedSpecimen(t testing.TB) (authority.SealedKeys, ed25519.PrivateKey, ed25519.PrivateKey) {
	seed, nodeSeed := make([]byte, 32), make([]byte, 32)
	for i := range seed {
		seed[i], nodeSeed[i] = byte(i), byte(0x40+i)
	}
	key, node := ed25519.NewKeyFromSeed(seed), ed25519.NewKeyFromSeed(nodeSeed)
	public := func(k ed25519.PrivateKey) verifier.PublicKey {
		return verifier.PublicKey(k.Public().(ed25519.PublicKey))
	}
	k := authority.SealedKeys{Agent: public(key), Number: 2, Manifest: hash("manifest"), Keys: []authority.SealedKey{{Node: public(node)}}, Had: []verifier.PublicKey{{0x80}}}
	copy(k.Keys[0].Sealed[:], testkit.SpecBytes(t, "../docs/spec", "sealed-keys.md", "hex sealed"))
	return k, key, node
}

func TestSealedKeysSpec(t *testing.T) {
	k, key, node := sealedSpecimen(t)
	raw, err := k.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if want := testkit.SpecBytes(t, "../docs/spec", "sealed-keys.md", "hex sealed keys"); !bytes.Equal(raw, want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, raw)
	}
	// What is sealed in it the node opens, and nobody else.
	kem := hpke.DHKEM(ecdh.X25519())
	private, err := kem.DeriveKeyPair(append([]byte("igor/node-hpke/v1\x00"), node.Seed()...))
	if err != nil {
		t.Fatal(err)
	}
	info := authority.FleetKeyInfo(k.Agent, k.Keys[0].Node)
	sealed, ok := k.For(k.Keys[0].Node)
	if !ok {
		t.Fatal("nothing is sealed to the node")
	}
	seed, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
	if err != nil || !bytes.Equal(seed, key.Seed()) {
		t.Errorf("it opens as %x, %v", seed, err)
	}
	if _, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), authority.FleetKeyInfo(verifier.PublicKey{1}, k.Keys[0].Node), sealed); err == nil {
		t.Error("it opens for another agent")
	}
}

func TestSealedKeysEveryByte(t *testing.T) {
	k, key, _ := sealedSpecimen(t)
	raw, err := k.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := authority.ParseSealedKeys(raw); err != nil || got.Number != k.Number || !slices.Equal(got.Keys, k.Keys) || !slices.Equal(got.Had, k.Had) {
		t.Fatalf("it reads as %+v, %v", got, err)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		for _, b := range [][]byte{changed, raw[:i]} {
			if _, err := authority.ParseSealedKeys(b); err == nil {
				t.Fatalf("byte %d: it reads", i)
			}
		}
	}
	if _, err := authority.ParseSealedKeys(append(raw, 0)); err == nil {
		t.Error("something may come after it")
	}
}

func TestSealedKeysFollow(t *testing.T) {
	_, key, _ := sealedSpecimen(t)
	agent := verifier.PublicKey(key.Public().(ed25519.PublicKey))
	a, b, c := verifier.PublicKey{1}, verifier.PublicKey{2}, verifier.PublicKey{3}
	all := func(verifier.PublicKey) bool { return true }
	none := authority.SealedKeys{Agent: agent}
	one := none.Next(hash("m"), all, []authority.SealedKey{{Node: b}, {Node: a}})
	if err := one.Follows(&none); err != nil {
		t.Fatal(err)
	}
	two := one.Next(hash("m"), func(n verifier.PublicKey) bool { return n != a }, []authority.SealedKey{{Node: c}})
	if _, has := two.For(a); has || !slices.Equal(two.Had, []verifier.PublicKey{a}) || two.Follows(&one) != nil {
		t.Errorf("a node that may not any more: %+v", two)
	}
	three := two.Next(hash("m"), all, []authority.SealedKey{{Node: a}})
	if _, has := three.For(a); !has || len(three.Had) > 0 || three.Follows(&two) != nil {
		t.Errorf("a node that may again: %+v", three)
	}
	if _, err := three.Sign(key); err != nil {
		t.Error(err)
	}
	left := two
	left.Number, left.Had = 3, nil
	if left.Follows(&two) == nil {
		t.Error("who had the key may be left out")
	}
	if three.Follows(&one) == nil || two.Follows(&two) == nil {
		t.Error("any number may follow")
	}
	for name, bad := range map[string]authority.SealedKeys{
		"no number": {Agent: agent},
		"disorder":  {Agent: agent, Number: 1, Keys: []authority.SealedKey{{Node: b}, {Node: a}}},
		"twice":     {Agent: agent, Number: 1, Keys: []authority.SealedKey{{Node: a}, {Node: a}}},
		"both":      {Agent: agent, Number: 1, Keys: []authority.SealedKey{{Node: a}}, Had: []verifier.PublicKey{a}},
		"many":      {Agent: agent, Number: 1, Keys: make([]authority.SealedKey, authority.MaxNodes+1)},
	} {
		if _, err := bad.Sign(key); err == nil {
			t.Errorf("%s: it is signed", name)
		}
	}
}

func FuzzSealedKeys(f *testing.F) {
	k, key, _ := sealedSpecimen(f)
	raw, err := k.Sign(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := authority.ParseSealedKeys(b); err == nil {
			if again, err := k.Sign(key); err != nil || k.Agent == verifier.PublicKey(key.Public().(ed25519.PublicKey)) && !bytes.Equal(again, b) {
				t.Errorf("%x is %x, %v", b, again, err)
			}
		}
	})
}

func planSpecimen() authority.Plan {
	return authority.Plan{Number: 1, Nodes: []verifier.PublicKey{{0x80}}, Text: []byte("{}")}
}

func TestPlan(t *testing.T) {
	p := planSpecimen()
	raw := p.Append(nil)
	if want := testkit.SpecBytes(t, "../docs/spec", "desired-state.md", "hex plan"); !bytes.Equal(raw, want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, raw)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		for _, b := range [][]byte{changed, raw[:i]} {
			if got, err := authority.ParsePlan(b); err == nil && !bytes.Equal(got.Append(nil), b) {
				t.Fatalf("byte %d: %x reads as %x", i, b, got.Append(nil))
			}
		}
	}
	p.Nodes = []verifier.PublicKey{{2}, {1}}
	if p.Check() == nil {
		t.Error("nodes in disorder are taken")
	}
	p = authority.Plan{Number: 1, Text: make([]byte, authority.MaxPlanText+1)}
	if _, err := authority.ParsePlan(p.Append(nil)); err == nil {
		t.Error("a plan may be of any size")
	}
}

func FuzzPlan(f *testing.F) {
	p := planSpecimen()
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := authority.ParsePlan(b); err == nil && !bytes.Equal(p.Append(nil), b) {
			t.Errorf("%x is %x", b, p.Append(nil))
		}
	})
}

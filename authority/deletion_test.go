package authority_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"igor.dev/authority"
	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// deletionSpecimen is the one of docs/spec/key-deletion.md.
func deletionSpecimen(t testing.TB) (authority.Deletion, ed25519.PrivateKey) {
	seed, nodeSeed := make([]byte, 32), make([]byte, 32)
	for i := range seed {
		seed[i], nodeSeed[i] = byte(i), byte(0x20+i)
	}
	key, node := ed25519.NewKeyFromSeed(seed), ed25519.NewKeyFromSeed(nodeSeed)
	d := authority.Deletion{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Node: verifier.PublicKey(node.Public().(ed25519.PublicKey)), Time: 1_800_000_060}
	copy(d.HandOver[:], testkit.SpecBytes(t, "../docs/spec", "handover.md", "hex hash"))
	return d, node
}

func TestDeletion(t *testing.T) {
	d, node := deletionSpecimen(t)
	if err := d.Sign(node); err != nil {
		t.Fatal(err)
	}
	raw := d.Append(nil)
	if want := testkit.SpecBytes(t, "../docs/spec", "key-deletion.md", "hex deletion"); !bytes.Equal(raw, want) {
		t.Errorf("the page has\n%x, and it is\n%x", want, raw)
	}
	if got, err := authority.ParseDeletion(raw); err != nil || got != d || len(raw) != authority.DeletionSize {
		t.Fatalf("it reads as %+v, %v", got, err)
	}
	for i := range raw {
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			if _, err := authority.ParseDeletion(changed); err == nil {
				t.Fatalf("byte %d, bit %d: it reads", i, bit)
			}
		}
		if _, err := authority.ParseDeletion(raw[:i]); err == nil {
			t.Fatalf("%d bytes of it read", i)
		}
	}
	if _, err := authority.ParseDeletion(append(raw, 0)); err == nil {
		t.Error("something may come after it")
	}
	if err := d.Sign(ed25519.NewKeyFromSeed(make([]byte, 32))); err == nil {
		t.Error("another node signs it")
	}
}

func FuzzDeletion(f *testing.F) {
	d, node := deletionSpecimen(f)
	if err := d.Sign(node); err != nil {
		f.Fatal(err)
	}
	f.Add(d.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := authority.ParseDeletion(b); err == nil && !bytes.Equal(d.Append(nil), b) {
			t.Errorf("%x is %x", b, d.Append(nil))
		}
	})
}

package main

import (
	"bytes"
	"crypto/ed25519"
	"math/big"
	"slices"
	"testing"

	"igor.dev/internal/testkit"
)

func TestCommittedVectors(t *testing.T) {
	dir, err := vectorsDir()
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := tree(vectors())
	for name, b := range want {
		if c, ok := got[name]; !ok {
			t.Errorf("%s is missing; run go generate ./internal/testkit", name)
		} else if !bytes.Equal(b, c) {
			t.Errorf("%s is not what the generator writes; run go generate ./internal/testkit", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not the generator's; run go generate ./internal/testkit", name)
		}
	}
}

func TestCurve(t *testing.T) {
	for _, a := range []*testkit.Agent{alice, bob, carol} {
		if !bytes.Equal(base.times(secret(a)).encode(), a.Key) {
			t.Errorf("the key of %s is wrong", a.DID())
		}
	}
	if !bytes.Equal(base.times(order).encode(), identity.encode()) {
		t.Error("L times B is not the identity")
	}
	for n, want := range map[int64]bool{1: false, 2: false, 4: false, 8: true} {
		if bytes.Equal(torsion.times(big.NewInt(n)).encode(), identity.encode()) != want {
			t.Errorf("%d times the torsion point is wrong", n)
		}
	}
}

// crypto/ed25519 has rules 2, 3 and 4 of the spec, and not rule 1. So it shows that the
// signatures by hand do what their vectors say, and that rule 1 is all that stops those
// by weak keys.
func TestSignaturesByHand(t *testing.T) {
	var weakButFitting, good, bad int
	for _, v := range slices.Concat(run((*set).keys), run((*set).signatures), run((*set).signingDomain)) {
		if len(v.files) != 1 {
			continue
		}
		o := v.expect.(outcome)
		for _, c := range v.files {
			fits := ed25519.Verify(c[testkit.OffKey:testkit.OffSignature], testkit.Message(c), c[testkit.OffSignature:testkit.OffState])
			switch {
			case o.Exit == 0:
				good++
				if !fits {
					t.Errorf("%s: the signature is not accepted", v.name)
				}
			case o.Codes[0] == "bad-signature":
				bad++
				if fits {
					t.Errorf("%s: the signature is accepted", v.name)
				}
			case fits:
				weakButFitting++
			}
		}
	}
	if weakButFitting < 10 || good < 10 || bad < 20 {
		t.Errorf("%d weak keys with a fitting signature, %d good ones, %d bad ones", weakButFitting, good, bad)
	}
}

func run(group func(*set)) []vector {
	var s set
	group(&s)
	return s
}

package evm_test

import (
	"strings"
	"testing"

	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// TestAddress uses the examples of ERC-55.
func TestAddress(t *testing.T) {
	for _, s := range []string{
		"0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
		"0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
	} {
		for _, written := range []string{s, "0x" + strings.ToLower(s[2:]), "0x" + strings.ToUpper(s[2:])} {
			if a, err := evm.ParseAddress(written); err != nil || a.String() != s {
				t.Errorf("%s is %s, %v", written, a, err)
			}
		}
	}
	for _, s := range []string{"", "0x", "52908400098527886E0F7030069857D2E4169EE7", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed",
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg", " 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"} {
		if a, err := evm.ParseAddress(s); err == nil {
			t.Errorf("%q was taken for %s", s, a)
		}
	}
}

// TestSignature flips bits: no other digest and no other signature has the signer's address.
func TestSignature(t *testing.T) {
	key := x402test.Key(5)
	want := evm.AddressOf(key.PubKey())
	if want.String() != "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc" { // as anvil says
		t.Errorf("the address is %s", want)
	}
	domain := evm.Domain{Name: "USD Coin", Version: "2", Chain: 8453, Contract: evm.Address{1}}
	a := evm.Authorization{From: want, To: evm.Address{2}, Value: 5, ValidBefore: 99, Nonce: evm.Hash{3}}
	digest := a.Digest(&domain)
	s := evm.Sign(key, digest)
	if got, err := s.Signer(digest); err != nil || got != want {
		t.Fatalf("signed by %s, %v", got, err)
	}
	for i := range len(s) * 8 {
		bad := s
		bad[i/8] ^= 1 << (i % 8)
		if got, err := bad.Signer(digest); err == nil && got == want {
			t.Errorf("bit %d of the signature does not count", i)
		}
	}
	for _, change := range []func(*evm.Authorization, *evm.Domain){
		func(a *evm.Authorization, _ *evm.Domain) { a.From[0]++ }, func(a *evm.Authorization, _ *evm.Domain) { a.To[0]++ },
		func(a *evm.Authorization, _ *evm.Domain) { a.Value++ }, func(a *evm.Authorization, _ *evm.Domain) { a.ValidAfter++ },
		func(a *evm.Authorization, _ *evm.Domain) { a.ValidBefore++ }, func(a *evm.Authorization, _ *evm.Domain) { a.Nonce[0]++ },
		func(_ *evm.Authorization, d *evm.Domain) { d.Name += "x" }, func(_ *evm.Authorization, d *evm.Domain) { d.Version += "x" },
		func(_ *evm.Authorization, d *evm.Domain) { d.Chain++ }, func(_ *evm.Authorization, d *evm.Domain) { d.Contract[0]++ },
	} {
		other, where := a, domain
		change(&other, &where)
		if other.Digest(&where) == digest {
			t.Errorf("%+v for %+v is signed as well", other, where)
		}
	}
}

// Package onekey verifies many Ed25519 signatures by one key, faster than
// crypto/ed25519 can, which prepares the key anew for each signature.
//
// A signature (R, S) of a message M by the key A is valid if S is below the
// group order L and R is the encoding of [S]B - [k]A, where k is
// SHA-512(R || A || M) mod L (RFC 8032, section 5.1.7, without the cofactor).
// With tables of the multiples of B and of -A that the two products are made of,
// this takes 86 additions of points and no doubling.
//
// Nothing here is secret, and nothing runs in constant time. A caller that finds
// a signature refused asks package rfc8032 as well: only acceptance rests on this
// package, and its tests hold it against crypto/ed25519, Wycheproof's vectors
// and points of every order.
package onekey

import (
	"sync"

	"igor.dev/verifier/internal/sha2"
)

// A Verifier verifies signatures by one key. It is not safe for concurrent use.
type Verifier struct {
	key     [32]byte
	minusA  *table
	product point
}

// base has the multiples of the base point B, made when first needed.
var base = sync.OnceValue(func() *table {
	b, ok := decode(&[32]byte{0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66})
	if !ok {
		panic("onekey: the base point is not on the curve")
	}
	return newTable(&b)
})

// New prepares a key, at the cost of about ten verifications. It returns nil
// for a key that is not the canonical encoding of a point.
func New(key [32]byte) *Verifier {
	a, ok := decode(&key)
	if !ok {
		return nil
	}
	a.x.negate(&a.x)
	a.t.negate(&a.t)
	return &Verifier{key: key, minusA: newTable(&a)}
}

// Verify reports whether signature is a valid one of the message, which is
// given in two parts.
func (v *Verifier) Verify(signature *[64]byte, message, rest []byte) bool {
	var s scalar
	s.setBytes(signature[32:])
	if !s.reduced() {
		return false
	}
	digest := sha2.Sum512(signature[:32], v.key[:], message, rest)
	var k scalar
	k.setReduced(&digest)

	v.product = identity
	v.product.addMultiple(base(), &s)
	v.product.addMultiple(v.minusA, &k)
	return v.product.encode() == [32]byte(signature[:32])
}

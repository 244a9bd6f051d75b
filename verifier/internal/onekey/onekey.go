// Package onekey verifies many Ed25519 signatures by one key, faster than
// crypto/ed25519 can, which prepares the key anew for each signature.
//
// A signature (R, S) of a message M by the key A is valid if S is below the
// group order L and R is the encoding of [S]B - [k]A, where k is
// SHA-512(R || A || M) mod L (RFC 8032, section 5.1.7, without the cofactor).
// With tables of the multiples of B and of -A that the two products are made of,
// this takes 64 additions of points and no doubling. The inversion that an encoding
// begins with is shared by several signatures; each is accepted for itself, by its own R.
//
// Nothing here is secret, and nothing runs in constant time. A caller that finds
// signatures refused asks package rfc8032 about the first of them, and some of the others:
// acceptance rests on this package, and that a history is bad does not. Its tests hold it
// against crypto/ed25519, Wycheproof's vectors and points of every order.
package onekey

import (
	"sync"

	"igor.dev/verifier/internal/sha2"
)

// A Verifier verifies signatures by one key. It is not safe for concurrent use.
type Verifier struct {
	key      [32]byte
	minusA   point
	base     *table // of B
	table    *table // of -A
	verified int    // signatures
	products [Together]point
	inverses [Together]field
}

// A Signed is a message, given in two parts, with its signature.
type Signed struct {
	Signature     *[64]byte
	Message, Rest []byte
}

const (
	// Together is how many signatures Verify takes at a time.
	Together = 32

	// enlargeAfter is the number of signatures after which larger tables begin to
	// pay: about as many as take longer by the small ones than making them takes.
	enlargeAfter = 512
)

// The base point's tables, made when first needed.
var (
	smallBase = sync.OnceValue(func() *table { return newTable(basePoint(), smallWindow) })
	largeBase = sync.OnceValue(func() *table { return newTable(basePoint(), largeWindow) })
)

func basePoint() *point {
	b, ok := decode(&[32]byte{0x58, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
		0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66})
	if !ok {
		panic("onekey: the base point is not on the curve")
	}
	return &b
}

// New prepares a key, at the cost of about twenty verifications. It returns nil
// for a key that is not the canonical encoding of a point.
func New(key [32]byte) *Verifier {
	a, ok := decode(&key)
	if !ok {
		return nil
	}
	a.x.negate(&a.x)
	a.t.negate(&a.t)
	return &Verifier{key: key, minusA: a, base: smallBase(), table: newTable(&a, smallWindow)}
}

// Verify sets valid[i] to whether batch[i] has a valid signature. A batch has at most
// Together.
func (v *Verifier) Verify(valid []bool, batch []Signed) {
	if v.verified += len(batch); v.verified > enlargeAfter && v.table.window != largeWindow {
		v.base, v.table = largeBase(), newTable(&v.minusA, largeWindow)
	}
	products := v.products[:len(batch)]
	for i := range batch {
		v.multiply(&products[i], &batch[i])
	}
	inversions(v.inverses[:], products)
	for i := range batch {
		var s scalar
		s.setBytes(batch[i].Signature[32:])
		valid[i] = s.reduced() && products[i].encode(&v.inverses[i]) == [32]byte(batch[i].Signature[:32])
	}
}

// multiply sets p to [S]B - [k]A.
func (v *Verifier) multiply(p *point, b *Signed) {
	*p = identity
	var s, k scalar
	s.setBytes(b.Signature[32:])
	if !s.reduced() {
		return // it is refused
	}
	digest := sha2.Sum512(b.Signature[:32], v.key[:], b.Message, b.Rest)
	k.setReduced(&digest)
	p.addMultiple(v.base, &s)
	p.addMultiple(v.table, &k)
}

package main

import (
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"

	"igor.dev/internal/testkit"
)

// The arithmetic of edwards25519, written from RFC 8032, section 5.1, for points and
// signatures that no signing library makes. Slow, and of no use with a secret key.

var (
	p     = sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	order = add(new(big.Int).Lsh(big.NewInt(1), 252), decimal("27742317777372353535851937790883648493"))
	d     = mod(mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)), p)
	base  = mustDecode(littleEndian(mod(mul(big.NewInt(4), new(big.Int).ModInverse(big.NewInt(5), p)), p)))

	identity = edwards{big.NewInt(0), big.NewInt(1)}
	// torsion has order 8: its multiples are all points of small order.
	torsion = mustDecode(unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
)

type edwards struct{ x, y *big.Int }

func add(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
func sub(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }
func mul(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
func mod(a, m *big.Int) *big.Int { return new(big.Int).Mod(a, m) }

func decimal(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic("not a number: " + s)
	}
	return n
}

func (a edwards) plus(b edwards) edwards {
	t := mul(mul(d, mul(a.x, b.x)), mul(a.y, b.y))
	x := mul(add(mul(a.x, b.y), mul(a.y, b.x)), new(big.Int).ModInverse(mod(add(big.NewInt(1), t), p), p))
	y := mul(add(mul(a.y, b.y), mul(a.x, b.x)), new(big.Int).ModInverse(mod(sub(big.NewInt(1), t), p), p))
	return edwards{mod(x, p), mod(y, p)}
}

func (a edwards) times(n *big.Int) edwards {
	sum := identity
	for i := n.BitLen() - 1; i >= 0; i-- {
		sum = sum.plus(sum)
		if n.Bit(i) == 1 {
			sum = sum.plus(a)
		}
	}
	return sum
}

func (a edwards) encode() []byte {
	b := littleEndian(a.y)
	b[31] |= byte(a.x.Bit(0)) << 7
	return b
}

// decode takes any encoding whose y, reduced, has a point, canonical or not.
func decode(b []byte) (edwards, bool) {
	y := fromLittleEndian(b)
	sign := y.Bit(255)
	y = mod(y.SetBit(y, 255, 0), p)
	yy := mul(y, y)
	xx := mod(mul(sub(yy, big.NewInt(1)), new(big.Int).ModInverse(mod(add(mul(d, yy), big.NewInt(1)), p), p)), p)
	x := new(big.Int).ModSqrt(xx, p)
	if x == nil {
		return edwards{}, false
	}
	if x.Bit(0) != sign {
		x = mod(sub(p, x), p)
	}
	return edwards{x, y}, true
}

func mustDecode(b []byte) edwards {
	a, ok := decode(b)
	if !ok {
		panic(fmt.Sprintf("%x is no point", b))
	}
	return a
}

func littleEndian(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func fromLittleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// secret returns the agent's secret scalar.
func secret(a *testkit.Agent) *big.Int {
	h := sha512.Sum512(a.Private.Seed())
	h[0] &= 248
	h[31] = h[31]&63 | 64
	return fromLittleEndian(h[:32])
}

// A forgery is a genesis whose key and signature are made by hand. The key's point is
// [a]B + T; S is r + k·a. So [S]B − [k]A is [r]B − [k]T, and what R is decides.
type forgery struct {
	key []byte   // as in the checkpoint
	a   *big.Int // the part of the key in the prime-order group
	R   []byte   // as in the checkpoint; nil for [r]B, with a fresh r
	// RPlus is added to the fresh [r]B.
	RPlus edwards
	// k says which challenges will do; state is changed until one does. nil: any.
	k func(reduced, raw *big.Int) bool
	// S changes S at the end, when it is not nil.
	S func(s *big.Int) *big.Int
}

func (f forgery) checkpoint(fields testkit.Fields) []byte {
	for i := 0; ; i++ {
		fields.State = fmt.Appendf(nil, "try %d", i)
		c := fields.Encode(4, f.key, nil)
		message := testkit.Message(c)

		r, R := new(big.Int), f.R
		if R == nil {
			h := sha512.Sum512(append([]byte("nonce"), message...))
			r = mod(fromLittleEndian(h[:]), order)
			point := base.times(r)
			if f.RPlus.x != nil {
				point = point.plus(f.RPlus)
			}
			R = point.encode()
		}
		h := sha512.Sum512(slices.Concat(R, f.key, message))
		raw := fromLittleEndian(h[:])
		k := mod(raw, order)
		if f.k != nil && !f.k(k, raw) {
			continue
		}
		S := mod(add(r, mul(k, f.a)), order)
		if f.S != nil {
			S = f.S(S)
		}
		copy(c[testkit.OffSignature:], R)
		copy(c[testkit.OffSignature+32:], littleEndian(S))
		return c
	}
}

// signature returns the signature by the secret scalar a with the nonce r.
func signature(key []byte, a, r *big.Int, message []byte) []byte {
	R := base.times(r).encode()
	h := sha512.Sum512(slices.Concat(R, key, message))
	S := mod(add(r, mul(fromLittleEndian(h[:]), a)), order)
	return append(R, littleEndian(S)...)
}

// mod8 returns whether n mod 8 is i.
func mod8(n *big.Int, i int64) bool { return mod(n, big.NewInt(8)).Int64() == i }

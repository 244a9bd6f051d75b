package main

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"

	"igor.dev/internal/testkit"
)

// keys adds the vectors whose public key is the matter. Where a signature exists that an
// implementation without rule 1 would accept, the vector has it.
func (s *set) keys() {
	weak := func(name, description string, key []byte, f forgery) {
		f.key = key
		c := f.checkpoint(plain(0))
		s.folder(name, description, folder(c), invalid(testkit.DID(key), 1, "weak-key"))
	}
	zero := new(big.Int)
	fits := func(k, _ *big.Int) bool { return mod8(k, 0) }

	small := []struct{ name, y string }{
		{"y-zero", "0000000000000000000000000000000000000000000000000000000000000000"},
		{"y-one", "0100000000000000000000000000000000000000000000000000000000000000"},
		{"y-minus-one", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"order-8-a", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"},
		{"order-8-b", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"},
	}
	for _, k := range small {
		key := unhex(k.y)
		weak("key-small-order-"+k.name, "A key of small order, with a signature that fits the equation.", key, forgery{a: zero, k: fits})
		weak("key-small-order-"+k.name+"-sign", "A key of small order with the top bit set, with a signature that fits the equation.", flipByte(key, 31, 0x80), forgery{a: zero, k: fits})
	}
	key := unhex(small[1].y)
	weak("key-small-order-bad-signature", "A key of small order and a signature that fits nothing: only the key is judged.", key,
		forgery{a: zero, S: func(s *big.Int) *big.Int { return add(s, big.NewInt(1)) }})

	// Reduced, 0 and 1 have small order, 2 is no point, 3 is one of large order, and 18 is the last.
	for _, n := range []int64{0, 1, 2, 3, 18} {
		encoding := littleEndian(add(p, big.NewInt(n)))
		weak(fmt.Sprintf("key-non-canonical-p-plus-%d", n), fmt.Sprintf("A key with y = p + %d, which stands for %d. A reader that reduces it finds another key, or none.", n, n), encoding, forgery{a: zero, k: fits})
		weak(fmt.Sprintf("key-non-canonical-p-plus-%d-sign", n), fmt.Sprintf("A key with y = p + %d and the top bit set.", n), flipByte(encoding, 31, 0x80), forgery{a: zero, k: fits})
	}

	h := life(alice, 3)
	f := plain(0)
	f.Budget, f.Price = -1, -2
	s.folder("key-weak-and-negative", "A weak key, and a negative budget and price: all are said.", folder(f.Encode(4, key, make([]byte, 64))),
		invalid(testkit.DID(key), 1, "weak-key", "negative-budget", "negative-price"))
	c := slices.Clone(h[2])
	copy(c[testkit.OffKey:], key)
	s.folder("key-weak-at-head", "The head of a life has a weak key in place of the agent's.", folder(replace(h, 2, c)...), invalid(alice.DID(), 3, "weak-key"))
	c = slices.Clone(h[1])
	copy(c[testkit.OffKey:], key)
	s.folder("key-weak-in-middle", "The second of three has a weak key in place of the agent's.", folder(replace(h, 1, c)...), invalid(alice.DID(), 3, "weak-key", "gap"))
	s.pinned("key-weak-pinned", "A weak key whose own DID is pinned. The DID is well-formed, and right.", args{DID: testkit.DID(key)},
		folder(forgery{key: key, a: zero}.checkpoint(plain(0))), invalid(testkit.DID(key), 1, "weak-key"))
	other := forgery{key: unhex(small[0].y), a: zero, k: fits}.checkpoint(at(9))
	s.folder("key-weak-beside-life", "A checkpoint by a weak key, a genesis, beside a whole life: no fork, no other identity.", folder(append(h, other)...), invalid(alice.DID(), 4, "weak-key"))

	off := func(name, description string, key []byte) {
		if onCurve(key) {
			panic(name + " is on the curve")
		}
		c := forgery{key: key, a: zero}.checkpoint(plain(0))
		s.folder(name, description, folder(c), invalid(testkit.DID(key), 1, "bad-signature"))
	}
	two := littleEndian(big.NewInt(2))
	off("key-off-curve", "No point has y = 2. The key is not weak; the signature cannot be good.", two)
	off("key-off-curve-sign", "No point has y = 2, whatever the top bit.", flipByte(two, 31, 0x80))
	n := int64(2)
	for onCurve(littleEndian(sub(p, big.NewInt(n)))) {
		n++
	}
	off("key-off-curve-large", fmt.Sprintf("No point has y = p - %d, which is canonical.", n), littleEndian(sub(p, big.NewInt(n))))
	n = 2
	for !onCurve(littleEndian(big.NewInt(n))) {
		n++
	}
	tiny := littleEndian(big.NewInt(n))
	s.folder("key-on-curve-tiny", fmt.Sprintf("The point with y = %d is a canonical key of large order that nobody can sign with.", n),
		folder(forgery{key: tiny, a: zero}.checkpoint(plain(0))), invalid(testkit.DID(tiny), 1, "bad-signature"))
	large := int64(2)
	for !onCurve(littleEndian(sub(p, big.NewInt(large)))) {
		large++
	}
	last := littleEndian(sub(p, big.NewInt(large)))
	s.folder("key-on-curve-large", fmt.Sprintf("The point with y = p - %d is canonical, the largest of those that are not weak. Nobody can sign with it.", large),
		folder(forgery{key: last, a: zero}.checkpoint(plain(0))), invalid(testkit.DID(last), 1, "bad-signature"))
}

func onCurve(key []byte) bool {
	_, ok := decode(key)
	return ok
}

// signatures adds the vectors whose signature is the matter, under a key that is not weak.
func (s *set) signatures() {
	good := func(name, description string, f forgery) {
		s.folder(name, description, folder(f.checkpoint(plain(0))), verified(testkit.DID(f.key), 1))
	}
	bad := func(name, description string, f forgery) {
		s.folder(name, description, folder(f.checkpoint(plain(0))), invalid(testkit.DID(f.key), 1, "bad-signature"))
	}
	a := secret(alice)
	point := base.times(a)
	if !bytes.Equal(point.encode(), alice.Key) {
		panic("the curve arithmetic is wrong")
	}
	t := func(n int64) edwards { return torsion.times(big.NewInt(n)) }
	k8 := func(want func(reduced, raw int64) bool) func(k, raw *big.Int) bool {
		eight := big.NewInt(8)
		return func(k, raw *big.Int) bool { return want(mod(k, eight).Int64(), mod(raw, eight).Int64()) }
	}

	good("signature-by-hand", "A good signature with an unusual nonce.", forgery{key: alice.Key, a: a})

	plus := func(n int64) func(s *big.Int) *big.Int {
		return func(s *big.Int) *big.Int {
			s = add(s, mul(order, big.NewInt(n)))
			if s.BitLen() > 256 {
				panic("S does not fit")
			}
			return s
		}
	}
	bad("s-plus-l", "S is L too large. Everything else fits.", forgery{key: alice.Key, a: a, S: plus(1)})
	bad("s-plus-8l", "S is 8 L too large. Everything else fits.", forgery{key: alice.Key, a: a, S: plus(8)})
	bad("s-plus-14l", "S is 14 L too large, with the top bits set. Everything else fits.", forgery{key: alice.Key, a: a, S: plus(14)})
	bad("s-is-l", "S is L, which stands for 0.", forgery{key: alice.Key, a: a, S: func(*big.Int) *big.Int { return order }})
	bad("s-is-zero", "S is 0.", forgery{key: alice.Key, a: a, S: func(*big.Int) *big.Int { return new(big.Int) }})
	bad("s-all-ones", "Every bit of S is set.", forgery{key: alice.Key, a: a, S: func(*big.Int) *big.Int { return sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)) }})
	bad("s-off-by-one", "S is 1 too large.", forgery{key: alice.Key, a: a, S: func(s *big.Int) *big.Int { return add(s, big.NewInt(1)) }})
	bad("s-negated", "S is L - S.", forgery{key: alice.Key, a: a, S: func(s *big.Int) *big.Int { return sub(order, s) }})

	one := identity.encode()
	good("r-identity", "R is the point of order 1, and the equation holds: it is accepted.", forgery{key: alice.Key, a: a, R: one})
	bad("r-identity-sign", "R is the point of order 1 with the top bit set, a non-canonical encoding. Everything else fits.", forgery{key: alice.Key, a: a, R: flipByte(one, 31, 0x80)})
	bad("r-identity-plus-p", "R is the point of order 1 with y = p + 1, a non-canonical encoding. Everything else fits.", forgery{key: alice.Key, a: a, R: littleEndian(add(p, big.NewInt(1)))})
	bad("r-identity-plus-p-sign", "R is the point of order 1 with y = p + 1 and the top bit set.", forgery{key: alice.Key, a: a, R: flipByte(littleEndian(add(p, big.NewInt(1))), 31, 0x80)})
	bad("r-off-curve", "R is no point.", forgery{key: alice.Key, a: a, R: littleEndian(big.NewInt(2))})
	for _, n := range []int64{1, 2, 4} {
		bad(fmt.Sprintf("r-small-order-%d", 8/n), fmt.Sprintf("R is a point of order %d. The equation holds only when multiplied by the cofactor.", 8/n), forgery{key: alice.Key, a: a, R: t(n).encode()})
		bad(fmt.Sprintf("r-mixed-order-%d", 8/n), fmt.Sprintf("R has a component of order %d. The equation holds only when multiplied by the cofactor.", 8/n), forgery{key: alice.Key, a: a, RPlus: t(n)})
	}

	for _, n := range []int64{1, 2, 4} {
		size := 8 / n
		mixed := point.plus(t(n)).encode()
		good(fmt.Sprintf("key-mixed-order-%d-accepted", size), fmt.Sprintf("The key has a component of order %d that the challenge cancels: the equation holds as it stands.", size),
			forgery{key: mixed, a: a, k: k8(func(k, _ int64) bool { return k%size == 0 })})
		bad(fmt.Sprintf("key-mixed-order-%d-rejected", size), fmt.Sprintf("The key has a component of order %d. The equation holds only when multiplied by the cofactor.", size),
			forgery{key: mixed, a: a, k: k8(func(k, _ int64) bool { return k%size != 0 })})
	}
	mixed := point.plus(t(1)).encode()
	good("key-mixed-order-reduced-challenge", "The key has a component of order 8 that the challenge cancels once it is reduced mod L, and not before.",
		forgery{key: mixed, a: a, k: k8(func(k, raw int64) bool { return k == 0 && raw != 0 })})
	bad("key-mixed-order-raw-challenge", "The key has a component of order 8 that the challenge cancels before it is reduced mod L, and not after.",
		forgery{key: mixed, a: a, k: k8(func(k, raw int64) bool { return k != 0 && raw == 0 })})
	for j := int64(1); j < 8; j += 2 {
		good(fmt.Sprintf("key-and-r-mixed-order-%d-accepted", j), "Key and R have components of order 8 that cancel each other.",
			forgery{key: mixed, a: a, RPlus: t(8 - j), k: k8(func(k, _ int64) bool { return k == j })})
	}
	bad("key-and-r-mixed-order-rejected", "Key and R have components of order 8 that do not cancel each other.",
		forgery{key: mixed, a: a, RPlus: t(5), k: k8(func(k, _ int64) bool { return k != 3 })})
	good("key-mixed-order-r-small-order-accepted", "The key has a component of order 8, R is a point of order 8, and they cancel each other.",
		forgery{key: mixed, a: a, R: t(7).encode(), k: k8(func(k, _ int64) bool { return k == 1 })})
	bad("key-mixed-order-r-small-order-rejected", "The key has a component of order 8, R is a point of order 8, and they do not cancel each other.",
		forgery{key: mixed, a: a, R: t(7).encode(), k: k8(func(k, _ int64) bool { return k != 1 })})
	good("key-mixed-order-r-y-zero", "R is the canonical point of order 4 with y = 0, and a key of mixed order cancels it.",
		forgery{key: point.plus(t(2)).encode(), a: a, R: t(6).encode(), k: k8(func(k, _ int64) bool { return k%4 == 1 })})
	zero := t(6).encode()
	bad("key-mixed-order-r-y-p", "As key-mixed-order-r-y-zero, but R is encoded with y = p.",
		forgery{key: point.plus(t(2)).encode(), a: a, R: withSign(littleEndian(p), zero[31]&0x80), k: k8(func(k, _ int64) bool { return k%4 == 1 })})
}

// withSign sets the sign bit of an encoding.
func withSign(b []byte, bit byte) []byte {
	b[31] |= bit
	return b
}

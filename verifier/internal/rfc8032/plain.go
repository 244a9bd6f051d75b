package rfc8032

import "igor.dev/verifier/internal/sha2"

// verify is section 5.1.7, without the cofactor: [S]B - [k]A is to be encoded as R.
// Nothing here is secret, and nothing runs in constant time.
func verify(key *[32]byte, signature *[64]byte, message, rest []byte) bool {
	s := parse(signature[32:])
	if !less(&s, &order) {
		return false
	}
	a, ok := decode(key)
	if !ok {
		return false
	}
	a.x.subtract(&number{}, &a.x)
	a.t.subtract(&number{}, &a.t)
	digest := sha2.Sum512(signature[:32], key[:], message, rest)
	k := modOrder(&digest)
	p := sumOfMultiples(&s, &base, &k, &a)
	return p.encode() == [32]byte(signature[:32])
}

// A number is one below 2^256, in limbs of 32 bits, least significant first. Where it
// is of the field, it stands for its residue mod p = 2^255 - 19; of 2^256 that is 38.
type number [8]uint64

const limb = 1<<32 - 1

var (
	prime = number{limb - 18, limb, limb, limb, limb, limb, limb, limb >> 1}

	// order is L = 2^252 + 27742317777372353535851937790883648493, the order of the base point.
	order = number{0x5cf5d3ed, 0x5812631a, 0xa2f79cd6, 0x14def9de, 0, 0, 0, 0x10000000}

	// curveD is -121665/121666.
	curveD = number{0x135978a3, 0x75eb4dca, 0x4141d8ab, 0x00700a4d, 0x7779e898, 0x8cc74079, 0x2b6ffe73, 0x52036cee}

	// sqrtMinusOne is 2^((p-1)/4).
	sqrtMinusOne = number{0x4a0ea0b0, 0xc4ee1b27, 0xad2fe478, 0x2f431806, 0x3dfbd7a7, 0x2b4d0099, 0x4fc1df0b, 0x2b832480}

	// The exponents p-2, which inverts, and (p-5)/8.
	primeLess2 = number{limb - 20, limb, limb, limb, limb, limb, limb, limb >> 1}
	rootPower  = number{limb - 2, limb, limb, limb, limb, limb, limb, limb >> 4}

	one = number{1}

	base = newPoint(
		&number{0x8f25d51a, 0xc9562d60, 0x9525a7b2, 0x692cc760, 0xfdd6dc5c, 0xc0a4e231, 0xcd6e53fe, 0x216936d3},
		&number{0x66666658, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666, 0x66666666},
	)
)

// parse reads 32 bytes, the least significant first.
func parse(b []byte) (n number) {
	for i := range 32 {
		n[i/4] |= uint64(b[i]) << (i % 4 * 8)
	}
	return n
}

// bytes gives a number of the field in its canonical encoding.
func (n *number) bytes() (b [32]byte) {
	r := *n
	for !less(&r, &prime) {
		r = difference(&r, &prime)
	}
	for i := range b {
		b[i] = byte(r[i/4] >> (i % 4 * 8))
	}
	return b
}

func less(a, b *number) bool {
	for i := 7; i >= 0; i-- {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// difference returns a-b, which is not below zero.
func difference(a, b *number) (n number) {
	borrow := uint64(0)
	for i := range n {
		d := a[i] - b[i] - borrow
		n[i], borrow = d&limb, d>>63
	}
	return n
}

// modOrder reads 64 bytes, the least significant first, mod L: bit by bit.
func modOrder(b *[64]byte) (n number) {
	for i := 511; i >= 0; i-- {
		carry := uint64(b[i/8]>>(i%8)) & 1
		for j, v := range n { // n is below L, so that 2n+1 is below 2^256
			v = v<<1 | carry
			n[j], carry = v&limb, v>>32
		}
		if !less(&n, &order) {
			n = difference(&n, &order)
		}
	}
	return n
}

// add sets n to a+b in the field.
func (n *number) add(a, b *number) {
	carry := uint64(0)
	for i := range n {
		carry += a[i] + b[i]
		n[i] = carry & limb
		carry >>= 32
	}
	n.fold(carry)
}

// fold adds carry*2^256, which is carry*38, until nothing is carried any more.
func (n *number) fold(carry uint64) {
	for carry > 0 {
		carry *= 38
		for i := range n {
			carry += n[i]
			n[i] = carry & limb
			carry >>= 32
		}
	}
}

// subtract sets n to a-b in the field.
func (n *number) subtract(a, b *number) {
	borrow := uint64(0)
	for i := range n {
		d := a[i] - b[i] - borrow
		n[i], borrow = d&limb, d>>63
	}
	for borrow > 0 { // 2^256 too much, which is 38
		borrow = 38
		for i := range n {
			d := n[i] - borrow
			n[i], borrow = d&limb, d>>63
		}
	}
}

// multiply sets n to a*b in the field: the schoolbook product, whose upper half
// comes back times 38. A limb's product, a limb and a carry together are below 2^64.
func (n *number) multiply(a, b *number) {
	var t [16]uint64
	b0, b1, b2, b3, b4, b5, b6, b7 := b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
	for i, x := range a {
		r := (*[9]uint64)(t[i:])
		c := x*b0 + r[0]
		r[0] = c & limb
		c = x*b1 + r[1] + c>>32
		r[1] = c & limb
		c = x*b2 + r[2] + c>>32
		r[2] = c & limb
		c = x*b3 + r[3] + c>>32
		r[3] = c & limb
		c = x*b4 + r[4] + c>>32
		r[4] = c & limb
		c = x*b5 + r[5] + c>>32
		r[5] = c & limb
		c = x*b6 + r[6] + c>>32
		r[6] = c & limb
		c = x*b7 + r[7] + c>>32
		r[7] = c & limb
		r[8] = c >> 32
	}
	carry := uint64(0)
	for i := range n {
		carry += t[i] + 38*t[i+8]
		n[i] = carry & limb
		carry >>= 32
	}
	n.fold(carry)
}

// power sets n to a^e in the field, by four bits of e at a time.
func (n *number) power(a, e *number) {
	powers := [16]number{one}
	for i := range 15 {
		powers[i+1].multiply(&powers[i], a)
	}
	r := one
	for i := 63; i >= 0; i-- {
		for range 4 {
			r.multiply(&r, &r)
		}
		r.multiply(&r, &powers[e[i/8]>>(i%8*4)&15])
	}
	*n = r
}

// A point is one of the curve, in the extended coordinates of section 5.1.4.
type point struct{ x, y, z, t number }

func newPoint(x, y *number) point {
	p := point{x: *x, y: *y, z: one}
	p.t.multiply(x, y)
	return p
}

// decode is section 5.1.3.
func decode(b *[32]byte) (p point, ok bool) {
	y := parse(b[:])
	sign := byte(y[7] >> 31)
	y[7] &= limb >> 1
	if !less(&y, &prime) {
		return p, false
	}
	var u, v, v3, x, check number
	u.multiply(&y, &y)
	v.multiply(&u, &curveD)
	u.subtract(&u, &one)
	v.add(&v, &one)
	// x = u v^3 (u v^7)^((p-5)/8)
	v3.multiply(&v, &v)
	v3.multiply(&v3, &v)
	x.multiply(&v3, &v3)
	x.multiply(&x, &v)
	x.multiply(&x, &u)
	x.power(&x, &rootPower)
	x.multiply(&x, &v3)
	x.multiply(&x, &u)

	check.multiply(&x, &x)
	check.multiply(&check, &v)
	if check.bytes() != u.bytes() {
		x.multiply(&x, &sqrtMinusOne)
		check.multiply(&x, &x)
		check.multiply(&check, &v)
		if check.bytes() != u.bytes() {
			return p, false
		}
	}
	if encoded := x.bytes(); encoded[0]&1 != sign {
		if encoded == [32]byte{} {
			return p, false
		}
		x.subtract(&number{}, &x)
	}
	return newPoint(&x, &y), true
}

// encode is section 5.1.2.
func (p *point) encode() [32]byte {
	var inverse, x, y number
	inverse.power(&p.z, &primeLess2)
	x.multiply(&p.x, &inverse)
	y.multiply(&p.y, &inverse)
	b := y.bytes()
	b[31] |= x.bytes()[0] << 7
	return b
}

// add sets p to p+q, by the first formulas of section 5.1.4, which hold for all points.
func (p *point) add(q *point) {
	var a, b, c, d, e, f, g, h, s number
	a.subtract(&p.y, &p.x)
	s.subtract(&q.y, &q.x)
	a.multiply(&a, &s)
	b.add(&p.y, &p.x)
	s.add(&q.y, &q.x)
	b.multiply(&b, &s)
	c.multiply(&p.t, &q.t)
	c.multiply(&c, &curveD)
	c.add(&c, &c)
	d.multiply(&p.z, &q.z)
	d.add(&d, &d)
	e.subtract(&b, &a)
	f.subtract(&d, &c)
	g.add(&d, &c)
	h.add(&b, &a)
	p.x.multiply(&e, &f)
	p.y.multiply(&g, &h)
	p.t.multiply(&e, &h)
	p.z.multiply(&f, &g)
}

// double sets p to p+p, by the second ones.
func (p *point) double() {
	var a, b, c, e, f, g, h number
	a.multiply(&p.x, &p.x)
	b.multiply(&p.y, &p.y)
	c.multiply(&p.z, &p.z)
	c.add(&c, &c)
	h.add(&a, &b)
	e.add(&p.x, &p.y)
	e.multiply(&e, &e)
	e.subtract(&h, &e)
	g.subtract(&a, &b)
	f.add(&c, &g)
	p.x.multiply(&e, &f)
	p.y.multiply(&g, &h)
	p.t.multiply(&e, &h)
	p.z.multiply(&f, &g)
}

// sumOfMultiples returns [s]P + [k]Q, by two bits of both at a time.
func sumOfMultiples(s *number, p *point, k *number, q *point) point {
	// sums[i+4*j] is [i]P + [j]Q.
	var sums [16]point
	sums[0] = point{y: one, z: one}
	for i := 1; i < 16; i++ {
		if i < 4 {
			sums[i] = sums[i-1]
			sums[i].add(p)
		} else {
			sums[i] = sums[i-4]
			sums[i].add(q)
		}
	}
	r := sums[0]
	for i := 127; i >= 0; i-- {
		r.double()
		r.double()
		digits := s[i/16]>>(i%16*2)&3 + 4*(k[i/16]>>(i%16*2)&3)
		if digits != 0 {
			r.add(&sums[digits])
		}
	}
	return r
}

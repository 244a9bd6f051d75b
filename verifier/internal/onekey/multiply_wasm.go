package onekey

// WebAssembly multiplies 64 bits by 64 to 64, no more, and math/bits.Mul64 takes
// four such products and much carrying. Here every limb is split in a lower half of 26
// bits and an upper one, whose products need no carrying until the end.
//
// A number is then l + 2^26 u, where l and u have five limbs each, at multiples of
// 51 bits, and the product of two is l l' + 2^26 (l u' + u l') + 2^52 u u'. The sum in the
// middle is (l + u)(l' + u') - l l' - u u' (Karatsuba): three products of five limbs by
// five. Limbs below 2^54 have halves below 2^26 and 2^28, so that no sum here reaches 2^64.
//
// All is written out, and in variables, since Go keeps no arrays in registers and would
// not inline it: four times as fast.

const (
	mask26 = 1<<26 - 1
	mask25 = 1<<25 - 1
)

// multiply sets f to a*b. Each of the three is the schoolbook product, where what
// reaches 2^255 comes back times 19. In the sum of all, u counts for the next limb, since
// 2^52 is twice that limb's place.
func (f *field) multiply(a, b *field) {
	a0, a1, a2, a3, a4 := a[0]&mask26, a[1]&mask26, a[2]&mask26, a[3]&mask26, a[4]&mask26
	b0, b1, b2, b3, b4 := b[0]&mask26, b[1]&mask26, b[2]&mask26, b[3]&mask26, b[4]&mask26
	l0 := a0*b0 + 19*(a1*b4+a2*b3+a3*b2+a4*b1)
	l1 := a0*b1 + a1*b0 + 19*(a2*b4+a3*b3+a4*b2)
	l2 := a0*b2 + a1*b1 + a2*b0 + 19*(a3*b4+a4*b3)
	l3 := a0*b3 + a1*b2 + a2*b1 + a3*b0 + 19*(a4*b4)
	l4 := a0*b4 + a1*b3 + a2*b2 + a3*b1 + a4*b0

	c0, c1, c2, c3, c4 := a[0]>>26, a[1]>>26, a[2]>>26, a[3]>>26, a[4]>>26
	d0, d1, d2, d3, d4 := b[0]>>26, b[1]>>26, b[2]>>26, b[3]>>26, b[4]>>26
	u0 := c0*d0 + 19*(c1*d4+c2*d3+c3*d2+c4*d1)
	u1 := c0*d1 + c1*d0 + 19*(c2*d4+c3*d3+c4*d2)
	u2 := c0*d2 + c1*d1 + c2*d0 + 19*(c3*d4+c4*d3)
	u3 := c0*d3 + c1*d2 + c2*d1 + c3*d0 + 19*(c4*d4)
	u4 := c0*d4 + c1*d3 + c2*d2 + c3*d1 + c4*d0

	a0, a1, a2, a3, a4 = a0+c0, a1+c1, a2+c2, a3+c3, a4+c4
	b0, b1, b2, b3, b4 = b0+d0, b1+d1, b2+d2, b3+d3, b4+d4
	m0 := a0*b0 + 19*(a1*b4+a2*b3+a3*b2+a4*b1)
	m1 := a0*b1 + a1*b0 + 19*(a2*b4+a3*b3+a4*b2)
	m2 := a0*b2 + a1*b1 + a2*b0 + 19*(a3*b4+a4*b3)
	m3 := a0*b3 + a1*b2 + a2*b1 + a3*b0 + 19*(a4*b4)
	m4 := a0*b4 + a1*b3 + a2*b2 + a3*b1 + a4*b0

	r0 := l0 + 38*u4
	r1 := m0 - l0 - u0 + r0>>26
	r2 := l1 + 2*u0 + r1>>25
	r3 := m1 - l1 - u1 + r2>>26
	r4 := l2 + 2*u1 + r3>>25
	r5 := m2 - l2 - u2 + r4>>26
	r6 := l3 + 2*u2 + r5>>25
	r7 := m3 - l3 - u3 + r6>>26
	r8 := l4 + 2*u3 + r7>>25
	r9 := m4 - l4 - u4 + r8>>26
	r0 = r0&mask26 + 19*(r9>>25)
	r1 = r1&mask25 + r0>>26
	f[0] = r0&mask26 + r1<<26
	f[1] = r2&mask26 + r3&mask25<<26
	f[2] = r4&mask26 + r5&mask25<<26
	f[3] = r6&mask26 + r7&mask25<<26
	f[4] = r8&mask26 + r9&mask25<<26
}

package onekey

// WebAssembly multiplies 64 bits by 64 to 64, no more, and math/bits.Mul64 takes
// four such products and much carrying. Here the limbs are split in halves of 26
// and 25 bits, whose products need no carrying until the end: half the time.

const (
	mask26 = 1<<26 - 1
	mask25 = 1<<25 - 1
)

// multiply sets f to a*b: the schoolbook product of ten half limbs, at the bits 0,
// 26, 51, 77, … The product of two upper halves is one bit higher than where it
// counts, hence the factor 2; what reaches 2^255 comes back times 19.
func (f *field) multiply(a, b *field) {
	x, y := *a, *b
	x.carry()
	y.carry()
	a0, a1 := x[0]&mask26, x[0]>>26
	a2, a3 := x[1]&mask26, x[1]>>26
	a4, a5 := x[2]&mask26, x[2]>>26
	a6, a7 := x[3]&mask26, x[3]>>26
	a8, a9 := x[4]&mask26, x[4]>>26
	b0, b1 := y[0]&mask26, y[0]>>26
	b2, b3 := y[1]&mask26, y[1]>>26
	b4, b5 := y[2]&mask26, y[2]>>26
	b6, b7 := y[3]&mask26, y[3]>>26
	b8, b9 := y[4]&mask26, y[4]>>26
	a1x2, a3x2, a5x2, a7x2, a9x2 := 2*a1, 2*a3, 2*a5, 2*a7, 2*a9
	b1x19, b2x19, b3x19, b4x19, b5x19, b6x19, b7x19, b8x19, b9x19 := 19*b1, 19*b2, 19*b3, 19*b4, 19*b5, 19*b6, 19*b7, 19*b8, 19*b9

	r0 := a0*b0 + a1x2*b9x19 + a2*b8x19 + a3x2*b7x19 + a4*b6x19 + a5x2*b5x19 + a6*b4x19 + a7x2*b3x19 + a8*b2x19 + a9x2*b1x19
	r1 := a0*b1 + a1*b0 + a2*b9x19 + a3*b8x19 + a4*b7x19 + a5*b6x19 + a6*b5x19 + a7*b4x19 + a8*b3x19 + a9*b2x19
	r2 := a0*b2 + a1x2*b1 + a2*b0 + a3x2*b9x19 + a4*b8x19 + a5x2*b7x19 + a6*b6x19 + a7x2*b5x19 + a8*b4x19 + a9x2*b3x19
	r3 := a0*b3 + a1*b2 + a2*b1 + a3*b0 + a4*b9x19 + a5*b8x19 + a6*b7x19 + a7*b6x19 + a8*b5x19 + a9*b4x19
	r4 := a0*b4 + a1x2*b3 + a2*b2 + a3x2*b1 + a4*b0 + a5x2*b9x19 + a6*b8x19 + a7x2*b7x19 + a8*b6x19 + a9x2*b5x19
	r5 := a0*b5 + a1*b4 + a2*b3 + a3*b2 + a4*b1 + a5*b0 + a6*b9x19 + a7*b8x19 + a8*b7x19 + a9*b6x19
	r6 := a0*b6 + a1x2*b5 + a2*b4 + a3x2*b3 + a4*b2 + a5x2*b1 + a6*b0 + a7x2*b9x19 + a8*b8x19 + a9x2*b7x19
	r7 := a0*b7 + a1*b6 + a2*b5 + a3*b4 + a4*b3 + a5*b2 + a6*b1 + a7*b0 + a8*b9x19 + a9*b8x19
	r8 := a0*b8 + a1x2*b7 + a2*b6 + a3x2*b5 + a4*b4 + a5x2*b3 + a6*b2 + a7x2*b1 + a8*b0 + a9x2*b9x19
	r9 := a0*b9 + a1*b8 + a2*b7 + a3*b6 + a4*b5 + a5*b4 + a6*b3 + a7*b2 + a8*b1 + a9*b0
	f.join(r0, r1, r2, r3, r4, r5, r6, r7, r8, r9)
}

// square sets f to a*a.
func (f *field) square(a *field) {
	x := *a
	x.carry()
	a0, a1 := x[0]&mask26, x[0]>>26
	a2, a3 := x[1]&mask26, x[1]>>26
	a4, a5 := x[2]&mask26, x[2]>>26
	a6, a7 := x[3]&mask26, x[3]>>26
	a8, a9 := x[4]&mask26, x[4]>>26
	a0x2, a1x2, a2x2, a3x2, a4x2, a5x2, a6x2, a7x2, a8x2, a9x2 := 2*a0, 2*a1, 2*a2, 2*a3, 2*a4, 2*a5, 2*a6, 2*a7, 2*a8, 2*a9
	a1x4, a3x4, a5x4, a7x4 := 4*a1, 4*a3, 4*a5, 4*a7
	a5x19, a6x19, a7x19, a8x19, a9x19 := 19*a5, 19*a6, 19*a7, 19*a8, 19*a9

	r0 := a0*a0 + a1x4*a9x19 + a2x2*a8x19 + a3x4*a7x19 + a4x2*a6x19 + a5x2*a5x19
	r1 := a0x2*a1 + a2x2*a9x19 + a3x2*a8x19 + a4x2*a7x19 + a5x2*a6x19
	r2 := a0x2*a2 + a1x2*a1 + a3x4*a9x19 + a4x2*a8x19 + a5x4*a7x19 + a6*a6x19
	r3 := a0x2*a3 + a1x2*a2 + a4x2*a9x19 + a5x2*a8x19 + a6x2*a7x19
	r4 := a0x2*a4 + a1x4*a3 + a2*a2 + a5x4*a9x19 + a6x2*a8x19 + a7x2*a7x19
	r5 := a0x2*a5 + a1x2*a4 + a2x2*a3 + a6x2*a9x19 + a7x2*a8x19
	r6 := a0x2*a6 + a1x4*a5 + a2x2*a4 + a3x2*a3 + a7x4*a9x19 + a8*a8x19
	r7 := a0x2*a7 + a1x2*a6 + a2x2*a5 + a3x2*a4 + a8x2*a9x19
	r8 := a0x2*a8 + a1x4*a7 + a2x2*a6 + a3x4*a5 + a4*a4 + a9x2*a9x19
	r9 := a0x2*a9 + a1x2*a8 + a2x2*a7 + a3x2*a6 + a4x2*a5
	f.join(r0, r1, r2, r3, r4, r5, r6, r7, r8, r9)
}

// join carries the sums of half limbs, each below 2^62, into tight limbs.
func (f *field) join(r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 uint64) {
	r1 += r0 >> 26
	r2 += r1 >> 25
	r3 += r2 >> 26
	r4 += r3 >> 25
	r5 += r4 >> 26
	r6 += r5 >> 25
	r7 += r6 >> 26
	r8 += r7 >> 25
	r9 += r8 >> 26
	r0 = r0&mask26 + 19*(r9>>25)
	r1 = r1&mask25 + r0>>26
	f[0] = r0&mask26 + r1<<26
	f[1] = r2&mask26 + r3&mask25<<26
	f[2] = r4&mask26 + r5&mask25<<26
	f[3] = r6&mask26 + r7&mask25<<26
	f[4] = r8&mask26 + r9&mask25<<26
}

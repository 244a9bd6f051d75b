//go:build !wasm

package onekey

// multiply sets f to a*b: the schoolbook product, where what reaches 2^255 comes
// back times 19.
func (f *field) multiply(a, b *field) {
	a0, a1, a2, a3, a4 := a[0], a[1], a[2], a[3], a[4]
	b0, b1, b2, b3, b4 := b[0], b[1], b[2], b[3], b[4]
	a1x19, a2x19, a3x19, a4x19 := 19*a1, 19*a2, 19*a3, 19*a4

	r0 := wide{}.plus(a0, b0).plus(a1x19, b4).plus(a2x19, b3).plus(a3x19, b2).plus(a4x19, b1)
	r1 := wide{}.plus(a0, b1).plus(a1, b0).plus(a2x19, b4).plus(a3x19, b3).plus(a4x19, b2)
	r2 := wide{}.plus(a0, b2).plus(a1, b1).plus(a2, b0).plus(a3x19, b4).plus(a4x19, b3)
	r3 := wide{}.plus(a0, b3).plus(a1, b2).plus(a2, b1).plus(a3, b0).plus(a4x19, b4)
	r4 := wide{}.plus(a0, b4).plus(a1, b3).plus(a2, b2).plus(a3, b1).plus(a4, b0)
	f.reduce(r0, r1, r2, r3, r4)
}

// square sets f to a*a.
func (f *field) square(a *field) {
	a0, a1, a2, a3, a4 := a[0], a[1], a[2], a[3], a[4]
	a0x2, a1x2 := 2*a0, 2*a1
	a1x38, a2x38, a3x38 := 38*a1, 38*a2, 38*a3
	a3x19, a4x19 := 19*a3, 19*a4

	r0 := wide{}.plus(a0, a0).plus(a1x38, a4).plus(a2x38, a3)
	r1 := wide{}.plus(a0x2, a1).plus(a2x38, a4).plus(a3x19, a3)
	r2 := wide{}.plus(a0x2, a2).plus(a1, a1).plus(a3x38, a4)
	r3 := wide{}.plus(a0x2, a3).plus(a1x2, a2).plus(a4x19, a4)
	r4 := wide{}.plus(a0x2, a4).plus(a1x2, a3).plus(a2, a2)
	f.reduce(r0, r1, r2, r3, r4)
}

func (f *field) reduce(r0, r1, r2, r3, r4 wide) {
	c0, c1, c2, c3, c4 := r0.above(), r1.above(), r2.above(), r3.above(), r4.above()
	f[0] = r0.lo&mask51 + 19*c4
	f[1] = r1.lo&mask51 + c0
	f[2] = r2.lo&mask51 + c1
	f[3] = r3.lo&mask51 + c2
	f[4] = r4.lo&mask51 + c3
	f.carry()
}

package onekey

import "math/bits"

// A field element is a number mod p = 2^255 - 19, in five limbs of 51 bits,
// least significant first. Limbs may be larger than 51 bits between operations:
//
//   - multiply and carry give limbs below 2^51 + 2^37 ("tight");
//   - add gives the sums of limbs, subtract those of tight ones below 2^53;
//   - multiply takes limbs below 2^54.
type field [5]uint64

const mask51 = 1<<51 - 1

var (
	zero = field{}
	one  = field{1}

	// d is the curve's constant -121665/121666, d2 its double (RFC 8032, section 5.1).
	d  = mustField("a3785913ca4deb75abd841414d0a700098e879777940c78c73fe6f2bee6c0352")
	d2 = mustField("59f1b226949bd6eb56b183829a14e00030d1f3eef2808e19e7fcdf56dcd90624")

	// sqrtMinusOne is 2^((p-1)/4).
	sqrtMinusOne = mustField("b0a00e4a271beec478e42fad0618432fa7d7fb3d99004d2b0bdfc14f8024832b")
)

// mustField reads the little-endian hexadecimal of a constant.
func mustField(s string) field {
	var b [32]byte
	for i := range b {
		b[i] = nibble(s[2*i])<<4 | nibble(s[2*i+1])
	}
	var f field
	f.setBytes(&b)
	return f
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// setBytes reads a little-endian number; the top bit is ignored.
func (f *field) setBytes(b *[32]byte) {
	w := [4]uint64{le64(b[0:]), le64(b[8:]), le64(b[16:]), le64(b[24:])}
	f[0] = w[0] & mask51
	f[1] = (w[0]>>51 | w[1]<<13) & mask51
	f[2] = (w[1]>>38 | w[2]<<26) & mask51
	f[3] = (w[2]>>25 | w[3]<<39) & mask51
	f[4] = w[3] >> 12 & mask51
}

// bytes gives the canonical little-endian encoding.
func (f *field) bytes() (b [32]byte) {
	t := *f
	t.carry()
	t.carry() // now below 2^255, or above it by so little that the next step sees it
	// t is below 2p: subtract p if it is not below p, which is when t + 19 reaches 2^255.
	c := (t[0] + 19) >> 51
	for i := 1; i < 5; i++ {
		c = (t[i] + c) >> 51
	}
	t[0] += 19 * c
	for i := range 4 {
		t[i+1] += t[i] >> 51
		t[i] &= mask51
	}
	t[4] &= mask51
	putLE64(b[0:], t[0]|t[1]<<51)
	putLE64(b[8:], t[1]>>13|t[2]<<38)
	putLE64(b[16:], t[2]>>26|t[3]<<25)
	putLE64(b[24:], t[3]>>39|t[4]<<12)
	return b
}

// carry makes the limbs tight.
func (f *field) carry() {
	c0, c1, c2, c3, c4 := f[0]>>51, f[1]>>51, f[2]>>51, f[3]>>51, f[4]>>51
	f[0] = f[0]&mask51 + 19*c4
	f[1] = f[1]&mask51 + c0
	f[2] = f[2]&mask51 + c1
	f[3] = f[3]&mask51 + c2
	f[4] = f[4]&mask51 + c3
}

func (f *field) add(a, b *field) {
	f[0] = a[0] + b[0]
	f[1] = a[1] + b[1]
	f[2] = a[2] + b[2]
	f[3] = a[3] + b[3]
	f[4] = a[4] + b[4]
}

// subtract takes a tight b; 2p keeps its limbs from going below zero.
func (f *field) subtract(a, b *field) {
	f[0] = a[0] + 0xfffffffffffda - b[0]
	f[1] = a[1] + 0xffffffffffffe - b[1]
	f[2] = a[2] + 0xffffffffffffe - b[2]
	f[3] = a[3] + 0xffffffffffffe - b[3]
	f[4] = a[4] + 0xffffffffffffe - b[4]
}

func (f *field) negate(a *field) {
	t := *a
	t.carry()
	f.subtract(&zero, &t)
	f.carry()
}

func (f *field) equal(a *field) bool { return f.bytes() == a.bytes() }

// negative reports whether the canonical encoding is odd (RFC 8032, section 5.1.3).
func (f *field) negative() bool { return f.bytes()[0]&1 == 1 }

// square sets f to a*a. Of the products of a verification one in fifty is a square: too
// few for code of their own.
func (f *field) square(a *field) { f.multiply(a, a) }

// squareTimes sets f to a^(2^n).
func (f *field) squareTimes(a *field, n int) {
	f.square(a)
	for range n - 1 {
		f.square(f)
	}
}

// chain sets a250 to a^(2^250 - 1) and a11 to a^11, from which both powers
// below are one step away.
func chain(a *field) (a250, a11 field) {
	var a2, a9, t, a5, a10, a20, a50, a100 field
	a2.square(a)
	t.squareTimes(&a2, 2)
	a9.multiply(&t, a)
	a11.multiply(&a9, &a2)
	t.square(&a11)
	a5.multiply(&t, &a9) // 2^5 - 1
	t.squareTimes(&a5, 5)
	a10.multiply(&t, &a5) // 2^10 - 1
	t.squareTimes(&a10, 10)
	a20.multiply(&t, &a10) // 2^20 - 1
	t.squareTimes(&a20, 20)
	t.multiply(&t, &a20) // 2^40 - 1
	t.squareTimes(&t, 10)
	a50.multiply(&t, &a10) // 2^50 - 1
	t.squareTimes(&a50, 50)
	a100.multiply(&t, &a50) // 2^100 - 1
	t.squareTimes(&a100, 100)
	t.multiply(&t, &a100) // 2^200 - 1
	t.squareTimes(&t, 50)
	a250.multiply(&t, &a50)
	return a250, a11
}

// invert sets f to 1/a = a^(p-2), and to 0 for 0.
func (f *field) invert(a *field) {
	t, a11 := chain(a)
	t.squareTimes(&t, 5)
	f.multiply(&t, &a11)
}

// squareRoot sets f to a square root of u/v and reports whether there is one
// (RFC 8032, section 5.1.3, steps 2 and 3).
func (f *field) squareRoot(u, v *field) bool {
	var v3, v7, x, check, minusU field
	v3.square(v)
	v3.multiply(&v3, v)
	v7.square(&v3)
	v7.multiply(&v7, v)
	x.multiply(u, &v7)
	power, _ := chain(&x)
	power.squareTimes(&power, 2)
	power.multiply(&power, &x) // (u v^7)^((p-5)/8)
	x.multiply(u, &v3)
	x.multiply(&x, &power)

	check.square(&x)
	check.multiply(&check, v)
	minusU.negate(u)
	switch {
	case check.equal(u):
		*f = x
	case check.equal(&minusU):
		f.multiply(&x, &sqrtMinusOne)
	default:
		return false
	}
	return true
}

// wide is a sum of products.
type wide struct{ hi, lo uint64 }

func (w wide) plus(a, b uint64) wide {
	hi, lo := bits.Mul64(a, b)
	lo, c := bits.Add64(lo, w.lo, 0)
	hi, _ = bits.Add64(hi, w.hi, c)
	return wide{hi, lo}
}

// above returns w >> 51, which fits for all sums here.
func (w wide) above() uint64 { return w.hi<<13 | w.lo>>51 }

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func putLE64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}

package onekey

import "math/bits"

// A scalar is a number below 2^256, least significant word first.
type scalar [4]uint64

// order is L = 2^252 + 27742317777372353535851937790883648493, the order of B.
var order = scalar{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}

func (s *scalar) setBytes(b []byte) {
	for i := range s {
		s[i] = le64(b[8*i:])
	}
}

// reduced reports whether s is below L.
func (s *scalar) reduced() bool {
	_, borrow := subtract(s, &order)
	return borrow == 1
}

func subtract(a, b *scalar) (r scalar, borrow uint64) {
	for i := range r {
		r[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
	return r, borrow
}

// setReduced sets s to the little-endian number in b mod L.
func (s *scalar) setReduced(b *[64]byte) {
	*s = scalar{}
	for i := 7; i >= 0; i-- {
		w := le64(b[8*i:])
		s.shiftIn(w >> 32)
		s.shiftIn(w & (1<<32 - 1))
	}
}

// shiftIn sets s, which is below L, to n = s*2^32 + w mod L, where w is below 2^32.
//
// With L = 2^252 + c and n = q*2^252 + low, n - q*L is low - q*c. It is below
// 2^252, and at least -q*c > -L, since q is below 2^34 and c below 2^125.
func (s *scalar) shiftIn(w uint64) {
	low := scalar{s[0]<<32 | w, s[1]<<32 | s[0]>>32, s[2]<<32 | s[1]>>32, s[3]<<32 | s[2]>>32}
	q := s[3]>>32<<4 | low[3]>>60
	low[3] &= 1<<60 - 1

	h0, l0 := bits.Mul64(q, order[0])
	h1, l1 := bits.Mul64(q, order[1])
	l1, carry := bits.Add64(l1, h0, 0)
	r, borrow := subtract(&low, &scalar{l0, l1, h1 + carry})
	if borrow == 1 {
		carry = 0
		for i := range r {
			r[i], carry = bits.Add64(r[i], order[i], carry)
		}
	}
	*s = r
}

// digits returns how many digits to the base 2^window a scalar below 2^253 has.
func digits(window uint) int { return int((253 + window) / window) }

// maxDigits is digits(smallWindow).
const maxDigits = (253 + smallWindow) / smallWindow

// recode writes s, below 2^253, to out as digits to the base 2^window, the least
// significant first, each from -2^(window-1) to 2^(window-1) - 1. A window has at
// most 8 bits.
func (s *scalar) recode(out []int16, window uint) []int16 {
	out = out[:digits(window)]
	half, carry := int16(1)<<(window-1), int16(0)
	for i := range out {
		bit := uint(i) * window
		w := s[bit/64] >> (bit % 64)
		if bit%64 > 64-window && bit/64 < 3 {
			w |= s[bit/64+1] << (64 - bit%64)
		}
		v := int16(w&(1<<window-1)) + carry
		carry = (v + half) >> window
		out[i] = v - carry<<window
	}
	return out
}

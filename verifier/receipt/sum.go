package receipt

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

// A Sum is one of amounts that are not negative, in microcents. It has 128 bits: what
// came into a budget in a whole life may be more than a budget holds.
type Sum struct{ high, low uint64 }

func sum(amounts ...int64) (s Sum) {
	for _, a := range amounts {
		s.Add(a)
	}
	return s
}

// Add adds an amount that is not negative.
func (s *Sum) Add(amount int64) {
	var carry uint64
	s.low, carry = bits.Add64(s.low, uint64(amount), 0)
	s.high += carry
}

// Less returns s less other, which is not more than s.
func (s Sum) Less(other Sum) Sum {
	var borrow uint64
	s.low, borrow = bits.Sub64(s.low, other.low, 0)
	s.high, _ = bits.Sub64(s.high, other.high, borrow)
	return s
}

// Microcents returns the sum in decimal. Package math/big would bring fmt along, which a
// browser would have to load.
func (s Sum) Microcents() string {
	const digits, ten = 19, 1e19 // as many as 64 bits hold
	var parts []uint64
	for s.high > 0 {
		high, rest := s.high/ten, s.high%ten
		low, part := bits.Div64(rest, s.low, ten)
		s, parts = Sum{high, low}, append(parts, part)
	}
	text := strconv.FormatUint(s.low, 10)
	for _, part := range slices.Backward(parts) {
		next := strconv.FormatUint(part, 10)
		text += strings.Repeat("0", digits-len(next)) + next
	}
	return text
}

// String returns the sum in currency units, as [verifier.FormatMicrocents] does.
func (s Sum) String() string {
	if s.high == 0 && int64(s.low) >= 0 {
		return verifier.FormatMicrocents(int64(s.low))
	}
	digits := s.Microcents()
	return digits[:len(digits)-6] + "." + digits[len(digits)-6:]
}

package receipt

import (
	"math/big"
	"math/bits"

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

// Microcents returns the sum in decimal.
func (s Sum) Microcents() string {
	n := new(big.Int).SetUint64(s.high)
	return n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(s.low)).String()
}

// String returns the sum in currency units, as [verifier.FormatMicrocents] does.
func (s Sum) String() string {
	if s.high == 0 && int64(s.low) >= 0 {
		return verifier.FormatMicrocents(int64(s.low))
	}
	digits := s.Microcents()
	return digits[:len(digits)-6] + "." + digits[len(digits)-6:]
}

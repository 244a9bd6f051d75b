package runtime

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// ParseAmount reads an amount of currency units, such as "0.001", as
// microcents, exactly: more than six decimals, a sign or an exponent is an error.
func ParseAmount(s string) (int64, error) {
	const decimals = 6
	whole, fraction, point := strings.Cut(s, ".")
	digits := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	switch {
	case whole == "" || point && fraction == "" || !digits(whole) || !digits(fraction):
		return 0, errors.New("an amount is a decimal number, such as 1 or 0.001")
	case len(fraction) > decimals:
		return 0, errors.New("an amount has six decimals at most, for the smallest amount is 0.000001")
	}
	v, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", decimals-len(fraction)), 10, 64)
	if err != nil {
		return 0, errors.New("an amount is 9223372036854.775807 at most")
	}
	return v, nil
}

// An account is what an agent has, and what its time costs.
//
// A tick costs its time times the price; what is less than a microcent is
// carried over to the next tick, so that short ticks are not free. What is
// carried when the process ends, less than one microcent, is not charged.
type account struct {
	budget int64  // microcents, >= 0
	price  int64  // microcents per second, >= 0
	rest   uint64 // of a microcent, in 1/1e9, < 1e9
}

// charge takes the cost of a tick, and returns it. At zero the budget is exhausted.
func (a *account) charge(elapsed time.Duration) int64 {
	hi, lo := bits.Mul64(uint64(max(0, elapsed)), uint64(a.price))
	lo, carry := bits.Add64(lo, a.rest, 0)
	hi += carry
	cost := uint64(math.MaxUint64) // where the quotient does not fit
	if hi < uint64(time.Second) {
		cost, a.rest = bits.Div64(hi, lo, uint64(time.Second))
	}
	if cost >= uint64(a.budget) && a.price > 0 {
		if cost > uint64(a.budget) {
			a.rest = 0
		}
		cost = uint64(a.budget)
	}
	a.budget -= int64(cost)
	return int64(cost)
}

// exhausted reports whether the agent cannot pay another tick.
func (a *account) exhausted() bool { return a.budget == 0 && a.price > 0 }

// add puts money in, without overflow.
func (a *account) add(amount int64) error {
	if amount > math.MaxInt64-a.budget {
		return errors.New("the budget would be too large")
	}
	a.budget += amount
	return nil
}

// Package account computes what an agent's time costs, once for those who charge it
// and for those who check that.
//
//	cost = floor((rest + (fuel + waited) × price) / 10^9)
//
// in microcents, at most the budget. fuel is in units of docs/spec/metering.md, of
// which a second has as many as nanoseconds; waited is in nanoseconds, and price is
// per second. What is less than a microcent is owed (rest) and counts with the next
// tick, so that short ticks are not free. Bytes that are stored cost by the same rule,
// at a price for 10^9 of them.
package account

import (
	"errors"
	"math"
	"math/bits"
)

// Microcent is how many parts of one a rest is counted in.
const Microcent = 1_000_000_000

// An Account is what an agent has at one place of its life.
type Account struct {
	Budget int64  // microcents, >= 0
	Price  int64  // microcents per second, >= 0
	Rest   uint64 // owed, in 1e-9 microcents, < Microcent
}

// Metered is what a part of a life took, and what that cost.
type Metered struct {
	Fuel   uint64
	Waited uint64
	Rest   uint64 // that is owed after it
	Cost   int64  // that it took from the budget

	// Of a checkpoint, where bytes that are stored have a price, in microcents for 10^9.
	Stored      uint64
	StoredPrice int64
}

// Charge takes what units cost, and returns it: never more than there is. Then the
// budget is exhausted, and nothing is owed.
func (a *Account) Charge(units uint64) (cost int64) {
	return a.take(bits.Mul64(units, uint64(a.Price)))
}

// take takes what is owed, in 1e-9 microcents.
func (a *Account) take(hi, lo uint64) (cost int64) {
	lo, carry := bits.Add64(lo, a.Rest, 0)
	hi += carry
	whole := uint64(math.MaxUint64) // where the quotient does not fit
	if hi < Microcent {
		whole, a.Rest = bits.Div64(hi, lo, Microcent)
	}
	if whole > uint64(a.Budget) {
		whole, a.Rest = uint64(a.Budget), 0
	}
	a.Budget -= int64(whole)
	return int64(whole)
}

// Meter charges for fuel and for what was waited, each less than 2^63.
func (a *Account) Meter(fuel, waited uint64) Metered {
	cost := a.Charge(fuel + waited)
	return Metered{Fuel: fuel, Waited: waited, Rest: a.Rest, Cost: cost}
}

// Store charges for fuel, and for bytes that are stored at a price, each less than 2^63.
func (a *Account) Store(fuel, bytes uint64, price int64) Metered {
	if price == 0 {
		return a.Meter(fuel, 0)
	}
	hi, lo := bits.Mul64(fuel, uint64(a.Price))
	more, low := bits.Mul64(bytes, uint64(price))
	lo, carry := bits.Add64(lo, low, 0)
	cost := a.take(hi+more+carry, lo)
	return Metered{Fuel: fuel, Rest: a.Rest, Cost: cost, Stored: bytes, StoredPrice: price}
}

// Exhausted reports whether the agent cannot pay another tick.
func (a *Account) Exhausted() bool { return a.Budget == 0 && a.Price > 0 }

// Add puts money in, without overflow.
func (a *Account) Add(amount int64) error {
	if amount > math.MaxInt64-a.Budget {
		return errors.New("the budget would be too large")
	}
	a.Budget += amount
	return nil
}

package runtime

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	money "igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/eventlog"
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

// An account is what an agent has, and what its time costs: see package money, where
// that is computed.
type account struct {
	budget int64  // microcents, >= 0
	price  int64  // microcents per second, >= 0
	rest   uint64 // of a microcent, in 1/1e9, that is owed
}

// meter takes what fuel and waiting cost. At zero the budget is exhausted.
func (a *account) meter(fuel, waited uint64) eventlog.Metered {
	sum := a.sum()
	took := sum.Meter(fuel, waited)
	a.set(sum)
	return took
}

// store takes what a checkpoint cost, with what is stored for it.
func (a *account) store(fuel, bytes uint64, price int64) eventlog.Metered {
	sum := a.sum()
	took := sum.Store(fuel, bytes, price)
	a.set(sum)
	return took
}

// charge takes the cost of a tick that is not metered.
func (a *account) charge(elapsed time.Duration) int64 {
	return a.meter(uint64(max(0, elapsed)), 0).Cost
}

// sum is the account as it is computed with.
func (a *account) sum() money.Account {
	return money.Account{Budget: a.budget, Price: a.price, Rest: a.rest}
}

func (a *account) set(sum money.Account) { *a = account{sum.Budget, sum.Price, sum.Rest} }

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

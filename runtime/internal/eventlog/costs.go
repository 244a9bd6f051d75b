package eventlog

import (
	"errors"
	"fmt"

	"igor.dev/runtime/internal/account"
	"igor.dev/verifier"
)

// Metered is what a part of a life took, and what that cost.
type Metered = account.Metered

// A CostError is a cost that is not that of what was counted.
type CostError struct {
	Tick          uint64
	Checkpoint    bool // the cost is of the checkpoint after the tick
	Recorded, Got Metered
}

func (e *CostError) Error() string {
	of := ""
	if e.Checkpoint {
		of = ", the checkpoint after it"
	}
	if e.Recorded.StoredPrice > 0 {
		return fmt.Sprintf("tick %d%s: recorded is %s, and %d units of fuel, and %d bytes at %s for 10^9, come to %s",
			e.Tick, of, Price(e.Recorded), e.Recorded.Fuel, e.Recorded.Stored, verifier.FormatMicrocents(e.Recorded.StoredPrice), Price(e.Got))
	}
	return fmt.Sprintf("tick %d%s: recorded is %s, and %d units of fuel and %d ns of waiting come to %s",
		e.Tick, of, Price(e.Recorded), e.Recorded.Fuel, e.Recorded.Waited, Price(e.Got))
}

// Price says in words what something cost.
func Price(m Metered) string {
	return fmt.Sprintf("a cost of %s and a rest of %d", verifier.FormatMicrocents(m.Cost), m.Rest)
}

// Metered returns what a tick took, of a TickEnd or TickFailed of version 2.
func (r *Record) Metered() Metered {
	return Metered{Fuel: r.Fuel, Waited: r.Waited, Rest: r.Rest, Cost: r.Cost}
}

// SetMetered sets it.
func (r *Record) SetMetered(m Metered) {
	r.Fuel, r.Waited, r.Rest, r.Cost = m.Fuel, m.Waited, m.Rest, m.Cost
}

// Apply does to an account what a record of version 2 says, and fails with a
// [*CostError] where that is not what it has to be.
func (r *Record) Apply(a *account.Account) error {
	switch r.Kind {
	case TickEnd, TickFailed:
		return applied(a, &CostError{Tick: r.Tick, Recorded: r.Metered()})
	case Account:
		a.Price = r.Price
		return a.Add(r.Amount)
	}
	if r.Spent > a.Budget {
		return errOverspent
	}
	a.Budget -= r.Spent
	return nil
}

// Apply takes what the checkpoint cost that is made after a tick.
func (s *Seal) Apply(a *account.Account, tick uint64) error {
	return applied(a, &CostError{Tick: tick, Checkpoint: true, Recorded: s.Metered})
}

func applied(a *account.Account, e *CostError) error {
	if r := &e.Recorded; e.Checkpoint {
		e.Got = a.Store(r.Fuel, r.Stored, r.StoredPrice)
	} else {
		e.Got = a.Meter(r.Fuel, r.Waited)
	}
	if e.Got != e.Recorded {
		return e
	}
	return nil
}

var errOverspent = errors.New("the records spend more than there was")

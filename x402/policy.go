package x402

import (
	"fmt"
	"slices"

	"igor.dev/x402/evm"
)

// A Policy is what may be paid. What it does not name is not paid: the zero policy
// allows nothing.
type Policy struct {
	Networks   []uint64      // chains
	Assets     []evm.Address // tokens with 6 decimals: an amount of them is microcents
	Recipients []evm.Address
	MaxPayment int64 // of one payment, in base units
	MaxPerDay  int64 // of all that began in the last 24 hours
}

// A RefusedError is why nothing that a server offers may be paid.
type RefusedError struct{ Reasons []string }

func (e *RefusedError) Error() string {
	if len(e.Reasons) == 0 {
		return "it offers no way to pay"
	}
	s := "no way to pay that it offers is allowed: " + e.Reasons[0]
	if n := len(e.Reasons) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Choose returns the cheapest offer that the policy allows, the first of several, or
// a [*RefusedError]. today is what began to be paid in the last 24 hours, budget what
// there is.
func (p *Policy) Choose(r *Required, today, budget int64) (*Offer, error) {
	refused := &RefusedError{Reasons: slices.Clone(r.Skipped)}
	var best *Offer
	for i := range r.Offers {
		o := &r.Offers[i]
		if reason := p.refuses(o, today, budget); reason != "" {
			refused.Reasons = append(refused.Reasons, reason)
		} else if best == nil || o.Amount < best.Amount {
			best = o
		}
	}
	if best == nil {
		return nil, refused
	}
	return best, nil
}

func (p *Policy) refuses(o *Offer, today, budget int64) string {
	switch {
	case !slices.Contains(p.Networks, o.Chain):
		return fmt.Sprintf("network %s is not one that the manifest names", o.Network())
	case !slices.Contains(p.Assets, o.Asset):
		return fmt.Sprintf("asset %s is not one that the manifest names", o.Asset)
	case !slices.Contains(p.Recipients, o.PayTo):
		return fmt.Sprintf("recipient %s is not one that the manifest names", o.PayTo)
	case o.Amount <= 0 || o.Amount > p.MaxPayment:
		return fmt.Sprintf("it asks for %d microcents, and the manifest allows %d", o.Amount, p.MaxPayment)
	case today < 0 || o.Amount > p.MaxPerDay-today: // neither is negative, so this is in range
		return fmt.Sprintf("it asks for %d microcents, and of the %d that the manifest allows in a day %d are spent", o.Amount, p.MaxPerDay, today)
	case o.Amount > budget:
		return fmt.Sprintf("it asks for %d microcents, and the budget has %d", o.Amount, budget)
	}
	return ""
}

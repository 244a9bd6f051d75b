package authority

import "math"

// A Step says what an append does.
type Step uint8

// The steps. Each is one append.
const (
	Begins    Step = iota + 1 // the agent comes under this authority
	Proceeds                  // its life went on
	Claims                    // another process of the same owner goes on with it
	TakesOver                 // another owner does, since the owner is gone
	Offers                    // its owner stops, and gives it away
	Withdraws                 // its owner does not, after all
	HandsOver                 // it was given to another owner
	Retires                   // it is not lived on
	Disputes                  // which position counts has to be said by an operator
	Settles                   // who did
)

var stepNames = [...]string{Begins: "begins", Proceeds: "proceeds", Claims: "claims", TakesOver: "takes over", Offers: "offers",
	Withdraws: "withdraws", HandsOver: "hands over", Retires: "retires", Disputes: "disputes", Settles: "settles"}

// String returns the step in words.
func (s Step) String() string {
	if s < Begins || s > Settles {
		return "no step"
	}
	return stepNames[s]
}

// Allows says whether next may follow p, and what that does. The zero Position allows a
// beginning. The error is a [*RuleError].
//
//	                Claims, TakesOver
//	               ┌───┐
//	         Begins▼   │ Offers ──▶            HandsOver, Withdraws, TakesOver ──▶
//	(none) ──────▶ Active ──────────▶ HandingOver ──────────────────────────▶ Active
//	 Proceeds ──▶   │ └──Disputes──┐     │   │
//	                │ Retires      ▼     │   │ Retires
//	                ▼        Recovery ◀──┘   ▼
//	             Retired ◀──────┘ │        Retired
//	                              └─ Settles ──▶ Active
//
// Retired is the end.
func (p *Position) Allows(next *Position) (Step, error) {
	if err := next.check(); err != nil {
		return 0, &RuleError{err.Error()}
	}
	same := func(a, b *Position) bool {
		return a.Head == b.Head && a.Journal == b.Journal && a.Log == b.Log && a.Paid == b.Paid
	}
	rule := func(ok bool, step Step, reason string) (Step, error) {
		if !ok {
			return 0, &RuleError{reason}
		}
		return step, nil
	}
	if p.IsZero() {
		return rule(next.State == Active && next.Sequence == 1, Begins, "a beginning is active, and has the number 1")
	}
	still := same(p, next)
	epoch := p.Major == next.Major && p.Generation == next.Generation
	mine := epoch && p.Owner == next.Owner && p.Writer == next.Writer // the same process goes on
	switch {
	case p.State == Retired:
		return 0, &RuleError{"the agent is retired"}
	case p.Sequence == math.MaxUint64 || next.Sequence != p.Sequence+1:
		return 0, &RuleError{"its number is not the next one"}
	case next.State == Retired:
		return rule(mine && (still || p.State == Active), Retires, "only its owner retires an agent, with nothing but a last checkpoint")
	case next.State == Recovery:
		return rule(p.State != Recovery && still && epoch && p.Owner == next.Owner, Disputes, "a dispute changes nothing else")
	case next.State == HandingOver:
		return rule(p.State == Active && mine, Offers, "only its owner gives an agent away, and once")
	case p.State == Recovery:
		return rule(p.Major == next.Major && p.Generation+1 == next.Generation && p.Writer != next.Writer, Settles, "after a recovery, a new process of a new generation goes on")
	case mine && p.State == Active:
		return Proceeds, nil
	case mine:
		return rule(still, Withdraws, "an offer that is withdrawn changes nothing")
	case !still || p.Writer == next.Writer:
		return 0, &RuleError{"another process goes on from where the agent is, under an identifier of its own"}
	case p.Owner == next.Owner:
		return rule(epoch, Claims, "an owner that goes on counts nothing")
	case p.Major == next.Major && p.Generation+1 == next.Generation:
		return TakesOver, nil
	case p.State == HandingOver && p.Major+1 == next.Major && p.Generation == next.Generation:
		return rule(p.Record == next.Record, HandsOver, "the record of the hand-over is not that of the offer")
	}
	return 0, &RuleError{"another owner counts one more takeover, or, where the agent is handed over, one more hand-over"}
}

package eventlog

import (
	"errors"
	"fmt"
	"math"
)

// Totals are what the records of a segment come to, in microcents.
type Totals struct {
	Ticks   uint64 // that ended, or failed; agent_init is none
	Failed  uint64 // of them
	Last    uint64 // the tick that ended last
	Elapsed uint64 // nanoseconds, or in version 2 units of fuel and nanoseconds that were waited
	Fuel    uint64 // of that
	Waited  uint64
	Added   int64 // to the budget
	Cost    int64 // of the ticks
	Spent   int64 // by calls
	Price   int64 // per second, if Priced
	Priced  bool  // an account record says the price
	Records uint64
	Files   uint64  // bytes of payloads that are files of their own, of each record that names one
	Origin  *Record // of a fork
	Upgrade *Record // where the program or the manifest is a new one

	version uint8
	first   uint64 // tick
	born    bool   // the first record is a birth
	ended   bool   // a tick ended
	failed  bool   // the last one did
	tick    uint64 // of the last record
	waited  uint64 // by the calls of the tick that runs
	begun   bool   // of a tick that has no end, something but money or an upgrade is recorded
	repeat  repeat
}

func newTotals(h *Header) Totals {
	return Totals{version: h.Version, first: h.First, tick: h.First, repeat: repeat{rest: h.Rest}}
}

// next is the tick of the record that comes next, in version 2.
func (t *Totals) next() uint64 {
	if t.ended {
		return t.Last + 1
	}
	return t.first
}

// Begun reports whether something was observed of a tick that has no end.
func (t *Totals) Begun() bool { return t.begun }

// EndsFailed reports whether the last record is of a tick that failed.
func (t *Totals) EndsFailed() bool { return t.failed }

// add counts a record. The ticks are to come in order, and a tick's end last. The
// origin of a fork stands for all ticks up to its own, and comes after its birth. An
// upgrade comes first, and after a tick that failed there is nothing.
func (t *Totals) add(r *Record) error {
	switch {
	case t.failed:
		return fmt.Errorf("a record after tick %d, which failed", t.Last)
	case r.Kind == Origin && !(t.born && t.Records == 1):
		return errors.New("an origin that does not come directly after a birth")
	case r.Kind == Upgrade && t.Records > 0:
		return errors.New("an upgrade that does not come first")
	case t.Records > 0 && r.Tick < t.tick:
		return fmt.Errorf("a record of tick %d after one of tick %d", r.Tick, t.tick)
	case t.ended && r.Tick != t.Last+1:
		return fmt.Errorf("a record of tick %d after the end of tick %d", r.Tick, t.Last)
	case t.Records > 0 && !t.ended && r.Tick != t.tick:
		return fmt.Errorf("tick %d has no end", t.tick)
	case t.version != Version1 && t.Records == 0 && r.Tick != t.first:
		return fmt.Errorf("the first record is of tick %d, and the segment begins with tick %d", r.Tick, t.first)
	case t.version != Version1 && r.Tick == math.MaxUint64:
		return errors.New("there are no more ticks")
	}
	end := r.Kind == TickEnd || r.Kind == TickFailed
	if end && r.Waited != t.waited {
		return fmt.Errorf("tick %d waited %d ns, and its calls %d ns", r.Tick, r.Waited, t.waited)
	}
	sum := *t
	units := r.Fuel + r.Waited // MaxUnits each
	var over [4]bool
	sum.Added, over[0] = plus(t.Added, r.Amount)
	sum.Cost, over[1] = plus(t.Cost, r.Cost)
	sum.Spent, over[2] = plus(t.Spent, r.Spent)
	over[3] = r.Elapsed > math.MaxUint64-t.Elapsed || units > math.MaxUint64-t.Elapsed || t.waited > MaxUnits
	if over != [4]bool{} {
		return errors.New("the sums are too large")
	}
	sum.Records, sum.tick = t.Records+1, r.Tick
	sum.Files = t.Files + r.Request.file() + r.Result.file()
	sum.begun = !end && r.Kind != Origin && r.Kind != Upgrade && (t.begun || r.Kind != Account)
	if sum.waited += r.Waited; end {
		sum.waited = 0
	}
	switch r.Kind {
	case TickEnd, TickFailed:
		sum.Elapsed += r.Elapsed + units
		sum.Fuel += r.Fuel
		sum.Waited += r.Waited
		sum.Last, sum.ended = r.Tick, true
		if r.Tick > 0 {
			sum.Ticks++
		}
		if r.Kind == TickFailed {
			if r.Tick == 0 {
				return errors.New("a life that was never born")
			}
			sum.Failed++
			sum.failed = true
		}
	case Account:
		sum.Price, sum.Priced = r.Price, true
		if t.Records == 0 {
			sum.born = r.Reason == Birth
		}
	case Origin:
		origin := *r
		sum.Origin, sum.Last, sum.ended = &origin, r.Tick, true
	case Upgrade:
		upgrade := *r
		sum.Upgrade = &upgrade
	}
	sum.repeat.add(r)
	*t = sum
	return nil
}

// seal counts what the checkpoint cost.
func (t *Totals) seal(s *Seal) error {
	var over bool
	if t.Cost, over = plus(t.Cost, s.Cost); over || s.Fuel > math.MaxUint64-t.Elapsed {
		return errors.New("the sums are too large")
	}
	t.Elapsed += s.Fuel
	t.Fuel += s.Fuel
	return nil
}

func plus(a, b int64) (sum int64, over bool) { return a + b, b > math.MaxInt64-a }

// Budget returns what is left of a budget.
func (t *Totals) Budget(before int64) (int64, error) {
	// Added first, and each step checked: a tick never spends what is not there.
	budget, over := plus(before, t.Added)
	if over || budget < t.Cost || budget-t.Cost < t.Spent {
		return 0, errOverspent
	}
	return budget - t.Cost - t.Spent, nil
}

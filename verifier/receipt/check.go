package receipt

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"igor.dev/verifier"
	"igor.dev/verifier/internal/sha2"
)

// A Code is the stable name of a kind of problem. See docs/spec/receipts.md, "Checking".
type Code string

// The problem codes.
const (
	WeakKey            Code = "weak-key"
	BadSignature       Code = "bad-signature"
	NegativeAmount     Code = "negative-amount"
	IdentityMismatch   Code = "identity-mismatch"
	Conflict           Code = "conflict"
	CheckpointMismatch Code = "checkpoint-mismatch"
	BudgetMismatch     Code = "budget-mismatch"
	TickMismatch       Code = "tick-mismatch"
	UnknownCheckpoint  Code = "unknown-checkpoint"
	MissingReceipt     Code = "missing-receipt"
)

// Incomplete reports whether the problem is that something was not supplied.
func (c Code) Incomplete() bool { return c == UnknownCheckpoint || c == MissingReceipt }

// A Problem is one thing that is wrong or missing.
type Problem struct {
	Code Code
	// Index says of which receipt, by the order in which they were added, from 0;
	// -1 if of none.
	Index   int
	Tick    uint64
	Message string
}

// MaxReceipts is how many receipts a Checker takes.
const MaxReceipts = 1 << 24

// A Checker holds receipts against one another and against the checkpoints of
// their agent. The zero value is ready. The order in which things are added does
// not change the verdict.
type Checker struct {
	Agent *verifier.PublicKey // whose receipts they have to be, nil = not pinned

	receipts    []entry
	checkpoints map[verifier.Hash]checkpoint
}

type entry struct {
	index   int
	hash    [sha2.Size256]byte
	receipt Receipt
}

type checkpoint struct {
	agent         verifier.PublicKey
	prev          verifier.Hash
	tick          uint64
	budget, price int64
}

// Add adds a receipt.
func (c *Checker) Add(r Receipt) error {
	if len(c.receipts) >= MaxReceipts {
		return errors.New("too many receipts: at most " + strconv.Itoa(MaxReceipts))
	}
	c.receipts = append(c.receipts, entry{len(c.receipts), sha2.Sum256(r.Append(nil)), r})
	return nil
}

// AddCheckpoint adds what examining a checkpoint found. One that is not authentic
// is not believed, so that its receipt has no checkpoint: to verify the history itself is
// package verifier's part.
func (c *Checker) AddCheckpoint(f *verifier.Finding) {
	if c.checkpoints == nil {
		c.checkpoints = make(map[verifier.Hash]checkpoint) // so that the receipts are held to checkpoints, if to none
	}
	if !f.Authentic() {
		return
	}
	c.checkpoints[f.ContentHash] = checkpoint{f.AgentPubKey, f.PrevHash, f.TickNumber, f.Budget, f.PricePerSecond}
}

// A Report says what checking found.
type Report struct {
	Verdict    verifier.Verdict
	Agent      *verifier.PublicKey // whose receipts they have to be, nil if nothing says so
	Pinned     bool                // the caller said it
	Lives      []Life              // whose what is authentic is, the agent with most of it first
	Problems   []Problem
	Receipts   int // without duplicates
	Executions int // authentic ones
	Payments   int // authentic ones
	Onchains   int // authentic ones
	Rents      int // authentic ones
	Duplicates int

	// Lived are the authentic executions of the agent, by tick, and Bought its authentic
	// payments, by time.
	Lived  []*Execution
	Bought []*Payment

	// Moved are the agent's authentic receipts of payments on chains, by time. That they
	// are on the chain, only the chain says.
	Moved []*Onchain

	// Rented are the agent's authentic receipts for rent, by time. That it was paid on the
	// chain, only the chain says.
	Rented []*Rent

	// Sums over the authentic executions. Valid unless the verdict is Invalid.
	Added, Cost, Paid Sum
}

// A Life is what is authentic of one agent.
type Life struct {
	Agent       verifier.PublicKey
	Checkpoints int
	Receipts    int
}

type checking struct {
	Report
	by map[verifier.Hash]*Execution // authentic, by checkpoint
}

func (c *checking) found(code Code, e *entry, tick uint64, message string) {
	index := -1
	if e != nil {
		index = e.index
	}
	c.Problems = append(c.Problems, Problem{code, index, tick, message})
}

// Check gives the report. Of nothing there is none: an error.
func (c *Checker) Check() (*Report, error) {
	if len(c.receipts) == 0 {
		return nil, errors.New("there are no receipts to verify")
	}
	k := &checking{by: make(map[verifier.Hash]*Execution)}
	authentic := c.authentic(k)
	k.Lives = c.lives(authentic)
	agent := c.Agent
	if agent == nil && len(k.Lives) > 0 {
		agent = &k.Lives[0].Agent
	}
	k.Agent, k.Pinned = agent, c.Agent != nil
	for _, l := range k.Lives {
		if l.Checkpoints > 0 && l.Agent != *agent {
			k.found(IdentityMismatch, nil, 0, "checkpoints that were supplied are those of "+l.Agent.DID()+" ("+strconv.Itoa(l.Checkpoints)+"), not of "+agent.DID())
		}
	}
	nonces, moved := make(map[[32]byte]bool), make(map[[32]byte]bool)
	rented, paidUp := make(map[authorization]bool), make(map[period]bool)
	after := make(map[verifier.Hash]bool) // predecessors that have a receipt after them
	var executions []*entry
	for i := range authentic {
		e := &authentic[i]
		if got := e.receipt.AgentKey(); got != *agent {
			k.found(IdentityMismatch, e, tickOf(e.receipt), "the receipt is one of "+got.DID()+", not of "+agent.DID())
			continue
		}
		switch r := e.receipt.(type) {
		case *Execution:
			k.Executions++
			if k.by[r.Checkpoint] != nil {
				k.found(Conflict, e, r.Tick, "there is another receipt for the same checkpoint, "+r.Checkpoint.CID())
				continue
			}
			if after[r.Prev] {
				k.found(Conflict, e, r.Tick, "there is a receipt for another checkpoint after the same one")
			}
			k.by[r.Checkpoint], after[r.Prev] = r, true
			k.Lived = append(k.Lived, r)
			if min(r.Price, r.Added, r.Cost, r.Paid, r.Budget) < 0 {
				k.found(NegativeAmount, e, r.Tick, "an amount of the receipt is negative")
				continue
			}
			executions = append(executions, e)
		case *Payment:
			k.Payments++
			k.Bought = append(k.Bought, r)
			if nonces[r.Nonce] {
				k.found(Conflict, e, 0, "there is another payment with the same nonce")
			}
			nonces[r.Nonce] = true
			if r.Amount < 0 {
				k.found(NegativeAmount, e, 0, "the amount of the payment is negative")
			}
		case *Onchain:
			k.Onchains++
			k.Moved = append(k.Moved, r)
			if moved[r.Nonce] {
				k.found(Conflict, e, 0, "there is another payment on a chain with the same nonce")
			}
			moved[r.Nonce] = true
			if r.Amount < 0 {
				k.found(NegativeAmount, e, 0, "the amount of the payment is negative")
			}
		case *Rent:
			k.Rents++
			k.Rented = append(k.Rented, r)
			by := authorization{r.Chain, r.Asset, r.From, r.Nonce}
			if rented[by] {
				k.found(Conflict, e, 0, "there is another receipt for rent by the same payment on a chain")
			}
			rented[by] = true
			if !r.Lease() {
				if paidUp[period{r.Node, r.Prev}] {
					k.found(Conflict, e, 0, "the node has another receipt for rent after the same one")
				}
				paidUp[period{r.Node, r.Prev}] = true
			}
			if r.Amount < 0 {
				k.found(NegativeAmount, e, 0, "the amount of the rent is negative")
			}
		}
	}
	for _, e := range executions {
		c.execution(k, e)
	}
	c.missing(k)
	slices.SortStableFunc(k.Bought, func(a, b *Payment) int { return cmp.Compare(a.Time, b.Time) })
	slices.SortStableFunc(k.Moved, func(a, b *Onchain) int { return cmp.Compare(a.Time, b.Time) })
	slices.SortStableFunc(k.Rented, func(a, b *Rent) int { return cmp.Compare(a.Time, b.Time) })
	k.Verdict = verifier.Verified
	for _, p := range k.Problems {
		if !p.Code.Incomplete() {
			k.Verdict = verifier.Invalid
			break
		}
		k.Verdict = verifier.Incomplete
	}
	return &k.Report, nil
}

// An authorization is what moves a token once.
type authorization struct {
	chain       uint64
	asset, from [20]byte
	nonce       [32]byte
}

// A period is what a node was paid after.
type period struct {
	node verifier.PublicKey
	prev verifier.Hash
}

// authentic returns the distinct receipts whose signatures are good, by tick and
// then by their bytes' hash.
func (c *Checker) authentic(k *checking) []entry {
	all := slices.Clone(c.receipts)
	slices.SortStableFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(tickOf(a.receipt), tickOf(b.receipt)), bytes.Compare(a.hash[:], b.hash[:]))
	})
	distinct := slices.CompactFunc(all, func(a, b entry) bool { return a.hash == b.hash })
	k.Receipts, k.Duplicates = len(distinct), len(c.receipts)-len(distinct)
	return slices.DeleteFunc(distinct, func(e entry) bool {
		switch {
		case e.receipt.Signer().Weak():
			k.found(WeakKey, &e, tickOf(e.receipt), "anybody can sign for this key")
		case !e.receipt.Authentic():
			k.found(BadSignature, &e, tickOf(e.receipt), e.receipt.Signer().DID()+" did not sign the receipt")
		default:
			return false
		}
		return true
	})
}

// lives counts what is authentic of each agent, as lineage.md's rule 3 does: the agent with
// most is first; of several with as many, the one of the first checkpoint, or else receipt.
func (c *Checker) lives(authentic []entry) []Life {
	type first struct {
		receipt bool
		tick    uint64
		hash    verifier.Hash
	}
	compare := func(a, b first) int {
		if a.receipt != b.receipt {
			if b.receipt {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.tick, b.tick), bytes.Compare(a.hash[:], b.hash[:]))
	}
	lives, firsts := make(map[verifier.PublicKey]*Life), make(map[verifier.PublicKey]first)
	count := func(agent verifier.PublicKey, f first) *Life {
		if lives[agent] == nil {
			lives[agent], firsts[agent] = &Life{Agent: agent}, f
		} else if compare(f, firsts[agent]) < 0 {
			firsts[agent] = f
		}
		return lives[agent]
	}
	for hash, at := range c.checkpoints {
		count(at.agent, first{false, at.tick, hash}).Checkpoints++
	}
	for _, e := range authentic {
		count(e.receipt.AgentKey(), first{true, tickOf(e.receipt), e.hash}).Receipts++
	}
	all := make([]Life, 0, len(lives))
	for _, l := range lives {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b Life) int {
		return cmp.Or(cmp.Compare(b.Checkpoints+b.Receipts, a.Checkpoints+a.Receipts), compare(firsts[a.Agent], firsts[b.Agent]))
	})
	return all
}

func tickOf(r Receipt) uint64 {
	if e, ok := r.(*Execution); ok {
		return e.Tick
	}
	return 0
}

// execution holds one receipt against its checkpoint and what is before it.
func (c *Checker) execution(k *checking, e *entry) {
	r := e.receipt.(*Execution)
	at, supplied := c.checkpoints[r.Checkpoint]
	switch {
	case c.checkpoints != nil && !supplied:
		k.found(UnknownCheckpoint, e, r.Tick, "its checkpoint, "+r.Checkpoint.CID()+", was not supplied")
	case supplied && (at.prev != r.Prev || at.tick != r.Tick || at.budget != r.Budget || at.price != r.Price):
		k.found(CheckpointMismatch, e, r.Tick, "its predecessor, tick, budget or price is not that of its checkpoint")
	}
	k.Added.Add(r.Added)
	k.Cost.Add(r.Cost)
	k.Paid.Add(r.Paid)
	var before checkpoint
	if !r.Prev.IsZero() {
		var ok bool
		if before, ok = c.checkpoints[r.Prev]; !ok {
			prev := k.by[r.Prev]
			if prev == nil { // what is missing is said elsewhere
				if r.Ticks > r.Tick || r.Ticks == 0 {
					k.found(TickMismatch, e, r.Tick, "it is for "+strconv.FormatUint(r.Ticks, 10)+" ticks after a checkpoint, and the whole life has "+strconv.FormatUint(r.Tick, 10))
				}
				return
			}
			before = checkpoint{tick: prev.Tick, budget: prev.Budget}
		}
	}
	// A genesis may have no ticks: a fork's origin paid for those before. Between two
	// checkpoints there are some, so that there is no circle of receipts.
	forked := r.Prev.IsZero() && r.Ticks == 0
	none := !r.Prev.IsZero() && r.Ticks == 0
	if !forked && (none || r.Tick < before.tick || r.Ticks != r.Tick-before.tick) {
		k.found(TickMismatch, e, r.Tick, "it is for "+strconv.FormatUint(r.Ticks, 10)+" ticks, and they go from "+
			strconv.FormatUint(before.tick, 10)+" to "+strconv.FormatUint(r.Tick, 10))
	}
	// before + added = cost + paid + budget, without overflow. A checkpoint's may be negative.
	if before.budget < 0 || sum(before.budget, r.Added) != sum(r.Cost, r.Paid, r.Budget) {
		k.found(BudgetMismatch, e, r.Tick, verifier.FormatMicrocents(before.budget)+" before and "+verifier.FormatMicrocents(r.Added)+
			" added are not "+verifier.FormatMicrocents(r.Cost)+" cost, "+verifier.FormatMicrocents(r.Paid)+" paid and "+
			verifier.FormatMicrocents(r.Budget)+" left")
	}
}

// missing names what has no receipt: every checkpoint supplied, or else every
// predecessor that a receipt names.
func (c *Checker) missing(k *checking) {
	type gap struct {
		tick uint64
		hash verifier.Hash
	}
	var gaps []gap
	for hash, at := range c.checkpoints {
		if k.by[hash] == nil {
			gaps = append(gaps, gap{at.tick, hash})
		}
	}
	seen := make(map[verifier.Hash]bool)
	for _, r := range k.Lived {
		if _, supplied := c.checkpoints[r.Prev]; !supplied && !r.Prev.IsZero() && k.by[r.Prev] == nil && !seen[r.Prev] {
			seen[r.Prev] = true
			gaps = append(gaps, gap{r.Tick - min(r.Tick, r.Ticks), r.Prev})
		}
	}
	slices.SortFunc(gaps, func(a, b gap) int {
		return cmp.Or(cmp.Compare(a.tick, b.tick), bytes.Compare(a.hash[:], b.hash[:]))
	})
	for _, g := range gaps {
		k.found(MissingReceipt, nil, g.tick, "there is no receipt for checkpoint "+g.hash.CID())
	}
}

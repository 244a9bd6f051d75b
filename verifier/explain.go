package verifier

import (
	"iter"
	"strconv"
)

// A Problem is something that keeps a history from being verified, in words.
type Problem struct {
	Code     Code
	Name     string // of the file, "" where no one checkpoint is meant
	Tick     string // claimed, decimal; "" where it could not be read
	Message  string // a sentence that a person understands
	Expected string // "" where there is nothing to compare
	Found    string
}

// NumProblems returns how many problems there are.
func (r *Report) NumProblems() int { return len(r.problems) }

// Problems returns every problem, the first cause first.
func (r *Report) Problems() iter.Seq[Problem] {
	return func(yield func(Problem) bool) {
		for _, q := range r.problems {
			if !yield(r.explain(q)) {
				return
			}
		}
	}
}

func (r *Report) explain(q problem) Problem {
	e := Problem{Code: q.code}
	c := &record{}
	if q.at != none {
		c = r.pile.at(q.at)
		e.Name = r.pile.name(c)
		if c.problems.parsed() {
			e.Tick = strconv.FormatUint(c.tick, 10)
		}
	}
	switch q.code {
	case Empty:
		e.Message = "this file is empty"
		e.Expected, e.Found = byteCount(HeaderSize)+" or more", byteCount(0)
	case Truncated:
		e.Message = "this file is cut short: it ends inside its header"
		e.Expected = byteCount(headerSize(c.version)) + " or more"
		e.Found = byteCount(int(c.size))
	case UnsupportedVersion:
		e.Message = "this file is not a checkpoint of a version that can be verified, or not a checkpoint at all"
		if k := c.kind; k != KindOther && k != KindText && k.Next() != "" {
			e.Message = "this is " + k.What() + " and no checkpoint: " + k.Next()
		} else if k == KindCAR || k == KindCARv2 {
			e.Message = "this is a CAR and no checkpoint: name it *.car"
		}
		e.Expected, e.Found = versionString(Version4), versionString(c.version)
	case UnsignedVersion:
		e.Message = "checkpoints of this version carry no signature and no lineage, so nothing in it can be verified"
		e.Expected, e.Found = versionString(Version4), versionString(c.version)
	case NegativeBudget:
		e.Message = "a budget is never negative"
		e.Expected, e.Found = "0 or more", strconv.FormatInt(c.budget, 10)
	case NegativePrice:
		e.Message = "a price is never negative"
		e.Expected, e.Found = "0 or more", strconv.FormatInt(c.price, 10)
	case WeakKey:
		e.Message = "this public key is one for which anybody can make signatures, so its signature means nothing"
		e.Expected = "a canonical key that is not of small order"
		e.Found = r.keyOf(c).String()
	case BadSignature:
		e.Message = "the signature does not fit the content: the file was changed after it was signed, or was not signed by this key"
		e.Expected = "a signature by " + r.keyOf(c).DID()
		e.Found = "a signature that does not verify"
	case IdentityMismatch:
		if q.other == none {
			e.Message = "this history is not by the agent that was expected"
			e.Expected = r.pins.DID.DID()
			if k, ok := r.Key(); ok {
				e.Found = k.DID()
			}
			break
		}
		e.Message = "this checkpoint is by another key than the rest of the history"
		if r.spec > 1 && r.pins.DID == nil {
			e.Message = "this checkpoint is by another key than others here, and no DID was pinned that says which it has to be"
		}
		e.Expected = r.keyOf(r.pile.at(q.other)).DID()
		e.Found = r.keyOf(c).DID()
	case Fork:
		r.explainFork(&e, c, r.pile.at(q.other))
	case TickOrder:
		before := r.pile.at(q.other)
		tick := strconv.FormatUint(before.tick, 10)
		e.Message = "ticks only go up, but its predecessor " + r.pile.name(before) + " is already at tick " + tick
		e.Expected, e.Found = "a tick above "+tick, e.Tick
	case MissingGenesis:
		e.Message = "the beginning of this life was not supplied: no genesis is there, and this is the earliest checkpoint"
		if !c.prevHash.IsZero() {
			e.Expected = "its predecessor " + c.prevHash.CID()
			e.Found = r.presence(c)
		}
	case Gap:
		e.Message = "the checkpoint before this one was not supplied, or not as it was when this one was signed"
		e.Expected = "its predecessor " + c.prevHash.CID()
		e.Found = r.presence(c)
	case HeadNotFound:
		e.Message = "the expected head was not supplied: the history was cut before it, or it is another history"
		e.Expected = r.pins.Head.CID()
		if h, ok := r.Head(); ok {
			e.Found = "a history that ends at " + h.CID()
		}
	case NotWitnessed:
		e.Message = "the head of this history is not shown to be in a log as the policy demands"
		e.Expected = "a proof for the head"
		if h, ok := r.Head(); ok {
			e.Expected += " " + h.CID()
		}
		e.Found = r.unwitnessed(r.byMonitor)
	}
	return e
}

func (r *Report) explainFork(e *Problem, c, first *record) {
	name := r.pile.name(first)
	key := r.keyOf(c) == r.keyOf(first)
	switch {
	case c.prevHash.IsZero() && key:
		e.Message = "this key began two lives: this genesis and " + name + " (evidence of equivocation)"
	case c.prevHash.IsZero():
		e.Message = "two lives are mixed: this genesis is by another key than the genesis " + name
	case key:
		e.Message = "this key signed two futures: this checkpoint and " + name + " have the same predecessor (evidence of equivocation)"
	default:
		e.Message = "two keys continue the same checkpoint: this one and " + name + " have the same predecessor"
	}
	e.Expected = "only " + first.contentHash.CID()
	e.Found = "also " + c.contentHash.CID()
}

// presence says what is there in the place of c's predecessor.
func (r *Report) presence(c *record) string {
	if _, ok := r.pile.find(c.prevHash); ok {
		return "one from which no genesis is reached"
	}
	return "no supplied file with that content"
}

func (r *Report) keyOf(c *record) PublicKey { return r.pile.keys.values[c.key] }

// Proves says in one sentence what the report proves.
func (r *Report) Proves() string {
	if !r.unbroken() {
		if r.valid == 0 {
			return "Nothing: no supplied checkpoint has a valid signature."
		}
		signed := "Only that " + checkpointCount(r.valid) + " of " + strconv.Itoa(r.pile.n)
		if r.valid == 1 {
			signed += " has"
		} else {
			signed += " have"
		}
		signed += " a valid signature"
		if r.verdict == Incomplete {
			return signed + " by " + r.did() + " and that nothing supplied contradicts the rest; not that they are a whole life."
		}
		return signed + "; not that they are a life."
	}
	genesis, _ := r.Genesis()
	s := "The holder of the key of " + r.did() + " signed " + checkpointCount(r.pile.n) +
		", and they are one unbroken life from its genesis " + genesis.CID() + " to tick " + strconv.FormatUint(r.lastTick, 10)
	if r.pins.Head != nil {
		s += ", the expected head included"
	}
	return s + "."
}

// DoesNotProve says in one sentence what the report does not prove.
func (r *Report) DoesNotProve() string {
	if r.verdict == Invalid {
		return "This history must not be relied on: something supplied is wrong."
	}
	s := "It does not prove "
	if r.pins.DID == nil {
		s += "who holds this key (no DID was pinned, and anybody can make a fresh key and a perfect history), "
	}
	if r.pins.Head == nil {
		s += "that no newer checkpoint exists (no head was pinned, and a history cut at its end also verifies), "
	} else {
		s += "that no checkpoint newer than these exists, "
	}
	return s + "that the holder never signed another history, or that the states are right."
}

func (r *Report) did() string {
	k, _ := r.Key()
	return k.DID()
}

func checkpointCount(n int) string {
	if n == 1 {
		return "1 checkpoint"
	}
	return strconv.Itoa(n) + " checkpoints"
}

func byteCount(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return strconv.Itoa(n) + " bytes"
}

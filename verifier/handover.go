package verifier

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"igor.dev/verifier/internal/rfc8032"
	"igor.dev/verifier/internal/sha2"
)

// A HandOver is the record of an agent's move from one node to another: both sides
// signed it, the node that took it first, then the agent's key. See
// docs/spec/handover.md.
type HandOver struct {
	Genesis        Hash      // of the life
	Head           Hash      // the last checkpoint that From made
	From, To       PublicKey // nodes
	Number         uint64    // of the hand-over, from 1: the life's majorVersion after it
	Sealed         Hash      // SHA-256 of the agent's key, sealed to To; zero = To has it already
	ToSignature    [64]byte  // by To, over all before
	AgentSignature [64]byte  // by the agent's key, over all before
}

const handOverTag = "igor/handover/v1\x00"

// Sizes of a hand-over record, and of what its parties sign.
const (
	HandOverMessageSize = len(handOverTag) + 4*32 + 8 + 32
	HandOverSize        = HandOverMessageSize + 2*64

	// MaxHandOvers is how many records a history may have with it.
	MaxHandOvers = 1 << 16
)

// AppendMessage appends the bytes that the node signs which takes the agent.
func (h *HandOver) AppendMessage(dst []byte) []byte {
	dst = append(dst, handOverTag...)
	for _, b := range [][]byte{h.Genesis[:], h.Head[:], h.From[:], h.To[:]} {
		dst = append(dst, b...)
	}
	return append(appendLE64(dst, h.Number), h.Sealed[:]...)
}

// AppendCountersigned appends the bytes that the agent's key signs.
func (h *HandOver) AppendCountersigned(dst []byte) []byte {
	return append(h.AppendMessage(dst), h.ToSignature[:]...)
}

// Append appends the record.
func (h *HandOver) Append(dst []byte) []byte {
	return append(h.AppendCountersigned(dst), h.AgentSignature[:]...)
}

// ParseHandOver reads a record. What it says is unverified: see [HandOver.Check].
func ParseHandOver(b []byte) (*HandOver, error) {
	if len(b) != HandOverSize || string(b[:len(handOverTag)]) != handOverTag {
		return nil, errorString("not a hand-over record of version 1")
	}
	h := new(HandOver)
	b = b[len(handOverTag):]
	for _, to := range [][]byte{h.Genesis[:], h.Head[:], h.From[:], h.To[:]} {
		b = b[copy(to, b):]
	}
	h.Number = le64(b)
	b = b[8:]
	for _, to := range [][]byte{h.Sealed[:], h.ToSignature[:], h.AgentSignature[:]} {
		b = b[copy(to, b):]
	}
	switch {
	case h.Number == 0:
		return nil, errorString("a hand-over record that has no number")
	case h.Genesis.IsZero() || h.Head.IsZero():
		return nil, errorString("a hand-over record that names no life")
	}
	return h, nil
}

// A HandOverCode says why a hand-over record does not count. The zero code is that it does.
type HandOverCode uint8

// The codes, in the order in which they are looked for.
const (
	HandOverCounts         HandOverCode = iota
	HandOverWeakKey                     // the key of a node, or the agent's, is weak
	HandOverSameNode                    // it goes from a node to itself
	HandOverBadCounterSign              // the node that took the agent did not sign it
	HandOverBadSignature                // the agent's key did not
	HandOverOtherLife                   // it names another genesis
	HandOverUnknownHead                 // the checkpoint that it names was not supplied
	HandOverConflict                    // the agent's key signed another one with this number
	HandOverOrder                       // a record with a smaller number names a later checkpoint
	handOverCodes
)

var handOverCodeNames = [handOverCodes]struct{ name, what string }{
	HandOverCounts:         {"", ""},
	HandOverWeakKey:        {"weak-key", "a key in it is one for which anybody can make signatures"},
	HandOverSameNode:       {"same-node", "it goes from a node to itself"},
	HandOverBadCounterSign: {"bad-countersignature", "the node that is to have taken the agent did not sign it"},
	HandOverBadSignature:   {"bad-signature", "the agent's key did not sign it"},
	HandOverOtherLife:      {"other-life", "it is of a life with another genesis"},
	HandOverUnknownHead:    {"unknown-head", "the checkpoint that it was made at was not supplied"},
	HandOverConflict:       {"conflict", "the agent's key signed another hand-over in its place (evidence of equivocation)"},
	HandOverOrder:          {"order", "an earlier hand-over was made at a later checkpoint"},
}

// String returns the code as it stands in a report, "" if the record counts.
func (c HandOverCode) String() string { return handOverCodeNames[min(c, handOverCodes-1)].name }

// What says in words what is wrong.
func (c HandOverCode) What() string { return handOverCodeNames[min(c, handOverCodes-1)].what }

// Check says what is wrong with a record by itself, as one of an agent.
func (h *HandOver) Check(agent PublicKey) HandOverCode {
	var v rfc8032.Verifier
	switch {
	case h.From.Weak() || h.To.Weak() || agent.Weak():
		return HandOverWeakKey
	case h.From == h.To:
		return HandOverSameNode
	case !v.Verify((*[32]byte)(&h.To), &h.ToSignature, h.AppendMessage(nil), nil):
		return HandOverBadCounterSign
	case !v.Verify((*[32]byte)(&agent), &h.AgentSignature, h.AppendCountersigned(nil), nil):
		return HandOverBadSignature
	}
	return HandOverCounts
}

// compare orders records by number, then by their bytes.
func (h *HandOver) compare(o *HandOver) int {
	c := cmp.Compare(h.Number, o.Number)
	for i, a := range [...][]byte{h.Genesis[:], h.Head[:], h.From[:], h.To[:], h.Sealed[:], h.ToSignature[:], h.AgentSignature[:]} {
		b := [...][]byte{o.Genesis[:], o.Head[:], o.From[:], o.To[:], o.Sealed[:], o.ToSignature[:], o.AgentSignature[:]}[i]
		c = cmp.Or(c, slices.Compare(a, b))
	}
	return c
}

// Hash is the SHA-256 of the record's bytes.
func (h *HandOver) Hash() Hash { return sha2.Sum256(h.Append(nil)) }

// ParseHandOvers reads the file of a life's hand-over records, which is one after the
// other and nothing else.
func ParseHandOvers(b []byte) ([]*HandOver, error) {
	switch {
	case len(b)%HandOverSize != 0:
		return nil, errorString("hand-over records that are cut short, or followed by something else")
	case len(b)/HandOverSize > MaxHandOvers:
		return nil, errorString("more than " + strconv.Itoa(MaxHandOvers) + " hand-over records")
	}
	all := make([]*HandOver, 0, len(b)/HandOverSize)
	for ; len(b) > 0; b = b[HandOverSize:] {
		h, err := ParseHandOver(b[:HandOverSize])
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// AddHandOvers puts hand-over records on the pile. They change no verdict: the report
// says of each whether it counts. What is there twice is one. It fails with
// [ErrTooManyHandOvers].
func (p *Pile) AddHandOvers(all ...*HandOver) error {
	if len(p.handOvers)+len(all) > MaxHandOvers {
		return ErrTooManyHandOvers
	}
	p.handOvers = append(p.handOvers, all...)
	return nil
}

// ErrTooManyHandOvers is returned by [Pile.AddHandOvers] for more than MaxHandOvers.
const ErrTooManyHandOvers = errorString("too many hand-over records for one history: at most 65536")

// SetHandOvers has the report judge records that lie beside the history: see
// [Pile.AddHandOvers].
func (r *Report) SetHandOvers(all []*HandOver) {
	r.pile.handOvers = all[:min(len(all), MaxHandOvers)]
	r.judgeHandOvers()
}

// A JudgedHandOver is a record, and what became of it.
type JudgedHandOver struct {
	*HandOver
	Problem HandOverCode // the zero code: it counts
	Tick    uint64       // of the checkpoint that it was made at
	HasTick bool         // that was supplied
}

// HandOvers returns the hand-over records that were supplied, in the order of their numbers.
func (r *Report) HandOvers() iter.Seq[JudgedHandOver] { return slices.Values(r.handOvers) }

// judgeHandOvers holds the records against the history.
func (r *Report) judgeHandOvers() {
	agent, ok := r.Key()
	if !ok || len(r.pile.handOvers) == 0 || r.spec < 2 {
		return
	}
	genesis, whole := r.Genesis()
	records := r.pile.handOvers
	all := make([]JudgedHandOver, 0, len(records))
	for _, i := range sorted(len(records), func(i, j uint32) int { return records[i].compare(records[j]) }) {
		h := records[i]
		if n := len(all); n > 0 && *h == *all[n-1].HandOver {
			continue
		}
		all = append(all, JudgedHandOver{HandOver: h, Problem: h.Check(agent)})
		j := &all[len(all)-1]
		at, there := r.pile.find(h.Head)
		if there = there && r.pile.at(at).authentic() && r.keyOf(r.pile.at(at)) == agent; there {
			j.Tick, j.HasTick = r.pile.at(at).tick, true
		}
		switch {
		case j.Problem != HandOverCounts:
		case whole && h.Genesis != genesis:
			j.Problem = HandOverOtherLife
		case !there:
			j.Problem = HandOverUnknownHead
		}
	}
	r.handOvers = all
	r.conflicts()
	var last *JudgedHandOver
	for i := range all {
		switch j := &all[i]; {
		case j.Problem != HandOverCounts:
		case last != nil && j.Tick < last.Tick:
			j.Problem = HandOverOrder
		default:
			last = j
		}
	}
}

// conflicts finds numbers under which the agent's key signed more than one record. One of
// a checkpoint that was not supplied takes part: it was signed.
func (r *Report) conflicts() {
	signed := func(j *JudgedHandOver) bool {
		return j.Problem == HandOverCounts || j.Problem == HandOverUnknownHead
	}
	numbers := map[uint64]int{}
	for i := range r.handOvers {
		if j := &r.handOvers[i]; signed(j) {
			numbers[j.Number]++
		}
	}
	for i := range r.handOvers {
		if j := &r.handOvers[i]; signed(j) && numbers[j.Number] > 1 {
			j.Problem = HandOverConflict
		}
	}
}

// writeHandOvers writes who gave the agent to whom.
func (r *Report) writeHandOvers(j *jsonWriter) {
	if len(r.handOvers) == 0 {
		return
	}
	j.array("handovers")
	for h := range r.HandOvers() {
		j.element()
		j.member("number", strconv.FormatUint(h.Number, 10))
		j.member("from", h.From.DID())
		j.member("to", h.To.DID())
		j.member("head", h.Head.CID())
		if h.HasTick {
			j.member("tick", strconv.FormatUint(h.Tick, 10))
		}
		j.member("problem", h.Problem.String())
		j.raw("}")
	}
	j.endArray()
}

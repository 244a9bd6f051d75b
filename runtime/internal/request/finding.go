package request

import "errors"

// An Outcome is what a finding says of a side effect.
type Outcome uint8

// The outcomes. The first two are what an operator found out; the others are of a
// tick that failed, so that the agent's state has nothing of the effect.
const (
	Confirmed   Outcome = 1 // it happened
	Compensated Outcome = 2 // it did not, or was undone
	Unresolved  Outcome = 3 // it may have happened
	Ended       Outcome = 4 // it ended, with the return value and the result
)

var outcomes = [...]string{Confirmed: "confirmed", Compensated: "compensated", Unresolved: "unresolved", Ended: "ended"}

// String names the outcome.
func (o Outcome) String() string {
	if o == 0 || int(o) >= len(outcomes) {
		return "unknown"
	}
	return outcomes[o]
}

// A Finding is what the host tells an agent about one of its side effects: what
// agent_observe gets. See docs/spec/abi.md.
type Finding struct {
	Outcome Outcome
	Kind    uint8 // 8 http_request, 9 wallet_pay
	Effect  [32]byte
	Tick    uint64 // that caused it
	Ordinal uint32
	Return  int64  // of the call, of an Ended
	Request []byte // as the agent asked, without its buffer's size
	Result  []byte // what the call wrote, of an Ended
	Note    []byte // the operator's
}

// Append appends its layout.
func (f *Finding) Append(dst []byte) []byte {
	dst = append(dst, byte(f.Outcome), f.Kind)
	dst = append(dst, f.Effect[:]...)
	dst = le.AppendUint64(dst, f.Tick)
	dst = le.AppendUint32(dst, f.Ordinal)
	dst = le.AppendUint64(dst, uint64(f.Return))
	return appendPart(appendPart(appendPart(dst, f.Request), f.Result), f.Note)
}

// ParseFinding reads a finding. Its parts alias b.
func ParseFinding(b []byte) (f Finding, err error) {
	d := decoder{b: b}
	if head := d.take(2); head != nil {
		f.Outcome, f.Kind = Outcome(head[0]), head[1]
	}
	copy(f.Effect[:], d.take(32))
	f.Tick, f.Ordinal, f.Return = d.u64(), d.u32(), int64(d.u64())
	f.Request, f.Result, f.Note = d.part(), d.part(), d.part()
	if err = d.end(); err == nil && (f.Outcome == 0 || int(f.Outcome) >= len(outcomes)) {
		err = errors.New("a finding with an unknown outcome")
	}
	return f, err
}

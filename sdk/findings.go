package sdk

import (
	"encoding/binary"
	"errors"

	"igor.dev/sdk/internal/host"
)

// An Outcome is what a [Finding] says of a side effect.
type Outcome uint8

const (
	OutcomeConfirmed   Outcome = 1 // it happened: the operator found out
	OutcomeCompensated Outcome = 2 // it did not happen, or was undone: the operator found out
	OutcomeUnresolved  Outcome = 3 // a tick that failed began it, and it may have happened
	OutcomeEnded       Outcome = 4 // a tick that failed made it, and this is what came of it
)

// A Finding is what the host tells an agent about a side effect (docs/spec/abi.md).
// [EffectLog.Observe] takes it in.
type Finding struct {
	Outcome Outcome
	Kind    uint8    // 8 [Do], 9 [Pay]
	Effect  [32]byte // its id
	Tick    uint64   // that caused it
	Ordinal uint32   // among those of the tick
	Return  int64    // of the hostcall, of one that ended
	Request []byte   // as the hostcall was asked
	Result  []byte   // what the hostcall wrote, of one that ended
	Note    string   // the operator's
}

// An Observer is an agent that hears what an operator found out about its side effects.
type Observer interface {
	// Observe gets a finding, and the id of the open intent that it is about, "" if
	// there is none. It counts what happened, as after an act, and returns true: the
	// intent is over then. With false it stays open, for the agent to ask; so it does
	// with an agent that is no Observer, for what it has to count nobody else knows.
	//
	// What a tick did that failed the effect logs take in by themselves, so there is
	// nothing to do about OutcomeUnresolved and OutcomeEnded. Of what was found out
	// before its request was made, Observe gets the outcome alone, at the start of the
	// tick after that request. Side effects do not work in it.
	Observe(f Finding, intent string) (over bool)
}

// What the log has of findings, in count and in bytes.
const (
	maxFindings = 1 << 10
	maxResults  = 2 << 20
)

const findingSize = 1 + 1 + 32 + 8 + 4 + 8 + 3*4

var errFinding = errors.New("a finding that cannot be read")

// parseFinding reads what agent_observe gets.
func parseFinding(b []byte) (f Finding, err error) {
	if len(b) < findingSize {
		return f, errFinding
	}
	f = Finding{Outcome: Outcome(b[0]), Kind: b[1], Effect: [32]byte(b[2:]), Tick: binary.LittleEndian.Uint64(b[34:]),
		Ordinal: binary.LittleEndian.Uint32(b[42:]), Return: int64(binary.LittleEndian.Uint64(b[46:]))}
	var parts [3][]byte
	for b, i := b[54:], 0; ; i++ {
		if i == len(parts) {
			if len(b) > 0 {
				return f, errFinding
			}
			break
		}
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return f, errFinding
		}
		n := binary.LittleEndian.Uint32(b)
		parts[i], b = b[4:4+n:4+n], b[4+n:]
	}
	f.Request, f.Result, f.Note = parts[0], parts[1], string(parts[2])
	return f, nil
}

// An asked is a request that the act of an open intent made, the newest one.
type asked struct {
	digest [32]byte
	// confirmed says that it happened, as was found out before it was made again: the
	// agent hears of it at the start of the next tick.
	confirmed bool
}

// A kept finding is of a request that the log has no intent of: the act that makes
// it next is answered from it.
type kept struct {
	outcome        Outcome // confirmed was unresolved before
	effect, digest [32]byte
	returned       int64
	result         []byte
}

// requestDigest names a request.
func requestDigest(kind uint8, request []byte) [32]byte {
	return digest(append([]byte{kind}, request...))
}

// Observe takes in what the host tells of a side effect, and returns the id of the
// intent that it ended, "" if none. It is called for each log that is in the state.
//
// What the operator found out ends the open intent whose act made that request, the
// oldest if several did. What a tick did that failed, of which the state knows
// nothing, is kept: an [EffectLog.Act] that makes the same request gets the answer
// from it, once, and nothing is sent.
func (l *EffectLog) Observe(f Finding) (intent string) {
	known := -1
	for i := range l.kept {
		if l.kept[i].effect == f.Effect {
			known = i
		}
	}
	switch f.Outcome {
	case OutcomeUnresolved, OutcomeEnded:
		if known < 0 {
			l.keep(f, requestDigest(f.Kind, f.Request))
		}
	case OutcomeConfirmed, OutcomeCompensated:
		if known >= 0 {
			if l.kept[known].outcome == OutcomeUnresolved && f.Outcome == OutcomeConfirmed {
				l.kept[known].outcome = OutcomeConfirmed
			} else if f.Outcome == OutcomeCompensated {
				l.forget(known)
			}
			return ""
		}
		if intent = l.about(f); intent == "" {
			return ""
		}
		end := l.Confirm
		if f.Outcome == OutcomeCompensated {
			end = l.Compensate
		}
		if err := end(intent); err != nil {
			panic(err) // it is open
		}
	}
	return intent
}

// about returns the intent that a finding ends, "" if none.
func (l *EffectLog) about(f Finding) (intent string) {
	if f.Outcome != OutcomeConfirmed && f.Outcome != OutcomeCompensated {
		return ""
	}
	for i := range l.kept {
		if l.kept[i].effect == f.Effect {
			return ""
		}
	}
	name := requestDigest(f.Kind, f.Request)
	for _, i := range l.Open() {
		if r, ok := l.requests[i.ID]; ok && r.digest == name {
			return i.ID
		}
	}
	return ""
}

func (l *EffectLog) keep(f Finding, name [32]byte) {
	if len(l.kept) >= maxFindings {
		panic("sdk: the effect log has 1024 findings of ticks that failed, the limit: look at the requests, or Forget them")
	}
	size := 0
	for i := range l.kept {
		size += len(l.kept[i].result)
	}
	k := kept{outcome: f.Outcome, effect: f.Effect, digest: name}
	if f.Outcome == OutcomeEnded {
		if size+len(f.Result) > maxResults {
			k.outcome = OutcomeUnresolved // that it may have happened is what must not be lost
		} else {
			k.returned, k.result = f.Return, append([]byte(nil), f.Result...)
		}
	}
	l.kept = append(l.kept, k)
}

func (l *EffectLog) forget(i int) {
	l.kept = append(l.kept[:i:i], l.kept[i+1:]...)
}

// Kept returns the ids of the effects of failed ticks whose requests no act has made
// again yet.
func (l *EffectLog) Kept() (effects [][32]byte) {
	for i := range l.kept {
		effects = append(effects, l.kept[i].effect)
	}
	return effects
}

// Forget drops what was kept of an effect: the same request is sent again.
func (l *EffectLog) Forget(effect [32]byte) {
	for i := range l.kept {
		if l.kept[i].effect == effect {
			l.forget(i)
			return
		}
	}
}

// An act is one under way.
type act struct {
	log    *EffectLog
	intent string
}

var acting *act

// sideEffect makes a call, or has it answered by what is known of it. If an act makes
// it, its intent has the request from now on. A GET is a side effect only if it was
// paid, which shows when nobody knows what became of that: sure is false.
func sideEffect(kind uint8, sure bool, request func() []byte, buf []byte, call func() int32) int32 {
	if acting == nil || !sure && len(acting.log.kept) == 0 {
		code := call()
		if acting != nil && code == host.Unresolved {
			acting.asks(asked{digest: requestDigest(kind, request())})
		}
		return code
	}
	l, name := acting.log, requestDigest(kind, request())
	if sure {
		acting.asks(asked{digest: name})
	}
	for i, k := range l.kept {
		if k.digest != name {
			continue
		}
		if k.outcome == OutcomeEnded && len(k.result) > len(buf) {
			if sure { // else it is asked for again, with more room
				l.forget(i)
			}
			if len(buf) >= sizeSize {
				binary.LittleEndian.PutUint32(buf, uint32(len(k.result)))
			}
			return host.TooLarge
		}
		l.forget(i)
		if k.outcome == OutcomeEnded {
			copy(buf, k.result)
			return int32(k.returned)
		}
		acting.asks(asked{digest: name, confirmed: k.outcome == OutcomeConfirmed})
		if k.outcome == OutcomeConfirmed {
			owing = append(owing, l)
		}
		return host.Unresolved
	}
	code := call()
	if code == host.Unresolved {
		acting.asks(asked{digest: name})
	}
	return code
}

// asks notes the request of the act's intent.
func (a *act) asks(r asked) {
	if a.log.requests == nil {
		a.log.requests = map[string]asked{}
	}
	a.log.requests[a.intent] = r
}

// appendPart appends a part of a request, with its length.
func appendPart[T string | []byte](b []byte, part T) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(part))), part...)
}

// owing are the logs with intents that are to be confirmed when a tick begins.
var owing []*EffectLog

// tick does one tick of an agent.
func tick(a Agent) (more bool) {
	acting = nil
	logs := owing
	owing = nil
	for _, l := range logs {
		for _, i := range l.Open() {
			r := l.requests[i.ID]
			if !r.confirmed {
				continue
			}
			l.requests[i.ID] = asked{digest: r.digest}
			if o, ok := a.(Observer); ok && o.Observe(Finding{Outcome: OutcomeConfirmed}, i.ID) && l.isOpen(i.ID) {
				if err := l.Confirm(i.ID); err != nil {
					panic(err) // it is open
				}
			}
		}
	}
	return a.Tick()
}

// collecting, if it is not nil, is given the effect logs of the state that is written.
var collecting *[]*EffectLog

// observe tells an agent what became of a side effect.
func observe(a Agent, finding []byte) error {
	f, err := parseFinding(finding)
	if err != nil {
		return err
	}
	var logs []*EffectLog
	collecting = &logs
	a.Marshal()
	collecting = nil
	var of *EffectLog
	intent := ""
	for _, l := range logs {
		if i := l.about(f); i == "" {
			l.Observe(f)
		} else if of == nil {
			of, intent = l, i
		}
	}
	if o, ok := a.(Observer); ok && o.Observe(f, intent) && of != nil && of.about(f) == intent {
		of.Observe(f)
	}
	return nil
}

package witness

import (
	"igor.dev/verifier"
)

// A Beside is what lies beside a history, and whom to believe about it.
type Beside struct {
	Policy *Policy // whom to believe
	Proof  []byte  // a tlog-proof with a head statement as its extra data; nil = there is none

	Monitor *MonitorKey // nil = no monitor's word is taken
	Word    []byte      // what it said; nil = nothing

	Require bool // the head has to be witnessed, and a monitor that is named has to have said so
}

// Report has the report say what it is worth. It never changes a verdict, but for Require.
func (b *Beside) Report(r *verifier.Report) {
	if b.Policy != nil {
		key, _ := r.Key() // without one it is zero, which nobody has
		r.SetWitnessed(b.Check(key))
	}
	if b.Require {
		r.RequireWitness(b.Monitor != nil)
	}
}

// Check says what the proof shows of an agent's head, as the policy, which has to be there,
// wants it.
func (b *Beside) Check(agent verifier.PublicKey) *verifier.Witnessed {
	no := func(why string) *verifier.Witnessed { return &verifier.Witnessed{Problem: why} }
	if b.Proof == nil {
		return no("there is no proof that a head is in a log")
	}
	proof, err := ParseProof(b.Proof)
	if err != nil {
		return no(err.Error())
	}
	head, err := ParseHead(proof.Extra)
	if err != nil {
		return no("the proof has no head statement with it")
	}
	switch {
	case agent != head.Agent:
		return no("the proof is for another agent: " + head.Agent.DID())
	case !head.Authentic():
		return no("the head statement is not signed by the agent")
	}
	got, err := b.Policy.Check(proof.Extra, proof)
	if err != nil {
		return no(err.Error())
	}
	w := &verifier.Witnessed{Checkpoint: head.Checkpoint, Epoch: head.Epoch, Tick: head.Tick, Log: got.Log, Index: got.Index, Size: got.Size,
		Before: got.Before, Cosigners: got.Cosigners, Policy: b.Policy.Hash}
	if b.Monitor == nil || b.Word == nil {
		return w
	}
	word, err := b.Monitor.Read(b.Word)
	switch {
	case err != nil:
		return no("the monitor's word: " + err.Error())
	case word.Agent != head.Agent || word.Log != got.Log:
		return no("the monitor's word is about another agent, or another log")
	case word.Size <= got.Index:
		return w // it had not come so far
	case word.Size == got.Size && word.Root != got.Root:
		return no("the monitor and the witnesses saw two logs of one name")
	}
	w.Monitor = &verifier.Monitor{Name: b.Monitor.Name(), Size: word.Size, Time: word.Time, Heads: word.Heads, Latest: word.Latest, Tick: word.Tick, Forks: word.Forks}
	return w
}

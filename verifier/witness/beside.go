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
	w, why := b.witnessed(agent)
	if why != "" {
		w = &verifier.Witnessed{Problem: why}
	}
	return w
}

func (b *Beside) witnessed(agent verifier.PublicKey) (w *verifier.Witnessed, why string) {
	if b.Proof == nil {
		return nil, "there is no proof that a head is in a log"
	}
	proof, err := ParseProof(b.Proof)
	if err != nil {
		return nil, err.Error()
	}
	head, err := ParseHead(proof.Extra)
	if err != nil {
		return nil, "the proof has no head statement with it"
	}
	if agent != head.Agent {
		return nil, "the proof is for another agent: " + head.Agent.DID()
	}
	if !head.Authentic() {
		return nil, "the head statement is not signed by the agent"
	}
	w, err = b.Policy.Check(proof.Extra, proof)
	if err != nil {
		return nil, err.Error()
	}
	w.Checkpoint, w.Epoch, w.Tick = head.Checkpoint, head.Epoch, head.Tick
	if b.Monitor == nil || b.Word == nil {
		return w, ""
	}
	word, err := b.Monitor.Read(b.Word)
	switch {
	case err != nil:
		return nil, "the monitor's word: " + err.Error()
	case word.Agent != head.Agent || word.Log != w.Log:
		return nil, "the monitor's word is about another agent, or another log"
	case word.Size <= w.Index: // it had not come so far
	case word.Size == w.Size && word.Root != proof.root:
		return nil, "the monitor and the witnesses saw two logs of one name"
	default:
		w.Monitor = &word.Monitor
	}
	return w, ""
}

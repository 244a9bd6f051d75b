//go:build js && wasm

package main

import (
	"igor.dev/verifier"
	"igor.dev/verifier/witness"
)

// What lies beside the history, nil = nothing is looked at.
var (
	lies      *witness.Beside
	successor *witness.Successor
)

// beside says what lies beside the history, and whom to believe about it, before link.
// Input: six sizes, and as many pieces, each empty where there is none: a policy, a proof of
// a head, the key of a monitor, its word, a succession, a proof of a commitment. With
// require, the head has to be witnessed. No result.
//
//go:wasmexport beside
func beside(require uint32) int32 {
	in := reader{rest: append([]byte{}, input...)} // it outlives the input
	sizes := in.array(6, 4)
	policy, proof, monitor, word := in.part(&sizes), in.part(&sizes), in.part(&sizes), in.part(&sizes)
	succession, commitment := in.part(&sizes), in.part(&sizes)
	if in.bad || sizes.bad || !in.done() || report != nil {
		return fail(errInput)
	}
	b := &witness.Beside{Proof: proof, Word: word, Require: require != 0}
	var err error
	if policy != nil {
		b.Policy, err = witness.ParsePolicy(policy)
	} else if b.Require || proof != nil || monitor != nil {
		return fail("a witness without a policy that says whom to believe")
	}
	if err == nil && monitor != nil {
		if b.Monitor, err = witness.ParseMonitorKey(string(monitor)); err != nil {
			return fail("the monitor: " + err.Error())
		}
	}
	if err != nil {
		return fail(err.Error())
	}
	lies = b
	if succession != nil {
		successor = &witness.Successor{Statement: succession, Commitment: commitment, Policy: b.Policy}
	}
	return 0
}

// handovers puts records of hand-overs on the pile. Input: a file of them. No result; a
// failure where the file has something else.
//
//go:wasmexport handovers
func handovers() int32 {
	if report != nil {
		return fail(errInput)
	}
	all, err := verifier.ParseHandOvers(input)
	if err == nil {
		err = pile.AddHandOvers(all...)
	}
	if err != nil {
		return fail(err.Error())
	}
	return 0
}

// part takes a piece whose size comes first, nil if that is zero.
func (r *reader) part(sizes *reader) []byte {
	if b := r.take(sizes.uint32()); len(b) > 0 {
		return b
	}
	return nil
}

// forkproof says what a fork proof proves. Input: a policy, of which the size is given, zero
// for none, then the file. Result: JSON, of which site/verify/fork.ts has the type; a failure
// where the input is no fork proof.
//
//go:wasmexport forkproof
func forkproof(policySize uint32) int32 {
	in := reader{rest: input}
	text := in.take(policySize)
	if in.bad {
		return fail(errInput)
	}
	var policy *witness.Policy
	var err error
	if len(text) > 0 {
		policy, err = witness.ParsePolicy(text)
	}
	var proof *witness.ForkProof
	if err == nil {
		proof, err = witness.ParseForkProof(in.rest)
	}
	if err != nil {
		return fail(err.Error())
	}
	f, err := proof.Check(policy)
	output = witness.AppendForkJSON(output[:0], f, err)
	return done()
}

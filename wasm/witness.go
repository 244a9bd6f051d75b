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
	in := reader{rest: input}
	sizes := in.array(6, 4)
	var parts [6][]byte
	for i := range parts {
		if n := sizes.uint32(); n > 0 {
			parts[i] = append([]byte{}, in.take(n)...)
		}
	}
	if in.bad || sizes.bad || !in.done() || report != nil {
		return fail(errInput)
	}
	b := &witness.Beside{Proof: parts[1], Word: parts[3], Require: require != 0}
	var err error
	if parts[0] != nil {
		if b.Policy, err = witness.ParsePolicy(parts[0]); err != nil {
			return fail(err.Error())
		}
	}
	if parts[2] != nil {
		if b.Monitor, err = witness.ParseMonitorKey(string(parts[2])); err != nil {
			return fail("the monitor: " + err.Error())
		}
	}
	if b.Policy == nil && (b.Require || b.Proof != nil || b.Monitor != nil) {
		return fail("a witness without a policy that says whom to believe")
	}
	lies = b
	if parts[4] != nil {
		successor = &witness.Successor{Statement: parts[4], Commitment: parts[5], Policy: b.Policy}
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
	if len(text) > 0 {
		p, err := witness.ParsePolicy(text)
		if err != nil {
			return fail(err.Error())
		}
		policy = p
	}
	proof, err := witness.ParseForkProof(in.rest)
	if err != nil {
		return fail(err.Error())
	}
	f, err := proof.Check(policy)
	if err != nil {
		f = nil
	}
	output = witness.AppendForkJSON(output[:0], f, err)
	return done()
}

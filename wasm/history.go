//go:build js && wasm

package main

import (
	"strings"

	"igor.dev/verifier"
)

// The history that this instance links.
var (
	pile   verifier.Pile
	report *verifier.Report
)

// reset forgets the history and the CAR.
//
//go:wasmexport reset
func reset() {
	pile, report, lies, successor = verifier.Pile{}, nil, nil, nil
	caropen(0)
}

// add puts n findings on the pile.
// Input: n packed findings, n sizes of names, the names in UTF-8. A name of size
// zero stands for the checkpoint's CID. No result.
//
//go:wasmexport add
func add(n uint32) int32 {
	in := reader{rest: input}
	findings := in.array(n, verifier.FindingSize)
	sizes := in.array(n, 4)
	for range n {
		f, err := verifier.ParseFinding(findings.take(verifier.FindingSize))
		name := in.take(sizes.uint32())
		if err != nil || in.bad || report != nil {
			return fail(errInput)
		}
		if err := pile.Add(&f, string(name)); err != nil {
			return fail(err.Error())
		}
	}
	if !in.done() {
		return fail(errInput)
	}
	return 0
}

// pins reads a DID and a head CID, in text, each empty where it is not pinned.
func pins(didSize uint32) (verifier.Pins, error) {
	in := reader{rest: input}
	did := in.take(didSize)
	return verifier.ParsePins(string(did), string(in.rest))
}

// checkpins says whether pins can be read. Input as of link, no result.
//
//go:wasmexport checkpins
func checkpins(didSize uint32) int32 {
	if _, err := pins(didSize); err != nil {
		return fail(err.Error())
	}
	return 0
}

// leaveout notes n files that lie with the history and are not looked at, for the
// report to say so. Input: n times the size of a name and of what is given of the
// file's beginning, n times these. A name that ends in / is that of a link to a folder.
// No result.
//
//go:wasmexport leaveout
func leaveout(n uint32) int32 {
	in := reader{rest: input}
	sizes := in.array(n, 8)
	for range n {
		name := in.take(sizes.uint32())
		start := in.take(sizes.uint32())
		if in.bad || sizes.bad || report != nil {
			return fail(errInput)
		}
		if link, ok := strings.CutSuffix(string(name), "/"); ok {
			pile.LeaveOut(verifier.KindFolderLink, link)
			continue
		}
		pile.LeaveOut(verifier.KindOf(string(name), start), string(name))
	}
	if !in.done() {
		return fail(errInput)
	}
	return 0
}

// link links what is on the pile, to which nothing can be added any more.
// Input: the DID and then the head that are pinned, in text, each of them empty
// for none. Result: the report, byte for byte what igor-verify writes; of spec
// version 1 if spec is 1.
//
//go:wasmexport link
func link(didSize, spec uint32) int32 {
	pins, err := pins(didSize)
	if err != nil {
		return fail(err.Error())
	}
	if report != nil {
		return fail(errInput)
	}
	report = verifier.LinkAs(int(spec), &pile, pins)
	if lies != nil {
		lies.Report(report)
	}
	if successor != nil {
		successor.Report(report)
	}
	// Twice, so that a large report is never moved to a larger buffer. It cannot fail: nor can its writers.
	var size counter
	report.WriteJSON(&size)
	output = nil
	output = make([]byte, 0, size)
	report.WriteJSON(outputWriter{})
	return done()
}

// path lists the history's checkpoints in the order in which a CAR has them.
// Result: their content hashes, none if they are not one path.
//
//go:wasmexport path
func path() int32 {
	if report == nil {
		return fail(errInput)
	}
	output = output[:0]
	if hashes, ok := report.Path(); ok {
		for h := range hashes {
			output = append(output, h[:]...)
		}
	}
	return done()
}

// distinct returns how many distinct checkpoints are on the pile.
//
//go:wasmexport distinct
func distinct() int32 { return int32(pile.Len()) }

// counter counts what is written.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// outputWriter appends to output.
type outputWriter struct{}

func (outputWriter) Write(p []byte) (int, error) {
	output = append(output, p...)
	return len(p), nil
}

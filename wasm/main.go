//go:build js && wasm

// Command wasm is the verifier for JavaScript: bytes in, findings and reports
// out. It holds nothing but the boundary; every rule is in igor.dev/verifier.
//
// # Calling
//
// The module exports functions that take and return integers. Bytes travel
// through two buffers in linear memory, both owned by Go and kept alive by a
// package variable:
//
//   - The caller gets the address of n bytes by reserve(n), fills all of them,
//     and calls an operation, which reads them from there. The address is valid
//     until the next reserve.
//   - An operation returns how many bytes its result has; or, for a failure,
//     how many its message has, as a negative number. These bytes are at
//     result() and are valid until the next call of any other function.
//
// Any call may grow the memory, which detaches the caller's views of it: take a
// new one after every call. Integers are little-endian, and uint32 where
// nothing else is said.
//
// One instance holds at most one history and one CAR at a time. A caller that
// wants more makes more instances.
package main

import (
	"math"
	"unsafe"

	"igor.dev/verifier"
)

// Exports can be called for as long as main runs.
func main() { select {} }

// maxInput is the most that reserve gives: the largest checkpoint with all that
// an operation wants beside it, or a batch of many.
const maxInput = verifier.MaxCheckpointSize + 1<<20

var (
	input  []byte // what the caller filled
	output []byte // the result of the last operation
)

// keepAtMost is the size from which on a buffer is dropped after its use.
const keepAtMost = 4 << 20

// reserve returns the address of n bytes for the next operation's input, or
// zero if that is too many.
//
//go:wasmexport reserve
func reserve(n uint32) unsafe.Pointer {
	if n > maxInput {
		return nil
	}
	if cap(output) > keepAtMost {
		output = nil
	}
	clear(carBlocks)
	if input == nil || int(n) > cap(input) || cap(input) > keepAtMost {
		input = nil // let it go before the next one is made
		input = make([]byte, max(n, 1))
	}
	input = input[:n]
	return unsafe.Pointer(unsafe.SliceData(input))
}

// result returns the address of the last operation's result.
//
//go:wasmexport result
func result() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(output)) }

func done() int32 {
	if len(output) > math.MaxInt32 {
		output = nil
		return fail("the result is over 2 GiB")
	}
	return int32(len(output))
}

func fail(message string) int32 {
	output = append(output[:0], message...)
	return -int32(len(output))
}

const errInput = "malformed input to the verifier's module (this is a defect of the program that called it)"

// A reader takes an operation's input apart. Once there is too little, it is bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n uint32) []byte {
	if r.bad || uint64(n) > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint32() uint32 {
	b := r.take(4)
	if r.bad {
		return 0
	}
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// array takes n elements of the same size.
func (r *reader) array(n, size uint32) reader {
	if uint64(n)*uint64(size) > uint64(len(r.rest)) {
		r.bad = true
		return reader{bad: true}
	}
	return reader{rest: r.take(n * size)}
}

func (r *reader) done() bool { return !r.bad && len(r.rest) == 0 }

func appendUint32(dst []byte, v uint32) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// version returns what a report has as its verifier.
//
//go:wasmexport version
func version() int32 {
	output = append(output[:0], verifier.Version()...)
	return done()
}

var (
	examiner    verifier.Examiner
	checkpoints [][]byte // the input of examine
	findings    []verifier.Finding
)

// examine examines n checkpoints.
// Input: n sizes, then the bytes of all. Result: n packed findings.
//
//go:wasmexport examine
func examine(n uint32) int32 {
	in := reader{rest: input}
	sizes := in.array(n, 4)
	checkpoints = checkpoints[:0]
	for range n {
		checkpoints = append(checkpoints, in.take(sizes.uint32()))
		if in.bad || sizes.bad {
			return fail(errInput)
		}
	}
	if !in.done() {
		return fail(errInput)
	}
	examiner.Reset() // histories take turns
	findings = examiner.AppendFindings(findings[:0], checkpoints...)
	clear(checkpoints) // the input may go
	output = output[:0]
	for i := range findings {
		output = findings[i].AppendBinary(output)
	}
	return done()
}

//go:build js && wasm

package main

import (
	"unsafe"

	"igor.dev/verifier"
)

// The CAR that this instance reads.
var (
	car       verifier.CARReader
	carBlocks []verifier.CARBlock // that the last carfeed gave
	carFailed bool
)

// caropen begins another CAR. Of blocks over so many bytes, if that is not zero, the
// caller keeps what did not come with the block's beginning; see carfeed.
//
//go:wasmexport caropen
func caropen(handOver uint32) {
	car, carBlocks, carFailed = verifier.CARReader{HandOver: int(min(handOver, verifier.MaxCheckpointSize))}, nil, false
}

const (
	hashSize  = uint32(len(verifier.Hash{}))
	blockSize = 4 + hashSize
)

// carfeed reads on in the CAR.
// Input: its next bytes. Result: n, the number of blocks that these complete or hand
// over; n times a block's index and the 32 bytes that its CID claims; n sizes, of what
// came of the block; n addresses, at which that is until the next reserve; and how many
// bytes the last block is missing. These follow the input in the CAR: the caller keeps
// them, and calls carpass. If the CAR is malformed, the result has the blocks before
// that, and one further byte; carclose then says why.
//
//go:wasmexport carfeed
func carfeed() int32 {
	if carFailed {
		return fail(errInput)
	}
	carBlocks = carBlocks[:0]
	car.Feed(input)
	for {
		b, ok, err := car.Next()
		if !ok {
			carFailed = err != nil
			break
		}
		carBlocks = append(carBlocks, b)
	}
	output = appendUint32(output[:0], uint32(len(carBlocks)))
	for _, b := range carBlocks {
		output = appendUint32(output, uint32(b.Index))
		output = append(output, b.UnverifiedCID[:]...)
	}
	for _, b := range carBlocks {
		output = appendUint32(output, uint32(len(b.Data)))
	}
	for _, b := range carBlocks {
		output = appendUint32(output, uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b.Data)))))
	}
	missing := 0
	if n := len(carBlocks); n > 0 {
		missing = carBlocks[n-1].Missing
	}
	output = appendUint32(output, uint32(missing))
	if carFailed {
		output = append(output, 0)
	}
	return done()
}

// carpass says that so many bytes came of a block that was handed over.
//
//go:wasmexport carpass
func carpass(n uint32) { car.Pass(int(n)) }

// carcheck holds n examined blocks against what the CAR says of them and puts
// them on the pile. Input: n times index and claimed CID, as they came from
// carfeed; n packed findings. No result.
//
//go:wasmexport carcheck
func carcheck(n uint32) int32 {
	in := reader{rest: input}
	blocks := in.array(n, blockSize)
	findings := in.array(n, verifier.FindingSize)
	if !in.done() || report != nil {
		return fail(errInput)
	}
	for range n {
		index := blocks.uint32()
		cid := verifier.Hash(blocks.take(hashSize))
		f, err := verifier.ParseFinding(findings.take(verifier.FindingSize))
		if err == nil {
			err = car.Check(int(index), cid, &f)
		}
		if err == nil {
			err = pile.Add(&f, "")
		}
		if err != nil {
			return fail(err.Error())
		}
	}
	return 0
}

// carclose says whether what was fed is a whole CAR. No result.
//
//go:wasmexport carclose
func carclose() int32 {
	if err := car.Close(); err != nil {
		return fail(err.Error())
	}
	return 0
}

// carstart writes what stands in a CAR before the blocks.
// Input: the head's content hash. Result: the bytes.
//
//go:wasmexport carstart
func carstart() int32 {
	if len(input) != int(hashSize) {
		return fail(errInput)
	}
	output = verifier.AppendCARHeader(output[:0], verifier.Hash(input))
	return done()
}

// carblocks writes what stands in a CAR before each of n checkpoints.
// Input: n times a checkpoint's content hash and size. Result: n times the size
// of what stands before it, and that.
//
//go:wasmexport carblocks
func carblocks(n uint32) int32 {
	in := reader{rest: input}
	blocks := in.array(n, hashSize+4)
	if !in.done() {
		return fail(errInput)
	}
	output = output[:0]
	var start []byte
	for range n {
		h := verifier.Hash(blocks.take(hashSize))
		start = verifier.AppendCARBlockStart(start[:0], h, int(blocks.uint32()))
		output = append(appendUint32(output, uint32(len(start))), start...)
	}
	return done()
}

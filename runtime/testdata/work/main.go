// Command work is an agent whose ticks compute, as much Go does: SHA-256, sorting and
// JSON. BenchmarkEngine builds it.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"unsafe"
)

var (
	ticks uint64
	buf   = make([]byte, 1<<16)
	state [8]byte
)

//go:wasmexport agent_init
func agentInit() {}

//go:wasmexport agent_tick
func agentTick() int32 {
	ticks++
	for range 8 {
		sum := sha256.Sum256(buf)
		copy(buf, sum[:])
	}
	numbers := make([]uint32, 20_000)
	x := uint32(ticks)
	for i := range numbers {
		x = x*1664525 + 1013904223
		numbers[i] = x
	}
	slices.Sort(numbers)
	b, err := json.Marshal(numbers[:2_000])
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(b, &numbers); err != nil {
		panic(err)
	}
	return 1
}

//go:wasmexport agent_checkpoint
func agentCheckpoint() int32 { return int32(len(state)) }

//go:wasmexport agent_checkpoint_ptr
func agentCheckpointPtr() int32 {
	for i := range state {
		state[i] = byte(ticks >> (8 * i))
	}
	return int32(uintptr(unsafe.Pointer(&state)))
}

//go:wasmexport agent_resume
func agentResume(ptr, n int32) {
	ticks = 0
	for i, c := range unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), n) {
		ticks |= uint64(c) << (8 * i)
	}
}

//go:wasmexport malloc
func malloc(n int32) int32 {
	kept = make([]byte, n)
	return int32(uintptr(unsafe.Pointer(unsafe.SliceData(kept))))
}

var kept []byte

func main() {}

// An agent in standard Go, made with the ABI alone, that reads the clock in
// agent_resume. Its state: u64 ticks, i64 the time of the last agent_resume, i64 the
// time of the last tick.
package main

import (
	"encoding/binary"
	"unsafe"
)

//go:wasmimport igor clock_now
func clockNow() int64

//go:wasmimport igor log_emit
func logEmit(p unsafe.Pointer, n uint32)

func say(s string) { logEmit(unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))) }

var (
	ticks, resumed, ticked uint64
	state                  = make([]byte, 24)
	room                   [][]byte
)

//go:wasmexport agent_init
func agentInit() { say("born") }

//go:wasmexport agent_tick
func agentTick() int32 {
	ticks++
	ticked = uint64(clockNow())
	return 1
}

//go:wasmexport agent_checkpoint
func agentCheckpoint() int32 {
	for i, v := range []uint64{ticks, resumed, ticked} {
		binary.LittleEndian.PutUint64(state[8*i:], v)
	}
	return int32(len(state))
}

//go:wasmexport agent_checkpoint_ptr
func agentCheckpointPtr() unsafe.Pointer { return unsafe.Pointer(&state[0]) }

//go:wasmexport malloc
func malloc(n uint32) unsafe.Pointer {
	room = append(room, make([]byte, n))
	return unsafe.Pointer(&room[len(room)-1][0])
}

//go:wasmexport agent_resume
func agentResume(p unsafe.Pointer, n uint32) {
	b := unsafe.Slice((*byte)(p), n)
	ticks, ticked = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[16:])
	resumed = uint64(clockNow())
	say("back")
}

func main() {}

package sdk

import "unsafe"

// The exports that make a program an agent. Each is called from outside, one at
// a time.

var (
	// pinned keeps what malloc gave from the garbage collector, which does not
	// see the pointers that the host holds.
	pinned = map[unsafe.Pointer][]byte{}

	// state is what agent_checkpoint made, until the next one.
	state []byte
)

func agent() Agent {
	if running == nil {
		panic("sdk: no agent: call sdk.Run from an init function")
	}
	return running
}

//go:wasmexport agent_init
func agentInit() { agent().Init() }

//go:wasmexport agent_tick
func agentTick() int32 {
	if tick(agent()) {
		return 1
	}
	return 0
}

//go:wasmexport agent_checkpoint
func agentCheckpoint() int32 {
	state = agent().Marshal()
	return int32(len(state))
}

//go:wasmexport agent_checkpoint_ptr
func agentCheckpointPtr() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(state)) }

//go:wasmexport agent_resume
func agentResume(ptr unsafe.Pointer, size int32) {
	if err := agent().Unmarshal(given(ptr, size)); err != nil {
		panic("sdk: the state cannot be restored: " + err.Error())
	}
}

//go:wasmexport agent_observe
func agentObserve(ptr unsafe.Pointer, size int32) {
	if err := observe(agent(), given(ptr, size)); err != nil {
		panic("sdk: " + err.Error())
	}
}

// given returns what the host wrote to what malloc gave it.
func given(ptr unsafe.Pointer, size int32) []byte {
	b := pinned[ptr][:size:size]
	delete(pinned, ptr)
	return b
}

//go:wasmexport malloc
func malloc(size int32) unsafe.Pointer {
	b := make([]byte, max(size, 1))
	ptr := unsafe.Pointer(unsafe.SliceData(b))
	pinned[ptr] = b
	return ptr
}

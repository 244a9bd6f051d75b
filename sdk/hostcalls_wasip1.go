package sdk

import (
	"runtime"
	"unsafe"
)

// The linker leaves out what the agent does not call, so an agent imports what
// it uses and nothing else.

//go:wasmimport igor clock_now
func clockNow() int64

//go:wasmimport igor rand_bytes
func hostRandBytes(ptr unsafe.Pointer, size uint32) int32

//go:wasmimport igor log_emit
func hostLogEmit(ptr unsafe.Pointer, size uint32)

func randBytes(b []byte) int32 {
	code := hostRandBytes(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	runtime.KeepAlive(b)
	return code
}

func logEmit(line string) {
	hostLogEmit(unsafe.Pointer(unsafe.StringData(line)), uint32(len(line)))
	runtime.KeepAlive(line)
}

package hostcall

import (
	"context"

	"github.com/tetratelabs/wazero/api"
)

// MaxRandom is the most bytes that one rand_bytes gives.
const MaxRandom = 1 << 20

var randBytes = function{
	capability: "rand",
	name:       "rand_bytes",
	params:     types(i32, i32),
	results:    types(i32),
	call: func(h Host) api.GoModuleFunc {
		return func(_ context.Context, m api.Module, stack []uint64) {
			ptr, size := uint32(stack[0]), uint32(stack[1])
			if size > MaxRandom {
				stack[0] = result(errInputTooLong)
				return
			}
			b, ok := m.Memory().Read(ptr, size)
			if !ok {
				stack[0] = result(errGeneric)
				return
			}
			h.RandBytes(b)
			stack[0] = 0
		}
	},
}

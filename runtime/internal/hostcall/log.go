package hostcall

import (
	"context"

	"github.com/tetratelabs/wazero/api"
)

// MaxLogLine is how many bytes of one log_emit are kept.
const MaxLogLine = 4096

var logEmit = function{
	capability: "log",
	name:       "log_emit",
	params:     types(i32, i32),
	call: func(h Host) api.GoModuleFunc {
		return func(_ context.Context, m api.Module, stack []uint64) {
			// The cut comes first: only what is kept has to be in memory. A line
			// out of range is dropped, for log_emit has no result to say so with.
			if b, ok := m.Memory().Read(uint32(stack[0]), min(uint32(stack[1]), MaxLogLine)); ok {
				h.LogEmit(b)
			}
		}
	},
}

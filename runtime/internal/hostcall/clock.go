package hostcall

import (
	"context"

	"github.com/tetratelabs/wazero/api"
)

var clockNow = function{
	capability: "clock",
	name:       "clock_now",
	results:    types(i64),
	call: func(h Host) api.GoModuleFunc {
		return func(_ context.Context, _ api.Module, stack []uint64) {
			stack[0] = uint64(h.ClockNow())
		}
	},
}

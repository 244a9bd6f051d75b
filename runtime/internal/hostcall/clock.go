package hostcall

var clockNow = function{
	capability: "clock",
	name:       "clock_now",
	results:    types(i64),
	do: func(c *call) {
		c.moved = 8
		c.stack[0] = uint64(c.Host.ClockNow())
	},
}

package hostcall

// MaxLogLine is how many bytes of one log_emit are kept.
const MaxLogLine = 4096

var logEmit = function{
	capability: "log",
	name:       "log_emit",
	params:     types(i32, i32),
	price:      price{{1, MaxLogLine, perByte}},
	do: func(c *call) {
		// The cut comes first: only what is kept has to be in memory. A line
		// out of range is dropped, for log_emit has no result to say so with.
		b, ok := c.memory.Read(c.i32(0), min(c.i32(1), MaxLogLine))
		if !ok {
			return
		}
		if c.lines++; c.lines > MaxLogLines {
			if c.lines == MaxLogLines+1 {
				c.Log.Warn("the agent logs too much; the rest of this tick's lines is dropped", "lines", MaxLogLines)
			}
			return
		}
		c.moved = len(b)
		c.Host.LogEmit(b)
	},
}

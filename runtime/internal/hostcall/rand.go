package hostcall

// MaxRandom is the most bytes that one rand_bytes gives.
const MaxRandom = 1 << 20

var randBytes = function{
	capability: "rand",
	name:       "rand_bytes",
	params:     types(i32, i32),
	results:    types(i32),
	price:      price{{1, MaxRandom, perByte}},
	do: func(c *call) {
		b, code := c.input(0, MaxRandom)
		if code == 0 {
			c.Host.RandBytes(b)
		}
		c.return32(code)
	},
}

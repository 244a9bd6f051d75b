package hostcall

import "igor.dev/runtime/internal/kv"

var kvGet = function{
	capability: "kv",
	name:       "kv_get",
	params:     types(i32, i32, i32, i32),
	results:    types(i32),
	price:      price{{1, kv.MaxKey, perByte}, {3, kv.MaxValue, perRoom}},
	do: func(c *call) {
		room, ok := c.room(2)
		key, code := c.input(0, kv.MaxKey)
		switch {
		case code != 0:
			c.return32(code)
		case !ok:
			c.return32(CodeFailed)
		default:
			written, code := c.Host.KVGet(key, room)
			c.output(2, written, code)
		}
	},
}

var kvPut = function{
	capability: "kv",
	name:       "kv_put",
	params:     types(i32, i32, i32, i32),
	results:    types(i32),
	price:      price{{1, kv.MaxKey, perByte}, {3, kv.MaxValue, perByte}},
	do: func(c *call) {
		key, code := c.input(0, kv.MaxKey)
		value, badValue := c.input(2, kv.MaxValue)
		switch {
		case code != 0:
			c.return32(code)
		case badValue != 0:
			c.return32(badValue)
		default:
			c.return32(c.Host.KVPut(key, value))
		}
	},
}

var kvDelete = function{
	capability: "kv",
	name:       "kv_delete",
	params:     types(i32, i32),
	results:    types(i32),
	price:      price{{1, kv.MaxKey, perByte}},
	do: func(c *call) {
		key, code := c.input(0, kv.MaxKey)
		if code == 0 {
			code = c.Host.KVDelete(key)
		}
		c.return32(code)
	},
}

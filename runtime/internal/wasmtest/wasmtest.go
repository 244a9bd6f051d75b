// Package wasmtest assembles small agents for tests: a counter, of which a test
// replaces the functions that it wants to behave otherwise.
//
// Function bodies are the raw instructions of the binary format, written as
// string constants, without the final end.
package wasmtest

import (
	"encoding/binary"
	"strings"
)

// Instructions and short sequences of them.
const (
	Unreachable = "\x00"
	Drop        = "\x1a"
	Forever     = "\x03\x40\x0c\x00\x0b" // loop br 0 end
	Count       = "\x41\x00" + "\x41\x00\x29\x03\x00" + "\x42\x01\x7c" + "\x37\x03\x00"
	// Exhaust is: loop (memory.grow 16 pages; if it worked, again) end.
	Exhaust = "\x03\x40\x41\x10\x40\x00\x41\x7f\x47\x0d\x00\x0b"
	// ExhaustTable is the same with table.grow by 65,536 null entries of table 0.
	ExhaustTable = "\x03\x40\xd0\x70\x41\x80\x80\x04\xfc\x0f\x00\x41\x7f\x47\x0d\x00\x0b"
	// Recurse calls agent_tick, which is the second function without imports.
	Recurse = "\x10\x01\x1a"
)

// I32 is i32.const v.
func I32(v int32) string { return "\x41" + string(sleb(int64(v))) }

// I64 is i64.const v.
func I64(v int64) string { return "\x42" + string(sleb(v)) }

// Call is a call of the function with this index; imports come first.
func Call(index int) string { return "\x10" + string(uleb(index)) }

// StoreI32 is i32.store of what value leaves at the address.
func StoreI32(address int32, value string) string { return I32(address) + value + "\x36\x02\x00" }

// Repeat is body n times. How often it was, is an i32 at CountAt.
func Repeat(n int32, body string) string {
	count := I32(CountAt) + "\x28\x02\x00"         // i32.load
	next := StoreI32(CountAt, count+I32(1)+"\x6a") // i32.add
	return StoreI32(CountAt, I32(0)) +
		"\x03\x40" + body + next + count + I32(n) + "\x49\x0d\x00\x0b" // loop … i32.lt_u br_if 0 end
}

// CountAt is where Repeat counts.
const CountAt = 16

// After is body, if the counter of a counter's ticks is more than n.
func After(n int64, body string) string {
	return I32(0) + "\x29\x03\x00" + I64(n) + "\x55" + "\x04\x40" + body + "\x0b" // i64.load i64.gt_s if … end
}

// A Type is a function type in the binary format.
type Type string

// The types that agents are made of.
const (
	Nothing  Type = "\x60\x00\x00"
	ToI32    Type = "\x60\x00\x01\x7f"
	ToI64    Type = "\x60\x00\x01\x7e"
	I32ToI32 Type = "\x60\x01\x7f\x01\x7f"
	I32I32   Type = "\x60\x02\x7f\x7f\x00"
	TakesI32 Type = "\x60\x01\x7f\x00"
	I32x4    Type = "\x60\x04\x7f\x7f\x7f\x7f\x00"
	I32x2I32 Type = "\x60\x02\x7f\x7f\x01\x7f"
)

// An Import is an imported function.
type Import struct {
	Module, Name string
	Type         Type
}

// FuncType is the type of a function with these parameters and results: a letter
// each, i for i32 and I for i64.
func FuncType(params, results string) Type {
	encode := func(letters string) string {
		out := string(uleb(len(letters)))
		for _, c := range letters {
			out += map[rune]string{'i': "\x7f", 'I': "\x7e"}[c]
		}
		return out
	}
	return Type("\x60" + encode(params) + encode(results))
}

// The hostcalls.
var (
	ClockNow           = Import{"igor", "clock_now", ToI64}
	RandBytes          = Import{"igor", "rand_bytes", I32x2I32}
	LogEmit            = Import{"igor", "log_emit", I32I32}
	WalletBalance      = Import{"igor", "wallet_balance", ToI64}
	WalletReceiptCount = Import{"igor", "wallet_receipt_count", ToI32}
	WalletReceipt      = Import{"igor", "wallet_receipt", FuncType("iii", "i")}
	NodePrice          = Import{"igor", "node_price", ToI64}
	HTTPRequest        = Import{"igor", "http_request", FuncType("iiiiiiiiii", "i")}
	WalletPay          = Import{"igor", "wallet_pay", FuncType("Iiiiiii", "i")}
	KVGet              = Import{"igor", "kv_get", FuncType("iiii", "i")}
	KVPut              = Import{"igor", "kv_put", FuncType("iiii", "i")}
	KVDelete           = Import{"igor", "kv_delete", I32x2I32}
	NodeID             = Import{"igor", "node_id", I32x2I32}
	PeerCount          = Import{"igor", "peer_count", ToI32}
	PeerOffer          = Import{"igor", "peer_offer", FuncType("iii", "i")}
	Migrate            = Import{"igor", "migrate", I32x2I32}
	MigrateStatus      = Import{"igor", "migrate_status", ToI32}
	DrainDeadline      = Import{"igor", "drain_deadline", ToI64}
)

// Hostcalls are all of them.
var Hostcalls = []Import{ClockNow, RandBytes, LogEmit, WalletBalance, WalletReceiptCount, WalletReceipt,
	NodePrice, HTTPRequest, WalletPay, KVGet, KVPut, KVDelete,
	NodeID, PeerCount, PeerOffer, Migrate, MigrateStatus, DrainDeadline}

// Params are the parameters of a type, as [FuncType] takes them.
func (t Type) Params() string {
	return strings.NewReplacer("\x7f", "i", "\x7e", "I").Replace(string(t[2 : 2+t[1]]))
}

// A Func is an exported function.
type Func struct {
	Type Type
	Body string
}

// DataAt is where an agent's Data is.
const DataAt = 1024

// An Agent is a module to be.
type Agent struct {
	Imports []Import
	Funcs   map[string]Func   // instead of, or beside, the counter's; a zero Func leaves one out
	Pages   int               // of memory, 0 = 1
	Table   bool              // a table of one entry without a maximum
	Start   string            // the name of the function that is the start function
	Private bool              // the memory is not exported
	Data    string            // what memory begins with at DataAt
	Locals  map[string]string // the locals of functions, as the binary format has them
}

var counter = []struct {
	name string
	Func
}{
	{"agent_init", Func{Nothing, ""}},
	{"agent_tick", Func{ToI32, Count + I32(1)}},
	{"agent_checkpoint", Func{ToI32, "\x41\x08"}},
	{"agent_checkpoint_ptr", Func{ToI32, "\x41\x00"}},
	{"agent_resume", Func{I32I32, "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00"}}, // store(0, load(ptr))
	{"malloc", Func{I32ToI32, "\x41\x80\x01"}},
	{"_initialize", Func{}},
	{"agent_observe", Func{}},
	{"extra", Func{}},
}

// Bytes assembles the agent.
func (a Agent) Bytes() []byte {
	var types, imports, functions, exports, code [][]byte
	typeIndex := func(t Type) []byte {
		for i := range types {
			if string(types[i]) == string(t) {
				return uleb(i)
			}
		}
		types = append(types, []byte(t))
		return uleb(len(types) - 1)
	}
	for _, im := range a.Imports {
		entry := append(name(im.Module), name(im.Name)...)
		imports = append(imports, append(append(entry, 0), typeIndex(im.Type)...))
	}
	var start []byte
	for _, f := range counter {
		fn := f.Func
		if other, ok := a.Funcs[f.name]; ok {
			fn = other
		}
		if fn.Type == "" {
			continue
		}
		index := uleb(len(imports) + len(functions))
		if f.name == a.Start {
			start = index
		}
		functions = append(functions, typeIndex(fn.Type))
		exports = append(exports, append(append(name(f.name), 0), index...))
		locals := a.Locals[f.name]
		if locals == "" {
			locals = "\x00"
		}
		body := []byte(locals + fn.Body + "\x0b")
		code = append(code, append(uleb(len(body)), body...))
	}
	if !a.Private {
		exports = append(exports, append(name("memory"), 2, 0))
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content []byte) {
		out = append(append(append(out, id), uleb(len(content))...), content...)
	}
	section(1, vector(types))
	section(2, vector(imports))
	section(3, vector(functions))
	if a.Table {
		section(4, []byte{1, 0x70, 0, 1})
	}
	section(5, append([]byte{1, 0}, uleb(max(1, a.Pages))...))
	section(7, vector(exports))
	if start != nil {
		section(8, start)
	}
	section(10, vector(code))
	if a.Data != "" {
		section(11, append([]byte("\x01\x00"+I32(DataAt)+"\x0b"), name(a.Data)...))
	}
	return out
}

func vector(items [][]byte) []byte {
	out := uleb(len(items))
	for _, item := range items {
		out = append(out, item...)
	}
	return out
}

func name(s string) []byte { return append(uleb(len(s)), s...) }

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(v int64) []byte {
	var out []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}

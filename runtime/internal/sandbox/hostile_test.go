package sandbox

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
	"igor.dev/runtime/internal/wasmtest"
)

// A hostile module, and how it ends: refused, or with a failure of a call.
type hostileModule struct {
	name    string
	wasm    []byte
	failure Failure // 0: refused
	want    string  // part of the error; it begins with the call
	slow    bool    // the interpreter takes too long
}

// order is the order of sections, by id.
var order = []byte{module.Type, module.Import, module.Function, module.Table, module.Memory, module.Global, module.Export,
	module.Start, module.Element, module.DataCount, module.Code, module.Data}

// with returns a module with other sections.
func with(wasm []byte, sections map[byte]string) []byte {
	m, err := module.Parse(wasm)
	if err != nil {
		panic(err)
	}
	all := map[byte]string{}
	for _, s := range m.Sections {
		all[s.ID] = string(s.Content)
	}
	maps.Copy(all, sections)
	out := &module.Module{}
	for _, id := range order {
		if c, ok := all[id]; ok {
			out.Sections = append(out.Sections, module.Section{ID: id, Content: []byte(c)})
		}
	}
	return out.Bytes()
}

// more returns a section of a module with n more entries.
func more(wasm []byte, id byte, n int, entries string) map[byte]string {
	m, err := module.Parse(wasm)
	if err != nil {
		panic(err)
	}
	for _, s := range m.Sections {
		if s.ID == id {
			had, size := binary.Uvarint(s.Content)
			return map[byte]string{id: uleb(int(had)+n) + string(s.Content[size:]) + entries}
		}
	}
	return map[byte]string{id: uleb(n) + entries}
}

func uleb(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }

func sized(s string) string { return uleb(len(s)) + s }

// withFuncs returns a module with n more functions of its first type, () -> ().
func withFuncs(wasm []byte, n int, body string) []byte {
	wasm = with(wasm, more(wasm, module.Function, n, strings.Repeat("\x00", n)))
	return with(wasm, more(wasm, module.Code, n, strings.Repeat(sized("\x00"+body+"\x0b"), n)))
}

// withExport returns a module with another export, which has another name in the
// place of one that there is.
func withExport(wasm []byte, name string, kind, index byte) []byte {
	return with(wasm, more(wasm, module.Export, 1, sized(name)+string([]byte{kind, index})))
}

// Shapes of code, of size n, that are much work to read, to meter or to compile.
var shapes = map[string]func(n int) []byte{
	"targets of a br_table": func(n int) []byte {
		return tick("\x03\x40" + wasmtest.I32(-1) + "\x0e" + uleb(n) + strings.Repeat("\x00", n+1) + "\x0b")
	},
	"br_tables": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x02\x40"+wasmtest.I32(0)+"\x0e\x02\x00\x01\x00\x0b", n) + "\x0c\x00\x0b")
	},
	"blocks that a br_table leaves": func(n int) []byte {
		targets := ""
		for i := range n {
			targets += uleb(i)
		}
		return tick("\x03\x40" + strings.Repeat("\x02\x40", n) + wasmtest.I32(-1) + "\x0e" + uleb(n) + targets + uleb(n) + strings.Repeat("\x0b", n) + "\x0b")
	},
	"instructions": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat(wasmtest.I32(7)+wasmtest.Drop, n) + "\x0c\x00\x0b")
	},
	"operands": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x41\x00\x28\x02\x00", n) + strings.Repeat("\x6a", n-1) + "\x1a\x0c\x00\x0b")
	},
	"loads": func(n int) []byte {
		return tick("\x03\x40\x41\x00" + strings.Repeat("\x28\x02\x00", n) + "\x1a\x0c\x00\x0b")
	},
	"blocks in blocks": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x02\x40", n) + strings.Repeat("\x0b", n) + "\x0c\x00\x0b")
	},
	"blocks that all are left": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x02\x40\x41\x00\x0d\x00", n) + strings.Repeat("\x0b", n) + "\x0c\x00\x0b")
	},
	"ifs in ifs": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x41\x01\x04\x40", n) + strings.Repeat("\x05\x0b", n) + "\x0c\x00\x0b")
	},
	"ifs with an else": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x41\x01\x04\x40\x01\x05\x01\x0b", n) + "\x0c\x00\x0b")
	},
	"ways out of a block": func(n int) []byte {
		return tick("\x03\x40\x02\x40" + strings.Repeat("\x41\x00\x0d\x00", n) + "\x0b\x0c\x00\x0b")
	},
	"returns": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x41\x00\x04\x40\x41\x00\x0f\x0b", n) + "\x0c\x00\x0b")
	},
	"loops that are left by one br": func(n int) []byte { // each pays for the next one's first run
		return tick("\x03\x40" + strings.Repeat("\x03\x40\x41\x00\x04\x40\x0c\x01\x0b\x0b", n) + "\x0c\x00\x0b")
	},
	"loops in loops": func(n int) []byte { // one br goes through all of them
		return tick(strings.Repeat("\x03\x40", n) + "\x0c" + uleb(n-1) + strings.Repeat("\x0b", n))
	},
	"loops that all begin again": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x03\x40", n) + strings.Repeat("\x41\x00\x0d\x00\x0b", n) + "\x0c\x00\x0b")
	},
	"loops in blocks": func(n int) []byte {
		return tick(strings.Repeat("\x03\x40\x02\x40", n) + "\x0c" + uleb(2*n-1) + strings.Repeat("\x0b", 2*n))
	},
	"loops in ifs": func(n int) []byte {
		return tick(strings.Repeat("\x03\x40\x41\x01\x04\x40", n) + "\x0c" + uleb(2*n-1) + strings.Repeat("\x0b", 2*n))
	},
	"loops in an else": func(n int) []byte {
		return tick(strings.Repeat("\x03\x40\x41\x00\x04\x40\x05", n) + "\x0c" + uleb(2*n-1) + strings.Repeat("\x0b", 2*n))
	},
	"loops to which a br_table leads": func(n int) []byte {
		targets := ""
		for i := range n {
			targets += uleb(i)
		}
		return tick(strings.Repeat("\x03\x40", n) + wasmtest.I32(-1) + "\x0e" + uleb(n) + targets + uleb(n-1) + strings.Repeat("\x0b", n))
	},
	"calls": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x10\x00", n) + "\x0c\x00\x0b")
	},
	"functions": func(n int) []byte {
		return withFuncs(tick(wasmtest.Forever), n, "\x10\x00")
	},
	"lengths": func(n int) []byte {
		return tick("\x03\x40" + strings.Repeat("\x41\x00\x41\x00\x41\x00\xfc\x0b\x00", n) + "\x0c\x00\x0b")
	},
	"globals": func(n int) []byte {
		return with(tick(wasmtest.Forever), map[byte]string{module.Global: uleb(n) + strings.Repeat("\x7f\x01\x41\x00\x0b", n)})
	},
	"exports": func(n int) []byte {
		entries, name := "", []byte("aaaaaaaa")
		for i := range n {
			binary.LittleEndian.PutUint32(name, uint32(i)&0x7f|uint32(i)>>7&0x7f<<8|uint32(i)>>14&0x7f<<16|'a'<<24)
			entries += sized(string(name)) + "\x00\x00"
		}
		wasm := tick(wasmtest.Forever)
		return with(wasm, more(wasm, module.Export, n, entries))
	},
	"types": func(n int) []byte {
		wasm := tick(wasmtest.Forever)
		return with(wasm, more(wasm, module.Type, n, strings.Repeat(string(wasmtest.I32ToI32), n)))
	},
	"data segments": func(n int) []byte {
		return with(tick(wasmtest.Forever), map[byte]string{module.DataCount: uleb(n), module.Data: uleb(n) + strings.Repeat("\x00\x41\x00\x0b\x01a", n)})
	},
	"passive data segments": func(n int) []byte {
		return with(tick(wasmtest.Forever), map[byte]string{module.DataCount: uleb(n), module.Data: uleb(n) + strings.Repeat("\x01\x01a", n)})
	},
	"element segments": func(n int) []byte {
		return with(tick(wasmtest.Forever), map[byte]string{module.Element: uleb(n) + strings.Repeat("\x00\x41\x00\x0b\x01\x00", n)})
	},
	"elements": func(n int) []byte {
		return with(tick(wasmtest.Forever), map[byte]string{module.Element: "\x01\x01\x00" + uleb(n) + strings.Repeat("\x00", n)})
	},
	"groups of locals": func(n int) []byte {
		agent := one("agent_tick", wasmtest.Nothing, wasmtest.Forever)
		agent.Locals = map[string]string{"agent_tick": uleb(n) + strings.Repeat("\x00\x7e", n)}
		return agent.Bytes()
	},
}

// sizes are those of the shapes in tests, where they are not 300.
var sizes = map[string]int{"instructions": 5_000, "targets of a br_table": 1_000, "types": 10_000, "data segments": 5_000,
	"passive data segments": 5_000, "element segments": 5_000, "elements": 10_000, "groups of locals": 2_000, "exports": 2_000}

// tick is an agent whose tick is this, and does not come back.
func tick(body string) []byte { return one("agent_tick", wasmtest.Nothing, body).Bytes() }

func hostileModules() (all []hostileModule) {
	add := func(m hostileModule) { all = append(all, m) }
	const tickFailed, instantiationFailed = "agent_tick failed: ", "instantiation failed: "
	traps := func(name, body, want string) {
		add(hostileModule{name: name, wasm: tick(body), failure: Trap, want: tickFailed + want})
	}
	hungry := func(name, body string) {
		add(hostileModule{name: name, wasm: tick(body), failure: Fuel, want: tickFailed + "it used up its fuel"})
	}
	refused := func(name string, wasm []byte, want string) {
		add(hostileModule{name: name, wasm: wasm, want: want})
	}
	add(hostileModule{name: "5,000 loops in loops", wasm: shapes["loops in loops"](5_000), failure: Fuel, want: tickFailed + "it used up its fuel"})
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		n := sizes[name]
		if n == 0 {
			n = 300
		}
		add(hostileModule{name: "many " + name, wasm: shapes[name](n), failure: Fuel, want: tickFailed + "it used up its fuel", slow: name == "loads"})
	}

	// Depth.
	deep := func(name string, wasm []byte, call string) {
		add(hostileModule{name: name, wasm: wasm, failure: Depth, want: call + " failed: its calls are nested too deeply"})
	}
	mutual := one("agent_tick", wasmtest.Nothing, "\x10\x06")
	mutual.Funcs["extra"] = wasmtest.Func{Type: wasmtest.Nothing, Body: "\x10\x01"}
	deep("mutual recursion", mutual.Bytes(), "agent_tick")
	table := map[byte]string{module.Element: "\x01\x00\x41\x00\x0b\x01\x01"} // agent_tick
	deep("recursion through a table", with(tick("\x41\x00\x11\x00\x00"), table), "agent_tick")
	for _, wide := range []string{"\x01\x80\x10\x7e", "\x01\x80\x10\x7b"} { // 2,048 of i64, of v128
		agent := one("agent_tick", wasmtest.Nothing, "\x10\x01")
		agent.Locals = map[string]string{"agent_tick": wide}
		deep("recursion with locals "+wide[3:], agent.Bytes(), "agent_tick")
	}
	deep("recursion with operands", tick(strings.Repeat("\x42\x00", 3000)+"\x10\x01"+strings.Repeat("\x1a", 3000)), "agent_tick")
	deep("a frame over all", tick(strings.Repeat("\x42\x00", fuel.MaxDepth)+strings.Repeat("\x1a", fuel.MaxDepth)), "agent_tick")
	for name, f := range map[string]wasmtest.Func{"_initialize": {Type: wasmtest.Nothing, Body: "\x10\x06"}, "malloc": {Type: wasmtest.I32ToI32, Body: "\x20\x00\x10\x05"},
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: "\x10\x02"}, "agent_resume": {Type: wasmtest.I32I32, Body: "\x20\x00\x20\x01\x10\x04"}} {
		deep("recursion of "+name, one(name, f.Type, f.Body).Bytes(), name)
	}
	start := func(body string) wasmtest.Agent {
		agent := one("extra", wasmtest.Nothing, body)
		agent.Start = "extra"
		return agent
	}
	deep("recursion of the start function", start("\x10\x06").Bytes(), "instantiation")

	// Fuel.
	const loop, again = "\x03\x40", "\x0c\x00\x0b"
	hungry("memory.grow by 4 Gi pages", wasmtest.I32(-1)+"\x40\x00\x1a")
	hungry("memory.grow by 4 Gi pages again and again", loop+strings.Repeat(wasmtest.I32(-1)+"\x40\x00\x1a", 1000)+again)
	hungry("memory.grow by nothing", loop+wasmtest.I32(0)+"\x40\x00\x1a"+again)
	hungry("table.grow by 4 Gi", "\xd0\x70"+wasmtest.I32(-1)+"\xfc\x0f\x00\x1a")
	hungry("memory.fill of 4 GiB", wasmtest.I32(0)+wasmtest.I32(0)+wasmtest.I32(-1)+"\xfc\x0b\x00")
	hungry("memory.copy of 4 GiB", wasmtest.I32(0)+wasmtest.I32(0)+wasmtest.I32(-1)+"\xfc\x0a\x00\x00")
	hungry("table.fill of 4 Gi", wasmtest.I32(0)+"\xd0\x70"+wasmtest.I32(-1)+"\xfc\x11\x00")
	hungry("table.copy of 4 Gi", wasmtest.I32(0)+wasmtest.I32(0)+wasmtest.I32(-1)+"\xfc\x0e\x00\x00")
	hungry("memory.fill in a loop", loop+wasmtest.I32(0)+wasmtest.I32(0)+wasmtest.I32(65536)+"\xfc\x0b\x00"+again)
	hungry("division in a loop", loop+wasmtest.I64(-1)+wasmtest.I64(3)+"\x80\x1a"+again)
	hungry("vectors in a loop", loop+"\x41\x00\xfd\x0f\x41\x01\xfd\x0f\xfd\xba\x01\x1a"+again) // i32x4.dot_i16x8_s
	add(hostileModule{name: "call_indirect in a loop", wasm: with(tick(loop+"\x41\x00\x11\x00\x00"+again), map[byte]string{module.Element: "\x01\x00\x41\x00\x0b\x01\x00"}),
		failure: Fuel, want: tickFailed + "it used up its fuel"})
	add(hostileModule{name: "start function that grows memory", wasm: start("\x03\x40\x41\x01\x40\x00\x1a\x0c\x00\x0b").Bytes(),
		failure: Fuel, want: instantiationFailed + "it used up its fuel"})
	add(hostileModule{name: "_initialize that grows memory", wasm: one("_initialize", wasmtest.Nothing, "\x03\x40\x41\x01\x40\x00\x1a\x0c\x00\x0b").Bytes(),
		failure: Fuel, want: "_initialize failed: it used up its fuel"})
	for _, c := range []struct {
		name, args string
		im         wasmtest.Import
	}{
		{"random_get of 4 GiB", wasmtest.I32(0) + wasmtest.I32(-1), wasmtest.Import{Module: "wasi_snapshot_preview1", Name: "random_get", Type: wasmtest.I32x2I32}},
		{"poll_oneoff of 4 Gi", wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(-1) + wasmtest.I32(0), wasmtest.Import{Module: "wasi_snapshot_preview1", Name: "poll_oneoff", Type: wasmtest.FuncType("iiii", "i")}},
		{"fd_write of 4 Gi vectors", wasmtest.I32(1) + wasmtest.I32(0) + wasmtest.I32(-1) + wasmtest.I32(0), wasmtest.Import{Module: "wasi_snapshot_preview1", Name: "fd_write", Type: wasmtest.FuncType("iiii", "i")}},
	} {
		agent := one("agent_tick", wasmtest.Nothing, loop+c.args+wasmtest.Call(0)+wasmtest.Drop+again)
		agent.Imports = []wasmtest.Import{c.im}
		add(hostileModule{name: c.name, wasm: agent.Bytes(), failure: Fuel, want: tickFailed + "it used up its fuel"})
	}

	// Traps.
	traps("division by zero", "\x41\x01\x41\x00\x6d\x1a", "integer divide by zero")
	traps("the least number by -1", wasmtest.I32(-1<<31)+wasmtest.I32(-1)+"\x6d\x1a", "integer overflow")
	traps("no number", "\x43\x00\x00\xc0\x7f\xa8\x1a", "invalid conversion to integer")
	traps("a load behind memory", wasmtest.I32(-1)+"\x28\x02\x00\x1a", "out of bounds memory access")
	traps("a load with a large offset", wasmtest.I32(-1)+"\x28\x02\xff\xff\xff\xff\x0f\x1a", "out of bounds memory access")
	traps("a vector behind memory", wasmtest.I32(65521)+"\xfd\x00\x04\x00\x1a", "out of bounds memory access")
	traps("memory.copy behind memory", wasmtest.I32(65535)+wasmtest.I32(0)+wasmtest.I32(2)+"\xfc\x0a\x00\x00", "out of bounds memory access")
	traps("a table entry that is not there", "\x41\x01\x25\x00\x1a", "invalid table access")
	traps("call_indirect of null", "\x41\x00\x11\x00\x00", "invalid table access")
	traps("call_indirect behind the table", wasmtest.I32(-1)+"\x11\x00\x00", "invalid table access")
	add(hostileModule{name: "call_indirect of another type", wasm: with(tick("\x41\x00\x11\x00\x00"), map[byte]string{module.Element: "\x01\x00\x41\x00\x0b\x01\x02"}),
		failure: Trap, want: tickFailed + "indirect call type mismatch"})
	add(hostileModule{name: "data behind memory", wasm: with(tick(""), map[byte]string{module.Data: "\x01\x00\x41\xff\xff\x03\x0b\x02ab"}),
		failure: Trap, want: instantiationFailed})
	add(hostileModule{name: "more data than memory", wasm: with(tick(""), map[byte]string{module.Data: "\x01\x00\x41\x00\x0b" + sized(strings.Repeat("x", 1<<20))}),
		failure: Trap, want: instantiationFailed})
	add(hostileModule{name: "start function that traps", wasm: start(wasmtest.Unreachable).Bytes(), failure: Trap, want: instantiationFailed})
	for _, size := range []int32{-1, -1 << 31, MaxState + 1, pageSize + 1} {
		add(hostileModule{name: "a state of " + wasmtest.I32(size), wasm: one("agent_checkpoint", wasmtest.ToI32, wasmtest.I32(size)).Bytes(), failure: Trap, want: "its state"})
	}
	for _, at := range []int32{-1, -8, -1 << 31, pageSize - 7} {
		add(hostileModule{name: "a state at " + wasmtest.I32(at), wasm: one("agent_checkpoint_ptr", wasmtest.ToI32, wasmtest.I32(at)).Bytes(),
			failure: Trap, want: "agent_checkpoint_ptr failed: its state (8 bytes at"})
		add(hostileModule{name: "malloc gives " + wasmtest.I32(at), wasm: one("malloc", wasmtest.I32ToI32, wasmtest.I32(at)).Bytes(),
			failure: Trap, want: "malloc failed: the memory that it gave (8 bytes at"})
	}
	absurd := one("agent_tick", wasmtest.Nothing, wasmtest.I32(-1)+wasmtest.I32(-1)+wasmtest.Call(0)+wasmtest.Unreachable)
	absurd.Imports = []wasmtest.Import{wasmtest.LogEmit}
	add(hostileModule{name: "a line that is all memory", wasm: absurd.Bytes(), failure: Trap, want: tickFailed + "unreachable"})

	// What is not there, of another type, or of the same name.
	base := tick("")
	refused("agent_tick is memory", withExport(one("agent_tick", "", "").Bytes(), "agent_tick", 2, 0), "it does not export agent_tick()")
	wrong := one("malloc", "", "")
	refused("malloc is a table", withExport(wrong.Bytes(), "malloc", 1, 0), "it does not export malloc")
	refused("_initialize with a parameter", one("_initialize", wasmtest.TakesI32, "").Bytes(), "it exports _initialize as (i32)")
	refused("agent_observe without parameters", one("agent_observe", wasmtest.Nothing, "").Bytes(), "it exports agent_observe as ()")
	refused("malloc of i64", one("malloc", wasmtest.FuncType("I", "i"), "\x41\x00").Bytes(), "it exports malloc as (i64)")
	refused("two results", one("agent_checkpoint", wasmtest.FuncType("", "ii"), "\x41\x00\x41\x00").Bytes(), "it exports agent_checkpoint as () -> ")
	refused("an export twice", withExport(base, "agent_init", 0, 0), "")
	refused("an export of nothing", withExport(base, "more", 0, 99), "")
	refused("an export of our function", withExport(base, "more", 0, 6), "")
	refused("an export of our account", withExport(base, "more", 3, 0), "")
	refused("a start function with a parameter", with(base, map[byte]string{module.Start: "\x05"}), "")
	refused("a start function that is ours", with(base, map[byte]string{module.Start: "\x06"}), "")
	refused("a call of our function", tick("\x10\x06"), "")
	refused("our function in a table", with(base, map[byte]string{module.Element: "\x01\x00\x41\x00\x0b\x01\x06"}), "")
	refused("our account", tick("\x42\x00\x24\x00"), "")
	refused("our account in a global", with(base, map[byte]string{module.Global: "\x01\x7e\x00\x23\x01\x0b"}), "")
	refused("a global in itself", with(base, map[byte]string{module.Global: "\x01\x7f\x00\x23\x00\x0b"}), "")
	refused("our slices", wasmtest.Agent{Imports: []wasmtest.Import{{Module: fuel.HookModule, Name: fuel.HookName, Type: wasmtest.FuncType("I", "I")}}}.Bytes(), "there is no module")

	// Limits.
	for locals, want := range map[int]string{2049: "a function with 2049 parameters and locals, and at most 2048", 50_001: "50001 locals, and at most 50000"} {
		agent := one("agent_tick", wasmtest.Nothing, "")
		agent.Locals = map[string]string{"agent_tick": "\x01" + uleb(locals) + "\x7e"}
		refused("locals "+want, agent.Bytes(), want)
	}
	wide := one("agent_tick", wasmtest.Nothing, loop+strings.Repeat("\x41\x00\x0d\x00", 1000)+again)
	wide.Locals = map[string]string{"agent_tick": "\x01\x80\x10\x7e"}
	refused("locals across branches", wide.Bytes(), "so many locals and branches")
	refused("loops in loops over the limit", shapes["loops in loops"](15_000), "so many blocks and branches")
	refused("ways out of a block over the limit", shapes["ways out of a block"](45_000), "so many blocks and branches")
	refused("targets of a br_table over the limit", shapes["targets of a br_table"](180_000), "so many blocks and branches")
	refused("lengths over the limit", shapes["lengths"](12_000), "so many blocks and branches")
	many := with(base, more(base, module.Function, 160, strings.Repeat("\x00", 160)))
	many = with(many, more(many, module.Code, 160, strings.Repeat(sized("\x01\x80\x02\x7e"+strings.Repeat("\x41\x00\x0d\x00", 1000)+"\x0b"), 160))) // 256 of i64
	refused("256 locals across branches", many, "so many locals and branches")
	refused("data segments over the limit", with(base, map[byte]string{module.Data: uleb(100_001) + strings.Repeat("\x01\x00", 100_001)}), "100001 data segments")
	refused("a function over the limit", tick(strings.Repeat("\x01", 7_654_321)), "and at most 7654321")
	refused("parameters over the limit", with(base, more(base, module.Type, 1, "\x60"+uleb(1001)+strings.Repeat("\x7f", 1001)+"\x00")), "1001 parameters")

	// What is no module.
	for name, body := range map[string]string{
		"an operand that is not there": "\x1a", "an operand of another type": "\x42\x00\x41\x00\x6a\x1a", "a label that is not there": "\x0c\x05",
		"a type that is not there": "\x41\x00\x11\x63\x00", "an else of nothing": "\x05", "an end too many": "\x0b", "an end too few": "\x02\x40", "a local that is not there": "\x20\x09\x1a",
		"an operand of the block around": "\x41\x00\x02\x40\x1a\x0b", "a number that is too long": "\x41\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x1a",
		// Proposals.
		"tail calls": "\x12\x01", "tail calls through a table": "\x41\x00\x13\x00\x00", "exceptions": "\x06\x40\x19\x0b", "throw": "\x08\x00", "typed references": "\xd2\x01\x14\x00",
		"atomics": "\x41\x00\x41\x00\x41\x00\xfe\x00\x02\x00\x1a", "atomic fences": "\xfe\x03\x00", "relaxed vectors": "\x41\x00\xfd\x0f\x41\x00\xfd\x0f\xfd\x80\x02\x1a", "garbage collection": "\xfb\x00\x00\x1a",
		"a second memory": "\x41\x00\x28\x42\x01\x00\x1a", "memory.grow of a second memory": "\x41\x00\x40\x01\x1a", "wide arithmetic": "\x42\x00\x42\x00\xfc\x15\x1a\x1a",
	} {
		refused(name, tick(body), "")
	}
	for name, sections := range map[string]map[byte]string{
		"two memories": {module.Memory: "\x02\x00\x01\x00\x01"}, "a memory of 64 bits": {module.Memory: "\x01\x04\x01"}, "a shared memory": {module.Memory: "\x01\x03\x01\x02"},
		"a memory of 4 Gi pages": {module.Memory: "\x01\x00\xff\xff\xff\xff\x0f"}, "a memory over its maximum": {module.Memory: "\x01\x01\x02\x01"},
		"constants that compute": {module.Global: "\x01\x7f\x00\x41\x01\x41\x01\x6a\x0b"}, "structs": {module.Type: "\x01\x5f\x00"}, "a table of 64 bits": {module.Table: "\x01\x70\x04\x01"},
		"no code": {module.Code: "\x00"}, "more data than is counted": {module.DataCount: "\x01", module.Data: "\x00"}, "an imported memory": {module.Import: "\x01\x01a\x01m\x02\x00\x01"},
		"an imported global": {module.Import: "\x01\x01a\x01g\x03\x7e\x01"}, "an imported table": {module.Import: "\x01\x01a\x01t\x01\x70\x00\x01"}, "a function without a type": {module.Function: "\x06\x63\x63\x63\x63\x63\x63"},
	} {
		m, _ := module.Parse(base)
		refused(name, raw(m, sections), "")
	}
	refused("a section twice", append(slices.Clone(base), "\x01\x01\x00"...), "")
	refused("sections out of order", append([]byte(module.Preamble+"\x0a\x01\x00"), base[8:]...), "")
	refused("tags", append(slices.Clone(base), "\x0d\x03\x01\x00\x00"...), "a section 13")
	return all
}

// raw is with, of a section that may be invalid.
func raw(m *module.Module, sections map[byte]string) []byte {
	all := maps.Clone(sections)
	for _, s := range m.Sections {
		if _, ok := all[s.ID]; !ok {
			all[s.ID] = string(s.Content)
		}
	}
	out := &module.Module{}
	for _, id := range order {
		if c, ok := all[id]; ok {
			out.Sections = append(out.Sections, module.Section{ID: id, Content: []byte(c)})
		}
	}
	return out.Bytes()
}

// TestHostileModules has modules that are made to harm. Each is refused as what it
// is not, or fails in the call in which it should, with its failure; on both
// engines for the same fuel. None takes more memory than there is for it, all comes
// back, and an agent beside them lives on.
func TestHostileModules(t *testing.T) {
	neighbour := metered
	beside := neighbour.start(t, wasmtest.Agent{}.Bytes())
	all := hostileModules()
	if len(all) < 49 {
		t.Fatalf("there are %d", len(all))
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			var units [2]uint64
			for i, interpret := range []bool{false, true} {
				if interpret && m.slow {
					continue
				}
				const quota = 128 << 20
				left := &bytesLeft{left: quota}
				s := metered
				s.interpret, s.memory = interpret, left
				if m.failure == Fuel || m.failure == 0 {
					s.limit = 2 * time.Millisecond
				}
				p, err := s.compile(t, m.wasm)
				switch {
				case m.failure == 0 && err == nil:
					t.Fatal("it is not refused")
				case m.failure == 0:
					if !errors.Is(err, ErrNotAgent) && !strings.HasPrefix(err.Error(), "agent imports ") {
						t.Errorf("got %v", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					err = live(t.Context(), p)
					e, ok := errors.AsType[*AgentError](err)
					if !ok || e.Failure != m.failure {
						t.Fatalf("got %v, want failure %d", err, m.failure)
					}
					units[i] = e.Fuel
					p.Close()
				}
				if !strings.Contains(err.Error(), m.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got error %q, want a line with %q", err, m.want)
				}
				if left.left != quota {
					t.Errorf("%d of %d bytes came back", left.left, quota)
				}
			}
			if !m.slow && units[0] != units[1] {
				t.Errorf("%d units on one engine, %d on the other", units[0], units[1])
			}
			if _, err := beside.Tick(t.Context()); err != nil {
				t.Errorf("an agent beside it: %v", err)
			}
		})
	}
}

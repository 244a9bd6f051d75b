package fuel_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
	_ "igor.dev/runtime/internal/sandbox" // gives the interpreter room
)

// A recursive function calls itself until it is stopped.
type recursive struct {
	name           string
	params, locals int
	results        int // of the last call, and given back
	typ            byte
	operands       int    // on the stack during the call
	more           string // instructions before the call
	indirect       bool
}

var recursives = []recursive{
	{name: "a small frame"},
	{name: "a small frame, through a table", indirect: true},
	{name: "one parameter", params: 1, typ: 0x7f},
	{name: "10 parameters", params: 10, typ: 0x7e},
	{name: "100 parameters", params: 100, typ: 0x7e},
	{name: "1,000 parameters", params: 1000, typ: 0x7e},
	{name: "5 locals", locals: 5, typ: 0x7e},
	{name: "50 locals", locals: 50, typ: 0x7c},
	{name: "2,048 locals", locals: 2048, typ: 0x7e},
	{name: "5 vectors", locals: 5, typ: 0x7b},
	{name: "2,048 vectors", locals: 2048, typ: 0x7b},
	{name: "100 parameters that are vectors", params: 100, typ: 0x7b},
	{name: "100 results", results: 100, typ: 0x7e},
	{name: "1,000 results", results: 1000, typ: 0x7e},
	{name: "1,000 results that are vectors", results: 1000, typ: 0x7b},
	{name: "1,000 parameters and results", params: 1000, results: 1000, typ: 0x7e},
	{name: "5 operands", operands: 5, typ: 0x7e},
	{name: "500 operands", operands: 500, typ: 0x7e},
	{name: "20,000 operands", operands: 20000, typ: 0x7e},
	{name: "500 operands that are vectors", operands: 500, typ: 0x7b},
	{name: "20,000 instructions", more: strings.Repeat("\x41\x00\x28\x02\x00\x1a", 7000)},
	{name: "20,000 instructions and locals", locals: 100, typ: 0x7c, more: strings.Repeat("\x20\x00\x20\x01\xa0\x21\x02", 5000)},
}

func (r recursive) wasm() []byte {
	zero := map[byte]string{0x7f: "\x41\x00", 0x7e: "\x42\x00", 0x7c: "\x44" + strings.Repeat("\x00", 8), 0x7b: "\xfd\x0c" + strings.Repeat("\x00", 16)}[r.typ]
	leb := func(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }
	call := "\x10\x00"
	if r.indirect {
		call = "\x41\x00\x11\x00\x00"
	}
	code := "\x00"
	if r.locals > 0 {
		code = "\x01" + leb(r.locals) + string(r.typ)
	}
	// Parameters, operands and locals are used behind the call, so that they live across it.
	code += r.more + strings.Repeat(zero, r.operands)
	for i := range r.params {
		code += "\x20" + leb(i)
	}
	code += call
	if r.results == 0 {
		code += strings.Repeat("\x1a", r.operands)
	}
	for i := range r.params + r.locals {
		code += "\x20" + leb(i) + "\x1a"
	}
	code += "\x0b"
	enter := "\x00" + strings.Repeat(zero, r.params) + "\x10\x00" + strings.Repeat("\x1a", r.results) + "\x0b"
	out := section([]byte(module.Preamble), module.Type, []byte("\x02\x60"+leb(r.params)+strings.Repeat(string(r.typ), r.params)+leb(r.results)+strings.Repeat(string(r.typ), r.results)+"\x60\x00\x00"))
	out = section(out, module.Function, []byte{2, 0, 1})
	out = section(out, module.Table, []byte{1, 0x70, 0, 1})
	out = section(out, module.Memory, []byte{1, 0, 1})
	out = section(out, module.Export, []byte("\x01\x01f\x00\x01"))
	out = section(out, module.Element, []byte("\x01\x00\x41\x00\x0b\x01\x00"))
	return section(out, module.Code, []byte("\x02"+leb(len(code))+code+leb(len(enter))+enter))
}

// inNode runs modules in Node.js, whose engine is V8. Each has to end because its
// calls are too deep, and not because V8's stack is.
const inNode = `
const fs = require("fs")
for (const file of process.argv.slice(1)) {
	class Deep extends Error {}
	let calls = 0
	const slice = account => {
		const depth = BigInt.asIntN(17, account)
		if (depth < 0n) throw new Deep()
		calls++
		return account - ((account - depth)) + (1000000n << 17n)
	}
	let result
	try {
		const instance = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(file)), { "igor/fuel": { slice } })
		instance.exports["igor/fuel"].value = (1000000n << 17n) + 65535n
		instance.exports.f()
		result = "it came back"
	} catch (e) {
		result = e instanceof Deep ? "deep" : String(e)
	}
	console.log(JSON.stringify(result))
}`

// TestDepthOfEngines checks that every engine has room for calls as deep as the
// schedule lets them be, whatever their frames hold.
func TestDepthOfEngines(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there is one engine on this machine: wazero compiles for amd64 and arm64")
	}
	dir := t.TempDir()
	var files []string
	for i, r := range recursives {
		m, err := module.Parse(r.wasm())
		if err != nil {
			t.Fatal(r.name, err)
		}
		out, err := fuel.Rewrite(m, fuel.Version1)
		if err != nil {
			t.Fatal(r.name, err)
		}
		files = append(files, filepath.Join(dir, fmt.Sprint(i, ".wasm")))
		if err := os.WriteFile(files[i], out.WASM, 0o600); err != nil {
			t.Fatal(err)
		}
		var units [2]uint64
		for e, rc := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
			ctx := context.Background()
			engine := wazero.NewRuntimeWithConfig(ctx, rc)
			var a fuel.Account
			link(t, engine, func(api.Module) *fuel.Account { return &a })
			in, err := engine.Instantiate(ctx, out.WASM)
			if err != nil {
				t.Fatal(r.name, err)
			}
			a.Begin(in.ExportedGlobal(out.Account).(fuel.Global), 1<<40)
			if _, err := in.ExportedFunction("f").Call(ctx); !errors.Is(err, fuel.ErrTooDeep) {
				t.Errorf("%s: %.200s", r.name, err)
			}
			units[e], _ = a.End()
			engine.Close(ctx)
		}
		if units[0] != units[1] {
			t.Errorf("%s: %d units on one engine, %d on the other", r.name, units[0], units[1])
		}
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not here")
	}
	// Its stack has 984 KiB, if nothing is on it.
	for _, flags := range [][]string{{"--liftoff", "--no-wasm-tier-up"}, {"--no-liftoff"}} {
		b, err := exec.Command(node, append(append(flags, "--stack-size=800", "-e", inNode, "--"), files...)...).Output()
		if err != nil {
			t.Fatal(err, string(b))
		}
		lines := strings.Fields(strings.ReplaceAll(string(b), " ", "_"))
		if len(lines) != len(files) {
			t.Fatalf("%d results for %d modules", len(lines), len(files))
		}
		for i, line := range lines {
			var result string
			if err := json.Unmarshal([]byte(line), &result); err != nil || result != "deep" {
				t.Errorf("%s, node %v: %s", recursives[i].name, flags, line)
			}
		}
	}
}

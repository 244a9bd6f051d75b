package fuel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

var errEnough = errors.New("enough")

// looks runs an export with an account that is always overdrawn, so that each look
// at it calls the host, and returns how often that was, and the units paid.
func looks(t *testing.T, wasm []byte, args ...uint64) (n, units int64) {
	t.Helper()
	ctx := context.Background()
	m, err := module.Parse(wasm)
	if err != nil {
		t.Fatal(err)
	}
	out, err := fuel.Rewrite(m, fuel.Version1)
	if err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	const depthBits = 17
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err = r.NewHostModuleBuilder(fuel.HookModule).NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		n++
		units = -(int64(stack[0]) >> depthBits)
		if n > 20_000 {
			panic(errEnough)
		}
	}), i64, i64).Export(fuel.HookName).Instantiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in, err := r.Instantiate(ctx, out.WASM)
	if err != nil {
		t.Fatal(err)
	}
	account := in.ExportedGlobal(out.Account).(api.MutableGlobal)
	owed := int64(fuel.MaxDepth) - 1<<depthBits // a unit
	account.Set(uint64(owed))
	if _, err = in.ExportedFunction("f").Call(ctx, args...); !errors.Is(err, errEnough) {
		units = -(int64(account.Get()) >> depthBits)
	}
	return n, units
}

// TestLooks checks that each look at the account is paid for, whatever the code is
// like: or a module could be made that does little else, for nothing.
func TestLooks(t *testing.T) {
	function := func(body string) []byte {
		leb := func(n int) string { return string(binary.AppendUvarint(nil, uint64(n))) }
		body = "\x00" + body + "\x0b"
		out := section([]byte(module.Preamble), module.Type, []byte("\x01\x60\x00\x00"))
		out = section(out, module.Function, []byte{1, 0})
		out = section(out, module.Memory, []byte{1, 0, 1})
		out = section(out, module.Export, []byte("\x01\x01f\x00\x00"))
		return section(out, module.Code, []byte("\x01"+leb(len(body))+body))
	}
	many := strings.Repeat
	for name, body := range map[string]string{
		"an empty loop":          "\x03\x40\x0c\x00\x0b",
		"loops in loops":         many("\x03\x40", 200) + "\x0c\xc7\x01" + many("\x0b", 200),
		"loops that begin again": "\x03\x40" + many("\x03\x40", 200) + many("\x41\x00\x0d\x00\x0b", 200) + "\x0c\x00\x0b",
		"loops behind loops":     "\x03\x40" + many("\x03\x40\x0b", 200) + "\x0c\x00\x0b",
		"loops left by br":       "\x03\x40" + many("\x03\x40\x41\x00\x04\x40\x0c\x01\x0b\x0b", 200) + "\x0c\x00\x0b",
		"loops in ifs":           many("\x03\x40\x41\x01\x04\x40", 50) + "\x0c\x63" + many("\x0b", 100),
		"loops and a br_table":   many("\x03\x40", 100) + "\x41\x7f\x0e\x02\x00\x01\x63" + many("\x0b", 100),
		"lengths":                "\x03\x40" + many("\x41\x00\x41\x00\x41\x00\xfc\x0b\x00", 100) + "\x0c\x00\x0b",
		"memory.grow":            "\x03\x40" + many("\x41\x00\x40\x00\x1a", 100) + "\x0c\x00\x0b",
		"long runs":              "\x03\x40" + many("\x01", 10_000) + "\x0c\x00\x0b",
	} {
		if n, units := looks(t, function(body)); n > units || n < 10 {
			t.Errorf("%s: %d looks for %d units", name, n, units)
		}
	}
	for seed := range uint64(60) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 7))}
		for i := range 3 {
			g.size = 0
			g.funcs = append(g.funcs, g.stmts(i, 0))
		}
		if n, units := looks(t, g.wasm(), 5); n > units {
			t.Errorf("seed %d: %d looks for %d units", seed, n, units)
		}
	}
}

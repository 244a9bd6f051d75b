package fuel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

// wazeroDir is where the engine's source is, with the WebAssembly specification's
// tests in it.
func wazeroDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	return strings.TrimSpace(string(out))
}

type value struct {
	Type  string          `json:"type"`
	Lane  string          `json:"lane_type"`
	Value json.RawMessage `json:"value"`
}

type action struct {
	Type   string  `json:"type"`
	Field  string  `json:"field"`
	Module string  `json:"module"`
	Args   []value `json:"args"`
}

type command struct {
	Type     string `json:"type"`
	Line     int    `json:"line"`
	Filename string `json:"filename"`
	Name     string `json:"name"`
	As       string `json:"as"`
	Action   action `json:"action"`
	Expected []value
}

// A side runs the modules of one script, as they are or metered.
type side struct {
	metered bool
	runtime wazero.Runtime
	last    api.Module
	named   map[string]api.Module
	skipped int
}

func newSide(t *testing.T, rc wazero.RuntimeConfig, metered bool) *side {
	ctx := context.Background()
	s := &side{metered: metered, runtime: wazero.NewRuntimeWithConfig(ctx, rc), named: map[string]api.Module{}}
	t.Cleanup(func() { s.runtime.Close(ctx) })
	link(t, s.runtime, func(api.Module) *fuel.Account { return nil })
	b := s.runtime.NewHostModuleBuilder("spectest")
	for name, params := range map[string][]api.ValueType{"print": {}, "print_i32": {api.ValueTypeI32}, "print_i64": {api.ValueTypeI64}, "print_f32": {api.ValueTypeF32},
		"print_f64": {api.ValueTypeF64}, "print_i32_f32": {api.ValueTypeI32, api.ValueTypeF32}, "print_f64_f64": {api.ValueTypeF64, api.ValueTypeF64}} {
		b.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {}), params, nil).Export(name)
	}
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// link makes the host module that a metered module asks for slices. Without an
// account there is always more.
func link(t testing.TB, r wazero.Runtime, account func(api.Module) *fuel.Account) {
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := r.NewHostModuleBuilder(fuel.HookModule).NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
		a := account(m)
		if a == nil {
			a = new(fuel.Account)
			a.Begin(nil, math.MaxInt64)
		} else {
			a.Attach(m.ExportedGlobal(fuel.AccountExport).(fuel.Global))
		}
		var err error
		if stack[0], err = a.Ask(stack[0]); err != nil {
			panic(err)
		}
	}), i64, i64).Export(fuel.HookName).Instantiate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
}

// account is the name of a module's account.
func (s *side) account(m api.Module) string {
	name := fuel.AccountExport
	for m.ExportedGlobal(name+"'") != nil {
		name += "'"
	}
	return name
}

// reason is what went wrong, in the same words for both.
func reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fuel.ErrTooDeep):
		return "stack overflow"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.ReplaceAll(line, " (recovered by wazero)", "")
}

func (s *side) run(c command, dir string) (results []uint64, problem string) {
	ctx := context.Background()
	switch c.Type {
	case "module":
		s.last = nil
		wasm, err := os.ReadFile(filepath.Join(dir, c.Filename))
		if err != nil {
			return nil, err.Error()
		}
		m, err := module.Parse(wasm)
		if err != nil {
			s.skipped++
			return nil, "not screened"
		}
		wasm = m.Bytes()
		if s.metered {
			metered, err := fuel.Rewrite(m, fuel.Version1)
			if err != nil {
				return nil, "not rewritten: " + err.Error()
			}
			wasm = metered.WASM
		}
		compiled, err := s.runtime.CompileModule(ctx, wasm)
		if err != nil {
			return nil, "not compiled: " + err.Error()
		}
		s.last, err = s.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(strings.TrimPrefix(c.Name, "$")).WithStartFunctions())
		if err != nil {
			s.last = nil
			return nil, "not instantiated: " + reason(err)
		}
		if c.Name != "" {
			s.named[c.Name] = s.last
		}
	case "register":
		// Modules that import from one another import what is not a function in
		// nearly all cases, which is not screened.
	case "action", "assert_return", "assert_trap", "assert_exhaustion":
		m := s.last
		if c.Action.Module != "" {
			m = s.named[c.Action.Module]
		}
		if m == nil {
			return nil, "no module"
		}
		if c.Action.Type != "invoke" {
			return nil, ""
		}
		f := m.ExportedFunction(c.Action.Field)
		if f == nil {
			return nil, "no function"
		}
		var args []uint64
		for _, a := range c.Action.Args {
			args = append(args, a.bits()...)
		}
		if s.metered { // a life makes an instance anew after a trap
			new(fuel.Account).Begin(m.ExportedGlobal(s.account(m)).(fuel.Global), math.MaxInt64)
		}
		results, err := f.Call(ctx, args...)
		return results, reason(err)
	}
	return nil, ""
}

func (v value) bits() []uint64 {
	var one string
	if json.Unmarshal(v.Value, &one) == nil {
		if n, err := strconv.ParseUint(one, 10, 64); err == nil {
			return []uint64{n}
		}
		if n, err := strconv.ParseInt(one, 10, 64); err == nil {
			return []uint64{uint64(n)}
		}
		return []uint64{0} // null
	}
	var lanes []string
	if err := json.Unmarshal(v.Value, &lanes); err != nil {
		panic(err)
	}
	var out [2]uint64
	width := 128 / len(lanes)
	for i, l := range lanes {
		n, err := strconv.ParseUint(l, 10, 64)
		if err != nil {
			m, _ := strconv.ParseInt(l, 10, 64)
			n = uint64(m)
		}
		if width < 64 {
			n &= 1<<width - 1
		}
		out[i*width/64] |= n << (i * width % 64)
	}
	return out[:]
}

// TestSpec runs the tests of the WebAssembly specification twice, with and
// without metering: each call has to give the same results, or the same trap.
func TestSpec(t *testing.T) {
	root := filepath.Join(wazeroDir(t), "internal/integration_test/spectest")
	ran, trapped, modules, skipped := 0, 0, 0, 0
	for _, version := range []string{"v1", "v2"} {
		dir := filepath.Join(root, version, "testdata")
		scripts, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(scripts) < 70 {
			t.Fatalf("%d scripts in %s, %v", len(scripts), dir, err)
		}
		for _, script := range scripts {
			b, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			var content struct{ Commands []command }
			if err := json.Unmarshal(b, &content); err != nil {
				t.Fatal(script, err)
			}
			t.Run(version+"/"+strings.TrimSuffix(filepath.Base(script), ".json"), func(t *testing.T) {
				rc := wazero.NewRuntimeConfigCompiler()
				plain, metered := newSide(t, rc, false), newSide(t, rc, true)
				for _, c := range content.Commands {
					want, wantProblem := plain.run(c, dir)
					got, problem := metered.run(c, dir)
					if !slices.Equal(got, want) || problem != wantProblem {
						t.Errorf("line %d, %s %s: got %x, %q, want %x, %q", c.Line, c.Type, c.Action.Field, got, problem, want, wantProblem)
					}
					switch {
					case c.Type == "module":
						modules++
					case strings.HasPrefix(problem, "wasm error: "):
						trapped++
					case problem == "":
						ran++
					}
				}
				skipped += plain.skipped
			})
		}
	}
	if ran < 40000 || trapped < 2000 {
		t.Errorf("only %d calls ran and %d trapped", ran, trapped)
	}
	fmt.Printf("%d modules, of which %d are not screened; %d calls, and %d traps\n", modules, skipped, ran, trapped)
}

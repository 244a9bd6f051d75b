package fuel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

// A program is made at random, run by a small interpreter of its own, which adds
// up the prices of docs/spec/metering.md for what it executes, and written as WASM.

type expr struct {
	op    byte // i32.const, local.get, i32.load or an operator
	n     int32
	parts []*expr
}

type stmt struct {
	op         byte // local.set, i32.store, block, loop, if, br, br_if, br_table, return, call or nop
	n          int
	cond       *expr
	value      *expr
	body, rest []*stmt // rest: else
	has        bool    // an else
	targets    []int
}

const (
	params  = 1
	locals  = 4 // with the parameter
	counter = locals
)

type generator struct {
	r     *rand.Rand
	funcs [][]*stmt
	size  int
}

func (g *generator) expr(depth int) *expr {
	operators := []byte{0x6a, 0x6b, 0x6c, 0x71, 0x73, 0x49} // add, sub, mul, and, xor, lt_u
	switch k := g.r.IntN(6); {
	case depth > 3 || k == 0:
		return &expr{op: 0x41, n: int32(g.r.IntN(200)) - 100}
	case k <= 2:
		return &expr{op: 0x20, n: int32(g.r.IntN(locals))}
	case k == 3:
		return &expr{op: 0x28, parts: []*expr{{op: 0x71, parts: []*expr{g.expr(depth + 1), {op: 0x41, n: 0xfff}}}}}
	}
	return &expr{op: operators[g.r.IntN(len(operators))], parts: []*expr{g.expr(depth + 1), g.expr(depth + 1)}}
}

func (g *generator) stmts(self, labels int) (all []*stmt) {
	for range g.r.IntN(5) {
		if g.size++; g.size > 120 {
			break
		}
		label := func() int { return g.r.IntN(labels + 1) }
		s := new(stmt)
		switch k := g.r.IntN(12); k {
		case 0, 1, 2:
			s = &stmt{op: 0x21, n: g.r.IntN(locals), value: g.expr(0)}
		case 3:
			s = &stmt{op: 0x36, cond: &expr{op: 0x71, parts: []*expr{g.expr(1), {op: 0x41, n: 0xfff}}}, value: g.expr(0)}
		case 4:
			s = &stmt{op: 0x02, body: g.stmts(self, labels+1)}
		case 5:
			s = &stmt{op: 0x03, body: g.stmts(self, labels+1)}
		case 6:
			s = &stmt{op: 0x04, cond: g.expr(0), body: g.stmts(self, labels+1)}
			if g.r.IntN(2) == 0 {
				s.has, s.rest = true, g.stmts(self, labels+1)
			}
		case 7:
			s = &stmt{op: 0x0d, n: label(), cond: g.expr(0)}
		case 8:
			if g.r.IntN(2) > 0 {
				s = &stmt{op: 0x0c, n: label()}
			} else {
				s = &stmt{op: 0x0e, cond: g.expr(0), n: label()}
				for range g.r.IntN(4) {
					s.targets = append(s.targets, label())
				}
			}
		case 9:
			if g.r.IntN(4) > 0 {
				s.op = 0x01
			} else {
				s = &stmt{op: 0x0f, value: g.expr(0)}
			}
		default:
			if self+1 >= 3 {
				s.op = 0x01
				break
			}
			s = &stmt{op: 0x10, n: self + 1 + g.r.IntN(2-self), value: g.expr(0)}
		}
		all = append(all, s)
	}
	return all
}

// A machine runs a program.
type machine struct {
	funcs [][]*stmt
	mem   [0x2000]byte
	units uint64
	steps int
}

var errLong = errors.New("too long")

func (m *machine) eval(e *expr, l []int32) int32 {
	m.steps++
	switch e.op {
	case 0x41:
		m.units++
		return e.n
	case 0x20:
		m.units++
		return l[e.n]
	case 0x28:
		a := m.eval(e.parts[0], l)
		m.units += 18
		return int32(binary.LittleEndian.Uint32(m.mem[a:]))
	}
	a, b := m.eval(e.parts[0], l), m.eval(e.parts[1], l)
	m.units++
	switch e.op {
	case 0x6a:
		return a + b
	case 0x6b:
		return a - b
	case 0x6c:
		return a * b
	case 0x71:
		return a & b
	case 0x73:
		return a ^ b
	}
	if uint32(a) < uint32(b) {
		return 1
	}
	return 0
}

const (
	goesOn   = -1
	returned = 1 << 20
)

// run runs statements, and says to which label they branch.
func (m *machine) run(all []*stmt, self int, l []int32, result *int32) int {
	inner := func(to int) int { // a branch, seen from outside of a block
		if to > 0 && to < returned {
			return to - 1
		}
		return to
	}
	for _, s := range all {
		if m.steps++; m.steps > 20000 {
			panic(errLong)
		}
		switch s.op {
		case 0x01:
			m.units++
		case 0x21:
			v := m.eval(s.value, l)
			m.units++
			l[s.n] = v
		case 0x36:
			a := m.eval(s.cond, l)
			v := m.eval(s.value, l)
			m.units += 3
			binary.LittleEndian.PutUint32(m.mem[a:], uint32(v))
		case 0x02:
			if to := m.run(s.body, self, l, result); to != goesOn && to != 0 {
				return inner(to)
			}
		case 0x03:
			for {
				m.units++
				to := m.run(s.body, self, l, result)
				if to == 0 {
					if m.steps++; m.steps > 20000 {
						panic(errLong)
					}
					continue
				}
				if to != goesOn {
					return inner(to)
				}
				break
			}
		case 0x04:
			c := m.eval(s.cond, l)
			m.units++
			body := s.body
			if c == 0 {
				body = s.rest
			}
			if to := m.run(body, self, l, result); to != goesOn && to != 0 {
				return inner(to)
			}
		case 0x0c:
			m.units++
			return s.n
		case 0x0d:
			c := m.eval(s.cond, l)
			m.units++
			if c != 0 {
				return s.n
			}
		case 0x0e:
			c := m.eval(s.cond, l)
			m.units += 3
			if uint64(uint32(c)) < uint64(len(s.targets)) {
				return s.targets[c]
			}
			return s.n
		case 0x0f:
			*result = m.eval(s.value, l)
			m.units++
			return returned
		case 0x10:
			arg := m.eval(s.value, l)
			m.units += 8
			l[0] = m.call(s.n, arg)
			m.units++ // local.set
		}
	}
	return goesOn
}

// call calls a function. A branch to its own label gives what the stack has, which
// is local 1: see code.
func (m *machine) call(f int, arg int32) (result int32) {
	l := make([]int32, locals)
	l[0] = arg
	to := m.run(m.funcs[f], f, l, &result)
	if to == returned {
		return result
	}
	m.units++ // local.get 1 at the end
	return l[1]
}

func (e *expr) code(out []byte) []byte {
	for _, p := range e.parts {
		out = p.code(out)
	}
	switch out = append(out, e.op); e.op {
	case 0x41:
		return sleb(out, int64(e.n))
	case 0x20:
		return append(out, byte(e.n))
	case 0x28:
		return append(out, 2, 0)
	}
	return out
}

func sleb(out []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(out, c)
		}
		out = append(out, c|0x80)
	}
}

func code(out []byte, all []*stmt) []byte {
	for _, s := range all {
		if s.cond != nil {
			out = s.cond.code(out)
		}
		if s.value != nil {
			out = s.value.code(out)
		}
		switch out = append(out, s.op); s.op {
		case 0x21, 0x0c, 0x0d:
			out = append(out, byte(s.n))
		case 0x36:
			out = append(out, 2, 0)
		case 0x02, 0x03, 0x04:
			out = code(append(out, 0x40), s.body)
			if s.has {
				out = code(append(out, 0x05), s.rest)
			}
			out = append(out, 0x0b)
		case 0x0e:
			out = append(out, byte(len(s.targets)))
			for _, t := range s.targets {
				out = append(out, byte(t))
			}
			out = append(out, byte(s.n))
		case 0x10:
			out = append(out, byte(s.n), 0x21, 0)
		}
	}
	return out
}

func section(out []byte, id byte, content []byte) []byte {
	return append(binary.AppendUvarint(append(out, id), uint64(len(content))), content...)
}

func (g *generator) wasm() []byte {
	out := []byte(module.Preamble)
	out = section(out, module.Type, []byte{1, 0x60, 1, 0x7f, 1, 0x7f})
	out = section(out, module.Function, []byte{3, 0, 0, 0})
	out = section(out, module.Memory, []byte{1, 0, 1})
	out = section(out, module.Export, []byte{2, 1, 'f', 0, 0, 1, 'm', 2, 0})
	bodies := []byte{3}
	for _, f := range g.funcs {
		body := code([]byte{1, locals - params, 0x7f, 0x02, 0x40}, f) // in a block, which is the outermost label
		body = append(body, 0x0b, 0x20, 1, 0x0b)
		bodies = append(binary.AppendUvarint(bodies, uint64(len(body))), body...)
	}
	return section(out, module.Code, bodies)
}

// metered runs an export of a module on an engine, with metering.
func metered(t testing.TB, rc wazero.RuntimeConfig, wasm []byte, export string, limit uint64, args ...uint64) (results []uint64, memory []byte, units uint64, err error) {
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
	r := wazero.NewRuntimeWithConfig(ctx, rc)
	defer r.Close(ctx)
	var a fuel.Account
	link(t, r, func(api.Module) *fuel.Account { return &a })
	in, err := r.Instantiate(ctx, out.WASM)
	if err != nil {
		t.Fatal(err)
	}
	a.Begin(in.ExportedGlobal(out.Account).(fuel.Global), limit)
	results, err = in.ExportedFunction(export).Call(ctx, args...)
	units, over := a.End()
	if err == nil {
		err = over
	}
	if len(in.ExportedMemoryDefinitions()) > 0 {
		memory, _ = in.Memory().Read(0, in.Memory().Size())
		memory = slices.Clone(memory)
	}
	return results, memory, units, err
}

// TestRandom checks that programs made at random come to what they should, for
// what it should cost, on both engines.
func TestRandom(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 40
	}
	done := 0
	for seed := range n {
		if checkRandom(t, uint64(seed)) {
			done++
		}
	}
	if done < n/2 {
		t.Errorf("only %d of %d programs came to an end", done, n)
	}
}

// FuzzRandom is TestRandom for any seed.
func FuzzRandom(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkRandom(t, seed) })
}

func checkRandom(t *testing.T, seed uint64) (ends bool) {
	g := &generator{r: rand.New(rand.NewPCG(seed, 7))}
	for i := range 3 {
		g.size = 0
		g.funcs = append(g.funcs, g.stmts(i, 0))
	}
	m := &machine{funcs: g.funcs}
	want, err := func() (v int32, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = errLong
			}
		}()
		return m.call(0, 5), nil
	}()
	wasm := g.wasm()
	for name, rc := range map[string]wazero.RuntimeConfig{"compiler": wazero.NewRuntimeConfigCompiler(), "interpreter": wazero.NewRuntimeConfigInterpreter()} {
		limit := m.units
		if err != nil {
			limit = 100_000 // it must come to an end all the same
		}
		got, memory, units, gotErr := metered(t, rc, wasm, "f", limit, 5)
		switch {
		case err != nil && gotErr == nil && units <= limit:
			// Steps of the machine are not units.
		case err != nil:
			if !errors.Is(gotErr, fuel.ErrOutOfFuel) || units != limit {
				t.Fatalf("seed %d, %s: an endless program: %v, %d units", seed, name, gotErr, units)
			}
		case gotErr != nil || int32(uint32(got[0])) != want || units != m.units || !slices.Equal(memory[:0x1010], m.mem[:0x1010]):
			t.Fatalf("seed %d, %s: got %d, %v for %d units, want %d for %d", seed, name, got, gotErr, units, want, m.units)
		default:
			// A unit less is not enough.
			if m.units > 0 {
				if _, _, units, err := metered(t, rc, wasm, "f", m.units-1, 5); !errors.Is(err, fuel.ErrOutOfFuel) || units != m.units-1 {
					t.Fatalf("seed %d, %s: with a unit less: %v, %d units", seed, name, err, units)
				}
			}
		}
	}
	return err == nil
}

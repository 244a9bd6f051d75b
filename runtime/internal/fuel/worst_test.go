//go:build unix

package fuel_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

// A shape is code that may cost more time than it pays for: the body of a loop,
// which has $a, $b and $i (i32), $x and $y (i64), $f (f64) and $v (v128).
type shape struct {
	name  string
	extra string // of the module
	setup string
	body  string
	times int // the body stands there so often; 0 is 16
}

// chase is a random cycle through 64 MiB, a step of 64 bytes at least: each place
// holds the next one.
const chase = `
(func $fill (local $k i32) (local $j i32) (local $t i32) (local $s i64)
  (local.set $s (i64.const 88172645463325252))
  (loop $l (i32.store (i32.shl (local.get $k) (i32.const 6)) (i32.shl (local.get $k) (i32.const 6)))
    (br_if $l (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 1048576))))
  (local.set $k (i32.const 1048575))
  (loop $l
    (local.set $s (i64.xor (local.get $s) (i64.shl (local.get $s) (i64.const 13))))
    (local.set $s (i64.xor (local.get $s) (i64.shr_u (local.get $s) (i64.const 7))))
    (local.set $s (i64.xor (local.get $s) (i64.shl (local.get $s) (i64.const 17))))
    (local.set $j (i32.shl (i32.wrap_i64 (i64.rem_u (local.get $s) (i64.extend_i32_u (local.get $k)))) (i32.const 6)))
    (local.set $t (i32.load (local.get $j)))
    (i32.store (local.get $j) (i32.load (i32.shl (local.get $k) (i32.const 6))))
    (i32.store (i32.shl (local.get $k) (i32.const 6)) (local.get $t))
    (br_if $l (local.tee $k (i32.sub (local.get $k) (i32.const 1))))))`

func manyLocals(n int) shape {
	var decl, set strings.Builder
	for i := range n {
		fmt.Fprintf(&decl, "(local $m%d i64) ", i)
		fmt.Fprintf(&set, "(local.set $m%d (i64.add (local.get $m%d) (local.get $x)))", i, (i+1)%n)
	}
	return shape{name: fmt.Sprintf("%d locals at a label", n), setup: decl.String(),
		body: "(if (i32.eq (local.get $i) (i32.const -7)) (then " + set.String() + "))", times: 1}
}

func shapes() []shape {
	unary := func(name, op, local string) shape {
		return shape{name: name, body: "(local.set $" + local + " (" + op + " (local.get $" + local + ")))"}
	}
	binary := func(name, op, local, with string) shape {
		return shape{name: name, body: "(local.set $" + local + " (" + op + " (local.get $" + local + ") " + with + "))"}
	}
	table := func(n int) string { // of n functions
		var s strings.Builder
		for i := range n {
			fmt.Fprintf(&s, "(func $t%d (param i32) (result i32) (i32.add (local.get 0) (i32.const %d)))", i, i*7919)
		}
		fmt.Fprintf(&s, "(table %d funcref) (elem (i32.const 0)", n)
		for i := range n {
			fmt.Fprintf(&s, " $t%d", i)
		}
		return s.String() + ")(type $u (func (param i32) (result i32)))"
	}
	brTable := func(n int) shape {
		body := strings.Repeat("(block ", n) + "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223)))" +
			"(br_table"
		for i := range n {
			body += fmt.Sprint(" ", i)
		}
		body += fmt.Sprintf(" (i32.rem_u (i32.shr_u (local.get $a) (i32.const 8)) (i32.const %d)))", n)
		for range n {
			body += ") (br $again)"
		}
		return shape{name: fmt.Sprintf("br_table over %d blocks", n), body: body, times: 1}
	}
	all := []shape{
		{name: "nothing", body: "(local.set $a (i32.add (local.get $a) (i32.const 3)))"},
		{name: "dependent loads in 64 MiB", extra: chase, setup: "(call $fill)", body: "(local.set $a (i32.load (local.get $a)))"},
		{name: "dependent loads in 64 MiB, chained", extra: chase, setup: "(call $fill)", body: "(local.set $a (i32.load (i32.load (i32.load (i32.load (i32.load (i32.load (i32.load (i32.load (local.get $a)))))))))) ", times: 4},
		{name: "dependent loads of vectors", extra: chase, setup: "(call $fill)", body: "(local.set $a (i32x4.extract_lane 0 (v128.load (local.get $a))))"},
		{name: "load and store in 64 MiB", extra: chase, setup: "(call $fill)", body: "(local.set $a (i32.load (local.get $a))) (i32.store (i32.add (local.get $a) (i32.const 8)) (local.get $i))"},
		{name: "stores over 64 MiB", body: "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223))) (i32.store (i32.and (local.get $a) (i32.const 0x3fffffc)) (local.get $a))"},
		{name: "stores of vectors over 64 MiB", body: "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223))) (v128.store (i32.and (local.get $a) (i32.const 0x3fffff0)) (local.get $v)) (v128.store offset=4096 (i32.and (local.get $a) (i32.const 0x3ffeff0)) (local.get $v))"},
		{name: "unaligned load behind a store", body: "(i64.store (i32.const 60) (local.get $x)) (local.set $x (i64.load (i32.const 61)))"},
		{name: "unaligned over pages", body: "(i64.store (i32.const 4093) (local.get $x)) (local.set $x (i64.load (i32.const 4092)))"},
		binary("i32.div_u", "i32.div_u", "a", "(i32.or (local.get $i) (i32.const 1))"),
		binary("i64.div_s", "i64.div_s", "x", "(i64.or (local.get $y) (i64.const 1))"),
		binary("i64.rem_u of large numbers", "i64.rem_u", "x", "(i64.const 0x7fffffff1234567)"),
		binary("i64.rem_s", "i64.rem_s", "x", "(i64.or (local.get $y) (i64.const 1))"),
		binary("f64.div", "f64.div", "f", "(f64.const 1.0000001)"),
		binary("f64.div of denormals", "f64.div", "f", "(f64.const 1e308)"),
		{name: "f64.mul of denormals", body: "(local.set $f (f64.add (f64.const 4e-310) (f64.mul (local.get $f) (f64.const 0.5))))"},
		unary("f64.sqrt", "f64.sqrt", "f"), unary("f64.nearest", "f64.nearest", "f"), unary("f64.ceil", "f64.ceil", "f"),
		binary("f64.min", "f64.min", "f", "(f64.const 1)"), binary("f64.copysign", "f64.copysign", "f", "(f64.const -1)"),
		{name: "i64.trunc_sat_f64_u", body: "(local.set $f (f64.convert_i64_u (i64.trunc_sat_f64_u (local.get $f))))"},
		{name: "i32.trunc_f64_s", setup: "(local.set $f (f64.const 12))", body: "(local.set $f (f64.convert_i32_s (i32.trunc_f64_s (local.get $f))))"},
		{name: "i64.trunc_f64_u", setup: "(local.set $f (f64.const 12))", body: "(local.set $f (f64.convert_i64_u (i64.trunc_f64_u (local.get $f))))"},
		unary("i64.popcnt", "i64.popcnt", "x"), unary("i64.clz", "i64.clz", "x"), unary("i64.ctz", "i64.ctz", "x"),
		binary("i64.mul", "i64.mul", "x", "(i64.const 0x1234567890abcd)"), binary("i64.rotl", "i64.rotl", "x", "(local.get $x)"),
		{name: "select", body: "(local.set $a (select (local.get $i) (local.get $a) (i32.lt_u (local.get $a) (local.get $i))))"},
		{name: "mispredicted br_if", body: "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223))) (if (i32.and (local.get $a) (i32.const 0x10000)) (then (local.set $b (i32.add (local.get $b) (i32.const 1)))))"},
		{name: "call", extra: "(func $n (param i32) (result i32) (local.get 0))", body: "(local.set $a (call $n (local.get $a)))"},
		{name: "call of a counted function", extra: "(func $n (param i32) (result i32) (if (i32.eq (local.get 0) (i32.const -9)) (then (return (call $n (i32.const 1))))) (local.get 0))", body: "(local.set $a (call $n (local.get $a)))"},
		{name: "recursion", extra: "(func $n (param i32) (result i32) (if (result i32) (local.get 0) (then (call $n (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))", body: "(drop (call $n (i32.const 1000)))", times: 1},
		{name: "recursion over 60,000 slots", extra: "(func $n (param i32) (result i32) (local i64 i64 i64 i64) (if (result i32) (local.get 0) (then (call $n (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))", body: "(drop (call $n (i32.const 3500)))", times: 1},
		{name: "call_indirect, one function", extra: table(1), body: "(local.set $a (call_indirect (type $u) (local.get $a) (i32.const 0)))"},
		{name: "call_indirect, 20,000 functions at random", extra: table(20000), body: "(local.set $a (call_indirect (type $u) (local.get $a) (i32.rem_u (i32.shr_u (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 4)) (i32.const 20000))))"},
		{name: "memory.copy of nothing", body: "(memory.copy (i32.const 0) (i32.const 64) (i32.const 0))"},
		{name: "memory.copy of 8 bytes", body: "(memory.copy (i32.const 0) (i32.const 64) (i32.const 8))"},
		{name: "memory.copy of 32 MiB", body: "(memory.copy (i32.const 0) (i32.const 0x2000000) (i32.const 0x2000000))", times: 1},
		{name: "memory.copy of 32 MiB, overlapping", body: "(memory.copy (i32.const 1) (i32.const 0) (i32.const 0x2000000))", times: 1},
		{name: "memory.fill of 64 MiB", body: "(memory.fill (i32.const 0) (i32.const 7) (i32.const 0x4000000))", times: 1},
		{name: "memory.fill of 1 byte", body: "(memory.fill (i32.const 0) (i32.const 7) (i32.const 1))"},
		{name: "memory.init of 1 MiB", extra: `(data $d "` + strings.Repeat("abcdefgh", 1<<17) + `")`, body: "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0x100000))", times: 1},
		{name: "memory.init of nothing", extra: `(data $d "a")`, body: "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))"},
		{name: "data.drop", extra: `(data $d "a")`, body: "(data.drop $d)"},
		{name: "elem.drop", extra: `(elem $e funcref (ref.null func))`, body: "(elem.drop $e)"},
		{name: "memory.size", body: "(local.set $a (memory.size))"},
		{name: "memory.grow by 0", body: "(local.set $a (memory.grow (i32.const 0)))"},
		{name: "memory.grow that fails", body: "(local.set $a (memory.grow (i32.const 1000)))"},
		{name: "table.grow by 0", extra: "(table $g 10 1000 externref)", body: "(drop (table.grow $g (ref.null extern) (i32.const 0)))"},
		{name: "table.get at random", extra: "(table $g 1048576 1048576 externref)", body: "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223))) (local.set $b (i32.add (local.get $b) (ref.is_null (table.get $g (i32.and (i32.xor (local.get $a) (local.get $b)) (i32.const 0xfffff))))))"},
		{name: "table.set at random", extra: "(table $g 1048576 1048576 externref)", body: "(local.set $a (i32.add (i32.mul (local.get $a) (i32.const 1664525)) (i32.const 1013904223))) (table.set $g (i32.and (local.get $a) (i32.const 0xfffff)) (ref.null extern))"},
		{name: "table.fill of 1,048,576", extra: "(table $g 1048576 1048576 externref)", body: "(table.fill $g (i32.const 0) (ref.null extern) (i32.const 1048576))", times: 1},
		{name: "table.copy of 524,288", extra: "(table $g 1048576 1048576 externref)", body: "(table.copy $g $g (i32.const 1) (i32.const 0) (i32.const 524288))", times: 1},
		{name: "table.fill of nothing", extra: "(table $g 10 10 externref)", body: "(table.fill $g (i32.const 0) (ref.null extern) (i32.const 0))"},
		{name: "table.init of nothing", extra: "(table $g 10 10 funcref) (elem $e funcref (ref.null func))", body: "(table.init $g $e (i32.const 0) (i32.const 0) (i32.const 0))"},
		{name: "table.copy of nothing", extra: "(table $g 10 10 externref)", body: "(table.copy $g $g (i32.const 1) (i32.const 0) (i32.const 0))"},
		{name: "ref.func", extra: "(func $n) (elem declare func $n)", body: "(local.set $b (i32.add (local.get $b) (ref.is_null (ref.func $n))))"},
		{name: "global.set", extra: "(global $g (mut i64) (i64.const 0))", body: "(global.set $g (i64.add (global.get $g) (i64.const 1)))"},
		{name: "empty loop", body: "", times: 1},
		{name: "empty blocks", body: "(block (br_if 0 (local.get $a)))"},
		{name: "nested loops", body: "(local.set $b (i32.const 3)) (loop $q (br_if $q (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))", times: 1},
		brTable(16), brTable(1000), brTable(3000),
		manyLocals(60), manyLocals(1000), manyLocals(2000),
	}
	for _, op := range []string{"i8x16.add", "i8x16.swizzle", "i64x2.mul", "f64x2.div", "f32x4.div", "i16x8.q15mulr_sat_s", "i32x4.dot_i16x8_s", "i16x8.extmul_low_i8x16_s",
		"i64x2.gt_s", "i8x16.avgr_u", "f32x4.pmin", "f64x2.min", "f32x4.max", "i64x2.extmul_high_i32x4_u", "i8x16.narrow_i16x8_u", "i8x16.min_u", "i32x4.mul", "i64x2.eq"} {
		all = append(all, shape{name: op, body: "(local.set $v (" + op + " (local.get $v) (local.get $w)))"})
	}
	for _, op := range []string{"i8x16.popcnt", "i64x2.abs", "f32x4.nearest", "f64x2.sqrt", "f32x4.sqrt", "i32x4.trunc_sat_f32x4_u", "i32x4.trunc_sat_f64x2_u_zero", "f32x4.convert_i32x4_u",
		"f64x2.convert_low_i32x4_u", "i16x8.extadd_pairwise_i8x16_u", "i32x4.extadd_pairwise_i16x8_s", "f64x2.promote_low_f32x4", "i32x4.trunc_sat_f32x4_s", "f64x2.ceil", "i16x8.extend_low_i8x16_u"} {
		all = append(all, shape{name: op, body: "(local.set $v (" + op + " (local.get $v)))"})
	}
	for _, op := range []string{"i8x16.shl", "i8x16.shr_s", "i8x16.shr_u", "i64x2.shr_s", "i16x8.shl"} {
		all = append(all, shape{name: op, body: "(local.set $v (" + op + " (local.get $v) (i32.add (local.get $i) (i32.const 3))))"})
	}
	for _, op := range []string{"i8x16.all_true", "i8x16.bitmask", "i16x8.bitmask", "i64x2.all_true", "v128.any_true"} {
		all = append(all, shape{name: op, body: "(local.set $v (i32x4.replace_lane 1 (local.get $v) (" + op + " (local.get $v))))"})
	}
	return append(all, shape{name: "i8x16.shuffle", body: "(local.set $v (i8x16.shuffle 0 31 2 29 4 27 6 25 8 23 10 21 12 19 14 17 (local.get $v) (local.get $w)))"})
}

func (s shape) wat() string {
	locals, setup := "", s.setup
	if strings.HasPrefix(setup, "(local ") {
		locals, setup = setup, ""
	}
	times := s.times
	if times == 0 {
		times = 16
	}
	return `(module (memory (export "memory") 1024 1024) ` + s.extra + `
 (func (export "run") (param $i i32) (result i32) (local $a i32) (local $b i32) (local $x i64) (local $y i64) (local $f f64) (local $v v128) (local $w v128) ` + locals + `
 (local.set $x (i64.const 0x123456789abcdef1)) (local.set $y (i64.const 3)) (local.set $f (f64.const 1e300)) (local.set $a (i32.const 64))
 (local.set $v (v128.const i32x4 0x40490fdb 0x3f800001 0x12345678 0x7f7f7f7f)) (local.set $w (v128.const i32x4 0x3f800001 0x40490fdb 0x01020304 0x05060708)) ` + setup + `
 (loop $l (block $again ` + strings.Repeat(s.body, times) + `)
   (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
 (i32.add (i32.add (local.get $a) (i32.wrap_i64 (local.get $x))) (i32.add (i32x4.extract_lane 0 (local.get $v)) (i32.trunc_sat_f64_s (local.get $f))))))`
}

func assemble(t testing.TB, wat string) []byte {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "m.wat"), filepath.Join(dir, "m.wasm")
	if err := os.WriteFile(in, []byte(wat), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("wat2wasm", in, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v %.500s", err, b)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkWorst measures how long a unit takes at most, over shapes that an
// attacker would try. No unit may take more than ten nanoseconds on a machine
// like the one that the schedule was made on.
func BenchmarkWorst(b *testing.B) {
	type result struct {
		name string
		ns   float64
		gap  time.Duration // the longest time between two slices
	}
	var all []result
	for _, s := range shapes() {
		wasm := assemble(b, s.wat())
		m, err := module.Parse(wasm)
		if err != nil {
			b.Fatal(s.name, err)
		}
		metered, err := fuel.Rewrite(m, fuel.Version1)
		if err != nil {
			b.Fatal(s.name, err)
		}
		ctx := context.Background()
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
		var a fuel.Account
		var last, gap time.Duration
		link(b, r, func(api.Module) *fuel.Account {
			now := cpu()
			gap, last = max(gap, now-last), now
			return &a
		})
		in, err := r.Instantiate(ctx, metered.WASM)
		if err != nil {
			b.Fatal(s.name, err)
		}
		run := func(n uint64) (units uint64, d time.Duration, err error) {
			a.Begin(in.ExportedGlobal(metered.Account).(fuel.Global), 1<<40)
			last = cpu()
			began := last
			_, err = in.ExportedFunction("run").Call(ctx, n)
			gap = max(gap, cpu()-last)
			d = cpu() - began
			units, _ = a.End()
			return units, d, err
		}
		var ns float64
		u0, d0, err := run(1) // what the setup takes
		if err != nil {
			fmt.Println(s.name, err)
			continue
		}
		gap = 0
		n := uint64(16)
		for {
			u, d, err := run(n)
			if err != nil {
				b.Fatal(s.name, err)
			}
			if d-d0 > 60*time.Millisecond || n > 1<<28 {
				ns = float64(d-d0) / float64(u-u0)
				break
			}
			n *= 2
		}
		all = append(all, result{s.name, ns, gap})
		fmt.Fprintf(os.Stderr, "%8.2f ns a unit, %5.1f ms between slices: %s\n", ns, gap.Seconds()*1e3, s.name)
		r.Close(ctx)
	}
	slices.SortFunc(all, func(x, y result) int { return int((y.ns - x.ns) * 1e6) })
	for _, r := range all {
		fmt.Printf("%8.2f ns a unit, %5.1f ms between slices: %s\n", r.ns, r.gap.Seconds()*1e3, r.name)
	}
	for b.Loop() {
	}
}

//go:build unix

package sandbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

// BenchmarkShapes prints, for each shape of hostile code and sizes that double, how many
// milliseconds of a processor it takes to rewrite it, and to compile it as it was, with
// metering, and for the interpreter. The rewriter's time grows with the size; that of
// the compiler with its square at worst, for which metering.md has limits.
func BenchmarkShapes(b *testing.B) {
	now := func() time.Duration {
		var r syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &r)
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	ctx := context.Background()
	fmt.Printf("%-34s rewritten, compiled, with metering, interpreted\n", "")
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		for n := 1_000; n <= 4_000; n *= 2 {
			m, err := module.Parse(shapes[name](n))
			if err != nil {
				b.Fatal(name, err)
			}
			fmt.Printf("%-28s %5d", name, n)
			measure := func(do func() error) {
				began := now()
				if err := do(); err != nil {
					b.Fatal(name, err)
				}
				fmt.Printf(" %9.1f", (now()-began).Seconds()*1e3)
			}
			compile := func(rc wazero.RuntimeConfig, wasm []byte) {
				r := wazero.NewRuntimeWithConfig(ctx, rc)
				defer r.Close(ctx)
				measure(func() error { _, err := r.CompileModule(ctx, wasm); return err })
			}
			var metered *fuel.Metered
			measure(func() (err error) { metered, err = fuel.Rewrite(m, fuel.Version1); return err })
			compile(wazero.NewRuntimeConfigCompiler(), m.Bytes())
			compile(wazero.NewRuntimeConfigCompiler(), metered.WASM)
			compile(wazero.NewRuntimeConfigInterpreter(), metered.WASM)
			fmt.Println()
		}
	}
	for b.Loop() {
	}
}

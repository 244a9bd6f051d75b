//go:build unix

package fuel_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
)

// BenchmarkComputing measures code that computes, in three languages: how much longer
// it takes with metering, and how many units it uses in a nanosecond. The ratio is a
// median of runs, by turns, in the processor's time.
func BenchmarkComputing(b *testing.B) {
	for _, language := range []struct {
		name  string
		build []string
	}{
		{"Go", []string{"env", "GOOS=wasip1", "GOARCH=wasm", "go", "build", "-buildmode=c-shared", "-ldflags=-s", "-o", "OUT", "./testdata/work"}},
		{"C", []string{"clang", "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-o", "OUT", "testdata/work/work.c"}},
		{"Rust", []string{"env", "PATH=/usr/bin:" + os.Getenv("PATH"), "rustc", "--target=wasm32-unknown-unknown", "--crate-type=cdylib", "-O", "-o", "OUT", "testdata/work/work.rs"}},
	} {
		file := filepath.Join(b.TempDir(), "work.wasm")
		for i, arg := range language.build {
			if arg == "OUT" {
				language.build[i] = file
			}
		}
		if out, err := exec.Command(language.build[0], language.build[1:]...).CombinedOutput(); err != nil {
			fmt.Printf("%s: %v, %.200s\n", language.name, err, out)
			continue
		}
		wasm, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		m, err := module.Parse(wasm)
		if err != nil {
			b.Fatal(err)
		}
		metered, err := fuel.Rewrite(m, fuel.Version1)
		if err != nil {
			b.Fatal(err)
		}
		var a fuel.Account
		start := func(wasm []byte) api.Module {
			ctx := context.Background()
			r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
			b.Cleanup(func() { r.Close(ctx) })
			wasi_snapshot_preview1.MustInstantiate(ctx, r)
			var in api.Module
			link(b, r, func(m api.Module) *fuel.Account {
				a.Attach(m.ExportedGlobal(metered.Account).(fuel.Global))
				return &a
			})
			a.Begin(nil, 1<<40)
			in, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
			if err != nil {
				b.Fatal(err)
			}
			return in
		}
		with, without := start(metered.WASM), start(m.Bytes())
		account := with.ExportedGlobal(metered.Account).(fuel.Global)
		for _, export := range []string{"loop", "sha256", "sort", "json", "maps"} {
			if with.ExportedFunction(export) == nil {
				continue
			}
			run := func(in api.Module, n uint64) (d time.Duration, units uint64) {
				a.Begin(account, 1<<44)
				began := cpu()
				if _, err := in.ExportedFunction(export).Call(context.Background(), n); err != nil {
					b.Fatal(export, err)
				}
				d = cpu() - began
				units, _ = a.End()
				return d, units
			}
			n := uint64(1)
			for d := time.Duration(0); d < 20*time.Millisecond; n *= 2 {
				d, _ = run(without, n)
			}
			var ratios, rates []float64
			for range 11 {
				plain, _ := run(without, n)
				d, units := run(with, n)
				ratios = append(ratios, float64(d)/float64(plain))
				rates = append(rates, float64(units)/float64(d))
			}
			slices.Sort(ratios)
			slices.Sort(rates)
			fmt.Printf("%-5s %-7s %5.2f times as long, %5.1f units in a nanosecond\n", language.name, export, ratios[5], rates[5])
		}
	}
	for b.Loop() {
	}
}

package fuel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
	"igor.dev/runtime/internal/wasmtest"
)

// FuzzRewrite checks that any module that is rewritten is valid if and only if it
// was, and that none is too much for the rewriter.
func FuzzRewrite(f *testing.F) {
	f.Add(wasmtest.Agent{}.Bytes())
	f.Add(wasmtest.Agent{Imports: wasmtest.Hostcalls, Table: true, Start: "agent_init"}.Bytes())
	for seed := range uint64(10) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 7))}
		for i := range 3 {
			g.size = 0
			g.funcs = append(g.funcs, g.stmts(i, 0))
		}
		f.Add(g.wasm())
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := module.Parse(b)
		if err != nil {
			return
		}
		valid := compiles(ctx, r, m.Bytes())
		metered, err := fuel.Rewrite(m, fuel.Version1)
		switch {
		case err != nil && valid == nil:
			t.Errorf("a valid module is refused: %v", err)
		case err == nil:
			if got := compiles(ctx, r, metered.WASM); (got == nil) != (valid == nil) {
				t.Errorf("before: %v, metered: %v", valid, got)
			}
		}
	})
}

// compiles says why not. The engine's validator panics on some invalid modules.
func compiles(ctx context.Context, r wazero.Runtime, wasm []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	c, err := r.CompileModule(ctx, wasm)
	if err == nil {
		c.Close(ctx)
	}
	return err
}

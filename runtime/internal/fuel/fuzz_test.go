package fuel_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/module"
	"igor.dev/runtime/internal/wasmtest"
)

// FuzzRewrite checks that any module that is rewritten is valid if and only if it
// was, that none is too much for the rewriter, and that a valid one is refused for
// a limit alone that it is near to.
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
	wide := wasmtest.Agent{Locals: map[string]string{"agent_tick": "\x01\xd0\x0f\x7e"}} // 2,000 of i64
	f.Add(wide.Bytes())
	wide.Locals["agent_tick"] = "\x01\xd0\x10\x7e" // 2,128
	f.Add(wide.Bytes())
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
		case err != nil && valid == nil && !(isLimit(err) && widest(m) > 256):
			t.Errorf("a valid module is refused: %v", err)
		case err == nil:
			if got := compiles(ctx, r, metered.WASM); (got == nil) != (valid == nil) {
				t.Errorf("before: %v, metered: %v", valid, got)
			}
		}
	})
}

func isLimit(err error) bool {
	_, ok := errors.AsType[*fuel.LimitError](err)
	return ok
}

// widest returns how many parameters and locals a function has at most.
func widest(m *module.Module) (most int) {
	for _, s := range m.Sections {
		if s.ID != module.Code {
			continue
		}
		r, at := &module.Reader{B: s.Content}, 0
		r.Vector("functions", 1<<31, func() {
			n := len(m.Types[m.Functions[at]].Params)
			for _, g := range r.Body().Locals {
				n += int(g.Count)
			}
			most = max(most, n)
			at++
		})
	}
	return most
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

package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
)

// TestCostIsExact runs one recorded life of each of some agents again, alone and beside
// six others that do nothing but take processors: every tick uses the same fuel and
// costs the same, to the unit, as it did when it was lived. The programs that make agents
// builds are among them where they are there.
func TestCostIsExact(t *testing.T) {
	loops := birth(wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Repeat(10_000, "") + wasmtest.I32(1)},
	}})
	lives := map[string]Birth{"WAT": loops}
	found, err := filepath.Glob("../bin/agents/heartbeat*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		wasm, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		man, err := os.ReadFile(path[:len(path)-len(".wasm")] + ".manifest.json")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		lives[filepath.Base(path)] = Birth{WASM: wasm, Manifest: man}
	}
	for name, b := range lives {
		t.Run(name, func(t *testing.T) {
			b.Budget, b.Price = 1<<40, 1_000_000
			dir := filepath.Join(t.TempDir(), "agent")
			c := ticks(12, 4)
			c.CacheDir = filepath.Join(t.TempDir(), "cache")
			again := replayConfig(dir, b)
			again.CacheDir = c.CacheDir
			r, err := Start(t.Context(), dir, b, c)
			if err != nil {
				t.Fatal(err)
			}
			alone, err := Replay(t.Context(), dir, again)
			if err != nil || alone.Verdict != Replayed {
				t.Fatalf("%+v, %v", alone, err)
			}
			var over atomic.Bool
			var busy sync.WaitGroup
			for range 6 {
				busy.Go(func() {
					for n := 0; ; n++ {
						if n%1000 == 0 && over.Load() {
							return
						}
					}
				})
			}
			beside, err := Replay(t.Context(), dir, again)
			over.Store(true)
			busy.Wait()
			if err != nil || beside.Verdict != Replayed || beside.Fuel != alone.Fuel || alone.Fuel == 0 {
				t.Errorf("alone it used %d, beside others %d: %+v, %v", alone.Fuel, beside.Fuel, beside.Verdict, err)
			}
			t.Logf("%d units of fuel, and %d microcents", alone.Fuel, b.Budget-r.Budget)
		})
	}
}

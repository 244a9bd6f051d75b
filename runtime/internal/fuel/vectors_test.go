package fuel_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/tetratelabs/wazero"

	"igor.dev/runtime/internal/fuel"
)

// TestVectors holds the package against docs/spec/metering.md.
func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../../../testdata/metering/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, WASM, Export, End string
		Args                    []uint64
		Fuel                    uint64
	}
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors) < 20 {
		t.Fatal(len(vectors), err)
	}
	for _, v := range vectors {
		wasm, err := hex.DecodeString(v.WASM)
		if err != nil {
			t.Fatal(err)
		}
		for _, rc := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
			_, _, units, err := metered(t, rc, wasm, v.Export, 1_000_000, v.Args...)
			if units != v.Fuel || (err != nil) != (v.End == "trap") || errors.Is(err, fuel.ErrOutOfFuel) {
				t.Errorf("%s: %d units, %v, want %d and %s", v.Name, units, err, v.Fuel, v.End)
			}
		}
	}
}

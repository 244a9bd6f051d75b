package sandbox

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
)

// BenchmarkInstantiate is what a life pays at each checkpoint for going on in a
// fresh instance.
func BenchmarkInstantiate(b *testing.B) {
	b.Run("small", func(b *testing.B) { benchmarkInstantiate(b, wasmtest.Agent{}.Bytes()) })
	b.Run("go", func(b *testing.B) {
		const heartbeat = "../../../bin/agents/heartbeat.wasm"
		wasm, err := os.ReadFile(heartbeat)
		if errors.Is(err, fs.ErrNotExist) {
			b.Skip("make agents builds ", heartbeat)
		}
		if err != nil {
			b.Fatal(err)
		}
		benchmarkInstantiate(b, wasm)
	})
}

func benchmarkInstantiate(b *testing.B, wasm []byte) {
	p, err := Compile(b.Context(), wasm, Config{
		Manifest: declare("clock", "rand", "log"), Host: new(fakeHost), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		in, err := p.Instantiate(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		in.Close()
	}
}

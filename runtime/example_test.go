package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"igor.dev/runtime"
	"igor.dev/runtime/internal/wasmtest"
)

// A program that runs an agent: it begins its life, gives it money while it lives,
// stops it, and goes on with it later, if that makes sense.
func Example() {
	folder, err := os.MkdirTemp("", "agents-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	ctx, dir := context.Background(), filepath.Join(folder, "counter")

	engine, err := runtime.NewEngine(runtime.EngineConfig{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	defer engine.Close()

	program := wasmtest.Agent{}.Bytes() // yours: os.ReadFile("counter.wasm")
	agent := engine.Start(ctx, dir, runtime.Birth{WASM: program, Budget: 1_000_000}, runtime.Config{TickInterval: runtime.AgentPace})
	status, err := agent.TopUp(ctx, 500_000)
	fmt.Println("budget:", status.Budget, err)
	result, err := agent.Stop(ctx)
	fmt.Println("ended:", result.Reason, err)

	result, err = engine.Resume(ctx, dir, runtime.Config{MaxTicks: 3}).Wait(ctx)
	switch locked := (*runtime.LockedError)(nil); {
	case errors.As(err, &locked):
		fmt.Println("it is run by", locked.Holder)
	case err != nil:
		fmt.Println("to try again makes sense:", runtime.Temporary(err), err)
	default:
		fmt.Println("ended:", result.Reason)
	}
	// Output:
	// budget: 1500000 <nil>
	// ended: stopped <nil>
	// ended: tick limit reached
}

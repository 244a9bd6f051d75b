package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"igor.dev/runtime/internal/fuel"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wasmtest"
)

// BenchmarkEngine prints a table of what agents cost, each thing beside what it is held
// against in the same run. Times are of a processor, so that others on the machine change
// little.
func BenchmarkEngine(b *testing.B) {
	for b.Loop() {
	}
	var out lines
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tis\theld against\tratio")
	row := func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(table, "\t")
			}
			fmt.Fprint(table, c)
		}
		fmt.Fprintln(table)
	}

	loop := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Repeat(100_000_000, "") + wasmtest.I32(1)}}}.Bytes()
	took, plain, ratio := against(b, loop, 5)
	row("a loop of 10^8 turns", took, fmt.Sprint("plain wazero, ", plain), ratio)

	work := filepath.Join(b.TempDir(), "work.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s", "-o", work, "./testdata/work")
	build.Env = append(build.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	code, err := os.ReadFile(work)
	if err != nil {
		b.Fatal(err)
	}
	took, plain, ratio = against(b, code, 15)
	row("SHA-256, sort and JSON in Go", took, fmt.Sprint("plain wazero, ", plain), ratio)

	// The cost of the same life, alone and beside others.
	birth := Birth{WASM: code, Budget: 1 << 40, Price: 1_000_000}
	c := cached(b, 5, 0)
	life := func() (cost int64, d time.Duration) {
		began := processorTime(b)
		r, err := Start(b.Context(), filepath.Join(b.TempDir(), fmt.Sprint(began)), birth, c)
		if err != nil {
			b.Fatal(err)
		}
		return birth.Budget - r.Budget, processorTime(b) - began
	}
	alone, _ := life()
	over := make(chan struct{})
	var busy sync.WaitGroup
	for range 3 {
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	beside, _ := life()
	close(over)
	busy.Wait()
	row("cost of 5 such ticks beside 3 loops", fmt.Sprintf("%d microcents", beside), fmt.Sprintf("alone, %d microcents", alone), fmt.Sprintf("%.6f", float64(beside)/float64(alone)))
	if alone != beside {
		b.Errorf("a cost of %d alone is %d beside others", alone, beside)
	}

	small := Birth{WASM: wasmtest.Agent{}.Bytes(), Budget: 1 << 40, Price: 1000}
	for _, kind := range []struct {
		name   string
		birth  Birth
		agents int
	}{{"an agent in Go that waits", birth, 32}, {"an agent of 200 bytes that waits", small, 256}} {
		mem, born, made, asked, used := crowd(b, kind.birth, kind.agents)
		size := one(b, kind.birth.WASM)
		row(kind.name, fmt.Sprintf("%.2f MiB of %d", mem/(1<<20), kind.agents), fmt.Sprintf("its own memory, %.2f MiB", size/(1<<20)), fmt.Sprintf("%.2f", mem/size))
		row(fmt.Sprintf("to be born, each of %d", kind.agents), born, "", "")
		if made > 0 {
			row(fmt.Sprintf("syncs of %d in 5 s, %v of a processor", kind.agents, used.Round(time.Millisecond)), made, fmt.Sprintf("asked for, %d", asked), fmt.Sprintf("%.3f", float64(made)/float64(asked)))
		}
	}

	// A disk that is filled, and a tick that always traps.
	full := cached(b, 0, 1)
	full.MaxDisk, full.PriceStored, full.MaxTicks = 256<<10, 1_000_000_000, 10_000
	dir := filepath.Join(b.TempDir(), "full")
	r, err := Start(b.Context(), dir, small, full)
	if err != nil {
		b.Fatal(err)
	}
	d := diskUsage{dir: dir}
	d.measure()
	row("bytes that one may fill", d.bytes(), fmt.Sprintf("its quota, %d", full.MaxDisk), fmt.Sprintf("%.2f, %s", float64(d.bytes())/float64(full.MaxDisk), r.Reason))
	poison := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Unreachable + wasmtest.I32(1)}}}
	trap := Birth{WASM: poison.Bytes(), Budget: 1 << 40, Price: 1_000_000_000_000}
	dir = filepath.Join(b.TempDir(), "trap")
	traps := cached(b, 10, 0)
	traps.MaxFailedTicks = -1
	r, err = Start(b.Context(), dir, trap, traps)
	if err != nil {
		b.Fatal(err)
	}
	again, err := Replay(b.Context(), dir, replayConfig(dir, trap))
	if err != nil || again.Verdict != Replayed || again.Failed != 10 {
		b.Fatalf("%+v, %v", again, err)
	}
	row("10 ticks that trap: paid", trap.Budget-r.Budget, fmt.Sprintf("what replay counts, %d", again.Fuel*1000), fmt.Sprintf("%.3f", float64(trap.Budget-r.Budget)/float64(again.Fuel*1000)))
	table.Flush()
	fmt.Print(out)
}

// lines are written at once, after what the benchmark itself says.
type lines string

func (l *lines) Write(p []byte) (int, error) { *l += lines(p); return len(p), nil }

// against returns what a tick of a program takes in the sandbox and with wazero alone,
// and the median of the ratios.
func against(b *testing.B, wasm []byte, rounds int) (took, plain time.Duration, ratio string) {
	b.Helper()
	call, done := directly(b, wasm)
	defer done()
	m, err := manifest.Parse(nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := sandbox.Compile(b.Context(), wasm, sandbox.Config{Manifest: m, Metering: fuel.Version1, Log: quiet().Log})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	in, err := p.Instantiate(b.Context())
	if err == nil {
		err = in.Init(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	var ratios []float64
	for range rounds {
		began := processorTime(b)
		call()
		direct := processorTime(b)
		if _, err := in.Tick(b.Context()); err != nil {
			b.Fatal(err)
		}
		end := processorTime(b)
		took, plain = end-direct, direct-began
		ratios = append(ratios, float64(took)/float64(plain))
	}
	slices.Sort(ratios)
	return took.Round(time.Millisecond), plain.Round(time.Millisecond), fmt.Sprintf("%.2f", ratios[len(ratios)/2])
}

// one returns how much memory an instance has.
func one(b *testing.B, wasm []byte) float64 {
	b.Helper()
	m, err := manifest.Parse(nil)
	if err != nil {
		b.Fatal(err)
	}
	p, err := sandbox.Compile(b.Context(), wasm, sandbox.Config{Manifest: m, Metering: fuel.Version1, Log: quiet().Log})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	in, err := p.Instantiate(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	return float64(in.Size())
}

// crowd has agents live in one engine, and says what memory each takes while it waits, how
// long each takes to be born, and what all take in five seconds.
func crowd(b *testing.B, birth Birth, n int) (mem float64, born time.Duration, made, asked uint64, used time.Duration) {
	b.Helper()
	c := cached(b, 0, 0)
	c.TickInterval, c.CheckpointEvery = time.Second, Every{Time: 5 * time.Second}
	c.EngineConfig.Log, c.Config.Log = c.Log, c.Log
	e, err := c.engine()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	tmp := b.TempDir()
	before, began := resident(b), processorTime(b)
	room := make(chan struct{}, 8)
	var agents []*Agent
	var all sync.WaitGroup
	for i := range n {
		room <- struct{}{}
		a := e.Start(context.Background(), filepath.Join(tmp, fmt.Sprint(i)), birth, c.Config)
		agents = append(agents, a)
		all.Go(func() { a.awaitAlive(); <-room })
	}
	all.Wait()
	born = (processorTime(b) - began) / time.Duration(n)
	time.Sleep(3 * spareFor) // until nothing is kept for the next instance
	mem = float64(resident(b)-before) / float64(n)
	asked0, made0 := e.Syncs()
	began = processorTime(b)
	time.Sleep(5 * time.Second)
	asked, made = e.Syncs()
	used = processorTime(b) - began
	runtime.KeepAlive(agents)
	return mem, born.Round(time.Microsecond), made - made0, asked - asked0, used
}

package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wasmtest"
)

// The benchmarks of what a life costs hold two things against one another in
// turns, in one run, so that both see the same machine: the ratio is the figure.
// make bench runs them.

// benchAgents are a counter of 200 bytes, one that asks for the time and for 32
// random bytes and logs a line of 16 in every tick, and one in standard Go.
func benchAgents(b *testing.B, bench func(b *testing.B, birth Birth)) {
	busy := birth(wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit},
		Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Call(0) + wasmtest.Drop +
			wasmtest.I32(64) + wasmtest.I32(32) + wasmtest.Call(1) + wasmtest.Drop +
			wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(16) + wasmtest.Call(2) + wasmtest.I32(0)}},
		Data: "sixteen letters!",
	})
	busy.Manifest = []byte(`{"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}}}`)
	b.Run("idle", func(b *testing.B) { bench(b, birth(wasmtest.Agent{})) })
	b.Run("clock+rand+log", func(b *testing.B) { bench(b, busy) })
	b.Run("go", func(b *testing.B) {
		const heartbeat = "../bin/agents/heartbeat"
		wasm, err := os.ReadFile(heartbeat + ".wasm")
		if errors.Is(err, fs.ErrNotExist) {
			b.Skip("make agents builds ", heartbeat)
		}
		if err != nil {
			b.Fatal(err)
		}
		manifest, err := os.ReadFile(heartbeat + ".manifest.json")
		if err != nil {
			b.Fatal(err)
		}
		bench(b, Birth{WASM: wasm, Manifest: manifest, Budget: 1 << 40, Price: 1000})
	})
}

// cached are ticks whose compiled code is kept.
func cached(b *testing.B, n, every uint64) settings {
	c := ticks(n, every)
	if every == 0 {
		c.CheckpointEvery.Time = -1 // however long it takes
	}
	c.CacheDir = filepath.Join(b.TempDir(), "cache")
	return c
}

// firstCheckpoint has the time when the first checkpoint was acknowledged.
type firstCheckpoint struct {
	slog.Handler
	at time.Time
}

func (f *firstCheckpoint) Enabled(_ context.Context, l slog.Level) bool { return true }

func (f *firstCheckpoint) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "checkpoint" && f.at.IsZero() {
		f.at = time.Now()
	}
	return nil
}

// lived starts an agent in dir, and returns what its ticks took.
func lived(b *testing.B, dir string, birth Birth, c settings) time.Duration {
	b.Helper()
	first := new(firstCheckpoint)
	c.Log = slog.New(first)
	if _, err := Start(b.Context(), dir, birth, c); err != nil {
		b.Fatal(err)
	}
	return time.Since(first.at)
}

// BenchmarkTick holds a tick against calling the same function with wazero alone,
// with hostcalls that do nothing.
func BenchmarkTick(b *testing.B) {
	benchAgents(b, func(b *testing.B, birth Birth) {
		const lot = 20_000
		direct, done := directly(b, birth.WASM)
		defer done()
		c := cached(b, lot, 0)
		var living, calling time.Duration
		lots := 0
		for ; b.Loop(); lots++ {
			living += lived(b, filepath.Join(b.TempDir(), fmt.Sprint(lots)), birth, c)
			began := time.Now()
			for range lot {
				direct()
			}
			calling += time.Since(began)
		}
		n := float64(lots * lot)
		b.ReportMetric(float64(living.Nanoseconds())/n, "ns/tick")
		b.ReportMetric(float64(calling.Nanoseconds())/n, "ns/direct-call")
		b.ReportMetric(float64(living)/float64(calling), "times-direct")
	})
}

// directly returns agent_tick of an instance without the runtime.
func directly(b *testing.B, wasm []byte) (call func(), done func()) {
	b.Helper()
	ctx := b.Context()
	r := wazero.NewRuntime(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder("igor").
		NewFunctionBuilder().WithFunc(func() int64 { return 0 }).Export("clock_now").
		NewFunctionBuilder().WithFunc(func(uint32, uint32) uint32 { return 0 }).Export("rand_bytes").
		NewFunctionBuilder().WithFunc(func(uint32, uint32) {}).Export("log_emit").
		Instantiate(ctx)
	if err != nil {
		b.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := m.ExportedFunction("agent_init").Call(ctx); err != nil {
		b.Fatal(err)
	}
	tick := m.ExportedFunction("agent_tick")
	return func() {
		if _, err := tick.Call(ctx); err != nil {
			b.Fatal(err)
		}
	}, func() { r.Close(ctx) }
}

// BenchmarkEventLog says how large the event log is, and holds the time that
// writing it takes against that of the ticks.
func BenchmarkEventLog(b *testing.B) {
	benchAgents(b, func(b *testing.B, birth Birth) {
		const lot = 20_000
		c := cached(b, lot, 0)
		var living, writing time.Duration
		var size int64
		lots := 0
		for ; b.Loop(); lots++ {
			dir := filepath.Join(b.TempDir(), fmt.Sprint(lots))
			living += lived(b, dir, birth, c)
			took, written := rewrite(b, filepath.Join(dir, "events", eventlog.FileName(1)))
			writing += took
			size += written
		}
		n := float64(lots * lot)
		b.ReportMetric(float64(size)/n, "B/tick")
		b.ReportMetric(float64(writing.Nanoseconds())/n, "ns/tick")
		b.ReportMetric(writing.Seconds()/living.Seconds(), "of-tick")
	})
}

// rewrite writes the records of a segment again, as a life does.
func rewrite(b *testing.B, segment string) (took time.Duration, size int64) {
	b.Helper()
	f, err := os.Open(segment)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var records []eventlog.Record
	r := eventlog.NewReader(f)
	header, err := r.Header()
	if err != nil {
		b.Fatal(err)
	}
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		records = append(records, record)
	}
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	began := time.Now()
	w, _, err := eventlog.New(wal.Dir(root), wal.Dir(root)).Continue(header, header.First)
	if err != nil {
		b.Fatal(err)
	}
	for i := range records {
		if err := w.Append(&records[i]); err != nil {
			b.Fatal(err)
		}
		if records[i].Kind == eventlog.TickEnd {
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	size = w.Size()
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began), size
}

// BenchmarkDurable holds the rate of durable checkpoints, one a tick, against the
// least that a disk has to do for a file each: a new file, written and synced, and
// its folder synced.
func BenchmarkDurable(b *testing.B) {
	_, node, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	const lot = 200
	var living, writing time.Duration
	var made, written int
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
		c := ticks(lot, 1)
		c.NodeKey = node
		living += lived(b, dir, birth(wasmtest.Agent{}), c)
		made += lot

		newest, err := NewestCheckpoint(dir)
		if err != nil {
			b.Fatal(err)
		}
		checkpoint, err := os.ReadFile(newest)
		if err != nil {
			b.Fatal(err)
		}
		raw := filepath.Join(b.TempDir(), fmt.Sprint("raw", i))
		if err := os.Mkdir(raw, 0o755); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for n := range lot {
			if err := writeDurably(raw, fmt.Sprintf("%010d", n), checkpoint); err != nil {
				b.Fatal(err)
			}
		}
		writing += time.Since(began)
		written += lot
	}
	checkpoints, writes := float64(made)/living.Seconds(), float64(written)/writing.Seconds()
	b.ReportMetric(checkpoints, "checkpoints/s")
	b.ReportMetric(writes, "writes/s")
	b.ReportMetric(checkpoints/writes, "of-writes")
}

func writeDurably(dir, name string, content []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// BenchmarkMemory says how many agents that wait for their next tick fit into a
// GiB, all in this process.
func BenchmarkMemory(b *testing.B) {
	benchAgents(b, func(b *testing.B, birth Birth) {
		const agents = 32
		c := cached(b, 0, 0)
		c.TickInterval = time.Hour
		warm := c
		warm.MaxTicks = 1
		if _, err := Start(b.Context(), filepath.Join(b.TempDir(), "warm"), birth, warm); err != nil {
			b.Fatal(err)
		}
		grown := int64(0)
		lots := 0
		for ; b.Loop(); lots++ {
			before := resident(b)
			ctx, stop := context.WithCancel(b.Context())
			var all, waiting sync.WaitGroup
			waiting.Add(agents)
			for i := range agents {
				mine := c
				mine.Watch = func(s Status) {
					if s.Phase == Waiting {
						waiting.Done()
					}
				}
				all.Go(func() {
					if _, err := Start(ctx, filepath.Join(b.TempDir(), fmt.Sprint(lots, i)), birth, mine); err != nil {
						b.Error(err)
						waiting.Done()
					}
				})
			}
			waiting.Wait()
			time.Sleep(3 * spareFor) // until nothing is kept for the next instance
			grown += resident(b) - before
			stop()
			all.Wait()
		}
		each := float64(grown) / float64(lots*agents)
		b.ReportMetric(each/(1<<20), "MiB/agent")
		b.ReportMetric((1<<30)/each, "agents/GiB")
	})
}

// resident returns how much memory this process has.
func resident(b *testing.B) int64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, fs.ErrNotExist) {
		b.Skip("there is no /proc/self/statm")
	}
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkColdStart is from the call of Resume to the end of its first tick and
// its checkpoint, with and without compiled code that was kept.
func BenchmarkColdStart(b *testing.B) {
	benchAgents(b, func(b *testing.B, birth Birth) {
		dir := filepath.Join(b.TempDir(), "agent")
		with := cached(b, 1, 0)
		without := with
		without.CacheDir = ""
		if _, err := Start(b.Context(), dir, birth, with); err != nil {
			b.Fatal(err)
		}
		resume := func(c settings) time.Duration {
			began := time.Now()
			if _, err := Resume(b.Context(), dir, c); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		var cold, kept time.Duration
		n := 0
		for ; b.Loop(); n++ {
			cold += resume(without)
			kept += resume(with)
		}
		b.ReportMetric(cold.Seconds()*1e3/float64(n), "ms/start")
		b.ReportMetric(kept.Seconds()*1e3/float64(n), "ms/start-cached")
		b.ReportMetric(cold.Seconds()/kept.Seconds(), "times-cached")
	})
}

// BenchmarkReplay holds running a life again against living it without a pause,
// and at the pace of an agent that has nothing to do: a tick a second.
func BenchmarkReplay(b *testing.B) {
	benchAgents(b, func(b *testing.B, birth Birth) {
		const lot = 5_000
		c := cached(b, lot, 10)
		var living, replaying time.Duration
		lots := 0
		for ; b.Loop(); lots++ {
			dir := filepath.Join(b.TempDir(), fmt.Sprint(lots))
			living += lived(b, dir, birth, c)
			again := replayConfig(dir, birth)
			again.CacheDir = c.CacheDir
			began := time.Now()
			r, err := Replay(b.Context(), dir, again)
			if err != nil || r.Verdict != Replayed {
				b.Fatal(r, err)
			}
			replaying += time.Since(began)
		}
		n := float64(lots * lot)
		b.ReportMetric(n/replaying.Seconds(), "ticks/s")
		b.ReportMetric(living.Seconds()/replaying.Seconds(), "times-live")
		b.ReportMetric(n*idleInterval.Seconds()/replaying.Seconds(), "times-idle-pace")
	})
}

package replay

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// watcher is a counter that keeps the time of its last agent_resume and that of its
// last tick.
var watcher = wasmtest.Agent{
	Imports: []wasmtest.Import{wasmtest.ClockNow},
	Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + "\x41\x10" + wasmtest.Call(0) + "\x37\x03\x00" + wasmtest.I32(1)},
		"agent_resume": {Type: wasmtest.I32I32, Body: "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00" + // store64(0, load64(ptr))
			"\x41\x08" + wasmtest.Call(0) + "\x37\x03\x00"},
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(24)},
	},
}

const watching = `{"capabilities": {"clock": {"version": 1}}}`

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// A fixture is an engine and the two ticks after a checkpoint of tick 4.
type fixture struct {
	*Engine
	manHash    verifier.Hash
	segments   *waltest.Folder
	prev, next []byte
}

func checkpoint(wasm []byte, prev verifier.Hash, tick uint64, budget int64, state ...uint64) []byte {
	c := verifier.Checkpoint{Version: verifier.Version4, Budget: budget, TickNumber: tick, WASMHash: sha256.Sum256(wasm), PrevHash: prev}
	for _, v := range state {
		c.State = binary.LittleEndian.AppendUint64(c.State, v)
	}
	copy(c.AgentPubKey[:], key.Public().(ed25519.PublicKey))
	copy(c.Signature[:], ed25519.Sign(key, c.AppendMessage(nil)))
	return c.Append(nil)
}

// honest are the records of the fixture's ticks.
var honest = []eventlog.Record{
	{Kind: eventlog.ClockNow, Tick: 5, Return: 50},
	{Kind: eventlog.ClockNow, Tick: 5, Return: 51},
	{Kind: eventlog.TickEnd, Tick: 5, Return: 1, Cost: 1},
	{Kind: eventlog.ClockNow, Tick: 6, Return: 60},
	{Kind: eventlog.TickEnd, Tick: 6, Return: 1, Cost: 1},
}

// state is what they come to.
var state = []uint64{6, 50, 60}

func newFixture(t testing.TB, agent wasmtest.Agent) *fixture {
	t.Helper()
	m, err := manifest.Parse([]byte(watching))
	if err != nil {
		t.Fatal(err)
	}
	wasm := agent.Bytes()
	program, err := sandbox.Compile(context.Background(), wasm, sandbox.Config{Manifest: m, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	f := &fixture{manHash: verifier.Hash{9}}
	f.Engine = &Engine{Programs: func(_ context.Context, wasm, man verifier.Hash, schedule uint32) (*sandbox.Program, *manifest.Manifest, error) {
		if man != f.manHash || schedule > 0 {
			return nil, nil, fmt.Errorf("%w: the segment was recorded with the manifest of SHA-256 %s", ErrMissing, man)
		}
		return program, m, nil
	}}
	f.prev = checkpoint(wasm, verifier.Hash{1}, 4, 100, 4, 0, 0)
	f.record(t, wasm, honest, 98, state...)
	return f
}

// record writes the segment anew, and the checkpoint after it.
func (f *fixture) record(t testing.TB, wasm []byte, records []eventlog.Record, budget int64, state ...uint64) {
	t.Helper()
	f.segments = waltest.New()
	f.Log = eventlog.New(f.segments, waltest.New())
	h := eventlog.Header{Prev: sha256.Sum256(f.prev), WASM: sha256.Sum256(wasm), Manifest: f.manHash}
	w, _, err := f.Log.Continue(h, 5)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := w.Append(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	f.next = checkpoint(wasm, h.Prev, 6, budget, state...)
	if err := w.Seal(sha256.Sum256(f.next), eventlog.Metered{}, key); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) run(t testing.TB) (Result, error) {
	return f.Run(t.Context(), Interval{Prev: f.prev, Next: f.next})
}

func TestRun(t *testing.T) {
	f := newFixture(t, watcher)
	var seen []string
	r, err := f.Run(t.Context(), Interval{Prev: f.prev, Next: f.next, Observe: func(r *eventlog.Record) { seen = append(seen, r.Kind.String()) }})
	if err != nil || r.Ticks != 2 || r.Observations != 5 || len(r.State) != 24 || r.Segment.Origin != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if got := strings.Join(seen, ", "); got != "clock_now, clock_now, tick end, clock_now, tick end" {
		t.Errorf("observed %s", got)
	}
	r, err = f.Run(t.Context(), Interval{Prev: f.prev, Next: f.next, Until: 5})
	if err != nil || r.Ticks != 1 || binary.LittleEndian.Uint64(r.State[16:]) != 51 {
		t.Errorf("until tick 5: got %+v, %v", r, err)
	}
	var all sync.WaitGroup
	for range 4 { // one engine, at the same time
		all.Go(func() {
			if _, err := f.run(t); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Run(ctx, Interval{Prev: f.prev, Next: f.next}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

// TestDiverged runs what was signed, and is not what the agent does.
func TestDiverged(t *testing.T) {
	wasm := watcher.Bytes()
	f := newFixture(t, watcher)
	change := func(i int, r eventlog.Record) []eventlog.Record {
		records := append([]eventlog.Record{}, honest...)
		records[i] = r
		return records
	}
	for name, tt := range map[string]struct {
		records []eventlog.Record
		state   []uint64
		tick    uint64
		call    int
		message string
	}{
		"in agent_resume":      {change(0, eventlog.Record{Kind: eventlog.WalletBalance, Tick: 5}), state, 5, 0, "wallet_balance, and the agent does clock_now"},
		"without agent_resume": {honest[1:], state, 5, 1, "tick end, and the agent does clock_now"},
		"another result":       {change(4, eventlog.Record{Kind: eventlog.TickEnd, Tick: 6, Cost: 1}), state, 6, 1, "tick end differs at byte 0"},
		"another time":         {change(1, eventlog.Record{Kind: eventlog.ClockNow, Tick: 5, Return: 5}), state, 0, 0, ""},
		"another time, kept":   {change(3, eventlog.Record{Kind: eventlog.ClockNow, Tick: 6, Return: 61}), state, 6, -1, "byte 16"},
		"a longer state":       {honest, append(state[:3:3], 7), 6, -1, "byte 24"},
		"a shorter state":      {honest, state[:2], 6, -1, "byte 16"},
	} {
		budget := int64(100)
		for _, r := range tt.records {
			budget -= r.Cost
		}
		f.record(t, wasm, tt.records, budget, tt.state...)
		_, err := f.run(t)
		if tt.message == "" {
			if err != nil {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if tt.call < 0 {
			if d, ok := errors.AsType[*StateDivergence](err); !ok || d.Tick != tt.tick {
				t.Errorf("%s: got %v", name, err)
			}
		} else if d, ok := errors.AsType[*record.Divergence](err); !ok || d.Tick != tt.tick || d.Call != tt.call {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestTraps runs agents that fail where they did not when they lived.
func TestTraps(t *testing.T) {
	for _, export := range []string{"agent_tick", "agent_resume"} {
		agent := watcher
		agent.Funcs = map[string]wasmtest.Func{}
		for name, f := range watcher.Funcs {
			if name == export {
				f.Body += wasmtest.Unreachable
			}
			agent.Funcs[name] = f
		}
		f := newFixture(t, agent)
		_, err := f.run(t)
		if d, ok := errors.AsType[*record.Divergence](err); !ok || d.Tick != 5 || !strings.Contains(d.Got, export+" failed: unreachable") {
			t.Errorf("%s: got %v", export, err)
		}
	}
}

// TestMissing takes away what a replay needs.
func TestMissing(t *testing.T) {
	f := newFixture(t, watcher)
	f.manHash[0]++
	if _, err := f.run(t); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("another manifest: got %v", err)
	}
	f.manHash[0]--
	file := eventlog.FileName(5)
	b := f.segments.Get(file)
	if err := f.segments.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(t); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), file) {
		t.Errorf("no segment: got %v", err)
	}
	// A damaged segment is not a missing one.
	for n := 0; n < len(b); n += 7 {
		f.segments.Put(file, b[:n])
		if _, err := f.run(t); err == nil || errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), file) {
			t.Errorf("%d bytes: got %v", n, err)
		}
	}
	f.segments.Put(file, b)
	if _, err := f.run(t); err != nil {
		t.Error(err)
	}
	for name, in := range map[string]Interval{
		"without the checkpoint before": {Next: f.next},
		"a checkpoint cut short":        {Prev: f.prev, Next: f.next[:100]},
		"the other way round":           {Prev: f.next, Next: f.prev},
	} {
		if _, err := f.Run(t.Context(), in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestRestart checks that an agent that observes in agent_resume is not run with
// more fresh instances than it had.
func TestRestart(t *testing.T) {
	f := newFixture(t, watcher)
	if _, err := f.Run(t.Context(), Interval{Prev: f.prev, Next: f.next, Restart: true}); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
}

// FuzzRun runs logs that an agent's key signed, whatever is in them: it ends, and it
// is green only if the state is the one that was recorded.
func FuzzRun(f *testing.F) {
	f.Add([]byte{1, 50, 1, 51, 128, 1, 1, 60, 128, 1})
	f.Add([]byte{128, 1})
	f.Add([]byte{1, 50, 2, 4, 3, 9, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 129, 2, 128, 0, 128, 1})
	wasm := watcher.Bytes()
	fx := newFixture(f, watcher)
	f.Fuzz(func(t *testing.T, b []byte) {
		var records []eventlog.Record
		tick, budget := uint64(5), int64(100)
		for i := 0; i+1 < len(b) && i < 200 && tick <= 6; i += 2 {
			v := b[i+1]
			r := eventlog.Record{Kind: eventlog.Kind(b[i]), Tick: tick, Return: int64(v), Price: 0}
			switch {
			case r.Kind == eventlog.Account:
				r.Reason, r.Amount = eventlog.TopUp, int64(v)
				budget += r.Amount
			case r.Kind == eventlog.TickEnd:
				tick++
			case r.Kind.Hostcall():
				r.Request, r.Result = eventlog.Bytes(b[:min(len(b), int(v%8))]), eventlog.Bytes(b[i:])
			default:
				continue
			}
			records = append(records, r)
		}
		fx.record(t, wasm, records, budget, state...)
		r, err := fx.run(t)
		if err == nil && (r.Ticks != 2 || string(r.State) != string(fx.next[verifier.HeaderSize:])) {
			t.Errorf("green: %+v of %+v", r, records)
		}
	})
}

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/wasmtest"
)

// simulate runs a simulation, and returns what it logged.
func simulate(t *testing.T, b Birth, c SimulationConfig) (SimulationResult, string, error) {
	t.Helper()
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	r, err := Simulate(t.Context(), b, c)
	return r, log.String(), err
}

// observant keeps the sum of the clock's readings and the last byte that it drew.
var observant = wasmtest.Agent{
	Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.RandBytes, wasmtest.LogEmit},
	Data:    "hello",
	Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.I32(0) + // address of the store
			wasmtest.I32(0) + "\x29\x03\x00" + wasmtest.Call(0) + "\x7c" + "\x37\x03\x00" + // state += clock_now()
			wasmtest.I32(7) + wasmtest.I32(1) + wasmtest.Call(1) + wasmtest.Drop +
			wasmtest.I32(wasmtest.DataAt) + wasmtest.I32(5) + wasmtest.Call(2) +
			wasmtest.I32(0)},
	},
}.Bytes()

const observantManifest = `{"capabilities": {"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}}}`

func TestSimulateTwice(t *testing.T) {
	b := Birth{WASM: observant, Manifest: []byte(observantManifest), Budget: 1_000_000, Price: 1_000_000}
	c := SimulationConfig{Ticks: 40, Seed: 7, CheckpointEvery: Every{Ticks: 6}, CrashEvery: 9, Verify: true}
	first, log, err := simulate(t, b, c)
	if err = errors.Join(err, first.Problem()); err != nil {
		t.Fatal(err)
	}
	if first.Tick != 40 || first.Crashes != 4 || first.Budget >= 1_000_000 || first.Budget <= 0 || first.Reason != TickLimit {
		t.Errorf("got %+v", first)
	}
	if n := strings.Count(log, "says=hello"); n != 40 {
		t.Errorf("the agent spoke %d times, want 40:\n%s", n, log)
	}
	if !strings.HasPrefix(log, "time=2022-01-01T00:00:00.000Z ") || !strings.Contains(log, "the machine crashes") {
		t.Errorf("it logged\n%s", log)
	}
	if used := first.Costs; used == nil || used.Ticks != 40 || used.Fuel == 0 || used.MostFuel == 0 || used.MostFuelTick == 0 || used.TimeCost+used.StoredCost+used.Spent != 1_000_000-first.Budget {
		t.Errorf("it cost %+v, and %d microcents", used, 1_000_000-first.Budget)
	}
	again, logAgain, err := simulate(t, b, c)
	if err != nil || again.Head != first.Head || again.Time != first.Time || again.Checkpoints != first.Checkpoints || logAgain != log {
		t.Errorf("the second time %+v, %v, want %+v; it logged\n%s", again, err, first, logAgain)
	}
	c.Seed++
	if other, _, err := simulate(t, b, c); err != nil || other.Head == first.Head || other.DID == first.DID {
		t.Errorf("another seed gives the same life: %+v, %v", other, err)
	}
}

func TestSimulateKeepsNoKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	r, _, err := simulate(t, birth(wasmtest.Agent{}), SimulationConfig{Ticks: 3, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
		t.Error("the simulated key is in the folder")
	}
	if got := counts(t, dir); !slices.Equal(got, []uint64{0, 3}) {
		t.Errorf("checkpoints of %d", got)
	}
	if _, err := Resume(t.Context(), dir, quiet()); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("a simulated life was resumed: %v", err)
	}
	if _, _, err := simulate(t, birth(wasmtest.Agent{}), SimulationConfig{Ticks: 3, Dir: dir}); err == nil {
		t.Errorf("took a folder that has %s", r.DID)
	}
}

// TestSimulateFindsForgottenState has an agent that counts in memory which it does
// not marshal: where its checkpoints are decides what it comes to.
func TestSimulateFindsForgottenState(t *testing.T) {
	const at = 64
	forgetful := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.StoreI32(at, wasmtest.I32(at)+"\x28\x02\x00"+wasmtest.I32(1)+"\x6a") +
			wasmtest.StoreI32(0, wasmtest.I32(at)+"\x28\x02\x00") + wasmtest.I32(0)},
	}}.Bytes()
	r, _, err := simulate(t, Birth{WASM: forgetful}, SimulationConfig{Ticks: 12, CheckpointEvery: Every{Ticks: 5}, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Replayed.Verdict != Replayed || r.Restarted.Verdict != Diverged {
		t.Fatalf("run again: %s, with fresh instances: %s", r.Replayed.Verdict, r.Restarted.Verdict)
	}
	p := r.Restarted.Problems[0]
	if p.Code != codeStateDivergence || *p.Tick != 5 || *p.Byte != 0 || p.Recorded != "0500000000000000" || p.Got != "0100000000000000" {
		t.Errorf("got %+v", p)
	}
	err = r.Problem()
	if err == nil || !strings.Contains(err.Error(), "tick 5") || !strings.Contains(hintOf(err), "Marshal") {
		t.Errorf("got %v", err)
	}
}

// TestSimulateNamesTheHostcall has the agent say what it did not marshal.
func TestSimulateNamesTheHostcall(t *testing.T) {
	const at = 64
	b := birth(wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.LogEmit},
		Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.StoreI32(at+1, wasmtest.I32(at+1)+"\x28\x02\x00"+wasmtest.I32(1)+"\x6a") +
				wasmtest.Call(0) + wasmtest.Drop + wasmtest.I32(at) + wasmtest.I32(5) + wasmtest.Call(1) + wasmtest.I32(0)},
		},
	})
	b.Manifest = []byte(observantManifest)
	r, _, err := simulate(t, b, SimulationConfig{Ticks: 12, CheckpointEvery: Every{Ticks: 5}, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	p := r.Restarted.Problems[0]
	if p.Code != codeDivergence || *p.Tick != 2 || *p.Hostcall != 1 || *p.Byte != 1 {
		t.Errorf("got %+v", p)
	}
	if err := r.Problem(); err == nil || !strings.Contains(err.Error(), "tick 2, hostcall 1: log_emit differs at byte 1: recorded is 0002000000, and the agent has 0001000000") {
		t.Errorf("got %v", err)
	}
}

func hintOf(err error) string {
	h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok {
		return ""
	}
	return h.Hint()
}

// TestSimulateFails has the agent fail in a tick, twice in the same way.
func TestSimulateFails(t *testing.T) {
	trap := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(4, wasmtest.Unreachable) + wasmtest.I32(0)},
	}}.Bytes()
	for range 2 {
		if _, _, err := simulate(t, Birth{WASM: trap}, SimulationConfig{Ticks: 12, MaxFailedTicks: 1}); err == nil || err.Error() != "agent failed after tick 4: agent_tick failed: unreachable" ||
			!strings.Contains(hintOf(err), "tick 5 again") {
			t.Errorf("got %v, %q", err, hintOf(err))
		}
	}
}

// spender posts and pays in every tick, and keeps what came of it, a byte each:
// the two results of the newest tick.
func spender() []byte {
	const post, url, shop, out = wasmtest.DataAt, wasmtest.DataAt + 4, wasmtest.DataAt + 4 + 25, 2048
	i := wasmtest.I32
	return wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.HTTPRequest, wasmtest.WalletPay},
		Data:    "POST" + "http://orders.example.com" + "shop",
		Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: "" +
				wasmtest.StoreI32(0, i(post)+i(4)+i(url)+i(25)+i(0)+i(0)+i(0)+i(0)+i(out)+i(64)+wasmtest.Call(0)) +
				wasmtest.StoreI32(4, wasmtest.I64(3)+i(shop)+i(4)+i(0)+i(0)+i(out)+i(2000)+wasmtest.Call(1)) +
				i(0)},
		},
	}.Bytes()
}

const spenderManifest = `{"capabilities": {
	"http": {"version": 1, "options": {"allowed_hosts": ["orders.example.com"], "class": "%s"}},
	"x402": {"version": 1, "options": {"allowed_recipients": ["shop"], "max_payment_microcents": 3, "class": "%[1]s"}}}}`

// TestSimulateCrashes crashes the machine in the middle of side effects. Whatever
// is paid for is paid once.
func TestSimulateCrashes(t *testing.T) {
	for _, class := range []string{"unsafe", "idempotent"} {
		b := Birth{WASM: spender(), Manifest: fmt.Appendf(nil, spenderManifest, class), Budget: 1_000_000}
		c := SimulationConfig{Ticks: 60, CheckpointEvery: Every{Ticks: 7}, CrashEvery: 3, Verify: true,
			HTTP: []byte(`[{"method": "POST", "url": "http://orders.example.com", "status": 200, "body": "taken"}]`)}
		r, log, err := simulate(t, b, c)
		if err = errors.Join(err, r.Problem()); err != nil {
			t.Fatalf("%s: %v\n%s", class, err, log)
		}
		payments, held := 0, int64(0)
		for outcome, n := range r.Payments {
			if payments += n; outcome != "refused" {
				held += int64(3 * n)
			}
		}
		// Every tick pays once, and what is refused is free; what nobody knows is held.
		if payments != 60 || r.Budget != 1_000_000-held || r.Crashes != 19 || len(r.Payments) != 4 {
			t.Errorf("%s: %+v, budget %d, %d crashes\n%s", class, r.Payments, r.Budget, r.Crashes, log)
		}
		// What was sent again after a crash was answered again.
		if again := r.Requests - 60; (again > 0) != (class == "idempotent") {
			t.Errorf("%s: %d requests", class, r.Requests)
		}
	}
}

func TestSimulateRefuses(t *testing.T) {
	for want, c := range map[string]SimulationConfig{
		"at least one tick": {},
		"not a JSON list":   {Ticks: 1, HTTP: []byte("{")},
	} {
		if _, _, err := simulate(t, birth(wasmtest.Agent{}), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestSimulateTellsFindings has an agent that posts and traps then in two of its ticks: its
// life goes on, and it is told in the next tick what those did, whatever the machine does.
func TestSimulateTellsFindings(t *testing.T) {
	// It traps where it counts to 3, until it was told of tick 4.
	trap := "\x04\x40\x00\x0b" // if unreachable end
	byteAt := func(at int32) string { return wasmtest.I32(at) + "\x2d\x00\x00" }
	b := birth(poster("http://orders.example.com/", byteAt(0)+wasmtest.I32(3)+"\x46"+byteAt(8+2+32)+wasmtest.I32(4)+"\x47\x71"+trap)) // eq, ne, and
	b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["orders.example.com"]}}}}`)
	for _, crashEvery := range []uint64{0, 1, 2, 3} {
		c := SimulationConfig{Ticks: 9, CheckpointEvery: Every{Ticks: 4}, CrashEvery: crashEvery, Verify: true,
			HTTP: []byte(`[{"method": "POST", "url": "http://orders.example.com/", "status": 200, "body": "taken"}]`)}
		r, log, err := simulate(t, b, c)
		if err = errors.Join(err, r.Problem()); err != nil {
			t.Fatalf("crash every %d: %v\n%s", crashEvery, err, log)
		}
		// Tick 4 failed, so that tick 5 was told of both, and tick 4 of none that counts.
		if r.Tick != 9 || r.Failed != 2 || r.Told != 2 {
			t.Errorf("crash every %d: %d ticks, %d failed, %d findings\n%s", crashEvery, r.Tick, r.Failed, r.Told, log)
		}
		if crashEvery == 0 && !strings.Contains(log, `msg="the agent was told what a tick did that failed" call=http_request of_tick=3 outcome=ended result=200`) {
			t.Errorf("it logged\n%s", log)
		}
		c.MaxFailedTicks = 2
		if _, _, err := simulate(t, b, c); crashEvery == 0 && (err == nil || !strings.Contains(hintOf(err), "tick 4 again")) {
			t.Errorf("two may fail: %v", err)
		}
	}
}

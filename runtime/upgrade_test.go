package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
)

// upgradeTo gives an agent that does not run another program.
func upgradeTo(t *testing.T, dir string, u Upgrade) (Upgraded, error) {
	t.Helper()
	c := quiet()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	return e.UpgradeStopped(t.Context(), dir, u)
}

// TestPoison has an agent that posts and then traps, always. Its life goes on past the
// ticks that fail, each is paid once, and nothing is sent twice; upgraded to a mended
// program, it is told what those ticks did, and its whole life verifies and replays.
func TestPoison(t *testing.T) {
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got.Add(1) }))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	b := birth(poster(server.URL+"/", wasmtest.Unreachable))
	b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["` + host + `"]}}}}`)
	b.Price = 1_000_000 // so that a billion units of fuel cost that
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(100, 5)
	c.MaxFailedTicks = 3
	_, err := Start(t.Context(), dir, b, c)
	if failed, ok := errors.AsType[*AgentError](err); !ok || failed.Call != "agent_tick" {
		t.Fatalf("got %v", err)
	}
	if n := got.Load(); n != 3 {
		t.Errorf("%d requests in 3 ticks", n)
	}
	mended := poster(server.URL+"/", "").Bytes()
	if _, err := upgradeTo(t, dir, Upgrade{WASM: b.WASM}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("to the same program: %v", err)
	}
	wider := strings.Replace(string(b.Manifest), `{"http"`, `{"clock": {"version": 1}, "http"`, 1)
	if _, err := upgradeTo(t, dir, Upgrade{WASM: mended, Manifest: []byte(wider)}); err == nil || !strings.Contains(err.Error(), "the capability clock") {
		t.Errorf("with more rights: %v", err)
	}
	broken := poster(server.URL+"/", "")
	broken.Funcs["agent_resume"] = wasmtest.Func{Type: wasmtest.I32I32, Body: wasmtest.Unreachable}
	if _, err := upgradeTo(t, dir, Upgrade{WASM: broken.Bytes()}); err == nil || !strings.Contains(err.Error(), "cannot go on from the agent's state") {
		t.Errorf("to a program that cannot restore the state: %v", err)
	}
	r, err := upgradeTo(t, dir, Upgrade{WASM: mended, Manifest: []byte(wider), MoreRights: true})
	if err != nil || r.Tick != 3 || len(r.More) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	c = ticks(2, 5)
	result, err := Resume(t.Context(), dir, c)
	if err != nil || result.Tick != 5 {
		t.Fatalf("%+v, %v", result, err)
	}
	if n := got.Load(); n != 5 {
		t.Errorf("%d requests in 5 ticks", n)
	}
	told := map[uint64][]uint64{}
	after := Birth{WASM: mended, Manifest: []byte(wider)}
	rc := replayConfig(dir, after)
	rc.Observe = func(o Observation) {
		if o.kind == eventlog.Finding {
			f, _ := request.ParseFinding(o.request)
			told[o.Tick] = append(told[o.Tick], f.Tick)
		}
	}
	report, err := Replay(t.Context(), dir, rc)
	if err != nil || report.Verdict != Replayed || report.Failed != 3 || report.Ticks != 5 {
		t.Fatalf("%+v, %v", report, err)
	}
	if len(told[4]) != 3 || told[4][0] != 1 || told[4][2] != 3 {
		t.Errorf("told %v", told)
	}
	if state := newest(t, dir, 5).State; binary.LittleEndian.Uint64(state) != 2 {
		t.Errorf("the state is %x", state)
	}
	// The old program alone does not do, and neither does the life without it.
	if err := os.RemoveAll(filepath.Join(dir, "events", store.DirPrograms)); err != nil {
		t.Fatal(err)
	}
	if report, err := Replay(t.Context(), dir, replayConfig(dir, after)); err != nil || report.Verdict != NotReplayed || report.Replayed != 1 {
		t.Errorf("without the old program: %+v, %v", report, err)
	}
}

// TestUpgradeKeepsMoney upgrades an agent that got money since its checkpoint, after
// which it went on to no tick; and again, to what it was.
func TestUpgradeKeepsMoney(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	b.Price = 0
	if _, err := Start(t.Context(), dir, b, ticks(3, 2)); err != nil {
		t.Fatal(err)
	}
	c := quiet()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	other := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.Count + wasmtest.I32(1)}}}.Bytes()
	if _, err := e.Visit(t.Context(), dir, func(ctx context.Context, a *Agent) error {
		if _, err := a.TopUp(ctx, 77); err != nil {
			return err
		}
		if _, err := a.Upgrade(ctx, Upgrade{WASM: other}); err != nil {
			return err
		}
		_, err := a.TopUp(ctx, 5)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	e.Close()
	// As if the process ended before the agent's own file was replaced.
	if err := os.WriteFile(filepath.Join(dir, "agent.wasm"), b.WASM, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Resume(t.Context(), dir, ticks(2, 0))
	if err != nil || r.Budget != b.Budget+82 {
		t.Fatalf("%+v, %v", r, err)
	}
	if state := newest(t, dir, 5).State; binary.LittleEndian.Uint64(state) != 3+2*2 {
		t.Errorf("it counts to %x", state)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "agent.wasm")); err != nil || string(got) != string(other) {
		t.Errorf("agent.wasm is not the new program: %v", err)
	}
	if _, err := upgradeTo(t, dir, Upgrade{WASM: b.WASM}); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), dir, ticks(2, 0)); err != nil {
		t.Fatal(err)
	}
	if report, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || report.Verdict != Replayed || report.Ticks != 7 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestUpgradeTwice upgrades an agent again, and back again, before it lives a tick, alive
// and stopped: it is one upgrade, from what there was at its checkpoint, or none.
func TestUpgradeTwice(t *testing.T) {
	program := func(version byte) []byte { // with a custom section
		return append(wasmtest.Agent{}.Bytes(), 0, 3, 1, 'v', version)
	}
	type way func(t *testing.T, dir string, versions ...byte)
	stopped := func(t *testing.T, dir string, versions ...byte) {
		for _, v := range versions {
			if _, err := upgradeTo(t, dir, Upgrade{WASM: program(v)}); err != nil {
				t.Fatalf("to %d: %v", v, err)
			}
		}
	}
	alive := func(t *testing.T, dir string, versions ...byte) {
		c := quiet()
		c.Paused = true
		e, err := c.engine()
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		a := e.Resume(t.Context(), dir, c.Config)
		for _, v := range versions {
			if _, err := a.TopUp(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Upgrade(t.Context(), Upgrade{WASM: program(v)}); err != nil {
				t.Fatalf("to %d: %v", v, err)
			}
		}
	}
	for name, upgrade := range map[string]way{"stopped": stopped, "alive": alive} {
		for _, versions := range [][]byte{{1, 2}, {1, 2, 0}, {1, 0, 1}, {1, 0}} {
			t.Run(fmt.Sprint(name, versions), func(t *testing.T) {
				b := birth(wasmtest.Agent{})
				b.WASM = program(0)
				dir := filepath.Join(t.TempDir(), "agent")
				if _, err := Start(t.Context(), dir, b, ticks(3, 2)); err != nil {
					t.Fatal(err)
				}
				upgrade(t, dir, versions...)
				r, err := Resume(t.Context(), dir, ticks(2, 1))
				if err != nil || r.Tick != 5 {
					t.Fatalf("%+v, %v", r, err)
				}
				last := versions[len(versions)-1]
				if c := newest(t, dir, 5); c.WASMHash != sha256.Sum256(program(last)) {
					t.Errorf("it lives with %s", c.WASMHash)
				}
				counts(t, dir)
				b.WASM = program(last)
				if got, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || got.Verdict != Replayed {
					t.Errorf("run again: %+v, %v", got, err)
				}
			})
		}
	}
}

// TestTryUpgrade simulates other programs, and changes nothing.
func TestTryUpgrade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	if _, err := Start(t.Context(), dir, b, ticks(3, 2)); err != nil {
		t.Fatal(err)
	}
	past := Past{Dir: filepath.Join(dir, "history"), WASM: b.WASM, Manifest: b.Manifest, Events: filepath.Join(dir, "events")}
	before, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ body, want string }{
		"good": {wasmtest.Count + wasmtest.Count + wasmtest.I32(1), ""},
		"bad":  {wasmtest.Count + wasmtest.After(5, wasmtest.Unreachable) + wasmtest.I32(1), "agent_tick failed: unreachable"},
	} {
		other := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: tt.body}}}.Bytes()
		r, err := TryUpgrade(t.Context(), past, Upgrade{WASM: other}, SimulationConfig{Log: quiet().Log, Ticks: 7})
		if tt.want == "" && (err != nil || r.Tick != 10) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if after, err := Look(dir); err != nil || len(after) != len(before) {
		t.Errorf("it has %d checkpoints, and had %d", len(after), len(before))
	}
}

// TestUpgradeFromCheckpoint has agents that cannot make a checkpoint from their fifth tick
// on: in agent_checkpoint, or since the state that it gives cannot be restored. Neither an
// upgrade alone nor one that a new program cannot go on from changes anything; from the
// newest checkpoint, the mended program goes on. What money came in stays.
func TestUpgradeFromCheckpoint(t *testing.T) {
	full := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.After(4, wasmtest.Unreachable) + "\x41\x08"},
	}}
	strict := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_resume": {Type: wasmtest.I32I32, Body: "\x41\x00\x20\x00\x29\x03\x00\x37\x03\x00" + wasmtest.After(4, wasmtest.Unreachable)},
	}}
	mended := wasmtest.Agent{Data: "mended"}.Bytes()
	for name, agent := range map[string]wasmtest.Agent{"agent_checkpoint": full, "agent_resume": strict} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "agent")
			b := birth(agent)
			b.Price = 1_000_000
			if _, err := Start(t.Context(), dir, b, ticks(3, 3)); err != nil {
				t.Fatal(err)
			}
			c := ticks(4, 0)
			c.TopUp = 500
			_, err := Resume(t.Context(), dir, c)
			failed, ok := errors.AsType[*AgentError](err)
			if !ok || failed.Call != name || failed.Tick != 7 || !strings.Contains(failed.Hint(), "igor upgrade --from-checkpoint") {
				t.Fatalf("got %v", err)
			}
			if _, err = Resume(t.Context(), dir, ticks(1, 1)); err == nil {
				t.Error("it makes a checkpoint")
			}
			was := lineage(t, dir)
			if _, err := upgradeTo(t, dir, Upgrade{WASM: mended}); err == nil || !strings.Contains(hintOf(err), "--from-checkpoint") {
				t.Errorf("got %v", err)
			}
			broken := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_resume": {Type: wasmtest.I32I32, Body: wasmtest.Unreachable}}}.Bytes()
			if _, err := upgradeTo(t, dir, Upgrade{WASM: broken, FromCheckpoint: true}); err == nil || !strings.Contains(err.Error(), "cannot go on") || !strings.Contains(hintOf(err), "nothing was changed") {
				t.Errorf("got %v, hint %q", err, hintOf(err))
			}
			r, err := upgradeTo(t, dir, Upgrade{WASM: mended, FromCheckpoint: true})
			if err != nil || r.Tick != 3 {
				t.Fatalf("%+v, %v", r, err)
			}
			result, err := Resume(t.Context(), dir, ticks(4, 2))
			if err != nil || result.Tick != 7 {
				t.Fatalf("%+v, %v", result, err)
			}
			if is := lineage(t, dir); is[1] != was[1] || len(is) != 4 {
				t.Errorf("the history was %v, and is %v", was, is)
			}
			state := newest(t, dir, 7)
			if binary.LittleEndian.Uint64(state.State) != 7 || state.Budget > b.Budget+500 || state.Budget < b.Budget+400 {
				t.Errorf("it has %d and counted %x", state.Budget, state.State)
			}
			after := Birth{WASM: mended}
			if report, err := Replay(t.Context(), dir, replayConfig(dir, after)); err != nil || report.Verdict != Replayed {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// TestUpgradeRelives upgrades an agent that was killed: what it did since its checkpoint
// is lived again first, and stays.
func TestUpgradeRelives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), ticks(5, 2)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "history", store.FileName(5))); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	events := filepath.Join(dir, "events", eventlog.FileName(5))
	whole, err := os.ReadFile(events)
	if err == nil {
		err = os.WriteFile(events, whole[:len(whole)-165], 0o644) // without its footer
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, "events", eventlog.FileName(6)))
	}
	if err != nil {
		t.Fatal(err)
	}
	mended := wasmtest.Agent{Data: "mended"}.Bytes()
	r, err := upgradeTo(t, dir, Upgrade{WASM: mended})
	if err != nil || r.Tick != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := counts(t, dir); len(got) != 4 || got[3] != 5 {
		t.Errorf("checkpoints at %v", got)
	}
}

// TestUpgradeFromCheckpointRefuses has an agent that acted outside after its newest
// checkpoint: it cannot be as if it had not.
func TestUpgradeFromCheckpointRefuses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	agent := poster(server.URL+"/", "")
	agent.Funcs["agent_checkpoint"] = wasmtest.Func{Type: wasmtest.ToI32, Body: wasmtest.After(1, wasmtest.Unreachable) + "\x41\x08"}
	b := birth(agent)
	b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["` + host + `"]}}}}`)
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, b, ticks(3, 3)); err == nil {
		t.Fatal("it makes a checkpoint")
	}
	_, err := upgradeTo(t, dir, Upgrade{WASM: poster(server.URL+"/", "").Bytes(), FromCheckpoint: true})
	if err == nil || !strings.Contains(err.Error(), "had a side effect") || !strings.Contains(hintOf(err), "igor fork") {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

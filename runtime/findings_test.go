package runtime

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier"
)

// poster is an agent that posts to a server in each tick, and then does what body
// says. Its state is how often it ticked, and the head of what it was told last.
func poster(url, body string) wasmtest.Agent {
	const told, data = 8, wasmtest.DataAt + 100    // where that is kept, and its words
	call := wasmtest.I32(data) + wasmtest.I32(4) + // method
		wasmtest.I32(data+4) + wasmtest.I32(int32(len(url))) +
		wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) +
		wasmtest.I32(8192) + wasmtest.I32(1000) + wasmtest.Call(0) + wasmtest.Drop
	return wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.HTTPRequest},
		Data:    strings.Repeat("\x00", 100) + "POST" + url,
		Funcs: map[string]wasmtest.Func{
			"agent_tick":       {Type: wasmtest.ToI32, Body: wasmtest.Count + call + body + wasmtest.I32(1)},
			"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(8 + 54)},
			"agent_resume":     {Type: wasmtest.I32I32, Body: wasmtest.I32(0) + "\x20\x00\x20\x01\xfc\x0a\x00\x00"}, // memory.copy
			"agent_observe":    {Type: wasmtest.I32I32, Body: wasmtest.I32(told) + "\x20\x00" + wasmtest.I32(54) + "\xfc\x0a\x00\x00"},
			"malloc":           {Type: wasmtest.I32ToI32, Body: wasmtest.I32(16384)},
		},
	}
}

// TestFindings has an agent that posts, and traps then in two of its ticks: the next
// tick is told what those did, once, whatever comes between.
func TestFindings(t *testing.T) {
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		got.Add(1)
		w.Write([]byte("done"))
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	// It traps where it counts to 3, until it was told of tick 4: in ticks 3 and 4.
	trap := "\x04\x40\x00\x0b" // if unreachable end
	byteAt := func(at int32) string { return wasmtest.I32(at) + "\x2d\x00\x00" }
	b := birth(poster(server.URL+"/", byteAt(0)+wasmtest.I32(3)+"\x46"+byteAt(8+2+32)+wasmtest.I32(4)+"\x47\x71"+trap)) // eq, ne, and
	b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["` + host + `"]}}}}`)
	dir := filepath.Join(t.TempDir(), "agent")
	c := ticks(7, 2)
	c.MaxFailedTicks = -1
	if _, err := Start(t.Context(), dir, b, c); err != nil {
		t.Fatal(err)
	}
	if n := got.Load(); n != 7 {
		t.Errorf("%d requests", n)
	}
	told := map[uint64][]request.Finding{}
	r, err := Replay(t.Context(), dir, func() ReplayConfig {
		rc := replayConfig(dir, b)
		rc.Observe = func(o Observation) {
			if o.kind == eventlog.Finding {
				f, err := request.ParseFinding(slices.Clone(o.request))
				if err != nil {
					t.Error(err)
				}
				told[o.Tick] = append(told[o.Tick], f)
			}
		}
		return rc
	}())
	if err != nil || r.Verdict != Replayed || r.Failed != 2 {
		t.Fatalf("got %+v, %v", r, err)
	}
	for tick := uint64(3); tick <= 7; tick++ {
		// Tick 4 failed, so that tick 5 is told again.
		if want := map[uint64]int{4: 1, 5: 2}[tick]; len(told[tick]) != want {
			t.Errorf("tick %d was told %+v", tick, told[tick])
		}
		for i, f := range told[tick] {
			want := (&request.HTTP{Method: "POST", URL: server.URL + "/"}).AppendBare(nil)
			if f.Tick != uint64(3+i) || f.Outcome != request.Ended || f.Return != 200 || string(f.Result) != "\x04\x00\x00\x00done" || string(f.Request) != string(want) {
				t.Errorf("tick %d was told %+v", tick, f)
			}
		}
	}
	if state := newest(t, dir, 7).State; binary.LittleEndian.Uint64(state) != 5 || state[8] != byte(request.Ended) || state[8+2+32] != 4 {
		t.Errorf("the state is %x", state)
	}
}

// TestResolvedIsTold has a request that nobody answers, and an operator who finds out:
// the next tick is told, once, and an agent that is killed after that is not told again.
func TestResolvedIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for name, happened := range map[string]bool{"confirmed": true, "compensated": false} {
		t.Run(name, func(t *testing.T) {
			b := birth(poster(server.URL+"/", ""))
			b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["` + host + `"]}}}}`)
			dir := filepath.Join(t.TempDir(), "agent")
			if _, err := Start(t.Context(), dir, b, ticks(1, 0)); err != nil {
				t.Fatal(err)
			}
			// A begin without an end, as a crash leaves it.
			j, done := journalOf(t, dir)
			request1, err := j.Request(journal.EffectID(j.Agent, j.Genesis, 1, 0))
			if err != nil {
				t.Fatal(err)
			}
			id, err := j.Begin(journal.Begin{Tick: 2, Kind: journal.HTTP, Request: request1})
			if err != nil {
				t.Fatal(err)
			}
			done()
			if _, err := Resume(t.Context(), dir, ticks(1, 0)); err != nil {
				t.Fatal(err)
			}
			if _, err := ResolveEffect(t.Context(), dir, id.String(), happened, "asked"); err != nil {
				t.Fatal(err)
			}
			want := request.Confirmed
			if !happened {
				want = request.Compensated
			}
			for range 3 {
				if _, err := Resume(t.Context(), dir, ticks(2, 1)); err != nil {
					t.Fatal(err)
				}
			}
			var told []string
			rc := replayConfig(dir, b)
			rc.Observe = func(o Observation) {
				if o.kind == eventlog.Finding {
					f, err := request.ParseFinding(o.request)
					if err != nil || f.Effect != id || f.Outcome != want || string(f.Note) != "asked" || f.Tick != 2 {
						t.Errorf("told %+v, %v", f, err)
					}
					told = append(told, fmt.Sprint(o.Tick))
				}
			}
			if r, err := Replay(t.Context(), dir, rc); err != nil || r.Verdict != Replayed || r.Ticks != 8 {
				t.Errorf("got %+v, %v", r, err)
			}
			if got := strings.Join(told, " "); got != "3" {
				t.Errorf("told in ticks %s", got)
			}
			j, done = journalOf(t, dir)
			defer done()
			if _, there := j.Effect(id); there {
				t.Error("the journal has the effect for ever")
			}
		})
	}
}

// TestResolvedOfFailedTickIsTold has an operator find out what a failed tick did before the
// agent was told of it: the next tick hears of the effect first, and then what became of it.
func TestResolvedOfFailedTickIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	// It traps in its second tick, until it was told something.
	trap := "\x04\x40\x00\x0b" // if unreachable end
	byteAt := func(at int32) string { return wasmtest.I32(at) + "\x2d\x00\x00" }
	b := birth(poster(server.URL+"/", byteAt(0)+wasmtest.I32(2)+"\x46"+byteAt(8)+"\x45\x71"+trap)) // eq, eqz, and
	b.Manifest = []byte(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["` + host + `"]}}}}`)
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, b, ticks(1, 0)); err != nil {
		t.Fatal(err)
	}
	j, done := journalOf(t, dir)
	sent, err := j.Request(journal.EffectID(j.Agent, j.Genesis, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	id, err := j.Begin(journal.Begin{Tick: 2, Kind: journal.HTTP, Request: sent}) // as a crash leaves it
	if err != nil {
		t.Fatal(err)
	}
	done()
	c := ticks(1, 0)
	c.MaxFailedTicks = 1
	if _, err := Resume(t.Context(), dir, c); err == nil {
		t.Fatal("the tick did not fail")
	}
	if _, err := ResolveEffect(t.Context(), dir, id.String(), true, "asked"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := Resume(t.Context(), dir, ticks(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var told []string
	rc := replayConfig(dir, b)
	rc.Observe = func(o Observation) {
		if o.kind == eventlog.Finding {
			f, err := request.ParseFinding(o.request)
			if err != nil || f.Effect != id || f.Tick != 2 {
				t.Errorf("told %+v, %v", f, err)
			}
			told = append(told, fmt.Sprint(o.Tick, f.Outcome))
		}
	}
	if r, err := Replay(t.Context(), dir, rc); err != nil || r.Verdict != Replayed || r.Failed != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	if got := strings.Join(told, ", "); got != "3 unresolved, 3 confirmed" {
		t.Errorf("told %s", got)
	}
	j, done = journalOf(t, dir)
	defer done()
	if _, there := j.Effect(id); there {
		t.Error("the journal has the effect for ever")
	}
}

// journalOf opens the journal of an agent that does not run.
func journalOf(t *testing.T, dir string) (j *journal.Journal, done func()) {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Key()
	if err != nil {
		t.Fatal(err)
	}
	life := journal.Life{Agent: verifier.PublicKey(key.Public().(ed25519.PublicKey))}
	found, err := s.Recover(t.Context(), life.Agent[:])
	if err != nil {
		t.Fatal(err)
	}
	life.Genesis = found.First
	if j, err = journal.Open(s.Folder(), life, found.Tick); err != nil {
		t.Fatal(err)
	}
	return j, func() {
		if err := errors.Join(j.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

package runtime

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/runtime/internal/wasmtest"
)

// A keep is what a life took of a disk.
type keep struct {
	ticks, checkpoints     uint64
	files                  int
	bytes, blocks, records int64 // blocks: of a disk that gives out 4 KB at a time; records: of the event log
	syncs                  uint64
}

func kept(t *testing.T, dir string) (k keep) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		k.files++
		k.bytes += info.Size()
		k.blocks += (info.Size() + 4095) / 4096 * 4096
		if filepath.Base(filepath.Dir(path)) == "events" {
			k.records += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// livedFor has an agent live for a while in an engine of its own, with a clock of its own,
// and says what that took, its birth and its end aside.
func livedFor(t *testing.T, b Birth, c Config, life time.Duration) (k keep) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "agent")
	synctest.Test(t, func(t *testing.T) {
		s := quiet()
		s.Config, s.NodeKey = c, nodeKey(1)
		e, err := s.engine()
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		a := e.Start(t.Context(), dir, b, s.Config)
		if err := a.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, first := kept(t, dir), a.Status()
		_, syncs := e.Syncs()
		if err := a.Continue(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(life)
		synctest.Wait()
		if err := a.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := a.Status()
		k = kept(t, dir)
		_, k.syncs = e.Syncs()
		k.syncs -= syncs
		k.files, k.bytes, k.blocks, k.records = k.files-before.files, k.bytes-before.bytes, k.blocks-before.blocks, k.records-before.records
		k.ticks, k.checkpoints = last.Tick-first.Tick, uint64(last.Checkpoints-first.Checkpoints)
		if _, err := a.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return k
}

// TestWhatItTakes measures the table of docs/operating.md that says what a tick, an hour
// and a year take of a disk.
func TestWhatItTakes(t *testing.T) {
	idle := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.I32(0)}}}
	looks := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.ClockNow, wasmtest.LogEmit}, Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32,
		Body: wasmtest.Count + wasmtest.Call(0) + wasmtest.Drop + wasmtest.I32(0) + wasmtest.I32(16) + wasmtest.Call(1) + wasmtest.I32(0)}}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("taken")) }))
	defer server.Close()
	granted := func(a wasmtest.Agent, capabilities string) Birth {
		b := birth(a)
		b.Manifest = []byte(`{"capabilities": {` + capabilities + `}}`)
		return b
	}
	b := granted(poster(server.URL+"/", ""), fmt.Sprintf(`"http": {"version": 1, "options": {"allowed_hosts": [%q]}}`, strings.TrimPrefix(server.URL, "http://")))

	hour := livedFor(t, birth(idle), Config{TickInterval: AgentPace}, time.Hour)
	day := livedFor(t, birth(idle), Config{TickInterval: AgentPace}, 24*time.Hour)
	few := livedFor(t, birth(idle), Config{TickInterval: AgentPace}, 5*time.Minute) // before they are packed
	never := Config{TickInterval: time.Second, CheckpointEvery: Every{Time: -1}}
	ticks := livedFor(t, birth(idle), never, time.Hour)
	lines := livedFor(t, granted(looks, `"clock": {"version": 1}, "log": {"version": 1}`), never, time.Hour)
	posts := livedFor(t, b, never, 5*time.Minute)
	if hour.checkpoints < 60 || hour.ticks < 3600 || ticks.checkpoints > 1 {
		t.Fatalf("an hour was %+v, and without checkpoints %+v", hour, ticks)
	}

	var table strings.Builder
	row := func(what string, times float64, k keep) {
		cells := []string{what}
		for _, v := range []float64{float64(k.bytes), float64(k.blocks), float64(k.files), float64(k.syncs)} {
			cells = append(cells, rounded(v*times))
		}
		if k.files < 0 {
			cells[3] = "-"
		}
		fmt.Fprintf(&table, "| %s |\n", strings.Join(cells, " | "))
	}
	// The checkpoint that the pause makes takes files and syncs, which are not its ticks'.
	tick := func(k keep) keep { return keep{bytes: k.records, blocks: k.records, syncs: k.syncs - ticks.syncs} }
	row("a tick that does nothing", 1/float64(ticks.ticks), tick(ticks))
	row("a tick that reads the clock and says a line of 16 bytes", 1/float64(lines.ticks), tick(lines))
	row("a tick that sends a request, with the answer", 1/float64(posts.ticks), tick(posts))
	few.bytes -= int64(float64(ticks.records) / float64(ticks.ticks) * float64(few.ticks))
	few.blocks = 4096 * int64(few.files) // whatever its ticks take
	row("a checkpoint, of a state of 8 bytes", 1/float64(few.checkpoints), few)
	row("an hour: 3,600 ticks that do nothing, 60 checkpoints", 1, hour)
	row("a day", 1, day)
	day.files = -1 // they are packed into larger ones
	row("a year", 365, day)
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/operating.md does not have the table as it is:\n%s", &table)
	}
}

// rounded writes a number with two digits that count.
func rounded(v float64) string {
	unit := ""
	for _, u := range []string{"thousand", "million", "billion"} {
		if v < 995 {
			break
		}
		v, unit = v/1000, " "+u
	}
	s := strconv.FormatFloat(v, 'g', 2, 64)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return s + unit
}

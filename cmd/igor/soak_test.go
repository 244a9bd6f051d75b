package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime"
)

var (
	soakSmall = flag.Int("soak-small", 24, "how many small agents live in TestUpSoak")
	soakGo    = flag.Int("soak-go", 2, "how many agents in Go")
	soakFor   = flag.Duration("soak-for", 3*time.Second, "for how long")
)

// TestUpSoak has many agents come into the folder of one igor up, live at their own pace
// and with the flags that it has without any, and go again. It says what they take of a
// machine. Each lives on meanwhile, and has its last checkpoint when it is gone; and
// nothing of them is left in the process then.
func TestUpSoak(t *testing.T) {
	tmp := t.TempDir()
	born, folder, gone := filepath.Join(tmp, "born"), filepath.Join(tmp, "up"), filepath.Join(tmp, "gone")
	for _, dir := range []string{born, folder, gone} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	engine, err := runtime.NewEngine(runtime.EngineConfig{Log: slog.New(slog.DiscardHandler), CacheDir: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	names := 0
	bear := func(n int, wasm string) {
		t.Helper()
		b, err := readBirth(wasm, "")
		if err != nil {
			t.Fatal(err)
		}
		b.Budget, b.Price = 1_000_000_000, 1000
		var all sync.WaitGroup
		room := make(chan struct{}, 16)
		for range n {
			names++
			dir := filepath.Join(born, fmt.Sprintf("agent%04d", names))
			room <- struct{}{}
			all.Go(func() {
				defer func() { <-room }()
				if _, err := engine.Start(t.Context(), dir, b, runtime.Config{MaxTicks: 1}).Wait(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	began := time.Now()
	built := func(name string) (wasm string, ok bool) {
		wasm = filepath.Join("../../bin/agents", name+".wasm")
		_, err := os.Stat(wasm)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return wasm, err == nil
	}
	small, ok := built("heartbeat-c")
	if !ok {
		t.Log("make -C agents heartbeat-c builds the agent in C; here one in WebAssembly's own text has its place")
		small = filepath.Join(agents(t), "counter.wasm")
	}
	bear(*soakSmall, small)
	if inGo, ok := built("heartbeat"); ok {
		bear(*soakGo, inGo)
	} else {
		t.Log("make agents builds the agents in Go; here are none")
	}
	t.Logf("%d agents were born in %v", names, time.Since(began).Round(time.Millisecond))
	if t.Failed() {
		t.FailNow()
	}
	cmd := igor(t, "up", folder, "--metrics=0", "--log-format=json")
	cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	url := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, URL, Level string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			if line.Level == "ERROR" {
				t.Errorf("%s", lines.Bytes())
			}
			if line.Msg == "metrics" {
				url <- line.URL
			}
		}
	}()
	at := <-url
	move := func(from, to string) {
		t.Helper()
		all, err := os.ReadDir(from)
		for _, e := range all {
			err = errors.Join(err, os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lives := func(n int) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			m := scrape(t, at)
			if m[`igor_agents{state="alive"}`] == float64(n) && len(series(m, "igor_tick{")) == n {
				return
			}
			if time.Since(began) > 10*time.Minute {
				t.Fatalf("%v agents live, want %d", m[`igor_agents{state="alive"}`], n)
			}
		}
	}
	lives(0)
	empty := scrape(t, at)
	began = time.Now()
	move(born, folder)
	lives(names)
	t.Logf("all lived after %v", time.Since(began).Round(time.Millisecond))
	filesBefore, bytesBefore := sizeOf(t, folder)
	first, began := scrape(t, at), time.Now()
	time.Sleep(*soakFor)
	last, took := scrape(t, at), time.Since(began).Seconds()
	rate := func(name string) float64 { return (last[name] - first[name]) / took }
	each := func(name string) (sum float64) {
		for _, v := range series(last, name) {
			sum += v
		}
		for _, v := range series(first, name) {
			sum -= v
		}
		return sum
	}
	ticks := each("igor_ticks_total{")
	files, bytes := sizeOf(t, folder)
	const mib = 1 << 20
	t.Logf("%d agents in %.0f s: %.1f ticks/s, %.1f checkpoints/s", names, took, ticks/took, each("igor_checkpoints_total{")/took)
	t.Logf("resident %.0f MiB, heap in use %.0f MiB, of that agents' memories %.0f MiB; %.0f descriptors, %.0f goroutines, %.0f threads",
		last["process_resident_memory_bytes"]/mib, last["go_memstats_heap_inuse_bytes"]/mib, last[`igor_ceiling_used{ceiling="memory"}`]/mib,
		last["process_open_fds"], last["go_goroutines"], last["go_threads"])
	t.Logf("%.2f processors; %.1f syncs/s made of %.1f/s asked for; %.0f bytes/s", rate("process_cpu_seconds_total"), rate("igor_syncs_total"), rate("igor_syncs_asked_total"), float64(bytes-bytesBefore)/took)
	t.Logf("%d files and %.1f MiB, from %d and %.1f MiB", files, float64(bytes)/mib, filesBefore, float64(bytesBefore)/mib)
	if ticks < took*float64(names)/20 {
		t.Errorf("%.0f ticks of %d agents in %.0f s", ticks, names, took)
	}
	asked, made := rate("igor_syncs_asked_total"), rate("igor_syncs_total")
	if names >= 1000 && made > 300 {
		t.Errorf("%.0f syncs a second, of %.0f that were asked for", made, asked)
	}
	unhealthy := 0
	for _, v := range series(last, "igor_healthy{") {
		if v == 0 {
			unhealthy++
		}
	}
	t.Logf("%d are unhealthy", unhealthy)
	before := series(last, "igor_tick{")
	began = time.Now()
	move(folder, gone)
	lives(0)
	t.Logf("all were gone after %v", time.Since(began).Round(time.Millisecond))
	for what, most := range map[string]float64{"go_goroutines": empty["go_goroutines"] + 5, "process_open_fds": empty["process_open_fds"] + 5, `igor_ceiling_used{ceiling="memory"}`: 0} {
		left := scrape(t, at)
		for began := time.Now(); left[what] > most && time.Since(began) < time.Minute; left = scrape(t, at) {
			time.Sleep(200 * time.Millisecond)
		}
		t.Logf("%s: %.0f are left, and %.0f were before", what, left[what], empty[what])
		if left[what] > most {
			t.Errorf("%s: %.0f are left of the agents", what, left[what]-empty[what])
		}
	}
	began = time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v", time.Since(began).Round(time.Millisecond))
	for name, tick := range before {
		dir := strings.TrimSuffix(strings.TrimPrefix(name, `igor_tick{agent="`), `"}`)
		all, err := filepath.Glob(filepath.Join(gone, dir, "history", "*.ckpt"))
		if err != nil || len(all) == 0 {
			t.Fatalf("%s has no history: %v", dir, err)
		}
		newest, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(all[len(all)-1]), ".ckpt"), 10, 64)
		if err != nil || float64(newest) < tick {
			t.Errorf("%s was at tick %v, and its newest checkpoint is %s", dir, tick, all[len(all)-1])
		}
	}
	for _, name := range []string{"agent0001", fmt.Sprintf("agent%04d", names)} {
		verify(t, filepath.Join(gone, name), "", "")
		replayed(t, filepath.Join(gone, name))
	}
}

// scrape reads the metrics at a URL, by name and labels.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	all := map[string]float64{}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		if at := strings.LastIndexByte(lines.Text(), ' '); at > 0 && lines.Text()[0] != '#' {
			if v, err := strconv.ParseFloat(lines.Text()[at+1:], 64); err == nil {
				all[lines.Text()[:at]] = v
			}
		}
	}
	return all
}

// series are those whose names begin with a prefix.
func series(m map[string]float64, prefix string) map[string]float64 {
	all := map[string]float64{}
	for name, v := range m {
		if strings.HasPrefix(name, prefix) {
			all[name] = v
		}
	}
	return all
}

// sizeOf counts the files in a folder, and their bytes.
func sizeOf(t *testing.T, dir string) (files int, bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it is being renamed
		}
		if info, err := d.Info(); err == nil {
			files++
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, bytes
}

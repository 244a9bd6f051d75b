package runtime

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wasmtest"
)

var howMany = flag.Int("agents", 100, "how many agents live in one process in TestMany")

// descriptors counts what this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("there is no /proc/self/fd")
	}
	return len(entries)
}

// processorTime returns what this process used of a processor.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMany has many agents live in one engine, ten of them in a loop that does not end,
// and asks others by their sockets meanwhile. When they are stopped, each has its last
// checkpoint, and nothing of them is left: no goroutine, no descriptor, no socket.
func TestMany(t *testing.T) {
	tmp := t.TempDir()
	loops := wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(3, wasmtest.Forever) + wasmtest.I32(1)},
	}}
	if r, w, err := os.Pipe(); err == nil { // so that what Go keeps open for its own use is
		r.Close()
		w.Close()
	}
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	c := quiet()
	c.Control, c.TickInterval, c.CheckpointEvery = true, 200*time.Millisecond, Every{Time: time.Second}
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	n, hostile := *howMany, 10
	agents := make([]*Agent, n)
	var born sync.WaitGroup
	room := make(chan struct{}, 8)
	for i := range agents {
		a := wasmtest.Agent{}
		if i >= n-hostile { // last, for births would wait for them
			a = loops
		}
		room <- struct{}{}
		agents[i] = e.Start(context.Background(), filepath.Join(tmp, fmt.Sprint("agent", i)), birth(a), c.Config)
		born.Go(func() { agents[i].awaitAlive(); <-room })
	}
	born.Wait()
	for looping := false; !looping; time.Sleep(10 * time.Millisecond) {
		looping = true
		for _, a := range agents[n-hostile:] {
			looping = looping && a.Status().Tick >= 3
		}
	}
	for i := 0; i < n-hostile; i += n / 10 {
		r, err := Connect(agents[i].Dir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.TopUp(t.Context(), 1); err != nil {
			t.Error(err)
		}
	}
	var memory runtime.MemStats
	began := time.Now()
	runtime.GC()
	t.Logf("beside %d loops, runtime.GC() took %v", hostile, time.Since(began))
	runtime.ReadMemStats(&memory)
	t.Logf("%d agents: %.1f MiB from the system, %.3f MiB each", n, float64(memory.Sys)/(1<<20), float64(memory.Sys)/(1<<20)/float64(n))
	began = time.Now()
	used := processorTime(t)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %v, and %v of a processor", time.Since(began), processorTime(t)-used)
	asked, made := e.syncs.Syncs()
	t.Logf("of %d syncs that were asked for, %d were made", asked, made)
	for i, a := range agents {
		r, err := a.Wait(t.Context())
		if err != nil || r.Reason != Stopped {
			t.Fatalf("agent %d: %+v, %v", i, r, err)
		}
		if tick := a.Status().Tick; i < n-hostile && r.Tick != tick {
			t.Errorf("agent %d has no last checkpoint: it is of tick %d, and tick %d is over", i, r.Tick, tick)
		}
	}
	counts(t, agents[0].Dir())
	counts(t, agents[n-1].Dir())
	if left, _ := filepath.Glob(filepath.Join(tmp, "*", "control")); len(left) > 0 {
		t.Errorf("%d sockets are left, such as %s", len(left), left[0])
	}
	for tries := 0; ; tries++ {
		g, f := runtime.NumGoroutine(), descriptors(t)
		if g <= goroutines && f <= files+1 { // the directory that lists them
			break
		}
		if tries == 50 {
			t.Errorf("%d goroutines are left of %d, and %d descriptors of %d", g, goroutines, f, files)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestSupervise has agents come into a folder and go, run out of budget, fail for good
// and for a while, and be stopped, beside one that just lives.
func TestSupervise(t *testing.T) {
	tmp := t.TempDir()
	folder := filepath.Join(tmp, "agents")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	bear := func(name string, agent wasmtest.Agent, budget, price int64) string {
		t.Helper()
		dir := filepath.Join(folder, name)
		b := birth(agent)
		b.Budget, b.Price = budget, price
		if _, err := Start(t.Context(), dir, b, ticks(1, 0)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	bear("lives", wasmtest.Agent{}, 1000, 0)
	poor := bear("poor", wasmtest.Agent{}, 5, 1<<40)
	damaged := bear("damaged", wasmtest.Agent{}, 1000, 0)
	bear("fails", wasmtest.Agent{Funcs: map[string]wasmtest.Func{
		"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.After(1, wasmtest.Unreachable) + wasmtest.I32(1)},
	}}, 1000, 0)
	goes := bear("goes", wasmtest.Agent{}, 1000, 0)
	stops := bear("stops", wasmtest.Agent{}, 1000, 0)
	retires := bear("retires", wasmtest.Agent{}, 1000, 0)
	key, err := os.ReadFile(filepath.Join(damaged, "key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(damaged, "key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "something else"), 0o755); err != nil {
		t.Fatal(err)
	}

	c := quiet()
	c.Control = true
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var mu sync.Mutex
	seen := map[string]Supervised{}
	ctx, stop := context.WithCancel(t.Context())
	ended := inBackground(func() error {
		return e.Supervise(ctx, folder, SupervisorConfig{
			Agent:   func(string) Config { return Config{TickInterval: time.Millisecond} },
			Changed: func(s Supervised) { mu.Lock(); seen[s.Name] = s; mu.Unlock() },
		})
	})
	is := func(name string, want Supervision) Supervised {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			mu.Lock()
			s, ok := seen[name]
			mu.Unlock()
			if ok && s.State == want {
				return s
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is %+v, want %s", name, s, want)
			}
		}
	}
	is("lives", SupervisedAlive)
	if s := is("poor", SupervisedEnded); s.Reason != BudgetExhausted || s.Err != nil {
		t.Errorf("poor: %+v", s)
	}
	if s := is("damaged", SupervisedFailed); s.Err == nil {
		t.Errorf("damaged: %+v", s)
	}
	if s := is("fails", SupervisedWaiting); s.Err == nil || s.Again.IsZero() {
		t.Errorf("fails: %+v", s)
	}
	listens := func(dir string) (r *Remote, err error) { // it is alive a moment before
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if r, err = Connect(dir); err == nil {
				break
			}
		}
		return r, err
	}
	if r, err := listens(stops); err != nil {
		t.Error(err)
	} else if _, err := r.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	is("stops", SupervisedEnded)
	if r, err := listens(retires); err != nil {
		t.Error(err)
	} else if _, err := r.Retire(t.Context()); err != nil {
		t.Error(err)
	}
	if s := is("retires", SupervisedEnded); s.Reason != Retired || s.Err != nil {
		t.Errorf("retires: %+v", s)
	}
	old := bear("retired", wasmtest.Agent{}, 1000, 0)
	is("retired", SupervisedAlive)
	if r, err := listens(old); err != nil {
		t.Error(err)
	} else if _, err := r.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := e.Retire(t.Context(), old); err != nil {
		t.Error(err)
	}

	// What helps each.
	if _, err := e.Visit(t.Context(), poor, func(ctx context.Context, a *Agent) error {
		_, err := a.SetPrice(ctx, 0)
		return err
	}); err != nil {
		t.Error(err)
	}
	is("poor", SupervisedAlive)
	if err := os.WriteFile(filepath.Join(damaged, "key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	is("damaged", SupervisedAlive)
	bear("comes", wasmtest.Agent{}, 1000, 0)
	is("comes", SupervisedAlive)
	gone := filepath.Join(tmp, "gone")
	if err := os.Rename(goes, gone); err != nil {
		t.Fatal(err)
	}
	is("goes", "")
	counts(t, gone)
	if _, err := Resume(t.Context(), gone, ticks(1, 0)); err != nil {
		t.Errorf("the one that went does not go on elsewhere: %v", err)
	}
	is("stops", SupervisedEnded) // and stays so
	is("retires", SupervisedEnded)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// Where it is not known yet, it is found out, and is no failure.
	again, stop := context.WithCancel(t.Context())
	clear(seen)
	ended = inBackground(func() error {
		return e.Supervise(again, folder, SupervisorConfig{
			Agent:   func(string) Config { return Config{TickInterval: time.Millisecond} },
			Changed: func(s Supervised) { mu.Lock(); seen[s.Name] = s; mu.Unlock() },
		})
	})
	for _, name := range []string{"retires", "retired"} {
		if s := is(name, SupervisedEnded); s.Reason != Retired || s.Err != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	is("stops", SupervisedAlive)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, name := range []string{"lives", "poor", "damaged", "comes", "stops", "retires", "retired"} {
		counts(t, filepath.Join(folder, name))
		if _, err := Connect(filepath.Join(folder, name)); err == nil {
			t.Errorf("%s lives on", name)
		}
	}
	if _, ok := seen["something else"]; ok {
		t.Error("a folder that is no agent's was run")
	}
	if err := e.Supervise(t.Context(), filepath.Join(folder, "lives"), SupervisorConfig{}); err == nil {
		t.Error("one agent's folder was taken for a folder of agents")
	}
}

func inBackground(do func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	return done
}

// TestTurns checks that no more take a turn than there are, that those who wait get
// theirs, and that one who waits for something else has none.
func TestTurns(t *testing.T) {
	turns := newTurns(2)
	var now, most atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			turns.take()
			defer turns.give()
			for range 50 {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				now.Add(-1)
				turns.pass()
			}
			turns.without(func() { runtime.Gosched() })
		})
	}
	all.Wait()
	if most.Load() > 2 || len(turns.free) != 0 {
		t.Errorf("%d had a turn at once, and %d are not given back", most.Load(), len(turns.free))
	}
}

// TestFairShare has an agent beside three that never come back, with one turn for all.
// Whenever it asks for its turn, each of them gets a slice of fuel before it, and no
// more: what it waits for is its share, however long their ticks are. Where they do not
// pass their turn on, it waits for the whole of their ticks.
func TestFairShare(t *testing.T) {
	const hostile = 3
	usual, most := waitedFor(t, hostile, 200, 5*time.Second, (*turns).pass)
	t.Logf("it waited for %d slices as a rule, and for %d at most", usual, most)
	if usual > hostile+1 { // one that was under way when it asked
		t.Errorf("it waited for %d slices of %d neighbours", usual, hostile)
	}
	_, most = waitedFor(t, hostile, 1, 500*time.Millisecond, func(*turns) {})
	t.Logf("without turns it waited for %d slices", most)
	if most <= hostile+1 {
		t.Error("its share does not depend on turns")
	}
}

// waitedFor is for how many slices of its hostile neighbours an agent waits before its
// ticks, as a rule and at most.
func waitedFor(t *testing.T, hostile, asks int, limit time.Duration, slice func(*turns)) (usual, most int64) {
	agent := func(body string) *sandbox.Instance {
		wasm := wasmtest.Agent{Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: body + wasmtest.I32(0)}}}
		p, err := sandbox.Compile(t.Context(), wasm.Bytes(), sandbox.Config{Manifest: &manifest.Manifest{MaxMemory: 1 << 20, MaxTick: limit}, Metering: 1, Log: quiet().Log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		in, err := p.Instantiate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	turns := newTurns(1)
	var taken atomic.Int64
	var all sync.WaitGroup
	var stop []func()
	for range hostile {
		in := agent(wasmtest.Forever)
		in.OnSlice(func() {
			taken.Add(1)
			slice(turns)
		})
		stop = append(stop, in.Stop)
		all.Go(func() {
			turns.take()
			defer turns.give()
			in.Tick(t.Context())
		})
	}
	neighbour := agent(wasmtest.Count)
	var waited []int64
	for range asks {
		asked := taken.Load()
		turns.take()
		waited = append(waited, taken.Load()-asked)
		_, err := neighbour.Tick(t.Context())
		turns.give()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range stop {
		s()
	}
	all.Wait()
	slices.Sort(waited)
	return waited[asks/2], waited[asks-1]
}

// TestInstantiateInTurn checks that a fresh instance takes a turn: its start functions are
// the agent's code.
func TestInstantiateInTurn(t *testing.T) {
	program, err := sandbox.Compile(t.Context(), wasmtest.Agent{}.Bytes(), sandbox.Config{Manifest: &manifest.Manifest{MaxMemory: 1 << 20, MaxTick: time.Second}, Metering: 1, Log: quiet().Log})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	turns := newTurns(1)
	turns.take()
	n := newNursery(t.Context(), program, quiet().Log, turns)
	defer n.close()
	made := make(chan error, 1)
	go func() {
		in, err := n.take()
		if err == nil {
			in.Close()
		}
		made <- err
	}()
	select {
	case <-made:
		t.Error("an instance was made without a turn")
	case <-time.After(50 * time.Millisecond):
	}
	turns.give()
	if err := <-made; err != nil {
		t.Error(err)
	}
}

package runtime

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime/internal/wasmtest"
)

// controlled starts an agent that ticks until it is stopped, at a socket in dir.
func startControlled(t *testing.T, dir string) (*Engine, *Agent, *Remote) {
	t.Helper()
	c := quiet()
	c.Control, c.TickInterval = true, time.Millisecond
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	a := e.Start(t.Context(), dir, birth(wasmtest.Agent{}), c.Config)
	if err := a.Continue(t.Context()); err != nil { // it lives
		t.Fatal(err)
	}
	r, err := Connect(dir)
	if err != nil {
		t.Fatal(err)
	}
	return e, a, r
}

// TestControl asks a living agent for everything that it can be asked for, by way of
// its socket, and holds its history against it.
func TestControl(t *testing.T) {
	for name, dir := range map[string]string{
		"short":                  filepath.Join(t.TempDir(), "agent"),
		"longer than any socket": filepath.Join(t.TempDir(), strings.Repeat("long", 30), "agent"),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			_, a, r := startControlled(t, dir)
			info, err := os.Lstat(filepath.Join(dir, "control"))
			if err != nil || info.Mode() != fs.ModeSocket|0o600 {
				t.Errorf("the socket is %v, %v", info, err)
			}
			s, err := r.TopUp(ctx, 5_000_000)
			if err != nil || s.Budget < 5_000_000 {
				t.Errorf("top-up: %+v, %v", s, err)
			}
			if s, err = r.SetPrice(ctx, 7); err != nil || s.Price != 7 {
				t.Errorf("price: %+v, %v", s, err)
			}
			head, tick, err := r.Checkpoint(ctx)
			if err != nil || head.IsZero() {
				t.Errorf("checkpoint: %v, %v", head, err)
			}
			if c := newest(t, dir, tick); c.PricePerSecond != 7 || c.Budget < 5_000_000 {
				t.Errorf("the checkpoint says %+v", c)
			}
			if err := r.Pause(ctx); err != nil {
				t.Error(err)
			}
			before, err := r.Status(ctx)
			if err != nil || before.Phase != Paused || before.Saved != before.Tick {
				t.Errorf("paused: %+v, %v", before, err)
			}
			time.Sleep(20 * time.Millisecond)
			if after, err := r.Status(ctx); err != nil || after.Tick != before.Tick {
				t.Errorf("it ticks while it is paused: %+v, %v", after, err)
			}
			if err := r.Continue(ctx); err != nil {
				t.Error(err)
			}
			if list, err := Effects(ctx, r.Dir()); err != nil || len(list) != 0 {
				t.Errorf("effects: %v, %v", list, err)
			}
			if _, err := r.ResolveEffect(ctx, "77", true, ""); err == nil || !strings.Contains(err.Error(), `there is no effect "77"`) {
				t.Errorf("effect: %v", err)
			}
			for what, wrong := range map[string]func() error{
				"top-up": func() error { _, err := r.TopUp(ctx, -1); return err },
				"price":  func() error { _, err := r.SetPrice(ctx, -1); return err },
			} {
				if err := wrong(); err == nil {
					t.Errorf("a %s below 0 is taken", what)
				}
			}
			result, err := r.Stop(ctx)
			if err != nil || result.Reason != Stopped || result.Tick <= tick {
				t.Errorf("stop: %+v, %v", result, err)
			}
			if own, err := a.Wait(ctx); err != nil || own.Head != result.Head {
				t.Errorf("it ended as %+v, %v, and told of %+v", own, err, result)
			}
			if _, err := os.Lstat(filepath.Join(dir, "control")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is there after the end: %v", err)
			}
			if _, err := Connect(dir); !errors.Is(err, ErrNotRunning) {
				t.Errorf("after the end: %v", err)
			}
			if _, err := r.TopUp(ctx, 1); !errors.Is(err, ErrStopped) {
				t.Errorf("after the end: %v", err)
			}
			counts(t, dir)
			if got, err := Replay(ctx, dir, replayConfig(dir, birth(wasmtest.Agent{}))); err != nil || got.Verdict != Replayed {
				t.Errorf("run again: %+v, %v", got, err)
			}
		})
	}
}

// TestStaleSocket checks that a socket which a killed process left, or which came with a
// copy of the folder, is nobody's, and is replaced; and that nothing else is.
func TestStaleSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	if _, err := Start(t.Context(), dir, birth(wasmtest.Agent{}), ticks(1, 0)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := Connect(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stale socket: %v", err)
	}
	c := ticks(1, 0)
	c.Control = true
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale socket is there: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(t.Context(), dir, c); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("a file that is no socket is %q, %v", b, err)
	}
}

// TestVisit gives money to an agent that does not run: it lives no tick, and has it when
// it goes on.
func TestVisit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	b := birth(wasmtest.Agent{})
	b.Budget, b.Price = 5, 1<<23
	if r, err := Start(t.Context(), dir, b, ticks(0, 0)); err != nil || r.Reason != BudgetExhausted {
		t.Fatal(r, err)
	}
	if _, err := Resume(t.Context(), dir, ticks(1, 0)); !errors.Is(err, ErrBudgetExhausted) {
		t.Errorf("got %v", err)
	}
	c := quiet()
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before := counts(t, dir)
	r, err := e.Visit(t.Context(), dir, func(ctx context.Context, a *Agent) error {
		_, err := a.TopUp(ctx, 1<<41)
		return err
	})
	if err != nil || r.Reason != Stopped {
		t.Errorf("got %+v, %v", r, err)
	}
	if after := counts(t, dir); len(after) != len(before) {
		t.Errorf("checkpoints at %v, and before at %v", after, before)
	}
	if r, err := Resume(t.Context(), dir, ticks(1, 0)); err != nil || r.Budget == 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := e.Visit(t.Context(), filepath.Join(dir, "nothing"), func(ctx context.Context, a *Agent) error {
		return a.Pause(ctx)
	}); !errors.Is(err, ErrNotFolder) {
		t.Errorf("got %v", err)
	}
}

package runtime

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"igor.dev/runtime/internal/store"
)

// settings are what a test runs an agent with: what an engine has, and what the agent
// has. There is one log for both.
type settings struct {
	EngineConfig
	Config
	Log *slog.Logger
}

func (s *settings) engine() (*Engine, error) {
	s.EngineConfig.Log, s.Config.Log = s.Log, s.Log
	return NewEngine(s.EngineConfig)
}

// Start runs a new agent in an engine of its own, until it ends.
func Start(ctx context.Context, dir string, b Birth, c settings) (Result, error) {
	return alone(c, func(e *Engine) *Agent { return e.Start(ctx, dir, b, c.Config) })
}

// Resume goes on with an agent in an engine of its own, until it ends.
func Resume(ctx context.Context, dir string, c settings) (Result, error) {
	return alone(c, func(e *Engine) *Agent { return e.Resume(ctx, dir, c.Config) })
}

func alone(c settings, begin func(*Engine) *Agent) (Result, error) {
	e, err := c.engine()
	if err != nil {
		return Result{}, err
	}
	r, err := begin(e).Wait(context.Background())
	return r, errors.Join(err, e.Close())
}

// quiet has a run end with the first tick that fails.
func quiet() settings {
	return settings{Log: slog.New(slog.DiscardHandler), Config: Config{MaxFailedTicks: 1}}
}

func ticks(n uint64, every uint64) settings {
	c := quiet()
	c.MaxTicks, c.CheckpointEvery.Ticks = n, every
	return c
}

// recovered opens the life in dir as Resume does, before it runs, with a program that
// is taken for its own.
func recovered(t *testing.T, dir string, program []byte, c settings) (l *life, done func()) {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := s.WASM()
	if err != nil {
		t.Fatal(err)
	}
	man, err := s.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	b, err := embody(wasm, man)
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.engine()
	if err != nil {
		t.Fatal(err)
	}
	c.Config.machine = thisMachine{e}
	l = e.newLife(b, c.Config)
	if err := l.recover(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b.wasm = program
	if err := e.compile(t.Context(), b, c.Config); err != nil {
		t.Fatal(err)
	}
	return l, func() {
		l.close()
		b.close()
		s.Close()
	}
}

package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/member"
)

// TestNewStore has a majority of a fleet's members lose their data for good, and the fleet
// begin a new store. Then the third one is back, as it was: what it has is of another store,
// of a later term, and must not come into the new one.
func TestNewStore(t *testing.T) {
	var all []Peer
	var dirs []string
	for i, a := range freePorts(t, "127.0.0.1", 3) {
		all = append(all, Peer{public(key(byte(i + 1))), a})
		dirs = append(dirs, t.TempDir())
	}
	open := map[*Engine]bool{}
	start := func(i int, store uint64) *Engine {
		t.Helper()
		e, err := Start(Config{Key: key(byte(i + 1)), Dir: dirs[i], Members: all, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		open[e] = true
		return e
	}
	stop := func(e *Engine) {
		delete(open, e)
		e.Close()
	}
	defer func() {
		for e := range open {
			e.Close()
		}
	}()
	agent, owner := public(key(7)), public(key(8))
	first := begin(owner, 1)
	swap := func(e *Engine, prev, next authority.Position) {
		t.Helper()
		var err error
		for began := time.Now(); time.Since(began) < 60*time.Second; time.Sleep(50 * time.Millisecond) {
			if err = e.Swap(t.Context(), member.Swap{Prev: prev, Next: authority.Entry{Agent: agent, Position: next}}); err == nil || errors.As(err, new(*member.Changed)) {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var engines []*Engine
	for i := range all {
		engines = append(engines, start(i, 1))
	}
	ready(t, engines[2])
	// Several leaders, and many appends: what the third has is of a later term, and longer.
	at := authority.Position{}
	for i := range 2 {
		for range 10 {
			next := first
			next.Sequence = at.Sequence + 1
			swap(engines[2], at, next)
			at = next
		}
		stop(engines[i])
		engines[i] = start(i, 1)
		ready(t, engines[i])
	}
	for _, e := range engines {
		stop(e)
	}
	// The first two have none of it.
	dirs[0], dirs[1] = t.TempDir(), t.TempDir()
	for i := range 2 {
		engines[i] = start(i, 2)
	}
	ready(t, engines[0])
	restored := first
	restored.Sequence, restored.Writer = 100, authority.WriterID{9}
	swap(engines[0], authority.Position{}, restored)
	old := start(2, 1)
	ctx, done := context.WithTimeout(t.Context(), 2*time.Second)
	defer done()
	if err := old.Ready(ctx); err == nil {
		t.Error("the third one is ready, with what it had")
	}
	for i := range 2 {
		h, err := engines[i].Read(t.Context(), agent)
		if err != nil || h.Position != restored {
			t.Errorf("member %d has append %d, %v", i+1, h.Position.Sequence, err)
		}
	}
	stop(old)
	// It comes with nothing, into the new one.
	s, err := engines[0].Standing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Members {
		if m.Came != (m.Key != all[2].Key) {
			t.Errorf("of those that came and the one that did not: %+v", s.Members)
		}
	}
	dirs[2] = t.TempDir()
	third := start(2, 2)
	ready(t, third)
	h, err := third.Read(t.Context(), agent)
	if err != nil || h.Position != restored {
		t.Errorf("the third one has append %d, %v", h.Position.Sequence, err)
	}
}

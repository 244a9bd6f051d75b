// Package targettest tests that a target does what [archive.Target] says.
package targettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"igor.dev/archive"
	"igor.dev/internal/testkit"
)

// below returns a key of an agent's archive.
func below(name string) string { return "igor/" + testkit.NewAgent("target").DID() + "/" + name }

// Run tests a target that is empty.
func Run(t *testing.T, target archive.Target) {
	t.Helper()
	ctx := t.Context()
	put := func(key string, data string, ifAbsent bool, want error) {
		t.Helper()
		if _, err := target.Put(ctx, key, []byte(data), ifAbsent); !errors.Is(err, want) {
			t.Fatalf("put %s: %v, want %v", key, err, want)
		}
	}
	get := func(key string, offset, limit int64, want string) {
		t.Helper()
		b, err := target.Get(ctx, key, offset, limit)
		if err != nil || string(b) != want {
			t.Fatalf("get %s from %d, %d bytes: %q, %v, want %q", key, offset, limit, b, err, want)
		}
	}
	if _, err := target.Get(ctx, below("a/1"), 0, 10); !errors.Is(err, archive.ErrNotFound) {
		t.Fatalf("get of what is not there: %v", err)
	}
	put(below("a/1"), "first", true, nil)
	get(below("a/1"), 0, 100, "first")
	get(below("a/1"), 1, 3, "irs")
	get(below("a/1"), 4, 10, "t")
	get(below("a/1"), 5, 10, "")
	put(below("segments/1.car"), "car", true, nil)
	put(below("b"), "bb", true, nil)
	if _, later := target.(archive.Confirmer); !later {
		put(below("a/1"), "other", true, archive.ErrExists)
		put(below("a/1"), "second", false, nil)
		get(below("a/1"), 0, 100, "second")
	}
	list := func(prefix string, want ...string) {
		t.Helper()
		var keys []string
		err := target.List(ctx, prefix, func(e archive.Entry) error { keys = append(keys, e.Key); return nil })
		slices.Sort(keys)
		if err != nil || !slices.Equal(keys, want) {
			t.Fatalf("list %s: %q, %v, want %q", prefix, keys, err, want)
		}
	}
	list(below("a/"), below("a/1"))
	list(below("seg"), below("segments/1.car"))
	list(below("none/"))
	for _, key := range []string{"", "/igor", "igor/", "igor//a", "../a", "igor/../a", "igor/.a", "igor/a b", "igor/\x00", "igor\\a", string(make([]byte, archive.MaxKey+1))} {
		if _, err := target.Put(ctx, key, nil, false); err == nil {
			t.Fatalf("put %q: no error", key)
		}
		if _, err := target.Get(ctx, key, 0, 1); err == nil || errors.Is(err, archive.ErrNotFound) {
			t.Fatalf("get %q: %v", key, err)
		}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	put(below("large"), string(large), true, nil)
	get(below("large"), 1<<21, 16, "0123456789abcdef")
	if b, err := archive.GetAll(ctx, target, below("large"), int64(len(large))); err != nil || !bytes.Equal(b, large) {
		t.Fatalf("get of a large object: %d bytes, %v", len(b), err)
	}
	if _, err := archive.GetAll(ctx, target, below("large"), int64(len(large))-1); err == nil {
		t.Fatal("a large object under a smaller limit: no error")
	}
	one(t, target)
	if s, ok := target.(archive.Swapper); ok {
		swap(t, target, s)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := target.Put(over, below("over"), []byte("x"), true); err == nil {
		t.Fatal("put with a context that is over: no error")
	}
}

// one has many put under one key at once: one of them does, and its bytes are there.
func one(t *testing.T, target archive.Target) {
	t.Helper()
	if _, ok := target.(archive.Confirmer); ok {
		return // it cannot know
	}
	for round := range 5 {
		key := below(fmt.Sprintf("race/%d", round))
		var won atomic.Int32
		var winner atomic.Value
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				data := fmt.Sprintf("of %d", i)
				switch _, err := target.Put(t.Context(), key, []byte(data), true); {
				case err == nil:
					won.Add(1)
					winner.Store(data)
				case !errors.Is(err, archive.ErrExists):
					t.Errorf("put: %v", err)
				}
			})
		}
		all.Wait()
		b, err := archive.GetAll(t.Context(), target, key, 100)
		if won.Load() != 1 || err != nil || string(b) != winner.Load() {
			t.Fatalf("%d of 8 put under one key, %v did, and %q is there: %v", won.Load(), winner.Load(), b, err)
		}
	}
}

func swap(t *testing.T, target archive.Target, s archive.Swapper) {
	t.Helper()
	ctx, key := t.Context(), below("swap/head")
	for i, step := range []struct {
		previous, next string
		want           error
	}{
		{"a", "b", archive.ErrChanged}, {"", "a", nil}, {"", "b", archive.ErrChanged},
		{"b", "c", archive.ErrChanged}, {"a", "b", nil}, {"a", "c", archive.ErrChanged}, {"b", "last", nil},
	} {
		var previous []byte
		if step.previous != "" {
			previous = []byte(step.previous)
		}
		if err := s.Swap(ctx, key, previous, []byte(step.next)); !errors.Is(err, step.want) {
			t.Fatalf("swap %d: %v, want %v", i, err, step.want)
		}
	}
	// Of those who swap at once, one does.
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			switch err := s.Swap(ctx, key, []byte("last"), []byte{byte(i)}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, archive.ErrChanged):
				t.Errorf("swap: %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d of 8 swapped", won.Load())
	}
}

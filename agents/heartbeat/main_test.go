package main

import (
	"testing"

	"igor.dev/sdk/sdktest"
)

// TestLife lives for a while, goes on in a fresh heart, and finds the count.
func TestLife(t *testing.T) {
	w := sdktest.New(t)
	h := &heart{}
	h.Init()
	for range 25 {
		if h.Tick() {
			t.Error("a heart has nothing more to do after a beat")
		}
	}
	last := w.Time.Add(-w.Step)
	h = sdktest.Restart(t, h, &heart{})
	if h.beats != 25 || !h.last.Equal(last) {
		t.Errorf("got %+v, want 25 beats until %v", h, last)
	}
	h.Tick()
	if h.beats != 26 || !h.last.After(last) {
		t.Errorf("%d beats until %v, want 26", h.beats, h.last)
	}
	if w.Log() != "alive\nbeat 10\nbeat 20" {
		t.Errorf("it said\n%s", w.Log())
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, size := range []int{0, 15, 17} {
		if err := new(heart).Unmarshal(make([]byte, size)); err == nil {
			t.Errorf("took a state of %d bytes", size)
		}
	}
}

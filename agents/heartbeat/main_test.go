package main

import (
	"testing"
	"time"
)

// TestLife lives for a while, goes on in a fresh heart, and finds the count.
func TestLife(t *testing.T) {
	h := &heart{}
	h.Init()
	before := time.Now()
	for range 25 {
		if h.Tick() {
			t.Error("a heart has nothing more to do after a beat")
		}
	}
	next := &heart{}
	if err := next.Unmarshal(h.Marshal()); err != nil {
		t.Fatal(err)
	}
	if next.beats != 25 || !next.last.Equal(h.last) || next.last.Before(before) {
		t.Errorf("got %+v, want %+v", next, h)
	}
	next.Tick()
	if next.beats != 26 {
		t.Errorf("%d beats, want 26", next.beats)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, size := range []int{0, 15, 17} {
		if err := new(heart).Unmarshal(make([]byte, size)); err == nil {
			t.Errorf("took a state of %d bytes", size)
		}
	}
}

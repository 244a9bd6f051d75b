package main

import (
	"bytes"
	"testing"
)

// TestCommittedVectors holds testdata/replay to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	dir, err := replayDir()
	if err != nil {
		t.Fatal(err)
	}
	want, err := tree(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 100 {
		t.Fatalf("only %d files", len(want))
	}
	for name, b := range want {
		if !bytes.Equal(got[name], b) {
			t.Errorf("%s is not what the generator writes; run go run ./internal/testkit/genreplay", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not written by the generator", name)
	}
}

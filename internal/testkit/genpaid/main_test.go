package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCommittedVectors holds testdata/paid-requests to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	want := files()
	if len(want) < 12 {
		t.Fatalf("only %d vectors", len(want))
	}
	for name, b := range want {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is not what the generator writes; run go run ./internal/testkit/genpaid", name)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) != len(want) {
		t.Errorf("%d files, want %d, %v", len(names), len(want), err)
	}
}

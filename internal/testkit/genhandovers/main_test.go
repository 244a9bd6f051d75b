package main

import (
	"testing"

	"igor.dev/internal/testkit"
)

// TestCommittedVectors holds testdata/handovers to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	testkit.Generated(t, "genhandovers", "handovers", 30, files())
}

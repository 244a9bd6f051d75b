package main

import (
	"testing"

	"igor.dev/internal/testkit"
)

// TestCommittedVectors holds testdata/witness to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	testkit.Generated(t, "genwitness", "witness", 40, files())
}

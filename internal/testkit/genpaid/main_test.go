package main

import (
	"testing"

	"igor.dev/internal/testkit"
)

// TestCommittedVectors holds testdata/paid-requests to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	testkit.Generated(t, "genpaid", "paid-requests", 12, files())
}

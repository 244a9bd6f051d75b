package main

import (
	"testing"

	"igor.dev/internal/testkit"
)

// TestCommittedVectors holds testdata/receipts to what the generator writes.
func TestCommittedVectors(t *testing.T) {
	testkit.Generated(t, "genreceipts", "receipts", 40, files())
}

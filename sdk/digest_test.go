package sdk

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

func TestDigest(t *testing.T) {
	r := rand.NewChaCha8([32]byte{})
	for n := range 300 {
		b := make([]byte, n)
		r.Read(b)
		if got := digest(b); got != sha256.Sum256(b) {
			t.Fatalf("of %d bytes it is %x", n, got)
		}
	}
}

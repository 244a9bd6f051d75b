//go:build !wasm

package sha2

import (
	"crypto/sha256"
	"crypto/sha512"
)

// Sum256 returns the SHA-256 of b.
func Sum256(b []byte) [Size256]byte { return sha256.Sum256(b) }

// Sum512 returns the SHA-512 of the parts, one after the other.
func Sum512(parts ...[]byte) (digest [Size512]byte) {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(digest[:0])
	return digest
}

//go:build !wasm

package rfc8032

import "crypto/ed25519"

// A Verifier verifies signatures. The zero value is ready. It is not safe for
// concurrent use.
type Verifier struct {
	message []byte
}

// keepMessage is how large a message buffer is kept for the next message.
const keepMessage = 1 << 20

// Verify reports whether signature is a valid one by the key of the message, which
// is given in two parts. For a key that is not canonical it may say either.
func (v *Verifier) Verify(key *[32]byte, signature *[64]byte, message, rest []byte) bool {
	v.message = append(append(v.message[:0], message...), rest...)
	ok := ed25519.Verify(key[:], v.message, signature[:])
	if cap(v.message) > keepMessage {
		v.message = nil
	}
	return ok
}

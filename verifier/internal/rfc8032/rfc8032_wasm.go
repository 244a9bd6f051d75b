package rfc8032

// A Verifier verifies signatures. The zero value is ready.
type Verifier struct{}

// Verify reports whether signature is a valid one by the key of the message, which
// is given in two parts.
func (*Verifier) Verify(key *[32]byte, signature *[64]byte, message, rest []byte) bool {
	return verify(key, signature, message, rest)
}

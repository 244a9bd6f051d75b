// Package witness checks that what an agent said in public about where it stands was
// seen by others: head statements, and offline proofs that one is in a transparency
// log whose witnesses agree on what is in it (c2sp.org/tlog-proof).
//
// A proof says that a statement was logged. It says nothing of the agent's history: that
// is package verifier's part.
package witness

import (
	"igor.dev/verifier"
	"igor.dev/verifier/internal/le"
	"igor.dev/verifier/internal/rfc8032"
)

const headTag = "igor/head/v1\x00"

// Sizes of a head statement, without and with its signature.
const (
	HeadMessageSize = len(headTag) + 32 + 8 + 8 + 32
	HeadSize        = HeadMessageSize + 64
)

// A Head is what an agent says in public about where it stands: after a tick it is at a
// checkpoint. A statement has no state in it.
type Head struct {
	Agent      verifier.PublicKey // which signs it
	Epoch      uint64
	Tick       uint64
	Checkpoint verifier.Hash
	Signature  [64]byte
}

// AppendMessage appends the bytes that the agent signs.
func (h *Head) AppendMessage(dst []byte) []byte { return h.Append(dst)[:len(dst)+HeadMessageSize] }

// Append appends the statement, which is also a log's entry.
func (h *Head) Append(dst []byte) []byte {
	const at = len(headTag)
	var b [HeadSize]byte
	copy(b[:], headTag)
	copy(b[at:], h.Agent[:])
	le.PutUint64(b[at+32:], h.Epoch)
	le.PutUint64(b[at+40:], h.Tick)
	copy(b[at+48:], h.Checkpoint[:])
	copy(b[at+80:], h.Signature[:])
	return append(dst, b[:]...)
}

// Authentic reports whether the agent, whose key is not weak, signed it.
func (h *Head) Authentic() bool {
	var v rfc8032.Verifier
	return !h.Agent.Weak() && v.Verify((*[32]byte)(&h.Agent), &h.Signature, h.AppendMessage(nil), nil)
}

// ParseHead reads a statement. What it says is unverified: see [Head.Authentic].
func ParseHead(b []byte) (*Head, error) {
	if len(b) != HeadSize || string(b[:len(headTag)]) != headTag {
		return nil, problem("not a head statement of version 1")
	}
	h := new(Head)
	b = b[len(headTag):]
	copy(h.Agent[:], b)
	h.Epoch, h.Tick = le.Uint64(b[32:]), le.Uint64(b[40:])
	copy(h.Checkpoint[:], b[48:])
	copy(h.Signature[:], b[80:])
	return h, nil
}

package archive

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"igor.dev/verifier"
)

// A Part is something that a life has beside its checkpoints.
type Part uint8

// The parts.
const (
	Program    Part = iota // of the newest checkpoint
	Manifest               // with which it goes on
	Journal                // its side effects: docs/spec/archive.md, "Parts"
	Receipts               // payments and receipts, those since the statement before
	Onchain                // what became of payments on chains, likewise
	Events                 // the event log since the statement before
	Home                   // there is one if the agent's home is not its folder
	Retirement             // the agent is retired

	parts = iota
)

// increments are the parts of which each statement names what came since the one before. Of
// the others, the newest statement names all that counts.
var increments = []Part{Receipts, Onchain, Events}

var partNames = [parts]string{"program", "manifest", "journal", "receipts", "onchain", "events", "home", "retirement"}

// String returns the part in a word.
func (p Part) String() string {
	if int(p) < len(partNames) {
		return partNames[p]
	}
	return fmt.Sprintf("part %d", uint8(p))
}

// A Statement says what a successor needs beside the segments up to one, by hash, and
// where the life stood then. The agent's key signed it.
type Statement struct {
	Agent   verifier.PublicKey
	Segment uint64 // its number
	Tick    uint64 // of its last checkpoint
	Head    verifier.Hash
	Parts   [parts]verifier.Hash // zero = it is not archived, or there is none
}

const (
	partsContext   = "igor/parts/v1\x00"
	bindingContext = "igor/archive-key/v1\x00"
	statementSize  = len(partsContext) + 32 + 8 + 8 + 32 + 32*parts
	signatureSize  = ed25519.SignatureSize

	// MaxStatement is the size of a statement, with its signature.
	MaxStatement = statementSize + signatureSize
)

// Append appends the bytes that are signed.
func (s *Statement) Append(dst []byte) []byte {
	dst = append(dst, partsContext...)
	dst = append(dst, s.Agent[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, s.Segment)
	dst = binary.LittleEndian.AppendUint64(dst, s.Tick)
	dst = append(dst, s.Head[:]...)
	for _, h := range s.Parts {
		dst = append(dst, h[:]...)
	}
	return dst
}

// ParseStatement reads a statement whose signature is the agent's.
func ParseStatement(b []byte) (s Statement, err error) {
	if s, err = readStatement(b); err != nil {
		return s, err
	}
	if !verifySignature(s.Agent, b[:statementSize], b[statementSize:]) {
		return Statement{}, errors.New("the statement of parts does not have the agent's signature")
	}
	return s, nil
}

// readStatement reads a statement, whoever signed it.
func readStatement(b []byte) (s Statement, err error) {
	if len(b) != MaxStatement || !bytes.HasPrefix(b, []byte(partsContext)) {
		return s, errors.New("not a statement of parts of version 1")
	}
	rest := b[len(partsContext):]
	copy(s.Agent[:], rest)
	s.Segment = binary.LittleEndian.Uint64(rest[32:])
	s.Tick = binary.LittleEndian.Uint64(rest[40:])
	copy(s.Head[:], rest[48:])
	for i := range s.Parts {
		copy(s.Parts[i][:], rest[80+32*i:])
	}
	if s.Head.IsZero() {
		return Statement{}, errors.New("the statement of parts names no checkpoint")
	}
	return s, nil
}

// BindingSize is the size of a statement that binds an archive key, with its signature.
const BindingSize = len(bindingContext) + 64 + signatureSize

// appendBinding appends the bytes by whose signature an agent says whose uploads are its
// own.
func appendBinding(dst []byte, agent, archive verifier.PublicKey) []byte {
	dst = append(dst, bindingContext...)
	dst = append(dst, agent[:]...)
	return append(dst, archive[:]...)
}

// ParseBinding reads a statement that binds an archive key, whose signature is the agent's.
func ParseBinding(b []byte) (agent, archive verifier.PublicKey, err error) {
	if len(b) != BindingSize || !bytes.HasPrefix(b, []byte(bindingContext)) {
		return agent, archive, errors.New("not a statement of an archive key of version 1")
	}
	copy(agent[:], b[len(bindingContext):])
	copy(archive[:], b[len(bindingContext)+32:])
	end := BindingSize - signatureSize
	if !verifySignature(agent, b[:end], b[end:]) {
		return verifier.PublicKey{}, verifier.PublicKey{}, errors.New("the statement of an archive key does not have the agent's signature")
	}
	return agent, archive, nil
}

// verifySignature refuses weak keys: anybody can sign for them.
func verifySignature(key verifier.PublicKey, message, signature []byte) bool {
	return !key.Weak() && ed25519.Verify(key[:], message, signature)
}

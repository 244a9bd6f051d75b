package authority

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"igor.dev/verifier"
)

// A Deletion is a node's word that it has an agent's key no more. It proves that the node
// said so, and nothing else. See docs/spec/key-deletion.md.
type Deletion struct {
	Agent    verifier.PublicKey
	Node     verifier.PublicKey
	HandOver verifier.Hash // SHA-256 of the record of the hand-over by which the agent left the node last; zero = it did not leave by one
	Time     int64         // Unix seconds, when it said so

	signature [64]byte
}

const deletionContext = "igor/key-deletion/v1\x00"

// DeletionSize is how many bytes a deletion has.
const DeletionSize = len(deletionContext) + 3*32 + 8 + ed25519.SignatureSize

func (d *Deletion) message() []byte {
	b := append(make([]byte, 0, DeletionSize), deletionContext...)
	b = append(b, d.Agent[:]...)
	b = append(b, d.Node[:]...)
	b = append(b, d.HandOver[:]...)
	return le.AppendUint64(b, uint64(d.Time))
}

// Sign signs it with the node's key.
func (d *Deletion) Sign(node ed25519.PrivateKey) error {
	if verifier.PublicKey(node.Public().(ed25519.PublicKey)) != d.Node {
		return errors.New("the key is not the node's")
	}
	copy(d.signature[:], ed25519.Sign(node, d.message()))
	return nil
}

// Append appends its bytes.
func (d *Deletion) Append(dst []byte) []byte {
	return append(append(dst, d.message()...), d.signature[:]...)
}

// ParseDeletion reads a deletion, and verifies its signature.
func ParseDeletion(b []byte) (d Deletion, err error) {
	if len(b) != DeletionSize || !bytes.HasPrefix(b, []byte(deletionContext)) {
		return d, errors.New("not a deletion of a key, version 1")
	}
	rest := b[len(deletionContext):]
	for _, to := range [][]byte{d.Agent[:], d.Node[:], d.HandOver[:]} {
		rest = rest[copy(to, rest):]
	}
	d.Time = int64(le.Uint64(rest))
	copy(d.signature[:], rest[8:])
	if d.Time < 0 || d.Node.Weak() || !ed25519.Verify(d.Node[:], b[:DeletionSize-ed25519.SignatureSize], d.signature[:]) {
		return Deletion{}, errors.New("the node did not sign that it deleted the key")
	}
	return d, nil
}

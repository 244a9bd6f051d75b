package authority

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"

	"igor.dev/verifier"
)

// A memory of good signatures: the nodes of a fleet read the same positions and terms again
// and again, and a check takes a hundred times as long as a hash. It has only what was
// found to be good, by a hash of all that the check depends on, so it says what the check
// would say.
type memory struct {
	mu          sync.Mutex
	newer, last map[[sha256.Size]byte]struct{}
}

// remembered is how many signatures each half has: what was not asked for since the other
// half was filled is forgotten.
const remembered = 1 << 14

var good memory

// verify reports whether a key signed a message.
func (m *memory) verify(key verifier.PublicKey, message, signature []byte) bool {
	if len(signature) != ed25519.SignatureSize || key.Weak() {
		return false
	}
	h := sha256.New() // of two parts that always have the same length, and the rest
	h.Write(key[:])
	h.Write(signature)
	h.Write(message)
	name := [sha256.Size]byte(h.Sum(nil))
	if m.has(name) {
		return true
	}
	if !ed25519.Verify(key[:], message, signature) {
		return false
	}
	m.keep(name)
	return true
}

func (m *memory) has(name [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.newer[name]; ok {
		return true
	}
	_, ok := m.last[name]
	if ok {
		m.put(name)
	}
	return ok
}

func (m *memory) keep(name [sha256.Size]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(name)
}

func (m *memory) put(name [sha256.Size]byte) {
	if m.newer == nil || len(m.newer) >= remembered {
		m.newer, m.last = map[[sha256.Size]byte]struct{}{}, m.newer
	}
	m.newer[name] = struct{}{}
}

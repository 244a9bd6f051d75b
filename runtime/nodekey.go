package runtime

import (
	"crypto/ed25519"

	"igor.dev/runtime/internal/store"
)

// NodeKey reads the key with which a node signs receipts. If there is none at
// path it makes one, with mode 0600; it never replaces one.
func NodeKey(path string) (ed25519.PrivateKey, error) { return store.NodeKey(path) }

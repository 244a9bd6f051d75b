package node

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
)

// The sealing of agents' keys: docs/spec/handover.md.

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// sealingKey derives a node's HPKE key of its own.
func sealingKey(node ed25519.PrivateKey) (hpke.PrivateKey, error) {
	return kem().DeriveKeyPair(append([]byte("igor/node-hpke/v1\x00"), node.Seed()...))
}

// sealTo seals an agent's seed.
func sealTo(public [32]byte, info, seed []byte) ([]byte, error) {
	to, err := kem().NewPublicKey(public[:])
	if err != nil {
		return nil, err
	}
	return hpke.Seal(to, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, seed)
}

// unseal opens an agent's seed, and returns its key.
func unseal(key hpke.PrivateKey, info, sealed []byte) (ed25519.PrivateKey, error) {
	seed, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info, sealed)
	if err != nil {
		return nil, errors.New("the agent's key was not sealed to this node, or to another hand-over")
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("what was sealed is no agent's key")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

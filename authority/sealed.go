package authority

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"igor.dev/verifier"
)

// SealedKeys are an agent's key, sealed to each node that may go on with it by itself, and
// who else had it. The agent signs them: docs/spec/sealed-keys.md.
type SealedKeys struct {
	Agent    verifier.PublicKey
	Number   uint64        // from 1, one more each time
	Manifest verifier.Hash // which allows it
	Keys     []SealedKey   // in the order of their nodes, each once
	Had      []verifier.PublicKey
}

// A SealedKey is an agent's key, sealed to a node.
type SealedKey struct {
	Node   verifier.PublicKey
	Sealed [SealedKeySize]byte
}

// Limits of sealed keys.
const (
	SealedKeySize = 80
	MaxHad        = 1024
	MaxSealedKeys = len(sealedContext) + 32 + 8 + 32 + 2 + MaxNodes*(32+SealedKeySize) + 2 + 32*MaxHad + ed25519.SignatureSize
)

const (
	sealedContext    = "igor/sealed-keys/v1\x00"
	fleetKeyContext  = "igor/fleet-key/v1\x00"
	sealedHead       = len(sealedContext) + 32 + 8 + 32
	sealedEach       = 32 + SealedKeySize
	sealedMinimum    = sealedHead + 2 + 2 + ed25519.SignatureSize
	unorderedMessage = "sealed keys whose nodes are not in order, each once"
)

// FleetKeyInfo is what binds a sealed key to its agent and to its node.
func FleetKeyInfo(agent, node verifier.PublicKey) []byte {
	return slices.Concat([]byte(fleetKeyContext), agent[:], node[:])
}

func (k *SealedKeys) append(dst []byte) []byte {
	dst = append(dst, sealedContext...)
	dst = append(dst, k.Agent[:]...)
	dst = le.AppendUint64(dst, k.Number)
	dst = append(dst, k.Manifest[:]...)
	dst = le.AppendUint16(dst, uint16(len(k.Keys)))
	for i := range k.Keys {
		dst = append(dst, k.Keys[i].Node[:]...)
		dst = append(dst, k.Keys[i].Sealed[:]...)
	}
	dst = le.AppendUint16(dst, uint16(len(k.Had)))
	for i := range k.Had {
		dst = append(dst, k.Had[i][:]...)
	}
	return dst
}

func (k *SealedKeys) check() error {
	if k.Number == 0 {
		return errors.New("sealed keys are counted from 1")
	}
	if len(k.Keys) > MaxNodes || len(k.Had) > MaxHad {
		return fmt.Errorf("sealed keys of %d nodes, of which %d had one; at most %d and %d are read", len(k.Keys), len(k.Had), MaxNodes, MaxHad)
	}
	for i := range k.Keys {
		if i > 0 && bytes.Compare(k.Keys[i-1].Node[:], k.Keys[i].Node[:]) >= 0 {
			return errors.New(unorderedMessage)
		}
	}
	for i := range k.Had {
		if i > 0 && bytes.Compare(k.Had[i-1][:], k.Had[i][:]) >= 0 {
			return errors.New(unorderedMessage)
		}
		if _, has := k.For(k.Had[i]); has {
			return errors.New("sealed keys of a node that had one, and has one")
		}
	}
	return nil
}

// Sign returns the bytes, signed with the agent's key.
func (k *SealedKeys) Sign(key crypto.Signer) ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	b := k.append(nil)
	s, err := key.Sign(nil, b, crypto.Hash(0))
	return append(b, s...), err
}

// ParseSealedKeys reads sealed keys, and verifies their signature.
func ParseSealedKeys(b []byte) (k SealedKeys, err error) {
	if len(b) < sealedMinimum || len(b) > MaxSealedKeys || !bytes.HasPrefix(b, []byte(sealedContext)) {
		return k, errors.New("not sealed keys of version 1")
	}
	signed, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	rest := signed[len(sealedContext):]
	copy(k.Agent[:], rest)
	k.Number = le.Uint64(rest[32:])
	copy(k.Manifest[:], rest[40:])
	rest = rest[72:]
	short := errors.New("sealed keys that are cut short, or too long")
	count := int(le.Uint16(rest))
	if rest = rest[2:]; count > MaxNodes || len(rest) < count*sealedEach+2 {
		return SealedKeys{}, short
	}
	for range count {
		var one SealedKey
		copy(one.Node[:], rest)
		copy(one.Sealed[:], rest[32:])
		k.Keys = append(k.Keys, one)
		rest = rest[sealedEach:]
	}
	count = int(le.Uint16(rest))
	if rest = rest[2:]; count > MaxHad || len(rest) != 32*count {
		return SealedKeys{}, short
	}
	for range count {
		k.Had = append(k.Had, verifier.PublicKey(rest[:32]))
		rest = rest[32:]
	}
	if err := k.check(); err != nil {
		return SealedKeys{}, err
	}
	if k.Agent.Weak() || !ed25519.Verify(k.Agent[:], signed, signature) {
		return SealedKeys{}, errors.New("the agent did not sign its sealed keys")
	}
	return k, nil
}

// For returns the key that is sealed to a node.
func (k *SealedKeys) For(node verifier.PublicKey) (sealed []byte, ok bool) {
	i, ok := slices.BinarySearchFunc(k.Keys, node, func(s SealedKey, n verifier.PublicKey) int { return bytes.Compare(s.Node[:], n[:]) })
	if !ok {
		return nil, false
	}
	return k.Keys[i].Sealed[:], true
}

// Next returns the sealed keys after these: those of nodes that still may, those that are
// added, and who had one.
func (k *SealedKeys) Next(manifest verifier.Hash, may func(node verifier.PublicKey) bool, add []SealedKey) SealedKeys {
	next := SealedKeys{Agent: k.Agent, Number: k.Number + 1, Manifest: manifest, Keys: slices.Clone(add)}
	added := func(n verifier.PublicKey) bool {
		return slices.ContainsFunc(add, func(s SealedKey) bool { return s.Node == n })
	}
	for _, s := range k.Keys {
		switch {
		case added(s.Node):
		case may(s.Node):
			next.Keys = append(next.Keys, s)
		default:
			next.Had = append(next.Had, s.Node)
		}
	}
	for _, n := range k.Had {
		if !added(n) {
			next.Had = append(next.Had, n)
		}
	}
	slices.SortFunc(next.Keys, func(a, b SealedKey) int { return bytes.Compare(a.Node[:], b.Node[:]) })
	slices.SortFunc(next.Had, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return next
}

// Follows says why these may not follow others: they are not the next ones, or leave out
// somebody who had the key.
func (k *SealedKeys) Follows(before *SealedKeys) error {
	switch {
	case k.Agent != before.Agent && before.Number > 0:
		return errors.New("they are another agent's")
	case k.Number != before.Number+1:
		return fmt.Errorf("their number is %d, and %d is due", k.Number, before.Number+1)
	}
	named := func(n verifier.PublicKey) bool {
		_, has := k.For(n)
		return has || slices.Contains(k.Had, n)
	}
	for _, s := range before.Keys {
		if !named(s.Node) {
			return fmt.Errorf("they leave out %s, which had the key", s.Node.DID())
		}
	}
	for _, n := range before.Had {
		if !named(n) {
			return fmt.Errorf("they leave out %s, which had the key", n.DID())
		}
	}
	return nil
}

// Package wallet has the keys by which the operator of a node pays. A wallet signs
// what it is asked to move, and nothing else: it never signs bytes that somebody
// else made. Agents have no wallet; they spend from their budgets.
package wallet

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"igor.dev/x402/evm"
)

// A Wallet signs for one address.
type Wallet interface {
	Address() evm.Address
	// Authorize signs what moves tokens. From is the wallet's address.
	Authorize(context.Context, *evm.Domain, *evm.Authorization) (evm.Signature, error)
	// Cancel signs that a nonce of the wallet's is never used.
	Cancel(context.Context, *evm.Domain, evm.Hash) (evm.Signature, error)
	// Bind signs which agent it pays for.
	Bind(context.Context, *Binding) (evm.Signature, error)
}

// A Key is a wallet whose key is in this process.
type Key struct {
	key     *secp256k1.PrivateKey
	address evm.Address
}

// Generate makes a new key.
func Generate() (*Key, error) {
	k, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, err
	}
	return newKey(k), nil
}

func newKey(k *secp256k1.PrivateKey) *Key { return &Key{k, evm.AddressOf(k.PubKey())} }

// parseKey reads 64 hexadecimal digits, with or without 0x. Its errors hold none of them.
func parseKey(s string) (*Key, error) {
	if len(s) == 66 && s[:2] == "0x" {
		s = s[2:]
	}
	var b [32]byte
	if n, err := hex.Decode(b[:min(len(s)/2, 32)], []byte(s[:min(len(s), 64)])); err != nil || n != 32 || len(s) != 64 {
		return nil, errors.New("not a wallet's key, which is 64 hexadecimal digits")
	}
	var scalar secp256k1.ModNScalar
	if overflow := scalar.SetBytes(&b); overflow != 0 || scalar.IsZero() {
		return nil, errors.New("not a wallet's key: the number is out of range")
	}
	return newKey(secp256k1.NewPrivateKey(&scalar)), nil
}

// String returns the address, so that no log has the key.
func (k *Key) String() string { return "wallet " + k.address.String() }

// GoString is String.
func (k *Key) GoString() string { return k.String() }

// Format lets no verb print the key.
func (k *Key) Format(f fmt.State, _ rune) { f.Write([]byte(k.String())) }

// MarshalText lets no encoder print the key.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Address implements [Wallet].
func (k *Key) Address() evm.Address { return k.address }

// Authorize implements [Wallet].
func (k *Key) Authorize(_ context.Context, d *evm.Domain, a *evm.Authorization) (evm.Signature, error) {
	if a.From != k.address {
		return evm.Signature{}, fmt.Errorf("asked to move what %s has, and this is the wallet of %s", a.From, k.address)
	}
	return evm.Sign(k.key, a.Digest(d)), nil
}

// Cancel implements [Wallet].
func (k *Key) Cancel(_ context.Context, d *evm.Domain, nonce evm.Hash) (evm.Signature, error) {
	return evm.Sign(k.key, evm.CancelDigest(d, k.address, nonce)), nil
}

// Bind implements [Wallet].
func (k *Key) Bind(_ context.Context, b *Binding) (evm.Signature, error) {
	if b.Wallet != k.address {
		return evm.Signature{}, fmt.Errorf("asked to speak for %s, and this is the wallet of %s", b.Wallet, k.address)
	}
	return evm.Sign(k.key, b.digest()), nil
}

// A Binding says which wallet paid for which agent on which node.
type Binding struct {
	Agent, Node [32]byte // Ed25519
	Wallet      evm.Address
	Time        time.Time // whole seconds
}

const bindingContext = "igor/wallet/v1\x00"

// Sizes of a binding.
const (
	bindingSize       = len(bindingContext) + 32 + 32 + 20 + 8
	SignedBindingSize = bindingSize + ed25519.SignatureSize + len(evm.Signature{})
)

// Message is what both the agent's key and the wallet sign.
func (b *Binding) Message() []byte {
	m := append([]byte(bindingContext), b.Agent[:]...)
	m = append(m, b.Node[:]...)
	m = append(m, b.Wallet[:]...)
	return binary.LittleEndian.AppendUint64(m, uint64(b.Time.Unix()))
}

// digest is of the message as wallets sign messages (ERC-191, version 0x45), which no
// transaction and no typed data can be.
func (b *Binding) digest() evm.Hash {
	m := b.Message()
	return evm.Keccak256(fmt.Appendf(nil, "\x19Ethereum Signed Message:\n%d", len(m)), m)
}

// A SignedBinding is a binding with the signatures of both.
type SignedBinding struct {
	Binding
	ByAgent  [ed25519.SignatureSize]byte
	ByWallet evm.Signature
}

// Append writes the binding: its message, the agent's signature, the wallet's.
func (b *SignedBinding) Append(to []byte) []byte {
	to = append(to, b.Message()...)
	to = append(to, b.ByAgent[:]...)
	return append(to, b.ByWallet[:]...)
}

// ParseBinding reads a binding and checks both signatures.
func ParseBinding(src []byte) (*SignedBinding, error) {
	if len(src) != SignedBindingSize || string(src[:len(bindingContext)]) != bindingContext {
		return nil, errors.New("not a wallet's binding")
	}
	b := &SignedBinding{}
	rest := src[len(bindingContext):]
	take := func(to []byte) { rest = rest[copy(to, rest):] }
	take(b.Agent[:])
	take(b.Node[:])
	take(b.Wallet[:])
	seconds := binary.LittleEndian.Uint64(rest)
	if seconds > 1<<40 {
		return nil, errors.New("a wallet's binding of no time that there is")
	}
	b.Time = time.Unix(int64(seconds), 0).UTC()
	rest = rest[8:]
	take(b.ByAgent[:])
	take(b.ByWallet[:])
	if !ed25519.Verify(b.Agent[:], b.Message(), b.ByAgent[:]) {
		return nil, errors.New("a wallet's binding that the agent did not sign")
	}
	if by, err := b.ByWallet.Signer(b.digest()); err != nil || by != b.Wallet {
		return nil, errors.New("a wallet's binding that the wallet did not sign")
	}
	return b, nil
}

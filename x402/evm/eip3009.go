package evm

import (
	"errors"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
)

// A Domain says for which contract on which chain something was signed (EIP-712).
// Name and Version are those that the contract has.
type Domain struct {
	Name, Version string
	Chain         uint64
	Contract      Address
}

// An Authorization lets anybody move Value from From to To, once, while the
// chain's time is between ValidAfter and ValidBefore (EIP-3009,
// transferWithAuthorization).
type Authorization struct {
	From, To                Address
	Value                   uint64
	ValidAfter, ValidBefore uint64 // seconds, both excluded
	Nonce                   Hash
}

var (
	domainType = Keccak256([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"))
	moveType   = Keccak256([]byte("TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"))
	cancelType = Keccak256([]byte("CancelAuthorization(address authorizer,bytes32 nonce)"))
)

// Separator is the hash of the domain, DOMAIN_SEPARATOR of the contract.
func (d *Domain) Separator() Hash {
	name, version := Keccak256([]byte(d.Name)), Keccak256([]byte(d.Version))
	return words(domainType, name, version, uint256(d.Chain), d.Contract.word())
}

// Digest is what the owner of From signs.
func (a *Authorization) Digest(d *Domain) Hash {
	return typed(d, words(moveType, a.From.word(), a.To.word(), uint256(a.Value), uint256(a.ValidAfter), uint256(a.ValidBefore), a.Nonce))
}

// CancelDigest is what the owner of an address signs so that a nonce can never be used.
func CancelDigest(d *Domain, owner Address, nonce Hash) Hash {
	return typed(d, words(cancelType, owner.word(), nonce))
}

// CancelData is the call of a token by which a signature of CancelDigest cancels a nonce.
func CancelData(owner Address, nonce Hash, s Signature) []byte {
	selector := Keccak256([]byte("cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)"))
	b := append([]byte(nil), selector[:4]...)
	for _, w := range []Hash{owner.word(), nonce, uint256(uint64(s[64]))} {
		b = append(b, w[:]...)
	}
	return append(b, s[:64]...)
}

func typed(d *Domain, message Hash) Hash {
	separator := d.Separator()
	return Keccak256([]byte{0x19, 0x01}, separator[:], message[:])
}

func words(w ...Hash) Hash {
	b := make([]byte, 0, 32*len(w))
	for i := range w {
		b = append(b, w[i][:]...)
	}
	return Keccak256(b)
}

// A Signature is r, s and v, which is 27 or 28.
type Signature [65]byte

// Sign signs a digest, always with the same bytes for the same digest (RFC 6979),
// and with the smaller s, which is the only one that tokens take.
func Sign(key *secp256k1.PrivateKey, digest Hash) (s Signature) {
	compact := ecdsa.SignCompact(key, digest[:], false) // v, r, s
	copy(s[:], compact[1:])
	s[64] = compact[0]
	return s
}

// AddressOf returns the address of a public key.
func AddressOf(key *secp256k1.PublicKey) (a Address) {
	h := Keccak256(key.SerializeUncompressed()[1:])
	copy(a[:], h[12:])
	return a
}

// Signer returns whose signature of a digest it is.
func (s *Signature) Signer(digest Hash) (Address, error) {
	if s[64] != 27 && s[64] != 28 {
		return Address{}, errors.New("not a signature: its last byte is not 27 or 28")
	}
	var n secp256k1.ModNScalar
	if n.SetByteSlice(s[32:64]); n.IsOverHalfOrder() {
		return Address{}, errors.New("not a signature that tokens take: its s is the greater of two")
	}
	compact := append([]byte{s[64]}, s[:64]...)
	key, _, err := ecdsa.RecoverCompact(compact, digest[:])
	if err != nil {
		return Address{}, err
	}
	return AddressOf(key), nil
}

// ParseSignature reads 0x and 130 digits.
func ParseSignature(s string) (sig Signature, err error) {
	if err := unhex(sig[:], s); err != nil {
		return Signature{}, fmt.Errorf("not a signature: %w", err)
	}
	if sig[64] < 2 { // as some libraries write it
		sig[64] += 27
	}
	return sig, nil
}

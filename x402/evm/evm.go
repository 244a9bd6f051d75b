// Package evm has what a payment of a token needs of an Ethereum-like chain:
// addresses, the typed data of EIP-3009 and its signatures, and questions to a
// node by JSON-RPC. It sends no coins and holds no contracts of its own.
package evm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/sha3"
)

// An Address is an account or a contract.
type Address [20]byte

// A Hash is a hash, a nonce of EIP-3009, or an indexed value of a log.
type Hash [32]byte

// Keccak256 is the hash that Ethereum uses everywhere; it is not SHA3-256.
func Keccak256(parts ...[]byte) (h Hash) {
	k := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		k.Write(p)
	}
	k.Sum(h[:0])
	return h
}

// ParseAddress reads an address: 0x and 40 digits. Digits in mixed case have to
// be the checksum of ERC-55, which tells most slips of a finger.
func ParseAddress(s string) (a Address, err error) {
	if err := unhex(a[:], s); err != nil {
		return Address{}, fmt.Errorf("%.60q is no address: %w", s, err)
	}
	if digits := s[2:]; digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && s != a.String() {
		return Address{}, fmt.Errorf("%s is no address: its letters are neither all of one case nor the checksum of ERC-55", s)
	}
	return a, nil
}

// String returns the address with the checksum of ERC-55.
func (a Address) String() string {
	digits := []byte(hex.EncodeToString(a[:]))
	sum := Keccak256(digits)
	for i, c := range digits {
		if c >= 'a' && sum[i/2]<<(4*(i%2))&0x80 != 0 {
			digits[i] = c - 'a' + 'A'
		}
	}
	return "0x" + string(digits)
}

// IsZero reports whether it is the address that nobody has.
func (a Address) IsZero() bool { return a == Address{} }

func (a Address) word() (h Hash) {
	copy(h[12:], a[:])
	return h
}

// ParseHash reads 0x and 64 digits.
func ParseHash(s string) (h Hash, err error) {
	if err := unhex(h[:], s); err != nil {
		return Hash{}, fmt.Errorf("%.80q is no hash: %w", s, err)
	}
	return h, nil
}

func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

func unhex(to []byte, s string) error {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return errors.New("it does not begin with 0x")
	}
	if len(digits) != 2*len(to) {
		return fmt.Errorf("it has %d digits, not %d", len(digits), 2*len(to))
	}
	if _, err := hex.Decode(to, []byte(digits)); err != nil {
		return errors.New("it has something else than hexadecimal digits")
	}
	return nil
}

// uint256 is a number as a word of 32 bytes, which is how contracts take it.
func uint256(n uint64) (h Hash) {
	for i := range 8 {
		h[31-i] = byte(n >> (8 * i))
	}
	return h
}

// uint64Of is the number in a word, if it is one of 64 bits.
func uint64Of(h Hash) (n uint64, ok bool) {
	for _, b := range h[:24] {
		if b != 0 {
			return 0, false
		}
	}
	for _, b := range h[24:] {
		n = n<<8 | uint64(b)
	}
	return n, true
}

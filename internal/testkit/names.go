package testkit

import (
	"encoding/base32"
	"encoding/binary"
	"math/big"
	"slices"
)

const base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// DID returns the did:key of an Ed25519 public key. It does not judge the key.
func DID(key []byte) string { return DIDKey(append([]byte{0xed, 0x01}, key...)) }

// DIDKey returns the did:key with these bytes, multicodec prefix included. They must not
// begin with a zero byte.
func DIDKey(b []byte) string {
	n, radix, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var text []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		text = append(text, base58[digit.Int64()])
	}
	slices.Reverse(text)
	return "did:key:z" + string(text)
}

// CIDBytes returns a checkpoint's CID as a CAR has it.
func CIDBytes(checkpoint []byte) []byte {
	digest := Hash(checkpoint)
	return append([]byte{0x01, 0x55, 0x12, 0x20}, digest[:]...)
}

// CID returns a checkpoint's CID as text.
func CID(checkpoint []byte) string { return CIDText(CIDBytes(checkpoint)) }

// CIDText returns the text of a binary CID.
func CIDText(cid []byte) string {
	return "b" + base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding).EncodeToString(cid)
}

// CAR returns the file whose root is the CID of the checkpoint root and whose blocks are
// the checkpoints blocks, in that order.
func CAR(root []byte, blocks ...[]byte) []byte {
	file := CARSection(CARHeader(CIDBytes(root)))
	for _, b := range blocks {
		file = append(file, CARSection(CIDBytes(b), b)...)
	}
	return file
}

// CARHeader returns the header for these roots, given as binary CIDs. With one root that
// is CIDv1 raw sha2-256 it is the header that the spec knows.
func CARHeader(roots ...[]byte) []byte {
	h := append([]byte{0xa2, 0x65}, "roots"...)
	h = append(h, 0x80+byte(len(roots)))
	for _, cid := range roots {
		h = append(h, 0xd8, 0x2a, 0x58, byte(1+len(cid)), 0x00)
		h = append(h, cid...)
	}
	h = append(h, 0x67)
	h = append(h, "version"...)
	return append(h, 0x01)
}

// CARSection returns the parts, joined, behind their length.
func CARSection(parts ...[]byte) []byte {
	payload := slices.Concat(parts...)
	return append(binary.AppendUvarint(nil, uint64(len(payload))), payload...)
}

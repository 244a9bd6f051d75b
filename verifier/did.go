package verifier

// A PublicKey is an agent's Ed25519 public key, in the encoding of RFC 8032, section 5.1.2.
type PublicKey [32]byte

const (
	// didPrefix is "did:key:" and the multibase prefix of base58btc
	// (W3C CCG, The did:key Method).
	didPrefix = "did:key:z"

	// ed25519Codec is multicodec ed25519-pub, 0xed, as a varint.
	ed25519Codec = "\xed\x01"

	base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

	didRawSize = len(ed25519Codec) + len(PublicKey{})

	// didDigits is how many base58 digits 34 bytes beginning with 0xed have, always.
	didDigits = 47
)

// DID returns the did:key of k, which always begins "did:key:z6Mk".
func (k PublicKey) DID() string {
	// Base conversion by repeated division: digits, least significant first.
	var digits [didDigits]byte
	push := func(c byte) {
		carry := uint32(c)
		for i := range digits {
			carry += uint32(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
	}
	for i := range len(ed25519Codec) {
		push(ed25519Codec[i])
	}
	for _, c := range k {
		push(c)
	}
	out := make([]byte, 0, len(didPrefix)+didDigits)
	out = append(out, didPrefix...)
	for i := len(digits) - 1; i >= 0; i-- {
		out = append(out, base58Alphabet[digits[i]])
	}
	return string(out)
}

// String returns k in lower-case hexadecimal.
func (k PublicKey) String() string { return hexString(k[:]) }

// ParseDID reads a did:key that carries an Ed25519 public key. It says nothing
// about whether the key is usable.
func ParseDID(s string) (PublicKey, error) {
	var k PublicKey
	if len(s) != len(didPrefix)+didDigits || s[:len(didPrefix)] != didPrefix {
		return k, errorString("not an agent's DID: want did:key:z6Mk… with 56 characters in all (an Ed25519 did:key)")
	}
	var raw [didRawSize]byte // big-endian
	for i := len(didPrefix); i < len(s); i++ {
		v := base58Value(s[i])
		if v < 0 {
			return k, errorString("not an agent's DID: it has a character that base58btc has not")
		}
		carry := uint32(v)
		for j := len(raw) - 1; j >= 0; j-- {
			carry += uint32(raw[j]) * 58
			raw[j] = byte(carry)
			carry >>= 8
		}
		if carry != 0 {
			return k, errorString("not an agent's DID: its number is too large for a key")
		}
	}
	if string(raw[:len(ed25519Codec)]) != ed25519Codec {
		return k, errorString("not an agent's DID: it does not carry an Ed25519 public key (did:key:z6Mk…)")
	}
	copy(k[:], raw[len(ed25519Codec):])
	return k, nil
}

func base58Value(c byte) int {
	for i := range len(base58Alphabet) {
		if base58Alphabet[i] == c {
			return i
		}
	}
	return -1
}

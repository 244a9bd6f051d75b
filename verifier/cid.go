package verifier

import "igor.dev/verifier/internal/sha2"

// A Hash is a SHA-256 digest.
type Hash [sha2.Size256]byte

// IsZero reports whether h is all zero, which as a prevHash marks a genesis.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns h in lower-case hexadecimal.
func (h Hash) String() string { return hexString(h[:]) }

// The binary form of a checkpoint's CID: CIDv1 (0x01), codec raw (0x55),
// multihash sha2-256 (0x12) of 32 bytes (0x20), and then the digest.
const (
	cidPrefix = "\x01\x55\x12\x20"
	cidSize   = len(cidPrefix) + sha2.Size256

	// cidTextSize is the length of a CID in text: "b" for base32 lower case
	// without padding, then 58 characters for 36 bytes.
	cidTextSize = 1 + (cidSize*8+4)/5
)

const base32Alphabet = "abcdefghijklmnopqrstuvwxyz234567"

// CID returns the content address of the bytes that h is the digest of:
// CIDv1, codec raw, sha2-256, in base32 lower case ("bafkrei…").
func (h Hash) CID() string {
	out := make([]byte, 0, cidTextSize)
	out = append(out, 'b')
	var acc uint32
	var bits uint
	emit := func(c byte) {
		acc = acc<<8 | uint32(c)
		for bits += 8; bits >= 5; bits -= 5 {
			out = append(out, base32Alphabet[acc>>(bits-5)&31])
		}
	}
	for i := range len(cidPrefix) {
		emit(cidPrefix[i])
	}
	for _, c := range h {
		emit(c)
	}
	if bits > 0 {
		out = append(out, base32Alphabet[acc<<(5-bits)&31])
	}
	return string(out)
}

// ParseCID reads the text form that [Hash.CID] writes, and no other: one
// checkpoint has one name.
func ParseCID(s string) (Hash, error) {
	var h Hash
	if len(s) != cidTextSize || s[0] != 'b' {
		return h, errorString("not a checkpoint CID: want 59 characters that begin with bafkrei (CIDv1, raw, sha2-256, base32 lower case)")
	}
	var raw [cidSize]byte
	n := 0
	var acc uint32
	var bits uint
	for i := 1; i < len(s); i++ {
		v, ok := base32Value(s[i])
		if !ok {
			return h, errorString("not a checkpoint CID: it has a character that base32 lower case has not")
		}
		acc = acc<<5 | v
		if bits += 5; bits >= 8 {
			bits -= 8
			raw[n] = byte(acc >> bits)
			n++
		}
	}
	if acc&(1<<bits-1) != 0 {
		return h, errorString("not a checkpoint CID: its last character carries bits beyond the digest")
	}
	if string(raw[:len(cidPrefix)]) != cidPrefix {
		return h, errorString("not a checkpoint CID: a checkpoint's is CIDv1, codec raw, sha2-256 (bafkrei…)")
	}
	copy(h[:], raw[len(cidPrefix):])
	return h, nil
}

func base32Value(c byte) (uint32, bool) {
	switch {
	case 'a' <= c && c <= 'z':
		return uint32(c - 'a'), true
	case '2' <= c && c <= '7':
		return uint32(c-'2') + 26, true
	}
	return 0, false
}

func hexString(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// An errorString is a constant error.
type errorString string

func (e errorString) Error() string { return string(e) }

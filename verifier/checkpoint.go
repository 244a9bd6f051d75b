package verifier

import (
	"strconv"
)

// The wire layout of a checkpoint. All integers are little-endian.
// See docs/spec/checkpoint.md, which this block mirrors field by field.
const (
	offVersion         = 0
	offBudget          = 1
	offPricePerSecond  = 9
	offTickNumber      = 17
	offWASMHash        = 25
	offMajorVersion    = 57
	offLeaseGeneration = 65
	offLeaseExpiry     = 73
	offPrevHash        = 81
	offAgentPubKey     = 113
	offSignature       = 145

	headerSizeV2 = offMajorVersion
	headerSizeV3 = offPrevHash
)

const (
	// HeaderSize is the size in bytes of a v0x04 header; the state follows it.
	HeaderSize = 209

	// MaxCheckpointSize is the largest checkpoint, in bytes, that any reader
	// accepts, in a file of its own or as a block of a CAR.
	MaxCheckpointSize = 64 << 20
)

// The checkpoint versions that can be parsed. Only Version4 carries lineage.
const (
	Version2 = 0x02
	Version3 = 0x03
	Version4 = 0x04
)

// A Checkpoint is the content of one checkpoint, as it claims to be. Parsing
// proves nothing about it: see [Examine] for its signature and [Link] for its
// place in a history.
//
// Fields that a version does not have are zero.
type Checkpoint struct {
	Version         byte
	Budget          int64  // microcents
	PricePerSecond  int64  // microcents per second
	TickNumber      uint64 //
	WASMHash        Hash   // SHA-256 of the agent's WASM binary
	MajorVersion    uint64 // reserved epoch field
	LeaseGeneration uint64 // reserved epoch field
	LeaseExpiry     int64  // reserved epoch field: Unix nanoseconds, 0 = no lease
	PrevHash        Hash   // SHA-256 of the whole previous checkpoint; zero = genesis
	AgentPubKey     PublicKey
	Signature       [64]byte
	State           []byte
}

// headerSize returns the header size of a version, or 0 for an unknown one.
func headerSize(version byte) int {
	switch version {
	case Version2:
		return headerSizeV2
	case Version3:
		return headerSizeV3
	case Version4:
		return HeaderSize
	}
	return 0
}

// Parse reads a checkpoint of version 0x02, 0x03 or 0x04. The State of the
// result aliases b. A failure is a [*ParseError].
func Parse(b []byte) (Checkpoint, error) {
	c, err := parse(b)
	if err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}

// parse returns a concrete error type, so that examining needs no type switch.
func parse(b []byte) (c Checkpoint, _ *ParseError) {
	if len(b) == 0 {
		return c, &ParseError{Code: Empty}
	}
	size := headerSize(b[offVersion])
	if size == 0 {
		return c, &ParseError{Code: UnsupportedVersion, Version: b[offVersion], Size: len(b)}
	}
	if len(b) < size {
		return c, &ParseError{Code: Truncated, Version: b[offVersion], Size: len(b), Need: size}
	}
	c.Version = b[offVersion]
	c.Budget = int64(le64(b[offBudget:]))
	c.PricePerSecond = int64(le64(b[offPricePerSecond:]))
	c.TickNumber = le64(b[offTickNumber:])
	copy(c.WASMHash[:], b[offWASMHash:])
	if c.Version >= Version3 {
		c.MajorVersion = le64(b[offMajorVersion:])
		c.LeaseGeneration = le64(b[offLeaseGeneration:])
		c.LeaseExpiry = int64(le64(b[offLeaseExpiry:]))
	}
	if c.Version >= Version4 {
		copy(c.PrevHash[:], b[offPrevHash:])
		copy(c.AgentPubKey[:], b[offAgentPubKey:])
		copy(c.Signature[:], b[offSignature:])
	}
	c.State = b[size:]
	return c, nil
}

// Append appends the wire form of c to dst. What [Parse] accepted, Append
// gives back byte for byte. An unknown version is written as Version4's layout
// would be, and Parse refuses it.
func (c *Checkpoint) Append(dst []byte) []byte {
	dst = c.appendSignedHeader(dst)
	if c.Version >= Version4 {
		dst = append(dst, c.Signature[:]...)
	}
	return append(dst, c.State...)
}

// AppendMessage appends the bytes that the agent's key signs: the whole
// checkpoint but for the signature itself (docs/spec/checkpoint.md, "Signing domain").
func (c *Checkpoint) AppendMessage(dst []byte) []byte {
	return append(c.appendSignedHeader(dst), c.State...)
}

func (c *Checkpoint) appendSignedHeader(dst []byte) []byte {
	dst = append(dst, c.Version)
	dst = appendLE64(dst, uint64(c.Budget))
	dst = appendLE64(dst, uint64(c.PricePerSecond))
	dst = appendLE64(dst, c.TickNumber)
	dst = append(dst, c.WASMHash[:]...)
	if c.Version >= Version3 {
		dst = appendLE64(dst, c.MajorVersion)
		dst = appendLE64(dst, c.LeaseGeneration)
		dst = appendLE64(dst, uint64(c.LeaseExpiry))
	}
	if c.Version >= Version4 {
		dst = append(dst, c.PrevHash[:]...)
		dst = append(dst, c.AgentPubKey[:]...)
	}
	return dst
}

// A ParseError says why bytes are not a checkpoint.
type ParseError struct {
	Code    Code // Empty, Truncated or UnsupportedVersion
	Version byte
	Size    int // bytes given
	Need    int // bytes that the version's header has, for Truncated
}

func (e *ParseError) Error() string {
	switch e.Code {
	case Empty:
		return "checkpoint is empty"
	case Truncated:
		return "checkpoint is truncated: " + strconv.Itoa(e.Size) + " bytes, but a version " +
			versionString(e.Version) + " header has " + strconv.Itoa(e.Need)
	}
	return "unsupported checkpoint version " + versionString(e.Version)
}

// A Field is one row of a checkpoint's offset table.
type Field struct {
	Name   string
	Offset int
	Size   int
	Type   string // "uint8", "int64", "uint64", "bytes"
	Note   string // unit or meaning, for people
}

var fields = []Field{
	{"version", offVersion, 1, "uint8", "format version"},
	{"budget", offBudget, 8, "int64", "microcents"},
	{"pricePerSecond", offPricePerSecond, 8, "int64", "microcents per second"},
	{"tickNumber", offTickNumber, 8, "uint64", "ticks lived"},
	{"wasmHash", offWASMHash, 32, "bytes", "SHA-256 of the agent's WASM binary"},
	{"majorVersion", offMajorVersion, 8, "uint64", "reserved epoch field"},
	{"leaseGeneration", offLeaseGeneration, 8, "uint64", "reserved epoch field"},
	{"leaseExpiry", offLeaseExpiry, 8, "int64", "reserved epoch field: Unix nanoseconds, 0 = no lease"},
	{"prevHash", offPrevHash, 32, "bytes", "SHA-256 of the previous checkpoint, zero = genesis"},
	{"agentPubKey", offAgentPubKey, 32, "bytes", "Ed25519 public key"},
	{"signature", offSignature, 64, "bytes", "Ed25519, over all bytes but itself"},
}

// Fields returns the offset table of b's version, the state as its last row,
// and nothing when b does not parse.
func Fields(b []byte) []Field {
	if _, err := parse(b); err != nil {
		return nil
	}
	size := headerSize(b[offVersion])
	table := make([]Field, 0, len(fields)+1)
	for _, f := range fields {
		if f.Offset < size {
			table = append(table, f)
		}
	}
	return append(table, Field{"state", size, len(b) - size, "bytes", "opaque to everyone but the agent"})
}

// FormatMicrocents writes an amount of microcents in currency units, such as
// "1.000000" for 1,000,000.
func FormatMicrocents(v int64) string {
	const unit = 1_000_000
	sign, u := "", uint64(v)
	if v < 0 {
		sign = "-"
		u = -u // also right for math.MinInt64, whose magnitude int64 cannot hold
	}
	frac := strconv.FormatUint(unit+u%unit, 10)[1:]
	return sign + strconv.FormatUint(u/unit, 10) + "." + frac
}

func versionString(v byte) string {
	const hex = "0123456789abcdef"
	return "0x" + string([]byte{hex[v>>4], hex[v&15]})
}

// encoding/binary would pull package reflect into the browser's WASM.

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func appendLE64(dst []byte, v uint64) []byte {
	return append(dst, byte(v), byte(v>>8), byte(v>>16), byte(v>>24),
		byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

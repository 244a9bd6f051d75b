package verifier

import (
	"slices"

	"igor.dev/verifier/internal/sha2"
	"igor.dev/verifier/internal/signature"
)

// A Finding is all that linking has to know of one checkpoint: small, of fixed
// size, and made from that checkpoint's bytes alone. Its header fields are what
// the checkpoint claims; they are believed only if it is [Finding.Authentic].
type Finding struct {
	ContentHash     Hash // SHA-256 of all its bytes
	PrevHash        Hash
	AgentPubKey     PublicKey
	WASMHash        Hash
	Budget          int64
	PricePerSecond  int64
	TickNumber      uint64
	MajorVersion    uint64
	LeaseGeneration uint64
	LeaseExpiry     int64
	Size            uint32 // bytes
	Version         byte   // byte 0, also where the rest could not be parsed
	Kind            Kind   // what the bytes look like
	problems        codeSet
}

// A codeSet is a set of examination problems, one bit a code.
type codeSet uint16

func (s codeSet) has(c Code) bool { return s&(1<<c) != 0 }

const (
	unparsable     codeSet = 1<<Empty | 1<<UnsupportedVersion | 1<<Truncated
	wrongSignature codeSet = 1<<WeakKey | 1<<BadSignature
	examination    codeSet = 1<<(NegativePrice+1) - 1
)

// parsed reports whether the header could be read.
func (s codeSet) parsed() bool { return s&unparsable == 0 }

// Has reports whether examining found the problem c.
func (f *Finding) Has(c Code) bool { return f.problems.has(c) }

// Parsed reports whether the checkpoint has a readable header.
func (f *Finding) Parsed() bool { return f.problems.parsed() }

// Authentic reports whether the checkpoint is of version 0x04 and its key,
// which is not weak, signed it.
func (f *Finding) Authentic() bool {
	return f.Parsed() && f.Version == Version4 && f.problems&wrongSignature == 0
}

// Examine looks at one checkpoint's bytes, which may be anything.
// See docs/spec/lineage.md, "Examine". It does not keep b.
func Examine(b []byte) Finding {
	var x Examiner
	return x.Examine(b)
}

// An Examiner examines checkpoints, faster when it is given many of the same key
// together. The zero value is ready, for one history: call Reset before another. It is not
// safe for concurrent use: give each goroutine its own.
type Examiner struct {
	signatures signature.Checker
	checks     []signature.Check
	decisions  []signature.Decision
	of         []int // the findings that checks are of
}

// Examine does what the function [Examine] does.
func (x *Examiner) Examine(b []byte) Finding {
	return x.AppendFindings(nil, b)[0]
}

// Reset prepares x for another history.
func (x *Examiner) Reset() { x.signatures.Reset() }

// AppendFindings examines checkpoints and appends what it finds of each.
func (x *Examiner) AppendFindings(dst []Finding, checkpoints ...[]byte) []Finding {
	dst = slices.Grow(dst, len(checkpoints))
	for _, b := range checkpoints {
		dst = append(dst, examineHeader(b))
		if f := &dst[len(dst)-1]; f.Parsed() && f.Version == Version4 {
			x.of = append(x.of, len(dst)-1)
			x.checks = append(x.checks, signature.Check{
				Key:       (*[32]byte)(b[offAgentPubKey:]),
				Signature: (*[64]byte)(b[offSignature:]),
				Message:   b[:offSignature],
				Rest:      b[HeaderSize:],
			})
		}
	}
	x.decisions = slices.Grow(x.decisions[:0], len(x.checks))[:len(x.checks)]
	x.signatures.Check(x.decisions, x.checks)
	for i, decision := range x.decisions {
		switch f := &dst[x.of[i]]; decision {
		case signature.WeakKey:
			f.problems |= 1 << WeakKey
		case signature.Bad:
			f.problems |= 1 << BadSignature
		}
	}
	clear(x.checks) // they hold on to the checkpoints
	x.checks, x.of = x.checks[:0], x.of[:0]
	return dst
}

// examineHeader examines all but the signature.
func examineHeader(b []byte) Finding {
	f := Finding{ContentHash: sha2.Sum256(b), Size: uint32(len(b))}
	c, err := parse(b)
	if err != nil {
		f.Version = err.Version
		f.Kind = KindOfBytes(b)
		f.problems = 1 << err.Code
		return f
	}
	f.Kind = KindCheckpoint
	f.PrevHash = c.PrevHash
	f.AgentPubKey = c.AgentPubKey
	f.WASMHash = c.WASMHash
	f.Budget = c.Budget
	f.PricePerSecond = c.PricePerSecond
	f.TickNumber = c.TickNumber
	f.MajorVersion = c.MajorVersion
	f.LeaseGeneration = c.LeaseGeneration
	f.LeaseExpiry = c.LeaseExpiry
	f.Version = c.Version
	if c.Budget < 0 {
		f.problems |= 1 << NegativeBudget
	}
	if c.PricePerSecond < 0 {
		f.problems |= 1 << NegativePrice
	}
	if c.Version != Version4 {
		f.problems |= 1 << UnsignedVersion
	}
	return f
}

// Weak reports whether k is no canonical encoding, or that of a point of small
// order: keys under which anybody can make signatures. It does not tell whether
// k is on the curve at all; no signature verifies if it is not.
// See docs/spec/checkpoint.md, "Accepting a signature", rule 1.
func (k PublicKey) Weak() bool { return signature.Weak((*[32]byte)(&k)) }

// FindingSize is the size in bytes of a packed [Finding].
const FindingSize = 4*32 + 6*8 + 4 + 1 + 2 + 1

// AppendBinary appends f in its packed form: the fields in the order of the
// struct, integers little-endian. It is how findings travel between workers of
// one program and nothing more: no stored or published format has it.
func (f *Finding) AppendBinary(dst []byte) []byte {
	dst = append(dst, f.ContentHash[:]...)
	dst = append(dst, f.PrevHash[:]...)
	dst = append(dst, f.AgentPubKey[:]...)
	dst = append(dst, f.WASMHash[:]...)
	dst = appendLE64(dst, uint64(f.Budget))
	dst = appendLE64(dst, uint64(f.PricePerSecond))
	dst = appendLE64(dst, f.TickNumber)
	dst = appendLE64(dst, f.MajorVersion)
	dst = appendLE64(dst, f.LeaseGeneration)
	dst = appendLE64(dst, uint64(f.LeaseExpiry))
	dst = append(dst, byte(f.Size), byte(f.Size>>8), byte(f.Size>>16), byte(f.Size>>24))
	return append(dst, f.Version, byte(f.problems), byte(f.problems>>8), byte(f.Kind))
}

// ParseFinding reads the packed form that [Finding.AppendBinary] writes.
func ParseFinding(b []byte) (Finding, error) {
	var f Finding
	if len(b) != FindingSize {
		return f, errorString("not a packed finding: wrong size")
	}
	for _, dst := range [][]byte{f.ContentHash[:], f.PrevHash[:], f.AgentPubKey[:], f.WASMHash[:]} {
		b = b[copy(dst, b):]
	}
	f.Budget = int64(le64(b))
	f.PricePerSecond = int64(le64(b[8:]))
	f.TickNumber = le64(b[16:])
	f.MajorVersion = le64(b[24:])
	f.LeaseGeneration = le64(b[32:])
	f.LeaseExpiry = int64(le64(b[40:]))
	b = b[48:]
	f.Size = uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	f.Version = b[4]
	f.problems = codeSet(b[5]) | codeSet(b[6])<<8
	f.Kind = Kind(b[7])
	if f.problems&^examination != 0 || f.problems&1 != 0 || f.Kind >= numKinds {
		return Finding{}, errorString("not a packed finding: unknown problem")
	}
	return f, nil
}

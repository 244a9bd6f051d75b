package eventlog

import (
	"errors"
	"fmt"

	"igor.dev/runtime/internal/account"
	"igor.dev/verifier"
)

// The versions of a segment. Version 1 has wall-clock time, and is read for ever;
// a segment has one version from its beginning to its end.
const (
	Version1 = 1
	Version2 = 2
)

var (
	magics   = [...]string{Version1: "igor/events/v1\x00", Version2: "igor/events/v2\x00"}
	sealTags = [...]string{Version1: "igor/event-segment/v1\x00", Version2: "igor/event-segment/v2\x00"}
)

const magicSize = len("igor/events/v1\x00")

// A Header says between what a segment stands.
type Header struct {
	Version uint8

	Prev     verifier.Hash // the checkpoint before it, zero before the genesis
	WASM     verifier.Hash // the program that runs
	Manifest verifier.Hash // SHA-256 of the manifest's bytes

	// Of version 2. The last two are those of the checkpoint after it.
	First           uint64 // tick of the first record
	Schedule        uint32 // the version of docs/spec/metering.md by which fuel counts
	Rest            uint64 // of a microcent, in 1e-9, that is owed where it begins
	MajorVersion    uint64
	LeaseGeneration uint64
}

const (
	header1Size = 1 + magicSize + 3*32
	header2Size = header1Size + 8 + 4 + 8 + 8 + 8
)

func (h *Header) append(dst []byte) []byte {
	dst = append(dst, byte(header))
	dst = append(dst, magics[h.Version]...)
	dst = append(dst, h.Prev[:]...)
	dst = append(dst, h.WASM[:]...)
	dst = append(dst, h.Manifest[:]...)
	if h.Version == Version1 {
		return dst
	}
	dst = le.AppendUint64(dst, h.First)
	dst = le.AppendUint32(dst, h.Schedule)
	dst = le.AppendUint64(dst, h.Rest)
	dst = le.AppendUint64(dst, h.MajorVersion)
	return le.AppendUint64(dst, h.LeaseGeneration)
}

func parseHeader(b []byte) (h Header, err error) {
	begins := func(magic string) bool {
		return len(b) >= 1+magicSize && Kind(b[0]) == header && string(b[1:1+magicSize]) == magic
	}
	switch {
	case len(b) == header1Size && begins(magics[Version1]):
		h.Version = Version1
	case len(b) == header2Size && begins(magics[Version2]):
		h.Version = Version2
	default:
		return h, errors.New("it does not begin with the header of an event segment, version 1 or 2")
	}
	d := decoder{b: b[1+magicSize:]}
	h.Prev, h.WASM, h.Manifest = d.hash(), d.hash(), d.hash()
	if h.Version == Version1 {
		return h, nil
	}
	h.First, h.Schedule, h.Rest, h.MajorVersion, h.LeaseGeneration = d.u64(), d.u32(), d.u64(), d.u64(), d.u64()
	return h, h.check()
}

// check refuses what no writer writes.
func (h *Header) check() error {
	switch {
	case h.Version != Version1 && h.Version != Version2:
		return fmt.Errorf("a header of the unknown version %d", h.Version)
	case h.Version == Version1:
		if h.First != 0 || h.Schedule != 0 || h.Rest != 0 || h.MajorVersion != 0 || h.LeaseGeneration != 0 {
			return errors.New("a header of version 1 with fields of version 2")
		}
	case h.Schedule == 0:
		return errors.New("a header without a schedule")
	case h.Rest >= account.Microcent:
		return errors.New("a rest of a microcent or more")
	case h.Prev.IsZero() && h.Rest != 0:
		return errors.New("a life that begins with a debt")
	}
	return nil
}

// follows reports whether what was recorded under h can be gone on with where want
// is meant to begin: what only says how it is counted may be another.
func (h *Header) follows(want *Header) bool {
	return h.Prev == want.Prev && h.WASM == want.WASM && h.Manifest == want.Manifest && (h.Version == Version1 || h.First == want.First)
}

// A Seal is the end of a segment.
type Seal struct {
	Root verifier.Hash // SHA-256 of all bytes before
	Next verifier.Hash // the checkpoint after it

	// Metered is what it took to make that checkpoint: agent_checkpoint, and what is
	// stored for it. Of version 2.
	Metered

	Signature [64]byte // by the agent's key
}

const (
	seal1Size = 1 + 32 + 32 + 64
	seal2Size = seal1Size + 3*8
	seal3Size = seal2Size + 2*8 // of version 2, where bytes have a price
)

func (s *Seal) append(dst []byte, version uint8) []byte {
	kind := footer
	if s.StoredPrice > 0 {
		kind = footerStored
	}
	dst = append(dst, byte(kind))
	dst = append(dst, s.Root[:]...)
	dst = append(dst, s.Next[:]...)
	if version != Version1 {
		dst = s.appendMetered(dst)
	}
	return append(dst, s.Signature[:]...)
}

func (s *Seal) appendMetered(dst []byte) []byte {
	dst = le.AppendUint64(dst, s.Fuel)
	if s.StoredPrice > 0 {
		dst = le.AppendUint64(dst, s.Stored)
		dst = le.AppendUint64(dst, uint64(s.StoredPrice))
	}
	dst = le.AppendUint64(dst, s.Rest)
	return le.AppendUint64(dst, uint64(s.Cost))
}

func parseSeal(b []byte, version uint8) (s Seal, err error) {
	stored := len(b) > 0 && Kind(b[0]) == footerStored
	size := seal1Size
	switch {
	case version == Version1 && stored:
		return s, errOldKind
	case stored:
		size = seal3Size
	case version != Version1:
		size = seal2Size
	}
	if len(b) != size {
		return s, errors.New("a footer of another length")
	}
	d := decoder{b: b[1:]}
	s.Root, s.Next = d.hash(), d.hash()
	if version != Version1 {
		s.Fuel = d.u64()
		if stored {
			s.Stored, s.StoredPrice = d.u64(), int64(d.u64())
		}
		s.Rest, s.Cost = d.u64(), int64(d.u64())
	}
	copy(s.Signature[:], d.take(64))
	switch {
	case s.Fuel > MaxUnits || s.Rest >= account.Microcent || s.Cost < 0:
		return s, errors.New("a footer with an impossible cost")
	case stored && (s.Stored > MaxUnits || s.StoredPrice <= 0):
		return s, errors.New("a footer with an impossible price of what is stored")
	case s.Waited != 0:
		return s, errors.New("a footer that waited")
	}
	return s, nil
}

// message returns the bytes that the agent's key signs.
func (s *Seal) message(h *Header) []byte {
	b := make([]byte, 0, 256)
	b = append(b, sealTags[h.Version]...)
	b = append(b, h.Prev[:]...)
	b = append(b, s.Next[:]...)
	b = append(b, s.Root[:]...)
	if h.Version != Version1 {
		b = s.appendMetered(b)
	}
	return b
}

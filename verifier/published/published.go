// Package published is the layout in which lives lie on a web server, a disk or an object
// store, so that anybody who has an agent's DID finds all of it: docs/spec/publishing.md.
//
//	igor/did:key:z6Mk…/head               text: where the life stands, and in how many pieces it is here
//	igor/did:key:z6Mk…/segments/0.car     the first checkpoints; each segment goes on where the one before ends
//	igor/did:key:z6Mk…/tail/bafkrei….car  what follows the last segment, up to the head
//	igor/did:key:z6Mk…/index              the content hash of every checkpoint, genesis first
//	igor/did:key:z6Mk…/head.tlog-proof    that the head was logged and witnessed (package witness)
//	igor/did:key:z6Mk…/handovers          who gave the agent to whom; these and others are [verifier.Role]
//	ipfs/bafkrei…                         one checkpoint
//
// All of it is what a server says. Nothing of it is evidence: the checkpoints that are found
// with it are, once they are verified.
package published

import (
	"errors"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

// Limits. A reader refuses what is over them.
const (
	MaxHead     = 512       // bytes of a head
	MaxSegments = 1 << 20   // in a life
	MaxSegment  = 128 << 20 // bytes of a segment or a tail
)

// HashSize is the size of an entry of an index.
const HashSize = len(verifier.Hash{})

// The media types of what lies there.
const (
	TypeHead  = "text/plain; charset=utf-8"
	TypeCAR   = "application/vnd.ipld.car; version=1"
	TypeRaw   = "application/vnd.ipld.raw"
	TypeIndex = "application/octet-stream"
)

// Folder returns the key below which a life lies, without a slash at its end.
func Folder(agent verifier.PublicKey) string { return "igor/" + agent.DID() }

// HeadKey returns the key of a life's head.
func HeadKey(agent verifier.PublicKey) string { return Folder(agent) + "/head" }

// IndexKey returns the key of a life's index.
func IndexKey(agent verifier.PublicKey) string { return Folder(agent) + "/index" }

// ProofKey returns the key of the proof that a life's head was logged.
func ProofKey(agent verifier.PublicKey) string { return Folder(agent) + "/head.tlog-proof" }

// SegmentKey returns the key of a life's segment n, from 0.
func SegmentKey(agent verifier.PublicKey, n uint64) string {
	return Folder(agent) + "/segments/" + strconv.FormatUint(n, 10) + ".car"
}

// TailKey returns the key of what follows the last segment, up to head.
func TailKey(agent verifier.PublicKey, head verifier.Hash) string {
	return Folder(agent) + "/tail/" + head.CID() + ".car"
}

// BlockKey returns the key of one checkpoint.
func BlockKey(h verifier.Hash) string { return "ipfs/" + h.CID() }

const headFormat = "igor/head/v1"

// A Head says where a life stands, and in how many pieces it is there. It is not signed: it is
// a hint for finding checkpoints, which are.
type Head struct {
	Agent       verifier.PublicKey
	Checkpoint  verifier.Hash // the newest one
	Tick        uint64        // its tick
	Program     verifier.Hash // its program
	Checkpoints uint64        // how many there are up to it
	Segments    uint64        // how many segments have them
	Tail        uint64        // how many of them are in the tail; 0: there is none
}

// Append appends the head's text.
func (h *Head) Append(dst []byte) []byte {
	for _, line := range [...][2]string{
		{headFormat, ""},
		{"agent ", h.Agent.DID()},
		{"head ", h.Checkpoint.CID()},
		{"tick ", strconv.FormatUint(h.Tick, 10)},
		{"program ", h.Program.String()},
		{"checkpoints ", strconv.FormatUint(h.Checkpoints, 10)},
		{"segments ", strconv.FormatUint(h.Segments, 10)},
		{"tail ", strconv.FormatUint(h.Tail, 10)},
	} {
		dst = append(append(append(dst, line[0]...), line[1]...), '\n')
	}
	return dst
}

// ParseHead reads a head, and no text that [Head.Append] would not write.
func ParseHead(b []byte) (*Head, error) {
	if len(b) > MaxHead {
		return nil, errors.New("not a head: over " + strconv.Itoa(MaxHead) + " bytes")
	}
	format, rest, _ := strings.Cut(string(b), "\n")
	if format != headFormat {
		return nil, errors.New("not a head: it does not begin with " + headFormat)
	}
	h := new(Head)
	err := error(nil)
	line := func(name string) string {
		if err != nil {
			return ""
		}
		text, after, ok := strings.Cut(rest, "\n")
		value, named := strings.CutPrefix(text, name+" ")
		if !ok || !named {
			err = errors.New("not a head: where its line " + name + " should be, it has something else")
		}
		rest = after
		return value
	}
	number := func(name string) uint64 {
		text := line(name)
		if err != nil {
			return 0
		}
		n, parseErr := strconv.ParseUint(text, 10, 64)
		if parseErr != nil || strconv.FormatUint(n, 10) != text {
			err = errors.New("not a head: its line " + name + " has no number")
		}
		return n
	}
	check := func(name string, parseErr error) {
		if err == nil && parseErr != nil {
			err = errors.New("not a head: its line " + name + ": " + parseErr.Error())
		}
	}
	var parseErr error
	h.Agent, parseErr = verifier.ParseDID(line("agent"))
	check("agent", parseErr)
	h.Checkpoint, parseErr = verifier.ParseCID(line("head"))
	check("head", parseErr)
	h.Tick = number("tick")
	h.Program, parseErr = parseHex(line("program"))
	check("program", parseErr)
	h.Checkpoints = number("checkpoints")
	h.Segments = number("segments")
	h.Tail = number("tail")
	switch {
	case err != nil:
		return nil, err
	case rest != "":
		return nil, errors.New("not a head: it goes on after its last line")
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	return h, nil
}

// check refuses numbers that no life has.
func (h *Head) check() error {
	inSegments := h.Checkpoints - h.Tail
	switch {
	case h.Checkpoints == 0 || h.Checkpoints > verifier.MaxCheckpoints:
		return errors.New("not a head: no life has " + strconv.FormatUint(h.Checkpoints, 10) + " checkpoints")
	case h.Segments > MaxSegments:
		return errors.New("not a head: over " + strconv.Itoa(MaxSegments) + " segments")
	case h.Tail > h.Checkpoints, h.Segments > inSegments, h.Segments == 0 && inSegments > 0:
		return errors.New("not a head: so many checkpoints are not in so many segments and a tail")
	}
	return nil
}

func parseHex(s string) (h verifier.Hash, err error) {
	if len(s) != 2*len(h) {
		return h, errors.New("want 64 digits")
	}
	for i := range s {
		d := strings.IndexByte("0123456789abcdef", s[i])
		if d < 0 {
			return h, errors.New("want lower-case hexadecimal")
		}
		h[i/2] = h[i/2]<<4 | byte(d)
	}
	return h, nil
}

// ParseIndex reads an index, or a part of one that begins and ends between two hashes.
func ParseIndex(b []byte) ([]verifier.Hash, error) {
	if len(b)%HashSize != 0 {
		return nil, errors.New("not an index: its size is no multiple of 32")
	}
	hashes := make([]verifier.Hash, len(b)/HashSize)
	for i := range hashes {
		hashes[i] = verifier.Hash(b[i*HashSize:])
	}
	return hashes, nil
}

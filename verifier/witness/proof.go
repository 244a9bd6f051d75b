package witness

import (
	"errors"
	"strings"

	"igor.dev/verifier/internal/sha2"
)

// Limits of what is read.
const (
	MaxProof      = 256 << 10 // bytes
	MaxSignatures = 64        // lines; a policy has no more witnesses

	maxHashes = 63 // of a tree with 2^63 entries
)

const proofTag = "c2sp.org/tlog-proof@v1\n"

// A Proof is an offline proof that an entry is in a log (c2sp.org/tlog-proof).
type Proof struct {
	Index  uint64
	Size   uint64 // of the log, when its checkpoint was made
	Origin string // the log's name
	Extra  []byte // what its maker put beside it; for a head, the statement

	hashes [][32]byte
	root   [32]byte
	note   *note
}

// ParseProof reads a proof. What it says is unverified: see [Policy.Check].
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, errors.New("longer than a proof is")
	}
	s, ok := strings.CutPrefix(string(b), proofTag)
	if !ok {
		return nil, errors.New("not a proof by c2sp.org/tlog-proof, version 1")
	}
	head, checkpoint, ok := strings.Cut(s, "\n\n")
	if !ok {
		return nil, errors.New("a proof that is cut short")
	}
	lines := strings.Split(head, "\n")
	p := new(Proof)
	if extra, ok := strings.CutPrefix(lines[0], "extra "); ok {
		var err error
		if p.Extra, err = strict.DecodeString(extra); err != nil {
			return nil, errors.New("a proof whose extra data is not base64")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines) > 1+maxHashes {
		return nil, errors.New("a proof without an index, or with too many hashes")
	}
	index, ok := strings.CutPrefix(lines[0], "index ")
	if !ok {
		return nil, errors.New("a proof without an index")
	}
	var err error
	if p.Index, err = decimal(index); err != nil {
		return nil, errors.New("a proof whose index is no number")
	}
	for _, line := range lines[1:] {
		hash, err := strict.DecodeString(line)
		if err != nil || len(hash) != 32 {
			return nil, errors.New("a proof with something else than hashes")
		}
		p.hashes = append(p.hashes, [32]byte(hash))
	}
	if p.note, err = parseNote(checkpoint); err != nil {
		return nil, err
	}
	t, err := parseTree(p.note.text)
	if err != nil {
		return nil, err
	}
	p.Origin, p.Size, p.root = t.origin, t.size, t.root
	return p, nil
}

// WithExtra returns a proof, which need not be one, with this beside it.
func WithExtra(proof, extra []byte) []byte {
	rest := strings.TrimPrefix(string(proof), proofTag)
	if strings.HasPrefix(rest, "extra ") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	return []byte(proofTag + "extra " + strict.EncodeToString(extra) + "\n" + rest)
}

// includes reports whether an entry is in the tree at the proof's index (RFC 9162,
// section 2.1.3.2).
func (p *Proof) includes(entry []byte) bool {
	if p.Index >= p.Size {
		return false
	}
	hash := sha2.Sum256(append([]byte{0}, entry...))
	fn, sn := p.Index, p.Size-1
	for _, h := range p.hashes {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			hash = node(h, hash)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			hash = node(hash, h)
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && hash == p.root
}

func node(left, right [32]byte) [32]byte {
	b := make([]byte, 0, 65)
	b = append(b, 1)
	b = append(b, left[:]...)
	return sha2.Sum256(append(b, right[:]...))
}

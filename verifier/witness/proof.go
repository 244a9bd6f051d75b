package witness

import (
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
	Index uint64
	Extra []byte // what its maker put beside it; for a head, the statement

	hashes [][32]byte
	tree   // of the log, when its checkpoint was made
	note   *note
}

// ParseProof reads a proof. What it says is unverified: see [Policy.Check].
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, problem("longer than a proof is")
	}
	s, ok := strings.CutPrefix(string(b), proofTag)
	if !ok {
		return nil, problem("not a proof by c2sp.org/tlog-proof, version 1")
	}
	head, checkpoint, ok := strings.Cut(s, "\n\n")
	if !ok {
		return nil, problem("a proof that is cut short")
	}
	p := new(Proof)
	line, head, more := strings.Cut(head, "\n")
	if extra, ok := strings.CutPrefix(line, "extra "); ok {
		if p.Extra, ok = decode(extra); !ok {
			return nil, problem("a proof whose extra data is not base64")
		}
		line, head, more = strings.Cut(head, "\n")
	}
	if line, ok = strings.CutPrefix(line, "index "); !ok {
		return nil, problem("a proof without an index")
	}
	if p.Index, ok = number(line, maxSize); !ok {
		return nil, problem("a proof whose index is no number")
	}
	for more {
		line, head, more = strings.Cut(head, "\n")
		var hash [32]byte
		if !decodeHash(&hash, line) || len(p.hashes) == maxHashes {
			return nil, problem("a proof with something else than hashes, or too many")
		}
		p.hashes = append(p.hashes, hash)
	}
	var err error
	if p.note, err = parseNote(checkpoint); err != nil {
		return nil, err
	}
	if why := p.tree.parse(p.note.text); why != "" {
		return nil, problem(why)
	}
	return p, nil
}

// WithExtra returns a proof, which need not be one, with this beside it.
func WithExtra(proof, extra []byte) []byte {
	rest := strings.TrimPrefix(string(proof), proofTag)
	if strings.HasPrefix(rest, "extra ") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	return []byte(proofTag + "extra " + encode(extra) + "\n" + rest)
}

// includes reports whether an entry is in the tree at the proof's index (RFC 9162,
// section 2.1.3.2).
func (p *Proof) includes(entry []byte) bool {
	if p.Index >= p.size {
		return false
	}
	hash := sha2.Sum256(append([]byte{0}, entry...))
	fn, sn := p.Index, p.size-1
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

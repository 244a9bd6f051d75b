package witness

import (
	"igor.dev/verifier"
	"igor.dev/verifier/internal/le"
	"igor.dev/verifier/internal/rfc8032"
	"igor.dev/verifier/internal/sha2"
)

const (
	commitmentTag = "igor/commitment/v1\x00"
	successionTag = "igor/succession/v1\x00"
)

// Sizes of a commitment and of a succession.
const (
	CommitmentSize = len(commitmentTag) + 32 + 32 + 64
	SuccessionSize = len(successionTag) + 32 + 32 + 32 + 8 + 32 + 2*64
)

// A Commitment is what an agent says beforehand of its successor: the hash of its key. It
// counts from when witnesses saw it, and of several the earliest.
type Commitment struct {
	Agent     verifier.PublicKey
	Successor verifier.Hash // SHA-256 of the successor's key
	Signature [64]byte      // by the agent's key
}

// CommitTo returns what a commitment says of a successor's key.
func CommitTo(successor verifier.PublicKey) verifier.Hash { return sha2.Sum256(successor[:]) }

// AppendMessage appends the bytes that the agent signs.
func (c *Commitment) AppendMessage(dst []byte) []byte {
	dst = append(append(dst, commitmentTag...), c.Agent[:]...)
	return append(dst, c.Successor[:]...)
}

// Append appends the commitment, which is also a log's entry.
func (c *Commitment) Append(dst []byte) []byte {
	return append(c.AppendMessage(dst), c.Signature[:]...)
}

// Authentic reports whether the agent, whose key is not weak, signed it.
func (c *Commitment) Authentic() bool { return signedBy(c.Agent, &c.Signature, c.AppendMessage(nil)) }

// ParseCommitment reads a commitment. What it says is unverified: see [Commitment.Authentic].
func ParseCommitment(b []byte) (*Commitment, error) {
	if len(b) != CommitmentSize || string(b[:len(commitmentTag)]) != commitmentTag {
		return nil, problem("not a commitment of version 1")
	}
	c := new(Commitment)
	b = b[len(commitmentTag):]
	b = b[copy(c.Agent[:], b):]
	b = b[copy(c.Successor[:], b):]
	copy(c.Signature[:], b)
	return c, nil
}

// A Succession says that one agent goes on where another one stopped. Both keys sign it.
type Succession struct {
	Old, New verifier.PublicKey
	Head     verifier.Hash // the last checkpoint of the old life
	Tick     uint64        // of that
	Genesis  verifier.Hash // the first of the new one

	OldSignature, NewSignature [64]byte
}

// AppendMessage appends the bytes that both sign.
func (s *Succession) AppendMessage(dst []byte) []byte {
	dst = append(append(dst, successionTag...), s.Old[:]...)
	dst = append(append(dst, s.New[:]...), s.Head[:]...)
	dst = le.AppendUint64(dst, s.Tick)
	return append(dst, s.Genesis[:]...)
}

// Append appends the statement.
func (s *Succession) Append(dst []byte) []byte {
	return append(append(s.AppendMessage(dst), s.OldSignature[:]...), s.NewSignature[:]...)
}

// Authentic reports whether both keys, which differ and are not weak, signed it.
func (s *Succession) Authentic() bool {
	m := s.AppendMessage(nil)
	return s.Old != s.New && signedBy(s.Old, &s.OldSignature, m) && signedBy(s.New, &s.NewSignature, m)
}

// ParseSuccession reads a succession. What it says is unverified: see [Succession.Authentic].
func ParseSuccession(b []byte) (*Succession, error) {
	if len(b) != SuccessionSize || string(b[:len(successionTag)]) != successionTag {
		return nil, problem("not a succession of version 1")
	}
	s := new(Succession)
	b = b[len(successionTag):]
	b = b[copy(s.Old[:], b):]
	b = b[copy(s.New[:], b):]
	b = b[copy(s.Head[:], b):]
	s.Tick = le.Uint64(b)
	b = b[8:]
	b = b[copy(s.Genesis[:], b):]
	b = b[copy(s.OldSignature[:], b):]
	copy(s.NewSignature[:], b)
	return s, nil
}

func signedBy(key verifier.PublicKey, signature *[64]byte, message []byte) bool {
	var v rfc8032.Verifier
	return !key.Weak() && v.Verify((*[32]byte)(&key), signature, message, nil)
}

// A Successor is what lies beside a history about whom its key succeeds.
type Successor struct {
	Statement  []byte
	Commitment []byte           // a tlog-proof with a commitment as its extra data; nil = there is none
	Policy     *Policy          // whom to believe about that; nil = it is not looked at
	Old        *verifier.Report // on the life that is succeeded, nil = it was not given
}

// Report has the report say what it is worth. It never changes a verdict.
func (b *Successor) Report(r *verifier.Report) { r.SetSucceeds(b.succeeds(r)) }

func (b *Successor) succeeds(r *verifier.Report) *verifier.Succession {
	no := func(why string) *verifier.Succession { return &verifier.Succession{Problem: why} }
	s, err := ParseSuccession(b.Statement)
	if err != nil {
		return no(err.Error())
	}
	key, ok := r.Key()
	genesis, hasGenesis := r.Genesis()
	switch {
	case !ok || key != s.New:
		return no("the succession names another successor: " + s.New.DID())
	case !s.Authentic():
		return no("the succession is not signed by both keys")
	case hasGenesis && genesis != s.Genesis:
		return no("the succession is to a life with another genesis: " + s.Genesis.CID())
	}
	out := &verifier.Succession{Of: s.Old, Head: s.Head, Tick: s.Tick}
	if b.Old != nil {
		if old, ok := b.Old.Key(); !ok || old != s.Old {
			return no("the life that was given as the old one is by another key")
		}
		if out.Life = b.Old.Verdict(); out.Life == verifier.Verified {
			if head, ok := b.Old.Head(); !ok || head != s.Head {
				return no("the old life does not end at the head that the succession names")
			}
		}
	}
	if b.Commitment != nil && b.Policy != nil {
		proof, err := ParseProof(b.Commitment)
		if err != nil {
			return no("the commitment: " + err.Error())
		}
		c, err := ParseCommitment(proof.Extra)
		switch {
		case err != nil:
			return no("the proof of the commitment has no commitment with it")
		case !c.Authentic() || c.Agent != s.Old:
			return no("the commitment is not signed by the old key")
		case c.Successor != CommitTo(s.New):
			return no("the old key had committed to another successor")
		}
		got, err := b.Policy.Check(proof.Extra, proof)
		if err != nil {
			return no("the commitment: " + err.Error())
		}
		out.Before, out.Log = got.Before, got.Log
	}
	return out
}

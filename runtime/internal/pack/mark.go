package pack

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"igor.dev/verifier"
)

const (
	markTag = "igor/packed/v1\x00"

	entrySize = 8 + 8 + 8 + 32 + 8 + 32 + 8 + 32 + 8 + 8 + 8 + 1
	// MaxMark is how long a mark may be.
	MaxMark = 16 << 20
)

// MarkSize is how long a mark is without its index.
const MarkSize = len(markTag) + 3*32 + 2*8 + 32 + 64

// A Mark says how far a life is packed: its agent signs that the files of the index have
// the beginning of its history, up to a checkpoint. It is for whoever goes on with the
// life, so as not to read all of it again, and never for whoever verifies it.
type Mark struct {
	Agent       verifier.PublicKey
	Genesis     verifier.Hash
	Head        verifier.Hash // the newest checkpoint that is packed
	Tick        uint64        // its
	Checkpoints uint64        // up to it, from the genesis or where a restored history begins
	Signature   [64]byte

	Index Index
}

// An Index says what is packed, in which files.
type Index struct {
	Files []Files // in order

	// Payments are where in the file of receipts there are those of payments, up to
	// where the last of Files says.
	Payments []uint64
}

// Files are a segment of the history and the pack beside it.
type Files struct {
	First, Last uint64 // ticks of its checkpoints
	Checkpoints uint64
	Head        verifier.Hash // of the last

	CAR, Pack         uint64 // sizes
	CARHash, PackHash verifier.Hash

	Lines      uint64 // that the agent logged
	Receipts   uint64 // where in the file of receipts those of later checkpoints begin
	Executions uint64 // receipts of time before that

	// Pruned says that the segment was removed, since it is archived, and PackPruned that
	// the pack was too.
	Pruned, PackPruned bool
}

func (x *Index) append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(x.Files)))
	for _, f := range x.Files {
		for _, n := range []uint64{f.First, f.Last, f.Checkpoints} {
			dst = le.AppendUint64(dst, n)
		}
		dst = append(dst, f.Head[:]...)
		dst = append(le.AppendUint64(dst, f.CAR), f.CARHash[:]...)
		dst = append(le.AppendUint64(dst, f.Pack), f.PackHash[:]...)
		for _, n := range []uint64{f.Lines, f.Receipts, f.Executions} {
			dst = le.AppendUint64(dst, n)
		}
		pruned := byte(0)
		if f.Pruned {
			pruned |= 1
		}
		if f.PackPruned {
			pruned |= 2
		}
		dst = append(dst, pruned)
	}
	dst = le.AppendUint32(dst, uint32(len(x.Payments)))
	for _, at := range x.Payments {
		dst = le.AppendUint64(dst, at)
	}
	return dst
}

func parseIndex(b []byte) (x Index, err error) {
	bad := errors.New("its index is malformed")
	take := func(n int) []byte {
		if err != nil || len(b) < n {
			err = bad
			return make([]byte, n)
		}
		head := b[:n]
		b = b[n:]
		return head
	}
	number := func() uint64 { return le.Uint64(take(8)) }
	n := int(le.Uint32(take(4)))
	if n > len(b)/entrySize {
		return x, bad
	}
	for range n {
		var f Files
		f.First, f.Last, f.Checkpoints = number(), number(), number()
		f.Head = verifier.Hash(take(32))
		f.CAR, f.CARHash = number(), verifier.Hash(take(32))
		f.Pack, f.PackHash = number(), verifier.Hash(take(32))
		f.Lines, f.Receipts, f.Executions = number(), number(), number()
		pruned := take(1)[0]
		if f.Pruned, f.PackPruned = pruned&1 != 0, pruned&2 != 0; pruned > 3 {
			err = bad
		}
		if last := len(x.Files) - 1; f.First > f.Last || f.Checkpoints == 0 || last >= 0 && (f.First <= x.Files[last].Last || f.Receipts < x.Files[last].Receipts || f.Pruned && !x.Files[last].Pruned || f.PackPruned && !x.Files[last].PackPruned) {
			err = bad
		}
		x.Files = append(x.Files, f)
	}
	m := int(le.Uint32(take(4)))
	if err != nil || m != len(b)/8 || len(b)%8 != 0 || n == 0 {
		return x, bad
	}
	for range m {
		at := number()
		if last := len(x.Payments) - 1; last >= 0 && at <= x.Payments[last] || at >= x.Files[n-1].Receipts {
			return x, bad
		}
		x.Payments = append(x.Payments, at)
	}
	return x, err
}

// appendMessage appends what the agent signs.
func (m *Mark) appendMessage(dst, index []byte) []byte {
	dst = append(dst, markTag...)
	dst = append(dst, m.Agent[:]...)
	dst = append(dst, m.Genesis[:]...)
	dst = append(dst, m.Head[:]...)
	dst = le.AppendUint64(dst, m.Tick)
	dst = le.AppendUint64(dst, m.Checkpoints)
	sum := sha256.Sum256(index)
	return append(dst, sum[:]...)
}

// Sign signs the mark, and returns it as its file has it.
func (m *Mark) Sign(key crypto.Signer) ([]byte, error) {
	if public, ok := key.Public().(ed25519.PublicKey); !ok || !bytes.Equal(public, m.Agent[:]) {
		return nil, errors.New("a mark is signed by its agent's key")
	}
	index := m.Index.append(nil)
	b := m.appendMessage(nil, index)
	signature, err := key.Sign(nil, b, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	copy(m.Signature[:], signature)
	return append(append(b, m.Signature[:]...), index...), nil
}

// ParseMark reads a mark that the agent signed, and refuses any other.
func ParseMark(b []byte, agent verifier.PublicKey) (*Mark, error) {
	if len(b) < MarkSize || string(b[:len(markTag)]) != markTag {
		return nil, errors.New("not a mark of version 1")
	}
	index := b[MarkSize:]
	m := new(Mark)
	at := b[len(markTag):]
	for _, h := range []*[32]byte{(*[32]byte)(&m.Agent), (*[32]byte)(&m.Genesis), (*[32]byte)(&m.Head)} {
		at = at[copy(h[:], at):]
	}
	m.Tick, m.Checkpoints = le.Uint64(at), le.Uint64(at[8:])
	copy(m.Signature[:], b[MarkSize-64:])
	switch {
	case m.Agent != agent:
		return nil, fmt.Errorf("it is another agent's, %s", m.Agent.DID())
	case string(m.appendMessage(nil, index)) != string(b[:MarkSize-64]):
		return nil, errors.New("its index is another one")
	case !ed25519.Verify(agent[:], b[:MarkSize-64], m.Signature[:]):
		return nil, errors.New("it is not signed by the agent's key")
	}
	var err error
	if m.Index, err = parseIndex(index); err != nil {
		return nil, err
	}
	sum := uint64(0)
	for _, f := range m.Index.Files {
		sum += f.Checkpoints
	}
	last := m.Index.Files[len(m.Index.Files)-1]
	if m.Genesis.IsZero() || m.Head != last.Head || m.Tick != last.Last || m.Checkpoints != sum {
		return nil, errors.New("it is not of its own index")
	}
	return m, nil
}

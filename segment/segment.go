// Package segment writes and reads segments: consecutive checkpoints of one life in one
// CAR, rooted in the last. A life is packed and archived in segments. See
// docs/spec/segments.md.
//
// A segment's bytes are a function of the checkpoints in it. So whoever makes it again
// gets the same file, and a copy is told from a damaged one by its hash alone.
package segment

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"igor.dev/verifier"
)

// Limits of a segment. What is larger is neither written nor read.
const (
	MaxCheckpoints = 1 << 20
	MaxSize        = 1 << 30 // bytes of the file
)

// An Info says which checkpoints a segment has.
type Info struct {
	Agent       verifier.PublicKey
	Prev        verifier.Hash // the content hash of the checkpoint before the first, zero if that is the genesis
	Root        verifier.Hash // the content hash of the last
	First, Last uint64        // ticks
	Checkpoints int
	Size        int64 // of the file
}

// A MalformedError says why something is no segment.
type MalformedError struct {
	Block  int // from 0, or -1 for the file as a whole
	Reason string
}

func (e *MalformedError) Error() string {
	if e.Block < 0 {
		return "not a segment: " + e.Reason
	}
	return fmt.Sprintf("not a segment: block %d: %s", e.Block, e.Reason)
}

// HeaderSize is how long a segment is before its first block.
var HeaderSize = int64(len(verifier.AppendCARHeader(nil, verifier.Hash{})))

// BlockSize returns how many bytes a checkpoint of that size takes in a segment.
func BlockSize(checkpoint int64) int64 {
	var room [64]byte
	return int64(len(verifier.AppendCARBlockStart(room[:0], verifier.Hash{}, int(checkpoint)))) + checkpoint
}

// add takes the next checkpoint, which has to follow the one before it.
func (i *Info) add(checkpoint []byte, hash verifier.Hash) error {
	bad := func(reason string) error { return &MalformedError{i.Checkpoints, reason} }
	c, err := verifier.Parse(checkpoint)
	switch {
	case err != nil || c.Version != verifier.Version4:
		return bad("it is no checkpoint of version 0x04")
	case i.Checkpoints == 0:
		i.Agent, i.Prev, i.First = c.AgentPubKey, c.PrevHash, c.TickNumber
		i.Size = HeaderSize
	case c.AgentPubKey != i.Agent:
		return bad("it is another agent's")
	case c.PrevHash != i.Root || c.TickNumber <= i.Last:
		return bad("it does not follow the checkpoint before it")
	case i.Checkpoints == MaxCheckpoints:
		return bad("it is one too many")
	}
	if i.Size += BlockSize(int64(len(checkpoint))); i.Size > MaxSize {
		return bad("with it the segment is larger than 1 GiB")
	}
	i.Root, i.Last = hash, c.TickNumber
	i.Checkpoints++
	return nil
}

// Write writes the segment of the checkpoints, in their order, the last of which has the
// content hash root. It says of signatures nothing: the caller verified them.
func Write(w io.Writer, root verifier.Hash, checkpoints iter.Seq2[[]byte, error]) (Info, error) {
	var info Info
	out := bufio.NewWriterSize(w, 64<<10)
	out.Write(verifier.AppendCARHeader(nil, root))
	var start []byte
	for c, err := range checkpoints {
		if err != nil {
			return Info{}, err
		}
		hash := verifier.Hash(sha256.Sum256(c))
		if err := info.add(c, hash); err != nil {
			return Info{}, err
		}
		start = verifier.AppendCARBlockStart(start[:0], hash, len(c))
		out.Write(start)
		if _, err := out.Write(c); err != nil {
			return Info{}, err
		}
	}
	if info.Root != root || info.Checkpoints == 0 {
		return Info{}, &MalformedError{-1, "its root is not the last checkpoint"}
	}
	return info, out.Flush()
}

// Read reads a segment to its end, and calls each with every checkpoint, in order, and what
// examining it finds: signatures are for the caller to judge. checkpoint is valid during
// the call. Only if Read returns no error is anything of it to be believed. What is no
// segment is a [*MalformedError]; an error of each ends it.
func Read(r io.Reader, each func(checkpoint []byte, f *verifier.Finding) error) (Info, error) {
	in := &reader{r: r, left: MaxSize + 1}
	var car verifier.CARReader
	var info Info
	chunk := make([]byte, 64<<10)
	for {
		n, readErr := in.Read(chunk)
		car.Feed(chunk[:n])
		for {
			b, ok, err := car.Next()
			if err != nil {
				return Info{}, malformed(err)
			}
			if !ok {
				break
			}
			f := verifier.Examine(b.Data)
			if err := car.Check(b.Index, b.UnverifiedCID, &f); err != nil {
				return Info{}, malformed(err)
			}
			if err := info.add(b.Data, f.ContentHash); err != nil {
				return Info{}, err
			}
			if each == nil {
				continue
			}
			if err := each(b.Data, &f); err != nil {
				return Info{}, err
			}
		}
		switch {
		case readErr == io.EOF:
			if err := car.Close(); err != nil {
				return Info{}, malformed(err)
			}
			switch {
			case info.Root != car.Root():
				return Info{}, &MalformedError{-1, "its root is not the last checkpoint"}
			case info.Size != MaxSize+1-in.left: // it is a CARv2
				return Info{}, &MalformedError{-1, "it has more than the blocks of a CARv1"}
			}
			return info, nil
		case readErr != nil:
			return Info{}, readErr
		}
	}
}

// An Entry is where a checkpoint lies in a segment, as the file says: nothing of it is
// checked.
type Entry struct {
	Offset, Size   int64
	UnverifiedHash verifier.Hash // of its content
	Tick           uint64
}

// List finds the checkpoints of a segment, without reading their states where it need not.
func List(f io.ReaderAt, size int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		bad := func(block int, reason string) { yield(Entry{}, &MalformedError{block, reason}) }
		header := verifier.AppendCARHeader(nil, verifier.Hash{})
		in := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 16<<10)
		at, err := in.Discard(len(header))
		if err != nil {
			bad(-1, "it is cut inside its header")
			return
		}
		prefix := verifier.AppendCARBlockStart(nil, verifier.Hash{}, 0)[1:5]
		for offset, n := int64(at), 0; offset < size; n++ {
			length, err := binary.ReadUvarint(in)
			if err != nil || length < 36+verifier.HeaderSize || length > 36+verifier.MaxCheckpointSize {
				bad(n, "its length is malformed")
				return
			}
			var start [36 + verifier.HeaderSize]byte
			if _, err := io.ReadFull(in, start[:]); err != nil || string(start[:4]) != string(prefix) {
				bad(n, "it is cut, or its CID is malformed")
				return
			}
			c, err := verifier.Parse(start[36:])
			if err != nil {
				bad(n, "it is no checkpoint of version 0x04")
				return
			}
			e := Entry{Size: int64(length) - 36, UnverifiedHash: verifier.Hash(start[4:36]), Tick: c.TickNumber}
			block := BlockSize(e.Size)
			e.Offset = offset + block - e.Size
			if offset += block; offset > size {
				bad(n, "the file ends inside this block")
				return
			}
			if !yield(e, nil) {
				return
			}
			rest := int(e.Size) - verifier.HeaderSize
			if rest > in.Buffered() { // a large state is not read
				in.Reset(io.NewSectionReader(f, offset, size-offset))
			} else if _, err := in.Discard(rest); err != nil {
				bad(n, "the file ends inside this block")
				return
			}
		}
	}
}

func malformed(err error) error {
	e, ok := errors.AsType[*verifier.CARError](err)
	if !ok {
		return err
	}
	return &MalformedError{e.Block, e.Reason}
}

// A reader counts what is read, and ends soon after the limit.
type reader struct {
	r    io.Reader
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, &MalformedError{-1, "it is larger than 1 GiB"}
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

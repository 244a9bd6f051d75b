// Package pack keeps many small files of an event log in one, and says by a signed mark
// how far a life is packed. See docs/spec/packed.md.
//
// A pack has the segments of the event log that lie between the checkpoints of one
// segment of the history, and the payloads that they name. It is made once, whole, and
// only read from then on.
package pack

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"
	"sort"

	"igor.dev/verifier"
)

const (
	magic = "igor/pack/v1\x00"

	blockSize   = 8 + 8 + 8 + 1 + 4
	segmentSize = 8 + 4 + 8 + 8
	payloadSize = 32 + 4 + 8 + 8
	trailerSize = 4 + 4 + 4 + 4 + len(magic)

	// A block is full at so many bytes. What is larger has one of its own.
	fullBlock = 64 << 10
	// What is larger is kept as it is: it is read in pieces.
	maxDeflated = 1 << 20

	// Limits of a pack.
	maxEntries = 1 << 22 // of each kind
	maxIndex   = 256 << 20
)

// The ways in which a block is kept.
const (
	stored   = 0
	deflated = 1
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// A place is where a file is: in which block, and where in that.
type place struct {
	block    uint32
	at, size uint64
}

// A Writer makes a pack. Segments come in the order of their ticks.
type Writer struct {
	w        io.Writer
	hash     hash.Hash
	offset   uint64
	blocks   []byte // of the index
	segments []byte
	payloads map[verifier.Hash]place
	last     uint64
	n        int
	buffer   []byte
	deflate  *flate.Writer
	err      error
}

// NewWriter makes a pack that is written to w.
func NewWriter(w io.Writer) *Writer {
	p := &Writer{w: w, hash: sha256.New(), payloads: make(map[verifier.Hash]place)}
	p.write([]byte(magic))
	return p
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	w.hash.Write(b)
	_, w.err = w.w.Write(b)
	w.offset += uint64(len(b))
}

// Segment adds the segment of the event log whose first tick is given.
func (w *Writer) Segment(first uint64, size int64, r io.Reader) error {
	if w.n > 0 && first <= w.last {
		return errors.New("pack: the segments are not in order")
	}
	at, err := w.add(size, r)
	if err != nil {
		return err
	}
	w.last = first
	w.n++
	w.segments = le.AppendUint64(w.segments, first)
	w.segments = at.append(w.segments)
	return nil
}

// HasPayload reports whether a payload was added.
func (w *Writer) HasPayload(hash verifier.Hash) bool {
	_, ok := w.payloads[hash]
	return ok
}

// Payload adds a payload.
func (w *Writer) Payload(hash verifier.Hash, size int64, r io.Reader) error {
	if w.HasPayload(hash) {
		return nil
	}
	at, err := w.add(size, r)
	if err == nil {
		w.payloads[hash] = at
	}
	return err
}

func (p place) append(dst []byte) []byte {
	dst = le.AppendUint32(dst, p.block)
	dst = le.AppendUint64(dst, p.at)
	return le.AppendUint64(dst, p.size)
}

func (w *Writer) add(size int64, r io.Reader) (p place, err error) {
	if w.err != nil {
		return p, w.err
	}
	if size > maxDeflated {
		w.flush()
		p = place{uint32(len(w.blocks) / blockSize), 0, uint64(size)}
		w.beginBlock(uint64(size), uint64(size), stored)
		sum := crc32.New(castagnoli)
		n, err := io.Copy(io.MultiWriter(writerFunc(w.write), sum), io.LimitReader(r, size))
		if err == nil && n != size {
			err = io.ErrUnexpectedEOF
		}
		if err = errors.Join(err, w.err); err != nil {
			w.err = err
			return p, err
		}
		w.blocks = le.AppendUint32(w.blocks, sum.Sum32())
		return p, nil
	}
	if len(w.buffer) > 0 && len(w.buffer)+int(size) > fullBlock {
		w.flush()
	}
	p = place{uint32(len(w.blocks) / blockSize), uint64(len(w.buffer)), uint64(size)}
	at := len(w.buffer)
	w.buffer = append(w.buffer, make([]byte, size)...)
	if _, err := io.ReadFull(r, w.buffer[at:]); err != nil {
		w.buffer = w.buffer[:at]
		return p, err
	}
	return p, w.err
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func (w *Writer) beginBlock(kept, size uint64, method byte) {
	w.blocks = le.AppendUint64(w.blocks, w.offset)
	w.blocks = le.AppendUint64(w.blocks, kept)
	w.blocks = le.AppendUint64(w.blocks, size)
	w.blocks = append(w.blocks, method)
}

// flush writes the block that is being filled.
func (w *Writer) flush() {
	if len(w.buffer) == 0 || w.err != nil {
		return
	}
	b, method := w.buffer, byte(stored)
	var small bytes.Buffer
	if w.deflate == nil {
		w.deflate, _ = flate.NewWriter(&small, flate.DefaultCompression)
	} else {
		w.deflate.Reset(&small)
	}
	w.deflate.Write(b)
	w.deflate.Close()
	if small.Len() < len(b) {
		b, method = small.Bytes(), deflated
	}
	w.beginBlock(uint64(len(b)), uint64(len(w.buffer)), method)
	w.blocks = le.AppendUint32(w.blocks, crc32.Checksum(b, castagnoli))
	w.write(b)
	w.buffer = w.buffer[:0]
}

// Close ends the pack, and returns how long it is, and its SHA-256.
func (w *Writer) Close() (size int64, sum verifier.Hash, err error) {
	w.flush()
	index := slices.Concat(w.blocks, w.segments)
	names := make([]verifier.Hash, 0, len(w.payloads))
	for name := range w.payloads {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b verifier.Hash) int { return bytes.Compare(a[:], b[:]) })
	for _, name := range names {
		index = append(index, name[:]...)
		index = w.payloads[name].append(index)
	}
	trailer := le.AppendUint32(nil, uint32(len(w.blocks)/blockSize))
	trailer = le.AppendUint32(trailer, uint32(w.n))
	trailer = le.AppendUint32(trailer, uint32(len(names)))
	trailer = le.AppendUint32(trailer, crc32.Update(crc32.Checksum(index, castagnoli), castagnoli, trailer))
	trailer = append(trailer, magic...)
	if len(index) > maxIndex {
		return 0, sum, errors.New("pack: too many files")
	}
	w.write(index)
	w.write(trailer)
	w.hash.Sum(sum[:0])
	return int64(w.offset), sum, w.err
}

// A BadError says what is wrong with a pack.
type BadError struct{ Reason string }

func (e *BadError) Error() string { return "not a pack: " + e.Reason }

// A Reader reads a pack, whatever it has in it. It is not safe for concurrent use.
type Reader struct {
	f        io.ReaderAt
	blocks   []byte
	segments []byte
	payloads []byte
	data     uint64 // where the blocks end

	block  uint32 // that was inflated last
	inside []byte // nil = none was
}

// Open reads the index of a pack.
func Open(f io.ReaderAt, size int64) (*Reader, error) {
	trailer := make([]byte, trailerSize)
	if size < int64(len(magic)+trailerSize) {
		return nil, &BadError{"it is too short"}
	}
	if _, err := f.ReadAt(trailer, size-int64(trailerSize)); err != nil && err != io.EOF {
		return nil, err
	}
	if string(trailer[16:]) != magic {
		return nil, &BadError{"it is cut short, or something else"}
	}
	blocks, segments, payloads := uint64(le.Uint32(trailer)), uint64(le.Uint32(trailer[4:])), uint64(le.Uint32(trailer[8:]))
	n := blocks*blockSize + segments*segmentSize + payloads*payloadSize
	data := uint64(size) - uint64(trailerSize)
	if max(blocks, segments, payloads) > maxEntries || n > maxIndex || n > data-uint64(len(magic)) {
		return nil, &BadError{"its index does not fit"}
	}
	data -= n
	index := make([]byte, n)
	if _, err := f.ReadAt(index, int64(data)); err != nil && err != io.EOF {
		return nil, err
	}
	if crc32.Update(crc32.Checksum(index, castagnoli), castagnoli, trailer[:12]) != le.Uint32(trailer[12:]) {
		return nil, &BadError{"its index has the wrong checksum"}
	}
	r := &Reader{f: f, data: data, blocks: index[:blocks*blockSize], segments: index[blocks*blockSize:][:segments*segmentSize], payloads: index[blocks*blockSize+segments*segmentSize:]}
	for i := segmentSize; i < len(r.segments); i += segmentSize {
		if le.Uint64(r.segments[i:]) <= le.Uint64(r.segments[i-segmentSize:]) {
			return nil, &BadError{"its segments are not in order"}
		}
	}
	return r, nil
}

// Close closes the file, if it is one that can be closed.
func (r *Reader) Close() error {
	if c, ok := r.f.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Ticks returns the first ticks of the segments, in order.
func (r *Reader) Ticks() []uint64 {
	ticks := make([]uint64, 0, len(r.segments)/segmentSize)
	for b := r.segments; len(b) > 0; b = b[segmentSize:] {
		ticks = append(ticks, le.Uint64(b))
	}
	return ticks
}

// Payloads returns the hashes of the payloads.
func (r *Reader) Payloads() []verifier.Hash {
	all := make([]verifier.Hash, 0, len(r.payloads)/payloadSize)
	for b := r.payloads; len(b) > 0; b = b[payloadSize:] {
		all = append(all, verifier.Hash(b))
	}
	return all
}

// Segment opens the segment whose first tick is given. It is fs.ErrNotExist if it is not
// in this pack.
func (r *Reader) Segment(first uint64) (io.ReaderAt, int64, error) {
	n := len(r.segments) / segmentSize
	i := sort.Search(n, func(i int) bool { return le.Uint64(r.segments[i*segmentSize:]) >= first })
	if i == n || le.Uint64(r.segments[i*segmentSize:]) != first {
		return nil, 0, fs.ErrNotExist
	}
	return r.open(r.segments[i*segmentSize+8:])
}

// Payload opens a payload. It is fs.ErrNotExist if it is not in this pack.
func (r *Reader) Payload(hash verifier.Hash) (io.ReaderAt, int64, error) {
	n := len(r.payloads) / payloadSize
	i := sort.Search(n, func(i int) bool { return bytes.Compare(r.payloads[i*payloadSize:][:32], hash[:]) >= 0 })
	if i == n || verifier.Hash(r.payloads[i*payloadSize:]) != hash {
		return nil, 0, fs.ErrNotExist
	}
	return r.open(r.payloads[i*payloadSize+32:])
}

func (r *Reader) open(b []byte) (io.ReaderAt, int64, error) {
	p := place{le.Uint32(b), le.Uint64(b[4:]), le.Uint64(b[12:])}
	if uint64(p.block) >= uint64(len(r.blocks)/blockSize) {
		return nil, 0, &BadError{"a file is in no block"}
	}
	block := r.blocks[int(p.block)*blockSize:]
	offset, kept, size, method := le.Uint64(block), le.Uint64(block[8:]), le.Uint64(block[16:]), block[24]
	switch {
	case offset < uint64(len(magic)) || offset > r.data || kept > r.data-offset, p.at > size || p.size > size-p.at:
		return nil, 0, &BadError{"a block does not fit"}
	case method == stored && kept == size && size > maxDeflated:
		return io.NewSectionReader(r.f, int64(offset+p.at), int64(p.size)), int64(p.size), nil
	case method > deflated || size > maxDeflated || kept > size || method == stored && kept != size:
		return nil, 0, &BadError{"a block is kept in no known way"}
	}
	if r.inside == nil || r.block != p.block {
		b := make([]byte, kept)
		if _, err := r.f.ReadAt(b, int64(offset)); err != nil && err != io.EOF {
			return nil, 0, err
		}
		if crc32.Checksum(b, castagnoli) != le.Uint32(block[25:]) {
			return nil, 0, &BadError{"a block has the wrong checksum"}
		}
		if method == deflated {
			out := make([]byte, size)
			if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(b)), out); err != nil {
				return nil, 0, &BadError{fmt.Sprintf("a block cannot be inflated: %v", err)}
			}
			b = out
		}
		r.block, r.inside = p.block, b
	}
	return bytes.NewReader(r.inside[p.at : p.at+p.size]), int64(p.size), nil
}

// Check reads all of a pack, and holds every block against its checksum.
func (r *Reader) Check() error {
	for i := range len(r.blocks) / blockSize {
		b := r.blocks[i*blockSize:]
		offset, kept := le.Uint64(b), le.Uint64(b[8:])
		if offset > r.data || kept > r.data-offset || kept > math.MaxInt64 {
			return &BadError{"a block does not fit"}
		}
		sum := crc32.New(castagnoli)
		if _, err := io.Copy(sum, io.NewSectionReader(r.f, int64(offset), int64(kept))); err != nil {
			return err
		}
		if sum.Sum32() != le.Uint32(b[25:]) {
			return &BadError{"a block has the wrong checksum"}
		}
	}
	return nil
}

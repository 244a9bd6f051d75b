// Package wal reads and writes append-only files of checked records, of which
// the event log and the journal are made.
//
//	record = length u32, CRC32C(length) u32, payload, CRC32C(payload) u32
//
// Integers are little-endian; CRC32C is that of RFC 3720. The length has a
// checksum of its own, since a length that cannot be trusted would make a
// damaged file look like one whose last write was cut short: the first is a
// loss to report, the second is what a killed process leaves.
package wal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"igor.dev/runtime/internal/failpoint"
)

const (
	headSize = 8
	tailSize = 4

	// Overhead is what a record takes beyond its payload, in bytes.
	Overhead = headSize + tailSize

	// flushAt is how many buffered bytes a Writer writes at the latest.
	flushAt = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// AppendRecord appends a payload as a record.
func AppendRecord(dst, payload []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, checksum(dst[at:]))
	dst = append(dst, payload...)
	return binary.LittleEndian.AppendUint32(dst, checksum(payload))
}

// A TailError says why reading ended before the end of the file. What was read
// before is whole.
type TailError struct {
	Offset int64 // of the first byte that belongs to no whole record
	Torn   bool  // the last write was cut short, and nothing else is wrong
	Reason string
}

func (e *TailError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason) }

// A Scanner reads records one after the other, in memory bounded by the largest.
type Scanner struct {
	r       *bufio.Reader
	max     int
	payload []byte
	head    [headSize]byte
	offset  int64
	err     error
}

// NewScanner reads from r, and refuses payloads of more than max bytes.
func NewScanner(r io.Reader, max int) *Scanner {
	return &Scanner{r: bufio.NewReader(r), max: max}
}

// Offset returns where the next record begins.
func (s *Scanner) Offset() int64 { return s.offset }

// Next returns the next payload, valid until the next call. At the end of the
// file it fails with io.EOF, and where there is anything but records with a
// [*TailError].
func (s *Scanner) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	payload, err := s.next()
	if err != nil {
		s.err = err
		return nil, err
	}
	s.offset += int64(len(payload)) + Overhead
	return payload, nil
}

func (s *Scanner) next() ([]byte, error) {
	_, err := io.ReadFull(s.r, s.head[:])
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err == io.ErrUnexpectedEOF:
		return nil, s.torn("a record's length is cut short")
	case err != nil:
		return nil, err
	}
	size := binary.LittleEndian.Uint32(s.head[:])
	if checksum(s.head[:4]) != binary.LittleEndian.Uint32(s.head[4:]) {
		return nil, s.wrong("a record's length has the wrong checksum", s.head[:4], s.head[4:])
	}
	if uint64(size) > uint64(s.max) {
		return nil, s.damaged(fmt.Sprintf("a record of %d bytes, and at most %d are allowed", size, s.max))
	}
	want := int(size) + tailSize
	if cap(s.payload) < want {
		// The length is only a claim: memory follows the bytes that are there.
		s.payload = make([]byte, 0, min(want, flushAt))
	}
	s.payload = s.payload[:0]
	for len(s.payload) < want {
		at := len(s.payload)
		part := min(want-at, max(at, flushAt))
		s.payload = append(s.payload, make([]byte, part)...)
		if _, err := io.ReadFull(s.r, s.payload[at:]); err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil, s.torn("a record is cut short")
		} else if err != nil {
			return nil, err
		}
	}
	payload := s.payload[:size]
	if checksum(payload) != binary.LittleEndian.Uint32(s.payload[size:]) {
		return nil, s.wrong("a record has the wrong checksum", payload, s.payload[size:])
	}
	return payload, nil
}

// wrong says why bytes do not have the checksum that comes after them. A file
// system may have made the file longer before it wrote the data: then there is some
// of a record, and zeros up to the end of the file.
func (s *Scanner) wrong(reason string, b, sum []byte) error {
	right := binary.LittleEndian.AppendUint32(nil, checksum(b))
	written := len(bytes.TrimRight(sum, "\x00"))
	if !bytes.HasPrefix(right, sum[:written]) {
		return s.damaged(reason)
	}
	for {
		c, err := s.r.ReadByte()
		switch {
		case err == io.EOF:
			return s.torn("the file ends in zeros")
		case err != nil:
			return err
		case c != 0:
			return s.damaged(reason)
		}
	}
}

func (s *Scanner) torn(reason string) error { return &TailError{s.offset, true, reason} }

func (s *Scanner) damaged(reason string) error { return &TailError{s.offset, false, reason} }

// ReadRecord reads the record that begins at offset.
func ReadRecord(f io.ReaderAt, offset int64, max int) ([]byte, error) {
	return NewScanner(io.NewSectionReader(f, offset, int64(max)+Overhead), max).Next()
}

// A Writer appends records to a file. After an error nothing can be appended
// any more: what the file then holds only reading can tell. It is not safe for
// concurrent use.
type Writer struct {
	f      File
	tee    hash.Hash // gets what is written, nil = none
	buf    []byte
	offset int64 // where buf goes
	err    error
}

// NewWriter appends at offset, which has to be the end of the last whole record.
// What is in the file after it is cut off.
func NewWriter(f File, offset int64, tee hash.Hash) (*Writer, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > offset {
		if err := f.Truncate(offset); err != nil {
			return nil, err
		}
	}
	return Rewriter(f, offset, tee)
}

// Rewriter is NewWriter for what is to be written again: what is in the file after
// offset stays until it is written over. That it is no longer than what is written
// is the caller's to know.
func Rewriter(f File, offset int64, tee hash.Hash) (*Writer, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > 0 {
		// What is there is relied on from now on, whoever wrote it and did not live to
		// sync it.
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	return &Writer{f: f, tee: tee, offset: offset}, nil
}

// Offset returns where the next record begins.
func (w *Writer) Offset() int64 { return w.offset + int64(len(w.buf)) }

// Append adds a record. It is in the file after [Writer.Flush], and durable
// after [Writer.Sync].
func (w *Writer) Append(payload []byte) error {
	if w.err != nil {
		return w.err
	}
	w.buf = AppendRecord(w.buf, payload)
	if len(w.buf) >= flushAt {
		return w.Flush()
	}
	return nil
}

// Flush hands everything to the operating system: it survives the process.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	if _, err := w.f.WriteAt(w.buf, w.offset); err != nil {
		return w.fail(err)
	}
	failpoint.Reach(failpoint.RecordsWritten)
	if w.tee != nil {
		w.tee.Write(w.buf)
	}
	w.offset += int64(len(w.buf))
	if w.buf = w.buf[:0]; cap(w.buf) > 2*flushAt {
		w.buf = nil
	}
	return nil
}

// Since returns what is in the file from an offset on, up to where the next record goes.
// What is not flushed is not.
func (w *Writer) Since(offset int64) ([]byte, error) {
	b := make([]byte, max(0, w.offset-offset))
	if n, err := w.f.ReadAt(b, offset); err != nil && (err != io.EOF || n < len(b)) {
		return nil, err
	}
	return b, nil
}

// Replace writes another payload of the same length in the place of a record.
func (w *Writer) Replace(offset int64, payload []byte) error {
	if w.err != nil {
		return w.err
	}
	if _, err := w.f.WriteAt(AppendRecord(nil, payload), offset); err != nil {
		return w.fail(err)
	}
	return nil
}

// Sync makes everything durable: it survives the machine.
func (w *Writer) Sync() error {
	if err := w.Flush(); err != nil {
		return err
	}
	// After a failed sync the kernel may forget what it could not write, so that
	// a second one would succeed without it.
	if err := w.f.Sync(); err != nil {
		return w.fail(err)
	}
	failpoint.Reach(failpoint.RecordsSynced)
	return nil
}

// Close closes the file. It flushes nothing.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = errors.New("the file is closed")
	}
	return w.f.Close()
}

// Fail ends the writing for a reason of the caller's.
func (w *Writer) Fail(err error) { w.fail(err) }

func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("nothing more can be appended: %w", err)
	}
	return w.err
}

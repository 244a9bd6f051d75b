package wal

import (
	"encoding/binary"
	"io"
)

// Sector is what a disk writes whole. It may write those of one write in any order, so
// that after a loss of power some are there and others are zeros.
const Sector = 512

// LastWrite reports whether what no [Scanner] can read from offset to the end of the
// file may be one record, of at most max bytes, of which a disk wrote some sectors and
// not others. For a writer that syncs each record before the next, that one was never
// acknowledged. Where anything like a record begins after it, there was a next, and it
// is damaged.
func LastWrite(f io.ReaderAt, offset, size int64, max int) (bool, error) {
	if size-offset < headSize || size-offset > int64(max)+Overhead {
		return false, nil
	}
	b := make([]byte, size-offset)
	if _, err := f.ReadAt(b, offset); err != nil && err != io.EOF {
		return false, err
	}
	if isHead(b) {
		last := int64(binary.LittleEndian.Uint32(b))+Overhead == size-offset
		return last && Unwritten(b, offset, headSize, len(b)), nil
	}
	if !Unwritten(b, offset, 0, headSize) {
		return false, nil
	}
	for at := 1; at+headSize <= len(b); at++ {
		if isHead(b[at:]) {
			return false, nil
		}
	}
	return true, nil
}

// isHead reports whether b begins with a length and its checksum.
func isHead(b []byte) bool { return checksum(b[:4]) == binary.LittleEndian.Uint32(b[4:]) }

// Unwritten reports whether a sector which has some of b[from:to] may not have been
// written: what b has of it, which is at offset in its file, is zeros.
func Unwritten(b []byte, offset int64, from, to int) bool {
	for at := from; at < to; {
		begin := max(0, at-int((offset+int64(at))%Sector))
		end := min(len(b), at+Sector-int((offset+int64(at))%Sector))
		zeros := true
		for _, c := range b[begin:end] {
			zeros = zeros && c == 0
		}
		if zeros {
			return true
		}
		at = end
	}
	return false
}

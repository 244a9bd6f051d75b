package wal

import (
	"encoding/binary"
	"io"
)

// Skip returns where the record at offset ends by its length, whatever its payload
// is. ok is false if the length is damaged, or goes beyond size or max: what comes
// after it could then be a payload's bytes as well as a record, and payloads hold
// what others chose.
func Skip(f io.ReaderAt, offset, size int64, max int) (end int64, ok bool) {
	var head [headSize]byte
	if _, err := f.ReadAt(head[:], offset); err != nil && err != io.EOF {
		return 0, false
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	end = offset + n + Overhead
	return end, checksum(head[:4]) == binary.LittleEndian.Uint32(head[4:]) && n <= int64(max) && end <= size
}

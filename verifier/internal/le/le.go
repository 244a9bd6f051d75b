// Package le reads and writes little-endian integers. Package encoding/binary does too, and
// brings reflection with it, which the browser would have to load.
package le

// Uint16 reads the first 2 bytes.
func Uint16(b []byte) uint16 { return uint16(b[1])<<8 | uint16(b[0]) }

// Uint32 reads the first 4 bytes.
func Uint32(b []byte) uint32 { return uint32(Uint16(b[2:4]))<<16 | uint32(Uint16(b)) }

// Uint64 reads the first 8 bytes.
func Uint64(b []byte) uint64 { return uint64(Uint32(b[4:8]))<<32 | uint64(Uint32(b)) }

// AppendUint16 appends v.
func AppendUint16(b []byte, v uint16) []byte { return append(b, byte(v), byte(v>>8)) }

// AppendUint32 appends v.
func AppendUint32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

// AppendUint64 appends v.
func AppendUint64(b []byte, v uint64) []byte {
	return AppendUint32(AppendUint32(b, uint32(v)), uint32(v>>32))
}

// PutUint64 writes v to the first 8 bytes.
func PutUint64(b []byte, v uint64) {
	for i := range b[:8] {
		b[i] = byte(v >> (8 * i))
	}
}

package le

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzLittleEndian(f *testing.F) {
	f.Add(uint64(0x0123456789abcdef))
	f.Fuzz(func(t *testing.T, v uint64) {
		theirs := binary.LittleEndian
		b := AppendUint64(AppendUint32(AppendUint16(nil, uint16(v)), uint32(v)), v)
		if want := theirs.AppendUint64(theirs.AppendUint32(theirs.AppendUint16(nil, uint16(v)), uint32(v)), v); !bytes.Equal(b, want) {
			t.Errorf("%x, want %x", b, want)
		}
		if Uint16(b) != uint16(v) || Uint32(b[2:]) != uint32(v) || Uint64(b[6:]) != v {
			t.Errorf("%x is not read as it was written", b)
		}
	})
}

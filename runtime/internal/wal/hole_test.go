package wal_test

import (
	"bytes"
	"errors"
	"testing"

	"igor.dev/runtime/internal/wal"
)

const most = 4 * wal.Sector

// holed is a file whose last record is of several sectors, beginning at each place in
// one, with each choice of its sectors left out.
func holed(t *testing.T, try func(b []byte, last int, whole bool)) {
	t.Helper()
	for lead := range wal.Sector {
		before, _ := file(bytes.Repeat([]byte{1}, lead))
		begin := len(before)
		b, ends := file(bytes.Repeat([]byte{1}, lead), bytes.Repeat([]byte{2}, 3*wal.Sector))
		if ends[0] != begin || len(b) > begin+most {
			t.Fatal("not what it was to be")
		}
		first := begin / wal.Sector
		sectors := (len(b)-1)/wal.Sector - first + 1
		for choice := range 1 << sectors {
			got := bytes.Clone(b)
			for i := range sectors {
				if choice>>i&1 == 0 {
					from := (first + i) * wal.Sector
					if from < begin {
						from = begin
					}
					clear(got[from:min(len(b), (first+i+1)*wal.Sector)])
				}
			}
			try(got, begin, bytes.Equal(got, b))
		}
	}
}

// tornAt reports whether what is wrong with b is a last record that was being written.
func tornAt(t *testing.T, b []byte) (offset int, torn bool) {
	t.Helper()
	_, _, err := read(b, most)
	tail, ok := errors.AsType[*wal.TailError](err)
	if !ok {
		return len(b), false
	}
	torn = tail.Torn
	if !torn {
		if torn, err = wal.LastWrite(bytes.NewReader(b), tail.Offset, int64(len(b)), most); err != nil {
			t.Fatal(err)
		}
	}
	return int(tail.Offset), torn
}

// TestLastWrite has each sector of a last record written or not.
func TestLastWrite(t *testing.T) {
	holed(t, func(b []byte, last int, whole bool) {
		if at, torn := tornAt(t, b); torn == whole || torn && at != last {
			t.Fatalf("a record at %d: torn %t at %d, whole %t", last, torn, at, whole)
		}
	})
}

// TestNotLastWrite has a record that lacks sectors, and another one after it: it was
// whole once.
func TestNotLastWrite(t *testing.T) {
	next, _ := file([]byte("next"))
	holed(t, func(b []byte, last int, whole bool) {
		if at, torn := tornAt(t, append(b, next...)); torn {
			t.Fatalf("a record at %d, with one after it: torn at %d", last, at)
		}
	})
}

// TestDamagedLast flips each bit of a last record in which no sector is zeros.
func TestDamagedLast(t *testing.T) {
	b, ends := file([]byte("before"), bytes.Repeat([]byte{2}, 2*wal.Sector))
	for at := ends[0]; at < len(b); at++ {
		for bit := range 8 {
			got := bytes.Clone(b)
			got[at] ^= 1 << bit
			if _, torn := tornAt(t, got); torn {
				t.Fatalf("bit %d of byte %d is flipped: torn", bit, at)
			}
		}
	}
}

package effects_test

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"igor.dev/effects"
)

var (
	_ encoding.BinaryAppender    = (*effects.Log)(nil)
	_ encoding.BinaryMarshaler   = (*effects.Log)(nil)
	_ encoding.BinaryUnmarshaler = (*effects.Log)(nil)
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	must(t, err)
	return b
}

// wire builds an encoding by hand, without the code under test.
func wire(count uint32, intents ...[]byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, count), bytes.Join(intents, nil)...)
}

func intent(state byte, id, data string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{state}, uint32(len(id)))
	b = append(b, id...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// resolved rewrites a well-formed encoding as the one rule does, without the
// code under test: each in-flight becomes unresolved.
func resolved(b []byte) []byte {
	b = bytes.Clone(b)
	for off := 4; off < len(b); {
		if b[off] == 2 {
			b[off] = 4
		}
		off++
		for range 2 {
			off += 4 + int(binary.LittleEndian.Uint32(b[off:]))
		}
	}
	return b
}

func TestGolden(t *testing.T) {
	l := mixed(t)
	want := unhex(t, `
		05000000
		01 01000000 72 09000000 64617461206f662072
		03 01000000 63 09000000 64617461206f662063
		04 01000000 75 09000000 64617461206f662075
		05 01000000 78 09000000 64617461206f662078
		02 01000000 69 00000000`)
	if got := marshal(t, l); !bytes.Equal(got, want) {
		t.Fatalf("marshal gives\n%x, want\n%x", got, want)
	}
	got, err := l.AppendBinary([]byte("before"))
	must(t, err)
	if !bytes.Equal(got, append([]byte("before"), want...)) {
		t.Errorf("append gives %x", got)
	}
	var loaded effects.Log
	must(t, loaded.UnmarshalBinary(want))
	if got := marshal(t, &loaded); !bytes.Equal(got, resolved(want)) {
		t.Errorf("loaded and saved\n%x, want\n%x", got, resolved(want))
	}
	var empty effects.Log
	if got := marshal(t, &empty); !bytes.Equal(got, make([]byte, 4)) {
		t.Errorf("the empty log is %x", got)
	}
}

func TestMalformed(t *testing.T) {
	a, b := intent(1, "a", "data"), intent(3, "b", "")
	length := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	for _, c := range []struct {
		name string
		b    []byte
		want string // in the message
	}{
		{"empty", nil, "too short for the count"},
		{"short count", []byte{0, 0, 0}, "3 bytes, too short"},
		{"trailing byte", append(wire(1, a), 0), "1 bytes follow the last intent, at byte 18"},
		{"count too small", wire(1, a, b), "10 bytes follow the last intent"},
		{"count too large", wire(3, a, b), "intent 2 of 3, at byte 28: the bytes end before its state"},
		{"count over the limit", wire(effects.MaxIntents+1, a), "claims 65537 intents, the limit is 65536"},
		{"count huge", wire(math.MaxUint32), "claims 4294967295 intents"},
		{"state 0", wire(1, intent(0, "a", "")), "unknown state 0"},
		{"state 6", wire(2, a, intent(6, "b", "")), "intent 1 of 2, at byte 18: unknown state 6"},
		{"state 255", wire(1, intent(255, "a", "")), "unknown state 255"},
		{"empty id", wire(1, intent(1, "", "data")), "the id is empty"},
		{"duplicate id", wire(3, a, b, intent(5, "a", "")), `intent 2 of 3, at byte 28: the id "a" stands twice`},
		{"id over the limit", wire(1, intent(1, strings.Repeat("i", effects.MaxID+1), "")), "length of its id is 257, the limit is 256"},
		{"id length huge", wire(1, []byte{1}, length(math.MaxUint32), []byte("a")), "length of its id is 4294967295"},
		{"id cut", wire(1, []byte{1}, length(2), []byte("a")), "length of its id is 2, but 1 bytes are left"},
		{"id length cut", wire(1, []byte{1, 1, 0}), "end before the length of its id"},
		{"data over the limit", wire(1, []byte{1}, length(1), []byte("a"), length(effects.MaxData+1), make([]byte, effects.MaxData+1)), "length of its data is 2097153, the limit is 2097152"},
		{"data length huge", wire(1, []byte{1}, length(1), []byte("a"), length(math.MaxUint32)), "length of its data is 4294967295"},
		{"data cut", wire(1, a[:len(a)-1]), "length of its data is 4, but 3 bytes are left"},
		{"data length cut", wire(1, a[:8]), "end before the length of its data"},
		{"over the size limit", make([]byte, effects.MaxSize+1), "it is 16777217 bytes, the limit is 16777216"},
	} {
		l := mixed(t)
		before := marshal(t, l)
		err := l.UnmarshalBinary(c.b)
		if !errors.Is(err, effects.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if !bytes.Equal(marshal(t, l), before) {
			t.Errorf("%s: the refused bytes changed the log", c.name)
		}
	}
}

// A few bytes that claim much are refused before memory is spent on the claim.
func TestClaimsAllocateNothing(t *testing.T) {
	for name, b := range map[string][]byte{
		"count": wire(effects.MaxIntents),
		"id":    wire(1, []byte{1, 0, 1, 0, 0}),
		"data":  wire(1, []byte{1, 1, 0, 0, 0, 'a', 0, 0, 0x20, 0}),
	} {
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			var l effects.Log
			if l.UnmarshalBinary(b) == nil {
				t.Fatalf("%s: accepted", name)
			}
		}
		runtime.ReadMemStats(&after)
		if perRun := (after.TotalAlloc - before.TotalAlloc) / runs; perRun > 4096 {
			t.Errorf("%s: %d bytes allocated a run", name, perRun)
		}
	}
}

// checkDecode holds for any bytes: an error that wraps ErrMalformed, or a log
// that says exactly these bytes.
func checkDecode(b []byte) (accepted bool, err error) {
	var l effects.Log
	if err := l.UnmarshalBinary(b); err != nil {
		if !errors.Is(err, effects.ErrMalformed) {
			return false, fmt.Errorf("%w does not wrap ErrMalformed", err)
		}
		if n := l.Len(); n != 0 {
			return false, fmt.Errorf("refused with %d intents in the log", n)
		}
		return false, nil
	}
	again, err := l.MarshalBinary()
	if err != nil {
		return true, err
	}
	if !bytes.Equal(again, resolved(b)) {
		return true, fmt.Errorf("parsed and appended\n%x, want\n%x", again, resolved(b))
	}
	for in := range l.All() {
		if in.State == effects.InFlight {
			return true, fmt.Errorf("%q is in-flight after loading", in.ID)
		}
	}
	return true, nil
}

func TestEveryTruncationAndBitFlip(t *testing.T) {
	good := marshal(t, mixed(t))
	for n := range good {
		accepted, err := checkDecode(good[:n])
		must(t, err)
		if accepted {
			t.Errorf("%d of %d bytes were accepted", n, len(good))
		}
	}
	var accepted, refused int
	for i := range 8 * len(good) {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		ok, err := checkDecode(b)
		if err != nil {
			t.Fatalf("bit %d: %v", i, err)
		}
		if ok {
			accepted++
		} else {
			refused++
		}
	}
	if accepted == 0 || refused == 0 {
		t.Errorf("%d flips accepted, %d refused, want some of both", accepted, refused)
	}
}

func FuzzUnmarshal(f *testing.F) {
	good := marshal(f, mixed(f))
	f.Add(good)
	f.Add(resolved(good))
	f.Add(good[:len(good)-3])
	f.Add(wire(0))
	f.Add(wire(effects.MaxIntents))
	f.Add(wire(2, intent(2, "order-7", "buy 2"), intent(1, "order-8", "")))
	f.Add(wire(2, intent(2, "a", ""), intent(4, "a", "")))
	f.Add(wire(1, intent(9, "a", "")))
	f.Add(append(wire(1, intent(5, "a", "b")), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := checkDecode(b); err != nil {
			t.Error(err)
		}
	})
}

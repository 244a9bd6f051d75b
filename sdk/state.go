package sdk

import (
	"encoding"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"
)

// An Encoder writes an agent's state: a version, then values, one after the
// other. Integers are little-endian; bytes and strings have their length (u32)
// before them.
//
//	func (a *agent) Marshal() []byte {
//		e := sdk.NewEncoder(1)
//		e.Uint64(a.beats)
//		e.Text(a.name)
//		return e.Data()
//	}
type Encoder struct{ b []byte }

// NewEncoder returns an encoder of a state of this version.
func NewEncoder(version uint8) *Encoder { return &Encoder{[]byte{version}} }

// Data returns what was encoded.
func (e *Encoder) Data() []byte { return e.b }

// Uint64 appends v.
func (e *Encoder) Uint64(v uint64) { e.b = binary.LittleEndian.AppendUint64(e.b, v) }

// Int64 appends v.
func (e *Encoder) Int64(v int64) { e.Uint64(uint64(v)) }

// Bool appends v.
func (e *Encoder) Bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	e.b = append(e.b, b)
}

// Time appends t, in nanoseconds since 1970: a time from 1678 to 2262, or the zero
// Time, which stays what it is.
func (e *Encoder) Time(t time.Time) {
	if t.IsZero() {
		e.Int64(noTime)
		return
	}
	e.Int64(t.UnixNano())
}

// noTime is the zero Time, whose own nanoseconds are out of range.
const noTime = math.MinInt64

// Count appends the number of things that follow.
func (e *Encoder) Count(n int) { e.b = binary.LittleEndian.AppendUint32(e.b, uint32(n)) }

// Bytes appends v.
func (e *Encoder) Bytes(v []byte) {
	e.Count(len(v))
	e.b = append(e.b, v...)
}

// Text appends v.
func (e *Encoder) Text(v string) {
	e.Count(len(v))
	e.b = append(e.b, v...)
}

// Value appends a value that writes itself, such as an [EffectLog]. It panics if
// that fails: a state that cannot be written ends the agent anyway.
func (e *Encoder) Value(v encoding.BinaryAppender) {
	start := len(e.b)
	e.Count(0)
	b, err := v.AppendBinary(e.b)
	if err != nil {
		panic("sdk: the state cannot be written: " + err.Error())
	}
	e.b = b
	binary.LittleEndian.PutUint32(e.b[start:], uint32(len(b)-start-4))
}

// A Decoder reads what an [Encoder] wrote. After the first error all values are
// zero; [Decoder.Close] returns it.
//
//	func (a *agent) Unmarshal(b []byte) error {
//		d := sdk.NewDecoder(b, 1)
//		a.beats = d.Uint64()
//		a.name = d.Text()
//		return d.Close()
//	}
type Decoder struct {
	b       []byte
	version uint8
	err     error
}

// NewDecoder reads a state of one of the versions from 1 to newest.
func NewDecoder(b []byte, newest uint8) *Decoder {
	d := &Decoder{b: b}
	if p := d.take(1); p != nil {
		if d.version = p[0]; d.version == 0 || d.version > newest {
			d.fail("a state of version " + strconv.Itoa(int(p[0])) + ", and the program knows 1 to " + strconv.Itoa(int(newest)))
		}
	}
	return d
}

// Version returns the version of the state.
func (d *Decoder) Version() uint8 { return d.version }

func (d *Decoder) fail(problem string) {
	if d.err == nil {
		d.err = errors.New(problem)
	}
	d.b = nil
}

func (d *Decoder) take(n int) []byte {
	if d.err == nil && n > len(d.b) {
		d.fail("a state that is cut short")
	}
	if d.err != nil {
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

// Uint64 returns the next value.
func (d *Decoder) Uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Int64 returns the next value.
func (d *Decoder) Int64() int64 { return int64(d.Uint64()) }

// Bool returns the next value.
func (d *Decoder) Bool() bool {
	b := d.take(1)
	if b != nil && b[0] > 1 {
		d.fail("a state with a boolean that is neither 0 nor 1")
	}
	return d.err == nil && b[0] == 1
}

// Time returns the next value, in UTC.
func (d *Decoder) Time() time.Time {
	ns := d.Int64()
	if ns == noTime || d.err != nil {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Count returns the number of things that follow, each of at least size bytes.
// More than there can be in what is left are an error.
func (d *Decoder) Count(size int) int {
	b := d.take(4)
	if b == nil {
		return 0
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n)*uint64(max(1, size)) > uint64(len(d.b)) {
		d.fail("a state that is cut short")
		return 0
	}
	return int(n)
}

// Bytes returns the next value, which is part of the state.
func (d *Decoder) Bytes() []byte { return d.take(d.Count(1)) }

// Text returns the next value.
func (d *Decoder) Text() string { return string(d.Bytes()) }

// Value reads a value that reads itself, such as an [EffectLog].
func (d *Decoder) Value(v encoding.BinaryUnmarshaler) {
	b := d.Bytes()
	if d.err != nil {
		return
	}
	if err := v.UnmarshalBinary(b); err != nil {
		d.err, d.b = err, nil
	}
}

// Close returns the first error, and one if the state goes on.
func (d *Decoder) Close() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("a state with " + strconv.Itoa(len(d.b)) + " bytes too many")
	}
	return d.err
}

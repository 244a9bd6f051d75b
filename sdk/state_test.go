package sdk

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func encodeAll() []byte {
	e := NewEncoder(2)
	e.Uint64(1 << 63)
	e.Int64(-1)
	e.Bool(true)
	e.Bool(false)
	e.Time(time.Unix(1, 2))
	e.Count(2)
	e.Text("one")
	e.Bytes([]byte{2})
	return e.Data()
}

func decodeAll(b []byte) (again []byte, err error) {
	d := NewDecoder(b, 2)
	e := NewEncoder(d.Version())
	e.Uint64(d.Uint64())
	e.Int64(d.Int64())
	e.Bool(d.Bool())
	e.Bool(d.Bool())
	e.Time(d.Time())
	n := d.Count(4)
	e.Count(n)
	for range n {
		e.Text(d.Text())
	}
	return e.Data(), d.Close()
}

func TestState(t *testing.T) {
	b := encodeAll()
	want := "\x02" + "\x00\x00\x00\x00\x00\x00\x00\x80" + "\xff\xff\xff\xff\xff\xff\xff\xff" + "\x01\x00" +
		"\x02\xca\x9a\x3b\x00\x00\x00\x00" + "\x02\x00\x00\x00" + "\x03\x00\x00\x00one" + "\x01\x00\x00\x00\x02"
	if string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	if again, err := decodeAll(b); err != nil || !bytes.Equal(again, b) {
		t.Errorf("got %x, %v, want %x", again, err, b)
	}
	for i := range b {
		if _, err := decodeAll(b[:i]); err == nil || err.Error() != "a state that is cut short" {
			t.Errorf("of %d bytes: got error %v", i, err)
		}
	}
	if _, err := decodeAll(append(b, 0)); err == nil || err.Error() != "a state with 1 bytes too many" {
		t.Errorf("got error %v", err)
	}
}

// TestNoTime holds that a time that was never set is not set when restored.
func TestNoTime(t *testing.T) {
	e := NewEncoder(1)
	e.Time(time.Time{})
	e.Time(time.Unix(0, 0))
	d := NewDecoder(e.Data(), 1)
	if got := d.Time(); !got.IsZero() || got.Location() != time.UTC {
		t.Errorf("got %v, want the zero Time", got)
	}
	if got := d.Time(); got.IsZero() || got.UnixNano() != 0 {
		t.Errorf("got %v, want 1970", got)
	}
	if got := d.Time(); !got.IsZero() || d.Close() == nil {
		t.Errorf("got %v after the end", got)
	}
}

func TestStateRefuses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		read func(*Decoder)
		want string
	}{
		{"\x00", func(*Decoder) {}, "a state of version 0, and the program knows 1 to 2"},
		{"\x03", func(*Decoder) {}, "a state of version 3"},
		{"\x01\x02", func(d *Decoder) { d.Bool() }, "a boolean that is neither 0 nor 1"},
		{"\x01\xff\xff\xff\xff", func(d *Decoder) { d.Bytes() }, "cut short"},
		{"\x01\xff\xff\xff\xff", func(d *Decoder) { d.Count(1 << 40) }, "cut short"},
		{"\x01\x02\x00\x00\x00abc", func(d *Decoder) { d.Count(2) }, "cut short"},
		{"\x01\x01\x00\x00\x00a", func(d *Decoder) { d.Value(new(EffectLog)) }, "effects: "},
	} {
		d := NewDecoder([]byte(tt.in), 2)
		tt.read(d)
		if err := d.Close(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want one with %q", tt.in, err, tt.want)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add(encodeAll())
	f.Add([]byte("\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := decodeAll(b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is %x when written again", b, again)
		}
	})
}

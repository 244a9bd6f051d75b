package sdk

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// vectors returns the lines of a file of testdata/sdk, in words.
func vectors(t *testing.T, file string) (lines [][]string) {
	t.Helper()
	b, err := os.ReadFile("../testdata/sdk/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			lines = append(lines, words)
		}
	}
	if len(lines) < 10 {
		t.Fatalf("%s has %d vectors", file, len(lines))
	}
	return lines
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Trim(s, "-"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStateVectors(t *testing.T) {
	for _, v := range vectors(t, "state.txt") {
		in := unhex(t, v[1])
		d := NewDecoder(in, 1)
		e := NewEncoder(1)
		var values []string
		say := func(v any) {
			s := fmt.Sprint(v)
			if s == "" {
				s = "-"
			}
			values = append(values, s)
		}
		a := d.Uint64()
		e.Uint64(a)
		say(a)
		b := d.Int64()
		e.Int64(b)
		say(b)
		c := d.Bool()
		e.Bool(c)
		say(map[bool]int{true: 1}[c])
		at := d.Time()
		e.Time(at)
		if at.IsZero() {
			say(noTime)
		} else {
			say(at.UnixNano())
		}
		text := d.Text()
		e.Text(text)
		say(hex.EncodeToString([]byte(text)))
		data := d.Bytes()
		e.Bytes(data)
		say(hex.EncodeToString(data))
		n := d.Count(8)
		e.Count(n)
		var list []string
		for range n {
			x := d.Uint64()
			e.Uint64(x)
			list = append(list, fmt.Sprint(x))
		}
		say(strings.Join(list, ","))
		var log EffectLog
		d.Value(&log)
		e.Value(&log)
		saved, _ := log.MarshalBinary()
		say(hex.EncodeToString(saved))

		got := strings.Join(values, " ")
		err := d.Close()
		if err != nil {
			got = "-"
		}
		if want := strings.Join(v[2:], " "); got != want {
			t.Errorf("%s is %s, %v, want %s", v[0], got, err, want)
		}
		if err == nil && string(e.Data()) != string(in) {
			t.Errorf("%s is %x when written again", v[0], e.Data())
		}
	}
}

func TestEffectVectors(t *testing.T) {
	for _, v := range vectors(t, "effects.txt") {
		var log EffectLog
		got := "-"
		err := log.UnmarshalBinary(unhex(t, v[1]))
		if err == nil {
			saved, _ := log.MarshalBinary()
			got = hex.EncodeToString(saved)
		}
		if got != v[2] {
			t.Errorf("%s is %s, %v, want %s", v[0], got, err, v[2])
		}
	}
}

func TestTransitionVectors(t *testing.T) {
	for _, v := range vectors(t, "transitions.txt") {
		var log EffectLog
		name, ops, want := v[0], v[1:len(v)-2], v[len(v)-1]
		for i, op := range ops {
			op, refused := strings.CutSuffix(op, "!")
			f := append(strings.Split(op, "/"), "", "")
			before, _ := log.MarshalBinary()
			var err error
			switch f[0] {
			case "record":
				err = log.Record(f[1], []byte(f[2]))
			case "begin":
				err = log.Begin(f[1])
			case "confirm":
				err = log.Confirm(f[1])
			case "compensate":
				err = log.Compensate(f[1])
			case "prune":
				log.Prune()
			case "load":
				err = log.UnmarshalBinary(before)
			default:
				t.Fatalf("%s: unknown %q", name, op)
			}
			after, _ := log.MarshalBinary()
			if (err != nil) != refused || refused && string(before) != string(after) {
				t.Errorf("%s: %d, %s: got error %v, and %x became %x", name, i, op, err, before, after)
			}
		}
		saved, _ := log.MarshalBinary()
		if n := binary.LittleEndian.Uint32(saved); int(n) != log.Len() || hex.EncodeToString(saved) != want {
			t.Errorf("%s is %x, want %s", name, saved, want)
		}
	}
}

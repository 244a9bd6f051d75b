package sdk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"igor.dev/sdk/internal/host"
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

// payee is a host whose payments return what a test wants, and are counted.
type payee struct {
	machine
	live int32
	paid int
}

func (p *payee) WalletPay(_ int64, _, _ string, buf []byte) int32 {
	p.paid++
	if p.live != 0 {
		return p.live
	}
	return 4 + int32(binary.PutUvarint(buf, 0))
}

// logger is an agent that has an effect log, and notes what it hears.
type logger struct {
	EffectLog
	ended string
}

func (*logger) Init()                      {}
func (*logger) Tick() bool                 { return false }
func (l *logger) Marshal() []byte          { b, _ := l.MarshalBinary(); return b }
func (l *logger) Unmarshal(b []byte) error { return l.UnmarshalBinary(b) }
func (l *logger) Observe(_ Finding, i string) bool {
	l.ended = i
	return true
}

func TestFindingVectors(t *testing.T) {
	before := host.Current
	defer func() { host.Current = before }()
	for _, v := range vectors(t, "findings.txt") {
		owing = nil
		a := &logger{}
		name, ops, want := v[0], v[1:len(v)-2], v[len(v)-1]
		for n, op := range ops {
			op, refused := strings.CutSuffix(op, "!")
			f := append(strings.Split(op, "/"), "", "")
			saved := a.Marshal()
			var err error
			a.ended = ""
			ended := func(id string) {
				if id == "-" {
					id = ""
				}
				if !refused && a.ended != id {
					t.Errorf("%s: %d ended %q, want %q", name, n, a.ended, id)
				}
			}
			switch f[0] {
			case "act":
				amount, _ := strconv.ParseInt(f[2], 10, 64)
				live, _ := strconv.Atoi(f[3])
				p := &payee{live: int32(live)}
				host.Current = p
				got := "ok"
				var receipt []byte
				err := a.Act(f[1], nil, func() (err error) {
					receipt, err = Pay(amount, "bob", "m")
					return err
				})
				if e, ok := errors.AsType[*Error](err); ok {
					got = strconv.Itoa(int(e.Code))
				} else if p.paid == 0 {
					got = "ok:" + strings.ReplaceAll(string(receipt), " ", "_")
				}
				if strconv.Itoa(p.paid) != f[4] || got != f[5] {
					t.Errorf("%s: %d paid %d times, and got %s, %v", name, n, p.paid, got, err)
				}
			case "tell":
				err = observe(a, unhex(t, f[1]))
				ended(f[2])
			case "tick":
				tick(a)
				ended(f[1])
			case "load":
				a = &logger{}
				err = a.Unmarshal(saved)
			case "record":
				err = a.Record(f[1], []byte(f[2]))
			case "begin":
				err = a.Begin(f[1])
			case "confirm":
				err = a.Confirm(f[1])
			case "compensate":
				err = a.Compensate(f[1])
			case "prune":
				a.Prune()
			default:
				t.Fatalf("%s: unknown %q", name, op)
			}
			if (err != nil) != refused || refused && string(saved) != string(a.Marshal()) {
				t.Errorf("%s: %d, %s: got error %v, and %x became %x", name, n, op, err, saved, a.Marshal())
			}
		}
		if got := hex.EncodeToString(a.Marshal()); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

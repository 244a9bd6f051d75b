package kv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEnvelope is the example of docs/spec/abi.md.
func TestEnvelope(t *testing.T) {
	m := New(MaxTotal)
	for _, e := range [][2]string{{"b", ""}, {"a", "one"}, {"c", "x"}} {
		if err := m.Put([]byte(e[0]), []byte(e[1])); err != nil {
			t.Fatal(err)
		}
	}
	m.Delete([]byte("c"))
	page, err := os.ReadFile("../../../docs/spec/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)\n```hex kv\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/spec/abi.md has no example of a store")
	}
	digits := regexp.MustCompile(`#.*|\s`).ReplaceAll(block[1], nil)
	want, err := hex.DecodeString(string(digits))
	if err != nil {
		t.Fatal(err)
	}
	got := m.Append(nil, []byte("state"))
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	again, own, err := Parse(got, MaxTotal)
	if err != nil || string(own) != "state" || again.Len() != 2 || again.Size() != m.Size() {
		t.Errorf("got %v, %q, %v", again, own, err)
	}
}

// TestModel compares a store with Go's map, through envelopes.
func TestModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m, model := New(1000), map[string]string{}
	full := 0
	for i := range 20_000 {
		key := fmt.Sprint(r.IntN(40))
		switch r.IntN(4) {
		case 0, 1:
			value := strings.Repeat("v", r.IntN(80))
			size := len(key) + len(value) + Overhead
			for k, v := range model {
				if k != key {
					size += len(k) + len(v) + Overhead
				}
			}
			err := m.Put([]byte(key), []byte(value))
			if fits := size <= 1000; fits != (err == nil) || !fits && !errors.Is(err, ErrFull) {
				t.Fatalf("step %d: put with %d bytes: %v", i, size, err)
			}
			if err != nil {
				full++
				continue
			}
			model[key] = value
		case 2:
			_, want := model[key]
			if m.Delete([]byte(key)) != want {
				t.Fatalf("step %d: delete %q: want %v", i, key, want)
			}
			delete(model, key)
		case 3:
			got, ok := m.Get([]byte(key))
			if want, wantOK := model[key]; ok != wantOK || string(got) != want {
				t.Fatalf("step %d: get %q: got %q, %v", i, key, got, ok)
			}
			if i%100 == 0 {
				var err error
				if m, _, err = Parse(m.Append(nil, nil), 1000); err != nil {
					t.Fatal(err)
				}
			}
		}
		if m.Len() != len(model) {
			t.Fatalf("step %d: %d entries, want %d", i, m.Len(), len(model))
		}
	}
	if full == 0 || len(model) == 0 {
		t.Error("the store was never full, or is empty")
	}
	var keys []string
	for _, e := range m.entries {
		keys = append(keys, e.key)
	}
	if !slices.Equal(keys, slices.Sorted(maps.Keys(model))) {
		t.Errorf("got keys %q", keys)
	}
}

// TestPutCopies checks that a store does not share memory with an agent.
func TestPutCopies(t *testing.T) {
	m, key, value := New(100), []byte("k"), []byte("v")
	if err := m.Put(key, value); err != nil {
		t.Fatal(err)
	}
	key[0], value[0] = 'x', 'x'
	if got, _ := m.Get([]byte("k")); string(got) != "v" {
		t.Errorf("got %q", got)
	}
}

func TestPutLimits(t *testing.T) {
	m := New(MaxTotal + 1)
	if err := m.Put(make([]byte, MaxKey), make([]byte, MaxValue)); err != nil {
		t.Error(err)
	}
	if err := m.Put(make([]byte, MaxKey+1), nil); !errors.Is(err, ErrTooLong) {
		t.Errorf("got error %v", err)
	}
	if err := m.Put(nil, make([]byte, MaxValue+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("got error %v", err)
	}
	for i := range MaxTotal/MaxValue + 1 {
		if err := m.Put([]byte{byte(i)}, make([]byte, MaxValue)); err != nil && !errors.Is(err, ErrFull) {
			t.Error(err)
		}
	}
	if m.Size() > MaxTotal || m.Len() != MaxTotal/MaxValue-1 {
		t.Errorf("%d bytes in %d entries", m.Size(), m.Len())
	}
	if len(m.Append(nil, nil)) > MaxEnvelope {
		t.Error("the envelope is longer than the longest")
	}
}

func TestParseErrors(t *testing.T) {
	section := func(s string) []byte { return []byte(tag + s) }
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "does not begin with"},
		{"a state alone", []byte("igor/kv-state/v2\x00"), "does not begin with"},
		{"no count", section("\x01\x00\x00"), "cut short"},
		{"a count that is not there", section("\xff\xff\xff\xff"), "cut short"},
		{"a key that is not there", section("\x01\x00\x00\x00\x02\x00\x00\x00k"), "cut short"},
		{"a value that is not there", section("\x01\x00\x00\x00\x01\x00\x00\x00k\x05\x00\x00\x00v"), "cut short"},
		{"a key too long", section("\x01\x00\x00\x00\x01\x04\x00\x00k"), "a key or a value of 1025 bytes"},
		{"a value too long", section("\x01\x00\x00\x00\x01\x00\x00\x00k\xff\xff\xff\xff"), "a key or a value of 4294967295 bytes"},
		{"a key twice", section("\x02\x00\x00\x00\x01\x00\x00\x00k\x00\x00\x00\x00\x01\x00\x00\x00k\x00\x00\x00\x00"), "entry 1 is not sorted"},
		{"out of order", section("\x02\x00\x00\x00\x01\x00\x00\x00k\x00\x00\x00\x00\x01\x00\x00\x00j\x00\x00\x00\x00"), "entry 1 is not sorted"},
		{"more than the limit", section("\x01\x00\x00\x00\x01\x00\x00\x00k\x60\x00\x00\x00" + strings.Repeat("v", 96)), "more than the 100 bytes"},
	} {
		m, own, err := Parse(tt.in, 100)
		if err == nil || !strings.Contains(err.Error(), tt.want) || m != nil || own != nil {
			t.Errorf("%s: got %v, %q, %v, want an error with %q", tt.name, m, own, err, tt.want)
		}
	}
}

// TestTruncation tries every beginning of an envelope.
func TestTruncation(t *testing.T) {
	m := New(MaxTotal)
	m.Put([]byte("key"), []byte("value"))
	whole := m.Append(nil, nil)
	for i := range whole {
		if _, _, err := Parse(whole[:i], MaxTotal); err == nil {
			t.Errorf("took %d bytes of %d", i, len(whole))
		}
	}
}

func FuzzParse(f *testing.F) {
	m := New(MaxTotal)
	f.Add(m.Append(nil, nil))
	m.Put([]byte("a"), []byte("one"))
	m.Put([]byte("b"), nil)
	f.Add(m.Append(nil, []byte("state")))
	f.Add([]byte(tag + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, own, err := Parse(b, MaxTotal)
		if err != nil {
			return
		}
		if m.Size() > MaxTotal || !bytes.Equal(m.Append(nil, own), b) {
			t.Errorf("%q is another after Parse and Append", b)
		}
	})
}

package ans104_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"igor.dev/archive/arweave/ans104"
	"igor.dev/internal/testkit"
)

// A vector is an item that arbundles made, or what was made of one and why it is none.
type vector struct{ Name, Item, ID, Why string }

func vectors(t testing.TB) (all []vector) {
	var file struct{ Items []vector }
	b, err := os.ReadFile("../../../testdata/archive/vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	if err != nil || len(file.Items) < 20 {
		t.Fatal(len(file.Items), err)
	}
	return file.Items
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		b, err := hex.DecodeString(v.Item)
		if err != nil {
			t.Fatal(err)
		}
		i, err := ans104.Parse(b)
		switch {
		case v.Why == "" && (err != nil || i.ID() != v.ID || !bytes.Equal(i.Append(nil), b)):
			t.Errorf("%s: %v, %v", v.Name, i, err)
		case v.Why != "" && (err == nil || !strings.Contains(err.Error(), v.Why)):
			t.Errorf("%s: %v, want %q", v.Name, err, v.Why)
		}
	}
}

// TestEveryByte changes every byte and cuts at every place: none of it is an item.
func TestEveryByte(t *testing.T) {
	for _, v := range vectors(t)[:3] {
		b, _ := hex.DecodeString(v.Item)
		for i := range b {
			if _, err := ans104.Parse(b[:i]); err == nil {
				t.Fatalf("%s, cut at %d", v.Name, i)
			}
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				if _, err := ans104.Parse(c); err == nil {
					t.Fatalf("%s: byte %d, bit %d", v.Name, i, bit)
				}
			}
		}
	}
}

func TestSign(t *testing.T) {
	key := testkit.NewAgent("x").Private
	for name, tags := range map[string][]ans104.Tag{
		"no name": {{Name: "", Value: "v"}}, "no value": {{Name: "n", Value: ""}},
		"a long name":  {{Name: strings.Repeat("n", 1025), Value: "v"}},
		"a long value": {{Name: "n", Value: strings.Repeat("v", 3073)}},
		"too many":     make([]ans104.Tag, 129),
		"too large":    {{Name: "n", Value: strings.Repeat("v", 3000)}, {Name: "m", Value: strings.Repeat("v", 3000)}},
	} {
		if _, err := ans104.Sign(key, tags, nil); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("A", 42) + "B", "../" + strings.Repeat("A", 40), strings.Repeat("A", 42) + "="} {
		if ans104.ParseID(bad) == nil {
			t.Errorf("%q is an ID", bad)
		}
	}
}

// TestSpec holds the page's example to the vectors.
func TestSpec(t *testing.T) {
	if want := hex.EncodeToString(testkit.SpecBytes(t, "../../../docs/spec", "archive.md", "hex item")); vectors(t)[0].Item != want {
		t.Error("the page has another item than the vectors")
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		b, _ := hex.DecodeString(v.Item)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, err := ans104.Parse(b); err == nil && !bytes.Equal(i.Append(nil), b) {
			t.Error("written as other bytes")
		}
	})
}

package request

import (
	"bytes"
	"testing"

	"igor.dev/internal/testkit"
)

// forms parses bytes as each kind of request, and writes them again.
var forms = map[string]func(b []byte) ([]byte, error){
	"http":    func(b []byte) ([]byte, error) { r, err := ParseHTTP(b); return r.Append(nil), err },
	"pay":     func(b []byte) ([]byte, error) { r, err := ParsePay(b); return r.Append(nil), err },
	"item":    func(b []byte) ([]byte, error) { r, err := ParseItem(b); return r.Append(nil), err },
	"size":    func(b []byte) ([]byte, error) { r, err := ParseSize(b); return r.Append(nil), err },
	"get":     func(b []byte) ([]byte, error) { r, err := ParseGet(b); return r.Append(nil), err },
	"put":     func(b []byte) ([]byte, error) { r, err := ParsePut(b); return r.Append(nil), err },
	"finding": func(b []byte) ([]byte, error) { r, err := ParseFinding(b); return r.Append(nil), err },
}

var examples = map[string][]byte{
	"http":    (&HTTP{Room: 100, Method: "POST", URL: "http://a/", Headers: "A: b", Body: []byte("body")}).Append(nil),
	"pay":     (&Pay{Amount: 5, Room: 100, Recipient: "bob", Memo: "memo"}).Append(nil),
	"item":    Item{1, 2}.Append(nil),
	"size":    Size(7).Append(nil),
	"get":     Get{100, []byte("key")}.Append(nil),
	"put":     Put{[]byte("key"), []byte("value")}.Append(nil),
	"finding": (&Finding{Outcome: Ended, Kind: 8, Effect: [32]byte{1}, Tick: 5, Ordinal: 1, Return: 200, Request: []byte("r"), Result: []byte("res"), Note: []byte("n")}).Append(nil),
}

func TestRequests(t *testing.T) {
	for name, b := range examples {
		if again, err := forms[name](b); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x, %v", name, again, err)
		}
		open := name == "get" || name == "put" // their last part is the rest
		for n := range b {
			if _, err := forms[name](b[:n]); err == nil && !open {
				t.Errorf("%s: %d of %d bytes are one", name, n, len(b))
			}
		}
		if _, err := forms[name](append(bytes.Clone(b), 0)); err == nil && !open {
			t.Errorf("%s: a byte more is one", name)
		}
	}
	if _, err := ParseFinding(make([]byte, 2+32+8+4+8+12)); err == nil {
		t.Error("a finding without an outcome")
	}
}

func FuzzRequest(f *testing.F) {
	for _, b := range examples {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, form := range forms {
			if again, err := form(b); err == nil && !bytes.Equal(again, b) {
				t.Errorf("%s: %x is written %x", name, b, again)
			}
		}
	})
}

// TestSpecExample holds docs/spec/abi.md to what the code does.
func TestSpecExample(t *testing.T) {
	b := testkit.SpecBytes(t, "../../../docs/spec", "abi.md", "hex finding")
	f, err := ParseFinding(b)
	if err != nil || !bytes.Equal(f.Append(nil), b) {
		t.Fatalf("%+v, %v", f, err)
	}
	want := (&Pay{Amount: 2500, Recipient: "bob", Memo: "order 7"}).AppendBare(nil)
	if f.Outcome != Compensated || f.Kind != 9 || f.Tick != 5 || f.Ordinal != 0 || !bytes.Equal(f.Request, want) || len(f.Result) > 0 || string(f.Note) != "asked bob" {
		t.Errorf("%+v, the request should be %x", f, want)
	}
}

package request

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/x402/evm"
)

// forms parses bytes as each kind of request, and writes them again.
var forms = map[string]func(b []byte) ([]byte, error){
	"http":    func(b []byte) ([]byte, error) { r, err := ParseHTTP(b); return r.Append(nil), err },
	"pay":     func(b []byte) ([]byte, error) { r, err := ParsePay(b); return r.Append(nil), err },
	"item":    func(b []byte) ([]byte, error) { r, err := ParseItem(b); return r.Append(nil), err },
	"size":    func(b []byte) ([]byte, error) { r, err := ParseSize(b); return r.Append(nil), err },
	"get":     func(b []byte) ([]byte, error) { r, err := ParseGet(b); return r.Append(nil), err },
	"put":     func(b []byte) ([]byte, error) { r, err := ParsePut(b); return r.Append(nil), err },
	"paid":    func(b []byte) ([]byte, error) { r, err := ParsePaid(b); return r.Append(nil), err },
	"finding": func(b []byte) ([]byte, error) { r, err := ParseFinding(b); return r.Append(nil), err },
}

var examples = map[string][]byte{
	"http": (&HTTP{Room: 100, Method: "POST", URL: "http://a/", Headers: "A: b", Body: []byte("body")}).Append(nil),
	"pay":  (&Pay{Amount: 5, Room: 100, Recipient: "bob", Memo: "memo"}).Append(nil),
	"item": Item{1, 2}.Append(nil),
	"size": Size(7).Append(nil),
	"get":  Get{100, []byte("key")}.Append(nil),
	"put":  Put{[]byte("key"), []byte("value")}.Append(nil),
	"paid": (&Paid{Domain: evm.Domain{Name: "USD Coin", Version: "2", Chain: 8453, Contract: evm.Address{5}}, Since: 7, Name: "PAYMENT-SIGNATURE", Value: "e30=",
		HTTP: (&HTTP{Room: 100, Method: "GET", URL: "http://a/"}).Append(nil)}).Append(nil),
	"finding": (&Finding{Outcome: Ended, Kind: 8, Effect: [32]byte{1}, Tick: 5, Ordinal: 1, Return: 200, Request: []byte("r"), Result: []byte("res"), Note: []byte("n")}).Append(nil),
}

func TestRequests(t *testing.T) {
	for name, b := range examples {
		if again, err := forms[name](b); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %x, %v", name, again, err)
		}
		open := name == "get" || name == "put" || name == "paid" // their last part is the rest
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

// paidVectors are those of testdata/paid-requests.
func paidVectors(t testing.TB) map[string]paidVector {
	t.Helper()
	names, err := filepath.Glob("../../../testdata/paid-requests/*.json")
	if err != nil || len(names) < 12 {
		t.Fatalf("%d vectors, %v", len(names), err)
	}
	all := map[string]paidVector{}
	for _, name := range names {
		src, err := os.ReadFile(name)
		var v paidVector
		if err == nil {
			err = json.Unmarshal(src, &v)
		}
		if err == nil {
			v.bytes, err = hex.DecodeString(v.Request)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[filepath.Base(name)] = v
	}
	return all
}

type paidVector struct {
	Request string
	Refused bool
	Is      struct {
		TokenName, TokenVersion, Token, Header, Value, HTTP string
		Chain, Since                                        uint64 `json:",string"`
	}
	bytes []byte
}

// TestPaidVectors reads what the journal has of requests with a payment, and cuts every one
// everywhere.
func TestPaidVectors(t *testing.T) {
	for name, v := range paidVectors(t) {
		p, err := ParsePaid(v.bytes)
		if v.Refused {
			if err == nil {
				t.Errorf("%s is read as %+v", name, p)
			}
			continue
		}
		is := v.Is
		if err != nil || p.Domain.Name != is.TokenName || p.Domain.Version != is.TokenVersion || p.Domain.Chain != is.Chain || hex.EncodeToString(p.Domain.Contract[:]) != is.Token ||
			p.Since != is.Since || p.Name != is.Header || p.Value != is.Value || hex.EncodeToString(p.HTTP) != is.HTTP {
			t.Errorf("%s is read as %+v, %v", name, p, err)
		}
		if again := p.Append(nil); !bytes.Equal(again, v.bytes) {
			t.Errorf("%s is written %x", name, again)
		}
		for n := range len(v.bytes) - len(p.HTTP) {
			if _, err := ParsePaid(v.bytes[:n]); err == nil {
				t.Errorf("%s: %d bytes are one", name, n)
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, b := range examples {
		f.Add(b)
	}
	for _, v := range paidVectors(f) {
		f.Add(v.bytes)
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

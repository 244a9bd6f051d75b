package runtime

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"igor.dev/runtime/internal/journal"
)

// httpRequest writes what docs/spec/eventlog.md says of an http_request.
func httpRequest(parts ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1024)
	for _, p := range parts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		request []byte
		want    string
	}{
		{httpRequest("POST", "https://api.example.com/orders", "", ""), `POST "https://api.example.com/orders"`},
		{httpRequest("PUT", "https://api.example.com/", "A: b", `{"n": 1}`), `PUT "https://api.example.com/", body "{\"n\": 1}"`},
		{httpRequest("POST", "https://a/", "", strings.Repeat("x", 201)), `POST "https://a/", a body of 201 bytes that begins with "` + strings.Repeat("x", 200) + `"`},
		{httpRequest("POST", "https://a/", "", "\x1b[2J\xff"), `POST "https://a/", body "\x1b[2J` + "\uFFFD" + `"`},
		{httpRequest("POST", "https://a/"), "a request that cannot be read"},
		{append(httpRequest("POST", "https://a/", "", ""), 0), "a request that cannot be read"},
		{nil, "a request that cannot be read"},
	} {
		var e Effect
		e.describe(journal.HTTP, c.request)
		if e.Request != c.want {
			t.Errorf("%q is described as %q, want %q", c.request, e.Request, c.want)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add(uint8(journal.HTTP), httpRequest("POST", "https://a/", "A: b", "body"))
	f.Add(uint8(journal.Payment), []byte("igor/payment-receipt/v1\x00"))
	f.Fuzz(func(t *testing.T, kind uint8, request []byte) {
		var e Effect
		e.describe(journal.Kind(kind), request)
		if e.Request == "" || !utf8.ValidString(e.Request) || len(e.Request) > 8<<10 {
			t.Errorf("described as %q", e.Request)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	})
}

package arweave

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"igor.dev/archive"
)

// FuzzAnswer reads what a gateway answers to a query.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"data": {"transactions": {"pageInfo": {"hasNextPage": true}, "edges": [{"cursor": "a", "node": {"id": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "owner": {"address": "x"}, "tags": [{"name": "Name", "value": "head"}], "data": {"size": "12"}}}]}}}`))
	f.Add([]byte(`{"errors": [{"message": "no"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, next, err := parseAnswer(b)
		if err != nil && (len(items) > 0 || next != "") {
			t.Error("something beside an error")
		}
		if len(items) > page {
			t.Error(len(items), "items")
		}
	})
}

// An always answers everything with the same.
type always struct {
	code int
	body []byte
}

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.code, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// FuzzStatus has a bundler say anything of an item: it is final only if the bundler says so.
func FuzzStatus(f *testing.F) {
	f.Add(200, []byte(`{"status": "FINALIZED"}`))
	f.Add(200, []byte(`{"status": "CONFIRMED"}`))
	f.Add(404, []byte(`TX doesn't exist`))
	f.Add(500, []byte(`{"status": "FINALIZED"}`))
	f.Add(200, []byte(`{"status": ["FINALIZED"]}`))
	id := strings.Repeat("A", 43)
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		if code < 200 || code > 599 {
			return
		}
		target, err := Open(Config{Bundler: "https://bundler.example/v1", Transport: always{code, body}})
		if err != nil {
			t.Fatal(err)
		}
		stage, err := target.Confirm(t.Context(), "igor/did:key:z6Mk/segments/0.car", id)
		if stage == archive.Final && (err != nil || code/100 != 2 || !bytes.Contains(body, []byte("FINALIZED")) && !bytes.Contains(body, []byte(`\u`))) {
			t.Errorf("final, by %d %q", code, body)
		}
		target.about(t.Context())
		target.gateways(t.Context())
	})
}

// FuzzURL reads the name of a target.
func FuzzURL(f *testing.F) {
	f.Add("arweave+https://bundler.example/v1?gateway=https://a.example&gateway=https://b.example&price=https://p.example&most=5")
	f.Add("arweave+http://[::1]:1/?most=-1")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseURL(s)
		if err == nil && (!strings.HasPrefix(c.Bundler, "http") || len(c.Gateways) > maxGateways || c.Most < 0) {
			t.Errorf("%q is %+v", s, c)
		}
		if err != nil {
			return
		}
		target, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseURL(target.Address()); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%+v is opened again by %q, which is %+v: %v", c, target.Address(), again, err)
		}
	})
}

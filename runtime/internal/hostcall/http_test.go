package hostcall_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"igor.dev/runtime/internal/hostcall"
)

// FuzzHTTPRequest checks that what passes goes to the host that is allowed, as
// the one request that it is.
func FuzzHTTPRequest(f *testing.F) {
	f.Add("https://api.example.com/x?y", "Accept: a\r\nX-B: c")
	f.Add("http://API.example.com:80", "")
	f.Add("http://api.example.com@evil.org/", "Host: x")
	f.Add("http://evil.org\\@api.example.com/", "A: b\rC: d")
	f.Add("http://api.example.com:80#@evil.org", "A:")
	m, err := manifestOf(`{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": ["api.example.com"]}}}}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address, headers string) {
		r := &hostcall.HTTPRequest{Method: "GET", URL: address, Headers: headers}
		u, err := r.Target()
		if err != nil || !m.HTTP.Allows(u) {
			return
		}
		header, err := r.Header()
		if err != nil {
			return
		}
		var wire bytes.Buffer
		sent := &http.Request{Method: r.Method, URL: u, Header: header}
		if err := sent.Write(&wire); err != nil {
			return
		}
		in := bufio.NewReader(&wire)
		got, err := http.ReadRequest(in)
		if err != nil {
			return // the other side takes nothing that it cannot read
		}
		host, _, _ := strings.Cut(strings.ToLower(got.Host), ":")
		if host != "api.example.com" || in.Buffered() > 0 {
			t.Errorf("%q with %q is a request to %q, and %d bytes more", address, headers, got.Host, in.Buffered())
		}
		if len(got.Header) > len(header)+1 { // and User-Agent
			t.Errorf("%q has headers %v on the wire, and %v before", headers, got.Header, header)
		}
	})
}

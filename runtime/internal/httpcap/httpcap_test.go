package httpcap

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/manifest"
)

// client returns a client that reaches the hosts of the URLs given.
func client(t *testing.T, more string, urls ...string) *Client {
	t.Helper()
	var hosts []string
	for _, s := range urls {
		host := s
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			host = u.Host
		}
		hosts = append(hosts, fmt.Sprintf("%q", host))
	}
	m, err := manifest.Parse(fmt.Appendf(nil, `{"capabilities": {"http": {"version": 1, "options": {"allowed_hosts": [%s]%s}}}}`,
		strings.Join(hosts, ","), more))
	if err != nil {
		t.Fatal(err)
	}
	return New(m.HTTP)
}

func get(u string) *hostcall.HTTPRequest { return &hostcall.HTTPRequest{Method: "GET", URL: u} }

func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestDo(t *testing.T) {
	var got *http.Request
	var body string
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout")
	})
	c := client(t, "", u)
	answer, code := c.Do(t.Context(), &hostcall.HTTPRequest{
		Method: "PUT", URL: u + "/pot?a=b#c", Headers: "X-One: 1\r\nx-two:\t2 \n\nX-One: 3", Body: []byte("tea"),
		Extra: http.Header{"Idempotency-Key": {"k"}},
	})
	if code != http.StatusTeapot || string(answer) != "short and stout" {
		t.Errorf("got %d %q", code, answer)
	}
	if got.Method != "PUT" || got.URL.String() != "/pot?a=b" || body != "tea" || got.ContentLength != 3 {
		t.Errorf("got %s %s with %q", got.Method, got.URL, body)
	}
	want := http.Header{"X-One": {"1", "3"}, "X-Two": {"2"}, "Idempotency-Key": {"k"}, "User-Agent": {"igor"}, "Content-Length": {"3"}, "Connection": {"close"}}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("got headers %v, want %v", got.Header, want)
	}
}

// TestHosts checks which URLs lead nowhere, with a server that would answer.
func TestHosts(t *testing.T) {
	served := 0
	u := serve(t, func(http.ResponseWriter, *http.Request) { served++ })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(u, "http://"))
	for _, tt := range []struct {
		allowed []string
		url     string
		code    int32
	}{
		{nil, u, hostcall.CodeNotAllowed},
		{[]string{"example.com"}, u, hostcall.CodeNotAllowed},
		{[]string{"127.0.0.1"}, u, 200}, // every port
		{[]string{"127.0.0.1:1"}, u, hostcall.CodeNotAllowed},
		{[]string{u}, "http://127.1:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://2130706433:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://0x7f.0.0.1:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://[::ffff:127.0.0.1]:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://localhost:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://127.0.0.1.:" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://127.0.0.1:0" + port, hostcall.CodeNotAllowed},
		{[]string{u}, "http://user@127.0.0.1:" + port, hostcall.CodeProcessing},
		{[]string{u}, "ftp://127.0.0.1:" + port, hostcall.CodeProcessing},
		{[]string{u}, "//127.0.0.1:" + port, hostcall.CodeProcessing},
		{[]string{u}, "http://127.0.0.1:" + port + "/ x", hostcall.CodeProcessing},
		{[]string{u}, "http://127.0.0.1:" + port + "\r\nHost: x", hostcall.CodeProcessing},
		{[]string{u}, u, 200},
		{[]string{"localhost:" + port}, "http://localhost:" + port, 200},
		{[]string{"localhost"}, "http://localhost:" + port, 200},
		{[]string{"LocalHost:" + port}, "http://LOCALHOST:" + port, 200},
	} {
		before := served
		_, code := client(t, "", tt.allowed...).Do(t.Context(), get(tt.url))
		if code != tt.code || (served > before) != (code == 200) {
			t.Errorf("%q with %q: got %d and %d requests, want %d", tt.url, tt.allowed, code, served-before, tt.code)
		}
	}
}

// TestRebinding checks that a name that is allowed leads to no address inside,
// whatever DNS says, and however often it changes its mind.
func TestRebinding(t *testing.T) {
	served := 0
	u := serve(t, func(http.ResponseWriter, *http.Request) { served++ })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(u, "http://"))
	c := client(t, "", "api.example.com:"+port)
	var asked atomic.Int32
	c.resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answer(theirs, [4]byte{127, 0, 0, 1}, &asked)
		return ours, nil
	}}
	for range 3 {
		if _, code := c.Do(t.Context(), get("http://api.example.com:"+port)); code != hostcall.CodeNotAllowed {
			t.Errorf("got %d, want %d", code, hostcall.CodeNotAllowed)
		}
	}
	if served > 0 || asked.Load() == 0 {
		t.Errorf("%d requests came to an address inside, %d questions to DNS", served, asked.Load())
	}
}

// answer speaks DNS on a connection: every name has the address ip.
func answer(conn net.Conn, ip [4]byte, asked *atomic.Int32) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, q); err != nil {
			return
		}
		asked.Add(1)
		end := 12
		for q[end] != 0 {
			end += 1 + int(q[end])
		}
		end += 5
		reply := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if q[end-3] == 1 { // a question for A, not AAAA
			reply[7] = 1
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ip[0], ip[1], ip[2], ip[3])
		}
		conn.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...))
	}
}

func TestRedirects(t *testing.T) {
	var target string
	var served []string
	handler := func(w http.ResponseWriter, r *http.Request) {
		served = append(served, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Secret"))
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, target, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/mangled":
			w.Header().Set("Location", "http://[")
			w.WriteHeader(http.StatusFound)
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		}
	}
	first, second := serve(t, handler), serve(t, handler)
	for _, tt := range []struct {
		name, method, path, target string
		code                       int32
		served                     string
	}{
		{"to the same host", "GET", "/moved", "", 200, "GET /moved s GET /end s"},
		{"to another that is allowed", "GET", "/away", second + "/end", 200, "GET /away s GET /end "},
		{"to one that is not", "GET", "/away", "http://127.0.0.2:1/", hostcall.CodeNotAllowed, "GET /away s"},
		{"to the metadata of a cloud", "GET", "/away", "http://169.254.169.254/latest", hostcall.CodeNotAllowed, "GET /away s"},
		{"to a file", "GET", "/file", "", hostcall.CodeProcessing, "GET /file s"},
		{"to nothing", "GET", "/mangled", "", hostcall.CodeProcessing, "GET /mangled s"},
		{"in circles", "GET", "/loop", "", hostcall.CodeProcessing, strings.TrimSpace(strings.Repeat("GET /loop s ", maxRedirects+1))},
		{"of a side effect", "POST", "/moved", "", http.StatusTemporaryRedirect, "POST /moved s"},
	} {
		target, served = tt.target, nil
		_, code := client(t, "", first, second).Do(t.Context(), &hostcall.HTTPRequest{Method: tt.method, URL: first + tt.path, Headers: "X-Secret: s"})
		if got := strings.Join(served, " "); code != tt.code || got != tt.served {
			t.Errorf("%s: got %d after %q, want %d after %q", tt.name, code, got, tt.code, tt.served)
		}
	}
}

// TestTLS checks that https is checked against the roots, and never left.
func TestTLS(t *testing.T) {
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("left https") })
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain, http.StatusFound)
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not trust it
	defer secure.Close()
	c := client(t, "", plain, secure.URL)
	if _, code := c.Do(t.Context(), get(secure.URL)); code != hostcall.CodeFailed {
		t.Errorf("a certificate that nobody trusts: got %d", code)
	}
	c.transport.TLSClientConfig = secure.Client().Transport.(*http.Transport).TLSClientConfig
	if _, code := c.Do(t.Context(), get(secure.URL)); code != 200 {
		t.Errorf("got %d", code)
	}
	if _, code := c.Do(t.Context(), get(secure.URL+"/down")); code != hostcall.CodeNotAllowed {
		t.Errorf("from https to http: got %d", code)
	}
}

func TestLimits(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/slow-body":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/long":
			w.Header().Set("Content-Length", "1000000000")
		case "/endless":
			for w != nil {
				if _, err := w.Write(make([]byte, 1<<12)); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", maxResponseHeaders))
		case "/zip":
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "\x1f\x8b")
		case "/exact":
			io.WriteString(w, strings.Repeat("x", 100))
		}
	})
	for _, tt := range []struct {
		path string
		code int32
		body string
	}{
		{"/slow", hostcall.CodeTimeout, ""},
		{"/slow-body", hostcall.CodeTimeout, ""},
		{"/long", hostcall.CodeTooLarge, "\x04\xca\x9a\x3b"},
		{"/endless", hostcall.CodeTooLarge, "\x69\x00\x00\x00"},
		{"/headers", hostcall.CodeFailed, ""},
		{"/zip", 200, "\x1f\x8b"},
		{"/exact", 200, strings.Repeat("x", 100)},
	} {
		timeout := time.Minute
		if tt.code == hostcall.CodeTimeout {
			timeout = 50 * time.Millisecond
		}
		c := client(t, `, "max_response_bytes": 100`, u)
		c.options.Timeout = timeout
		body, code := c.Do(t.Context(), get(u+tt.path))
		if code != tt.code || string(body) != tt.body {
			t.Errorf("%s: got %d %q, want %d %q", tt.path, code, body, tt.code, tt.body)
		}
	}
}

// TestSentOnce checks that a side effect that gets no answer is not sent again,
// though it has the header that net/http takes for leave to do that.
func TestSentOnce(t *testing.T) {
	var served atomic.Int32
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1); r.URL.Path == "/die" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	})
	c := client(t, "", u)
	for i, path := range []string{"/", "/die", "/", "/die"} {
		// Without a body, which net/http could not send again.
		_, code := c.Do(t.Context(), &hostcall.HTTPRequest{Method: "POST", URL: u + path, Extra: http.Header{"Idempotency-Key": {"k"}}})
		if want := map[string]int32{"/": 200, "/die": hostcall.CodeFailed}[path]; code != want || served.Load() != int32(i+1) {
			t.Errorf("request %d to %s: got %d, and %d were served", i, path, code, served.Load())
		}
	}
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	if c := client(t, ""); c.transport.Proxy != nil {
		t.Error("the environment's proxy is used")
	}
}

func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"1.1.1.1": true, "93.184.215.14": true, "2606:4700::1111": true, "100.63.0.1": true, "100.128.0.1": true, "172.32.0.1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "127.0.0.1": false, "127.255.0.1": false, "100.64.0.1": false,
		"100.127.255.255": false, "169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"192.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::127.0.0.1": false, "::ffff:127.0.0.1": false, "::ffff:1.1.1.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b::101:101": false, "64:ff9b:1::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false,
		"fd12::1": false, "ff02::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "100::1": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}

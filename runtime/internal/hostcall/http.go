package hostcall

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"igor.dev/runtime/internal/manifest"
	"igor.dev/x402"
)

// Limits of a request, in bytes.
const (
	MaxMethod  = 32
	MaxURL     = 8 << 10
	MaxHeaders = 32 << 10
	MaxBody    = 1 << 20
)

// An HTTPRequest is what an agent asks for with http_request. It is well-formed,
// and its host is one that the manifest allows.
type HTTPRequest struct {
	Method  string
	URL     string
	Headers string // lines "Name: value", as the agent gave them
	Body    []byte
	Room    uint32 // of the agent's buffer

	// Extra is sent beside Headers, and replaces those of the same name.
	Extra http.Header

	// Unpaid says that this call may not pay, whatever the answer asks for.
	Unpaid bool
	// Once has the request sent to its own URL alone, even if the answer leads elsewhere.
	Once bool
	// Heard is filled in with the answer's headers by a [Doer], if it is there, and
	// there is an answer from the request's own URL.
	Heard *http.Header
}

// A Doer sends requests. A code that is not negative is the status, and comes
// with the body. With CodeTooLarge the body is empty, or the size needed (u32).
type Doer interface {
	Do(ctx context.Context, r *HTTPRequest) (body []byte, code int32)
}

// Effect reports whether the request is a side effect.
func (r *HTTPRequest) Effect() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// Target parses the request's URL.
func (r *HTTPRequest) Target() (*url.URL, error) {
	if strings.ContainsFunc(r.URL, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return nil, errors.New("a URL is ASCII without spaces")
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return nil, errors.New("not an absolute URL of http or https")
	case u.User != nil:
		return nil, errors.New("a URL with a user in it")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

var (
	errHeader          = errors.New("headers are lines of the form Name: value")
	errForbiddenHeader = errors.New("a header that is not the agent's to set")
)

// forbidden are the headers that say how a request is carried, or through whom.
var forbidden = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Keep-Alive": true,
	"Proxy-Authorization": true, "Proxy-Connection": true, "Te": true, "Trailer": true, "Upgrade": true,
	"Expect": true, "Accept-Encoding": true, "Idempotency-Key": true, "X-Idempotency-Key": true, "Http2-Settings": true,
}

// Header parses the request's headers, and adds Extra.
func (r *HTTPRequest) Header() (http.Header, error) {
	h := http.Header{}
	for line := range strings.SplitSeq(r.Headers, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !token(name) {
			return nil, errHeader
		}
		value = strings.Trim(value, " \t")
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil, errHeader
		}
		name = http.CanonicalHeaderKey(name)
		if forbidden[name] {
			return nil, errForbiddenHeader
		}
		h[name] = append(h[name], value)
	}
	for name, values := range r.Extra {
		h[name] = values
	}
	return h, nil
}

// token reports whether s is a token of RFC 9110.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// check returns the code of what is wrong with a request, or 0.
func (r *HTTPRequest) check(grants *manifest.Manifest, p Phase) int32 {
	u, err := r.Target()
	if err != nil || !token(r.Method) {
		return CodeProcessing
	}
	m, pays := &grants.HTTP, grants.X402.Pays(u)
	if _, err := r.Header(); err == errForbiddenHeader {
		return CodeNotAllowed
	} else if err != nil {
		return CodeProcessing
	}
	// A payment is the runtime's to make.
	if h, _ := r.Header(); pays && slices.ContainsFunc(x402.PaymentHeaders(), func(name string) bool { return h.Get(name) != "" }) {
		return CodeNotAllowed
	}
	if r.Method == http.MethodConnect || p == Resume || r.Effect() && p != Tick || !m.Allows(u) {
		return CodeNotAllowed
	}
	return 0
}

var httpRequest = function{
	capability: "http",
	name:       "http_request",
	params:     types(i32, i32, i32, i32, i32, i32, i32, i32, i32, i32),
	results:    types(i32),
	price:      price{{1, MaxMethod, perByte}, {3, MaxURL, perByte}, {5, MaxHeaders, perByte}, {7, MaxBody, perByte}, {9, 4 + manifest.MaxResponse, perRoom}},
	do: func(c *call) {
		var in [4][]byte
		for i, limit := range [...]uint32{MaxMethod, MaxURL, MaxHeaders, MaxBody} {
			b, code := c.input(2*i, limit)
			if code != 0 {
				c.return32(code)
				return
			}
			in[i] = b
		}
		room, ok := c.room(8)
		if !ok {
			c.return32(CodeFailed)
			return
		}
		// The body is copied, for a transport may read it after the call.
		r := &HTTPRequest{Method: string(in[0]), URL: string(in[1]), Headers: string(in[2]), Body: bytes.Clone(in[3]), Room: room, Unpaid: c.phase != Tick}
		if code := r.check(c.Manifest, c.phase); code != 0 {
			c.return32(code)
			return
		}
		written, code := c.Host.HTTP(c.ctx, r)
		c.output(8, written, code)
	},
}

package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"igor.dev/internal/public"
)

// A client asks servers that may be hostile.
type client struct {
	http   *http.Client
	limits Limits

	mu    sync.Mutex
	named map[string]bool // HOST:PORT that the caller named, or the environment as a proxy
}

// newClient returns a client for servers at the addresses that the caller named. They may be
// anywhere. What a server redirects to, or a name on the way there, has to be a public address:
// a server must not make this machine ask what only this machine reaches.
func newClient(limits Limits, bases ...*url.URL) *client {
	c := &client{limits: limits, named: make(map[string]bool)}
	for _, u := range bases {
		c.named[hostPort(u)] = true
	}
	open := &net.Dialer{Timeout: limits.Stall}
	guarded := &net.Dialer{Timeout: limits.Stall, Control: func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || !public.Addr(at.Addr()) {
			return errPrivate
		}
		return nil
	}}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy: func(r *http.Request) (*url.URL, error) {
				u, err := http.ProxyFromEnvironment(r)
				if u != nil {
					c.mu.Lock()
					c.named[hostPort(u)] = true
					c.mu.Unlock()
				}
				return u, err
			},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c.mu.Lock()
				named := c.named[strings.ToLower(address)]
				c.mu.Unlock()
				if named {
					return open.DialContext(ctx, network, address)
				}
				return guarded.DialContext(ctx, network, address)
			},
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // a small answer must not become a large one
			MaxIdleConnsPerHost:    limits.Parallel,
			MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout:    limits.Stall,
			ResponseHeaderTimeout:  limits.Stall,
			IdleConnTimeout:        time.Minute,
		},
		CheckRedirect: c.redirect,
	}
	return c
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

var (
	errPrivate   = errors.New("it leads to an address that is not public")
	errRedirects = errors.New("it redirects too often")
	errScheme    = errors.New("it redirects to something else than https")
)

// redirect decides whether to follow a redirect.
func (c *client) redirect(r *http.Request, via []*http.Request) error {
	before := via[len(via)-1].URL
	switch {
	case len(via) > c.limits.Redirects:
		return errRedirects
	case r.URL.Scheme != "https" && r.URL.Scheme != before.Scheme, r.URL.Scheme != "https" && r.URL.Scheme != "http":
		return errScheme
	case r.URL.User != nil:
		return errScheme
	}
	c.mu.Lock()
	named := c.named[hostPort(r.URL)]
	c.mu.Unlock()
	if named {
		return nil
	}
	// Behind a proxy no address is looked up here.
	if !public.Host(r.URL.Hostname()) {
		return errPrivate
	}
	return nil
}

// An answer is what a server says to one request.
type answer struct {
	io.ReadCloser
	offset int64 // where in the file it begins
	size   int64 // of the whole file, -1 if that is not known
}

// A statusError is an answer that is none.
type statusError struct {
	code int
	wait time.Duration // that the server asks for
}

func (e *statusError) Error() string {
	switch e.code {
	case http.StatusNotFound, http.StatusGone:
		return "it is not there (HTTP status " + strconv.Itoa(e.code) + ")"
	}
	return strings.TrimSpace("HTTP status " + strconv.Itoa(e.code) + " " + http.StatusText(e.code))
}

// isMissing reports whether a server says that it has not what it was asked for.
func isMissing(err error) bool {
	s, ok := errors.AsType[*statusError](err)
	return ok && (s.code == http.StatusNotFound || s.code == http.StatusGone)
}

// temporary reports whether the same may succeed soon, and how long to wait.
func temporary(err error) (wait time.Duration, ok bool) {
	if s, is := errors.AsType[*statusError](err); is {
		switch s.code {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return s.wait, true
		}
		return s.wait, s.code >= 500 && s.code != http.StatusNotImplemented
	}
	for _, never := range []error{errPrivate, errRedirects, errScheme, errCompressed, errTooLarge, errSlow, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, never) {
			return 0, false
		}
	}
	if dns, is := errors.AsType[*net.DNSError](err); is && dns.IsNotFound {
		return 0, false
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, false
	}
	return 0, true
}

var (
	errCompressed = errors.New("it sends the answer compressed, though it was asked not to")
	errTooLarge   = errors.New("it sends more than there can be")
	errSlow       = errors.New("it sends too slowly")
	errStalled    = errors.New("nothing came from it for too long")
)

// get asks for a file from an offset on. At most limit bytes can be read.
func (c *client) get(ctx context.Context, u *url.URL, accept string, offset, limit int64) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", "igor")
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := c.http.Do(r)
	if err != nil {
		cancel(nil)
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return nil, err
	}
	fail := func(err error) (*answer, error) {
		cancel(nil)
		resp.Body.Close()
		return nil, err
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fail(errCompressed)
	}
	a := &answer{size: resp.ContentLength}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		var last int64
		whole := ""
		if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%s", &a.offset, &last, &whole); n != 3 || a.offset != offset {
			return fail(errors.New("it sends another part than it was asked for"))
		}
		if a.size, err = strconv.ParseInt(whole, 10, 64); err != nil {
			a.size = -1
		}
	default:
		wait, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return fail(&statusError{resp.StatusCode, time.Duration(min(max(wait, 0), 30)) * time.Second})
	}
	if a.size > limit {
		return fail(errTooLarge)
	}
	a.ReadCloser = newPaced(resp.Body, cancel, limit-a.offset, c.limits)
	return a, nil
}

// A paced body ends with an error when nothing comes, too little, or too much.
type paced struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limits Limits
	left   int64
	begun  time.Time
	got    int64

	mu    sync.Mutex
	cause error
}

func newPaced(body io.ReadCloser, cancel context.CancelCauseFunc, limit int64, limits Limits) *paced {
	p := &paced{ReadCloser: body, cancel: cancel, limits: limits, left: limit, begun: time.Now()}
	p.timer = time.AfterFunc(limits.Stall, func() { p.stop(errStalled) })
	return p
}

func (p *paced) stop(err error) {
	p.mu.Lock()
	p.cause = err
	p.mu.Unlock()
	p.cancel(err)
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if n > 0 {
		p.timer.Reset(p.limits.Stall)
	}
	p.got += int64(n)
	if p.left -= int64(n); p.left < 0 {
		p.cancel(errTooLarge)
		return 0, errTooLarge
	}
	// One byte now and then keeps a connection for ever.
	if took := time.Since(p.begun); took > p.limits.Stall && float64(p.got) < took.Seconds()*float64(p.limits.Slowest) && err == nil {
		p.cancel(errSlow)
		return n, errSlow
	}
	if err != nil && err != io.EOF {
		p.mu.Lock()
		if p.cause != nil {
			err = p.cause
		}
		p.mu.Unlock()
	}
	return n, err
}

func (p *paced) Close() error {
	p.timer.Stop()
	p.cancel(nil)
	return p.ReadCloser.Close()
}

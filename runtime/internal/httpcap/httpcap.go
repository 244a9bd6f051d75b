// Package httpcap sends the HTTP requests of agents.
//
// An agent reaches the hosts that its manifest names, and no others: every
// redirect is checked like the first request, and the address of every
// connection is checked when it is made, after the name was resolved. An address
// that is not public is reached only where the manifest names it literally, or
// names localhost; no name in DNS leads to one.
//
// A request is sent once. Connections are not kept, for net/http sends a
// request again if a kept connection turns out to be closed, and it takes an
// Idempotency-Key for leave to do that with a side effect.
package httpcap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/manifest"
)

// Limits of an answer.
const (
	maxRedirects       = 5
	maxResponseHeaders = 64 << 10
)

// A Client sends the requests of one agent. It is safe for concurrent use.
type Client struct {
	options   manifest.HTTP
	transport *http.Transport
	resolver  *net.Resolver // nil = the system's
}

// New returns a client that reaches what the options allow.
func New(options manifest.HTTP) *Client {
	c := &Client{options: options}
	c.transport = &http.Transport{
		// No Proxy: the node's environment is not the agent's.
		DialContext:            c.dial,
		DisableKeepAlives:      true,
		DisableCompression:     true, // or a small body could be a large response
		MaxResponseHeaderBytes: maxResponseHeaders,
		Protocols:              new(http.Protocols),
	}
	c.transport.Protocols.SetHTTP1(true) // HTTP/2 sends again, too
	return c
}

var errAddress = errors.New("the host has an address that the manifest does not allow")

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	literal, _ := netip.ParseAddr(host)
	d := net.Dialer{
		Resolver: c.resolver,
		Control: func(_, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			ip := to.Addr().Unmap()
			if ip == literal.Unmap() || host == "localhost" && ip.IsLoopback() || public(ip) {
				return nil
			}
			return errAddress
		},
	}
	return d.DialContext(ctx, network, address)
}

// Do implements [hostcall.Doer].
func (c *Client) Do(ctx context.Context, r *hostcall.HTTPRequest) (body []byte, code int32) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	u, err := r.Target()
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	header, err := r.Header()
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	own := u
	if header["User-Agent"] == nil {
		header.Set("User-Agent", "igor")
	}
	for range maxRedirects + 1 {
		resp, code := c.send(ctx, r, u, header)
		if code != 0 {
			return nil, code
		}
		if r.Heard != nil {
			*r.Heard = nil
			if u == own {
				*r.Heard = resp.Header
			}
		}
		next, code := redirect(r, resp, u)
		if code != 0 || next == nil {
			defer resp.Body.Close()
			if code != 0 {
				return nil, code
			}
			return c.read(ctx, r, resp)
		}
		resp.Body.Close()
		if next.Scheme != u.Scheme || next.Host != u.Host {
			header = impersonal(header)
		}
		u = next
	}
	return nil, hostcall.CodeProcessing
}

// send makes one exchange, up to the response's headers.
func (c *Client) send(ctx context.Context, r *hostcall.HTTPRequest, u *url.URL, header http.Header) (*http.Response, int32) {
	if !c.options.Allows(u) {
		return nil, hostcall.CodeNotAllowed
	}
	host, err := manifest.HostOf(u)
	if err != nil {
		return nil, hostcall.CodeNotAllowed
	}
	to := *u
	to.Host = host.String() // what was checked is what is dialled
	req := (&http.Request{Method: r.Method, URL: &to, Host: u.Host, Header: header.Clone(), Body: http.NoBody}).WithContext(ctx)
	if len(r.Body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(r.Body))
		req.ContentLength = int64(len(r.Body))
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, codeOf(ctx, err)
	}
	return resp, 0
}

func codeOf(ctx context.Context, err error) int32 {
	var timeout net.Error
	switch {
	case errors.Is(err, errAddress):
		return hostcall.CodeNotAllowed
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return hostcall.CodeTimeout
	}
	return hostcall.CodeFailed
}

// redirect returns where a response sends a request that is no side effect. The
// others are not sent anywhere else than where the agent sends them.
func redirect(r *hostcall.HTTPRequest, resp *http.Response, from *url.URL) (*url.URL, int32) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, 0
	}
	location := resp.Header.Get("Location")
	if location == "" || r.Effect() || r.Once {
		return nil, 0
	}
	next, err := from.Parse(location)
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	next, err = (&hostcall.HTTPRequest{URL: next.String()}).Target()
	if err != nil || len(next.String()) > hostcall.MaxURL {
		return nil, hostcall.CodeProcessing
	}
	if from.Scheme == "https" && next.Scheme != "https" {
		return nil, hostcall.CodeNotAllowed
	}
	return next, 0
}

// impersonal returns the headers that go to another host than the agent named.
func impersonal(h http.Header) http.Header {
	kept := http.Header{}
	for _, name := range []string{"Accept", "Accept-Language", "User-Agent"} {
		if v := h[name]; v != nil {
			kept[name] = v
		}
	}
	return kept
}

// read reads the body of a response.
func (c *Client) read(ctx context.Context, r *hostcall.HTTPRequest, resp *http.Response) ([]byte, int32) {
	most := c.options.MaxResponse
	if resp.ContentLength > int64(most) && r.Method != http.MethodHead {
		return tooLarge(resp.ContentLength)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	switch {
	case err != nil:
		return nil, codeOf(ctx, err)
	case len(body) > most:
		return tooLarge(int64(len(body))) // at least
	}
	return body, int32(resp.StatusCode)
}

func tooLarge(size int64) ([]byte, int32) {
	return binary.LittleEndian.AppendUint32(nil, uint32(min(size+4, 1<<32-1))), hostcall.CodeTooLarge
}

// special are the ranges of unicast addresses that are not of the public
// Internet (the registries of RFC 6890), beside the ones that package netip knows.
var special = func() (all []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // Teredo and 6to4 carry another address inside
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

// public6 is where global unicast addresses of version 6 are. NAT64, which has
// any address of version 4 inside, is elsewhere.
var public6 = netip.MustParsePrefix("2000::/3")

// public reports whether an address is one of the public Internet.
func public(ip netip.Addr) bool {
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" || ip.Is4In6() || ip.Is6() && !public6.Contains(ip) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

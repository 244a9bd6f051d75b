// Package web reads an archive from a web server: whatever serves the files of one. It is
// also how other targets speak HTTP with servers that they do not trust.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"igor.dev/archive"
	"igor.dev/internal/public"
)

// A Client asks servers that may say anything: what comes is limited, and so is where they
// lead.
type Client struct {
	HTTP *http.Client
}

const maxRedirects = 3

// NewClient returns a client. transport nil = a usual one.
func NewClient(transport http.RoundTripper) *Client {
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = true // what is small on the way could be anything here
		t.ResponseHeaderTimeout = time.Minute
		t.MaxResponseHeaderBytes = 64 << 10
		transport = t
	}
	return &Client{&http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("it leads on more than %d times", maxRedirects)
		case r.Method != http.MethodGet:
			return errors.New("it leads elsewhere with what was to be put there")
		case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
			return errors.New("it leads from https to http")
		case r.URL.Scheme != "https" && r.URL.Scheme != "http":
			return fmt.Errorf("it leads to %s", r.URL.Scheme)
		case r.URL.Host != via[0].URL.Host && !public.Host(r.URL.Hostname()):
			return errors.New("it leads to an address that is not public")
		}
		return nil
	}}}
}

// A StatusError is an answer that is no success.
type StatusError struct {
	Code int
	Text string // of the body, its beginning
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is makes 404 and 410 [archive.ErrNotFound].
func (e *StatusError) Is(target error) bool {
	return target == archive.ErrNotFound && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// Do makes a request, and returns at most limit bytes of the answer's body.
func (c *Client) Do(r *http.Request, limit int64) (body []byte, header http.Header, err error) {
	r.Header.Set("Accept-Encoding", "identity")
	answer, err := c.HTTP.Do(r)
	if err != nil {
		return nil, nil, plain(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return nil, answer.Header, &StatusError{answer.StatusCode, printable(text)}
	}
	if e := answer.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, nil, fmt.Errorf("the server compressed its answer (%q)", e)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, limit))
	if answer.StatusCode == http.StatusPartialContent {
		header = answer.Header
	}
	return body, header, plain(err)
}

// plain takes the URL off an error: it may have something secret in it.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, string(b)))
}

// GetRange returns the bytes at a URL from an offset on, at most limit.
func (c *Client) GetRange(ctx context.Context, url string, offset, limit int64) ([]byte, error) {
	if limit <= 0 {
		return nil, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+limit-1))
	body, header, err := c.Do(r, offset+limit)
	if s, ok := errors.AsType[*StatusError](err); ok && s.Code == http.StatusRequestedRangeNotSatisfiable {
		return nil, nil // it ends before
	}
	if err != nil {
		return nil, err
	}
	if header == nil { // the server gives the whole of it
		return body[min(offset, int64(len(body))):], nil
	}
	unit, _, _ := strings.Cut(strings.TrimPrefix(header.Get("Content-Range"), "bytes "), "-")
	if from, err := strconv.ParseInt(unit, 10, 64); err != nil || from != offset {
		return nil, errors.New("the server answered with another range than it was asked for")
	}
	return body[:min(limit, int64(len(body)))], nil
}

// A Target is an archive that a web server serves. Nothing can be put there.
type Target struct {
	base   string
	client *Client
}

// Open makes a target of a URL.
func Open(base string, transport http.RoundTripper) (*Target, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no address of a web server, such as https://example.com/lives", base)
	}
	if u.User != nil {
		return nil, errors.New("a password does not belong in a target's name")
	}
	return &Target{strings.TrimRight(base, "/"), NewClient(transport)}, nil
}

// Name implements [archive.Target].
func (t *Target) Name() string { return t.base }

// Put implements [archive.Target]: it refuses.
func (t *Target) Put(context.Context, string, []byte, bool) (archive.Stored, error) {
	return archive.Stored{}, archive.ErrReadOnly
}

// Get implements [archive.Target].
func (t *Target) Get(ctx context.Context, key string, offset, limit int64) ([]byte, error) {
	if err := archive.CheckKey(key); err != nil {
		return nil, err
	}
	return t.client.GetRange(ctx, t.base+"/"+key, offset, limit)
}

// List implements [archive.Target]: a web server does not say what it has.
func (t *Target) List(context.Context, string, func(archive.Entry) error) error {
	return errors.ErrUnsupported
}

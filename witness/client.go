// Package witness says in public where an agent stands: it sends head statements to a log,
// and asks logs and monitors what is known of an agent. It checks all that it is told with
// package verifier/witness, by a policy.
package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"igor.dev/verifier"
	proof "igor.dev/verifier/witness"
)

// A Client speaks with the logs of a policy.
type Client struct {
	Policy *proof.Policy
	HTTP   *http.Client // nil = one with limits
	Logs   []string     // their addresses
}

// NewClient makes a client of the logs that a policy has the addresses of.
func NewClient(p *proof.Policy) (*Client, error) {
	c := &Client{Policy: p, HTTP: &http.Client{Timeout: 40 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for _, url := range p.URLs() {
		if url != "" {
			c.Logs = append(c.Logs, strings.TrimSuffix(url, "/"))
		}
	}
	if c.Logs == nil {
		return nil, errors.New("the policy has no address of a log: log KEY URL")
	}
	return c, nil
}

// Add has a statement logged, by the first log that takes it, and returns a proof that the
// policy is content with, with the statement as its extra data.
func (c *Client) Add(ctx context.Context, entry []byte) ([]byte, error) {
	var errs error
	for _, url := range c.Logs {
		b, err := c.add(ctx, url, entry)
		if err == nil {
			return b, nil
		}
		errs = errors.Join(errs, fmt.Errorf("%s: %w", url, err))
	}
	return nil, errs
}

func (c *Client) add(ctx context.Context, url string, entry []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/igor/v1/add", bytes.NewReader(entry))
	if err != nil {
		return nil, err
	}
	b, status, err := c.do(r)
	for wait := 200 * time.Millisecond; err == nil && status == http.StatusAccepted; wait = min(2*wait, 5*time.Second) {
		// It is in the log, and not published yet. The index is read strictly, as it becomes part of an address.
		index, bad := strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 10, 63)
		if bad != nil {
			return nil, errors.New("the log's answer is no index")
		}
		for status = http.StatusNotFound; err == nil && status == http.StatusNotFound; {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, fmt.Errorf("it is entry %d, and is not published yet: %w", index, ctx.Err())
			}
			if r, err = http.NewRequestWithContext(ctx, http.MethodGet, url+"/igor/v1/proof/"+strconv.FormatUint(index, 10), nil); err == nil {
				b, status, err = c.do(r)
			}
		}
	}
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, refused(status, b)
	}
	return b, c.check(b, entry)
}

func refused(status int, body []byte) error {
	text, _, _ := strings.Cut(string(body), "\n")
	if len(text) > 200 {
		text = text[:200]
	}
	return fmt.Errorf("it answers %d: %q", status, text)
}

func (c *Client) check(b, entry []byte) error {
	p, err := proof.ParseProof(b)
	if err == nil && !bytes.Equal(p.Extra, entry) {
		err = errors.New("a proof of something else")
	}
	if err == nil {
		_, err = c.Policy.Check(entry, p)
	}
	return err
}

func (c *Client) do(r *http.Request) ([]byte, int, error) {
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, proof.MaxProof+1))
	return b, resp.StatusCode, err
}

// Newest returns the newest head of an agent that any of the logs knows, with its proof.
// It is nil if none of them knows one, and an error if none could be asked.
func (c *Client) Newest(ctx context.Context, agent verifier.PublicKey) (newest *proof.Head, err error) {
	asked := false
	var errs error
	for _, url := range c.Logs {
		h, err := c.newest(ctx, url, agent)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", url, err))
			continue
		}
		asked = true
		if h != nil && (newest == nil || h.Tick > newest.Tick) {
			newest = h
		}
	}
	if !asked {
		return nil, errs
	}
	return newest, nil
}

func (c *Client) newest(ctx context.Context, url string, agent verifier.PublicKey) (*proof.Head, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/igor/v1/key/"+agent.DID()+"/proof", nil)
	if err != nil {
		return nil, err
	}
	b, status, err := c.do(r)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK:
		return nil, refused(status, b)
	}
	p, err := proof.ParseProof(b)
	if err != nil {
		return nil, err
	}
	h, err := proof.ParseHead(p.Extra)
	if err != nil {
		return nil, err
	}
	// It is the agent's own word, wherever it was found; that it is in the log is not what matters here.
	if h.Agent != agent || !h.Authentic() {
		return nil, errors.New("a head of somebody else")
	}
	return h, nil
}

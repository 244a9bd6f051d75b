// Package pay settles the payments of agents with the endpoint that an operator
// names, as docs/spec/pay.md says. What is sent is the signed payment receipt
// (docs/spec/receipts.md); no key comes here.
package pay

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/verifier/receipt"
)

// Timeout is how long an endpoint has for its answer.
const Timeout = 10 * time.Second

// An Endpoint settles payments.
type Endpoint struct {
	url       string // without the user
	user      *url.Userinfo
	transport *http.Transport
	log       *slog.Logger
}

// NewEndpoint returns the endpoint at an absolute URL of http or https. The log
// is told of answers that are not an endpoint's.
func NewEndpoint(address string, log *slog.Logger) (*Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of a payment endpoint, such as https://pay.example.com/payments", address)
	}
	// One request, one connection: net/http repeats a request on a kept one.
	t := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(true)
	user := u.User
	u.User = nil
	return &Endpoint{strings.TrimSuffix(u.String(), "/"), user, t, log}, nil
}

// Pay implements [hostcall.Payer]. The agent gets the receipt that was settled.
func (e *Endpoint) Pay(ctx context.Context, p *hostcall.Payment) ([]byte, int32) {
	payment, err := parse(p.Authorisation)
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	switch status, sent := e.ask(ctx, http.MethodPost, payment, p.Authorisation); {
	case status == Settled:
		return p.Authorisation, 0
	case status == Refused:
		return nil, hostcall.CodeProcessing
	case !sent:
		return nil, hostcall.CodeFailed
	}
	return nil, hostcall.CodeUnresolved
}

// Settled asks whether the payment of an authorisation was made. It is known only
// if the endpoint says so.
func (e *Endpoint) Settled(ctx context.Context, authorisation []byte) (settled, known bool) {
	payment, err := parse(authorisation)
	if err != nil {
		return false, false
	}
	status, _ := e.ask(ctx, http.MethodGet, payment, nil)
	return status == Settled, status != ""
}

// ask returns the status, empty if there was no answer that is an endpoint's, and
// whether anything can have left.
func (e *Endpoint) ask(ctx context.Context, method string, p *receipt.Payment, body []byte) (status Status, sent bool) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	to, nonce := e.url, hex.EncodeToString(p.Nonce[:])
	if method == http.MethodGet {
		to += "/" + nonce
	}
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return "", false
	}
	req.Header.Set("User-Agent", "igor")
	req.Header.Set("Accept", "application/json")
	if e.user != nil {
		password, _ := e.user.Password()
		req.SetBasicAuth(e.user.Username(), password)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Idempotency-Key", nonce)
	}
	resp, err := e.transport.RoundTrip(req)
	if err != nil {
		return "", sent
	}
	defer resp.Body.Close()
	status, err = ParseAnswer(resp.StatusCode, resp.Header.Get("Content-Type"), resp.Body, p)
	if err != nil {
		e.log.Warn("what answers at the address of the payment endpoint does not answer as one; whether the payment was made is not known",
			"url", e.url, "status", resp.StatusCode, "problem", err, "nonce", nonce)
	}
	return status, true
}

func parse(authorisation []byte) (*receipt.Payment, error) {
	r, size, err := receipt.Parse(authorisation)
	if err != nil {
		return nil, err
	}
	p, ok := r.(*receipt.Payment)
	if !ok || size != len(authorisation) {
		return nil, errors.New("not a payment receipt")
	}
	return p, nil
}

// Package pay settles the payments of agents with the endpoint that an operator
// names. What is sent is the signed payment receipt (docs/spec/receipts.md); no
// key comes here.
//
//	POST URL           the receipt, with the payment's nonce as Idempotency-Key
//	  200              settled, now or before
//	  402, 403, 422    refused: this payment is not made, now or later
//	GET  URL/NONCE     nonce in lower-case hexadecimal
//	  200              settled
//	  404              not received
//
// Anything else, and no answer, leaves open whether the payment was made.
package pay

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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
	url       string
	transport *http.Transport
}

// NewEndpoint returns the endpoint at an absolute URL of http or https.
func NewEndpoint(address string) (*Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the address of a payment endpoint, such as https://pay.example.com/payments", address)
	}
	// One request, one connection: net/http repeats a request on a kept one.
	t := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(true)
	return &Endpoint{strings.TrimSuffix(address, "/"), t}, nil
}

// Pay implements [hostcall.Payer]. The agent gets the receipt that was settled.
func (e *Endpoint) Pay(ctx context.Context, p *hostcall.Payment) ([]byte, int32) {
	nonce, err := nonceOf(p.Authorisation)
	if err != nil {
		return nil, hostcall.CodeProcessing
	}
	status, sent := e.ask(ctx, http.MethodPost, e.url, p.Authorisation, nonce)
	switch {
	case status == http.StatusOK:
		return p.Authorisation, 0
	case status == http.StatusPaymentRequired, status == http.StatusForbidden, status == http.StatusUnprocessableEntity:
		return nil, hostcall.CodeProcessing
	case !sent:
		return nil, hostcall.CodeFailed
	}
	return nil, hostcall.CodeUnresolved
}

// Settled asks whether the payment of an authorisation was made. It is known only
// if the endpoint says so.
func (e *Endpoint) Settled(ctx context.Context, authorisation []byte) (settled, known bool) {
	nonce, err := nonceOf(authorisation)
	if err != nil {
		return false, false
	}
	status, _ := e.ask(ctx, http.MethodGet, e.url+"/"+nonce, nil, "")
	return status == http.StatusOK, status == http.StatusOK || status == http.StatusNotFound
}

// ask returns the status, 0 if there was no answer, and whether anything can
// have left.
func (e *Endpoint) ask(ctx context.Context, method, address string, body []byte, key string) (status int, sent bool) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, false
	}
	req.Header.Set("User-Agent", "igor")
	if key != "" {
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := e.transport.RoundTrip(req)
	if err != nil {
		return 0, sent
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, true
}

func nonceOf(authorisation []byte) (string, error) {
	r, size, err := receipt.Parse(authorisation)
	if err != nil {
		return "", err
	}
	p, ok := r.(*receipt.Payment)
	if !ok || size != len(authorisation) {
		return "", errors.New("not a payment receipt")
	}
	return hex.EncodeToString(p.Nonce[:]), nil
}

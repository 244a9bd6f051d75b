package x402

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"igor.dev/x402/evm"
)

// This file is the other side: a server that asks for a payment by version 2, and the
// facilitator that sends it to the chain.

// wireOffer is an offer as version 2 writes it.
type wireOffer struct {
	Scheme  string            `json:"scheme"`
	Network string            `json:"network"`
	Asset   string            `json:"asset"`
	Amount  string            `json:"amount"`
	PayTo   string            `json:"payTo"`
	Timeout uint32            `json:"maxTimeoutSeconds"`
	Extra   map[string]string `json:"extra"`
}

func (o *Offer) wire() wireOffer {
	return wireOffer{"exact", o.Network(), o.Asset.String(), strconv.FormatInt(o.Amount, 10), o.PayTo.String(), o.Timeout,
		map[string]string{"name": o.Name, "version": o.Version}}
}

// A Resource is what a server sells.
type Resource struct {
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	MimeType    string `json:"mimeType,omitempty"`
}

// Require returns the value of [HeaderRequired] by which a server asks for a payment of one
// of the offers. reason says why one that came is not taken.
func Require(resource Resource, reason string, offers ...*Offer) string {
	message := struct {
		Version  int         `json:"x402Version"`
		Error    string      `json:"error,omitempty"`
		Resource Resource    `json:"resource"`
		Accepts  []wireOffer `json:"accepts"`
	}{2, reason, resource, nil}
	for _, o := range offers {
		message.Accepts = append(message.Accepts, o.wire())
	}
	return encode64(message)
}

// Header returns the value of [HeaderResponse] by which a server says what became of a
// payment.
func (r *Response) Header(payer evm.Address) string {
	transaction := ""
	if r.Transaction != (evm.Hash{}) {
		transaction = r.Transaction.String()
	}
	return encode64(struct {
		Success     bool   `json:"success"`
		Reason      string `json:"errorReason,omitempty"`
		Transaction string `json:"transaction"`
		Network     string `json:"network"`
		Payer       string `json:"payer"`
	}{r.Success, r.Reason, transaction, r.Network, payer.String()})
}

func encode64(message any) string {
	b, err := json.Marshal(message)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Takes reports whether a payment accepts an offer and its authorization moves just that.
// When it can be used is left to [Payment.InTime].
func (p *Payment) Takes(o *Offer) bool {
	a := &p.Authorization
	return p.Version == 2 && p.Offer != nil && p.Chain == o.Chain && p.Offer.Asset == o.Asset && p.Offer.PayTo == o.PayTo && p.Offer.Amount == o.Amount &&
		a.To == o.PayTo && a.Value == uint64(o.Amount)
}

// Signed reports whether the payer signed the authorization for a token.
func (p *Payment) Signed(d *evm.Domain) bool {
	by, err := p.Signature.Signer(p.Authorization.Digest(d))
	return err == nil && by == p.Authorization.From
}

// Times around a payment, in seconds: what it needs to get into a block, and by how much
// clocks differ.
const (
	settling = 6
	skew     = 600
)

// InTime says why an authorization cannot be used at a time of the chain and for as long as
// the offer says, "" if it can.
func (p *Payment) InTime(o *Offer, now uint64) string {
	a := &p.Authorization
	switch {
	case a.ValidAfter >= now:
		return "it is not valid yet"
	case a.ValidBefore <= now+settling:
		return "its time is over"
	case a.ValidBefore > now+uint64(o.Timeout)+skew:
		return fmt.Sprintf("it is valid for longer than %d seconds", o.Timeout)
	}
	return ""
}

// MaxFacilitated is how large the answer of a facilitator may be, in bytes.
const MaxFacilitated = 64 << 10

// A Facilitator sends payments to the chain. Its answers say nothing of the money that
// counts: [evm.Nodes] do.
type Facilitator struct {
	url    string
	client *http.Client
}

// DialFacilitator returns the facilitator at a URL of http or https. Nothing is asked yet.
func DialFacilitator(address string) (*Facilitator, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the address of a facilitator, such as https://facilitator.example.com")
	}
	return &Facilitator{
		url: strings.TrimSuffix(u.String(), "/"),
		client: &http.Client{
			Timeout:       30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		},
	}, nil
}

// Verify asks whether a payment could be settled. reason says why it could not.
func (f *Facilitator) Verify(ctx context.Context, header string, o *Offer) (valid bool, reason string, err error) {
	var answer struct {
		Valid  *bool  `json:"isValid"`
		Reason string `json:"invalidReason"`
	}
	if err := f.ask(ctx, "verify", header, o, &answer); err != nil {
		return false, "", err
	}
	if answer.Valid == nil {
		return false, "", errors.New("the facilitator answered with something else than whether it is valid")
	}
	return *answer.Valid, clip(answer.Reason), nil
}

// Settle has a payment sent to the chain, and returns what the facilitator says of it.
func (f *Facilitator) Settle(ctx context.Context, header string, o *Offer) (*Response, error) {
	var answer struct {
		Success *bool  `json:"success"`
		Reason  string `json:"errorReason"`
		Network string `json:"network"`
	}
	if err := f.ask(ctx, "settle", header, o, &answer); err != nil {
		return nil, err
	}
	if answer.Success == nil {
		return nil, errors.New("the facilitator answered with something else than what became of it")
	}
	return &Response{Success: *answer.Success, Reason: clip(answer.Reason), Network: clip(answer.Network)}, nil
}

func (f *Facilitator) ask(ctx context.Context, step, header string, o *Offer, answer any) error {
	payment, err := decode64(header)
	if err != nil {
		return err
	}
	question, err := json.Marshal(map[string]any{"x402Version": 2, "paymentPayload": json.RawMessage(payment), "paymentRequirements": o.wire()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/"+step, bytes.NewReader(question))
	if err != nil {
		return errors.New("the facilitator has a bad address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "igor")
	resp, err := f.client.Do(req)
	if err != nil {
		if of, ok := errors.AsType[*url.Error](err); ok { // it holds the whole URL
			err = of.Err
		}
		return fmt.Errorf("the facilitator does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxFacilitated+1))
	if err != nil {
		return fmt.Errorf("the facilitator does not answer: %w", err)
	}
	if len(body) > MaxFacilitated || json.Unmarshal(body, answer) != nil {
		return fmt.Errorf("the facilitator answered with status %d, and not with what became of it", resp.StatusCode)
	}
	return nil
}

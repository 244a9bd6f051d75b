// Package x402 has the messages of x402, the protocol by which an HTTP server asks
// for a payment and a client makes it (https://github.com/coinbase/x402): version 2,
// and version 1 for servers that offer nothing else; scheme "exact" on chains of
// package [evm], which moves tokens by EIP-3009.
//
//	server  402, PAYMENT-REQUIRED: what it takes            [ParseRequired]
//	client  the same request, PAYMENT-SIGNATURE: a signed authorization   [Pay]
//	server  its answer, PAYMENT-RESPONSE: what it says became of it      [ParseResponse]
//
// A server that has the signature can move the money whatever it answers. So its
// answer says nothing of that: [evm.Nodes] do.
package x402

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"igor.dev/x402/evm"
)

// Headers.
const (
	HeaderRequired  = "PAYMENT-REQUIRED"  // version 2 of what is asked for
	HeaderSignature = "PAYMENT-SIGNATURE" // version 2 of a payment
	HeaderResponse  = "PAYMENT-RESPONSE"  // version 2 of what became of it

	headerPayment1  = "X-PAYMENT" // version 1
	headerResponse1 = "X-PAYMENT-RESPONSE"
)

// Limits of what a server may say.
const (
	MaxRequired = 32 << 10 // bytes of JSON
	MaxOffers   = 32
	MaxTimeout  = 3600 // seconds; an offer of a longer time is taken as one of this

	maxText = 256
)

// ErrNone is the error of an answer that asks for no payment.
var ErrNone = errors.New("it asks for no payment by x402")

// Required is what a server asks for.
type Required struct {
	Version int // 1 or 2
	Offers  []Offer
	// Skipped says of each way to pay that is not among the offers why it is not.
	Skipped []string

	resource, extensions json.RawMessage
}

// An Offer is one way to pay.
type Offer struct {
	Chain   uint64 // of EIP-155
	Asset   evm.Address
	PayTo   evm.Address
	Amount  int64 // base units of the asset; of USDC, microcents
	Timeout uint32

	// Name and Version of the asset's EIP-712 domain, as the server says.
	Name, Version string

	version int
	network string          // as the server wrote it
	raw     json.RawMessage // of version 2: it goes back as it came
}

// Network returns the offer's chain as CAIP-2 writes it.
func (o *Offer) Network() string { return NetworkOf(o.Chain) }

// NetworkOf returns a chain as CAIP-2 writes it.
func NetworkOf(chain uint64) string { return "eip155:" + strconv.FormatUint(chain, 10) }

// ParseNetwork reads a chain of EIP-155 as CAIP-2 writes it.
func ParseNetwork(s string) (chain uint64, err error) {
	digits, ok := strings.CutPrefix(s, "eip155:")
	n, err := strconv.ParseUint(digits, 10, 53) // more than JavaScript can tell apart, no network has
	if !ok || err != nil || n == 0 || NetworkOf(n) != s {
		return 0, fmt.Errorf("%.60q is not a network such as eip155:8453", s)
	}
	return n, nil
}

// networks1 are the names that version 1 has for chains.
var networks1 = map[string]uint64{
	"abstract": 2741, "abstract-testnet": 11124, "avalanche": 43114, "avalanche-fuji": 43113, "base": 8453, "base-sepolia": 84532,
	"iotex": 4689, "peaq": 3338, "polygon": 137, "polygon-amoy": 80002, "sei": 1329, "sei-testnet": 1328,
}

// Domain is what a payment of the offer is signed for.
func (o *Offer) Domain() evm.Domain {
	return evm.Domain{Name: o.Name, Version: o.Version, Chain: o.Chain, Contract: o.Asset}
}

// ParseRequired reads what the answer with status 402 asks for: by its header, or
// for version 1 by its body. Ways to pay that this package has not are skipped.
func ParseRequired(header http.Header, body []byte) (*Required, error) {
	src := body
	if values := header.Values(HeaderRequired); len(values) > 0 {
		if len(values) > 1 {
			return nil, fmt.Errorf("%d headers %s: nobody can tell which one counts", len(values), HeaderRequired)
		}
		var err error
		if src, err = decode64(values[0]); err != nil {
			return nil, fmt.Errorf("%s is %w", HeaderRequired, err)
		}
	} else if !json.Valid(body) || len(body) > MaxRequired {
		return nil, ErrNone
	}
	var w struct {
		Version    int               `json:"x402Version"`
		Accepts    []json.RawMessage `json:"accepts"`
		Resource   json.RawMessage   `json:"resource"`
		Extensions json.RawMessage   `json:"extensions"`
	}
	if err := unmarshal(src, &w); err != nil {
		if header.Get(HeaderRequired) == "" {
			return nil, ErrNone
		}
		return nil, fmt.Errorf("what it asks for is %w", err)
	}
	inBody := len(header.Values(HeaderRequired)) == 0
	switch {
	case w.Version == 0 && inBody:
		return nil, ErrNone
	case w.Version != 1 && w.Version != 2, w.Version == 1 != inBody:
		return nil, fmt.Errorf("it asks for a payment by version %d of x402, which is not known here", w.Version)
	case len(w.Accepts) > MaxOffers:
		return nil, fmt.Errorf("it offers %d ways to pay, and at most %d are read", len(w.Accepts), MaxOffers)
	}
	r := &Required{Version: w.Version, resource: w.Resource, extensions: w.Extensions}
	for _, raw := range w.Accepts {
		o, err := parseOffer(w.Version, raw)
		if err != nil {
			r.Skipped = append(r.Skipped, err.Error())
			continue
		}
		r.Offers = append(r.Offers, *o)
	}
	return r, nil
}

func parseOffer(version int, raw json.RawMessage) (*Offer, error) {
	var w struct {
		Scheme  string `json:"scheme"`
		Network string `json:"network"`
		Asset   string `json:"asset"`
		Amount  string `json:"amount"`
		Max     string `json:"maxAmountRequired"` // version 1
		PayTo   string `json:"payTo"`
		Timeout int64  `json:"maxTimeoutSeconds"`
		Extra   struct {
			Name     string `json:"name"`
			Version  string `json:"version"`
			Transfer string `json:"assetTransferMethod"`
		} `json:"extra"`
	}
	if err := unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("a way to pay that is %w", err)
	}
	o := &Offer{version: version, network: w.Network, raw: raw, Name: w.Extra.Name, Version: w.Extra.Version}
	if w.Scheme != "exact" {
		return nil, fmt.Errorf("scheme %.40q, which is not exact", w.Scheme)
	}
	if w.Extra.Transfer != "" && w.Extra.Transfer != "eip3009" {
		return nil, fmt.Errorf("a transfer by %.40q, which is not eip3009", w.Extra.Transfer)
	}
	var err error
	amount := w.Amount
	if version == 1 {
		amount = w.Max
		o.Chain = networks1[w.Network]
		if o.Chain == 0 {
			return nil, fmt.Errorf("network %.40q, which is not known here", w.Network)
		}
	} else if o.Chain, err = ParseNetwork(w.Network); err != nil {
		return nil, err
	}
	if o.Asset, err = evm.ParseAddress(w.Asset); err != nil {
		return nil, fmt.Errorf("its asset: %w", err)
	}
	if o.PayTo, err = evm.ParseAddress(w.PayTo); err != nil {
		return nil, fmt.Errorf("its recipient: %w", err)
	}
	if o.PayTo.IsZero() || o.PayTo == o.Asset {
		return nil, fmt.Errorf("recipient %s, where money is lost", o.PayTo)
	}
	if o.Amount, err = strconv.ParseInt(amount, 10, 64); err != nil || o.Amount <= 0 || strconv.FormatInt(o.Amount, 10) != amount {
		return nil, fmt.Errorf("amount %.40q, which is not a whole number from 1 to %d", amount, int64(math.MaxInt64))
	}
	if w.Timeout <= 0 {
		return nil, fmt.Errorf("no time to settle it in (maxTimeoutSeconds %d)", w.Timeout)
	}
	o.Timeout = uint32(min(w.Timeout, MaxTimeout))
	if o.Name == "" || o.Version == "" || len(o.Name) > maxText || len(o.Version) > maxText {
		return nil, errors.New("an asset without the name and version that a signature needs")
	}
	return o, nil
}

// Pay returns the header by which an authorization with its signature pays an offer.
func (r *Required) Pay(o *Offer, a *evm.Authorization, signature evm.Signature) (name, value string) {
	payload := map[string]any{
		"signature": fmt.Sprintf("0x%x", signature[:]),
		"authorization": map[string]any{
			"from": a.From.String(), "to": a.To.String(), "value": strconv.FormatUint(a.Value, 10),
			"validAfter": strconv.FormatUint(a.ValidAfter, 10), "validBefore": strconv.FormatUint(a.ValidBefore, 10), "nonce": a.Nonce.String(),
		},
	}
	message := map[string]any{"x402Version": r.Version, "payload": payload}
	name = HeaderSignature
	if r.Version == 1 {
		name = headerPayment1
		message["scheme"], message["network"] = "exact", o.network
	} else {
		message["accepted"] = o.raw
		if len(r.resource) > 0 {
			message["resource"] = r.resource
		}
		if len(r.extensions) > 0 {
			message["extensions"] = r.extensions
		}
	}
	b, err := json.Marshal(message)
	if err != nil {
		panic(err) // what is raw was JSON when it came
	}
	return name, base64.StdEncoding.EncodeToString(b)
}

// A Payment is what a header of a payment says.
type Payment struct {
	Version       int
	Chain         uint64
	Authorization evm.Authorization
	Signature     evm.Signature
	Offer         *Offer // the one that it accepts; nil in version 1, which names the network alone
}

// ParsePayment reads the header by which a client pays.
func ParsePayment(name, value string) (*Payment, error) {
	src, err := decode64(value)
	if err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	var w struct {
		Version  int             `json:"x402Version"`
		Scheme   string          `json:"scheme"`
		Network  string          `json:"network"`
		Accepted json.RawMessage `json:"accepted"`
		Payload  struct {
			Signature     string `json:"signature"`
			Authorization struct {
				From        string `json:"from"`
				To          string `json:"to"`
				Value       string `json:"value"`
				ValidAfter  string `json:"validAfter"`
				ValidBefore string `json:"validBefore"`
				Nonce       string `json:"nonce"`
			} `json:"authorization"`
		} `json:"payload"`
	}
	if err := unmarshal(src, &w); err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	p := &Payment{Version: w.Version}
	switch {
	case w.Version == 2 && name == HeaderSignature:
		if p.Offer, err = parseOffer(2, w.Accepted); err != nil {
			return nil, fmt.Errorf("it accepts %w", err)
		}
		p.Chain = p.Offer.Chain
	case w.Version == 1 && name == headerPayment1:
		if p.Chain = networks1[w.Network]; w.Scheme != "exact" || p.Chain == 0 {
			return nil, fmt.Errorf("it pays by scheme %.40q on network %.40q, which are not known here", w.Scheme, w.Network)
		}
	default:
		return nil, fmt.Errorf("%s does not hold a payment by version %d of x402", name, w.Version)
	}
	wire, a := &w.Payload.Authorization, &p.Authorization
	number := func(to *uint64, s string) {
		n, parse := strconv.ParseUint(s, 10, 64)
		if err == nil && (parse != nil || strconv.FormatUint(n, 10) != s) {
			err = fmt.Errorf("%.40q is not a number of 64 bits", s)
		}
		*to = n
	}
	a.From, err = evm.ParseAddress(wire.From)
	if err == nil {
		a.To, err = evm.ParseAddress(wire.To)
	}
	if err == nil {
		a.Nonce, err = evm.ParseHash(wire.Nonce)
	}
	number(&a.Value, wire.Value)
	number(&a.ValidAfter, wire.ValidAfter)
	number(&a.ValidBefore, wire.ValidBefore)
	if err != nil {
		return nil, fmt.Errorf("its authorization: %w", err)
	}
	p.Signature, err = evm.ParseSignature(w.Payload.Signature)
	return p, err
}

// A Response is what a server says became of a payment.
type Response struct {
	Success     bool
	Reason      string // where there was none
	Transaction evm.Hash
	Network     string
}

// ParseResponse reads what a server says, and ErrNone if it says nothing.
func ParseResponse(header http.Header) (*Response, error) {
	name := HeaderResponse
	if len(header.Values(name)) == 0 {
		name = headerResponse1
	}
	values := header.Values(name)
	if len(values) == 0 {
		return nil, ErrNone
	}
	if len(values) > 1 {
		return nil, fmt.Errorf("%d headers %s: nobody can tell which one counts", len(values), name)
	}
	src, err := decode64(values[0])
	if err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	var w struct {
		Success     bool   `json:"success"`
		Reason      string `json:"errorReason"`
		Transaction string `json:"transaction"`
		Network     string `json:"network"`
	}
	if err := unmarshal(src, &w); err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	r := &Response{Success: w.Success, Reason: clip(w.Reason), Network: clip(w.Network)}
	if w.Transaction != "" {
		if r.Transaction, err = evm.ParseHash(w.Transaction); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return r, nil
}

// PaymentHeaders are the names of headers that pay or that say what became of it,
// which are the runtime's and never an agent's.
func PaymentHeaders() []string { return []string{HeaderSignature, headerPayment1} }

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "?")
}

func decode64(s string) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(s)) > MaxRequired+2 {
		return nil, fmt.Errorf("longer than %d bytes", MaxRequired)
	}
	enc := base64.StdEncoding
	if !strings.HasSuffix(s, "=") && len(s)%4 != 0 {
		enc = base64.RawStdEncoding // some servers leave the padding out
	}
	b, err := enc.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64")
	}
	return b, nil
}

// unmarshal reads one JSON value. A key that stands twice, or in another case,
// would be one thing here and another to the server, and is an error.
func unmarshal(src []byte, to any) error {
	if len(src) > MaxRequired {
		return fmt.Errorf("longer than %d bytes", MaxRequired)
	}
	if err := unambiguous(json.NewDecoder(bytes.NewReader(src)), 0); err != nil {
		return err
	}
	if err := json.Unmarshal(src, to); err != nil {
		return errors.New("not JSON of that shape")
	}
	return nil
}

const maxDepth = 32

func unambiguous(dec *json.Decoder, depth int) error {
	t, err := dec.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	var keys []string
	for dec.More() {
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return errors.New("not JSON")
			}
			keys = append(keys, strings.ToLower(key.(string)))
		}
		if err := unambiguous(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errors.New("not JSON")
	}
	slices.Sort(keys)
	if len(slices.Compact(slices.Clone(keys))) != len(keys) {
		return errors.New("ambiguous: a key stands twice in it")
	}
	if depth == 0 {
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return errors.New("more than one JSON value")
		}
	}
	return nil
}

package x402

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"igor.dev/x402/evm"
)

const (
	usdc  = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
	payTo = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
)

func offer(change ...string) string {
	s := `{"scheme":"exact","network":"eip155:84532","asset":"` + usdc + `","amount":"10000","payTo":"` + payTo + `","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}`
	return strings.NewReplacer(change...).Replace(s)
}

func required(offers ...string) http.Header {
	s := `{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","resource":{"url":"https://api.example.com/data","description":"","mimeType":""},"accepts":[` + strings.Join(offers, ",") + `]}`
	return http.Header{http.CanonicalHeaderKey(HeaderRequired): {base64.StdEncoding.EncodeToString([]byte(s))}}
}

func policy() *Policy {
	asset, _ := evm.ParseAddress(usdc)
	to, _ := evm.ParseAddress(payTo)
	return &Policy{Networks: []uint64{84532}, Assets: []evm.Address{asset}, Recipients: []evm.Address{to}, MaxPayment: 10000, MaxPerDay: 25000}
}

// TestChoose goes through offers of hostile servers: nothing is chosen that the
// policy does not name.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name, change, to string
		reason           string
	}{
		{"as it should be", "", "", ""},
		{"another scheme", `"exact"`, `"upto"`, "scheme"},
		{"another network", "84532", "8453", "network eip155:8453 is not one"},
		{"a network of another kind", "eip155:84532", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "is not a network"},
		{"a network with a zero before it", "eip155:84532", "eip155:084532", "is not a network"},
		{"a name of version 1", "eip155:84532", "base-sepolia", "is not a network"},
		{"another asset", usdc, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "asset 0x8335"},
		{"a slip in an address", "0x036CbD53", "0x036cbD53", "ERC-55"},
		{"another recipient", payTo, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "recipient 0x8335"},
		{"the zero address", payTo, "0x0000000000000000000000000000000000000000", "where money is lost"},
		{"the token itself", payTo, usdc, "where money is lost"},
		{"too much", "10000", "10001", "allows 10000"},
		{"nothing", "10000", "0", "amount"},
		{"less than nothing", "10000", "-1", "amount"},
		{"more than 64 bits", "10000", "18446744073709561616", "amount"},
		{"a fraction", "10000", "1.5", "amount"},
		{"an exponent", "10000", "1e3", "amount"},
		{"a plus sign", "10000", "+100", "amount"},
		{"hexadecimal", "10000", "0x10", "amount"},
		{"a number", `"10000"`, `10000`, "not JSON of that shape"},
		{"no time", `:60`, `:0`, "no time"},
		{"time that ran out", `:60`, `:-60`, "no time"},
		{"no domain", `"name":"USDC",`, ``, "name and version"},
		{"another transfer", `"version":"2"`, `"version":"2","assetTransferMethod":"permit2"`, "permit2"},
		{"a key twice", `"amount":"10000"`, `"amount":"1","amount":"10000"`, "ambiguous"},
		{"a key in two cases", `"amount":"10000"`, `"amount":"1","Amount":"10000"`, "ambiguous"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := offer()
			if c.change != "" {
				if s = offer(c.change, c.to); s == offer() {
					t.Fatal("nothing changed")
				}
			}
			r, err := ParseRequired(required(s), nil)
			if err != nil {
				if c.reason == "" || !strings.Contains(err.Error(), c.reason) {
					t.Fatal(err)
				}
				return
			}
			o, err := policy().Choose(r, 0, math.MaxInt64)
			var refused *RefusedError
			switch {
			case c.reason == "" && (err != nil || o.Amount != 10000 || o.Network() != "eip155:84532"):
				t.Errorf("got %+v, %v", o, err)
			case c.reason != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.reason)):
				t.Errorf("got %+v, %v; want a refusal that says %q", o, err, c.reason)
			}
		})
	}
	r, err := ParseRequired(required(offer(), offer("10000", "9000"), offer("10000", "9000", ":60", ":61"), offer("10000", "5", "84532", "1")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := policy().Choose(r, 0, math.MaxInt64); err != nil || o.Amount != 9000 || o.Timeout != 60 {
		t.Errorf("the cheapest that is allowed: %+v, %v", o, err)
	}
	for _, c := range []struct {
		today, budget int64
		ok            bool
	}{{16000, 9000, true}, {16001, 9000, false}, {0, 8999, false}, {math.MaxInt64, 9000, false}, {-1, 9000, false}, {0, -1, false}} {
		if o, err := policy().Choose(r, c.today, c.budget); (err == nil) != c.ok {
			t.Errorf("spent %d today, budget %d: %+v, %v", c.today, c.budget, o, err)
		}
	}
	if _, err := new(Policy).Choose(r, 0, math.MaxInt64); err == nil {
		t.Error("a policy that names nothing allows something")
	}
	if o, _ := policy().Choose(r, 0, math.MaxInt64); o.Timeout > MaxTimeout {
		t.Error("a time of years was taken")
	}
}

func TestParseRequired(t *testing.T) {
	header := required(offer())
	value := header.Get(HeaderRequired)
	two := http.Header{}
	two.Add(HeaderRequired, value)
	two.Add(HeaderRequired, value)
	raw := func(s string) http.Header {
		return http.Header{http.CanonicalHeaderKey(HeaderRequired): {base64.StdEncoding.EncodeToString([]byte(s))}}
	}
	v1 := `{"x402Version":1,"error":"","accepts":[` + offer("eip155:84532", "base-sepolia", `"amount"`, `"maxAmountRequired"`) + `]}`
	for name, c := range map[string]struct {
		header http.Header
		body   string
		want   string // "" = one offer
	}{
		"version 2":                       {header, "", ""},
		"version 2, whatever the body":    {header, v1, ""},
		"version 1":                       {nil, v1, ""},
		"without padding":                 {http.Header{"Payment-Required": {strings.TrimRight(value, "=")}}, "", ""},
		"nothing":                         {nil, "", "no payment"},
		"a page":                          {nil, "<html>", "no payment"},
		"other JSON":                      {nil, `{"error":"payment required"}`, "no payment"},
		"two headers":                     {two, "", "2 headers"},
		"not base64":                      {http.Header{"Payment-Required": {"{}"}}, "", "not base64"},
		"not JSON":                        {raw("no"), "", "not JSON"},
		"two values":                      {raw(`{"x402Version":2,"accepts":[]}{}`), "", "more than one"},
		"version 3":                       {raw(`{"x402Version":3,"accepts":[]}`), "", "version 3"},
		"version 1 in the header":         {raw(v1), "", "version 1"},
		"too long":                        {raw(`{"x402Version":2,"error":"` + strings.Repeat("x", MaxRequired) + `"}`), "", "longer"},
		"too many offers":                 {raw(`{"x402Version":2,"accepts":[` + strings.Repeat("1,", MaxOffers) + "1]}"), "", "33 ways"},
		"too deep":                        {raw(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), "", "deeper"},
		"a trailing bit in the last char": {http.Header{"Payment-Required": {base64.StdEncoding.EncodeToString([]byte("{}"))[:3] + "1="}}, "", "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseRequired(c.header, []byte(c.body))
			switch {
			case c.want == "" && (err != nil || len(r.Offers) != 1):
				t.Errorf("got %+v, %v", r, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %+v, %v; want an error that says %q", r, err, c.want)
			}
		})
	}
}

// TestVersion1 pays an offer of version 1, which has no header of its own to send back.
func TestVersion1(t *testing.T) {
	r, err := ParseRequired(nil, fmt.Appendf(nil, `{"x402Version":1,"accepts":[%s]}`, offer("eip155:84532", "base-sepolia", `"amount"`, `"maxAmountRequired"`)))
	if err != nil {
		t.Fatal(err)
	}
	a := evm.Authorization{To: r.Offers[0].PayTo, Value: 10000, ValidBefore: 1 << 40, Nonce: evm.Hash{1}}
	name, value := r.Pay(&r.Offers[0], &a, evm.Signature{64: 27})
	p, err := ParsePayment(name, value)
	if err != nil || name != "X-PAYMENT" || p.Version != 1 || p.Chain != 84532 || p.Authorization != a {
		t.Errorf("got %s: %+v, %v", name, p, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(required(offer()).Get(HeaderRequired), []byte(nil))
	f.Add("", fmt.Appendf(nil, `{"x402Version":1,"accepts":[%s]}`, offer("eip155:84532", "base-sepolia", `"amount"`, `"maxAmountRequired"`)))
	f.Fuzz(func(t *testing.T, s string, body []byte) {
		h := http.Header{}
		if s != "" {
			h.Set(HeaderRequired, s)
		}
		ParseResponse(http.Header{"Payment-Response": {s}})
		ParsePayment(HeaderSignature, s)
		ParsePayment(headerPayment1, s)
		r, err := ParseRequired(h, body)
		if err != nil {
			return
		}
		for i := range r.Offers {
			o := &r.Offers[i]
			if o.Amount <= 0 || o.PayTo.IsZero() || o.Chain == 0 || o.Timeout == 0 || o.Timeout > MaxTimeout {
				t.Fatalf("an offer that nobody can mean: %+v", o)
			}
			a := evm.Authorization{To: o.PayTo, Value: uint64(o.Amount), ValidBefore: 1, Nonce: evm.Hash{1}}
			name, value := r.Pay(o, &a, evm.Signature{64: 27})
			if p, err := ParsePayment(name, value); len(value) < 4*MaxRequired/3 && (err != nil || p.Authorization != a || p.Chain != o.Chain) {
				t.Fatalf("what was written reads as %+v, %v", p, err)
			}
		}
	})
}

package x402_test

import (
	"io"
	"net/http"
	"testing"

	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// TestReference pays the reference server, which the reference facilitator serves, and
// goes through all that can be lost on the way.
func TestReference(t *testing.T) {
	c := x402test.NewChain(t)
	facilitator := c.Facilitator()
	shop := evm.Address{19: 9}
	server := c.Server(facilitator, shop, 2500)
	key := x402test.Key(5)
	from := evm.AddressOf(key.PubKey())
	c.Mint(from, 1_000_000)
	nodes := &evm.Nodes{All: []*evm.Node{c.Node()}, Quorum: 1}

	ask := func(name, value string) (*http.Response, []byte, error) {
		req, _ := http.NewRequest(http.MethodGet, server.URL+"/data", nil)
		if name != "" {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
	for i, row := range []struct {
		name        string
		facilitator string
		server      string
		status      int // 0 = no answer
		fate        evm.Fate
	}{
		{"all goes well", "", "", 200, evm.Paid},
		{"facilitator down before settling", "settle down", "", 402, evm.Open},
		{"settled, the facilitator's answer lost", "settle answer lost", "", 402, evm.Paid},
		{"settled, the server's answer lost", "", "server answer lost", 0, evm.Paid},
		{"settled, a proxy answers", "", "server answers 502", 502, evm.Paid},
		{"the server is gone before it settles", "", "server down before", 0, evm.Open},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, body, err := ask("", "")
			if err != nil || resp.StatusCode != http.StatusPaymentRequired {
				t.Fatalf("unpaid: %v, %v", resp, err)
			}
			required, err := x402.ParseRequired(resp.Header, body)
			if err != nil || len(required.Offers) != 1 || len(required.Skipped) != 0 {
				t.Fatalf("got %+v, %v", required, err)
			}
			offer := &required.Offers[0]
			if offer.Domain() != c.Domain() || offer.Amount != 2500 || offer.PayTo != shop {
				t.Fatalf("got %+v", offer)
			}
			newest, err := nodes.Newest(t.Context(), offer.Chain)
			if err != nil {
				t.Fatal(err)
			}
			a := evm.Authorization{From: from, To: offer.PayTo, Value: uint64(offer.Amount), ValidBefore: newest.Time + uint64(offer.Timeout), Nonce: evm.Hash{0: byte(i + 1)}}
			domain := offer.Domain()
			name, value := required.Pay(offer, &a, evm.Sign(key, a.Digest(&domain)))
			if p, err := x402.ParsePayment(name, value); err != nil || p.Authorization != a || p.Chain != offer.Chain {
				t.Errorf("what was written reads as %+v, %v", p, err)
			}

			// What fails is once.
			if row.facilitator != "" {
				facilitator.Fail(row.facilitator, 9)
				defer facilitator.Fail("", 0)
			}
			if row.server != "" {
				server.Fail(row.server, 1)
			}
			resp, body, err = ask(name, value)
			switch {
			case row.status == 0 && err == nil:
				t.Errorf("got status %d, want no answer", resp.StatusCode)
			case row.status != 0 && (err != nil || resp.StatusCode != row.status):
				t.Fatalf("got %v, %v %s", resp, err, body)
			}
			f, errs := nodes.Ask(t.Context(), &evm.Query{Domain: domain, Authorization: a, Since: newest.Number, Confirmations: 1})
			if f.Fate != row.fate || len(errs) > 0 {
				t.Errorf("the chain says %v, %v; want %v", f.Fate, errs, row.fate)
			}
			if row.status == http.StatusOK {
				said, err := x402.ParseResponse(resp.Header)
				if err != nil || !said.Success || said.Transaction != f.Transaction {
					t.Errorf("the server says %+v, %v; the chain says %s", said, err, f.Transaction)
				}
			}

			// The same bytes again never pay twice.
			facilitator.Fail("", 0)
			ask(name, value)
			if f, _ := nodes.Ask(t.Context(), &evm.Query{Domain: domain, Authorization: a, Since: newest.Number, Confirmations: 1}); f.Fate != evm.Paid {
				t.Errorf("the same bytes again: %v", f.Fate)
			}
			if have, err := nodes.All[0].Balance(t.Context(), c.Token, shop); err != nil || have != uint64(i+1)*2500 {
				t.Errorf("the shop has %d, %v; want %d", have, err, (i+1)*2500)
			}
		})
	}
	for i, a := range x402test.Client(t, t.Context(), 5, server.URL+"/data", 2) {
		if a.Status != http.StatusOK {
			t.Errorf("the reference client, %d: %+v", i, a)
		}
	}
}

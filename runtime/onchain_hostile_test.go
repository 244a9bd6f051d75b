package runtime

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// A crook is a server that asks for money by x402, and sees what it gets.
type crook struct {
	*httptest.Server
	ask  func(http.ResponseWriter, *http.Request) // when nothing is paid
	paid func(http.ResponseWriter, *http.Request) // when it is

	mu         sync.Mutex
	signatures map[string]int
}

func newCrook(t *testing.T) *crook {
	c := &crook{signatures: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.Header.Get(x402.HeaderSignature) + r.Header.Get("X-PAYMENT")
		if s == "" {
			c.ask(w, r)
			return
		}
		c.mu.Lock()
		c.signatures[s]++
		c.mu.Unlock()
		c.paid(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// offer is a 402 of version 2 with one way to pay, of which some is changed.
func (m *market) offer(change map[string]any) func(http.ResponseWriter, *http.Request) {
	way := map[string]any{"scheme": "exact", "network": fmt.Sprintf("eip155:%d", x402test.ChainID), "amount": fmt.Sprint(marketPrice),
		"asset": m.chain.Token.String(), "payTo": m.shop.String(), "maxTimeoutSeconds": 60,
		"extra": map[string]any{"name": x402test.TokenName, "version": x402test.TokenVersion}}
	for key, value := range change {
		way[key] = value
	}
	b, _ := json.Marshal(map[string]any{"x402Version": 2, "accepts": []any{way}})
	return asks(base64.StdEncoding.EncodeToString(b))
}

func asks(headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()[http.CanonicalHeaderKey(x402.HeaderRequired)] = headers
		w.WriteHeader(http.StatusPaymentRequired)
	}
}

// hostile is a market whose server is a crook.
func (m *market) hostile(t *testing.T, method string, c *crook) *market {
	another := *m
	another.server = &x402test.Part{URL: c.URL}
	return another.begin(t, method)
}

// TestHostileServer has servers ask for what they may not have: nothing is signed that the
// manifest does not allow, and nothing is signed twice.
func TestHostileServer(t *testing.T) {
	shared := newMarket(t)
	stranger := evm.Address{19: 77}.String()
	valid := func(v any) string {
		b, _ := json.Marshal(v)
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, ask := range map[string]func(http.ResponseWriter, *http.Request){
		"another recipient":  shared.offer(map[string]any{"payTo": stranger}),
		"another asset":      shared.offer(map[string]any{"asset": stranger}),
		"another network":    shared.offer(map[string]any{"network": "eip155:1"}),
		"another chain kind": shared.offer(map[string]any{"network": "solana:mainnet"}),
		"another scheme":     shared.offer(map[string]any{"scheme": "upto"}),
		"another transfer":   shared.offer(map[string]any{"extra": map[string]any{"name": x402test.TokenName, "version": x402test.TokenVersion, "assetTransferMethod": "permit2"}}),
		"another domain":     shared.offer(map[string]any{"extra": map[string]any{"name": "USD C0in", "version": "2"}}),
		"one more":           shared.offer(map[string]any{"amount": fmt.Sprint(marketPrice + 1)}),
		"all that there is":  shared.offer(map[string]any{"amount": "9223372036854775807"}),
		"more than there is": shared.offer(map[string]any{"amount": "115792089237316195423570985008687907853269984665640564039457584007913129639935"}),
		"less than nothing":  shared.offer(map[string]any{"amount": "-1"}),
		"nothing":            shared.offer(map[string]any{"amount": "0"}),
		"a number":           shared.offer(map[string]any{"amount": 2500}),
		"no time":            shared.offer(map[string]any{"maxTimeoutSeconds": 0}),
		"a time in the past": shared.offer(map[string]any{"maxTimeoutSeconds": -60}),
		"not base64":         asks("!!!"),
		"not JSON":           asks(base64.StdEncoding.EncodeToString([]byte("{"))),
		"two headers":        asks(valid(map[string]any{"x402Version": 2}), valid(map[string]any{"x402Version": 2})),
		"a huge header":      asks(strings.Repeat("A", 200<<10)),
		"another version":    asks(valid(map[string]any{"x402Version": 3, "accepts": []any{}})),
		"deep":               asks(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[", 20000)))),
		"a recipient twice":  asks(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"x402Version":2,"accepts":[{"scheme":"exact","network":"eip155:%d","amount":"2500","asset":"%s","payTo":"%s","PayTo":"%s","maxTimeoutSeconds":60,"extra":{"name":"USD Coin","version":"2"}}]}`, x402test.ChainID, shared.chain.Token, shared.shop, stranger))),
		"an order of offers": asks(valid(map[string]any{"x402Version": 2, "accepts": make([]int, 5000)})),
		"version 1, stranger": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPaymentRequired)
			fmt.Fprintf(w, `{"x402Version":1,"accepts":[{"scheme":"exact","network":%q,"maxAmountRequired":"2500","asset":%q,"payTo":%q,"maxTimeoutSeconds":60,"extra":{"name":"USD Coin","version":"2"}}]}`, x402test.Network1, shared.chain.Token, stranger)
		},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(method+" "+name, func(t *testing.T) {
				c := newCrook(t)
				c.ask, c.paid = ask, ask
				m := shared.hostile(t, method, c)
				// A header that HTTP itself does not take is no answer.
				if code := m.live(1); code != http.StatusPaymentRequired && (name != "a huge header" || code >= 0) {
					t.Errorf("the agent gets %d", code)
				}
				if len(c.signatures) > 0 {
					t.Errorf("it got %d signatures", len(c.signatures))
				}
				m.accounts(0, 0)
			})
		}
	}

	thief := newCrook(t)
	thief.ask = func(w http.ResponseWriter, r *http.Request) { thief.paid(w, r) }
	thief.paid = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "thanks") }
	lie := valid(map[string]any{"success": true, "transaction": "0x" + strings.Repeat("ab", 32), "network": "eip155:1", "payer": stranger})
	for name, row := range map[string]struct {
		paid func(http.ResponseWriter, *http.Request)
		code int64
	}{
		"asks for more": {shared.offer(map[string]any{"amount": "2400"}), hostcall.CodeUnresolved}, // and also allowed
		"asks again":    {shared.offer(nil), hostcall.CodeUnresolved},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		}, hostcall.CodeUnresolved},
		"redirects to see": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, http.StatusSeeOther) }, hostcall.CodeUnresolved},
		"redirects to itself": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				io.WriteString(w, "data")
				return
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, hostcall.CodeUnresolved},
		"lies that it paid": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(x402.HeaderResponse, lie)
			io.WriteString(w, "data")
		}, 200},
		"says it was not": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(x402.HeaderResponse, valid(map[string]any{"success": false, "errorReason": "insufficient_funds"}))
			w.WriteHeader(http.StatusPaymentRequired)
		}, hostcall.CodeUnresolved},
		"never ends": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("data"), 1<<12)); err != nil {
					return
				}
			}
		}, hostcall.CodeUnresolved},
		"huge headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(x402.HeaderResponse, strings.Repeat("A", 2<<20))
		}, hostcall.CodeUnresolved},
		"is forbidden": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, hostcall.CodeUnresolved},
	} {
		t.Run("when it is paid it "+name, func(t *testing.T) {
			t.Parallel()
			c := newCrook(t)
			c.ask, c.paid = shared.offer(nil), row.paid
			m := shared.hostile(t, "GET", c)
			if code := m.live(1); code != row.code {
				t.Errorf("the agent gets %d, want %d", code, row.code)
			}
			if len(c.signatures) != 1 {
				t.Errorf("it got %d signatures", len(c.signatures))
			}
			for s := range c.signatures {
				p, err := x402.ParsePayment(x402.HeaderSignature, s)
				if err != nil || p.Authorization.To != m.shop || p.Authorization.Value != marketPrice || p.Offer.Asset != m.chain.Token {
					t.Errorf("it got %+v, %v", p, err)
				}
			}
			m.accounts(0, 1)
		})
	}
	t.Cleanup(func() {
		if len(thief.signatures) > 0 {
			t.Error("a redirect had a signature")
		}
	})
}

// TestHostileNodes pays where one of three nodes of the chain lies: the agent and its books
// have what the others say.
func TestHostileNodes(t *testing.T) {
	shared := newMarket(t)
	const yes, no = "0x0000000000000000000000000000000000000000000000000000000000000001", "0x0000000000000000000000000000000000000000000000000000000000000000"
	node := func(t *testing.T, lie func(method string, params []any, result any) any) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			question, _ := io.ReadAll(r.Body)
			var asked struct {
				Method string
				Params []any
			}
			json.Unmarshal(question, &asked)
			resp, err := http.Post(shared.chain.URL, "application/json", bytes.NewReader(question))
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			var answer map[string]any
			json.NewDecoder(resp.Body).Decode(&answer)
			if lie != nil {
				answer["result"] = lie(asked.Method, asked.Params, answer["result"])
			}
			json.NewEncoder(w).Encode(answer)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	used := func(params []any) bool { // of authorizationState(address,bytes32)
		call, _ := params[0].(map[string]any)
		data, _ := call["data"].(string)
		return strings.HasPrefix(data, evm.Keccak256([]byte("authorizationState(address,bytes32)")).String()[:10])
	}
	for name, lie := range map[string]func(string, []any, any) any{
		"never used, and the time is over": func(method string, params []any, result any) any {
			if b, ok := result.(map[string]any); ok && method == "eth_getBlockByNumber" {
				b["timestamp"] = "0x7fffffffff"
			}
			if method == "eth_call" && used(params) {
				return no
			}
			return result
		},
		"used": func(method string, params []any, result any) any {
			if method == "eth_call" && used(params) {
				return yes
			}
			return result
		},
		"lags": func(method string, params []any, result any) any {
			if b, ok := result.(map[string]any); ok && method == "eth_getBlockByNumber" {
				b["number"], b["timestamp"] = "0x1", "0x1"
			}
			if method == "eth_getLogs" {
				return []any{}
			}
			return result
		},
		"says nothing": func(string, []any, any) any { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			config, _ := json.Marshal(map[string]any{"wallet": shared.walletFile, "networks": map[string]any{fmt.Sprintf("eip155:%d", x402test.ChainID): map[string]any{
				"nodes": []string{node(t, lie), node(t, nil), node(t, nil)}, "agree": 2, "confirmations": 1}}})
			file := filepath.Join(t.TempDir(), "payments.json")
			if err := os.WriteFile(file, config, 0o600); err != nil {
				t.Fatal(err)
			}
			payments, err := OpenPayments(t.Context(), file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			m := shared.begin(t, "GET")
			m.payments = payments
			check := func(code, want int64, payments int64, open int64) {
				t.Helper()
				if code != want {
					t.Errorf("the agent gets %d, want %d", code, want)
				}
				have, err := m.chain.Node().Balance(t.Context(), m.chain.Token, m.shop)
				if err != nil {
					t.Fatal(err)
				}
				budget, held := m.standing()
				all := onchainReceipts(t, m.dir)
				if int64(have)-m.before != payments*marketPrice || len(all) != int(payments) || held != open*marketPrice || m.given-budget-held != payments*marketPrice {
					t.Errorf("the chain has %d, %d receipts, the budget lost %d, of which %d are held", int64(have)-m.before, len(all), m.given-budget, held)
				}
				for _, o := range all {
					if o.Agreed < 2 || o.Asked != 3 {
						t.Errorf("%d of %d nodes", o.Agreed, o.Asked)
					}
				}
			}
			check(m.live(1), 200, 1, 0)
			m.server.Fail("server answer lost", 1)
			check(m.live(1), hostcall.CodePaid, 2, 0)
			m.facilitator.Fail("settle down", 1)
			check(m.live(1), hostcall.CodeUnresolved, 2, 1)
			m.chain.Pass(2 * time.Minute)
			check(m.live(1), 200, 3, 0)
		})
	}
}

func onchainReceipts(t *testing.T, dir string) (all []*receipt.Onchain) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "receipts.x402"))
	if err != nil {
		return nil
	}
	defer f.Close()
	for r := receipt.NewReader(f); ; {
		got, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got.(*receipt.Onchain))
	}
}

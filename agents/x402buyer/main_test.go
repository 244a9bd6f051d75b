package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

const price = 2500

// A payment is what the shop wants to know of a payment receipt.
type payment struct {
	nonce, recipient, memo string
	amount                 int64
}

// parse reads a payment receipt, as docs/spec/receipts.md has it, and checks who
// signed it.
func parse(b []byte) (payment, error) {
	const context, fixed = "igor/payment-receipt/v1\x00", 24 + 32 + 32 + 8 + 8 + 2 + 2
	if len(b) < fixed+ed25519.SignatureSize || string(b[:24]) != context {
		return payment{}, errors.New("not a payment receipt")
	}
	signed, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	recipient := int(binary.LittleEndian.Uint16(b[104:]))
	memo := int(binary.LittleEndian.Uint16(b[106:]))
	if len(signed) != fixed+recipient+memo || !ed25519.Verify(b[24:56], signed, signature) {
		return payment{}, errors.New("a payment receipt that nobody signed")
	}
	text := string(signed[fixed:])
	return payment{hex.EncodeToString(b[56:88]), text[:recipient], text[recipient:], int64(binary.LittleEndian.Uint64(b[88:]))}, nil
}

// A paywall is the shop, and where its customers' payments are settled.
type paywall struct {
	parse func([]byte) (payment, error)

	mu        sync.Mutex
	orders    int
	came      map[string]int // payments, by nonce
	denied    map[string]int // probes that were told of no payment
	settled   map[string]int // by order
	cancelled map[string]bool
	delivered []string
	probes    int
	wrong     []string

	// If they are set, a request stops until the client is gone: a payment before
	// or after it is settled, a delivery after it was asked for.
	before, after, delivery bool
	stopped                 chan struct{}
}

func newPaywall(parse func([]byte) (payment, error)) *paywall {
	return &paywall{parse: parse, came: map[string]int{}, denied: map[string]int{}, settled: map[string]int{}, cancelled: map[string]bool{}, stopped: make(chan struct{})}
}

func (p *paywall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.mu.Lock()
	var stop bool
	if nonce, isPayment := strings.CutPrefix(r.URL.Path, "/pay"); isPayment {
		stop = p.settle(w, r, strings.TrimPrefix(nonce, "/"), body)
	} else {
		stop = p.sell(w, r)
	}
	p.mu.Unlock()
	if stop {
		p.stopped <- struct{}{}
		<-r.Context().Done()
	}
}

// settle is the endpoint of --pay-at.
func (p *paywall) settle(w http.ResponseWriter, r *http.Request, nonce string, body []byte) (stop bool) {
	says := func(code int, status, nonce string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"status": %q, "nonce": %q, "amountMicrocents": "%d"}`, status, nonce, price)
	}
	if r.Method == "GET" {
		p.probes++
		if p.came[nonce] == 0 {
			p.denied[nonce]++
			says(http.StatusNotFound, "unknown", nonce)
			return false
		}
		says(http.StatusOK, "settled", nonce)
		return false
	}
	got, err := p.parse(body)
	if err != nil || got.recipient != shop || got.amount != price || got.nonce != r.Header.Get("Idempotency-Key") {
		p.wrong = append(p.wrong, fmt.Sprintf("%+v, %v", got, err))
		says(http.StatusForbidden, "refused", got.nonce)
		return false
	}
	if p.before {
		p.before = false
		return true
	}
	if p.came[got.nonce]++; p.came[got.nonce] == 1 {
		p.settled[got.memo]++
	}
	stop, p.after = p.after, false
	if !stop {
		says(http.StatusOK, "settled", got.nonce)
	}
	return stop
}

func (p *paywall) sell(w http.ResponseWriter, r *http.Request) (stop bool) {
	order := r.Header.Get("X-ORDER")
	if shown := r.Header.Get("X-PAYMENT"); shown != "" {
		receipt, err := base64.StdEncoding.DecodeString(shown)
		if err == nil {
			var got payment
			got, err = p.parse(receipt)
			order = got.memo
		}
		if err != nil {
			p.wrong = append(p.wrong, err.Error())
		}
	}
	switch {
	case p.cancelled[order]:
		w.WriteHeader(http.StatusGone)
	case p.settled[order] > 0:
		if p.delivery {
			p.delivery = false
			return true
		}
		p.delivered = append(p.delivered, order)
		fmt.Fprintf(w, "the report of %s", order)
	default:
		p.orders++
		w.WriteHeader(http.StatusPaymentRequired)
		fmt.Fprintf(w, `{"x402Version": 1, "error": "X-PAYMENT is required", "accepts": [
			{"scheme": "exact", "network": "elsewhere", "maxAmountRequired": "1", "payTo": "somebody", "extra": {"order": "none"}},
			{"scheme": "exact", "network": "igor", "resource": "/report", "maxAmountRequired": "%d", "payTo": "%s", "extra": {"order": "order-%d"}}]}`,
			price, shop, p.orders)
	}
	return false
}

// stop sets before, after or delivery.
func (p *paywall) stop(where *bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*where = true
}

// world is a world whose payments the shop sees at once. A receipt is the memo.
func world(t *testing.T) (*sdktest.World, *paywall) {
	w := sdktest.New(t)
	p := newPaywall(func(b []byte) (payment, error) { return payment{memo: string(b)}, nil })
	w.Receipt = func(paid sdktest.Payment) []byte {
		p.settled[paid.Memo]++
		return []byte(paid.Memo)
	}
	w.Web = p
	return w, p
}

// TestBuy takes the offer that it may, and buys no sooner than it should.
func TestBuy(t *testing.T) {
	w, p := world(t)
	b := newBuyer()
	b.Init()
	for start := w.Time; w.Time.Before(start.Add(every / 2)); {
		b.Tick()
		b = sdktest.Restart(t, b, newBuyer())
	}
	if len(w.Paid) != 1 || w.Paid[0] != (sdktest.Payment{Amount: price, Recipient: shop, Memo: "order-1"}) {
		t.Fatalf("paid %+v", w.Paid)
	}
	w.Time = w.Time.Add(every)
	for range 5 {
		b.Tick()
	}
	if len(w.Paid) != 2 || b.spent != 2*price || b.reports != 2 || b.newest != "the report of order-2" || len(p.delivered) != 2 {
		t.Errorf("paid %+v, and has %+v", w.Paid, b)
	}
}

// TestUndelivered pays, and does not get it: it asks again, and pays no more.
func TestUndelivered(t *testing.T) {
	w, _ := world(t)
	b := newBuyer()
	if !b.Tick() {
		t.Fatal("it paid, and does not want it")
	}
	web := w.Web
	w.Web = nil
	for range 3 {
		b = sdktest.Restart(t, b, newBuyer())
		b.Tick()
	}
	w.Web = web
	b.Tick()
	if len(w.Paid) != 1 || b.reports != 1 || b.receipt != nil {
		t.Errorf("paid %+v, and has %+v", w.Paid, b)
	}
}

// TestUnresolved does not know whether it paid. The shop does.
func TestUnresolved(t *testing.T) {
	for _, happened := range []bool{true, false} {
		w, p := world(t)
		w.Lose = func(call, _ string) error {
			if call == "wallet_pay" {
				return sdk.ErrUnresolved
			}
			return nil
		}
		b := newBuyer()
		for range 3 {
			b.Tick()
			b = sdktest.Restart(t, b, newBuyer())
		}
		if len(w.Paid) != 1 || len(b.log.Open()) != 1 {
			t.Fatalf("paid %+v, and has %+v", w.Paid, b)
		}
		reports, spent := uint64(1), int64(price)
		if p.settled["order-1"]++; !happened {
			p.cancelled["order-1"] = true
			reports, spent = 0, 0
		}
		b.Tick()
		if len(b.log.Open()) != 0 || b.reports != reports || b.spent != spent {
			t.Errorf("happened %v: %+v\n%s", happened, b, w.Log())
		}
	}
}

func TestRefusesOffers(t *testing.T) {
	for _, body := range []string{"", "{}", `{"accepts": [{}]}`,
		`{"accepts": [{"scheme": "exact", "maxAmountRequired": "5001", "payTo": "shop", "extra": {"order": "a"}}]}`,
		`{"accepts": [{"scheme": "exact", "maxAmountRequired": "-1", "payTo": "shop", "extra": {"order": "a"}}]}`,
		`{"accepts": [{"scheme": "exact", "maxAmountRequired": "1", "payTo": "shops", "extra": {"order": "a"}}]}`,
		`{"accepts": [{"scheme": "exact", "maxAmountRequired": "1", "payTo": "shop"}]}`,
		`{"accepts": [{"scheme": "upto", "maxAmountRequired": "1", "payTo": "shop", "extra": {"order": "a"}}]}`,
	} {
		if amount, order, err := choose([]byte(body)); err == nil {
			t.Errorf("%s: took %d for %s", body, amount, order)
		}
	}
}

// TestLife kills the machine while a payment is answered, while one is on its way,
// and while a report that is paid is delivered. The shop counts.
func TestLife(t *testing.T) {
	p := newPaywall(parse)
	local := httptest.NewServer(p)
	defer local.Close()
	l := life.New(t, "go", server, local.URL)
	pay := "--pay-at=" + local.URL + "/pay"

	p.stop(&p.after)
	a := l.Start(pay)
	<-p.stopped // settled, and not answered
	a.Kill()

	a = l.Start(pay)
	a.Said(": the report of ")
	p.stop(&p.before)
	<-p.stopped // sent, and not settled
	a.Kill()

	a = l.Start(pay)
	a.Said(": the report of ")
	p.stop(&p.delivery)
	<-p.stopped // paid, and not delivered
	a.Kill()

	a = l.Start(pay)
	a.Said(": the report of ")
	a.Stop()
	l.Verify()

	b := newBuyer()
	if err := b.Unmarshal(l.State()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.check(t)
	if p.probes != 2 {
		t.Errorf("%d payments were asked for, and two were interrupted", p.probes)
	}
	if b.reports < 3 || b.spent != int64(len(p.settled))*price || len(p.delivered) < int(b.reports) {
		t.Errorf("the shop was paid for %d and delivered %d, and the buyer has %+v", len(p.settled), len(p.delivered), b)
	}
	if out := l.Effects(); out != "none\n" {
		t.Errorf("igor effects says\n%s", out)
	}
}

// check holds that nothing was paid twice.
func (p *paywall) check(t *testing.T) {
	t.Helper()
	if len(p.wrong) > 0 {
		t.Errorf("the shop received %q", p.wrong)
	}
	for order, times := range p.settled {
		if times != 1 {
			t.Errorf("%s was paid %d times", order, times)
		}
	}
	for nonce, times := range p.came {
		// One that was asked for, and denied, may be sent again, and then both arrive.
		if times > 1+p.denied[nonce] {
			t.Errorf("payment %s came %d times", nonce, times)
		}
	}
}

// TestCrash kills buyers anywhere. Each has two reports to buy.
func TestCrash(t *testing.T) {
	var p *paywall
	done := make(chan struct{}, 1)
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.ServeHTTP(w, r)
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.settled) >= 2 && slices.Contains(p.delivered, fmt.Sprintf("order-%d", p.orders)) {
			select {
			case done <- struct{}{}:
			default:
			}
		}
	}))
	defer local.Close()
	l := life.New(t, "go", server, local.URL)
	l.Crash(life.Matrix{
		Args:  []string{"--pay-at=" + local.URL + "/pay"},
		Begin: func() { p = newPaywall(parse) },
		Done:  done,
		End: func(state []byte) (paid int64) {
			b := newBuyer()
			if err := b.Unmarshal(state); err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.check(t)
			paid = int64(len(p.settled)) * price
			if b.spent != paid || b.reports == 0 || len(p.delivered) < int(b.reports) || len(b.log.Open()) != 0 {
				t.Errorf("the shop was paid for %d and delivered %d, and the buyer has %+v", len(p.settled), len(p.delivered), b)
			}
			return paid
		},
	})
}

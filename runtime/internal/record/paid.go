package record

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/request"
	receipts "igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
)

// A Buyer pays what servers ask for by x402, from the wallet of the node's operator.
// It is safe for concurrent use.
type Buyer interface {
	// Pay signs the payment of an offer under a nonce. Nothing is sent yet. An error is
	// why nothing was signed.
	Pay(ctx context.Context, r *x402.Required, o *x402.Offer, nonce evm.Hash) (*request.Paid, error)
	// Fate asks what became of a payment. asked is of how many nodes.
	Fate(ctx context.Context, p *request.Paid) (f evm.Finding, asked int)
	// Watch asks until the fate is final, or the context is over.
	Watch(ctx context.Context, p *request.Paid) (f evm.Finding, asked int)
}

// day is the time over which MaxPerDay counts.
const day = 24 * time.Hour

// watchDelivered is how long an answer that came is kept from the agent, so that its
// payment is certain before it is used.
const watchDelivered = 3 * time.Second

// The forms of what is recorded of a server that asks for a payment.
const (
	offeredByBody   = 1 // version 1 of x402; the answer's body follows
	offeredByHeader = 2 // version 2; the header follows
)

// offer is called after a request that was just answered. It records what the server asks
// for, if the agent's manifest has this host paid.
func (h *Host) offer(r *hostcall.HTTPRequest, heard http.Header, answered *eventlog.Record) (offered []byte, ok bool) {
	if answered.Return != http.StatusPaymentRequired || heard == nil || h.world.Buyer == nil || h.version() == eventlog.Version1 || h.world.Journal == nil {
		return nil, false
	}
	u, err := r.Target()
	if err != nil || !h.world.Manifest.X402.Pays(u) {
		return nil, false
	}
	if values := heard.Values(x402.HeaderRequired); len(values) == 1 && len(values[0]) <= 2*x402.MaxRequired {
		offered = append([]byte{offeredByHeader}, values[0]...)
	} else if body := answered.Result.Inline(); len(values) == 0 && len(body) > 4 && len(body) <= x402.MaxRequired {
		offered = append([]byte{offeredByBody}, body[4:]...)
	}
	required, err := required(offered)
	if err != nil || len(required.Offers)+len(required.Skipped) == 0 {
		if !errors.Is(err, x402.ErrNone) {
			h.world.Live.Log.Warn("a server asks for a payment in a way that is not understood: nothing was signed", "host", u.Host, "problem", err)
		}
		return nil, false
	}
	h.observed(eventlog.Record{Kind: eventlog.PaymentRequired, Request: eventlog.Bytes(offered)})
	return offered, true
}

func required(offered []byte) (*x402.Required, error) {
	if len(offered) > 0 && offered[0] == offeredByHeader {
		return x402.ParseRequired(http.Header{http.CanonicalHeaderKey(x402.HeaderRequired): {string(offered[1:])}}, nil)
	}
	if len(offered) > 0 && offered[0] == offeredByBody {
		return x402.ParseRequired(nil, offered[1:])
	}
	return nil, x402.ErrNone
}

// offered returns what a server asked for in an answer that was recorded.
func (h *Host) offered(ret int64) (offered []byte, ok bool) {
	if ret != http.StatusPaymentRequired {
		return nil, false
	}
	r, err := h.feed.peek()
	if err != nil {
		h.fail(err)
	}
	if r == nil || r.Kind != eventlog.PaymentRequired || r.Tick != h.tick {
		return nil, false
	}
	if offered, err = h.feed.content(r.Request); err != nil {
		h.fail(err)
	}
	offered = slices.Clone(offered)
	if h.Observe != nil {
		h.Observe(r)
	}
	h.feed.take()
	h.calls++
	return offered, true
}

// paid sends a request again with the payment that its answer asked for, and returns what
// the agent gets: plain, the answer, if nothing is paid.
func (h *Host) paid(ctx context.Context, r *hostcall.HTTPRequest, asked, offered, plain []byte) (written []byte, code int32) {
	ordinal := h.ordinal
	h.ordinal++
	if result, ret, ok := h.given(eventlog.PaidRequest, nil); ok {
		return result, int32(ret)
	}
	record := eventlog.Record{Kind: eventlog.PaidRequest}
	h.waits(ctx, &record, func(ctx context.Context) ([]byte, int32) {
		if result, code, ok := h.bought(r, asked); ok {
			return result, code
		}
		e, refused := h.paidEffect(ctx, r, asked, offered, ordinal)
		if refused != nil {
			h.world.Live.Log.Warn("what a server asks for is not paid, and nothing was signed", "url", r.URL, "reason", refused)
			return plain, http.StatusPaymentRequired
		}
		written, code, record.Spent = h.effect(ctx, &e.effect)
		if e.refused != nil {
			h.world.Live.Log.Warn("what a server asks for is not paid, and nothing was signed", "url", r.URL, "reason", e.refused)
			return plain, http.StatusPaymentRequired
		}
		return written, code
	})
	return record.Result.Inline(), int32(record.Return)
}

// bought gives what a GET brought that is made again after the tick failed that paid for it:
// whoever does not make it in an act, and knows nothing of the failed tick, would pay for it
// twice. One that does something is never taken for another.
func (h *Host) bought(r *hostcall.HTTPRequest, asked []byte) (result []byte, code int32, ok bool) {
	if r.Effect() || h.world.Bought == nil {
		return nil, 0, false
	}
	result, code, ok, err := h.world.Bought(asked)
	h.must(err)
	if ok {
		h.world.Live.Log.Info("what a server asks for was paid in the tick that failed, and is not paid again", "url", r.URL)
	}
	return result, code, ok
}

// A paidEffect is a request with a payment.
type paidEffect struct {
	effect
	refused error // why nothing was signed
}

func (h *Host) paidEffect(ctx context.Context, r *hostcall.HTTPRequest, asked, offered []byte, ordinal uint32) (*paidEffect, error) {
	w := h.world
	if w.Buyer == nil {
		return nil, errors.New("no wallet is configured on this node")
	}
	e := &paidEffect{}
	e.effect = effect{
		ordinal: ordinal,
		kind:    journal.Paid,
		class:   manifest.Queryable,
		same: func(recorded []byte) bool {
			p, err := request.ParsePaid(recorded)
			return err == nil && string(p.HTTP) == string(asked)
		},
		ended: func([]byte, int64) error { return nil }, // its receipt is there before its end
		act: func(ctx context.Context, id journal.ID, sent []byte) ([]byte, int32, int64) {
			return h.buy(ctx, r, id, sent)
		},
		probe: func(ctx context.Context, _ journal.ID, sent []byte) (fate, []byte, int32, int64) {
			p, err := request.ParsePaid(sent)
			h.must(err)
			f, asked := w.Buyer.Fate(ctx, &p)
			code, spent, final := h.settled(&p, f, asked)
			switch {
			case final:
				return over, nil, code, spent
			case f.Fate == evm.Open:
				return again, nil, 0, 0
			}
			return unknown, nil, 0, 0
		},
	}
	id := journal.EffectID(w.Journal.Agent, w.Genesis, h.tick, ordinal)
	if found, ok := w.Journal.Effect(id); ok { // it was decided before the crash
		e.hold = found.Held
		return e, nil
	}
	req, err := required(offered)
	if err != nil {
		return nil, err
	}
	today := int64(0)
	if w.PaidSince != nil {
		today = w.PaidSince(w.Live.ClockNow() - int64(day))
	}
	offer, err := w.Manifest.X402.Policy().Choose(req, today, w.Live.Balance())
	if err != nil {
		return nil, err
	}
	e.hold = offer.Amount
	e.request = func(id journal.ID) ([]byte, error) {
		p, err := w.Buyer.Pay(ctx, req, offer, evm.Hash(receipts.PaymentNonce(id)))
		if err != nil {
			e.refused = err
			return nil, err
		}
		p.HTTP = asked
		return p.Append(nil), nil
	}
	return e, nil
}

// buy sends the request with its payment, and finds out what became of that. What the
// server answers says nothing of the money.
func (h *Host) buy(ctx context.Context, r *hostcall.HTTPRequest, id journal.ID, sent []byte) (written []byte, code int32, spent int64) {
	w := h.world
	p, err := request.ParsePaid(sent)
	h.must(err)
	again := *r
	again.Once, again.Heard = true, nil
	again.Extra = http.Header{http.CanonicalHeaderKey(p.Name): {p.Value}}
	if r.Effect() {
		again.Extra.Set(idempotencyKey, id.String())
	}
	written, code = w.Live.HTTP(ctx, &again)
	failpoint.Reach(failpoint.PaidAnswered)
	delivered := code >= 200 && code < 300 // not what has no room: an agent asks for that again, and would pay again
	until, stop := ctx, context.CancelFunc(func() {})
	if delivered {
		until, stop = context.WithTimeout(ctx, watchDelivered)
	}
	defer stop()
	f, asked := w.Buyer.Watch(until, &p)
	paid, spent, final := h.settled(&p, f, asked)
	switch {
	case final && delivered: // and if it was never paid, it was given
		return written, code, spent
	case final:
		return nil, paid, spent
	case delivered:
		return written, code, -1
	}
	return nil, hostcall.CodeUnresolved, 0
}

// settled says what a fate means for a payment, once it is final. The receipt of one that
// was made is kept first.
func (h *Host) settled(p *request.Paid, f evm.Finding, asked int) (code int32, spent int64, final bool) {
	o, spent, final, err := Settled(p, f, asked)
	h.must(err)
	if !final {
		return 0, 0, false
	}
	if o == nil {
		return hostcall.CodeNeverPaid, 0, true
	}
	o.Time = h.world.Live.ClockNow()
	h.must(h.world.Moved(o))
	return hostcall.CodePaid, spent, true
}

// Settled says whether a fate is final, and if the payment was made, its receipt, which
// is not signed yet.
func Settled(p *request.Paid, f evm.Finding, asked int) (o *receipts.Onchain, spent int64, final bool, err error) {
	payment, err := x402.ParsePayment(p.Name, p.Value)
	if err != nil {
		return nil, 0, false, err
	}
	a := &payment.Authorization
	switch {
	case !f.Confirmed:
		return nil, 0, false, nil
	case f.Fate == evm.Never || f.Fate == evm.Cancelled:
		return nil, 0, true, nil
	case f.Fate != evm.Paid:
		return nil, 0, false, nil
	}
	return &receipts.Onchain{Nonce: a.Nonce, Chain: p.Domain.Chain, Asset: p.Domain.Contract, From: a.From, To: a.To, Amount: int64(a.Value),
		Transaction: f.Transaction, Block: f.Block, BlockHash: f.BlockHash, Agreed: uint8(min(f.Nodes, 255)), Asked: uint8(min(asked, 255))}, int64(a.Value), true, nil
}

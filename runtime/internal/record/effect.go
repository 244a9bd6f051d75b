package record

import (
	"context"
	"crypto"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A World is what the hosts of one life reach, and where they write it down.
type World struct {
	Live     hostcall.Live
	Manifest *manifest.Manifest
	Meter    *hostcall.Meter // counts hostcalls; nil = nobody does

	Version uint8            // of the event log, for what comes next; 0 is 1
	Writer  *eventlog.Writer // of the open segment; nil before the genesis has one
	Journal *journal.Journal // nil before the genesis: there are no side effects
	Genesis verifier.Hash
	Key     crypto.Signer // Ed25519

	// Findings are what the next live tick is told about side effects of before.
	Findings [][]byte

	// Clock measures how long calls wait, nil = the machine's.
	Clock func() time.Time

	// Sync makes durable all that was written, and what the life did before.
	Sync func() error
	// Begun is called when a begin is durable, before the effect leaves the machine, and
	// again where one that had begun may leave another time; nil = nobody is asked.
	Begun func() error
	// Epoch is under which effects begin.
	Epoch journal.Epoch
	// Spend takes from the budget, which is at least that.
	Spend func(microcents int64)
	// Paid keeps the receipt of a payment, durably, and once.
	Paid func(*receipts.Payment) error
	// Moved signs and keeps that of a payment on a chain, in the same way.
	Moved func(*receipts.Onchain) error
	// PaidSince is how much began to be paid by x402 since a time.
	PaidSince func(unixNano int64) int64
	// Bought returns what the agent got for a request that a failed tick made and paid, if
	// the tick that runs is the next one; ok is false if there was none.
	Bought func(asked []byte) (result []byte, code int32, ok bool, err error)
	// Wished notes that the agent asked to be moved, nil = nobody does.
	Wished func(did string)

	// Buyer pays what servers ask for by x402, nil = nobody does.
	Buyer Buyer
}

func (w *World) now() time.Time {
	if w.Clock == nil {
		return time.Now()
	}
	return w.Clock()
}

// waitLimit is how long the calls of a tick may wait together, in nanoseconds.
func (w *World) waitLimit() uint64 { return uint64(w.Manifest.MaxTick) }

// An effect is a side effect that the agent asks for.
type effect struct {
	ordinal uint32
	kind    journal.Kind
	hold    int64
	class   manifest.Class

	// request returns the bytes that leave the machine.
	request func(id journal.ID) ([]byte, error)
	// same reports whether they are of the request that was recorded.
	same func(recorded []byte) bool
	// act sends the recorded request, for the first time or again. With
	// CodeUnresolved nobody knows whether it happened. spent is of what was held; -1 says
	// that the agent gets its answer, and what it costs is not known yet.
	act func(ctx context.Context, id journal.ID, request []byte) (written []byte, code int32, spent int64)
	// probe asks what became of it: where it is over, with what result.
	probe func(ctx context.Context, id journal.ID, request []byte) (f fate, written []byte, code int32, spent int64)
	// ended is called when the outcome is durable, before the agent sees it.
	ended func(request []byte, spent int64) error
}

// A fate is what is found out about an effect that has begun.
type fate uint8

const (
	unknown fate = iota
	over         // it happened, or it certainly never will
	again        // it did not happen: the same bytes can be sent
)

// effect answers a side effect: from the journal, if it has begun before, or by
// beginning it. What has begun, and may or may not have happened, is not begun
// again, unless its class says that it can.
func (h *Host) effect(ctx context.Context, e *effect) (written []byte, code int32, spent int64) {
	w := h.world
	if w.Journal == nil {
		return nil, hostcall.CodeNotAllowed, 0
	}
	id := journal.EffectID(w.Journal.Agent, w.Genesis, h.tick, e.ordinal)
	found, ok := w.Journal.Effect(id)
	if !ok {
		if e.hold > w.Live.Balance() || w.Journal.Len() >= journal.MaxEffects {
			return nil, hostcall.CodeFailed, 0
		}
		request, err := e.request(id)
		if err != nil {
			return nil, hostcall.CodeProcessing, 0
		}
		h.must(h.write())
		h.must(w.Sync())
		failpoint.Reach(failpoint.EffectMeant)
		_, err = w.Journal.Begin(journal.Begin{Tick: h.tick, Ordinal: e.ordinal, Kind: e.kind, Epoch: w.Epoch, Held: e.hold,
			Time: w.Live.ClockNow(), Request: request})
		h.must(err)
		failpoint.Reach(failpoint.EffectBegun)
		return h.carryOut(ctx, e, id, request, e.hold, false)
	}
	request, err := w.Journal.Request(id)
	h.must(err)
	if found.Kind != e.kind || !e.same(request) {
		h.fail(hint.Wrap(fmt.Errorf("it asks for another side effect than the one that it began before the crash (%s): its event log is damaged, or it keeps state outside its checkpoints", id),
			"nothing was sent; "+restoreEvents))
	}
	spends := found.Held
	if found.State == journal.Ended {
		spends = found.Spent
	}
	if left := w.Live.Balance(); spends > left {
		// The ticks before it cost more than when it began.
		h.fail(hint.Wrap(fmt.Errorf("it spent %s on a side effect before the crash (%s), and only %s are left: its event log is damaged",
			verifier.FormatMicrocents(spends), id, verifier.FormatMicrocents(left)), "give it more with igor resume --top-up AMOUNT, or "+restoreEvents))
	}
	switch found.State {
	case journal.Ended:
		result, err := w.Journal.Result(id)
		h.must(err)
		if len(result) < 8 {
			h.fail(fmt.Errorf("the result of effect %s is cut short", id))
		}
		h.must(e.ended(request, found.Spent))
		w.Spend(found.Spent)
		return result[8:], int32(le.Uint64(result)), found.Spent
	case journal.Begun:
		switch e.class {
		case manifest.Idempotent:
			return h.carryOut(ctx, e, id, request, found.Held, true)
		case manifest.Queryable:
			if e.probe == nil {
				break
			}
			f, written, code, spent := e.probe(ctx, id, request)
			failpoint.Reach(failpoint.EffectProbed)
			switch f {
			case over:
				h.end(e, id, request, spent, written, code)
				return written, code, spent
			case again:
				return h.carryOut(ctx, e, id, request, found.Held, true)
			}
		}
	}
	w.Spend(found.Held)
	return nil, hostcall.CodeUnresolved, found.Held
}

// carryOut lets an effect that has begun leave the machine, and writes down what
// came of it. Without an answer it stays unresolved, with what it holds. If it may
// have left before, then that it could not now is no answer either.
func (h *Host) carryOut(ctx context.Context, e *effect, id journal.ID, request []byte, held int64, again bool) ([]byte, int32, int64) {
	if begun := h.world.Begun; begun != nil {
		h.must(begun())
	}
	failpoint.Reach(failpoint.EffectLeaves)
	written, code, spent := e.act(ctx, id, request)
	failpoint.Reach(failpoint.EffectActed)
	switch code {
	case hostcall.CodeFailed, hostcall.CodeTimeout, hostcall.CodeNotAllowed:
		if again {
			code = hostcall.CodeUnresolved
		}
	}
	if code == hostcall.CodeUnresolved {
		h.world.Spend(held)
		return nil, code, held
	}
	if spent < 0 {
		h.world.Spend(held)
		return written, code, held
	}
	h.end(e, id, request, spent, written, code)
	return written, code, spent
}

func (h *Host) end(e *effect, id journal.ID, request []byte, spent int64, written []byte, code int32) {
	result := append(le.AppendUint64(nil, uint64(int64(code))), written...)
	h.must(h.world.Journal.End(id, spent, result))
	failpoint.Reach(failpoint.EffectEnded)
	h.must(e.ended(request, spent))
	h.world.Spend(spent)
}

// must ends the call if something cannot be written down: what is not durable is
// not done, and not seen.
func (h *Host) must(err error) {
	if err != nil {
		h.fail(err)
	}
}

const idempotencyKey = "Idempotency-Key"

func (h *Host) httpEffect(r *hostcall.HTTPRequest, request []byte, ordinal uint32) *effect {
	live := h.world.Live
	e := &effect{
		ordinal: ordinal,
		kind:    journal.HTTP,
		class:   manifest.Unsafe,
		request: func(journal.ID) ([]byte, error) { return request, nil },
		same:    func(recorded []byte) bool { return string(recorded) == string(request) },
		ended:   func([]byte, int64) error { return nil },
		act: func(ctx context.Context, id journal.ID, _ []byte) ([]byte, int32, int64) {
			sent := *r
			sent.Extra = http.Header{idempotencyKey: {id.String()}}
			left := false
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { left = true }})
			written, code := live.HTTP(ctx, &sent)
			if left && (code == hostcall.CodeFailed || code == hostcall.CodeTimeout) {
				code = hostcall.CodeUnresolved // it was sent, and not answered
			}
			return written, code, 0
		},
	}
	u, err := r.Target()
	if err != nil {
		return e
	}
	var path string
	if e.class, path = h.world.Manifest.HTTP.ClassOf(u); path == "" {
		return e
	}
	e.probe = func(ctx context.Context, id journal.ID, _ []byte) (fate, []byte, int32, int64) {
		ask := hostcall.HTTPRequest{
			Method: http.MethodGet,
			URL:    u.Scheme + "://" + u.Host + strings.Replace(path, "{id}", id.String(), 1),
			Room:   math.MaxUint32, // the status says what happened, not the size
		}
		answer, status := live.HTTP(ctx, &ask)
		switch {
		case status >= 200 && status < 300:
			written, code := hostcall.Fit(answer[4:], status, r.Room)
			return over, written, code, 0
		case status == http.StatusNotFound:
			return again, nil, 0, 0
		}
		return unknown, nil, 0, 0
	}
	return e
}

func (h *Host) payEffect(p *hostcall.Payment, ordinal uint32) *effect {
	w := h.world
	parse := func(request []byte) (*receipts.Payment, error) {
		r, size, err := receipts.Parse(request)
		if err != nil {
			return nil, err
		}
		payment, ok := r.(*receipts.Payment)
		if !ok || size != len(request) {
			return nil, fmt.Errorf("a journal's payment is not a payment receipt")
		}
		return payment, nil
	}
	e := &effect{
		ordinal: ordinal,
		kind:    journal.Payment,
		hold:    p.Amount,
		class:   w.Manifest.X402.Class,
		request: func(id journal.ID) ([]byte, error) {
			authorisation := &receipts.Payment{Nonce: receipts.PaymentNonce(id), Amount: p.Amount,
				Time: w.Live.ClockNow(), Recipient: p.Recipient, Memo: p.Memo}
			if err := receipt.SignPayment(authorisation, w.Key); err != nil {
				return nil, err
			}
			return authorisation.Append(nil), nil
		},
		same: func(recorded []byte) bool {
			r, err := parse(recorded)
			return err == nil && r.Amount == p.Amount && r.Recipient == p.Recipient && r.Memo == p.Memo
		},
		act: func(ctx context.Context, _ journal.ID, request []byte) ([]byte, int32, int64) {
			sent := *p
			sent.Authorisation = request
			written, code := w.Live.Pay(ctx, &sent)
			if code >= 0 || code == hostcall.CodeTooLarge {
				return written, code, p.Amount
			}
			return nil, code, 0
		},
		ended: func(request []byte, spent int64) error {
			if spent == 0 {
				return nil
			}
			r, err := parse(request)
			if err != nil {
				return err
			}
			return w.Paid(r)
		},
	}
	if asks, ok := w.Live.Payer.(Settler); ok {
		e.probe = func(ctx context.Context, _ journal.ID, request []byte) (fate, []byte, int32, int64) {
			settled, known := asks.Settled(ctx, request)
			switch {
			case !known:
				return unknown, nil, 0, 0
			case !settled:
				return again, nil, 0, 0
			}
			written, code := hostcall.Fit(request, int32(4+len(request)), p.Room)
			return over, written, code, p.Amount
		}
	}
	return e
}

// A Settler is a payer that can be asked what became of a payment.
type Settler interface {
	Settled(ctx context.Context, authorisation []byte) (settled, known bool)
}

package record

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/receipt"
	receipts "igor.dev/verifier/receipt"
)

// An outside answers as it is told, can be asked, and counts what it gets.
type outside struct {
	code          int32
	body          []byte
	settled, knew bool
	sent          int
}

func (o *outside) Do(_ context.Context, r *hostcall.HTTPRequest) ([]byte, int32) {
	if r.Effect() {
		o.sent++
	}
	return o.body, o.code
}

func (o *outside) Pay(context.Context, *hostcall.Payment) ([]byte, int32) {
	o.sent++
	return o.body, o.code
}

func (o *outside) got() int {
	if o == nil {
		return 0
	}
	return o.sent
}

func (o *outside) Settled(context.Context, []byte) (settled, known bool) { return o.settled, o.knew }

// TestAgain has an effect that began before a crash, and of which nobody knows
// whether it happened. What comes of asking or of sending it again decides only
// what it says about the first time: that nothing could be sent now says nothing.
func TestAgain(t *testing.T) {
	const open = "unresolved"
	for _, tt := range []struct {
		kind  journal.Kind
		class manifest.Class
		now   *outside // nil: there is no endpoint any more
		code  int32
		sent  int
		spent int64
		state string
	}{
		{journal.Payment, manifest.Unsafe, &outside{}, -7, 0, 5, open},
		{journal.Payment, manifest.Idempotent, &outside{body: []byte("paid")}, 8, 1, 5, "ended"},
		{journal.Payment, manifest.Idempotent, &outside{code: hostcall.CodeProcessing}, -6, 1, 0, "ended"}, // refused, now and before
		{journal.Payment, manifest.Idempotent, &outside{code: hostcall.CodeFailed}, -7, 1, 5, open},
		{journal.Payment, manifest.Idempotent, &outside{code: hostcall.CodeUnresolved}, -7, 1, 5, open},
		{journal.Payment, manifest.Idempotent, nil, -7, 0, 5, open},
		{journal.Payment, manifest.Queryable, &outside{settled: true, knew: true}, 16, 0, 5, "ended"},
		{journal.Payment, manifest.Queryable, &outside{code: hostcall.CodeFailed, knew: true}, -7, 1, 5, open},
		{journal.Payment, manifest.Queryable, &outside{code: hostcall.CodeProcessing, knew: true}, -6, 1, 0, "ended"},
		{journal.Payment, manifest.Queryable, &outside{}, -7, 0, 5, open},
		{journal.Payment, manifest.Queryable, nil, -7, 0, 5, open},

		{journal.HTTP, manifest.Unsafe, &outside{code: 200}, -7, 0, 0, open},
		{journal.HTTP, manifest.Idempotent, &outside{code: 200}, 200, 1, 0, "ended"},
		{journal.HTTP, manifest.Idempotent, &outside{code: hostcall.CodeTooLarge}, -5, 1, 0, "ended"},
		{journal.HTTP, manifest.Idempotent, &outside{code: hostcall.CodeFailed}, -7, 1, 0, open},
		{journal.HTTP, manifest.Idempotent, &outside{code: hostcall.CodeTimeout}, -7, 1, 0, open},
		{journal.HTTP, manifest.Idempotent, &outside{code: hostcall.CodeNotAllowed}, -7, 1, 0, open}, // an address that the name has now
		{journal.HTTP, manifest.Queryable, &outside{code: 201}, 201, 0, 0, "ended"},
		{journal.HTTP, manifest.Queryable, &outside{code: 201, body: make([]byte, 101)}, -5, 0, 0, "ended"}, // more than there is room for
		{journal.HTTP, manifest.Queryable, &outside{code: 404}, 404, 1, 0, "ended"},
		{journal.HTTP, manifest.Queryable, &outside{code: 404, body: make([]byte, 101)}, -5, 1, 0, "ended"},
		{journal.HTTP, manifest.Queryable, &outside{code: 500}, -7, 0, 0, open},
		{journal.HTTP, manifest.Queryable, &outside{code: 500, body: make([]byte, 101)}, -7, 0, 0, open},
		{journal.HTTP, manifest.Queryable, &outside{code: hostcall.CodeTooLarge}, -7, 0, 0, open}, // of which status?
		{journal.HTTP, manifest.Queryable, &outside{code: hostcall.CodeFailed}, -7, 0, 0, open},
	} {
		name := fmt.Sprintf("%d %s %+v", tt.kind, tt.class, tt.now)
		l := newLife(t)
		host := manifest.Host{Name: "a"}
		l.world.Manifest = &manifest.Manifest{X402: manifest.X402{Class: tt.class},
			HTTP: manifest.HTTP{AllowedHosts: []manifest.Host{host}, Class: tt.class}}
		if tt.class == manifest.Queryable {
			l.world.Manifest.HTTP.Probes = map[string]string{"a": "/{id}"}
		}
		spent := int64(0)
		l.world.Spend = func(n int64) { spent += n }
		call := func() (written []byte, code int32) {
			h := NewHost(l.world, l.feed(t), l.kv, 1)
			_, err := try(h, func(h *Host) string {
				if tt.kind == journal.Payment {
					written, code = pay(h, 5, 1000, "bob", "memo")
				} else {
					written, code = h.HTTP(t.Context(), post("http://a/"))
				}
				return ""
			})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return written, code
		}
		lost := &outside{code: hostcall.CodeUnresolved}
		l.world.Live.Web, l.world.Live.Payer = lost, lost
		if _, code := call(); code != hostcall.CodeUnresolved || lost.sent != 1 {
			t.Fatalf("%s: at first, %d", name, code)
		}
		spent = 0 // the process ended before anything but the journal knew of it
		l.world.Live.Web, l.world.Live.Payer = nil, nil
		if tt.now != nil {
			l.world.Live.Web, l.world.Live.Payer = tt.now, tt.now
		}
		written, code := call()
		if tt.class == manifest.Queryable && tt.kind == journal.Payment && code > 0 {
			code = 16 // the length of an authorisation is no matter here
		}
		if code != tt.code || spent != tt.spent || code == -7 && len(written) > 0 {
			t.Errorf("%s: got %d with %d bytes, and %d spent; want %d and %d", name, code, len(written), spent, tt.code, tt.spent)
		}
		all := l.world.Journal.Effects()
		state := "ended"
		if len(l.world.Journal.Unresolved()) > 0 {
			state = open
		}
		if sent := tt.now.got(); sent != tt.sent {
			t.Errorf("%s: it was sent %d times again, want %d", name, sent, tt.sent)
		}
		if len(all) != 1 || state != tt.state || state == "ended" && all[0].Spent != tt.spent {
			t.Errorf("%s: the journal has %+v", name, all)
		}
	}
}

// TestForgotten has an agent that does not come back to the side effect that it began
// before a crash, as one whose event log lost what led to it: its tick does not end.
func TestForgotten(t *testing.T) {
	l := newLife(t)
	try(NewHost(l.world, nil, l.kv, 1), func(h *Host) string { return said(h.HTTP(t.Context(), post("http://a/"))) })
	end := func(h *Host) error {
		_, err := h.End(1, Used{}, func(Used) eventlog.Metered { t.Error("it is charged"); return eventlog.Metered{} })
		return err
	}
	h := NewHost(l.world, nil, l.kv, 1)
	h.HTTP(t.Context(), get("http://a/"))
	if err := end(h); err == nil || !strings.Contains(err.Error(), "tick 1 ends without the side effect that it began before the crash") {
		t.Errorf("got error %v", err)
	}
	h = NewHost(l.world, nil, l.kv, 1)
	h.HTTP(t.Context(), post("http://a/"))
	h.ClockNow()
	if _, err := h.End(1, Used{}, free); err != nil {
		t.Error(err)
	}
	if n := len(l.sent); n != 2 { // one GET, and the POST once
		t.Errorf("sent %q", l.sent)
	}
}

// TestSpentMoreThanLeft has a payment that was begun with more than what is left, as
// where ticks before it were lost and lived anew: nothing is taken, below zero.
func TestSpentMoreThanLeft(t *testing.T) {
	for _, ended := range []bool{false, true} {
		l := newLife(t)
		budget := int64(77)
		l.world.Live.Balance = func() int64 { return budget }
		l.world.Spend = func(n int64) { budget -= n }
		id, err := l.world.Journal.Begin(journal.Begin{Tick: 1, Kind: journal.Payment, Held: 50, Request: paymentOf(t, l, 50)})
		if ended && err == nil {
			err = l.world.Journal.End(id, 50, le.AppendUint64(nil, 0))
		}
		if err != nil {
			t.Fatal(err)
		}
		call := func(h *Host) string { return said(pay(h, 50, 100, "bob", "memo")) }
		budget = 49
		if got, err := try(NewHost(l.world, nil, l.kv, 1), call); err == nil || !strings.Contains(err.Error(), "only 0.000049 are left") || budget != 49 {
			t.Errorf("ended %t: got %q, %v, and %d are left", ended, got, err, budget)
		}
		budget = 50
		if _, err := try(NewHost(l.world, nil, l.kv, 1), call); err != nil || budget != 0 {
			t.Errorf("ended %t: %v, and %d are left", ended, err, budget)
		}
	}
}

// paymentOf returns the request of a payment to bob.
func paymentOf(t *testing.T, l *life, amount int64) []byte {
	t.Helper()
	p := &receipts.Payment{Amount: amount, Recipient: "bob", Memo: "memo"}
	if err := receipt.SignPayment(p, l.world.Key); err != nil {
		t.Fatal(err)
	}
	return p.Append(nil)
}

// Package record is the world of an agent whose life is recorded: what it
// observes is written to its event log, and what it does outside to its journal.
//
// A [Host] first gives what was recorded already, then lets the agent reach the
// world ([World]), and records that. So a life goes on after a crash in the middle
// of a tick, with nothing lost and nothing done twice. A Host without a world only
// gives what was recorded, and anything else is a [*Divergence]: a replay.
//
// What a tick observes is kept in memory until the tick ends, fails, or begins a side
// effect. What agent_resume observes is of the tick after it: an instance that never
// ends a tick has observed nothing.
package record

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/request"
)

var le = binary.LittleEndian

// A Host is the world of one instance of an agent. It is not safe for concurrent
// use.
type Host struct {
	world *World // nil: a replay
	feed  *Feed  // nil: nothing was recorded
	kv    hostcall.Live

	tick    uint64 // that runs, or is the next to run
	calls   int    // of this tick
	ordinal uint32 // of this tick's next side effect
	random  *stream
	waited  uint64   // ns, by this tick's calls
	asked   int      // how many of the world's findings this tick was told
	telling [][]byte // what it was told, wherever that came from
	told    [][]byte // that of the last tick that ended
	pending []eventlog.Record
	err     error

	// AnyFuel has a replay take no notice of what a tick used.
	AnyFuel bool

	// Observe, if it is there, is called with each observation.
	Observe func(*eventlog.Record)
}

// NewHost makes the host of an instance whose store is m, and whose first tick is
// given: 0 is agent_init. What agent_resume observes before it belongs to it.
func NewHost(world *World, feed *Feed, m *kv.Map, first uint64) *Host {
	return &Host{world: world, feed: feed, kv: hostcall.Live{KV: m}, tick: first}
}

// Meter implements [hostcall.Metered]: what a replay is given costs nothing.
func (h *Host) Meter() *hostcall.Meter {
	if h.world == nil {
		return nil
	}
	return h.world.Meter
}

// Err returns why the host ended a call into the agent, nil if it did not.
func (h *Host) Err() error { return h.err }

// fail ends the call into the agent that is under way.
func (h *Host) fail(err error) {
	if h.err == nil {
		h.err = err
	}
	panic(h.err)
}

// Recorded reports whether something that was recorded has not been given yet.
func (h *Host) Recorded() (bool, error) { return h.feed.More() }

// Used is what a tick took. In version 1 of the event log that is the time, and later
// the fuel.
type Used struct {
	Elapsed time.Duration
	Fuel    uint64
	Waited  uint64 // ns; filled in by the Host
}

// A Charge takes what a tick used from the account, and says what that cost.
type Charge func(Used) eventlog.Metered

// End ends the tick that runs, which returned result; the next one may begin. If
// the tick's end was recorded, it is given: then again is true, and its cost is on
// the account already.
func (h *Host) End(result int64, used Used, charge Charge) (again bool, err error) {
	end := eventlog.Record{Kind: eventlog.TickEnd, Tick: h.tick, Return: result}
	return h.over(&end, used, charge)
}

// Fail ends the tick that runs, of which a call failed by the agent's own doing.
// Nothing comes after it: the instance is of no more use.
func (h *Host) Fail(call eventlog.Call, failure eventlog.Failure, used Used, charge Charge) (again bool, err error) {
	end := eventlog.Record{Kind: eventlog.TickFailed, Tick: h.tick, Call: call, Failure: failure}
	return h.over(&end, used, charge)
}

func (h *Host) over(end *eventlog.Record, used Used, charge Charge) (again bool, err error) {
	r, err := h.feed.peek()
	switch {
	case err != nil:
		return false, err
	case r != nil:
		if d := h.otherEnd(r, end, used); d != nil {
			return false, d
		}
		if h.Observe != nil {
			h.Observe(r)
		}
		h.feed.take()
		h.next()
		return true, nil
	case h.world == nil:
		return false, fmt.Errorf("%w: the event log ends in the middle of tick %d", ErrMissing, h.tick)
	}
	if err := h.nothingLeft(); err != nil {
		return false, err
	}
	if used.Waited = h.waited; h.version() == eventlog.Version1 {
		end.Elapsed = uint64(max(0, used.Elapsed))
		end.Cost = charge(used).Cost
	} else {
		cost := charge(used)
		cost.Fuel, cost.Waited = used.Fuel, used.Waited
		end.SetMetered(cost)
	}
	if err := h.write(); err != nil {
		return false, err
	}
	if err := h.world.Writer.Append(end); err != nil {
		return false, err
	}
	h.next()
	return false, h.world.Writer.Flush()
}

// otherEnd returns how a tick ended otherwise than recorded, nil if it did not.
func (h *Host) otherEnd(r, end *eventlog.Record, used Used) *Divergence {
	switch {
	case r.Kind != end.Kind || r.Tick != h.tick, r.Kind == eventlog.TickFailed && (r.Call != end.Call || r.Failure != end.Failure):
		return h.diverge(endName(r), endName(end), nil, nil)
	case r.Return != end.Return:
		return h.diverge(r.Kind.String(), r.Kind.String(), le.AppendUint64(nil, uint64(r.Return)), le.AppendUint64(nil, uint64(end.Return)))
	case h.version() != eventlog.Version1 && !h.AnyFuel && r.Fuel != used.Fuel:
		units := func(n uint64) string { return fmt.Sprintf("%s after %d units of fuel", r.Kind, n) }
		return h.diverge(units(r.Fuel), units(used.Fuel), nil, nil)
	}
	return nil
}

func endName(r *eventlog.Record) string {
	if r.Kind == eventlog.TickFailed {
		return fmt.Sprintf("%s (%s in %s)", r.Kind, r.Failure, r.Call)
	}
	return r.Kind.String()
}

// version is that of the segment in which the tick is, or will be.
func (h *Host) version() uint8 {
	if r, err := h.feed.peek(); h.feed != nil && (h.world == nil || err == nil && r != nil) {
		return h.feed.header.Version
	}
	if h.world == nil || h.world.Version == 0 {
		return eventlog.Version1
	}
	return h.world.Version
}

// Finding returns what the agent is to be told next about a side effect of before, in
// the tick that runs; ok is false if there is no more.
func (h *Host) Finding() (finding []byte, ok bool, err error) {
	r, err := h.feed.peek()
	switch {
	case err != nil:
		return nil, false, err
	case r != nil:
		if r.Kind != eventlog.Finding || r.Tick != h.tick {
			return nil, false, nil
		}
		if finding, err = h.feed.content(r.Request); err != nil {
			return nil, false, err
		}
		if h.Observe != nil {
			h.Observe(r)
		}
		finding = slices.Clone(finding)
		h.feed.take()
		h.telling = append(h.telling, finding)
		return finding, true, nil
	case h.world == nil || h.asked >= len(h.world.Findings):
		return nil, false, nil
	}
	finding = h.world.Findings[h.asked]
	h.asked++
	h.telling = append(h.telling, finding)
	r = &eventlog.Record{Kind: eventlog.Finding, Tick: h.tick, Request: eventlog.Bytes(finding)}
	if h.Observe != nil {
		h.Observe(r)
	}
	h.pending = append(h.pending, *r)
	return finding, true, nil
}

// nothingLeft fails if the tick did not ask for a side effect that it began before
// the crash: what led to it is lost, and the agent would do it again when it comes
// to it.
func (h *Host) nothingLeft() error {
	w := h.world
	if w.Journal == nil || w.Journal.Last() < h.tick {
		return nil
	}
	id := journal.EffectID(w.Journal.Agent, w.Genesis, h.tick, h.ordinal)
	if _, begun := w.Journal.Effect(id); begun {
		return hint.Wrap(fmt.Errorf("tick %d ends without the side effect that it began before the crash (%s): its event log is damaged, or the agent keeps state outside its checkpoints", h.tick, id), restoreEvents)
	}
	return nil
}

// restoreEvents is what to do where the event log does not have what it had.
const restoreEvents = "restore the folder events from a copy: without it the agent does not know what led to its side effects; igor effects shows them"

func (h *Host) next() {
	h.told = h.telling
	h.tick, h.calls, h.ordinal, h.random, h.waited, h.asked, h.telling = h.tick+1, 0, 0, nil, 0, 0, nil
}

// Told returns what the last tick that ended was told.
func (h *Host) Told() [][]byte { return h.told }

// write hands over what is pending to the event log.
func (h *Host) write() error {
	for i := range h.pending {
		if err := h.world.Writer.Append(&h.pending[i]); err != nil {
			return err
		}
	}
	clear(h.pending)
	h.pending = h.pending[:0]
	return nil
}

func (h *Host) diverge(recorded, got string, was, is []byte) *Divergence {
	at := FirstDifference(was, is)
	return &Divergence{h.tick, h.calls, recorded, got, at, slices.Clone(was), slices.Clone(is)}
}

// given returns what was recorded of a call, and whether anything was.
func (h *Host) given(kind eventlog.Kind, request []byte) (result []byte, ret int64, ok bool) {
	r, err := h.feed.peek()
	switch {
	case err != nil:
		h.fail(err)
	case r == nil && h.world == nil:
		h.fail(fmt.Errorf("%w: the event log ends in the middle of tick %d", ErrMissing, h.tick))
	case r == nil:
		return nil, 0, false
	case r.Tick != h.tick || r.Kind != kind:
		recorded := r.Kind.String()
		if r.Tick != h.tick {
			recorded = fmt.Sprintf("the end of the tick (next is tick %d)", r.Tick)
		}
		h.fail(h.diverge(recorded, kind.String(), nil, nil))
	case !r.Request.Is(request):
		was, err := h.feed.content(r.Request)
		if err != nil {
			h.fail(err)
		}
		h.fail(h.diverge(kind.String(), kind.String(), was, request))
	}
	if result, err = h.feed.content(r.Result); err != nil {
		h.fail(err)
	}
	if h.Observe != nil && r.Kind != eventlog.RandBytes {
		h.Observe(r)
	}
	ret = r.Return
	h.waited += r.Waited
	h.feed.take()
	h.calls++
	return result, ret, true
}

// observed records a call.
func (h *Host) observed(r eventlog.Record) {
	r.Tick = h.tick
	if h.Observe != nil {
		h.Observe(&r)
	}
	h.pending = append(h.pending, r)
	h.calls++
}

// number observes what is only a number.
func (h *Host) number(kind eventlog.Kind, live func() int64) int64 {
	if _, n, ok := h.given(kind, nil); ok {
		return n
	}
	n := live()
	h.observed(eventlog.Record{Kind: kind, Return: n})
	return n
}

// ClockNow implements [hostcall.Host].
func (h *Host) ClockNow() int64 {
	return h.number(eventlog.ClockNow, func() int64 { return h.world.Live.ClockNow() })
}

// WalletBalance implements [hostcall.Host].
func (h *Host) WalletBalance() int64 {
	return h.number(eventlog.WalletBalance, func() int64 { return h.world.Live.WalletBalance() })
}

// ReceiptCount implements [hostcall.Host].
func (h *Host) ReceiptCount() int32 {
	return int32(h.number(eventlog.WalletReceiptCount, func() int64 { return int64(h.world.Live.ReceiptCount()) }))
}

// NodePrice implements [hostcall.Host].
func (h *Host) NodePrice() int64 {
	return h.number(eventlog.NodePrice, func() int64 { return h.world.Live.NodePrice() })
}

// LogEmit implements [hostcall.Host].
func (h *Host) LogEmit(line []byte) {
	if _, _, ok := h.given(eventlog.LogEmit, line); ok {
		return
	}
	h.world.Live.LogEmit(line)
	h.observed(eventlog.Record{Kind: eventlog.LogEmit, Request: eventlog.Bytes(slices.Clone(line))})
}

// Receipt implements [hostcall.Host].
func (h *Host) Receipt(index, room uint32) (written []byte, code int32) {
	return h.bytes(eventlog.WalletReceipt, request.Item{Index: index, Room: room}.Append(nil),
		func() ([]byte, int32) { return h.world.Live.Receipt(index, room) })
}

// HTTP implements [hostcall.Host].
func (h *Host) HTTP(ctx context.Context, r *hostcall.HTTPRequest) (written []byte, code int32) {
	asked := (&request.HTTP{Room: r.Room, Method: r.Method, URL: r.URL, Headers: r.Headers, Body: r.Body}).Append(nil)
	ordinal := h.ordinal
	if r.Effect() {
		h.ordinal++
	}
	if result, ret, ok := h.given(eventlog.HTTPRequest, asked); ok {
		result = slices.Clone(result)
		if offered, ok := h.offered(ret); ok {
			return h.paid(ctx, r, asked, offered, result)
		}
		return result, int32(ret)
	}
	var heard http.Header
	if !r.Unpaid {
		r.Heard = &heard
	}
	record := eventlog.Record{Kind: eventlog.HTTPRequest, Request: eventlog.Bytes(asked)}
	h.waits(ctx, &record, func(ctx context.Context) ([]byte, int32) {
		if r.Effect() {
			written, code, record.Spent = h.effect(ctx, h.httpEffect(r, asked, ordinal))
		} else {
			written, code = h.world.Live.HTTP(ctx, r)
		}
		return written, code
	})
	if offered, ok := h.offer(r, heard, &record); ok {
		return h.paid(ctx, r, asked, offered, record.Result.Inline())
	}
	return record.Result.Inline(), int32(record.Return)
}

// Pay implements [hostcall.Host].
func (h *Host) Pay(ctx context.Context, p *hostcall.Payment) (written []byte, code int32) {
	asked := (&request.Pay{Amount: p.Amount, Room: p.Room, Recipient: p.Recipient, Memo: p.Memo}).Append(nil)
	ordinal := h.ordinal
	h.ordinal++
	if result, ret, ok := h.given(eventlog.WalletPay, asked); ok {
		return result, int32(ret)
	}
	record := eventlog.Record{Kind: eventlog.WalletPay, Request: eventlog.Bytes(asked)}
	h.waits(ctx, &record, func(ctx context.Context) ([]byte, int32) {
		written, code, record.Spent = h.effect(ctx, h.payEffect(p, ordinal))
		return written, code
	})
	return record.Result.Inline(), int32(record.Return)
}

// waits makes a call that waits for the world, for as long as the tick may still
// wait, and records it. Where no time is left, nothing is asked and nothing sent.
func (h *Host) waits(ctx context.Context, r *eventlog.Record, call func(context.Context) ([]byte, int32)) {
	metered := h.version() != eventlog.Version1
	written, code := []byte(nil), int32(hostcall.CodeTimeout)
	if !metered {
		written, code = call(ctx)
	} else if left := h.world.waitLimit() - h.waited; int64(left) > 0 {
		ctx, stop := context.WithTimeout(ctx, time.Duration(left))
		since := h.world.now()
		written, code = call(ctx)
		stop()
		r.Waited = min(uint64(max(0, h.world.now().Sub(since))), left)
		h.waited += r.Waited
	}
	r.Return, r.Result = int64(code), eventlog.Bytes(written)
	h.observed(*r)
}

// The store is the agent's own: its calls are made again, and have to come to the
// same.

// KVGet implements [hostcall.Host].
func (h *Host) KVGet(key []byte, room uint32) (written []byte, code int32) {
	asked := request.Get{Room: room, Key: key}.Append(nil)
	written, code = h.kv.KVGet(key, room)
	if result, ret, ok := h.given(eventlog.KVGet, asked); ok {
		if int32(ret) != code || string(result) != string(written) {
			h.fail(h.diverge("kv_get", "kv_get", append(le.AppendUint64(nil, uint64(ret)), result...), append(le.AppendUint64(nil, uint64(int64(code))), written...)))
		}
		return written, code
	}
	h.observed(eventlog.Record{Kind: eventlog.KVGet, Request: eventlog.Bytes(asked), Return: int64(code), Result: eventlog.Bytes(slices.Clone(written))})
	return written, code
}

// KVPut implements [hostcall.Host].
func (h *Host) KVPut(key, value []byte) int32 {
	return h.change(eventlog.KVPut, request.Put{Key: key, Value: value}.Append(nil), func() int32 { return h.kv.KVPut(key, value) })
}

// KVDelete implements [hostcall.Host].
func (h *Host) KVDelete(key []byte) int32 {
	return h.change(eventlog.KVDelete, slices.Clone(key), func() int32 { return h.kv.KVDelete(key) })
}

func (h *Host) change(kind eventlog.Kind, request []byte, live func() int32) int32 {
	_, ret, ok := h.given(kind, request)
	code := live()
	if ok && int32(ret) != code {
		h.fail(h.diverge(kind.String(), kind.String(), le.AppendUint64(nil, uint64(ret)), le.AppendUint64(nil, uint64(int64(code)))))
	}
	if !ok {
		h.observed(eventlog.Record{Kind: kind, Request: eventlog.Bytes(request), Return: int64(code)})
	}
	return code
}

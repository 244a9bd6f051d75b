package runtime

import (
	"context"
	"sync/atomic"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/record"
)

// turns are the turns at the processor that the agents of an engine take: so many at a
// time, in the order in which they asked. Between two slices of its fuel an agent gives
// its turn to those who wait, so that one that loops has no more than its share; while
// it waits for a network or a disk, it has none.
type turns struct {
	free    chan struct{}
	waiting atomic.Int64
}

func newTurns(n int) *turns { return &turns{free: make(chan struct{}, n)} }

// take returns when it is the caller's turn. Senders of a channel wait in line.
func (t *turns) take() {
	select {
	case t.free <- struct{}{}:
		return
	default:
	}
	t.waiting.Add(1)
	t.free <- struct{}{}
	t.waiting.Add(-1)
}

// give gives the caller's turn back.
func (t *turns) give() { <-t.free }

// pass gives the caller's turn to those who wait, if anybody does, and takes another.
func (t *turns) pass() {
	if t.waiting.Load() > 0 {
		t.give()
		t.take()
	}
}

// without does something that takes no processor, without a turn.
func (t *turns) without(do func()) {
	t.give()
	defer t.take()
	do()
}

// A waitingDoer sends requests without a turn.
type waitingDoer struct {
	hostcall.Doer
	turns *turns
}

func (d waitingDoer) Do(ctx context.Context, r *hostcall.HTTPRequest) (body []byte, code int32) {
	d.turns.without(func() { body, code = d.Doer.Do(ctx, r) })
	return body, code
}

// waits returns a payer that pays without a turn, and can be asked what became of a
// payment if p can.
func waits(p hostcall.Payer, t *turns) hostcall.Payer {
	if s, ok := p.(record.Settler); ok {
		return struct {
			waitingPayer
			record.Settler
		}{waitingPayer{p, t}, s}
	}
	return waitingPayer{p, t}
}

// A waitingPayer pays without a turn.
type waitingPayer struct {
	hostcall.Payer
	turns *turns
}

func (p waitingPayer) Pay(ctx context.Context, payment *hostcall.Payment) (receipt []byte, code int32) {
	p.turns.without(func() { receipt, code = p.Payer.Pay(ctx, payment) })
	return receipt, code
}

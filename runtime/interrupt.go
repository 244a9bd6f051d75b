package runtime

import (
	"context"
	"sync/atomic"

	"igor.dev/runtime/internal/sandbox"
)

// An agent that is to be stopped may still use so many slices of fuel, in the tick that is
// under way and in the calls of its last checkpoint: each takes about a millisecond of a
// processor, however busy the machine is. A call that goes on is cut off, at no moment but
// between two slices, so that a hostcall that is under way, such as a payment, is waited
// for. What is cut off then never was: no tick, nothing to pay, and no checkpoint. What
// was recorded before it is lived again when the life goes on.
const (
	tickGrace = 100
	saveGrace = 300
)

// An interrupter ends the calls into an agent that is to be stopped.
type interrupter struct {
	over   atomic.Bool
	used   int // slices, since it is over
	saving bool
}

// watch interrupts calls when ctx is over, until done.
func (i *interrupter) watch(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { i.over.Store(true) })
	return func() { stop() }
}

// save says that slices are used for a checkpoint from now on, or no more.
func (i *interrupter) save(saving bool) { i.used, i.saving = 0, saving }

// slice is called between two slices of fuel of an instance.
func (i *interrupter) slice(in *sandbox.Instance) {
	if !i.over.Load() {
		return
	}
	grace := tickGrace
	if i.saving {
		grace = saveGrace
	}
	if i.used++; i.used >= grace {
		in.Stop()
	}
}

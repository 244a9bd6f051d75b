package runtime

import (
	"context"
	"sync/atomic"

	"igor.dev/runtime/internal/sandbox"
)

// stopGrace is how many slices of fuel the agent of a life that is to be stopped may
// still use, in calls that are under way or come for its last checkpoint: each takes
// about a millisecond of a processor, however busy the machine is. A call that goes on
// is cut off, at no moment but between two slices, so that a hostcall that is under way,
// such as a payment, is waited for. What is cut off then never was: no tick, nothing to
// pay, and no checkpoint. What was recorded before is lived again when the life goes on.
const stopGrace = 300

// An interrupter ends the calls into an agent that is to be stopped.
type interrupter struct {
	over atomic.Bool
	used int // slices, since it is over
}

// watch interrupts calls when ctx is over, until done.
func (i *interrupter) watch(ctx context.Context) (done func()) {
	stop := context.AfterFunc(ctx, func() { i.over.Store(true) })
	return func() { stop() }
}

// slice is called between two slices of fuel of an instance.
func (i *interrupter) slice(in *sandbox.Instance) {
	if !i.over.Load() {
		return
	}
	if i.used++; i.used >= stopGrace {
		in.Stop()
	}
}

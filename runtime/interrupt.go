package runtime

import (
	"context"
	"sync"
	"time"

	"igor.dev/runtime/internal/sandbox"
)

// stopGrace is how long a call into an agent may go on when the agent is to be stopped.
// What is cut off then never was: no tick, nothing to pay, and no checkpoint. What
// was recorded before is lived again when the life goes on.
const stopGrace = 500 * time.Millisecond

// An interrupter ends the call into an agent that goes on when it is to be stopped. A
// hostcall that is under way, such as a payment, it waits for.
type interrupter struct {
	mu      sync.Mutex
	current *sandbox.Instance
	over    bool
}

// watch interrupts calls, a moment after ctx is over, until done.
func (i *interrupter) watch(ctx context.Context) (done func()) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(stopGrace)
		defer t.Stop()
		select {
		case <-t.C:
			i.interrupt()
		case <-ended:
		}
	})
	return func() { stop(); close(ended) }
}

func (i *interrupter) interrupt() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	if i.current != nil {
		i.current.Stop()
	}
}

// enter says that an instance is the one that is called.
func (i *interrupter) enter(in *sandbox.Instance) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current = in; i.over {
		in.Stop()
	}
}

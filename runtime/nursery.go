package runtime

import (
	"context"
	"log/slog"
	"time"

	"igor.dev/runtime/internal/sandbox"
)

// A nursery makes fresh instances of a program for one life, and where they are taken
// often one ahead, in the background: an agent that makes a checkpoint now and then
// has no second instance in memory meanwhile.
type nursery struct {
	spares chan spare
	wanted chan struct{} // has one while somebody waits for a spare
	stop   context.CancelFunc
}

// A spare is a fresh instance, made before it is needed, or why there is none.
type spare struct {
	agent *sandbox.Instance
	err   error
}

func (s spare) close() {
	if s.agent != nil {
		s.agent.Close()
	}
}

// spareFor is how soon an instance has to be taken after the one before it for
// the next to be made before it is wanted, and how long that is kept.
const spareFor = time.Second

func newNursery(ctx context.Context, program *sandbox.Program, log *slog.Logger, turns *turns) *nursery {
	ctx, stop := context.WithCancel(ctx)
	n := &nursery{spares: make(chan spare), wanted: make(chan struct{}, 1), stop: stop}
	go n.tend(ctx, program, log, turns)
	return n
}

// take returns a fresh instance. One at a time may call it.
func (n *nursery) take() (*sandbox.Instance, error) {
	n.wanted <- struct{}{}
	s := <-n.spares
	return s.agent, s.err
}

// close returns when no instance is left in the nursery.
func (n *nursery) close() {
	n.stop()
	for s := range n.spares {
		s.close()
	}
}

// The states of a nursery.
type nurseryState int

const (
	empty nurseryState = iota // nothing is made until it is wanted
	ahead                     // an instance is made before it is wanted, and kept for a while
)

func (n *nursery) tend(ctx context.Context, program *sandbox.Program, log *slog.Logger, turns *turns) {
	defer close(n.spares)
	state := ahead // the first is wanted at once
	var taken time.Time
	for {
		if state == empty && !n.wait(ctx, program) {
			return
		}
		turns.take()
		agent, err := program.InstantiateFor(ctx, log, turns.pass)
		turns.give()
		fresh := spare{agent, err}
		var tooLong <-chan time.Time
		if state == ahead {
			tooLong = time.After(spareFor)
		}
		select {
		case n.spares <- fresh:
			if state == ahead {
				select {
				case <-n.wanted: // by whom it was taken
				case <-ctx.Done():
					return
				}
			}
			state = empty
			if time.Since(taken) < spareFor {
				state = ahead
			}
			taken = time.Now()
		case <-tooLong:
			fresh.close()
			state = empty
		case <-ctx.Done():
			fresh.close()
			return
		}
	}
}

// wait waits until a spare is wanted. Meanwhile the program's memory rests.
func (n *nursery) wait(ctx context.Context, program *sandbox.Program) bool {
	idle := time.NewTimer(spareFor)
	defer idle.Stop()
	for {
		select {
		case <-n.wanted:
			return true
		case <-idle.C:
			program.Rest()
		case <-ctx.Done():
			return false
		}
	}
}

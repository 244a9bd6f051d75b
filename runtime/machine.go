package runtime

import (
	"context"
	"fmt"
	"time"

	"igor.dev/runtime/internal/httpcap"
)

// A machine is what a life is lived on: this one, or a simulated one.
type machine interface {
	now() time.Time

	// since returns how long a call into the agent took that has just ended.
	since(began time.Time) time.Duration

	// wait returns at a time, or when the context is over, or with an order that came
	// before.
	wait(ctx context.Context, until time.Time, orders <-chan *order) *order

	keys() KeySource

	// connect connects a life to what is outside its process.
	connect(l *life)

	// ended is called when a tick is over and recorded. Its error ends the run.
	ended(tick uint64) error

	// hint says what to do about an agent that failed.
	hint(err *AgentError) string

	// passedOver says what to do when a tick failed that was one too many.
	passedOver(tick uint64) string
}

// thisMachine is the real one, as an engine has it.
type thisMachine struct{ *Engine }

func (thisMachine) now() time.Time                      { return time.Now() }
func (thisMachine) since(began time.Time) time.Duration { return time.Since(began) }
func (m thisMachine) keys() KeySource                   { return m.config.Keys }
func (thisMachine) ended(uint64) error                  { return nil }
func (thisMachine) hint(e *AgentError) string           { return e.Hint() }

func (thisMachine) passedOver(tick uint64) string {
	return fmt.Sprintf("tick %d was passed over, and paid; igor upgrade gives the agent a mended program, and igor resume goes on", tick)
}

func (thisMachine) wait(ctx context.Context, until time.Time, orders <-chan *order) *order {
	d := time.Until(until)
	if d <= 0 || ctx.Err() != nil {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case o := <-orders:
		return o
	}
	return nil
}

func (m thisMachine) connect(l *life) {
	l.world.Live.Web = waitingDoer{httpcap.New(l.body.manifest.HTTP), m.turns}
	if m.payer != nil {
		l.world.Live.Payer = waits(m.payer, m.turns)
	}
	if p := m.config.Payments; p != nil {
		l.world.Buyer = waitingBuyer{p.buyer, m.turns}
	}
}

package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402/rent"
)

// leases are the books of a node of a test.
type leases struct {
	mu    sync.Mutex
	until map[verifier.PublicKey]time.Time
	fails bool
}

func (l *leases) Account(_ context.Context, agent verifier.PublicKey) (*rent.Account, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails {
		return nil, errors.New("the disk is gone")
	}
	until, ok := l.until[agent]
	if !ok {
		return nil, rent.ErrUnknown
	}
	return &rent.Account{Rents: []*receipt.Rent{{Agent: agent, Begins: 1, Ends: until.UnixNano()}}}, nil
}

func (l *leases) Rented(context.Context, *receipt.Rent) error { return nil }

func (l *leases) pay(agent verifier.PublicKey, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[agent] = until
}

// TestRent has an agent stop at a checkpoint when its lease is over, say why, and go on
// when somebody paid; one whose lease runs, or whose books cannot be read, lives.
func TestRent(t *testing.T) {
	books := &leases{until: map[verifier.PublicKey]time.Time{}}
	a := newNode(t, 1, func(c *Config) { c.Leases, c.LeaseGrace = books, time.Hour })
	paid, owes := a.bear("paid"), a.bear("owes")
	books.pay(paid, time.Now().Add(time.Hour))
	a.awaitTicks("paid", 2)
	a.awaitTicks("owes", 2) // it has no lease, and its grace
	a.stop()
	books.pay(owes, time.Now().Add(-2*time.Hour))
	a.start()
	at := a.awaitTicks("paid", 2)
	stopped := func() (s runtime.Supervised) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			a.mu.Lock()
			s = a.agents["owes"]
			a.mu.Unlock()
			if s.Reason == runtime.RentDue && s.State == runtime.SupervisedEnded && s.Err == nil {
				return s
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("the one whose lease is over is %s, %q, %v", s.State, s.Reason, s.Err)
			}
		}
	}
	stopped()
	before, err := runtime.ReadLife(a.agentDir("owes"))
	if err != nil {
		t.Fatal(err)
	}
	books.pay(owes, time.Now().Add(time.Hour))
	if again := a.awaitTicks("owes", 3); again < before.Tick {
		t.Errorf("it goes on at tick %d, and stopped after %d", again, before.Tick)
	}
	books.mu.Lock()
	books.fails = true
	books.mu.Unlock()
	if next := a.awaitTicks("paid", 3); next <= at {
		t.Error("the one that paid does not live")
	}
	a.awaitTicks("owes", 3)
}

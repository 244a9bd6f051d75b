package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"igor.dev/authority/protocol"
)

// ErrLease says that the fleet did not hear of this process for so long that others may
// take over.
var ErrLease = errors.New("the lease ran out: the fleet's members were not reached in time")

// A lease is how long this process may go on without word from a member. It is measured
// here, from when a member was asked, and by a clock that nobody sets: the members measure
// theirs from when they were asked, which is later.
type lease struct {
	mu      sync.Mutex
	keeping bool
	until   time.Time     // monotonic
	renewed chan struct{} // closed when it is renewed
	stop    func()
	done    chan struct{}
}

func (l *lease) init() { l.renewed = make(chan struct{}) }

func (l *lease) kept() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keeping
}

// KeepLease begins to renew the leases of this process, until Close. Before it is called a
// client has none: what it appends is held until it says otherwise.
func (c *Client) KeepLease() {
	c.lease.mu.Lock()
	defer c.lease.mu.Unlock()
	if c.lease.keeping {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	c.lease.keeping, c.lease.stop, c.lease.done = true, stop, make(chan struct{})
	go c.keep(ctx, c.lease.done)
}

func (c *Client) keep(ctx context.Context, done chan struct{}) {
	defer close(done)
	every := c.Lease / 4
	heard := false // the newest answer
	for ctx.Err() == nil {
		asked := time.Now()
		within, cancel := context.WithTimeout(ctx, max(every, time.Second))
		var err error
		if !heard {
			err = c.hears(within)
		}
		if err == nil {
			asked = time.Now()
			err = c.renew(within, asked)
		}
		heard = err == nil
		cancel()
		wait := max(0, every-time.Since(asked))
		if err != nil {
			wait = min(every, 200*time.Millisecond)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// hears finds out, where the newest answer did not come, whether answers reach this
// process at all. If only what it asks reached the members, they would take it to be alive
// for ever, and nobody would take over.
func (c *Client) hears(ctx context.Context) error {
	_, err := c.any(ctx, &protocol.Request{Kind: protocol.Read}) // of no agent
	return err
}

// renew asks one member alone: if its answer does not come, those of others may not either,
// and each that is asked gives the lease its whole time again.
func (c *Client) renew(ctx context.Context, asked time.Time) error {
	first := c.from()
	a, err := c.one(ctx, c.Members[first], &protocol.Request{Kind: protocol.Renew, Session: c.session, TTL: c.Lease})
	if err != nil {
		c.leave(first)
	} else {
		err = a.Err()
	}
	if err == nil {
		c.lease.renew(asked.Add(min(a.Lease, c.Lease) - c.Grace))
	}
	return err
}

func (l *lease) renew(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
		close(l.renewed)
		l.renewed = make(chan struct{})
	}
}

// Held says whether this process may try: nil, or [ErrLease].
func (c *Client) Held() error {
	l := &c.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keeping && !time.Now().Before(l.until) {
		return ErrLease
	}
	return nil
}

// WaitHeld waits until this process may try.
func (c *Client) WaitHeld(ctx context.Context) error {
	for {
		c.lease.mu.Lock()
		renewed := c.lease.renewed
		c.lease.mu.Unlock()
		err := c.Held()
		if err == nil {
			return nil
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return err
		}
	}
}

// Close gives the leases back, so that others need not wait for them to run out.
func (c *Client) Close() error {
	c.lease.mu.Lock()
	keeping, stop, done := c.lease.keeping, c.lease.stop, c.lease.done
	c.lease.mu.Unlock()
	if !keeping {
		return nil
	}
	stop()
	<-done
	ctx, cancel := context.WithTimeout(context.Background(), c.Attempt)
	defer cancel()
	if _, err := c.any(ctx, &protocol.Request{Kind: protocol.Release, Session: c.session}); err != nil {
		return fmt.Errorf("leases were not given back, and others wait until they run out: %w", err)
	}
	return nil
}

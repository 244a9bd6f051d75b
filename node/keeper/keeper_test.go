package keeper

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"igor.dev/authority"
	"igor.dev/node/price"
	"igor.dev/verifier"
)

// A leased agent is one whose owner has a lease.
type leased struct {
	owner verifier.PublicKey

	mu          sync.Mutex
	until       time.Time
	asked       int
	gone, taken time.Time
}

func (l *leased) ReadLease(context.Context, verifier.PublicKey) (authority.Position, time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return authority.Position{Sequence: 1, State: authority.Active, Owner: l.owner}, max(0, time.Until(l.until)), nil
}

// TestAsksOnce has a keeper ask once in a lease about an agent whose owner is well, and go on
// with it soon after the lease ran out, whether or not the owner is still heard of.
func TestAsksOnce(t *testing.T) {
	for name, heard := range map[string]bool{"heard of": true, "silent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lease = time.Minute
				self, owner, agent := verifier.PublicKey{1}, verifier.PublicKey{2}, verifier.PublicKey{3}
				l := &leased{owner: owner}
				k := New(Config{Self: self, Members: l, Lease: lease,
					View: func() (v View) {
						l.mu.Lock()
						defer l.mu.Unlock()
						for _, node := range []verifier.PublicKey{self, owner} {
							n := Node{Offer: &price.Offer{Node: node, Issued: time.Now().Unix(), Expires: time.Now().Unix() + 60, FreeAgents: 1, Schedules: []uint32{1}}}
							if node == owner && !l.gone.IsZero() && !heard {
								n.Silent = time.Since(l.gone)
							}
							v.Nodes = append(v.Nodes, n)
						}
						v.Agents = []Wants{{Agent: agent, Allowed: []verifier.PublicKey{self, owner}, Schedule: 1}}
						return v
					},
					Lives: func(verifier.PublicKey) bool {
						l.mu.Lock()
						defer l.mu.Unlock()
						return !l.taken.IsZero()
					},
					Mine: func(verifier.PublicKey) bool { return false },
					Take: func(context.Context, verifier.PublicKey) error {
						l.mu.Lock()
						defer l.mu.Unlock()
						l.taken = time.Now()
						return nil
					}})
				ctx, done := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { k.Run(ctx); close(ended) }()
				const leases = 20
				for range leases * 4 { // the owner renews
					l.mu.Lock()
					l.until = time.Now().Add(lease)
					l.mu.Unlock()
					time.Sleep(lease / looks)
				}
				l.mu.Lock()
				if !l.taken.IsZero() || l.asked == 0 || l.asked > leases*4/3+1 {
					t.Errorf("asked %d times in %d leases; taken: %v", l.asked, leases, !l.taken.IsZero())
				}
				l.gone = time.Now()
				l.mu.Unlock()
				time.Sleep(2 * lease)
				done()
				<-ended
				if late := l.taken.Sub(l.until); l.taken.IsZero() || late < 0 || late > lease/2+time.Second {
					t.Errorf("taken %v after the lease ran out", late)
				}
			})
		})
	}
}

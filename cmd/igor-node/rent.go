package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"igor.dev/internal/rentserver"
	"igor.dev/runtime"
	"igor.dev/verifier/receipt"
)

// readRent reads how rent is served. The ledger is the node's: what is paid for elsewhere
// would not let an agent live here.
func (s *settings) readRent(dir string) (*rentserver.Config, error) {
	file := s.Rent
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	c, err := rentserver.Read(file)
	if err != nil {
		return nil, err
	}
	own, err := filepath.Abs(s.Ledger)
	if err != nil {
		return nil, err
	}
	if c.Ledger != "" && filepath.Clean(c.Ledger) != own {
		return nil, fmt.Errorf("%s: ledger: it is %s, and the node's is %s: leave it out", file, c.Ledger, own)
	}
	if s.RentGrace != "" && c.Rent.Lease == nil {
		return nil, fmt.Errorf("%s: lease: it is missing, and agents need one here (rent_grace): nobody could buy it", file)
	}
	return c, nil
}

// books are a ledger of which it is counted what was paid to it since the node was started.
type books struct {
	*runtime.Ledger

	mu         sync.Mutex
	payments   uint64
	microcents int64
}

func newBooks(l *runtime.Ledger) *books { return &books{Ledger: l} }

// Rented implements [igor.dev/x402/rent.Books].
func (b *books) Rented(ctx context.Context, r *receipt.Rent) error {
	err := b.Ledger.Rented(ctx, r)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.payments++
		b.microcents += r.Amount
	}
	return err
}

// paid returns how often, and how much.
func (b *books) paid() (payments uint64, microcents int64) {
	if b == nil {
		return 0, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.payments, b.microcents
}

package runtime

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"time"

	"igor.dev/runtime/internal/settle"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A BudgetAdapter stands between the budgets of a node's agents and the money
// behind them, such as an account, an escrow or a chain. A [Ledger] is the one for
// this machine.
//
// The agent waits while it is called, and its context ends after 10 seconds.
type BudgetAdapter interface {
	// Authorise is asked before an amount of microcents joins a budget: at the
	// agent's birth, and for a top-up. An error ends the run before anything was
	// given. It moves no money: what was given, a receipt says (Added).
	Authorise(ctx context.Context, agent verifier.PublicKey, microcents int64) error

	// Settled returns the checkpoint of the newest receipt that Settle took for an
	// agent, zero if there is none. An error ends the run before the agent lives.
	Settled(ctx context.Context, agent verifier.PublicKey) (verifier.Hash, error)

	// Settle takes receipts that this node gave, the oldest first; the agent has them
	// durably. After an error they come again, with those that were given since
	// then, in this run or the next one; so some may come that it has.
	Settle(ctx context.Context, agent verifier.PublicKey, given []*receipts.Execution) error
}

// A Ledger is a [BudgetAdapter] that keeps receipts in a folder of this machine, and
// authorises whatever its operator gives.
type Ledger = settle.Ledger

// OpenLedger opens the ledger in dir, which is made if it is absent.
func OpenLedger(dir string) (*Ledger, error) { return settle.Open(dir) }

const (
	adapterLimit = 10 * time.Second // for one call
	maxGiven     = 1024             // receipts in one
)

// asking calls an adapter, for as long as it may take.
func asking(call func(context.Context) error) error {
	ctx, stop := context.WithTimeout(context.Background(), adapterLimit)
	defer stop()
	return call(ctx)
}

// authorise asks whether an amount may join the budget.
func (l *life) authorise(amount int64) error {
	if l.Budgets == nil || amount == 0 {
		return nil
	}
	err := asking(func(ctx context.Context) error { return l.Budgets.Authorise(ctx, l.public, amount) })
	if err != nil {
		return fmt.Errorf("a budget of %s was not authorised: %w", verifier.FormatMicrocents(amount), err)
	}
	return nil
}

// beginSettling finds out which receipts are not settled yet, and settles them. It
// is called when the life is part of the world: what has no name yet owes nothing.
func (l *life) beginSettling() error {
	if l.Budgets == nil || l.NodeKey == nil {
		return nil
	}
	var newest verifier.Hash
	err := asking(func(ctx context.Context) (err error) {
		newest, err = l.Budgets.Settled(ctx, l.public)
		return err
	})
	if err != nil {
		return err
	}
	l.settling = true
	for r := l.receipts.Durable(0); !newest.IsZero(); {
		got, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if e, ok := got.(*receipts.Execution); ok && e.Checkpoint == newest && l.gave(e) {
			l.settled = r.Offset()
		}
	}
	if l.settled == 0 && !newest.IsZero() {
		l.Log.Warn("the agent does not have the newest receipt that was settled: it may be an old copy", "checkpoint", newest.CID())
	}
	l.settleReceipts()
	return nil
}

// gave reports whether this node gave a receipt.
func (l *life) gave(e *receipts.Execution) bool {
	return bytes.Equal(e.Node[:], l.NodeKey.Public().(ed25519.PublicKey))
}

// settleReceipts hands the adapter what is durable with the agent and not settled.
// If it fails, the agent lives on: they are kept, and come again.
func (l *life) settleReceipts() {
	if !l.settling {
		return
	}
	from, given := l.settled, []*receipts.Execution(nil)
	hand := func(to int64) error {
		if len(given) > 0 {
			err := asking(func(ctx context.Context) error { return l.Budgets.Settle(ctx, l.public, given) })
			if err != nil {
				return err
			}
		}
		l.settled, given = from+to, nil
		return nil
	}
	r := l.receipts.Durable(from)
	for {
		before := r.Offset()
		got, err := r.Next()
		end := err == io.EOF
		if end || err == nil && len(given) == maxGiven {
			err = hand(before)
		}
		if err != nil {
			l.Log.Warn("receipts are not settled yet: the agent has them, and they come again", "error", err)
		}
		if err != nil || end {
			return
		}
		if e, ok := got.(*receipts.Execution); ok && l.gave(e) {
			given = append(given, e)
		}
	}
}

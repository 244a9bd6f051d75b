package runtime

import (
	"context"
	"time"

	"igor.dev/runtime/internal/ledger"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
	"igor.dev/x402/rent"
)

// A BudgetAdapter stands between the budgets of a node's agents and the money
// behind them, such as an account, an escrow or a chain. A [Ledger] is the one for
// this machine. Agents that run at the same time call it at the same time.
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

// A Releaser is a [BudgetAdapter] that wants to know when a run ends: until then, it
// may hold something for the agent that Settled was asked about.
type Releaser interface {
	Release(ctx context.Context, agent verifier.PublicKey) error
}

// A Dater is a [BudgetAdapter] that also knows the tick of the receipt that Settled names.
// An agent that was taken over from another node lives on at first without its history of
// before: a receipt of an older tick than it has is no sign that it is an old copy.
type Dater interface {
	SettledTick(ctx context.Context, agent verifier.PublicKey) (uint64, error)
}

// A Ledger is a [BudgetAdapter] that keeps receipts in a folder of this machine, and
// authorises whatever its operator gives. It is safe for concurrent use.
type Ledger struct{ folder *ledger.Ledger }

// OpenLedger opens the ledger in dir, which is made if it is absent.
func OpenLedger(dir string) (*Ledger, error) {
	folder, err := ledger.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Ledger{folder}, nil
}

// Authorise takes the operator's word: who runs this node gives the budget.
func (*Ledger) Authorise(context.Context, verifier.PublicKey, int64) error { return nil }

// Settled returns the checkpoint of the newest receipt for an agent, zero if there
// is none. It holds the agent's account until Release or Close.
func (l *Ledger) Settled(_ context.Context, agent verifier.PublicKey) (verifier.Hash, error) {
	return l.folder.Settled(agent)
}

// SettledTick returns the tick of the newest receipt for an agent, 0 if there is none.
func (l *Ledger) SettledTick(_ context.Context, agent verifier.PublicKey) (uint64, error) {
	return l.folder.SettledTick(agent)
}

// Settle adds receipts, durably.
func (l *Ledger) Settle(_ context.Context, agent verifier.PublicKey, given []*receipts.Execution) error {
	return l.folder.Settle(agent, given)
}

// Retire keeps an agent's retirement: the rest of its budget is the operator's again.
func (l *Ledger) Retire(_ context.Context, r Retirement) error {
	return l.folder.Retire(r.Agent, r.Append(nil))
}

// Retired says whether an agent is retired.
func (l *Ledger) Retired(_ context.Context, agent verifier.PublicKey) (bool, error) {
	return l.folder.Retired(agent)
}

// Account returns an agent's account of rent. With Rented, it makes a Ledger the books of
// package rent.
func (l *Ledger) Account(_ context.Context, agent verifier.PublicKey) (*rent.Account, error) {
	return l.folder.Account(agent)
}

// Rented keeps a receipt for rent that was paid.
func (l *Ledger) Rented(_ context.Context, r *receipts.Rent) error { return l.folder.Rented(r) }

// Release closes an agent's account, which another process may open then.
func (l *Ledger) Release(_ context.Context, agent verifier.PublicKey) error {
	return l.folder.Release(agent)
}

// Close closes all accounts.
func (l *Ledger) Close() error { return l.folder.Close() }

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

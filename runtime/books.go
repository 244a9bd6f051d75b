package runtime

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"time"

	"igor.dev/authority"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// books are an agent's receipts: what it paid, and what this node signed for its
// time, which is handed on to a budget adapter.
type books struct {
	agent    verifier.PublicKey
	log      *slog.Logger
	node     ed25519.PrivateKey // nil = no receipts are given
	adapter  BudgetAdapter      // nil = nobody gets them
	file     *receipt.File
	payments payments
	onchain  *receipt.File // of payments on a chain; nil = the agent makes none
	moved    []*receipts.Onchain
	signed   int // execution receipts, in this run

	handing bool  // the adapter gets those that this node gave
	handed  int64 // how far, as an offset in the file
}

// payments are an agent's payment receipts, the oldest first: those of wallet_pay, and
// those on a chain.
type payments struct {
	all    [][]byte
	nonces map[[32]byte]bool
	chain  verifier.Hash // over all, as a position names them
}

func (p *payments) list() [][]byte { return p.all }

func (p *payments) add(nonce [32]byte, b []byte) {
	if p.nonces == nil {
		p.nonces = make(map[[32]byte]bool)
	}
	p.nonces[nonce] = true
	p.all, p.chain = append(p.all, b), authority.ChainPaid(p.chain, b)
}

// open opens the agent's receipts, and reads what it paid. onchain says that it may pay on
// a chain. Of what the agent's mark speaks of, if there is one, not all is read.
func (b *books) open(folder wal.Folder, onchain bool, mark *pack.Mark) (err error) {
	if b.file, err = openReceipts(folder, receipt.Name, store.ReceiptsOf(mark)); err != nil {
		return err
	}
	if onchain {
		if b.onchain, err = openReceipts(folder, receipt.Onchain, nil); err != nil {
			return errors.Join(err, b.file.Close())
		}
	}
	if err := b.read(); err != nil {
		return errors.Join(err, b.closeFiles())
	}
	return nil
}

func openReceipts(folder wal.Folder, name string, known *receipt.Beginning) (*receipt.File, error) {
	f, err := receipt.Open(folder, name, known)
	if receipt.Bad(err) {
		err = &DamagedError{File: name, err: err}
	}
	return f, err
}

func (b *books) closeFiles() error {
	err := b.file.Close()
	if b.onchain != nil {
		err = errors.Join(err, b.onchain.Close())
	}
	return err
}

// read reads what was paid. Each receipt on a chain says where its place is.
func (b *books) read() error {
	var waiting []*receipts.Onchain
	if b.onchain != nil {
		for r := b.onchain.Durable(0); ; {
			got, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if o, ok := got.(*receipts.Onchain); ok {
				waiting = append(waiting, o)
			}
		}
	}
	place := func(all bool) {
		for len(waiting) > 0 && (all || waiting[0].Index <= uint64(len(b.payments.all))) {
			b.moved = append(b.moved, waiting[0])
			b.payments.add(waiting[0].Nonce, waiting[0].Append(nil))
			waiting = waiting[1:]
		}
	}
	for _, p := range b.file.Payments() {
		place(false)
		b.payments.add(p.Nonce, p.Append(nil))
	}
	place(true)
	return nil
}

// move keeps the receipt of a payment on a chain, which it signs.
func (b *books) move(o *receipts.Onchain, key crypto.Signer) error {
	if b.onchain == nil {
		return errors.New("there is no file for the receipt of a payment on a chain")
	}
	if b.payments.nonces[o.Nonce] {
		return nil // before the crash
	}
	o.Index = uint64(len(b.payments.all))
	if err := receipt.SignOnchain(o, key); err != nil {
		return err
	}
	if err := errors.Join(b.onchain.Append(o), b.onchain.Sync()); err != nil {
		return err
	}
	failpoint.Reach(failpoint.PaymentKept)
	b.moved = append(b.moved, o)
	b.payments.add(o.Nonce, o.Append(nil))
	return nil
}

// paidSince is how much receipts on a chain and what is under way say was paid since a
// time.
func (b *books) paidSince(since int64, effects []journal.Effect) (sum int64) {
	for _, o := range b.moved {
		if o.Time >= since {
			sum += o.Amount
		}
	}
	for _, e := range effects {
		if e.Kind == journal.Paid && (e.State == journal.Begun || e.State == journal.ResolvedConfirmed) && e.Time >= since && !b.payments.nonces[receipts.PaymentNonce(e.ID)] {
			sum += e.Held
		}
	}
	return sum
}

// paid keeps the receipt of a payment.
func (b *books) paid(p *receipts.Payment) error {
	if b.payments.nonces[p.Nonce] {
		return nil // before the crash
	}
	if err := errors.Join(b.file.Append(p), b.file.Sync()); err != nil {
		return err
	}
	failpoint.Reach(failpoint.PaymentKept)
	b.payments.add(p.Nonce, p.Append(nil))
	return nil
}

// unsyncedReceipts is how many execution receipts may be written and not be
// durable. They can be made again.
const unsyncedReceipts = receipt.MaxUnsynced / 2

// give signs for what a checkpoint took, which is durable. The receipt is so
// in a while, and at the latest when the run ends. A checkpoint that was lost and
// made again has its receipt, and one that is there instead of a lost one gets none:
// two after the same checkpoint contradict each other.
func (b *books) give(c *verifier.Finding, t eventlog.Totals) error {
	if b.node == nil || b.file.Has(c.ContentHash) {
		return nil
	}
	if b.file.After(c.PrevHash) {
		b.log.Warn("a checkpoint gets no receipt: there is one for another checkpoint after the same one, which was lost", "tick", c.TickNumber, "cid", c.ContentHash.CID())
		return nil
	}
	r := &receipts.Execution{
		Agent: b.agent, Prev: c.PrevHash, Checkpoint: c.ContentHash, Tick: c.TickNumber, Ticks: t.Ticks, Elapsed: t.Elapsed,
		Price: c.PricePerSecond, Added: t.Added, Cost: t.Cost, Paid: t.Spent, Budget: c.Budget, Time: time.Now().UnixNano(),
	}
	receipt.SignExecution(r, b.node)
	if err := b.file.Append(r); err != nil {
		return err
	}
	failpoint.Reach(failpoint.ReceiptGiven)
	// The first one of a run says where the missing ones begin.
	if b.signed++; b.signed%unsyncedReceipts == 1 {
		if err := b.file.Sync(); err != nil {
			return err
		}
		b.handReceipts()
	}
	return nil
}

// catchUp gives the receipts of the newest checkpoints, if the process or the machine
// ended before it could. Those of before the agent came here, by a hand-over or a takeover,
// are for who lived them to give: two receipts for one checkpoint would charge it twice.
func (b *books) catchUp(s *store.Store, log *eventlog.Log, since journal.Epoch) error {
	if b.node == nil {
		return nil
	}
	found := false
	var missing []verifier.Finding // the newest first; then the one that is not
	for c, err := range s.Newest() {
		if err != nil {
			return err
		}
		f := verifier.Examine(c)
		missing = append(missing, f)
		if found = b.file.Has(f.ContentHash) || (journal.Epoch{MajorVersion: f.MajorVersion, LeaseGeneration: f.LeaseGeneration}) != since; found || len(missing) > unsyncedReceipts+2*maxWaiting {
			break
		}
	}
	todo := len(missing) - 1
	if !found {
		todo = 1 // it was lived without receipts for long
	}
	for i := todo - 1; i >= 0; i-- {
		first, prev := uint64(0), (*verifier.Finding)(nil)
		if i+1 < len(missing) {
			prev = &missing[i+1]
			first = prev.TickNumber + 1
		}
		if err := b.catchUpOne(log, first, prev, &missing[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *books) catchUpOne(log *eventlog.Log, first uint64, prev, next *verifier.Finding) error {
	f, err := log.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was lived before there were event logs
	}
	if err != nil {
		return err
	}
	defer f.Close()
	verified, err := eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, next)
	if err != nil && !eventlog.Bad(err) {
		return err
	}
	if err != nil {
		b.log.Warn("there is no receipt for a checkpoint, and its event log does not verify", "tick", next.TickNumber, "error", err)
		return nil
	}
	return b.give(next, verified.Totals)
}

// beginHanding finds out which receipts the adapter does not have yet, and hands them
// over. It is called when the life is part of the world: what has no name yet owes
// nothing. If the adapter knows a checkpoint that the life does not have, it returns it:
// then the folder is an old copy, and nothing is handed over unless that is accepted.
func (b *books) beginHanding(saved uint64, has func(head verifier.Hash) (bool, error), accepted bool) (newer verifier.Hash, err error) {
	if b.adapter == nil || b.node == nil {
		return newer, nil
	}
	var newest verifier.Hash
	err = asking(func(ctx context.Context) (err error) {
		newest, err = b.adapter.Settled(ctx, b.agent)
		return err
	})
	if err != nil {
		return newer, err
	}
	known := newest.IsZero()
	b.handing = true
	// Most often it is one of the newest.
	for from := b.file.Read(); !known && b.handed == 0; from = 0 {
		for r := b.file.Durable(from); ; {
			got, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return newer, err
			}
			if e, ok := got.(*receipts.Execution); ok && e.Checkpoint == newest && b.gave(e) {
				b.handed = from + r.Offset()
				known = e.Tick <= saved
			}
		}
		if from == 0 {
			break
		}
	}
	if !known {
		if known, err = has(newest); err != nil {
			return newer, err
		}
	}
	if !known {
		newer = newest
		if !accepted {
			b.handing = false
			return newer, b.release()
		}
	}
	b.handReceipts()
	return newer, nil
}

// gave reports whether this node gave a receipt.
func (b *books) gave(e *receipts.Execution) bool {
	return bytes.Equal(e.Node[:], b.node.Public().(ed25519.PublicKey))
}

// handReceipts hands the adapter what is durable with the agent and not settled.
// If it fails, the agent lives on: they are kept, and come again.
func (b *books) handReceipts() {
	if !b.handing {
		return
	}
	from, given := b.handed, []*receipts.Execution(nil)
	hand := func(to int64) error {
		if len(given) > 0 {
			err := asking(func(ctx context.Context) error { return b.adapter.Settle(ctx, b.agent, given) })
			if err != nil {
				return err
			}
		}
		b.handed, given = from+to, nil
		return nil
	}
	r := b.file.Durable(from)
	for {
		before := r.Offset()
		got, err := r.Next()
		end := err == io.EOF
		if end || err == nil && len(given) == maxGiven {
			err = hand(before)
		}
		if err != nil {
			b.log.Warn("receipts are not settled yet: the agent has them, and they come again", "error", err)
		}
		if err != nil || end {
			return
		}
		if e, ok := got.(*receipts.Execution); ok && b.gave(e) {
			given = append(given, e)
		}
	}
}

// close hands over the last receipts.
func (b *books) close() error {
	if !b.handing {
		return nil
	}
	err := b.file.Sync()
	b.handReceipts()
	b.handing = false
	return errors.Join(err, b.release())
}

// sync makes all receipts durable.
func (b *books) sync() error {
	err := b.file.Sync()
	if b.onchain != nil {
		err = errors.Join(err, b.onchain.Sync())
	}
	return err
}

// release has the adapter let go of what it may hold for the agent.
func (b *books) release() error {
	if r, ok := b.adapter.(Releaser); ok {
		return asking(func(ctx context.Context) error { return r.Release(ctx, b.agent) })
	}
	return nil
}

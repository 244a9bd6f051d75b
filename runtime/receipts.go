package runtime

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// payments are an agent's payment receipts, the oldest first.
type payments struct {
	all    [][]byte
	nonces map[[32]byte]bool
}

func (p *payments) list() [][]byte { return p.all }

func (p *payments) add(r *receipts.Payment) {
	if p.nonces == nil {
		p.nonces = make(map[[32]byte]bool)
	}
	p.nonces[r.Nonce] = true
	p.all = append(p.all, r.Append(nil))
}

// openReceipts opens the agent's receipts, and reads what it paid.
func (l *life) openReceipts() error {
	var err error
	if l.receipts, err = receipt.Open(l.folder); err != nil {
		return err
	}
	l.files = append(l.files, l.receipts)
	for r := l.receipts.Durable(0); ; {
		got, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if p, ok := got.(*receipts.Payment); ok {
			l.payments.add(p)
		}
	}
}

// paid keeps the receipt of a payment.
func (l *life) paid(p *receipts.Payment) error {
	if l.payments.nonces[p.Nonce] {
		return nil // before the crash
	}
	if err := errors.Join(l.receipts.Append(p), l.receipts.Sync()); err != nil {
		return err
	}
	failpoint.Reach(failpoint.PaymentKept)
	l.payments.add(p)
	return nil
}

// unsyncedReceipts is how many execution receipts may be written and not be
// durable. They can be made again.
const unsyncedReceipts = receipt.MaxUnsynced / 2

// giveReceipt signs for what a checkpoint took, which is durable. The receipt is so
// in a while, and at the latest when the run ends. A checkpoint that was lost and
// made again has its receipt, and one that is there instead of a lost one gets none:
// two after the same checkpoint contradict each other.
func (l *life) giveReceipt(c *verifier.Finding, t eventlog.Totals) error {
	if l.NodeKey == nil || l.receipts.Has(c.ContentHash) {
		return nil
	}
	if l.receipts.After(c.PrevHash) {
		l.Log.Warn("a checkpoint gets no receipt: there is one for another checkpoint after the same one, which was lost", "tick", c.TickNumber, "cid", c.ContentHash.CID())
		return nil
	}
	r := &receipts.Execution{
		Agent: l.public, Prev: c.PrevHash, Checkpoint: c.ContentHash, Tick: c.TickNumber, Ticks: t.Ticks, Elapsed: t.Elapsed,
		Price: c.PricePerSecond, Added: t.Added, Cost: t.Cost, Paid: t.Spent, Budget: c.Budget, Time: time.Now().UnixNano(),
	}
	receipt.SignExecution(r, l.NodeKey)
	if err := l.receipts.Append(r); err != nil {
		return err
	}
	failpoint.Reach(failpoint.ReceiptGiven)
	// The first one of a run says where the missing ones begin.
	if l.given++; l.given%unsyncedReceipts == 1 {
		if err := l.receipts.Sync(); err != nil {
			return err
		}
		l.settleReceipts()
	}
	return nil
}

// catchUpReceipts gives the receipts of the newest checkpoints, if the process or
// the machine ended before it could.
func (l *life) catchUpReceipts(s *store.Store) error {
	if l.NodeKey == nil {
		return nil
	}
	found := false
	var missing []verifier.Finding // the newest first; then the one that is not
	for b, err := range s.Newest() {
		if err != nil {
			return err
		}
		f := verifier.Examine(b)
		missing = append(missing, f)
		if found = l.receipts.Has(f.ContentHash); found || len(missing) > unsyncedReceipts+2*maxWaiting {
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
		if err := l.catchUpReceipt(first, prev, &missing[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) catchUpReceipt(first uint64, prev, next *verifier.Finding) error {
	f, err := l.log.Raw(first)
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
		l.Log.Warn("there is no receipt for a checkpoint, and its event log does not verify", "tick", next.TickNumber, "error", err)
		return nil
	}
	return l.giveReceipt(next, verified.Totals)
}

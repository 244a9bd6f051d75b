package runtime

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"time"

	"igor.dev/runtime/internal/eventlog"
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
	f, err := l.folder.Open(receipt.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := receipts.NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
	for {
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
	if err := l.receipts.Append(p); err != nil {
		return err
	}
	l.payments.add(p)
	return nil
}

// giveReceipt signs for what the newest checkpoint took.
func (l *life) giveReceipt(prev verifier.Hash, t eventlog.Totals) error {
	if l.NodeKey == nil {
		return nil
	}
	r := &receipts.Execution{
		Agent: l.public, Prev: prev, Checkpoint: l.head, Tick: l.saved, Ticks: t.Ticks, Elapsed: t.Elapsed,
		Price: l.account.price, Added: t.Added, Cost: t.Cost, Paid: t.Spent, Budget: l.result.Budget, Time: time.Now().UnixNano(),
	}
	receipt.SignExecution(r, l.NodeKey)
	return l.receipts.Append(r)
}

// catchUpReceipts gives the receipt of the newest checkpoint, if the process
// ended before it could.
func (l *life) catchUpReceipts(found *store.Recovery) error {
	if l.NodeKey == nil || l.receipts.Last() == l.head {
		return nil
	}
	next := verifier.Examine(found.Newest)
	first, prev := uint64(0), (*verifier.Finding)(nil)
	if found.Before != nil {
		f := verifier.Examine(found.Before)
		first, prev = f.TickNumber+1, &f
	}
	f, err := l.log.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was lived before there were event logs
	}
	if err != nil {
		return err
	}
	defer f.Close()
	totals, err := eventlog.Verify(io.NewSectionReader(f, 0, math.MaxInt64), prev, &next)
	if err != nil {
		l.Log.Warn("there is no receipt for the newest checkpoint, and its event log does not verify", "error", err)
		return nil
	}
	account := l.account
	l.account.price = next.PricePerSecond
	defer func() { l.account = account }()
	return l.giveReceipt(next.PrevHash, totals)
}

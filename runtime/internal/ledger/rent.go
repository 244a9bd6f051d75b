package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
	"igor.dev/x402/rent"
)

// folderRent has, of an agent, the receipts for rent that was paid, and a lock of its own:
// rent is taken while the agent runs.
const folderRent = "rent"

// A meter is what is known of an agent's receipts up to an offset, so that they are read once.
type meter struct {
	offset int64
	paid   verifier.Hash
	unpaid []rent.Unpaid
}

// Account returns what there is of an agent's rent, or [rent.ErrUnknown]. Anybody may ask, so
// nothing is written, and nothing waits for the disk.
func (l *Ledger) Account(agent verifier.PublicKey) (*rent.Account, error) {
	l.rents.Lock()
	defer l.rents.Unlock()
	root, err := l.known(agent)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	a := &rent.Account{}
	f, err := root.Open(filepath.Join(folderRent, receipt.Name))
	if err == nil {
		a.Rents, err = rents(receipts.NewReader(f))
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("ledger: the rent of %s: %w", agent.DID(), err)
	}
	for _, r := range a.Rents {
		if !r.Lease() {
			a.Paid = r.Checkpoint
		}
	}
	if a.Unpaid, err = l.unpaid(agent, root, a.Paid); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return a, nil
}

// Rented keeps a receipt for rent, durably, unless it is there: then it is durable.
func (l *Ledger) Rented(r *receipts.Rent) (err error) {
	l.rents.Lock()
	defer l.rents.Unlock()
	root, err := l.known(r.Agent)
	if err != nil {
		return err
	}
	defer root.Close()
	dir := filepath.Join(l.folder(r.Agent), folderRent)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	inner, err := root.OpenRoot(folderRent)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer inner.Close()
	lock, err := store.Lock(inner, dir)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer lock.Close()
	f, err := receipt.Open(wal.Dir(inner), receipt.Name, nil) // what is there is durable then
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	all, err := rents(f.Durable(0))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	for _, had := range all {
		if had.Chain == r.Chain && had.Asset == r.Asset && had.From == r.From && had.Nonce == r.Nonce {
			return nil
		}
	}
	if err := f.Append(r); err != nil {
		return err
	}
	return f.Sync()
}

// rents reads receipts for rent. One that is cut short at the end was never acknowledged.
func rents(reader *receipts.Reader) (all []*receipts.Rent, err error) {
	for {
		got, err := reader.Next()
		if err == io.EOF || errors.Is(err, receipts.ErrTruncated) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if r, ok := got.(*receipts.Rent); ok {
			all = append(all, r)
		}
	}
}

func (l *Ledger) folder(agent verifier.PublicKey) string {
	return filepath.Join(l.dir, strings.TrimPrefix(agent.DID(), "did:key:"))
}

// known opens the folder of an agent. Nothing is made for one that the node does not know.
func (l *Ledger) known(agent verifier.PublicKey) (*os.Root, error) {
	root, err := os.OpenRoot(l.folder(agent))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, rent.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return root, nil
}

// unpaid returns the execution receipts after a checkpoint. Who runs the agent may be writing
// more of them: what is not whole yet is read the next time.
func (l *Ledger) unpaid(agent verifier.PublicKey, root *os.Root, paid verifier.Hash) ([]rent.Unpaid, error) {
	m := l.meters[agent]
	if m == nil {
		m = &meter{}
		l.meters[agent] = m
	}
	f, err := root.Open(receipt.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < m.offset { // another file than before
		*m = meter{}
	}
	for reader := receipts.NewReader(io.NewSectionReader(f, m.offset, info.Size()-m.offset)); ; {
		got, err := reader.Next()
		if err != nil {
			m.offset += reader.Offset()
			break
		}
		if e, ok := got.(*receipts.Execution); ok {
			m.unpaid = append(m.unpaid, rent.Unpaid{Checkpoint: e.Checkpoint, Cost: e.Cost})
		}
	}
	if paid != m.paid {
		i := slices.IndexFunc(m.unpaid, func(u rent.Unpaid) bool { return u.Checkpoint == paid })
		if i < 0 {
			return nil, fmt.Errorf("the ledger of %s has no receipt for checkpoint %s, up to which it was paid", agent.DID(), paid.CID())
		}
		m.paid, m.unpaid = paid, slices.Clone(m.unpaid[i+1:])
	}
	return m.unpaid[:len(m.unpaid):len(m.unpaid)], nil
}

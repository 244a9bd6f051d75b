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

// Account returns what there is of an agent's rent, or [rent.ErrUnknown].
func (l *Ledger) Account(agent verifier.PublicKey) (*rent.Account, error) {
	a := &rent.Account{}
	err := l.withRent(agent, func(root *os.Root, f *receipt.File) (err error) {
		if a.Rents, err = rents(f); err != nil {
			return err
		}
		for _, r := range a.Rents {
			if !r.Lease() {
				a.Paid = r.Checkpoint
			}
		}
		a.Unpaid, err = l.unpaid(agent, root, a.Paid)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Rented keeps a receipt for rent, durably, unless it is there.
func (l *Ledger) Rented(r *receipts.Rent) error {
	return l.withRent(r.Agent, func(_ *os.Root, f *receipt.File) error {
		all, err := rents(f)
		if err != nil {
			return err
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
	})
}

func rents(f *receipt.File) (all []*receipts.Rent, err error) {
	for reader := f.Durable(0); ; {
		got, err := reader.Next()
		if err == io.EOF {
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

// withRent opens an agent's receipts for rent. Nothing is made for an agent that the node
// does not know.
func (l *Ledger) withRent(agent verifier.PublicKey, do func(*os.Root, *receipt.File) error) (err error) {
	l.rents.Lock()
	defer l.rents.Unlock()
	dir := filepath.Join(l.dir, strings.TrimPrefix(agent.DID(), "did:key:"))
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return rent.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer root.Close()
	if err := makeDir(filepath.Join(dir, folderRent)); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	inner, err := root.OpenRoot(folderRent)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer inner.Close()
	lock, err := store.Lock(inner, filepath.Join(dir, folderRent))
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer lock.Close()
	f, err := receipt.Open(wal.Dir(inner), receipt.Name)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return do(root, f)
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

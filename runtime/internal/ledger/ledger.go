// Package ledger keeps the books of a node: the execution receipts that it gave,
// which are what it is owed for. The agent has them too, and takes them along when
// it goes.
//
//	LEDGER/z6Mk…/receipts   those of one agent, by its DID without "did:key:"
//	LEDGER/z6Mk…/retired    what it said when it was retired, if it was
//	LEDGER/z6Mk…/lock       who has it open
//	LEDGER/z6Mk…/rent/      receipts for rent that was paid, and a lock of their own
//
// The file is as docs/spec/receipts.md says.
package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A Ledger has the receipts of a node in a folder. It is safe for concurrent use, and
// other processes may use the folder too: each agent in it is open once.
type Ledger struct {
	dir string

	mu       sync.Mutex
	accounts map[verifier.PublicKey]*account

	rents  sync.Mutex // beside mu: of what is in rent.go
	meters map[verifier.PublicKey]*meter
}

// An account has the receipts for one agent.
type account struct {
	root *os.Root
	lock *os.File
	file *receipt.File
}

// Open opens the ledger in dir, which is made if it is absent.
func Open(dir string) (*Ledger, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return &Ledger{dir: dir, accounts: make(map[verifier.PublicKey]*account), meters: make(map[verifier.PublicKey]*meter)}, nil
}

// Settled returns the checkpoint of the newest receipt for an agent, zero if there
// is none. It opens the agent's account until Close.
func (l *Ledger) Settled(agent verifier.PublicKey) (verifier.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account(agent)
	if err != nil {
		return verifier.Hash{}, err
	}
	return a.file.Newest(), nil
}

// SettledTick returns the tick of the newest receipt for an agent, 0 if there is none.
func (l *Ledger) SettledTick(agent verifier.PublicKey) (tick uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account(agent)
	if err != nil {
		return 0, err
	}
	for r := a.file.Durable(0); ; {
		got, err := r.Next()
		if err == io.EOF {
			return tick, nil
		}
		if err != nil {
			return 0, err
		}
		if e, ok := got.(*receipts.Execution); ok {
			tick = e.Tick
		}
	}
}

// Settle adds receipts, durably. After an error it begins anew with what is whole.
func (l *Ledger) Settle(agent verifier.PublicKey, given []*receipts.Execution) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account(agent)
	if err != nil {
		return err
	}
	for _, r := range given {
		if a.file.Has(r.Checkpoint) {
			continue // an earlier call failed after it
		}
		if err = a.file.Append(r); err != nil {
			break
		}
	}
	if err == nil {
		err = a.file.Sync()
	}
	if err != nil {
		delete(l.accounts, agent)
		return errors.Join(err, a.close())
	}
	return nil
}

// fileRetired has what an agent said when it was retired.
const fileRetired = "retired"

// Retire keeps an agent's retirement, durably.
func (l *Ledger) Retire(agent verifier.PublicKey, statement []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account(agent)
	if err != nil {
		return err
	}
	if err := wal.WriteFile(wal.Dir(a.root), ".next", fileRetired, bytes.NewReader(statement), true); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// Retired says whether an agent is retired. It opens the agent's account until Close.
func (l *Ledger) Retired(agent verifier.PublicKey) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := l.account(agent)
	if err != nil {
		return false, err
	}
	_, err = a.root.Stat(fileRetired)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Release closes the account of an agent, which others may open then.
func (l *Ledger) Release(agent verifier.PublicKey) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[agent]
	if a == nil {
		return nil
	}
	delete(l.accounts, agent)
	return a.close()
}

// Close closes all accounts.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, a := range l.accounts {
		errs = append(errs, a.close())
	}
	clear(l.accounts)
	return errors.Join(errs...)
}

func (l *Ledger) account(agent verifier.PublicKey) (*account, error) {
	if a := l.accounts[agent]; a != nil {
		return a, nil
	}
	dir := filepath.Join(l.dir, strings.TrimPrefix(agent.DID(), "did:key:"))
	a, err := open(dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l.accounts[agent] = a
	return a, nil
}

func open(dir string) (*account, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	a := &account{root: root}
	if a.lock, err = store.Lock(root, dir); err == nil {
		a.file, err = receipt.Open(wal.Dir(root), receipt.Name, nil)
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// makeDir makes a folder durable, unless it is there.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func (a *account) close() error {
	var errs []error
	if a.file != nil {
		errs = append(errs, a.file.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(append(errs, a.root.Close())...)
}

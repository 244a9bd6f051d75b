package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"igor.dev/authority"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// A Retirement is an agent's last word: with which checkpoint its life ended, and what
// goes back to whoever stands behind its budget. See docs/spec/retirement.md.
type Retirement struct {
	Agent     verifier.PublicKey
	Head      verifier.Hash // the last checkpoint
	Tick      uint64        // of that
	Budget    int64         // microcents: what that has, and gives back
	Signature [64]byte      // by the agent's key
}

const retirementContext = "igor/retirement/v1\x00"

// RetirementSize is how many bytes a retirement has.
const RetirementSize = len(retirementContext) + 32 + 32 + 8 + 8 + 64

// Append appends the retirement's bytes.
func (r *Retirement) Append(dst []byte) []byte { return append(r.message(dst), r.Signature[:]...) }

func (r *Retirement) message(dst []byte) []byte {
	dst = append(dst, retirementContext...)
	dst = append(dst, r.Agent[:]...)
	dst = append(dst, r.Head[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, r.Tick)
	return binary.LittleEndian.AppendUint64(dst, uint64(r.Budget))
}

// ParseRetirement reads a retirement. Its signature is verified.
func ParseRetirement(b []byte) (r Retirement, err error) {
	if len(b) != RetirementSize || string(b[:len(retirementContext)]) != retirementContext {
		return r, errors.New("not a retirement of version 1")
	}
	rest := b[len(retirementContext):]
	rest = rest[copy(r.Agent[:], rest):]
	rest = rest[copy(r.Head[:], rest):]
	r.Tick, r.Budget = binary.LittleEndian.Uint64(rest), int64(binary.LittleEndian.Uint64(rest[8:]))
	copy(r.Signature[:], rest[16:])
	switch {
	case r.Budget < 0 || r.Head.IsZero():
		return Retirement{}, errors.New("a retirement without a checkpoint, or with a negative budget")
	case r.Agent.Weak() || !ed25519.Verify(r.Agent[:], r.message(nil), r.Signature[:]):
		return Retirement{}, errors.New("a retirement whose signature is not the agent's")
	}
	return r, nil
}

// A Retirer is a [BudgetAdapter] that takes back what retired agents leave.
type Retirer interface {
	// Retire takes back what an agent leaves. It may be told again of one.
	Retire(ctx context.Context, r Retirement) error

	// Retired says whether an agent is retired: then no copy of it lives on here.
	Retired(ctx context.Context, agent verifier.PublicKey) (bool, error)
}

// Retire ends the agent's life for good, with a last checkpoint: no run goes on with it.
// What is left of its budget goes back to whoever stands behind that. The agent's handle
// stops then. To ask for it again does nothing else.
func (a *Agent) Retire(ctx context.Context) (r Retirement, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) error {
		r, err = l.end(ctx)
		return err
	})
	return r, err
}

func (l *life) end(ctx context.Context) (r Retirement, err error) {
	for _, e := range l.world.Journal.Effects() {
		if e.State == journal.Begun {
			return r, hint.Wrap(fmt.Errorf("nobody knows whether side effect %s happened, and what it holds cannot go back", e.ID),
				"say what is known of it: igor effects confirm, or compensate")
		}
	}
	if err := l.checkpoint(ctx); err != nil {
		return r, fatal(err)
	}
	if err := l.commits.waitDurable(); err != nil {
		return r, fatal(err)
	}
	newest, err := l.newestCheckpoint()
	if err != nil {
		return r, err
	}
	// What came in after that checkpoint goes back too.
	r, err = l.lastWord(newest.TickNumber)
	if err != nil {
		return r, err
	}
	statement := r.Append(nil)
	if err := l.sync(); err != nil {
		return r, fatal(err)
	}
	next := l.home.at
	next.State, next.Record = authority.Retired, sha256.Sum256(statement)
	root, err := l.world.Writer.Root()
	if err != nil {
		return r, fatal(err)
	}
	next.Head, next.Journal, next.Log, next.Paid = l.head, l.world.Journal.Head(), root, l.books.payments.chain
	var blobs []authority.Blob
	if l.home.remote() {
		if blobs, err = l.newBlobs(root); err != nil {
			return r, fatal(err)
		}
	}
	if err := l.home.append(next, blobs); err != nil {
		return r, fatal(err)
	}
	if err := l.store.Retire(statement); err != nil {
		return r, fatal(err)
	}
	failpoint.Reach(failpoint.RetirementKept)
	l.over = true
	l.watch.agent.cancel() // nothing is lived any more
	return r, l.giveBack(r)
}

// lastWord is the retirement of the life as it stands. Made again, it is the same.
func (l *life) lastWord(tick uint64) (r Retirement, err error) {
	r = Retirement{Agent: l.public, Head: l.head, Tick: tick, Budget: l.account.budget}
	signature, err := l.key.Sign(nil, r.message(nil), crypto.Hash(0))
	copy(r.Signature[:], signature)
	return r, err
}

// isRetired is called where the home says that the agent is retired: the process ended
// before the folder did.
func (l *life) isRetired(p authority.Position) error {
	r, err := l.lastWord(l.saved)
	if err != nil {
		return err
	}
	if statement := r.Append(nil); sha256.Sum256(statement) == p.Record {
		if err := errors.Join(l.store.Retire(statement), l.giveBack(r)); err != nil {
			return err
		}
	}
	return ErrRetired
}

// giveBack tells whoever stands behind the budget.
func (l *life) giveBack(r Retirement) error { return giveBack(l.engine.config.Budgets, r) }

func giveBack(adapter BudgetAdapter, r Retirement) error {
	retirer, ok := adapter.(Retirer)
	if !ok {
		return nil
	}
	err := asking(func(ctx context.Context) error { return retirer.Retire(ctx, r) })
	if err != nil {
		return hint.Wrap(fmt.Errorf("the agent is retired, and whoever stands behind its budget does not know it yet: %w", err), "ask for it again, with igor retire")
	}
	return nil
}

// ReadRetirement reads the retirement of the agent in dir; ok is false if it is not
// retired.
func ReadRetirement(dir string) (r Retirement, ok bool, err error) {
	b, err := store.Retirement(dir, int64(RetirementSize))
	if err != nil || b == nil {
		return r, false, err
	}
	r, err = ParseRetirement(b)
	return r, err == nil, err
}

// Retire ends the life of the agent in dir, which does not run, as [Agent.Retire] does.
// Of one that is retired, it tells whoever stands behind the budget once more.
func (e *Engine) Retire(ctx context.Context, dir string) (r Retirement, err error) {
	if r, ok, err := ReadRetirement(dir); err != nil || ok {
		if ok {
			err = e.giveBackAgain(r)
		}
		return r, err
	}
	_, err = e.Visit(ctx, dir, func(ctx context.Context, a *Agent) (err error) {
		r, err = a.Retire(ctx)
		return err
	})
	return r, err
}

// giveBackAgain is giveBack of an agent that was retired before: its run may have ended
// before it came to that.
func (e *Engine) giveBackAgain(r Retirement) error {
	err := giveBack(e.config.Budgets, r)
	if releaser, ok := e.config.Budgets.(Releaser); ok {
		err = errors.Join(err, asking(func(ctx context.Context) error { return releaser.Release(ctx, r.Agent) }))
	}
	return err
}

// retired refuses a life that is over.
func (e *Engine) retired(dir string) error {
	r, ok, err := ReadRetirement(dir)
	if err != nil {
		return hint.Wrap(&DamagedError{File: dir, err: fmt.Errorf("%s: the file retired: %w", dir, err)}, "put it back from a copy")
	}
	if !ok {
		return nil
	}
	if err := e.giveBackAgain(r); err != nil {
		return err
	}
	return hint.Wrap(fmt.Errorf("%w: its life ended at tick %d, and %s went back", ErrRetired, r.Tick, verifier.FormatMicrocents(r.Budget)),
		"igor fork %s makes another agent of its state", dir)
}

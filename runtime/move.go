package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/authority"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// A Stand is where a life stopped, to be handed over.
type Stand struct {
	Agent   verifier.PublicKey
	Genesis verifier.Hash
	Tick    uint64 // of the newest checkpoint

	// Position is the folder's last one, retired, but for its record: nobody has signed
	// that yet.
	Position authority.Position

	// Record is what is to be signed.
	Record verifier.HandOver
}

// A HandOver says how to give an agent away, to another node.
type HandOver struct {
	To verifier.PublicKey

	// Seal seals the agent's key, bound to info.
	Seal func(info, seed []byte) ([]byte, error)

	// Countersign has the target take what it lacks, and sign: it gives the record's
	// ToSignature. The agent stands still meanwhile. With an error the agent lives on
	// here, and nothing has happened.
	Countersign func(ctx context.Context, s Stand) (signature [64]byte, err error)
}

// A Departure is the hand-over by which an agent left a folder.
type Departure struct {
	Agent    verifier.PublicKey
	Position authority.Position // the folder's last one
	Record   verifier.HandOver
	Sealed   []byte // the agent's key

	signature [64]byte // of the position
}

const (
	sealedSize = 80

	// MovedSize is how many bytes a commit has: docs/spec/handover.md.
	MovedSize = authority.PositionSize + 64 + verifier.HandOverSize + sealedSize
)

// Append appends the commit's bytes.
func (m *Departure) Append(dst []byte) []byte {
	dst = m.Position.Append(dst, m.Agent)
	dst = append(dst, m.signature[:]...)
	return append(m.Record.Append(dst), m.Sealed...)
}

// ParseMoved reads a commit, and verifies all signatures in it, and that its parts belong
// together.
func ParseMoved(b []byte) (m Departure, err error) {
	if len(b) != MovedSize {
		return m, fmt.Errorf("a commit of %d bytes, and it has %d", len(b), MovedSize)
	}
	position, rest := b[:authority.PositionSize], b[authority.PositionSize:]
	if m.Agent, m.Position, err = authority.ParsePosition(position); err != nil {
		return m, err
	}
	rest = rest[copy(m.signature[:], rest):]
	record, err := verifier.ParseHandOver(rest[:verifier.HandOverSize])
	if err != nil {
		return m, err
	}
	m.Record, m.Sealed = *record, rest[verifier.HandOverSize:]
	switch {
	case m.Agent.Weak() || !ed25519.Verify(m.Agent[:], position, m.signature[:]):
		return m, errors.New("a commit whose position the agent's key did not sign")
	case m.Record.Check(m.Agent) != verifier.HandOverCounts:
		return m, fmt.Errorf("a commit whose record does not count: %s", m.Record.Check(m.Agent).What())
	case m.Position.State != authority.Retired || m.Position.Record != sha256.Sum256(rest),
		m.Position.Owner != m.Record.From || m.Position.Head != m.Record.Head || m.Position.Major+1 != m.Record.Number,
		m.Record.Sealed != sha256.Sum256(m.Sealed):
		return m, errors.New("a commit whose parts do not belong together")
	}
	return m, nil
}

// SealInfo is what a sealed key is bound to.
func SealInfo(h *verifier.HandOver) []byte {
	const handOverContext = len("igor/handover/v1\x00")
	m := h.AppendMessage(nil)
	return append([]byte("igor/sealed-key/v1\x00"), m[handOverContext:len(m)-32]...)
}

// HandOver stops the agent at a checkpoint and gives it to another node. When it returns
// without an error, the agent is that node's, and its key is here no more; the run ends.
// With any other error the agent lives on here, but for one that [errors.Is] of ErrMoved:
// then it is the other node's, and the next run finishes what is left to do.
func (a *Agent) HandOver(ctx context.Context, h HandOver) (m Departure, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) error {
		m, err = l.handOver(ctx, h)
		return err
	})
	return m, err
}

func (l *life) handOver(ctx context.Context, h HandOver) (m Departure, err error) {
	if l.home.remote() {
		return m, fmt.Errorf("%w: the agent's home is a store, and is not handed over by its folder", errors.ErrUnsupported)
	}
	if l.home.owner == (verifier.PublicKey{}) {
		return m, errors.New("an agent is handed over by a node with a key, and there is none")
	}
	key, ok := l.key.(ed25519.PrivateKey)
	if !ok {
		return m, errors.New("the agent's key cannot be handed over: it is not in a file")
	}
	s := l.store
	if err := l.checkpoint(ctx); err != nil {
		return m, fatal(err)
	}
	if err := l.commits.waitDurable(); err != nil {
		return m, fatal(err)
	}
	if err := l.sync(); err != nil {
		return m, fatal(err)
	}
	if err := l.books.sync(); err != nil {
		return m, fatal(err)
	}
	root, err := l.world.Writer.Root()
	if err != nil {
		return m, fatal(err)
	}
	failpoint.Reach(failpoint.MoveStopped)
	m = Departure{Agent: l.public, Position: l.home.at}
	m.Position.Sequence, m.Position.State = l.home.at.Sequence+1, authority.Retired
	m.Position.Owner, m.Position.Writer = l.home.owner, l.home.writer
	m.Position.Major, m.Position.Generation = l.home.epoch.MajorVersion, l.home.epoch.LeaseGeneration
	m.Position.Head, m.Position.Journal, m.Position.Log, m.Position.Paid = l.head, l.world.Journal.Head(), root, l.books.payments.chain
	m.Record = verifier.HandOver{Genesis: l.world.Genesis, Head: l.head, From: l.home.owner, To: h.To, Number: m.Position.Major + 1}
	if m.Sealed, err = h.Seal(SealInfo(&m.Record), key.Seed()); err != nil {
		return m, err
	}
	if len(m.Sealed) != sealedSize {
		return m, fmt.Errorf("a sealed key of %d bytes", len(m.Sealed))
	}
	m.Record.Sealed = sha256.Sum256(m.Sealed)
	if m.Record.ToSignature, err = h.Countersign(ctx, Stand{Agent: m.Agent, Genesis: m.Record.Genesis, Tick: l.saved, Position: m.Position, Record: m.Record}); err != nil {
		return m, err
	}
	sign := func(message []byte) (signature [64]byte, err error) {
		b, err := key.Sign(nil, message, crypto.Hash(0))
		copy(signature[:], b)
		return signature, err
	}
	if m.Record.AgentSignature, err = sign(m.Record.AppendCountersigned(nil)); err != nil {
		return m, err
	}
	if c := m.Record.Check(m.Agent); c != verifier.HandOverCounts {
		return m, fmt.Errorf("the other node's signature is no good: %s", c.What())
	}
	m.Position.Record = sha256.Sum256(append(m.Record.Append(nil), m.Sealed...))
	if m.signature, err = sign(m.Position.Append(nil, m.Agent)); err != nil {
		return m, err
	}
	failpoint.Reach(failpoint.MoveSigned)
	// This is the commit. Whether a write that failed left the file, the next run sees:
	// this one lives no more.
	if err := s.Move(m.Append(nil)); err != nil {
		return m, fatal(errors.Join(ErrMoved, err))
	}
	failpoint.Reach(failpoint.MoveCommitted)
	l.watch.agent.cancel() // nothing is lived any more
	if err := finishMove(s.Path(), &m); err != nil {
		return m, fatal(errors.Join(ErrMoved, err))
	}
	return m, nil
}

// finishMove does what is left to do in a folder whose agent was given away.
func finishMove(dir string, m *Departure) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := store.AddHandOver(root, &m.Record); err != nil {
		return err
	}
	failpoint.Reach(failpoint.MoveRecorded)
	if err := store.DropKey(root); err != nil {
		return err
	}
	failpoint.Reach(failpoint.MoveKeyGone)
	return nil
}

// ReadMoved reads the hand-over by which the agent in dir left it; ok is false if it did
// not. It is durable then.
func ReadMoved(dir string) (m Departure, ok bool, err error) {
	b, err := store.Moved(dir, int64(MovedSize))
	if err != nil || b == nil {
		return m, false, err
	}
	if m, err = ParseMoved(b); err != nil {
		return m, false, &DamagedError{File: filepath.Join(dir, "moved"), err: fmt.Errorf("%s: the file moved: %w", dir, err)}
	}
	// A process that was killed may have given the file its name, and not lived to sync
	// that: whoever is told of it goes on from there.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, false, err
	}
	defer root.Close()
	return m, true, store.SyncDir(root, ".")
}

// FinishMove is [ReadMoved], and does what a crash left to do of the hand-over. Nobody may
// live the agent meanwhile.
func FinishMove(dir string) (m Departure, ok bool, err error) {
	if m, ok, err = ReadMoved(dir); err == nil && ok {
		err = finishMove(dir, &m)
	}
	return m, ok, err
}

// ErrMoved says that an agent was handed over to another node. It is [ErrConflict].
var ErrMoved error = movedError{}

type movedError struct{}

func (movedError) Error() string        { return "the agent was handed over to another node" }
func (movedError) Is(target error) bool { return target == ErrConflict || target == ErrMoved }

// left refuses a life that goes on elsewhere.
func left(dir string) error {
	m, ok, err := FinishMove(dir)
	if err != nil || !ok {
		return err
	}
	return hint.Wrap(fmt.Errorf("%w: %s has it, from the checkpoint %s on", ErrMoved, m.Record.To.DID(), m.Record.Head.CID()),
		"it lives there; that node can hand it back. What is in %s stays as it is", dir)
}

// movesOf is how often the agent in a folder was handed over.
func movesOf(s *store.Store) (uint64, error) {
	all, err := s.HandOvers()
	if err != nil {
		return 0, hint.Wrap(&DamagedError{File: "handovers", err: fmt.Errorf("%s: the file handovers: %w", s.Dir(), err)}, "put it back from a copy of the folder")
	}
	n := uint64(0)
	for _, h := range all {
		n = max(n, h.Number)
	}
	return n, nil
}

// cameAt reports whether a checkpoint is the one at which the agent came by a hand-over.
func cameAt(s *store.Store, head verifier.Hash) (bool, error) {
	all, err := s.HandOvers()
	return slices.ContainsFunc(all, func(h *verifier.HandOver) bool { return h.Head == head }), err
}

func readHandOvers(root *os.Root) ([]*verifier.HandOver, error) { return store.HandOvers(root) }

// Moves returns how often the agent in dir was handed over.
func Moves(dir string) (uint64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	all, err := store.HandOvers(root)
	n := uint64(0)
	for _, h := range all {
		n = max(n, h.Number)
	}
	return n, err
}

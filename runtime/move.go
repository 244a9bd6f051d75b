package runtime

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

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

	// Position is the folder's last one, retired; or, where the agent's home is a store, the
	// one that makes the target the owner there. Its record is not in it: nobody has signed
	// that yet.
	Position authority.Position

	// Record is what is to be signed.
	Record verifier.HandOver

	Since time.Time // when it stopped
}

// A HandOver says how to give an agent away, to another node.
type HandOver struct {
	To verifier.PublicKey

	// Seal seals the agent's key, bound to info; nil = the target has the key already, and
	// none moves: only where the agent's home is a store.
	Seal func(info, seed []byte) ([]byte, error)

	// Countersign has the target take what it lacks, and sign: it gives the record's
	// ToSignature. The agent stands still meanwhile. With an error the agent lives on
	// here, and nothing has happened.
	Countersign func(ctx context.Context, s Stand) (signature [64]byte, err error)

	// Committed is told that it counts, while what is left to do here is yet to be done; nil
	// = nobody is. It must not wait.
	Committed func()
}

// A Departure is the hand-over by which an agent left a folder.
type Departure struct {
	Agent    verifier.PublicKey
	Position authority.Position // the folder's last one, or the home's by which it left
	Record   verifier.HandOver
	Sealed   []byte // the agent's key; nil = none moved

	signature [64]byte // of the position
}

// AtHome reports whether the agent's home is a store, which the hand-over does not change:
// it is what says that the agent left.
func (m *Departure) AtHome() bool { return m.Position.State == authority.Active }

// with is what goes with the position.
func (m *Departure) with() []byte { return append(m.Record.Append(nil), m.Sealed...) }

const (
	sealedSize = 80

	// MovedSize is how many bytes a commit has: docs/spec/handover.md.
	MovedSize = keylessSize + sealedSize

	keylessSize = authority.PositionSize + 64 + verifier.HandOverSize // where no key moves
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
	if len(b) != MovedSize && len(b) != keylessSize {
		return m, fmt.Errorf("a commit of %d bytes, and it has %d, or %d where no key moves", len(b), MovedSize, keylessSize)
	}
	position, rest := b[:authority.PositionSize], b[authority.PositionSize:]
	if m.Agent, m.Position, err = authority.ParsePosition(position); err != nil {
		return m, err
	}
	rest = rest[copy(m.signature[:], rest):]
	if err := m.parseWith(rest); err != nil {
		return m, err
	}
	if m.Agent.Weak() || !ed25519.Verify(m.Agent[:], position, m.signature[:]) {
		return m, errors.New("a commit whose position the agent's key did not sign")
	}
	return m, m.check()
}

// ParseCommit reads a commit as an agent's home has it: the position, and what goes with it.
// Who has the agent's key signs it again; a store that keeps the agent's signatures has
// verified that one.
func ParseCommit(agent verifier.PublicKey, p authority.Position, with []byte) (m Departure, err error) {
	m = Departure{Agent: agent, Position: p}
	if len(with) != verifier.HandOverSize && len(with) != verifier.HandOverSize+sealedSize {
		return m, fmt.Errorf("%d bytes go with the position, which are no hand-over", len(with))
	}
	if err := m.parseWith(with); err != nil {
		return m, err
	}
	if !m.AtHome() {
		return m, errors.New("the position is of no hand-over in a store")
	}
	return m, m.check()
}

// Sign signs a commit that was read from the agent's home with the agent's key.
func (m *Departure) Sign(key ed25519.PrivateKey) error {
	if verifier.PublicKey(key.Public().(ed25519.PublicKey)) != m.Agent {
		return errors.New("the key is not the agent's")
	}
	copy(m.signature[:], ed25519.Sign(key, m.Position.Append(nil, m.Agent)))
	return nil
}

func (m *Departure) parseWith(b []byte) error {
	record, err := verifier.ParseHandOver(b[:verifier.HandOverSize])
	if err != nil {
		return err
	}
	m.Record = *record
	if b = b[verifier.HandOverSize:]; len(b) > 0 {
		m.Sealed = b
	}
	return nil
}

// check says whether the parts of a commit belong together.
func (m *Departure) check() error {
	r, p := &m.Record, &m.Position
	if c := r.Check(m.Agent); c != verifier.HandOverCounts {
		return fmt.Errorf("a commit whose record does not count: %s", c.What())
	}
	var sealed verifier.Hash
	if m.Sealed != nil {
		sealed = sha256.Sum256(m.Sealed)
	}
	together := p.Record == sha256.Sum256(m.with()) && p.Head == r.Head && r.Sealed == sealed
	if m.AtHome() {
		together = together && p.Owner == r.To && p.Major == r.Number
	} else {
		together = together && m.Sealed != nil && p.State == authority.Retired && p.Owner == r.From && p.Major+1 == r.Number
	}
	if !together {
		return errors.New("a commit whose parts do not belong together")
	}
	return nil
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
// then it is the other node's, and the next run finishes what is left to do; and for one
// that is ErrMoveUnknown: the run ends, and the next one finds out from the agent's home.
func (a *Agent) HandOver(ctx context.Context, h HandOver) (m Departure, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) error {
		m, err = l.handOver(ctx, h)
		return err
	})
	return m, err
}

// Ready has the agent make a checkpoint, as it may be handed over in a moment: what it does
// until then is all that is new. Nothing in its folder is packed from now on, so that what
// was copied stays what it is, until HandOver ends without an error, or [Agent.Stay].
func (a *Agent) Ready(ctx context.Context) (head verifier.Hash, err error) {
	err = a.order(ctx, func(ctx context.Context, l *life) error {
		l.packing.rest = true
		l.packing.hold()
		err := l.checkpoint(ctx)
		if err == nil {
			err = l.commits.waitDurable()
		}
		head = l.head
		return fatal(err)
	})
	return head, err
}

// Stay says that an agent which made itself ready is not handed over.
func (a *Agent) Stay(ctx context.Context) error {
	return a.order(ctx, func(_ context.Context, l *life) error {
		if l.packing.rest = false; l.packing.held && !l.paused {
			l.beginPacking()
		}
		return nil
	})
}

// Counts returns how often the agent was handed over, and taken over, as its home has it.
func (a *Agent) Counts(ctx context.Context) (handOvers, takeOvers uint64, err error) {
	err = a.order(ctx, func(_ context.Context, l *life) error {
		handOvers, takeOvers = l.home.epoch.MajorVersion, l.home.epoch.LeaseGeneration
		return nil
	})
	return handOvers, takeOvers, err
}

func (l *life) handOver(ctx context.Context, h HandOver) (m Departure, err error) {
	remote := l.home.remote()
	if _, ok := l.home.authority.(authority.Recording); remote && !ok {
		return m, fmt.Errorf("%w: the agent's home does not keep what goes with a hand-over", errors.ErrUnsupported)
	}
	if l.home.owner == (verifier.PublicKey{}) {
		return m, errors.New("an agent is handed over by a node with a key, and there is none")
	}
	key, ok := l.key.(ed25519.PrivateKey)
	if !ok {
		return m, errors.New("the agent's key cannot be handed over: it is not in a file")
	}
	if h.Seal == nil && !remote {
		return m, errors.New("the agent's key has to be sealed to the target")
	}
	s, since := l.store, time.Now()
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
	if remote {
		if err := l.publish(); err != nil {
			return m, fatal(err)
		}
	}
	root, err := l.world.Writer.Root()
	if err != nil {
		return m, fatal(err)
	}
	failpoint.Reach(failpoint.MoveStopped)
	m = Departure{Agent: l.public, Position: l.home.at}
	p := &m.Position
	if remote {
		// The offer comes before it. The writer is nobody: the new owner claims.
		p.Sequence, p.State, p.Owner, p.Record = p.Sequence+2, authority.Active, h.To, verifier.Hash{}
		p.Major = l.home.epoch.MajorVersion + 1
		rand.Read(p.Writer[:])
	} else {
		p.Sequence, p.State, p.Owner, p.Writer = p.Sequence+1, authority.Retired, l.home.owner, l.home.writer
		p.Major, p.Generation = l.home.epoch.MajorVersion, l.home.epoch.LeaseGeneration
	}
	p.Head, p.Journal, p.Log, p.Paid = l.head, l.world.Journal.Head(), root, l.books.payments.chain
	m.Record = verifier.HandOver{Genesis: l.world.Genesis, Head: l.head, From: l.home.owner, To: h.To, Number: l.home.epoch.MajorVersion + 1}
	if h.Seal != nil {
		if m.Sealed, err = h.Seal(SealInfo(&m.Record), key.Seed()); err != nil {
			return m, err
		}
		if len(m.Sealed) != sealedSize {
			return m, fmt.Errorf("a sealed key of %d bytes", len(m.Sealed))
		}
		m.Record.Sealed = sha256.Sum256(m.Sealed)
	}
	if m.Record.ToSignature, err = h.Countersign(ctx, Stand{Agent: m.Agent, Genesis: m.Record.Genesis, Tick: l.saved, Position: m.Position, Record: m.Record, Since: since}); err != nil {
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
	p.Record = sha256.Sum256(m.with())
	if m.signature, err = sign(p.Append(nil, m.Agent)); err != nil {
		return m, err
	}
	failpoint.Reach(failpoint.MoveSigned)
	// What follows is the commit. Whether a write that failed left the file, the next run
	// sees, and whether an append came about of which nothing was heard: this one lives no
	// more.
	if remote {
		if err := s.KeepMove(m.Append(nil)); err != nil {
			return m, fatal(err)
		}
		failpoint.Reach(failpoint.MoveKept)
		if err := l.home.handOver(&m); err != nil {
			if _, over := errors.AsType[*fatalError](err); !over {
				err = errors.Join(err, fatal(s.EndMove(false)))
			}
			return m, err
		}
		failpoint.Reach(failpoint.MoveAppended)
		if err := s.EndMove(true); err != nil {
			return m, fatal(errors.Join(ErrMoved, err))
		}
	} else if err := s.Move(m.Append(nil)); err != nil {
		return m, fatal(errors.Join(ErrMoved, err))
	}
	failpoint.Reach(failpoint.MoveCommitted)
	if h.Committed != nil {
		h.Committed()
	}
	l.watch.agent.cancel() // nothing is lived any more
	if err := finishMove(s.Path(), &m); err != nil {
		return m, fatal(errors.Join(ErrMoved, err))
	}
	return m, nil
}

// handOver appends that the agent is offered to its next owner, and that it is that one's.
// An error that is not fatal says that the home refuses, and that the owner is who it was.
func (h *home) handOver(m *Departure) error {
	ctx, done := h.within()
	defer done()
	if err := h.mayTry(ctx); err != nil {
		return fatal(err)
	}
	if h.terms != nil && h.guarded != nil && h.terms().Manifest != h.termsOf {
		if err := h.sign(); err != nil {
			return fatal(err)
		}
	}
	offer := h.at
	offer.Sequence, offer.State, offer.Record = h.at.Sequence+1, authority.HandingOver, m.Position.Record
	if err := authority.Settle(ctx, h.authority, h.agent, h.at, offer); err != nil {
		return fatal(h.lost(err))
	}
	h.at = offer
	if err := h.remember(nil); err != nil {
		return fatal(err)
	}
	failpoint.Reach(failpoint.MoveOffered)
	given := withRecord{h.authority.(authority.Recording), m.with()}
	err := authority.Settle(ctx, given, h.agent, offer, m.Position)
	if refused := saysNo(err); refused {
		// An attempt of before may be under way yet: only the next append rules it out.
		next := offer
		next.Sequence, next.State, next.Record = offer.Sequence+1, authority.Active, verifier.Hash{}
		switch back := authority.Settle(ctx, h.authority, h.agent, offer, next); {
		case back == nil:
			h.at = next
			return errors.Join(err, fatal(h.remember(nil)))
		default:
			err = back
		}
	}
	if c, ok := errors.AsType[*authority.Conflict](err); ok && c.Have == m.Position {
		err = nil
	}
	if _, ok := errors.AsType[*authority.Conflict](err); ok {
		return fatal(h.lost(err))
	}
	if err != nil {
		return fatal(errors.Join(ErrMoveUnknown, err))
	}
	h.at = m.Position
	if err := h.remember(nil); err != nil {
		h.log.Warn("what this node knows of the agent's home cannot be written down", "error", err)
	}
	return nil
}

// saysNo reports whether a store said that an append may not be.
func saysNo(err error) bool {
	_, rule := errors.AsType[*authority.RuleError](err)
	_, refused := errors.AsType[*authority.Refusal](err)
	return rule || refused
}

// moveOf returns the hand-over that this folder was about to append when a run ended.
func moveOf(s *store.Store) (m Departure, ok bool, err error) {
	b, err := store.Moving(s.Path(), int64(MovedSize))
	if err != nil || b == nil {
		return m, false, err
	}
	if m, err = ParseMoved(b); err == nil && !m.AtHome() {
		err = errors.New("it is of no hand-over in a store")
	}
	if err != nil {
		return m, false, &DamagedError{File: filepath.Join(s.Path(), "moving"), err: fmt.Errorf("%s: the file moving: %w", s.Dir(), err)}
	}
	return m, true, nil
}

// settleMove finds out what became of a hand-over whose append a run before began, from the
// position that the agent's home has. Where that is this node's, the claim that follows
// rules it out.
func (l *life) settleMove(s *store.Store, at authority.Position) error {
	m, ok, err := moveOf(s)
	if err != nil || !ok {
		return err
	}
	// Counts of hand-overs change by what the owner appends alone, and while nobody took the
	// agent over that was this node, whose last attempt is this one.
	if at != m.Position && (at.Major < m.Position.Major || at.Generation != m.Position.Generation) {
		return nil
	}
	if err := s.EndMove(true); err != nil {
		return err
	}
	failpoint.Reach(failpoint.MoveCommitted)
	return left(s.Path())
}

// stayed says, where this process has claimed the agent, that no hand-over of before came
// about.
func (l *life) stayed(s *store.Store) error {
	_, ok, err := moveOf(s)
	if err != nil || !ok {
		return err
	}
	l.Log.Info("the hand-over that a run before began did not come about: the agent lives on here")
	return s.EndMove(false)
}

// Undecided reports whether a hand-over of the agent in dir was begun in its home, and
// nobody knows yet what became of it.
func Undecided(dir string) bool {
	b, err := store.Moving(dir, int64(MovedSize))
	return err != nil || b != nil
}

// HomeOf returns what the folder of an agent calls its home, "" = the folder is it.
func HomeOf(dir string) (string, error) {
	h, err := store.HomeOf(dir)
	return h.Name, err
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
	if m, ok, err = movedOf(dir); err != nil || !ok {
		return m, false, err
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

// movedOf is [ReadMoved], of what may not be durable yet.
func movedOf(dir string) (m Departure, ok bool, err error) {
	b, err := store.Moved(dir, int64(MovedSize))
	if err != nil || b == nil {
		return m, false, err
	}
	if m, err = ParseMoved(b); err != nil {
		return m, false, &DamagedError{File: filepath.Join(dir, "moved"), err: fmt.Errorf("%s: the file moved: %w", dir, err)}
	}
	return m, true, nil
}

// FinishMove is [ReadMoved], and does what a crash left to do of the hand-over. Nobody may
// live the agent meanwhile.
func FinishMove(dir string) (m Departure, ok bool, err error) {
	if m, ok, err = ReadMoved(dir); err == nil && ok {
		err = finishMove(dir, &m)
	}
	return m, ok, err
}

// ErrMoveUnknown says that an agent's home was asked to hand it over, and did not answer:
// whose it is, is not known.
var ErrMoveUnknown = errors.New("whether the agent was handed over is not known yet: its home did not answer")

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

// HandOvers returns the records of the hand-overs of the agent in dir.
func HandOvers(dir string) ([]*verifier.HandOver, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return store.HandOvers(root)
}

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
	// A folder that a takeover made may have no records of what was before.
	if seen, ok, seenErr := ReadSeen(dir); ok && seenErr == nil {
		n = max(n, seen.Newest.Position.Major)
	}
	return n, err
}

package runtime

import (
	"fmt"

	"igor.dev/authority"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// What a life appends, and when, is the table in docs/spec/position.md.

// publish appends where the life stands, which is durable here, if it is elsewhere than it
// was: to be called before something takes effect.
func (l *life) publish() error {
	h := &l.home
	if h.authority == nil {
		return nil // it is not born: nobody knows of it
	}
	if !h.due.IsZero() {
		return l.oldCopy(h.due)
	}
	root, err := l.world.Writer.Root()
	if err != nil {
		return err
	}
	next := h.at
	next.State, next.Record = authority.Active, verifier.Hash{}
	next.Head, next.Journal, next.Log, next.Paid = l.head, l.world.Journal.Head(), root, l.books.payments.chain
	if next == h.at {
		return nil
	}
	var blobs []authority.Blob
	if h.remote() {
		if blobs, err = l.newBlobs(root); err != nil {
			return err
		}
	}
	return h.append(next, blobs)
}

// publishInTick is publish in a tick, without a turn meanwhile.
func (l *life) publishInTick() (err error) {
	l.begun++
	l.engine.turns.without(func() { err = l.publish() })
	return err
}

// newBlobs are what the replicas do not have yet.
func (l *life) newBlobs(root verifier.Hash) ([]authority.Blob, error) {
	h := &l.home
	var blobs []authority.Blob
	if h.at.Head != l.head {
		newest, err := l.newestBytes()
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, unsigned(l.head, newest))
	}
	log, err := h.logBlobs(l.body, l.log, l.world.Writer, root)
	if err != nil {
		return nil, err
	}
	records, err := h.journalBlobs(l.world.Journal)
	if err != nil {
		return nil, err
	}
	blobs = append(append(blobs, log...), records...)
	return append(blobs, h.paidBlobs(l.books.payments.all)...), nil
}

// publishGroup appends the newest of a group of checkpoints, before anything that is
// signed of them is written. It runs beside the life, which appends nothing meanwhile.
func (l *life) publishGroup(group []made) error {
	h, newest := &l.home, &group[len(group)-1]
	if h.authority == nil {
		return nil
	}
	if !h.due.IsZero() {
		// What is lived again was appended. It may only come to the same.
		for _, m := range group {
			if m.ContentHash == h.due {
				h.due = verifier.Hash{}
			}
		}
		if newest.ContentHash == h.at.Head || !h.due.IsZero() {
			return nil
		}
	}
	next := h.at
	next.State, next.Record = authority.Active, verifier.Hash{}
	next.Head, next.Log = newest.ContentHash, newest.beginningHash()
	next.Journal, next.Paid = l.world.Journal.Head(), l.books.payments.chain
	var blobs []authority.Blob
	if h.remote() {
		blobs = append(blobs, unsigned(newest.ContentHash, newest.bytes))
		blobs = append(blobs, h.beginningBlobs(newest.body, newest.ContentHash, newest.beginning)...)
		records, err := h.journalBlobs(l.world.Journal)
		if err != nil {
			return err
		}
		blobs = append(append(blobs, records...), h.paidBlobs(l.books.payments.all)...)
	}
	return h.append(next, blobs)
}

// acceptCompacted appends a journal that is about to replace the one that there is.
func (l *life) acceptCompacted(compacted *journal.Journal) error {
	h := &l.home
	next := h.at
	next.State, next.Record, next.Journal = authority.Active, verifier.Hash{}, compacted.Head()
	blobs, err := h.journalBlobs(compacted)
	if err != nil {
		return err
	}
	return h.append(next, blobs)
}

// comeHome holds what was found in the folder against the agent's position, and claims it:
// the folder has to have all that was appended, or what leads to it.
func (l *life) comeHome(s *store.Store, p authority.Position) error {
	h := &l.home
	if h.left = l.leftFor(p); p.State == authority.Retired && !h.left {
		return l.isRetired(p)
	}
	offset, ok, err := l.world.Journal.Passed(p.Journal)
	if err != nil {
		return err
	}
	if !ok {
		return l.oldCopy(p.Head)
	}
	h.journal = journalMark{name: p.Journal, offset: offset}
	for h.paid.name != p.Paid {
		if h.paid.n == len(l.books.payments.all) {
			return l.oldCopy(p.Head)
		}
		h.paid.name = authority.ChainPaid(h.paid.name, l.books.payments.all[h.paid.n])
		h.paid.n++
	}
	if p.Head == l.head {
		if err := l.arrive(p); err != nil {
			return err
		}
	} else {
		leads, err := l.leadsTo(p.Head)
		if err != nil {
			return err
		}
		if !leads {
			return l.otherHead(s, p)
		}
		h.due = p.Head
	}
	if h.left { // and goes on in the new home
		h.at = p
		return nil
	}
	if err := h.claim(p); err != nil {
		return err
	}
	return l.stayed(s)
}

// arrive is called where the folder has come to the checkpoint of a position: the segment
// after it has to have had what was appended.
func (l *life) arrive(p authority.Position) error {
	offset, payloads, ok, err := l.log.Passed(l.saved+1, p.Log)
	if err != nil {
		return err
	}
	if !ok {
		return l.oldCopy(p.Head)
	}
	l.home.segment = segmentMark{prev: p.Head, name: p.Log, offset: offset, payloads: payloads}
	if !l.home.remote() {
		return nil
	}
	// To go on with the hash of what was appended, that is read once.
	begun, err := l.log.Hash(l.saved+1, offset)
	l.home.segment.hash = begun
	return err
}

// leadsTo reports whether what is recorded after the newest checkpoint leads to another
// one, which was appended and is not in the history yet.
func (l *life) leadsTo(head verifier.Hash) (bool, error) {
	for first := l.saved + 1; ; {
		next, last, err := l.log.SealedFor(first)
		if err != nil || next.IsZero() {
			return false, err
		}
		if next == head {
			return true, nil
		}
		first = last + 1
	}
}

// otherHead says why the folder does not have the head that was appended.
func (l *life) otherHead(s *store.Store, p authority.Position) error {
	older, err := has(s, p.Head)
	if err != nil {
		return err
	}
	if older {
		return &conflictError{hint.Wrap(fmt.Errorf("the agent's home knows an older checkpoint (%s) than its folder: it lost data", p.Head.CID()),
			"restore the home from a copy; the agent must not live on from there")}
	}
	return l.oldCopy(p.Head)
}

// oldCopy says that a folder does not have what is known elsewhere.
func (l *life) oldCopy(head verifier.Hash) error {
	return hint.Wrap(&OldCopyError{DID: l.result.DID, Head: head}, "igor restore makes a folder of what its home has; this one has to stay as it is")
}

// An OldCopyError says that an agent lived on without this copy of its folder. It is
// [ErrConflict].
type OldCopyError struct {
	DID  string
	Head verifier.Hash // that is known elsewhere
}

func (e *OldCopyError) Error() string {
	return fmt.Sprintf("this is an old copy of %s: it lived on elsewhere, to the checkpoint %s", e.DID, e.Head.CID())
}

func (e *OldCopyError) Is(target error) bool { return target == ErrConflict }

// ErrRetired says that an agent is retired: it is not lived on. It is [ErrConflict].
var ErrRetired error = retiredError{}

type retiredError struct{}

func (retiredError) Error() string        { return "the agent is retired" }
func (retiredError) Is(target error) bool { return target == ErrConflict || target == ErrRetired }

package runtime

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// PutBack puts back what copies of an agent's folder have of its life before what is in
// dir, which is what [Restore] left out: the checkpoints that lead there, each by its hash,
// the event log of that time, and the records of hand-overs. It reports whether all of them
// are whole then. What copies have beside that, such as checkpoints that nobody appended,
// is left alone. Nobody lives the agent meanwhile.
func PutBack(dir string, copies ...string) (whole bool, err error) {
	s, err := store.Open(dir)
	if err != nil {
		return false, public(err)
	}
	whole, err = putBack(s, copies)
	return whole, public(errors.Join(err, s.Close()))
}

// PutBack is [PutBack] for an agent that lives: it stands still meanwhile.
func (a *Agent) PutBack(ctx context.Context, copies ...string) (whole bool, err error) {
	err = a.order(ctx, func(_ context.Context, l *life) error {
		l.packing.hold() // it goes on with the next tick
		whole, err = putBack(l.store, copies)
		return err
	})
	return whole, err
}

// Before returns the hash of the checkpoint before the oldest one in an agent's folder;
// zero = that is the genesis.
func Before(dir string) (before verifier.Hash, err error) {
	for b, err := range Blocks(dir) {
		if err != nil {
			return before, err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return before, err
		}
		before = c.PrevHash
	}
	return before, nil
}

// Whole reports whether the history in an agent's folder begins with its genesis.
func Whole(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "restored"))
	return errors.Is(err, fs.ErrNotExist)
}

func putBack(s *store.Store, copies []string) (whole bool, err error) {
	before, err := Before(s.Path())
	if err != nil {
		return false, err
	}
	var errs []error
	for found := true; found && !before.IsZero(); {
		found = false
		for _, dir := range copies {
			at := before
			err := s.PutBack(chainIn(dir, &before), false)
			errs = append(errs, err)
			found = found || err == nil && before != at
		}
	}
	for _, dir := range copies {
		errs = append(errs, putBackEvents(s, dir), putBackRecords(s, dir))
	}
	if !before.IsZero() {
		return false, errors.Join(errs...)
	}
	// What could not be read of one copy another one had.
	if err := s.PutBack(func(func([]byte, error) bool) {}, true); err != nil {
		return false, err
	}
	events, err := missingEvents(s.Path())
	records, errRecords := missingRecords(s.Path())
	return events == 0 && records == 0, errors.Join(err, errRecords)
}

// TakenOverWithGaps reports whether an agent was taken over from another node and its folder
// lacks some of its history, its event log or its records of hand-overs of before. It reads
// the history.
func TakenOverWithGaps(dir string) bool {
	seen, ok, err := ReadSeen(dir)
	if err != nil || !ok || seen.Newest.Position.Generation == 0 {
		return false
	}
	events, err := missingEvents(dir)
	records, errRecords := missingRecords(dir)
	return err == nil && events > 0 || errRecords == nil && records > 0 || !Whole(dir)
}

// missingEvents counts the segments of the event log that are missing between the
// checkpoints in a folder.
func missingEvents(dir string) (n int, err error) {
	log, done, err := openReadOnly(filepath.Join(dir, store.DirEvents))
	if err != nil {
		return 0, err
	}
	defer done()
	look := func(first uint64) {
		f, err := log.Raw(first)
		if err != nil {
			n++
			return
		}
		f.Close()
	}
	var next *verifier.Checkpoint
	for b, err := range Blocks(dir) {
		if err != nil {
			return n, err
		}
		at, err := verifier.Parse(b)
		if err != nil {
			return n, err
		}
		if next != nil {
			look(at.TickNumber + 1)
		}
		next = &at
	}
	if next != nil && next.PrevHash.IsZero() {
		look(0)
	}
	return n, nil
}

// chainIn yields the checkpoints of a copy from one on, by its hash, the newest first, and
// leaves in it the hash of the one that comes before the last.
func chainIn(dir string, next *verifier.Hash) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for b, err := range Blocks(dir) {
			if err != nil {
				yield(nil, err)
				return
			}
			if next.IsZero() {
				return
			}
			if sha256.Sum256(b) != *next {
				continue
			}
			c, err := verifier.Parse(b)
			if err == nil {
				*next = c.PrevHash
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// putBackRecords puts back the records of hand-overs that a copy has and the folder lacks.
// Each is signed, and a copy may be of a time when there were fewer of them, so what one
// copy had says nothing of what another one has.
func putBackRecords(s *store.Store, dir string) error {
	own, err := os.OpenRoot(s.Path())
	if err != nil {
		return err
	}
	defer own.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	all, err := store.HandOvers(root)
	if err != nil || len(all) == 0 {
		return err
	}
	have, err := store.HandOvers(own)
	if err != nil {
		return err
	}
	numbers := map[uint64]bool{}
	for _, h := range have {
		numbers[h.Number] = true
	}
	agent, handOvers, err := handedOver(s.Path())
	if err != nil {
		return err
	}
	more := false
	for _, h := range all {
		if numbers[h.Number] || h.Number > handOvers || h.Check(agent) != verifier.HandOverCounts {
			continue
		}
		numbers[h.Number], more = true, true
		have = append(have, h)
	}
	if !more || len(have) > verifier.MaxHandOvers {
		return nil
	}
	slices.SortStableFunc(have, func(a, b *verifier.HandOver) int { return cmp.Compare(a.Number, b.Number) })
	var b []byte
	for _, h := range have {
		b = h.Append(b)
	}
	return wal.WriteFile(s.Folder(), "handovers.next", "handovers", bytes.NewReader(b), true)
}

// handedOver says how often an agent was handed over: as its home said last, or, in a folder
// that was not lived yet, as its newest checkpoint says.
func handedOver(dir string) (agent verifier.PublicKey, handOvers uint64, err error) {
	seen, ok, err := ReadSeen(dir)
	if err != nil || ok {
		return seen.Newest.Agent, seen.Newest.Position.Major, err
	}
	c, _, err := newestCheckpoint(dir)
	return c.AgentPubKey, c.MajorVersion, err
}

// missingRecords counts the hand-overs of an agent of which its folder has no record.
func missingRecords(dir string) (n uint64, err error) {
	_, handOvers, err := handedOver(dir)
	if err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	all, err := store.HandOvers(root)
	if err != nil {
		return 0, err
	}
	numbers := map[uint64]bool{}
	for _, h := range all {
		if h.Number > 0 && h.Number <= handOvers {
			numbers[h.Number] = true
		}
	}
	return handOvers - uint64(len(numbers)), nil
}

// maxPutBack is how large a segment of the event log of a copy may be.
const maxPutBack = 1 << 30

// putBackEvents puts back the segments of the event log that are missing, where a copy has
// the one that its checkpoints name.
func putBackEvents(s *store.Store, dir string) error {
	log, done, err := openReadOnly(filepath.Join(dir, store.DirEvents))
	if err != nil {
		return err
	}
	defer done()
	segments, payloads, _, err := s.Events()
	if err != nil {
		return err
	}
	put := func(folder wal.Folder, name string, b []byte) error {
		err := wal.WriteFile(folder, ".next", name, bytes.NewReader(b), false)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return err
	}
	own, doneOwn, err := openReadOnly(filepath.Join(s.Path(), store.DirEvents))
	if err != nil {
		return err
	}
	defer doneOwn()
	between := func(prev, next *verifier.Finding) error {
		first := uint64(0)
		if prev != nil {
			first = prev.TickNumber + 1
		}
		if f, err := own.Raw(first); err == nil {
			return f.Close()
		}
		f, err := log.Raw(first)
		if err != nil {
			return nil // nor has the copy
		}
		defer f.Close()
		b, err := io.ReadAll(io.NewSectionReader(f, 0, maxPutBack))
		if err != nil {
			return err
		}
		if _, err := eventlog.Verify(bytes.NewReader(b), prev, next); err != nil {
			return nil // not whole when it was copied, or damaged
		}
		names, _, err := eventlog.Scan(bytes.NewReader(b))
		if err != nil {
			return err
		}
		for _, hash := range names {
			content, err := log.Payload(hash)
			if err == nil {
				err = put(payloads, hash.String(), content)
			}
			if err != nil {
				return err
			}
		}
		return put(segments, eventlog.FileName(first), b)
	}
	var next *verifier.Finding
	for b, err := range Blocks(s.Path()) {
		if err != nil {
			return err
		}
		at := verifier.Examine(b)
		if next != nil && next.PrevHash == at.ContentHash {
			if err := between(&at, next); err != nil {
				return err
			}
		}
		next = &at
	}
	if next != nil && next.PrevHash.IsZero() {
		return between(nil, next)
	}
	return nil
}

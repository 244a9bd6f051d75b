package runtime

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	_, before, err = beginning(dir)
	return before, err
}

// beginning returns the tick of the oldest checkpoint in a folder, and the hash of the one
// before it.
func beginning(dir string) (tick uint64, before verifier.Hash, err error) {
	h, err := store.OpenHistory(dir)
	if err != nil {
		return 0, before, err
	}
	defer h.Close()
	var oldest store.CheckpointFile
	for f, err := range h.Backward() {
		if err != nil {
			return 0, before, err
		}
		oldest = f
	}
	if oldest.Path == "" {
		return 0, before, fmt.Errorf("%s has no checkpoint", dir)
	}
	b, err := oldest.Read()
	if err != nil {
		return 0, before, err
	}
	c, err := verifier.Parse(b)
	return c.TickNumber, c.PrevHash, err
}

// Whole reports whether the history in an agent's folder begins with its genesis.
func Whole(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "restored"))
	return errors.Is(err, fs.ErrNotExist)
}

func putBack(s *store.Store, copies []string) (whole bool, err error) {
	tick, before, err := beginning(s.Path())
	if err != nil {
		return false, err
	}
	var errs []error
	for found := true; found && !before.IsZero(); {
		found = false
		for _, dir := range copies {
			at := before
			err := s.PutBack(chainIn(dir, &tick, &before), false)
			errs = append(errs, err)
			found = found || err == nil && before != at
		}
	}
	missing, _, err := missingEvents(s.Path())
	if err != nil {
		return false, err
	}
	for _, dir := range copies {
		if len(missing) > 0 {
			missing, err = putBackEvents(s, dir, missing)
			errs = append(errs, err)
		}
	}
	// Those that the segments name, of which some just came.
	_, programs, err := missingEvents(s.Path())
	if err != nil {
		return false, err
	}
	for _, dir := range copies {
		if len(programs) > 0 {
			errs = append(errs, putBackPrograms(s, dir, programs))
		}
	}
	records, err := missingRecords(s.Path())
	for i := 0; i < len(copies) && records > 0 && err == nil; i++ {
		errs = append(errs, putBackRecords(s, copies[i]))
		records, err = missingRecords(s.Path())
	}
	if !before.IsZero() {
		return false, errors.Join(append(errs, err)...)
	}
	// What could not be read of one copy another one had.
	if err := s.PutBack(func(func([]byte, error) bool) {}, true); err != nil {
		return false, err
	}
	return len(missing) == 0 && len(programs) == 0 && records == 0, err
}

// Lacks is what a folder lacks of an agent's life before it was taken over.
type Lacks struct {
	Before   verifier.Hash   // the checkpoint before the oldest one; zero = the history is whole
	Segments map[uint64]bool // of the event log, by their first ticks
	Programs map[string]bool // and manifests, of before upgrades, by the names of their files
	Records  bool            // of hand-overs
}

// Any reports whether it lacks anything but checkpoints.
func (l *Lacks) Any() bool { return len(l.Segments) > 0 || len(l.Programs) > 0 || l.Records }

// FindLacks looks what a folder lacks. It reads the history.
func FindLacks(dir string) (l Lacks, err error) {
	if _, l.Before, err = beginning(dir); err != nil {
		return l, err
	}
	missing, programs, err := missingEvents(dir)
	if err != nil {
		return l, err
	}
	l.Programs = programs
	l.Segments = map[uint64]bool{}
	for _, m := range missing {
		l.Segments[m.first()] = true
	}
	n, err := missingRecords(dir)
	l.Records = n > 0
	return l, err
}

// Helps reports whether a file of that name may have something of what is lacking.
func (l *Lacks) Helps(name string) bool {
	dir, base := filepath.Split(name)
	digits, _, _ := strings.Cut(base, ".")
	from, to, packed := strings.Cut(digits, "-")
	first, err := strconv.ParseUint(from, 10, 64)
	last, errLast := strconv.ParseUint(to, 10, 64)
	switch {
	case dir == "":
		return name == "handovers" && l.Records || len(l.Programs) > 0 && (name == "agent.wasm" || name == "agent.manifest.json")
	case dir == dirHistory+"/":
		return false // they come one by one
	case dir == dirPrograms+"/":
		return len(l.Segments) > 0 || l.Programs[base]
	case dir != store.DirEvents+"/":
		return len(l.Segments) > 0 // what segments name
	case packed && err == nil && errLast == nil:
		for at := range l.Segments {
			if first <= at && at <= last {
				return true
			}
		}
		return false
	}
	return err == nil && l.Segments[first]
}

// TakenOverWithGaps reports whether an agent was taken over from another node and its folder
// lacks some of its history, its event log or its records of hand-overs of before; known is
// false where that cannot be said yet, such as before the life's first append. It reads the
// history.
func TakenOverWithGaps(dir string) (gaps, known bool) {
	seen, ok, err := ReadSeen(dir)
	if err != nil || !ok {
		return false, false
	}
	if seen.Newest.Position.Generation == 0 {
		return false, true
	}
	if !Whole(dir) {
		return true, true
	}
	l, err := FindLacks(dir)
	return err == nil && l.Any(), err == nil
}

// A hole is where a segment of the event log is missing, between two checkpoints.
type hole struct{ prev, next *verifier.Finding } // prev is nil before the genesis

func (h *hole) first() uint64 {
	if h.prev == nil {
		return 0
	}
	return h.prev.TickNumber + 1
}

// missingEvents finds the segments of the event log that are missing between the
// checkpoints in a folder, and the programs and manifests by which the others were lived
// that are missing, by the names of their files.
func missingEvents(dir string) (all []hole, programs map[string]bool, err error) {
	log, done, err := openReadOnly(filepath.Join(dir, store.DirEvents))
	if err != nil {
		return nil, nil, err
	}
	defer done()
	programs = map[string]bool{}
	has := map[string]bool{}
	for _, file := range []struct {
		name string
		of   func(verifier.Hash) string
	}{{"agent.wasm", programName}, {"agent.manifest.json", manifestName}} {
		if b, err := os.ReadFile(filepath.Join(dir, file.name)); err == nil {
			has[file.of(sha256.Sum256(b))] = true
		}
	}
	needs := func(name string) {
		if _, known := has[name]; !known {
			_, err := os.Lstat(filepath.Join(dir, dirPrograms, name))
			has[name] = err == nil
		}
		if !has[name] {
			programs[name] = true
		}
	}
	there := func(first uint64) bool {
		f, err := log.Raw(first)
		if err != nil {
			return false
		}
		defer f.Close()
		if h, err := eventlog.NewReader(io.NewSectionReader(f, 0, maxPutBack)).Header(); err == nil {
			needs(programName(h.WASM))
			needs(manifestName(h.Manifest))
		}
		return true
	}
	finding := func(b []byte) *verifier.Finding {
		f := verifier.Examine(b)
		return &f
	}
	var next []byte
	var after verifier.Checkpoint
	for b, err := range Blocks(dir) {
		if err != nil {
			return all, programs, err
		}
		at, err := verifier.Parse(b)
		if err != nil {
			return all, programs, err
		}
		if next != nil && after.PrevHash == sha256.Sum256(b) && !there(at.TickNumber+1) {
			all = append(all, hole{finding(b), finding(next)})
		}
		next, after = bytes.Clone(b), at
	}
	if next != nil && after.PrevHash.IsZero() && !there(0) {
		all = append(all, hole{nil, finding(next)})
	}
	return all, programs, nil
}

// besides is how many checkpoints of a copy may lie between one and the one that follows it:
// some that were signed, and that nobody appended.
const besides = 64

// chainIn yields the checkpoints of a copy from one on, by its hash, the newest first, and
// leaves in it the hash of the one that comes before the last. It is older than a tick, in
// which is left that of the last.
func chainIn(dir string, tick *uint64, next *verifier.Hash) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h, err := store.OpenHistory(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		defer h.Close()
		others := 0
		for f, err := range h.Backward() {
			if err == nil && f.Tick >= *tick {
				continue
			}
			if next.IsZero() || others == besides {
				return
			}
			var b []byte
			if err == nil {
				b, err = f.Read()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if sha256.Sum256(b) != *next {
				others++
				continue
			}
			c, err := verifier.Parse(b)
			if err == nil {
				*tick, *next, others = c.TickNumber, c.PrevHash, 0
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// dirPrograms is where the programs and manifests of before an agent's upgrades are.
const dirPrograms = store.DirEvents + "/" + store.DirPrograms

// putBackPrograms puts back programs and manifests that a copy has, as kept or as its own,
// and takes their names away.
func putBackPrograms(s *store.Store, dir string, names map[string]bool) error {
	var errs []error
	for name := range names {
		own, limit := "agent.wasm", int64(MaxWASM)
		if strings.HasSuffix(name, ".json") {
			own, limit = "agent.manifest.json", MaxManifest
		}
		for _, file := range []string{filepath.Join(dirPrograms, name), own} {
			path := filepath.Join(dir, file)
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() || info.Size() > limit {
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if hash := verifier.Hash(sha256.Sum256(b)); !strings.HasPrefix(name, hash.String()+".") {
				continue
			}
			if err := s.Keep(map[string][]byte{name: b}); err != nil {
				return err
			}
			delete(names, name)
			break
		}
	}
	return errors.Join(errs...)
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
// the one that its checkpoints name. It returns those that it has not.
func putBackEvents(s *store.Store, dir string, missing []hole) (still []hole, err error) {
	log, done, err := openReadOnly(filepath.Join(dir, store.DirEvents))
	if err != nil {
		return missing, err
	}
	defer done()
	segments, payloads, _, err := s.Events()
	if err != nil {
		return missing, err
	}
	put := func(folder wal.Folder, name string, b []byte) error {
		err := wal.WriteFile(folder, ".next", name, bytes.NewReader(b), false)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return err
	}
	putOne := func(m *hole) (done bool, err error) {
		f, err := log.Raw(m.first())
		if err != nil {
			return false, nil // nor has the copy
		}
		defer f.Close()
		b, err := io.ReadAll(io.NewSectionReader(f, 0, maxPutBack))
		if err != nil {
			return false, err
		}
		if _, err := eventlog.Verify(bytes.NewReader(b), m.prev, m.next); err != nil {
			return false, nil // not whole when it was copied, or damaged
		}
		names, _, err := eventlog.Scan(bytes.NewReader(b))
		if err != nil {
			return false, err
		}
		for _, hash := range names {
			content, err := log.Payload(hash)
			if err == nil {
				err = put(payloads, hash.String(), content)
			}
			if err != nil {
				return false, err
			}
		}
		return true, put(segments, eventlog.FileName(m.first()), b)
	}
	var errs []error
	for i := range missing {
		done, err := putOne(&missing[i])
		if !done || err != nil {
			still = append(still, missing[i])
		}
		errs = append(errs, err)
	}
	return still, errors.Join(errs...)
}

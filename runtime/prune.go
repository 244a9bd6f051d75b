package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// packThrough has files written through others; nil = as they are. It is a test's.
var packThrough func(name string, folder wal.Folder) wal.Folder

// A PruneConfig says what of a history may be removed.
type PruneConfig struct {
	// Copy is a folder or a CAR that has the checkpoints too: it is read, and hashed.
	Copy string

	// Archived is the tick up to which every checkpoint is archived and was read back, as
	// whoever archives says; nil = nobody does.
	Archived *uint64

	// Events has the event log removed too, as far as Copy, then a folder, has it.
	Events bool

	// Do has it removed; else nothing is changed.
	Do bool
}

// A Pruned is what was removed, or would be.
type Pruned struct {
	Checkpoints uint64 `json:"checkpoints"`
	LastTick    uint64 `json:"lastTick,string"`
	Bytes       int64  `json:"bytes,string"`
	Segments    int    `json:"segments"`
	Packs       int    `json:"packs"` // of the event log
	Done        bool   `json:"done"`

	// HeldBy is the side effect because of which nothing after it is removed, "" if there
	// is none.
	HeldBy string `json:"heldBy,omitempty"`
}

// PruneHistory removes the oldest checkpoints of an agent that does not run, if they are
// archived: from then on its history is not whole without the archive. It never removes
// what belongs to a side effect that is unresolved, or was compensated and not given back.
func PruneHistory(ctx context.Context, dir string, c PruneConfig) (r Pruned, err error) {
	upTo := uint64(math.MaxUint64)
	archived := func(verifier.Hash) bool { return true }
	switch {
	case c.Copy != "":
		if inside, err := within(dir, c.Copy); err != nil || inside {
			return r, errors.Join(err, hint.Wrap(fmt.Errorf("%s and the agent's folder are not apart", c.Copy), "name a copy on another disk"))
		}
		found, err := store.Archived(ctx, c.Copy)
		if err != nil {
			return r, err
		}
		archived = func(h verifier.Hash) bool { return found[h] }
	case c.Archived != nil:
		upTo = *c.Archived
	default:
		return r, errors.New("nothing says that anything is archived")
	}
	if c.Events && c.Copy == "" {
		return r, hint.Wrap(errors.New("whether the event log is archived is not known"), "name a folder that has a copy of it")
	}
	err = withFolder(ctx, dir, func(s *store.Store, life journal.Life, found *store.Recovery) error {
		key, err := store.Key(dir)
		if err != nil {
			return err
		}
		held, err := oldestHeld(dir)
		if err != nil {
			return err
		}
		if held != nil {
			upTo, r.HeldBy = min(upTo, max(held.Tick, 1)-1), held.ID.String()
		}
		p, err := s.Packer(key)
		if err != nil {
			return err
		}
		p.Through = packThrough
		for more := c.Do; more; {
			if more, err = p.Pack(ctx, found.Tick); err != nil {
				return err
			}
		}
		var events func(uint64, io.ReaderAt, int64) (bool, error)
		if c.Events {
			log, done, err := openReadOnly(filepath.Join(c.Copy, store.DirEvents))
			if err != nil {
				return err
			}
			defer done()
			events = func(first uint64, f io.ReaderAt, size int64) (bool, error) {
				there, err := log.Raw(first)
				if errors.Is(err, fs.ErrNotExist) {
					return false, nil
				}
				if err != nil {
					return false, err
				}
				defer there.Close()
				if n, err := there.Size(); err != nil || n != size {
					return false, err
				}
				same, err := store.Same(f, there, size)
				if err != nil || !same {
					return false, err
				}
				return hasPayloads(log, first)
			}
		}
		done, err := p.Prune(ctx, upTo, archived, events, !c.Do)
		r.Checkpoints, r.LastTick, r.Bytes, r.Segments, r.Packs = done.Checkpoints, done.Last, done.Bytes, done.Segments, done.Packs
		r.Done = c.Do && err == nil
		return err
	})
	return r, public(err)
}

// hasPayloads reports whether an event log has all that a segment names.
func hasPayloads(log *eventlog.Log, first uint64) (bool, error) {
	all := true
	err := readSegment(log, first, func(r *eventlog.Record) error {
		for _, d := range []eventlog.Data{r.Request, r.Result} {
			if _, err := log.Content(d); eventlog.Gone(err) {
				all = false
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return all && err == nil, err
}

// oldestHeld returns the oldest side effect that is unresolved, or was compensated and may
// not have been given back, nil if there is none.
func oldestHeld(dir string) (*journal.Effect, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := (readOnly{root: root}).Open(journal.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, journal.Name), plainPath(err))
	}
	defer f.Close()
	j, err := journal.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, journal.Name), err)
	}
	var oldest *journal.Effect
	for _, e := range j.Effects() {
		open := e.State == journal.Begun || e.State == journal.ResolvedCompensated && e.Held > 0
		if open && (oldest == nil || e.Tick < oldest.Tick) {
			oldest = &e
		}
	}
	return oldest, nil
}

// within reports whether one of two paths is the other, or in it.
func within(a, b string) (bool, error) {
	for _, path := range []*string{&a, &b} {
		real, err := filepath.EvalSymlinks(*path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		if err != nil {
			return false, err
		}
		*path = real
	}
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		if rel, err := filepath.Rel(pair[0], pair[1]); err == nil && filepath.IsLocal(rel) {
			return true, nil
		}
	}
	return false, nil
}

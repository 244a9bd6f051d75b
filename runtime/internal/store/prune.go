package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

// A Pruning says what of a life is removed, or would be.
type Pruning struct {
	Checkpoints uint64
	Last        uint64 // tick of the newest that is removed
	Bytes       int64
	Packs       int // of the event log
	Segments    int
}

// Prune removes segments of the history whose checkpoints are archived, the oldest ones, up
// to a tick. archived says of a checkpoint whether it is, and events of a segment of the
// event log; where that is nil the event log stays. With dry it says what it would remove.
func (p *Packer) Prune(ctx context.Context, upTo uint64, archived func(verifier.Hash) bool, events func(first uint64, content io.ReaderAt, size int64) (bool, error), dry bool) (done Pruning, err error) {
	if p.paused != nil {
		return done, p.paused
	}
	if !dry {
		if err := p.begin(ctx); err != nil {
			return done, err
		}
	}
	if p.s.mark == nil {
		return done, nil
	}
	m := *p.s.mark
	m.Index.Files = slices.Clone(m.Index.Files)
	ticks, err := p.s.Ticks()
	if err != nil {
		return done, err
	}
	after, _ := slices.BinarySearch(ticks, m.Tick+1)
	if len(ticks)-after < 2 {
		return done, errors.New("the newest checkpoints are missing, or packed all") // one that goes on needs them
	}
	var remove []string // in the agent's folder
	changed := false
	for i := range m.Index.Files {
		f := &m.Index.Files[i]
		if f.Last > upTo {
			break
		}
		span := Span{f.First, f.Last}
		if there, err := p.size(filepath.Join(DirHistory, span.CAR())); err != nil {
			return done, err
		} else if there >= 0 {
			ok, err := p.archived(ctx, span, archived)
			if err != nil {
				return done, err
			}
			if !ok {
				break
			}
			changed, f.Pruned = changed || !f.Pruned, true
			remove = append(remove, filepath.Join(DirHistory, span.CAR()))
			done.Checkpoints, done.Bytes, done.Last, done.Segments = done.Checkpoints+f.Checkpoints, done.Bytes+there, f.Last, done.Segments+1
		} else if !f.Pruned {
			return done, fmt.Errorf("%s is missing", p.s.historyPath(span.CAR()))
		}
		there, err := p.size(filepath.Join(DirEvents, span.Pack()))
		if err != nil {
			return done, err
		}
		if there < 0 || events == nil || i > 0 && !m.Index.Files[i-1].PackPruned {
			continue
		}
		ok, err := p.archivedEvents(ctx, span, events)
		if err != nil {
			return done, err
		}
		if !ok {
			events = nil // those after it stay too
			continue
		}
		changed, f.PackPruned = changed || !f.PackPruned, true
		remove = append(remove, filepath.Join(DirEvents, span.Pack()))
		done.Packs, done.Bytes = done.Packs+1, done.Bytes+there
	}
	if dry || len(remove) == 0 {
		return done, nil
	}
	if err := p.keepPayloads(ctx, &m); err != nil {
		return done, err
	}
	if err := p.beginsLater(&m); err != nil {
		return done, err
	}
	if changed {
		if err := p.writeMark(&m); err != nil {
			return done, err
		}
	}
	failpoint.Reach(failpoint.Marked)
	p.s.mark = &m
	for _, name := range remove {
		if err := p.folder(filepath.Dir(name)).Remove(filepath.Base(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return done, err
		}
		failpoint.Reach(failpoint.Pruned)
	}
	return done, errors.Join(p.folder(DirHistory).Sync(), p.folder(DirEvents).Sync())
}

// size returns the size of a file, -1 if it is not there.
func (p *Packer) size(name string) (int64, error) {
	info, err := p.s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// archived reports whether all checkpoints of a segment are archived.
func (p *Packer) archived(ctx context.Context, s Span, archived func(verifier.Hash) bool) (bool, error) {
	f, _, err := openRegular(p.s.history, s.CAR())
	if err != nil {
		return false, err
	}
	defer f.Close()
	all := true
	err = history.EachBlock(f, func(_ []byte, f *verifier.Finding) error {
		all = all && archived(f.ContentHash)
		return ctx.Err()
	})
	return all, err
}

func (p *Packer) archivedEvents(ctx context.Context, s Span, archived func(uint64, io.ReaderAt, int64) (bool, error)) (bool, error) {
	r, _, err := openPackFile(p.s.events, s)
	if err != nil {
		return false, err
	}
	defer r.Close()
	for _, first := range r.Ticks() {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		f, size, err := r.Segment(first)
		if err != nil {
			return false, err
		}
		if ok, err := archived(first, f, size); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// keepPayloads makes files of payloads that what is not packed names, and that are in a pack
// which is pruned.
func (p *Packer) keepPayloads(ctx context.Context, m *pack.Mark) error {
	names, err := p.folder(DirEvents).Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := eventlog.ParseFileName(name); !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, size, err := openRegular(p.s.events, name)
		if err != nil {
			return err
		}
		payloads, _, err := eventlog.Scan(io.NewSectionReader(f, 0, size))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		for _, hash := range payloads {
			if _, err := p.s.payloads.Lstat(hash.String()); err == nil {
				continue
			}
			content, size, err := p.payload(hash)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was lost
			}
			if err == nil {
				err = wal.WriteFile(p.folder(dirPayloads), extNext, hash.String(), io.NewSectionReader(content, 0, size), true)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// beginsLater says where the history begins once it is pruned.
func (p *Packer) beginsLater(m *pack.Mark) error {
	first, tick := verifier.Hash{}, uint64(0)
	for _, f := range m.Index.Files {
		if f.Pruned {
			tick = f.Last
			continue
		}
		h, err := p.firstHash(Span{f.First, f.Last})
		if err != nil {
			return err
		}
		first = h
		break
	}
	if first.IsZero() {
		ticks, err := p.s.Ticks()
		if err != nil {
			return err
		}
		at, _ := slices.BinarySearch(ticks, tick+1)
		b, err := p.s.checkpoint(ticks[min(at, len(ticks)-1)])
		if err != nil {
			return err
		}
		first = verifier.Examine(b).ContentHash
	}
	b, err := json.Marshal(beginningFile{hex.EncodeToString(m.Genesis[:]), hex.EncodeToString(first[:])})
	if err != nil {
		return err
	}
	return wal.WriteFile(p.folder("."), fileRestored+extNext, fileRestored, bytes.NewReader(append(b, '\n')), true)
}

// Archived collects the checkpoints that a copy of a history has, which is a folder or a CAR:
// each is read, and has the content of its hash.
func Archived(ctx context.Context, path string) (map[verifier.Hash]bool, error) {
	all := map[verifier.Hash]bool{}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	car := func(path string) error {
		f, err := history.Open(path)
		if err != nil {
			return hinted(err)
		}
		defer f.Close()
		var found []verifier.Hash
		err = history.EachBlock(f, func(_ []byte, f *verifier.Finding) error {
			if f.Authentic() {
				found = append(found, f.ContentHash)
			}
			return ctx.Err()
		})
		if err != nil {
			return cmp.Or(ctx.Err(), fmt.Errorf("%s: %w", path, err))
		}
		for _, h := range found {
			all[h] = true
		}
		return nil
	}
	if !info.IsDir() {
		return all, car(path)
	}
	err = history.Walk(path, func(e history.Entry) error {
		info, err := os.Lstat(e.Path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || !info.Mode().IsRegular(): // a link may lead to what is to be removed
			return err
		case e.Segment || e.Kind == verifier.KindCAR:
			return car(e.Path)
		case e.Kind == verifier.KindCheckpoint:
			b, err := os.ReadFile(e.Path)
			if err != nil {
				return err
			}
			if f := verifier.Examine(b); f.Authentic() {
				all[f.ContentHash] = true
			}
		}
		return nil
	}, verifier.KindCheckpoint)
	return all, hinted(err)
}

// Same reports whether two files have the same bytes.
func Same(a, b io.ReaderAt, size int64) (bool, error) { return equal(a, b, size) }

package store

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/wal"
	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

const (
	// FileMark is the mark that says how far the life is packed: docs/spec/packed.md.
	FileMark = "packed"

	extCAR  = ".car"
	extPack = ".pack"
)

// A Span is the ticks of the first and the last checkpoint of a segment of the history.
// The segment and the pack beside it are named after it.
type Span struct{ First, Last uint64 }

// CAR returns the name of the segment, in [DirHistory].
func (s Span) CAR() string { return s.name(extCAR) }

// Pack returns the name of the pack, in [DirEvents].
func (s Span) Pack() string { return s.name(extPack) }

func (s Span) name(ext string) string { return fmt.Sprintf("%010d-%010d%s", s.First, s.Last, ext) }

func (s Span) has(other Span) bool { return s.First <= other.First && other.Last <= s.Last }

func parseSpan(name, ext string) (s Span, ok bool) {
	first, last, ok := strings.Cut(strings.TrimSuffix(name, ext), "-")
	if !ok {
		return s, false
	}
	var errs [2]error
	s.First, errs[0] = strconv.ParseUint(first, 10, 64)
	s.Last, errs[1] = strconv.ParseUint(last, 10, 64)
	return s, errors.Join(errs[:]...) == nil && s.First <= s.Last && name == s.name(ext)
}

// allSpans lists the segments, or the packs, in a folder by their names.
func allSpans(root *os.Root, ext string) (all []Span, err error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if s, ok := parseSpan(e.Name(), ext); ok && !e.IsDir() {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Span) int {
		return cmpOr(a.First, b.First, b.Last, a.Last)
	})
	return all, err
}

func cmpOr(a, b, c, d uint64) int {
	switch {
	case a != b && a < b, a == b && c < d:
		return -1
	case a == b && c == d:
		return 0
	}
	return 1
}

// spans leaves out those that are in a longer one: what a killed process leaves.
func spans(root *os.Root, ext string) ([]Span, error) {
	all, err := allSpans(root, ext)
	kept := all[:0]
	for _, s := range all {
		if n := len(kept); n == 0 || !kept[n-1].has(s) {
			kept = append(kept, s)
		}
	}
	return kept, err
}

// Packs are the packs in the folder of an event log. They may be read while their agent
// lives, and puts them together.
type Packs struct {
	events *os.Root

	mu   sync.Mutex
	list []Span
	open []openPack // the one that was used last, last
}

type openPack struct {
	Span
	*pack.Reader
}

// maxOpenPacks is how many indexes are kept.
const maxOpenPacks = 8

// NewPacks looks for packs in the folder of an event log, which stays the caller's.
func NewPacks(events *os.Root) *Packs { return &Packs{events: events} }

// Close closes those that are open. They are opened again where that is needed.
func (p *Packs) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, o := range p.open {
		errs = append(errs, o.Close())
	}
	p.open = nil
	return errors.Join(errs...)
}

// spans lists the packs; again, if what was listed may not be there any more.
func (p *Packs) spans(again bool) (_ []Span, err error) {
	if p.list == nil || again {
		p.list, err = spans(p.events, extPack)
	}
	return p.list, err
}

// Spans lists the packs.
func (p *Packs) Spans() ([]Span, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, err := p.spans(true)
	return slices.Clone(list), err
}

// Ticks returns the first ticks of the segments in a pack, in order.
func (p *Packs) Ticks(s Span) ([]uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := p.reader(s)
	if err != nil {
		return nil, err
	}
	return r.Ticks(), nil
}

func (p *Packs) reader(s Span) (*pack.Reader, error) {
	if i := slices.IndexFunc(p.open, func(o openPack) bool { return o.Span == s }); i >= 0 {
		o := p.open[i]
		p.open = append(slices.Delete(p.open, i, i+1), o)
		return o.Reader, nil
	}
	r, _, err := openPackFile(p.events, s)
	if err != nil {
		return nil, err
	}
	if len(p.open) == maxOpenPacks {
		p.open = slices.Delete(p.open, 0, 1) // its file is closed when nobody reads it any more
	}
	p.open = append(p.open, openPack{s, r})
	return r, nil
}

func openPackFile(events *os.Root, s Span) (*pack.Reader, int64, error) {
	f, size, err := openRegular(events, s.Pack())
	if err != nil {
		return nil, 0, err
	}
	r, err := pack.Open(f, size)
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("%s: %w", filepath.Join(DirEvents, s.Pack()), err)
	}
	return r, size, nil
}

func openRegular(root *os.Root, name string) (*os.File, int64, error) {
	info, err := root.Lstat(name) // before it is opened: opening a pipe would wait
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, errors.Join(err, errors.New("not a regular file"))
	}
	return f, info.Size(), nil
}

// Segment opens a segment of the event log.
func (p *Packs) Segment(first uint64) (wal.File, error) {
	return p.find(func(list []Span) []Span {
		// It ends with the first checkpoint from its first tick on.
		i, _ := slices.BinarySearchFunc(list, first, func(s Span, tick uint64) int { return cmpOr(s.Last, tick, 0, 0) })
		return list[i:min(i+1, len(list))]
	}, func(r *pack.Reader) (io.ReaderAt, int64, error) { return r.Segment(first) })
}

// Payload opens a payload.
func (p *Packs) Payload(hash verifier.Hash) (wal.File, error) {
	return p.find(func(list []Span) []Span {
		list = slices.Clone(list)
		slices.Reverse(list)
		if n := len(p.open); n > 0 { // where its segment is, most likely
			list = append([]Span{p.open[n-1].Span}, list...)
		}
		return list
	}, func(r *pack.Reader) (io.ReaderAt, int64, error) { return r.Payload(hash) })
}

// find looks for a file in some of the packs, and once more if they are others meanwhile.
func (p *Packs) find(some func([]Span) []Span, in func(*pack.Reader) (io.ReaderAt, int64, error)) (wal.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, again := range []bool{false, true} {
		had := p.list
		list, err := p.spans(again)
		if err != nil {
			return nil, err
		}
		if again && slices.Equal(list, had) {
			break
		}
		for _, s := range some(list) {
			r, err := p.reader(s)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			content, size, err := in(r)
			if err == nil {
				return packedFile{content, size}, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: %w", filepath.Join(DirEvents, s.Pack()), err)
			}
		}
	}
	return nil, fs.ErrNotExist
}

// A packedFile is a file in a pack.
type packedFile struct {
	io.ReaderAt
	size int64
}

func (f packedFile) Size() (int64, error)               { return f.size, nil }
func (f packedFile) Close() error                       { return nil }
func (f packedFile) WriteAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }
func (f packedFile) Truncate(int64) error               { return fs.ErrPermission }
func (f packedFile) Sync() error                        { return nil }

// EventLog returns the agent's event log.
func (s *Store) EventLog() (*eventlog.Log, error) {
	segments, payloads, _, err := s.Events()
	if err != nil {
		return nil, err
	}
	log := eventlog.New(segments, payloads)
	if s.packs == nil {
		s.packs = NewPacks(s.events)
	}
	log.Packed = s.packs
	return log, nil
}

// TicksFrom returns the ticks of the checkpoints from a tick on, and of the last one before
// that.
func (s *Store) TicksFrom(tick uint64) ([]uint64, error) {
	ticks, err := s.Ticks()
	if err != nil {
		return nil, err
	}
	segments, err := spans(s.history, extCAR)
	if err != nil {
		return nil, err
	}
	for i, segment := range segments {
		if segment.Last < tick && i+1 < len(segments) {
			continue
		}
		for f, err := range listSegment(s.history, s.path(DirHistory), segment) {
			if err != nil {
				return nil, err
			}
			ticks = append(ticks, f.Tick)
		}
		if i > 0 && segment.First >= tick {
			ticks = append(ticks, segments[i-1].Last)
		}
	}
	slices.Sort(ticks)
	ticks = slices.Compact(ticks)
	from, _ := slices.BinarySearch(ticks, tick)
	return ticks[max(0, from-1):], nil
}

// A CheckpointFile is a checkpoint in a folder: a file of its own, or in a segment.
type CheckpointFile struct {
	Path       string
	Tick       uint64
	Hash, Prev verifier.Hash

	segment      bool
	offset, size int64 // in the segment
}

// Read reads the checkpoint.
func (f *CheckpointFile) Read() ([]byte, error) {
	b, err := f.read()
	if !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	// It was packed meanwhile, or its segment is in a longer one.
	dir := filepath.Dir(f.Path)
	root, openErr := os.OpenRoot(dir)
	if openErr != nil {
		return nil, err
	}
	defer root.Close()
	list, listErr := spans(root, extCAR)
	if listErr != nil {
		return nil, err
	}
	for _, s := range list {
		if s.First > f.Tick || f.Tick > s.Last {
			continue
		}
		for found, findErr := range listSegment(root, dir, s) {
			if findErr == nil && found.Hash == f.Hash {
				return found.read()
			}
		}
	}
	return nil, err
}

func (f *CheckpointFile) read() ([]byte, error) {
	if !f.segment {
		return os.ReadFile(f.Path)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, f.size)
	if _, err := file.ReadAt(b, f.offset); err != nil {
		return nil, err
	}
	if verifier.Hash(sha256.Sum256(b)) != f.Hash {
		return nil, damaged(f.Path, "%s: the checkpoint of tick %d is not the one that its CID says", f.Path, f.Tick)
	}
	return b, nil
}

// listSegment lists the checkpoints of a segment as it says, in order.
func listSegment(root *os.Root, dir string, s Span) iter.Seq2[CheckpointFile, error] {
	return listCAR(root, dir, s.CAR())
}

func listCAR(root *os.Root, dir, name string) iter.Seq2[CheckpointFile, error] {
	return func(yield func(CheckpointFile, error) bool) {
		path := filepath.Join(dir, name)
		f, size, err := openRegular(root, name)
		if err != nil {
			yield(CheckpointFile{}, fmt.Errorf("%s: %w", path, bare(err)))
			return
		}
		defer f.Close()
		for e, err := range segment.List(f, size) {
			if err != nil {
				yield(CheckpointFile{}, &DamagedError{path, fmt.Errorf("%s: %w", path, err)})
				return
			}
			if !yield(CheckpointFile{Path: path, Tick: e.Tick, Hash: e.UnverifiedHash, segment: true, offset: e.Offset, size: e.Size}, nil) {
				return
			}
		}
	}
}

// A History is the folder of an agent's checkpoints, to read it. What is in it is not
// verified.
type History struct {
	dir      string
	root     *os.Root
	Loose    []uint64 // ticks of those that are files of their own
	Segments []Span
}

// OpenHistory opens the history in an agent's folder.
func OpenHistory(dir string) (*History, error) {
	dir = filepath.Join(dir, DirHistory)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	h := &History{dir: dir, root: root}
	// Segments last: what is packed meanwhile is there twice, and not at all otherwise.
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if tick, ok := parseFileName(e.Name()); ok && e.Type().IsRegular() {
			h.Loose = append(h.Loose, tick)
		}
	}
	if err == nil {
		h.Segments, err = spans(root, extCAR)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	slices.Sort(h.Loose)
	if n := len(h.Segments); n > 0 {
		last := h.Segments[n-1].Last
		h.Loose = slices.DeleteFunc(h.Loose, func(tick uint64) bool { return h.inSegment(tick, last) })
	}
	return h, nil
}

// Packed reports whether a file of that name is of a checkpoint that is in a segment.
func (h *History) Packed(name string) bool {
	tick, ok := parseFileName(name)
	return ok && len(h.Segments) > 0 && h.inSegment(tick, h.Segments[len(h.Segments)-1].Last)
}

// inSegment reports whether a segment has the tick by its name.
func (h *History) inSegment(tick, last uint64) bool {
	if tick > last {
		return false
	}
	i, _ := slices.BinarySearchFunc(h.Segments, tick, func(s Span, tick uint64) int { return cmpOr(s.Last, tick, 0, 0) })
	return i < len(h.Segments) && h.Segments[i].First <= tick
}

// Close closes the folder.
func (h *History) Close() error { return h.root.Close() }

func parseFileName(name string) (tick uint64, ok bool) {
	if !history.IsCheckpoint(name) {
		return 0, false
	}
	tick, err := strconv.ParseUint(strings.TrimSuffix(name, history.Ext), 10, 64)
	return tick, err == nil && name == FileName(tick)
}

// Backward lists the checkpoints, the newest first. Of those that are files of their own
// the hash is not known.
func (h *History) Backward() iter.Seq2[CheckpointFile, error] {
	return func(yield func(CheckpointFile, error) bool) {
		loose, segments := h.Loose, h.Segments
		for len(loose)+len(segments) > 0 {
			if n := len(loose); n > 0 && (len(segments) == 0 || loose[n-1] > segments[len(segments)-1].Last) {
				if !yield(CheckpointFile{Path: filepath.Join(h.dir, FileName(loose[n-1])), Tick: loose[n-1]}, nil) {
					return
				}
				loose = loose[:n-1]
				continue
			}
			s := segments[len(segments)-1]
			segments = segments[:len(segments)-1]
			var all []CheckpointFile
			for f, err := range listSegment(h.root, h.dir, s) {
				if err != nil {
					yield(f, err)
					return
				}
				all = append(all, f)
			}
			for _, f := range slices.Backward(all) {
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// readMark reads the mark, if there is one and its files are there as it says; else it is
// nil, and all of the history is to be verified. The error says that the file is there, and
// is no mark of the agent's.
func (s *Store) readMark(agent verifier.PublicKey) (*pack.Mark, error) {
	m, err := s.signedMark(agent)
	if m == nil || len(s.others(m)) > 0 {
		return nil, err
	}
	return m, nil
}

func (s *Store) signedMark(agent verifier.PublicKey) (*pack.Mark, error) {
	b, err := readRegular(s.root, FileMark, pack.MaxMark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return pack.ParseMark(b, agent)
}

// An Other is a file that a mark names and that is not there, or is not the one.
type Other struct {
	Span
	Name string // in the agent's folder
	Err  error
	Hash verifier.Hash // of the one
}

// others returns the files that are not as a mark says, as far as their sizes tell.
func (s *Store) others(m *pack.Mark) (all []Other) {
	for _, f := range m.Index.Files {
		span := Span{f.First, f.Last}
		check := func(dir, name string, size uint64, hash verifier.Hash) bool {
			name = filepath.Join(dir, name)
			err := hasSize(s.root, name, size)
			if err != nil {
				all = append(all, Other{span, name, err, hash})
			}
			return err == nil
		}
		if !f.Pruned && check(DirHistory, span.CAR(), f.CAR, f.CARHash) && !s.hasRoot(span, f.Head) {
			all = append(all, Other{span, filepath.Join(DirHistory, span.CAR()), errors.New("it does not end with the checkpoint that it had when it was packed"), f.CARHash})
		}
		if f.Pack > 0 && !f.PackPruned {
			check(DirEvents, span.Pack(), f.Pack, f.PackHash)
		}
	}
	return all
}

// hasRoot looks at the beginning of a segment: it says which checkpoint is its last.
func (s *Store) hasRoot(span Span, head verifier.Hash) bool {
	f, _, err := openRegular(s.history, span.CAR())
	if err != nil {
		return false
	}
	defer f.Close()
	want := verifier.AppendCARHeader(nil, head)
	got := make([]byte, len(want))
	_, err = f.ReadAt(got, 0)
	return err == nil && bytes.Equal(got, want)
}

func hasSize(root *os.Root, name string, size uint64) error {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it is missing")
	case err != nil:
		return bare(err)
	case !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case uint64(info.Size()) != size:
		return fmt.Errorf("it has %d bytes, and had %d when it was packed", info.Size(), size)
	}
	return nil
}

// Mark returns the mark by which the history was recovered, nil if all of it was verified.
func (s *Store) Mark() *pack.Mark { return s.mark }

// ReceiptsOf is what a mark says of the file of receipts, nil without a mark.
func ReceiptsOf(m *pack.Mark) *receipt.Beginning {
	if m == nil {
		return nil
	}
	last := m.Index.Files[len(m.Index.Files)-1]
	return &receipt.Beginning{End: int64(min(last.Receipts, math.MaxInt64)), Tick: last.Last, Executions: last.Executions, Payments: m.Index.Payments}
}

// ReadMark reads the mark in an agent's folder. Without one, or where it is not of the files
// that are there, it is nil. The error says that the file is no mark of the given agent's.
func ReadMark(dir string, agent verifier.PublicKey) (*pack.Mark, error) {
	m, others, err := SignedMark(dir, agent)
	if len(others) > 0 {
		return nil, nil
	}
	return m, err
}

// SignedMark reads the mark in an agent's folder as [ReadMark] does, also where some of its
// files are not there as it says: it returns which.
func SignedMark(dir string, agent verifier.PublicKey) (m *pack.Mark, others []Other, err error) {
	s := &Store{dir: dir}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, nil, nil
	}
	defer s.root.Close()
	if s.history, err = s.root.OpenRoot(DirHistory); err != nil {
		return nil, nil, nil
	}
	defer s.history.Close()
	if m, err = s.signedMark(agent); m != nil {
		others = s.others(m)
	}
	return m, others, err
}

// chain follows the checkpoints of some ticks, which are files of their own, from the
// hash of the one before them. It is false if they are not one chain of the agent's.
func (s *Store) chain(ctx context.Context, agent verifier.PublicKey, prev verifier.Hash, tick uint64, ticks []uint64) (bool, error) {
	for _, next := range ticks {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		b, err := s.checkpoint(next)
		if err != nil {
			return false, err
		}
		f := verifier.Examine(b)
		if !f.Authentic() || f.AgentPubKey != agent || f.PrevHash != prev || f.TickNumber <= tick || f.TickNumber != next ||
			f.Has(verifier.NegativeBudget) || f.Has(verifier.NegativePrice) {
			return false, nil
		}
		prev, tick = f.ContentHash, f.TickNumber
	}
	return true, nil
}

// packedHead reads the checkpoint that the mark ends with.
func (s *Store) packedHead(m *pack.Mark) ([]byte, error) {
	last := m.Index.Files[len(m.Index.Files)-1]
	var head CheckpointFile
	for f, err := range listSegment(s.history, s.path(DirHistory), Span{last.First, last.Last}) {
		if err != nil {
			return nil, err
		}
		head = f
	}
	if head.Hash != m.Head {
		return nil, errors.New("it does not end as the mark says")
	}
	return head.Read()
}

// recoverMarked finds where a life goes on by its mark, and by what came after that. It is
// not done if anything is not as the mark says: then all of it is verified.
func (s *Store) recoverMarked(ctx context.Context, key ed25519.PublicKey, ticks []uint64) (r Recovery, done bool, err error) {
	agent := verifier.PublicKey(key)
	m, err := s.readMark(agent)
	if err != nil || m == nil {
		return r, false, nil
	}
	at, _ := slices.BinarySearch(ticks, m.Tick+1)
	tail := ticks[at:]
	if m.Tick == math.MaxUint64 || len(tail) == 0 {
		return r, false, nil
	}
	name := FileName(tail[len(tail)-1])
	newest, err := s.checkpoint(tail[len(tail)-1])
	if err != nil {
		return r, false, err
	}
	if f := verifier.Examine(newest); !f.Authentic() {
		if len(tail) == 1 {
			return r, false, nil
		}
		r.Damage = Damage(&f)
		tail = tail[:len(tail)-1]
	}
	if ok, err := s.chain(ctx, agent, m.Head, m.Tick, tail); err != nil || !ok {
		return Recovery{}, false, err
	}
	if r.Newest, err = s.checkpoint(tail[len(tail)-1]); err != nil {
		return r, false, err
	}
	if len(tail) > 1 {
		r.Before, err = s.checkpoint(tail[len(tail)-2])
	} else if r.Before, err = s.packedHead(m); err != nil {
		return Recovery{}, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if r.Damage != "" {
		if r.Damaged, err = s.setAside(name); err != nil {
			return r, false, err
		}
	}
	r.Hash, r.Tick, r.First = sha256.Sum256(r.Newest), tail[len(tail)-1], m.Genesis
	s.mark, s.head, s.recovered = m, r.Hash, true
	return r, true, nil
}

// A signer signs with an agent's key.
type signer = crypto.Signer

// A TailError says that what came after the newest packed checkpoint is not one chain.
type TailError struct{ error }

// VerifyTail verifies the checkpoints that came after a mark, of an agent's folder, and
// returns how many they are.
func VerifyTail(ctx context.Context, dir string, m *pack.Mark) (n int, err error) {
	s := &Store{dir: dir}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return 0, err
	}
	defer s.root.Close()
	if s.history, err = s.root.OpenRoot(DirHistory); err != nil {
		return 0, err
	}
	defer s.history.Close()
	ticks, err := s.Ticks()
	if err != nil {
		return 0, err
	}
	at, _ := slices.BinarySearch(ticks, m.Tick+1)
	ok, err := s.chain(ctx, m.Agent, m.Head, m.Tick, ticks[at:])
	if err == nil && !ok {
		err = &TailError{fmt.Errorf("the checkpoints after tick %d do not follow the packed ones", m.Tick)}
	}
	return len(ticks) - at, err
}

// After yields the checkpoints in an agent's folder that come after a tick, in order, or
// all of them. They may be read while the agent lives, and packs them.
func After(dir string, tick uint64, all bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			h, err := OpenHistory(dir)
			if err != nil {
				yield(nil, err)
				return
			}
			again, more := h.after(tick, all, func(b []byte, at uint64) bool {
				tick, all = at, false
				return yield(b, nil)
			}, func(err error) { yield(nil, err) })
			h.Close()
			if !again || !more {
				return
			}
		}
	}
}

// after gives the checkpoints after a tick, until one is not there any more that was listed:
// then it is to be done again from there.
func (h *History) after(tick uint64, all bool, each func(b []byte, tick uint64) bool, failed func(error)) (again, more bool) {
	give := func(f *CheckpointFile) (stop, gone bool) {
		if !all && f.Tick <= tick {
			return false, false
		}
		b, err := f.Read()
		if errors.Is(err, fs.ErrNotExist) {
			return true, true
		}
		if err != nil {
			failed(err)
			return true, false
		}
		return !each(b, f.Tick), false
	}
	loose := h.Loose
	for len(loose)+len(h.Segments) > 0 {
		if len(h.Segments) == 0 || len(loose) > 0 && loose[0] < h.Segments[0].First {
			if stop, gone := give(&CheckpointFile{Path: filepath.Join(h.dir, FileName(loose[0])), Tick: loose[0]}); stop {
				return gone, gone
			}
			loose = loose[1:]
			continue
		}
		s := h.Segments[0]
		h.Segments = h.Segments[1:]
		if !all && s.Last <= tick {
			continue
		}
		for f, err := range listSegment(h.root, h.dir, s) {
			if errors.Is(err, fs.ErrNotExist) {
				return true, true
			}
			if err != nil {
				failed(err)
				return false, false
			}
			if stop, gone := give(&f); stop {
				return gone, gone
			}
		}
	}
	return false, false
}

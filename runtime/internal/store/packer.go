package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/wal"
	"igor.dev/segment"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

const (
	// packUnit is how many checkpoints are packed at least, and packLoose how many of the
	// newest are never.
	packUnit  = 8
	packLoose = 4

	// A segment of fullSegment checkpoints, or of fullBytes, is left as it is. Shorter ones
	// become one with those that come after them, when these are as many: so a life of n
	// checkpoints has some log2(fullSegment/packUnit) more files than full segments, and
	// each is written that often.
	fullSegment = 4096
	fullBytes   = 32 << 20
)

// A Packer puts old checkpoints of a life and their part of the event log together, beside
// the life: what it takes is durable, and it adds files and removes others, and changes
// none. It is not safe for concurrent use.
//
// The order on the disk is: the pack and the segment, each durable under its own name; the
// mark, which is what commits them; then what they have is removed. A process that ends in
// between leaves things there twice, and the next one removes them.
type Packer struct {
	s      *Store
	key    signer
	paused error // what is there cannot be packed
	fit    bool  // the file of receipts is as the mark says

	// What is known of the folder, so as not to list all that waits in it for each segment.
	clean bool     // nothing is left in it of packing
	ticks []uint64 // of checkpoints that are files of their own, without the newest

	// Through is as that of the [Store].
	Through func(name string, folder wal.Folder) wal.Folder

	// Room, if it is set, says whether so many bytes may be written for a while.
	Room func(bytes int64) bool
}

// Packer returns what packs the life, once it is recovered.
func (s *Store) Packer(key signer) (*Packer, error) {
	if _, _, _, err := s.Events(); err != nil {
		return nil, err
	}
	return &Packer{s: s, key: key, Through: s.Through}, nil
}

// folder returns a folder to write to.
func (p *Packer) folder(name string) wal.Folder {
	root := map[string]*os.Root{".": p.s.root, DirHistory: p.s.history, DirEvents: p.s.events, dirPayloads: p.s.payloads}[name]
	folder := wal.DirIn(root, p.s.Syncs)
	if p.Through != nil {
		folder = p.Through(name, folder)
	}
	return folder
}

// A part is a segment that was packed, or a checkpoint, that goes into a new segment.
type part struct {
	files *pack.Files // nil = a checkpoint
	tick  uint64
	size  int64 // of the checkpoint
	bytes int64 // of its part of the event log
}

// Pack packs some of the checkpoints up to a tick, all of which are durable, and says
// whether there may be more to do. The newest ones stay as they are.
func (p *Packer) Pack(ctx context.Context, upTo uint64) (more bool, err error) {
	if p.paused != nil {
		return false, nil
	}
	if !p.clean {
		if err := p.begin(ctx); err != nil {
			return false, err
		}
	}
	if p.clean = false; len(p.ticks) <= fullSegment+packLoose {
		if p.ticks, err = p.s.Ticks(); err != nil {
			return false, err
		}
	}
	after, _ := slices.BinarySearch(p.ticks, p.tick()+1)
	if p.s.mark == nil {
		after = 0
	}
	until, found := slices.BinarySearch(p.ticks, upTo)
	if found {
		until++
	}
	waiting := p.ticks[after:max(after, min(until, len(p.ticks)-packLoose))]
	parts, err := p.choose(waiting)
	if err == nil && len(parts) > 0 {
		more, err = true, p.make(ctx, parts)
	}
	p.clean = err == nil
	return more && err == nil, err
}

// tick returns the newest that is packed.
func (p *Packer) tick() uint64 {
	if p.s.mark == nil {
		return 0
	}
	return p.s.mark.Tick
}

// choose says what the next segment is made of.
func (p *Packer) choose(waiting []uint64) ([]part, error) {
	var loose []part
	total, bytes := segment.HeaderSize, int64(0)
	prev := p.tick()
	for _, tick := range waiting {
		info, err := p.s.history.Stat(FileName(tick))
		if err != nil {
			return nil, err
		}
		one := part{tick: tick, size: info.Size()}
		first := prev + 1
		if p.s.mark == nil && len(loose) == 0 {
			first = 0
		}
		if info, err := p.s.events.Stat(eventlog.FileName(first)); err == nil {
			one.bytes = info.Size()
		}
		total, bytes = total+segment.BlockSize(one.size), bytes+one.bytes
		if len(loose) > 0 && (len(loose) == fullSegment || total > fullBytes || bytes > fullBytes) {
			break
		}
		loose, prev = append(loose, one), tick
	}
	full := len(loose) < len(waiting)
	if !full {
		loose = loose[:len(loose)-len(loose)%packUnit]
	}
	if len(loose) == 0 {
		return nil, nil
	}
	total, bytes = 0, 0
	for _, one := range loose {
		total, bytes = total+segment.BlockSize(one.size), bytes+one.bytes
	}
	parts, n := loose, uint64(len(loose))
	if p.s.mark != nil {
		files := p.s.mark.Index.Files
		for i := range slices.Backward(files) {
			f := &files[i]
			total, bytes = total+int64(f.CAR), bytes+int64(f.Pack)
			if f.Pruned || f.PackPruned || f.Checkpoints > n || f.Checkpoints+n > fullSegment || total > fullBytes || bytes > fullBytes {
				break
			}
			parts, n = append([]part{{files: f}}, parts...), n+f.Checkpoints
		}
	}
	need := int64(0)
	for _, one := range parts {
		if need += segment.BlockSize(one.size) + one.bytes; one.files != nil {
			need += int64(one.files.CAR + one.files.Pack)
		}
	}
	if p.Room != nil && !p.Room(need) {
		return nil, nil
	}
	return parts, nil
}

// make makes a segment and its pack of the parts.
func (p *Packer) make(ctx context.Context, parts []part) error {
	made, firsts, err := p.write(ctx, parts)
	if err != nil {
		return err
	}
	m := pack.Mark{Agent: publicKey(p.key), Head: made.Head, Tick: made.Last}
	if old := p.s.mark; old != nil {
		m = *old
		m.Head, m.Tick = made.Head, made.Last
	} else if m.Genesis, err = p.genesis(parts[0].tick); err != nil {
		return err
	}
	m.Index.Files = slices.Clone(m.Index.Files)
	m.Index.Payments = slices.Clone(m.Index.Payments)
	for len(m.Index.Files) > 0 && m.Index.Files[len(m.Index.Files)-1].First >= made.First {
		m.Index.Files = m.Index.Files[:len(m.Index.Files)-1]
	}
	if err := p.receipts(&m.Index, &made); err != nil {
		return err
	}
	m.Index.Files = append(m.Index.Files, made)
	m.Checkpoints = 0
	for _, f := range m.Index.Files {
		m.Checkpoints += f.Checkpoints
	}
	if err := p.writeMark(&m); err != nil {
		return fmt.Errorf("%s: %w", p.s.path(FileMark), err)
	}
	failpoint.Reach(failpoint.Marked)
	old := p.files()
	p.s.mark = &m
	return p.remove(ctx, old, firsts)
}

// writeMark signs a mark, and makes it durable.
func (p *Packer) writeMark(m *pack.Mark) error {
	b, err := m.Sign(p.key)
	if err != nil {
		return err
	}
	return wal.WriteFile(p.folder("."), FileMark+extNext, FileMark, bytes.NewReader(b), true)
}

// genesis returns the life's, of which the first checkpoint that is there has the tick.
func (p *Packer) genesis(tick uint64) (verifier.Hash, error) {
	restored, err := p.s.restored()
	if err != nil {
		return verifier.Hash{}, err
	}
	if restored != nil {
		return restored.Genesis, nil
	}
	b, err := p.s.checkpoint(tick)
	return sha256.Sum256(b), err
}

// write writes the segment and the pack, durably, under their own names. firsts are the first
// ticks of the segments of the event log that are packed.
func (p *Packer) write(ctx context.Context, parts []part) (made pack.Files, firsts []uint64, err error) {
	last := parts[len(parts)-1]
	head, err := p.s.checkpoint(last.tick)
	if err != nil {
		return made, nil, err
	}
	made.Head, made.Last = sha256.Sum256(head), last.tick
	made.First = parts[0].tick
	if f := parts[0].files; f != nil {
		made.First = f.First
	}
	span := Span{made.First, made.Last}

	// first is the first tick of the next checkpoint's part of the event log.
	first := p.firstTick(made.First)
	size, sum, err := p.file(p.folder(DirEvents), p.s.events, span.Pack(), func(out io.Writer) error {
		w := pack.NewWriter(out)
		for _, one := range parts {
			if err := ctx.Err(); err != nil {
				return err
			}
			if one.files != nil {
				lines, err := p.copyPack(w, one.files)
				if err != nil {
					return err
				}
				made.Lines += lines
				first = one.files.Last + 1
				continue
			}
			lines, err := p.addEvents(w, first)
			if err != nil {
				return err
			}
			made.Lines += lines
			firsts, first = append(firsts, first), one.tick+1
		}
		_, _, err := w.Close()
		return err
	})
	if err != nil {
		return made, nil, fmt.Errorf("%s: %w", p.s.path(filepath.Join(DirEvents, span.Pack())), err)
	}
	made.Pack, made.PackHash = uint64(size), sum
	failpoint.Reach(failpoint.PackNamed)

	var info segment.Info
	size, sum, err = p.file(p.folder(DirHistory), p.s.history, span.CAR(), func(out io.Writer) (err error) {
		info, err = segment.Write(out, made.Head, func(yield func([]byte, error) bool) {
			for _, one := range parts {
				if err := ctx.Err(); err != nil {
					yield(nil, err)
					return
				}
				if one.files == nil {
					if b, err := p.s.checkpoint(one.tick); !yield(b, err) {
						return
					}
					continue
				}
				for f, err := range listSegment(p.s.history, p.s.path(DirHistory), Span{one.files.First, one.files.Last}) {
					var b []byte
					if err == nil {
						b, err = f.Read()
					}
					if !yield(b, err) {
						return
					}
				}
			}
		})
		return err
	})
	if err == nil {
		err = p.follows(&info)
	}
	if err != nil {
		return made, nil, fmt.Errorf("%s: %w", p.s.historyPath(span.CAR()), err)
	}
	made.CAR, made.CARHash, made.Checkpoints = uint64(size), sum, uint64(info.Checkpoints)
	failpoint.Reach(failpoint.SegmentNamed)
	return made, firsts, nil
}

// follows holds a new segment against what is packed before it.
func (p *Packer) follows(info *segment.Info) error {
	if info.Agent != publicKey(p.key) {
		return errors.New("the checkpoints are another agent's")
	}
	if p.s.mark == nil {
		return nil
	}
	prev := p.s.mark.Head
	for i, f := range p.s.mark.Index.Files {
		if f.First == info.First {
			if i == 0 {
				return nil
			}
			prev = p.s.mark.Index.Files[i-1].Head
		}
	}
	if info.Prev != prev {
		return errors.New("its first checkpoint does not follow the one before it")
	}
	return nil
}

// firstTick returns the first tick of the part of the event log before a checkpoint, which
// is the first of a segment.
func (p *Packer) firstTick(of uint64) uint64 {
	if p.s.mark == nil {
		return 0
	}
	first := uint64(0)
	for _, f := range p.s.mark.Index.Files {
		if f.First >= of {
			break
		}
		first = f.Last + 1
	}
	return first
}

// file writes a file, durably, and gives it its name. What has the name is replaced: it is
// of an attempt that was not finished. That the file is what was written is looked at
// once more, before anything is removed because it is there.
func (p *Packer) file(folder wal.Folder, root *os.Root, name string, write func(io.Writer) error) (size int64, sum verifier.Hash, err error) {
	next := name + extNext
	if err := folder.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, sum, err
	}
	f, err := folder.Create(next)
	if err != nil {
		return 0, sum, err
	}
	hash := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(io.NewOffsetWriter(f, 0), hash), 256<<10)
	err = write(out)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		size, err = f.Size()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, sum, errors.Join(err, folder.Remove(next))
	}
	failpoint.Reach(failpoint.FileWritten)
	hash.Sum(sum[:0])
	if err := p.is(root, next, sum); err != nil {
		return 0, sum, errors.Join(err, folder.Remove(next))
	}
	return size, sum, wal.Give(folder, next, name)
}

func (p *Packer) is(root *os.Root, name string, sum verifier.Hash) error {
	f, _, err := openRegular(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	if verifier.Hash(hash.Sum(nil)) != sum {
		return errors.New("it does not have what was written to it")
	}
	return nil
}

// addEvents adds a segment of the event log, and what it names, if it is there: as a file,
// or in a pack that no mark speaks of, such as that of an agent that moved here.
func (p *Packer) addEvents(w *pack.Writer, first uint64) (lines uint64, err error) {
	var f interface {
		io.ReaderAt
		io.Closer
	}
	f, size, err := openRegular(p.s.events, eventlog.FileName(first))
	if errors.Is(err, fs.ErrNotExist) {
		packed, packErr := NewPacks(p.s.events).Segment(first)
		if errors.Is(packErr, fs.ErrNotExist) {
			return 0, nil // it was lost, or its life began before there were event logs
		}
		if packErr != nil {
			return 0, packErr
		}
		f = packed
		size, err = packed.Size()
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := w.Segment(first, size, io.NewSectionReader(f, 0, size)); err != nil {
		return 0, err
	}
	return p.addPayloads(w, io.NewSectionReader(f, 0, size))
}

func (p *Packer) addPayloads(w *pack.Writer, events io.Reader) (lines uint64, err error) {
	payloads, lines, err := eventlog.Scan(events)
	if err != nil {
		return lines, err
	}
	for _, hash := range payloads {
		if w.HasPayload(hash) {
			continue
		}
		content, size, err := p.payload(hash)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was lost
		}
		if err == nil {
			err = w.Payload(hash, size, io.NewSectionReader(content, 0, size))
		}
		if c, ok := content.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		if err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// payload opens a payload, wherever it is.
func (p *Packer) payload(hash verifier.Hash) (io.ReaderAt, int64, error) {
	f, size, err := openRegular(p.s.payloads, hash.String())
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, size, err
	}
	packed, err := NewPacks(p.s.events).Payload(hash)
	if err != nil {
		return nil, 0, err
	}
	size, err = packed.Size()
	return packed, size, err
}

// copyPack adds all that is in a pack.
func (p *Packer) copyPack(w *pack.Writer, of *pack.Files) (lines uint64, err error) {
	if of.Pack == 0 {
		return 0, nil
	}
	r, _, err := openPackFile(p.s.events, Span{of.First, of.Last})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for _, first := range r.Ticks() {
		f, size, err := r.Segment(first)
		if err == nil {
			err = w.Segment(first, size, io.NewSectionReader(f, 0, size))
		}
		if err != nil {
			return 0, err
		}
	}
	for _, hash := range r.Payloads() {
		f, size, err := r.Payload(hash)
		if err == nil {
			err = w.Payload(hash, size, io.NewSectionReader(f, 0, size))
		}
		if err != nil {
			return 0, err
		}
	}
	return of.Lines, nil
}

// receipts finds out where the receipts are of what is packed. Where they are not as the
// mark says, for somebody mended or replaced them, it does so for all that is packed.
func (p *Packer) receipts(x *pack.Index, made *pack.Files) error {
	f, err := p.folder(".").Open(receipt.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	size := int64(0)
	if err == nil {
		defer f.Close()
		if size, err = f.Size(); err == nil {
			err = f.Sync() // the mark is to be of what is durable
		}
		if err != nil {
			return err
		}
	}
	all := []*pack.Files{made}
	from := uint64(0)
	if n := len(x.Files); n > 0 {
		from, made.Executions = x.Files[n-1].Receipts, x.Files[n-1].Executions
	}
	anew := from > uint64(size)
	if known := ReceiptsOf(p.s.mark); known != nil && !p.fit && !anew {
		anew = !known.Fits(f)
	}
	if p.fit = true; anew {
		all, from, made.Executions = nil, 0, 0
		for i := range x.Files {
			x.Files[i].Receipts, x.Files[i].Executions = 0, 0
			all = append(all, &x.Files[i])
		}
		all = append(all, made)
	}
	at, _ := slices.BinarySearch(x.Payments, from)
	x.Payments = x.Payments[:at]
	all[0].Receipts = from
	if size == 0 {
		return nil
	}
	for r := receipts.NewReader(io.NewSectionReader(f, int64(from), size-int64(from))); ; {
		got, err := r.Next()
		e, given := got.(*receipts.Execution)
		for len(all) > 1 && (err != nil || given && e.Tick > all[0].Last) {
			all[1].Receipts, all[1].Executions = all[0].Receipts, all[0].Executions
			all = all[1:]
		}
		if err != nil || given && e.Tick > made.Last {
			return nil // the end; what is wrong there is for others to say
		}
		if given {
			all[0].Executions++
		} else {
			x.Payments = append(x.Payments, all[0].Receipts)
		}
		all[0].Receipts = from + uint64(r.Offset())
	}
}

// begin finds out what is packed, if that is not known, and removes what a process left
// that was killed.
func (p *Packer) begin(ctx context.Context) error {
	segments, err := allSpans(p.s.history, extCAR)
	if err != nil {
		return err
	}
	if p.s.mark == nil && len(segments) > 0 {
		if err := p.adopt(ctx); err != nil {
			return err
		}
	}
	packs, err := allSpans(p.s.events, extPack)
	if err != nil {
		return err
	}
	for dir, root := range map[string]*os.Root{DirHistory: p.s.history, DirEvents: p.s.events} {
		if err := p.removeNext(dir, root); err != nil {
			return err
		}
	}
	if p.ticks, err = p.s.Ticks(); err != nil {
		return err
	}
	names, err := p.folder(DirEvents).Names()
	if err != nil {
		return err
	}
	var firsts []uint64
	for _, name := range names {
		if first, ok := eventlog.ParseFileName(name); ok && p.s.mark != nil && first <= p.s.mark.Tick {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return p.clear(ctx, segments, packs, firsts)
}

// remove removes what is in a new segment and its pack. old is what the mark before named.
func (p *Packer) remove(ctx context.Context, old []pack.Files, firsts []uint64) error {
	var superseded []Span
	for _, f := range old {
		superseded = append(superseded, Span{f.First, f.Last})
	}
	return p.clear(ctx, superseded, superseded, firsts)
}

// clear removes what is in the segments and packs that the mark names, of what is there.
func (p *Packer) clear(ctx context.Context, segments, packs []Span, firsts []uint64) error {
	if err := p.leftovers(ctx, DirHistory, extCAR, segments); err != nil {
		return err
	}
	if err := p.leftovers(ctx, DirEvents, extPack, packs); err != nil {
		return err
	}
	if p.s.mark == nil {
		return nil
	}
	until, _ := slices.BinarySearch(p.ticks, p.s.mark.Tick+1)
	if until > 0 {
		if err := p.cleanHistory(ctx, p.folder(DirHistory), p.ticks[:until]); err != nil {
			return err
		}
	}
	p.ticks = p.ticks[until:]
	return p.cleanEvents(ctx, firsts)
}

// cleanHistory removes checkpoints that are in a segment.
func (p *Packer) cleanHistory(ctx context.Context, folder wal.Folder, ticks []uint64) error {
	for _, f := range p.s.mark.Index.Files {
		at, _ := slices.BinarySearch(ticks, f.First)
		end, _ := slices.BinarySearch(ticks, f.Last+1)
		if at == end || f.Pruned {
			continue
		}
		there := ticks[at:end]
		for c, err := range listSegment(p.s.history, p.s.path(DirHistory), Span{f.First, f.Last}) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			i, ok := slices.BinarySearch(there, c.Tick)
			if !ok {
				continue
			}
			b, err := p.s.checkpoint(there[i])
			if err != nil {
				return err
			}
			if sha256.Sum256(b) != c.Hash {
				continue // another one: igor verify says so
			}
			packed, err := c.Read()
			if err != nil {
				return err
			}
			if !bytes.Equal(b, packed) {
				continue
			}
			if err := folder.Remove(FileName(c.Tick)); err != nil {
				return err
			}
			failpoint.Reach(failpoint.Unpacked)
		}
	}
	return nil
}

// cleanEvents removes segments of the event log that are in a pack.
func (p *Packer) cleanEvents(ctx context.Context, firsts []uint64) error {
	if len(firsts) == 0 {
		return nil
	}
	events := p.folder(DirEvents)
	folder := p.folder(dirPayloads)
	for _, f := range p.s.mark.Index.Files {
		if f.Pack == 0 || f.PackPruned {
			continue
		}
		// The part of the event log before its first checkpoint begins earlier.
		at, _ := slices.BinarySearch(firsts, p.firstTick(f.First))
		end, _ := slices.BinarySearch(firsts, f.Last)
		if end < len(firsts) && firsts[end] == f.Last {
			end++
		}
		if at >= end {
			continue
		}
		if err := p.cleanPacked(ctx, Span{f.First, f.Last}, events, folder, firsts[at:end]); err != nil {
			return err
		}
	}
	return nil
}

// cleanPacked removes segments of the event log that are in a pack, and what they name.
func (p *Packer) cleanPacked(ctx context.Context, in Span, events, folder wal.Folder, firsts []uint64) error {
	r, _, err := openPackFile(p.s.events, in)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, first := range firsts {
		if err := ctx.Err(); err != nil {
			return err
		}
		same, payloads, err := p.sameEvents(r, first)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was in a pack already
		}
		if err != nil {
			return err
		}
		if !same {
			continue
		}
		for _, hash := range payloads {
			if err := p.removePayload(r, folder, hash); err != nil {
				return err
			}
		}
		if err := events.Remove(eventlog.FileName(first)); err != nil {
			return err
		}
		failpoint.Reach(failpoint.Unpacked)
	}
	return nil
}

// sameEvents reports whether a pack has a segment of the event log, byte for byte.
func (p *Packer) sameEvents(r *pack.Reader, first uint64) (same bool, payloads []verifier.Hash, err error) {
	packed, size, err := r.Segment(first)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, err
	}
	f, there, err := openRegular(p.s.events, eventlog.FileName(first))
	if err != nil || there != size {
		return false, nil, err
	}
	defer f.Close()
	if same, err = equal(f, packed, size); err == nil && same {
		payloads, _, err = eventlog.Scan(io.NewSectionReader(f, 0, size))
	}
	return same, payloads, err
}

func equal(a, b io.ReaderAt, size int64) (bool, error) {
	const piece = 64 << 10
	var x, y [piece]byte
	for at := int64(0); at < size; at += piece {
		n := min(piece, size-at)
		for _, from := range []struct {
			r io.ReaderAt
			b []byte
		}{{a, x[:n]}, {b, y[:n]}} {
			if m, err := from.r.ReadAt(from.b, at); m < int(n) {
				return false, err
			}
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// removePayload removes a payload that is in a pack. What else names it finds it there.
func (p *Packer) removePayload(r *pack.Reader, folder wal.Folder, hash verifier.Hash) error {
	packed, size, err := r.Payload(hash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	f, there, err := openRegular(p.s.payloads, hash.String())
	if errors.Is(err, fs.ErrNotExist) || err == nil && there != size {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if same, err := equal(f, packed, size); err != nil || !same {
		return err
	}
	return folder.Remove(hash.String())
}

// removeNext removes files of packing that was not finished, under their first names.
func (p *Packer) removeNext(dir string, root *os.Root) error {
	left, err := fs.Glob(root.FS(), "*"+extNext)
	if err != nil {
		return err
	}
	for _, name := range left {
		name, ext := strings.TrimSuffix(name, extNext), map[string]string{DirHistory: extCAR, DirEvents: extPack}[dir]
		if _, ok := parseSpan(name, ext); !ok {
			continue
		}
		if err := p.folder(dir).Remove(name + extNext); err != nil {
			return err
		}
	}
	return nil
}

// leftovers removes segments or packs that the mark does not name, if all that they have is
// elsewhere.
func (p *Packer) leftovers(ctx context.Context, dir, ext string, all []Span) error {
	folder := p.folder(dir)
	for _, s := range all {
		if slices.ContainsFunc(p.files(), func(f pack.Files) bool { return s == Span{f.First, f.Last} }) {
			continue
		}
		elsewhere := p.segmentElsewhere
		if ext == extPack {
			elsewhere = p.packElsewhere
		}
		there, err := elsewhere(ctx, s)
		if err == nil && there {
			err = folder.Remove(s.name(ext))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// files are those that the mark names.
func (p *Packer) files() []pack.Files {
	if p.s.mark == nil {
		return nil
	}
	return p.s.mark.Index.Files
}

// over returns the files of the mark that have some of the ticks of a span.
func (p *Packer) over(s Span) (all []Span) {
	for _, f := range p.files() {
		if !f.Pruned && f.First <= s.Last && s.First <= f.Last {
			all = append(all, Span{f.First, f.Last})
		}
	}
	return all
}

// segmentElsewhere reports whether every checkpoint of a segment that the mark does not name
// is in one that it names, or a file of its own: then it was not finished, or is superseded.
func (p *Packer) segmentElsewhere(ctx context.Context, s Span) (bool, error) {
	if p.s.mark == nil {
		return false, nil
	}
	hashes := map[uint64]verifier.Hash{}
	for _, in := range p.over(s) {
		for f, err := range listSegment(p.s.history, p.s.path(DirHistory), in) {
			if err != nil {
				return false, err
			}
			hashes[f.Tick] = f.Hash
		}
	}
	for f, err := range listSegment(p.s.history, p.s.path(DirHistory), s) {
		if err == nil {
			err = ctx.Err()
		}
		if _, bad := errors.AsType[*DamagedError](err); bad {
			return false, nil // it is no segment: igor verify says so
		}
		if err != nil {
			return false, err
		}
		if hash, ok := hashes[f.Tick]; ok {
			if hash != f.Hash {
				return false, nil
			}
			continue
		}
		b, err := p.s.checkpoint(f.Tick)
		if errors.Is(err, fs.ErrNotExist) || err == nil && sha256.Sum256(b) != f.Hash {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// packElsewhere is the same of a pack.
func (p *Packer) packElsewhere(ctx context.Context, s Span) (bool, error) {
	r, _, err := openPackFile(p.s.events, s)
	if _, bad := errors.AsType[*pack.BadError](err); bad {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	var others []*pack.Reader
	for _, in := range p.over(s) {
		other, _, err := openPackFile(p.s.events, in)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		defer other.Close()
		others = append(others, other)
	}
	for _, first := range r.Ticks() {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		there, _, err := p.sameEvents(r, first)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		for i := 0; err == nil && !there && i < len(others); i++ {
			there, err = samePacked(r, others[i], first)
		}
		if err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// samePacked reports whether two packs have the same segment of the event log.
func samePacked(a, b *pack.Reader, first uint64) (bool, error) {
	x, size, err := a.Segment(first)
	if err != nil {
		return false, err
	}
	y, n, err := b.Segment(first)
	if errors.Is(err, fs.ErrNotExist) || err == nil && n != size {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return equal(x, y, size)
}

// adopt makes a mark of segments that are there without one. The history was verified.
func (p *Packer) adopt(ctx context.Context) error {
	list, err := spans(p.s.history, extCAR)
	if err != nil {
		return err
	}
	m := pack.Mark{Agent: publicKey(p.key)}
	for i, s := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := pack.Files{First: s.First, Last: s.Last}
		info, err := p.describe(s, &f)
		if err != nil {
			return err
		}
		if i == 0 {
			m.Genesis = info.Prev
			if info.Prev.IsZero() {
				m.Genesis, err = p.firstHash(s)
			} else if restored, restoredErr := p.s.restored(); restoredErr != nil || restored == nil {
				err = errors.Join(restoredErr, errors.New("the history does not begin with its genesis"))
			} else {
				m.Genesis = restored.Genesis
			}
			if err != nil {
				return err
			}
		}
		if i > 0 && info.Prev != m.Head || info.Agent != m.Agent || info.First != s.First || info.Last != s.Last {
			p.paused = fmt.Errorf("%s does not go on from the segment before it", p.s.historyPath(s.CAR()))
			return p.paused
		}
		if err := p.receipts(&m.Index, &f); err != nil {
			return err
		}
		m.Head, m.Tick, m.Checkpoints = info.Root, info.Last, m.Checkpoints+uint64(info.Checkpoints)
		m.Index.Files = append(m.Index.Files, f)
	}
	// What is older than a segment, and in none, is packed never.
	ticks, err := p.s.Ticks()
	if err != nil {
		return err
	}
	if len(ticks) > 0 && ticks[0] < list[0].First {
		p.paused = fmt.Errorf("%s is older than the first segment", p.s.historyPath(FileName(ticks[0])))
		return p.paused
	}
	if err := p.writeMark(&m); err != nil {
		return err
	}
	p.s.mark = &m
	return nil
}

func (p *Packer) firstHash(s Span) (h verifier.Hash, err error) {
	for f, err := range listSegment(p.s.history, p.s.path(DirHistory), s) {
		return f.Hash, err
	}
	return h, errors.New("a segment without a checkpoint")
}

// describe finds out what a mark says of a segment and of its pack.
func (p *Packer) describe(s Span, f *pack.Files) (info segment.Info, err error) {
	car, size, err := openRegular(p.s.history, s.CAR())
	if err != nil {
		return info, err
	}
	defer car.Close()
	hash := sha256.New()
	if info, err = segment.Read(io.TeeReader(io.NewSectionReader(car, 0, size), hash), nil); err != nil {
		return info, fmt.Errorf("%s: %w", p.s.historyPath(s.CAR()), err)
	}
	hash.Sum(f.CARHash[:0])
	f.CAR, f.Checkpoints, f.Head = uint64(size), uint64(info.Checkpoints), info.Root
	r, size, err := openPackFile(p.s.events, s)
	if errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	if err != nil {
		return info, err
	}
	defer r.Close()
	f.Pack = uint64(size)
	for _, first := range r.Ticks() {
		e, size, err := r.Segment(first)
		if err != nil {
			return info, err
		}
		_, lines, err := eventlog.Scan(io.NewSectionReader(e, 0, size))
		if err != nil {
			return info, err
		}
		f.Lines += lines
	}
	file, _, err := openRegular(p.s.events, s.Pack())
	if err != nil {
		return info, err
	}
	defer file.Close()
	hash.Reset()
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, math.MaxInt64)); err != nil {
		return info, err
	}
	hash.Sum(f.PackHash[:0])
	return info, nil
}

func publicKey(key signer) verifier.PublicKey {
	return verifier.PublicKey(key.Public().(ed25519.PublicKey))
}

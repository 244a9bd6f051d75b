// Package eventlog keeps what an agent observed, so that its life can be run
// again. See docs/spec/eventlog.md.
//
// There is one segment a checkpoint interval: a [Writer] appends to the open one,
// and seals it with the agent's signature when the next checkpoint is made. A
// [Reader] streams a segment in bounded memory, and [Verify] holds it against its
// two checkpoints.
package eventlog

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

const nextName = ".next"

// Ext is how the name of a segment's file ends.
const Ext = ".events"

// FileName returns the name of the segment whose first tick is given: the tick
// after the checkpoint before it, or 0 if that is the genesis.
func FileName(first uint64) string { return fmt.Sprintf("%010d%s", first, Ext) }

// ParseFileName returns the first tick of the segment with that name, if it is one's.
func ParseFileName(name string) (first uint64, ok bool) {
	first, err := strconv.ParseUint(strings.TrimSuffix(name, Ext), 10, 64)
	return first, err == nil && name == FileName(first)
}

// A Packed has segments and payloads that are no files of their own any more. What it does
// not have is fs.ErrNotExist.
type Packed interface {
	Segment(first uint64) (wal.File, error)
	Payload(hash verifier.Hash) (wal.File, error)
}

// A Log is the event log of one agent.
type Log struct {
	// Packed has what is not in the folders any more, nil = nothing.
	Packed Packed

	segments, payloads wal.Folder
	stored             map[verifier.Hash]struct{} // payloads that are known to be there
	synced             bool                       // the names of those that were found there
}

// maxStored bounds that knowledge. Beyond it, files are read to know again.
const maxStored = 1 << 12

// New returns the log that has its segments in one folder, and the payloads that
// are files of their own in another.
func New(segments, payloads wal.Folder) *Log {
	return &Log{segments: segments, payloads: payloads, stored: make(map[verifier.Hash]struct{})}
}

// Content returns a payload's bytes.
func (l *Log) Content(d Data) ([]byte, error) {
	if d.size <= MaxInline || d.inline != nil {
		return d.inline, nil
	}
	b, err := l.anyPayload(d)
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", d.hash, err)
	}
	return b, nil
}

// anyPayload reads a payload that is a file, or is packed.
func (l *Log) anyPayload(d Data) ([]byte, error) {
	b, err := l.readPayload(d)
	if err == nil || l.Packed == nil || !Gone(err) {
		return b, err
	}
	f, packedErr := l.Packed.Payload(d.hash)
	if errors.Is(packedErr, fs.ErrNotExist) {
		return nil, err
	}
	if packedErr != nil {
		return nil, packedErr
	}
	return content(f, d)
}

func (l *Log) readPayload(d Data) ([]byte, error) {
	f, err := l.payloads.Open(d.hash.String())
	if err != nil {
		return nil, err
	}
	return content(f, d)
}

func content(f wal.File, d Data) ([]byte, error) {
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if d.size > MaxPayload || size != int64(d.size) {
		return nil, errDamagedPayload
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if sha256.Sum256(b) != d.hash {
		return nil, errDamagedPayload
	}
	return b, nil
}

var errDamagedPayload = errors.New("its file does not have the content of its name")

// Gone reports whether an error of [Log.Content] says that the payload is not there,
// rather than that it could not be read.
func Gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamagedPayload) }

// store makes a payload durable before a record names it.
func (l *Log) store(d Data) error {
	if d.size <= MaxInline {
		return nil
	}
	if _, ok := l.stored[d.hash]; ok {
		return nil
	}
	_, err := l.readPayload(d)
	if err == nil && !l.synced { // whoever wrote it may not have lived to
		err = l.payloads.Sync()
		l.synced = err == nil
	}
	if errors.Is(err, fs.ErrNotExist) || err == errDamagedPayload {
		err = wal.WriteFile(l.payloads, nextName, d.hash.String(), bytes.NewReader(d.inline), true)
	}
	if err != nil {
		return err
	}
	if len(l.stored) >= maxStored {
		clear(l.stored)
	}
	l.stored[d.hash] = struct{}{}
	return nil
}

// A Segment is an open [Reader] on a segment's file.
type Segment struct {
	*Reader
	f wal.File
}

// Close closes the file.
func (s *Segment) Close() error { return s.f.Close() }

// Segment opens the segment whose first tick is given. If there is none
// (fs.ErrNotExist), its ticks cannot be executed again.
func (l *Log) Segment(first uint64) (*Segment, error) {
	f, err := l.Raw(first)
	if err != nil {
		return nil, err
	}
	return &Segment{NewReader(io.NewSectionReader(f, 0, math.MaxInt64)), f}, nil
}

// Raw opens the segment's bytes, for [Verify].
func (l *Log) Raw(first uint64) (wal.File, error) {
	f, err := l.segments.Open(FileName(first))
	if !errors.Is(err, fs.ErrNotExist) || l.Packed == nil {
		return f, err
	}
	if packed, packedErr := l.Packed.Segment(first); !errors.Is(packedErr, fs.ErrNotExist) {
		return packed, packedErr
	}
	return nil, err
}

// A Writer appends to the open segment. After an error nothing can be appended
// any more. It is not safe for concurrent use.
type Writer struct {
	log    *Log
	header Header
	w      *wal.Writer
	named  bool // the file's name is durable
	sealed bool // there is a seal after what was read, to be written again
	root   hash.Hash
	totals Totals
	record []byte
	closed bool
	err    error

	payloads  []verifier.Hash // that its records name, in order
	end       int64           // of the records, where there is a seal
	signature [64]byte        // of a seal that is not signed yet
}

// A Recovery says what of an open segment was there already.
type Recovery struct {
	// Damage says what is wrong after the last whole record, and Aside is the name
	// of the copy that still has it. Both are "" if all is well, or if only the
	// last write was cut short.
	Damage, Aside string

	// Sealed is the checkpoint that the segment was sealed for, zero if it was not.
	// It was made at the end of the last tick, and never became part of the
	// history, or was lost from it. Made again, it is the same bytes.
	Sealed verifier.Hash

	// StoredPrice is the price of what is stored that the seal has.
	StoredPrice int64
}

// Continue opens the segment after the newest checkpoint, whose next tick is
// first, to append to it. h is the header of a new one; where there is one, what it
// is counted by is its own ([Writer.Header]): its version, schedule, rest and epoch.
// Of version 1 there is one only if something is recorded in it. If there is none it makes one, which becomes durable
// with the first [Writer.Sync] or [Log.Sync]: until then nothing relies on it. If
// there is one, then the process that wrote it ended; what is whole of it counts:
// see [Writer.Totals], and [Log.Segment] to read it. A seal is not part of that, for
// the checkpoint that it was made for never became part of the history, or was lost
// from it. It stays in the file until [Writer.Seal] writes it again: what comes after
// that checkpoint is lost with it, if this process ends before. To such a segment
// nothing can be appended.
func (l *Log) Continue(h Header, first uint64) (*Writer, Recovery, error) {
	if h.Version == 0 {
		h.Version = Version1
	}
	if h.Version != Version1 && h.First == 0 { // that of a fork is its own
		h.First = first
	}
	w, r, err := l.resume(h, FileName(first))
	if err != nil {
		err = fmt.Errorf("event log: %s: %w", FileName(first), err)
	}
	return w, r, err
}

func (l *Log) resume(h Header, name string) (w *Writer, r Recovery, err error) {
	f, err := l.segments.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.segments.Create(name)
	}
	if err != nil {
		return nil, r, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	reader := NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
	found, err := reader.Header()
	if _, ok := errors.AsType[*wal.TailError](err); ok {
		begins := Torn(err)
		if !begins && isUnwritten(f) {
			begins, r.Damage = true, err.Error()
			if f, r.Aside, err = l.replace(f, name, 0); err != nil {
				return nil, r, err
			}
		}
		if begins {
			w, err = l.begin(f, h)
			return w, r, err
		}
	}
	if err != nil {
		return nil, r, hint.Wrap(err, "restore it from a copy; without it, the ticks after the newest checkpoint are lost: igor repair says so, and goes on without them")
	}
	if !found.follows(&h) {
		return nil, r, hint.Wrap(&BadError{errors.New("it was recorded after another checkpoint, or with another program or manifest")},
			"put back the program and the manifest with which the agent ran last")
	}
	var payloads []verifier.Hash
	for err == nil {
		var record Record
		if record, err = reader.Next(); err == nil {
			payloads = record.appendPayloads(payloads)
		}
	}
	switch {
	case err == io.EOF, Torn(err):
	case Bad(err):
		r.Damage = err.Error()
	default:
		return nil, r, err
	}
	if found.Version < h.Version && reader.totals.Records == 0 && r.Damage == "" {
		w, err = l.begin(f, h)
		return w, r, err
	}
	if seal, ok := reader.Seal(); ok {
		r.Sealed, r.StoredPrice = seal.Next, seal.StoredPrice
	}
	end := reader.end
	if r.Damage != "" {
		if f, r.Aside, err = l.replace(f, name, end); err != nil {
			return nil, r, err
		}
	}
	w = &Writer{log: l, header: found, root: sha256.New(), totals: reader.totals, payloads: payloads}
	if _, err = io.Copy(w.root, io.NewSectionReader(f, 0, end)); err != nil {
		return nil, r, err
	}
	if w.sealed = !r.Sealed.IsZero(); w.sealed {
		w.w, err = wal.Rewriter(f, end, w.root)
	} else {
		w.w, err = wal.NewWriter(f, end, w.root)
	}
	return w, r, err
}

// isUnwritten reports whether the first sector of a segment may never have been
// written: then nothing of it was ever durable, whatever comes after.
func isUnwritten(f wal.File) bool {
	b := make([]byte, wal.Sector)
	n, err := f.ReadAt(b, 0)
	return (err == nil || err == io.EOF) && wal.Unwritten(b[:n], 0, 0, n)
}

// replace sets a damaged segment aside, and opens what is in its place: its beginning,
// up to end.
func (l *Log) replace(f wal.File, name string, end int64) (_ wal.File, aside string, err error) {
	if aside, err = wal.SetAside(l.segments, name); err != nil {
		return f, aside, err
	}
	if err = wal.WriteFile(l.segments, nextName, name, io.NewSectionReader(f, 0, end), true); err != nil {
		return f, aside, err
	}
	whole, err := l.segments.Open(name)
	if err != nil {
		return f, aside, err
	}
	f.Close()
	return whole, aside, nil
}

// begin begins a segment in a file that has none: a new one, or one whose header
// never became durable, so that nothing that it had can have been relied on.
func (l *Log) begin(f wal.File, h Header) (w *Writer, err error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	w = &Writer{log: l, header: h, root: sha256.New(), totals: newTotals(&h)}
	if w.w, err = wal.NewWriter(f, 0, w.root); err != nil {
		return nil, err
	}
	if err = w.w.Append(h.append(nil)); err != nil {
		return nil, err
	}
	return w, w.w.Flush()
}

// Upgrade begins the open segment anew, for another program or manifest: with a header
// of its own, and u as its first record. What money came in since the checkpoint stays;
// there must be nothing else, unless that is to be dropped: then the segment is kept as it
// was under another name, aside. Where it begins with an upgrade, the two are one, from
// what there was at the checkpoint; or none, if that is what there is again. It is durable
// then, all at once. w is closed.
func (l *Log) Upgrade(w *Writer, h Header, u *Record, drop bool) (next *Writer, aside string, err error) {
	if err := w.Sync(); err != nil {
		return nil, "", err
	}
	first := w.header.First
	h.First = first
	u.Kind, u.Tick = Upgrade, first
	switch {
	case w.header.Version == Version1 || w.sealed, !drop && (w.totals.ended || w.totals.begun):
		return nil, "", errors.New("event log: an upgrade where something else is recorded")
	case w.totals.ended || w.totals.begun:
		if aside, err = wal.SetAside(l.segments, FileName(first)); err != nil {
			return nil, "", fmt.Errorf("event log: %w", err)
		}
	}
	if before := w.totals.Upgrade; before != nil {
		u.WASM, u.Manifest = before.WASM, before.Manifest
	}
	if u.WASM == h.WASM && u.Manifest == h.Manifest {
		next, err = l.anew(w, h)
	} else {
		next, err = l.anew(w, h, *u)
	}
	return next, aside, err
}

// anew puts another segment in the place of the open one, which is closed: with a header,
// records, and what money came in.
func (l *Log) anew(w *Writer, h Header, records ...Record) (*Writer, error) {
	first := w.header.First
	s, err := l.Segment(first)
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	for {
		r, err := s.Next()
		if err == io.EOF || Torn(err) {
			break
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("event log: %w", err)
		}
		if r.Kind == Account {
			records = append(records, r)
		}
	}
	s.Close()
	if err := h.check(); err != nil {
		return nil, err
	}
	content := wal.AppendRecord(nil, h.append(nil))
	for i := range records {
		content = wal.AppendRecord(content, records[i].append(nil, h.Version))
	}
	w.Close()
	if err := wal.WriteFile(l.segments, nextName, FileName(first), bytes.NewReader(content), true); err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	next, _, err := l.Continue(h, first)
	return next, err
}

// SetAsideAfter sets aside the segments whose first tick is after the given one,
// and returns their new names. Where nothing leads to a segment any more, what it
// has was never relied on, and its name may be needed.
func (l *Log) SetAsideAfter(first uint64) (asides []string, err error) {
	names, err := l.segments.Names()
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	for _, name := range names {
		if tick, ok := ParseFileName(name); !ok || tick <= first {
			continue
		}
		aside, err := wal.SetAside(l.segments, name)
		if err == nil {
			err = errors.Join(l.segments.Remove(name), l.segments.Sync())
		}
		if err != nil {
			return nil, fmt.Errorf("event log: setting %s aside: %w", name, err)
		}
		asides = append(asides, aside)
	}
	return asides, nil
}

// Append adds a record. It survives the process after [Writer.Flush], and the
// machine after [Writer.Sync].
func (w *Writer) Append(r *Record) error {
	if w.err != nil {
		return w.err
	}
	if w.sealed {
		return w.fail(errors.New("a record after the end of a segment that was sealed"))
	}
	record := *r
	if r.Kind < again && r.Kind != TickEnd && r.Kind != Account && r.Kind != Origin && !r.Kind.Hostcall() || r.Kind == again || r.Kind > Finding {
		return fmt.Errorf("event log: no record is of %s", r.Kind)
	}
	err := record.check(w.header.Version)
	if err == nil {
		record.again = w.header.Version != Version1 && w.totals.repeat.is(&record)
		err = w.totals.add(&record)
	}
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	err = w.log.store(r.Request)
	if err == nil {
		err = w.log.store(r.Result)
	}
	if err == nil {
		w.record = record.append(w.record[:0], w.header.Version)
		w.payloads = record.appendPayloads(w.payloads)
		err = w.w.Append(w.record)
	}
	return w.fail(err)
}

// appendPayloads appends the payloads that a record names.
func (r *Record) appendPayloads(dst []verifier.Hash) []verifier.Hash {
	for _, d := range []*Data{&r.Request, &r.Result} {
		if d.size > MaxInline {
			dst = append(dst, d.hash)
		}
	}
	return dst
}

func (w *Writer) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("event log: %w", err)
	}
	return w.err
}

// Flush makes all records survive the process: to be called at a tick's end.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	return w.fail(w.w.Flush())
}

// Sync makes all records survive the machine: to be called before a side effect
// is begun.
func (w *Writer) Sync() error {
	if w.err != nil {
		return w.err
	}
	err := w.w.Sync()
	if err == nil && !w.named {
		err = w.log.segments.Sync()
		w.named = err == nil
	}
	return w.fail(err)
}

// Totals returns what the records come to so far.
func (w *Writer) Totals() Totals { return w.totals }

// Header returns the segment's header.
func (w *Writer) Header() Header { return w.header }

// Size returns how long the segment is, in bytes.
func (w *Writer) Size() int64 { return w.w.Offset() }

// Stored returns how many bytes the segment stores, with the payloads that its records
// name and without its seal.
func (w *Writer) Stored() uint64 { return uint64(w.w.Offset()) + w.totals.Files }

// Root returns the SHA-256 of all bytes so far, which are flushed then: what a seal would
// sign.
func (w *Writer) Root() (root verifier.Hash, err error) {
	if err := w.Flush(); err != nil {
		return root, err
	}
	w.root.Sum(root[:0])
	return root, nil
}

// Since returns the records from an offset on, flushed, as they are in the file.
func (w *Writer) Since(offset int64) ([]byte, error) {
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return w.w.Since(offset)
}

// Beginning returns the bytes with which the segment begins: its header.
func (w *Writer) Beginning() []byte { return wal.AppendRecord(nil, w.header.append(nil)) }

// Payloads returns what the records name that is a file of its own, in order.
func (w *Writer) Payloads() []verifier.Hash { return w.payloads }

// Payload returns the content of such a file.
func (l *Log) Payload(hash verifier.Hash) ([]byte, error) {
	f, err := l.payloads.Open(hash.String())
	if errors.Is(err, fs.ErrNotExist) && l.Packed != nil {
		f, err = l.Packed.Payload(hash)
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil || size > MaxPayload {
		return nil, errors.Join(err, f.Close(), errDamagedPayload)
	}
	return content(f, Data{size: uint32(size), hash: hash})
}

// Scan reads a segment as far as it is whole, and returns which payloads its records name,
// in order, and how many lines the agent logged in it.
func Scan(from io.Reader) (payloads []verifier.Hash, lines uint64, err error) {
	r := NewReader(from)
	for {
		record, err := r.Next()
		if _, tail := errors.AsType[*wal.TailError](err); err == io.EOF || tail || Bad(err) {
			return payloads, lines, nil
		}
		if err != nil {
			return payloads, lines, err
		}
		payloads = record.appendPayloads(payloads)
		if record.Kind == LogEmit {
			lines++
		}
	}
}

// Passed looks for where the segment whose first tick is given had a root: after which of
// its records, the header among them. There are payloads before it.
func (l *Log) Passed(first uint64, root verifier.Hash) (offset int64, payloads int, ok bool, err error) {
	f, err := l.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	defer f.Close()
	r := NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
	_, err = r.Header()
	for err == nil {
		if verifier.Hash(r.root.Sum(nil)) == root {
			return r.end, payloads, true, nil
		}
		var record Record
		record, err = r.Next()
		payloads += len(record.appendPayloads(nil))
	}
	if err == io.EOF || Torn(err) || Bad(err) {
		err = nil
	}
	return 0, 0, false, err
}

// Hash returns the SHA-256 of a segment's first bytes, to go on with.
func (l *Log) Hash(first uint64, size int64) (hash.Hash, error) {
	f, err := l.Raw(first)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, 0, size))
	return h, err
}

// SealedFor returns for which checkpoint the segment was sealed whose first tick is given,
// and its last tick. The hash is zero if the segment is not there, or not sealed.
func (l *Log) SealedFor(first uint64) (next verifier.Hash, last uint64, err error) {
	s, err := l.Segment(first)
	if errors.Is(err, fs.ErrNotExist) {
		return next, 0, nil
	}
	if err != nil {
		return next, 0, err
	}
	defer s.Close()
	for err == nil {
		_, err = s.Next()
	}
	if seal, ok := s.Seal(); ok {
		return seal.Next, s.Totals().Last, nil
	}
	if _, tail := errors.AsType[*wal.TailError](err); err != io.EOF && !tail && !Bad(err) {
		return next, 0, err
	}
	return next, 0, nil
}

// Seal ends the segment with the hash of the checkpoint that comes next, and what it
// took to make that (nothing, in version 1). It is
// durable after [Log.Sync], and has to be before that checkpoint is appended to
// the history, so that no checkpoint is without its segment.
func (w *Writer) Seal(next verifier.Hash, took Metered, key crypto.Signer) error {
	return w.seal(next, took, key, false)
}

// SealUnsigned is Seal, with a signature of zeros in the file until [Writer.WriteSignature] is
// called.
func (w *Writer) SealUnsigned(next verifier.Hash, took Metered, key crypto.Signer) error {
	return w.seal(next, took, key, true)
}

func (w *Writer) seal(next verifier.Hash, took Metered, key crypto.Signer, unsigned bool) error {
	if err := w.Flush(); err != nil {
		return err
	}
	s := Seal{Next: next, Metered: took}
	if err := w.totals.seal(&s); err != nil {
		return w.fail(err)
	}
	w.root.Sum(s.Root[:0])
	signature, err := key.Sign(nil, s.message(&w.header), crypto.Hash(0))
	if err != nil {
		return w.fail(err)
	}
	copy(s.Signature[:], signature)
	w.end, w.signature = w.w.Offset(), s.Signature
	if unsigned {
		s.Signature = [64]byte{}
	}
	w.record = s.append(w.record[:0], w.header.Version)
	err = w.w.Append(w.record)
	if err == nil {
		err = w.w.Flush()
	}
	if err = w.fail(err); err == nil {
		w.err = errClosed
	}
	return err
}

// WriteSignature writes the signature of a seal that has none.
func (w *Writer) WriteSignature() error {
	copy(w.record[len(w.record)-len(w.signature):], w.signature[:])
	if err := w.w.Replace(w.end, w.record); err != nil {
		w.err = nil
		return w.fail(err)
	}
	return nil
}

// SyncUnsigned makes segments durable that are sealed, and not signed yet.
func (l *Log) SyncUnsigned(sealed ...*Writer) error {
	errs := make([]error, len(sealed))
	var all sync.WaitGroup
	for i, w := range sealed {
		all.Go(func() {
			if errs[i] = w.err; w.err == errClosed {
				errs[i] = w.w.Sync()
			}
		})
	}
	err := l.segments.Sync()
	all.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

// Sync makes sealed segments durable, all at the same time, and closes them.
func (l *Log) Sync(sealed ...*Writer) error {
	errs := make([]error, len(sealed)+1)
	var all sync.WaitGroup
	for i, w := range sealed {
		all.Go(func() {
			err := w.err
			if err == errClosed {
				err = w.w.Sync()
			}
			w.closed = true
			errs[i] = errors.Join(err, w.w.Close())
		})
	}
	if slices.ContainsFunc(sealed, func(w *Writer) bool { return !w.named }) {
		errs[len(sealed)] = l.segments.Sync()
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

var errClosed = errors.New("event log: the segment is closed")

// Close closes the file, and leaves the segment for [Log.Continue]. After
// [Log.Sync] it does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.err != errClosed { // not sealed
		err = w.Flush()
	}
	if w.err == nil {
		w.err = errClosed
	}
	return errors.Join(err, w.w.Close())
}

// A Reader reads a segment, in memory bounded by the largest record. What it
// reads may be anything.
type Reader struct {
	s       *wal.Scanner
	root    hash.Hash
	bytes   []byte // of the last record
	header  Header
	totals  Totals
	seal    *Seal
	end     int64 // of the last record that is an observation
	started bool
	err     error
}

// NewReader reads a segment from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{s: wal.NewScanner(r, maxRecord), root: sha256.New()}
}

func (r *Reader) malformed(err error) error {
	return &BadError{fmt.Errorf("not an event segment: at byte %d: %w", r.end, err)}
}

// Header returns the segment's header.
func (r *Reader) Header() (Header, error) {
	if !r.started {
		r.started = true
		p, err := r.s.Next()
		if err == io.EOF {
			err = &wal.TailError{Torn: true, Reason: "it is empty"}
		}
		if err == nil {
			if r.header, err = parseHeader(p); err != nil {
				err = r.malformed(err)
			}
			r.totals = newTotals(&r.header)
		}
		if r.err = err; err == nil {
			r.take(p)
		}
	}
	return r.header, r.err
}

func (r *Reader) take(payload []byte) {
	r.bytes = wal.AppendRecord(r.bytes[:0], payload)
	r.root.Write(r.bytes)
	r.end = r.s.Offset()
}

// Next returns the next record, whose payloads are valid until the next call. At
// the end of the segment, sealed or not, it fails with io.EOF. A last record that
// is cut short is a [*wal.TailError] that is Torn.
func (r *Reader) Next() (Record, error) {
	if _, err := r.Header(); err != nil {
		return Record{}, err
	}
	record, err := r.next()
	if err != nil {
		r.err = err
		return Record{}, err
	}
	return record, nil
}

func (r *Reader) next() (Record, error) {
	p, err := r.s.Next()
	if err != nil {
		return Record{}, err
	}
	if len(p) > 0 && Kind(p[0]) >= footerStored {
		seal, err := parseSeal(p, r.header.Version)
		if err != nil {
			return Record{}, r.malformed(err)
		}
		if verifier.Hash(r.root.Sum(nil)) != seal.Root {
			return Record{}, r.malformed(errors.New("the footer's root is not that of the records"))
		}
		if _, err := r.s.Next(); err == nil {
			return Record{}, r.malformed(errors.New("something comes after the footer"))
		} else if err != io.EOF {
			return Record{}, err
		}
		r.seal = &seal
		return Record{}, io.EOF
	}
	record, err := parse(p, r.header.Version)
	if err == nil && r.header.Version != Version1 {
		if record.Tick = r.totals.next(); record.again {
			var ok bool
			if record, ok = r.totals.repeat.next(record.Tick); !ok {
				err = errors.New("a tick that went as the one before it, and there is none")
			}
		}
	}
	if err == nil {
		err = r.totals.add(&record)
	}
	if err != nil {
		return Record{}, r.malformed(err)
	}
	r.take(p)
	return record, nil
}

// Seal returns the segment's end, unverified, once Next has failed with io.EOF.
// An open segment has none.
func (r *Reader) Seal() (seal Seal, ok bool) {
	if r.seal == nil {
		return seal, false
	}
	return *r.seal, true
}

// Totals returns what the records that were read come to.
func (r *Reader) Totals() Totals { return r.totals }

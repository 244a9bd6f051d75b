package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"

	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// A Life gives the checkpoints of a life that come after a tick, or all of them, in their
// order. What it gives is valid until it gives the next.
type Life func(tick uint64, all bool) iter.Seq2[[]byte, error]

// Rule is where published lives are cut: the same wherever a life is published, so that the
// files are the same too.
var Rule = segment.Rule{Checkpoints: 1024, Bytes: 8 << 20}

// Options say what is published beside the segments.
type Options struct {
	// Blocks publishes every checkpoint also by itself, for readers that know nothing but
	// its CID; without it, only the newest one.
	Blocks bool

	// Beside are small files that lie with the life, as [Beside] reads them.
	Beside map[string][]byte
}

// A Result says what is published now.
type Result struct {
	Head  published.Head
	Added uint64 // checkpoints that were not published before
	Bytes int64  // that were written
}

// ErrFork says that what is published is not how the life went.
var ErrFork = errors.New("another life of this agent is published there")

// Publish writes into the folder dir, which is made if need be, what the life has and the
// folder has not. Whoever reads the folder meanwhile sees it as it was, or as it is now; when
// it is interrupted, it is done again. Every checkpoint is verified before it is written, and
// nothing that is published is changed or taken back.
func Publish(ctx context.Context, dir string, life Life, options Options) (*Result, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	w := &writer{ctx: ctx, root: root, dir: dir, options: options}
	first, err := first(life(0, true))
	if err != nil {
		return nil, err
	}
	f := verifier.Examine(first)
	if !good(&f) || !f.PrevHash.IsZero() {
		return nil, problem("", "publish a whole life: igor verify says what is missing", "its first checkpoint is no genesis with a valid signature")
	}
	w.head.Agent = f.AgentPubKey
	if err := w.resume(life); err != nil {
		return nil, err
	}
	if err := w.write(life); err != nil {
		return nil, err
	}
	return &w.result, nil
}

func first(checkpoints iter.Seq2[[]byte, error]) ([]byte, error) {
	for b, err := range checkpoints {
		return bytes.Clone(b), err
	}
	return nil, problem("", "igor verify says what is there", "it has no checkpoint")
}

// good reports whether a checkpoint can be a part of a verified life.
func good(f *verifier.Finding) bool {
	return f.Authentic() && !f.Has(verifier.NegativeBudget) && !f.Has(verifier.NegativePrice)
}

// A writer is one run of Publish.
type writer struct {
	ctx     context.Context
	root    *os.Root
	dir     string
	options Options
	before  *published.Head // what is published already
	head    published.Head  // what will be
	last    verifier.Hash   // the root of the last segment
	tick    uint64          // and its tick
	result  Result
}

func (w *writer) in(key string) string { return path.Join(w.dir, key) }

// resume finds out what is published already, and that it is a part of this life.
func (w *writer) resume(life Life) error {
	key := published.HeadKey(w.head.Agent)
	b, err := readSmall(w.root, key, published.MaxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	h, err := published.ParseHead(b)
	if err == nil && h.Agent != w.head.Agent {
		err = errors.New("it names another agent")
	}
	if err != nil {
		return problem(w.in(key), "remove the folder "+w.in(published.Folder(w.head.Agent))+", and publish again", "%v", err)
	}
	newest := life(h.Tick-1, false)
	if h.Tick == 0 {
		newest = life(0, true)
	}
	if b, err := first(newest); err != nil && w.ctx.Err() == nil || err == nil && sha256.Sum256(b) != h.Checkpoint {
		return &Error{w.in(key), "the head that is published, " + h.Checkpoint.CID() + " of tick " + strconv.FormatUint(h.Tick, 10) + ", is not in this history",
			"the history is older than what is published, or it is another future of the same agent: two of them are a fork. Publish the one that goes on, or publish to another folder", ErrFork}
	} else if err != nil {
		return err
	}
	w.before = h
	w.head.Segments, w.head.Checkpoints = h.Segments, h.Checkpoints-h.Tail
	if h.Segments == 0 {
		return nil
	}
	key = published.SegmentKey(h.Agent, h.Segments-1)
	b, err = readSmall(w.root, key, published.MaxSegment)
	var all []link
	if err == nil {
		all, err = chain(b, h.Agent)
	}
	if err != nil {
		return problem(w.in(key), "remove the folder "+w.in(published.Folder(w.head.Agent))+", and publish again", "%v", err)
	}
	last, err := verifier.Parse(all[len(all)-1].bytes)
	w.last, w.tick = all[len(all)-1].hash, last.TickNumber
	return err
}

// write writes what comes after the last segment that is published.
func (w *writer) write(life Life) error {
	var waiting [][]byte
	var hashes []byte
	begin := w.head.Checkpoints
	var newest verifier.Finding
	var sizes []int64
	prev := w.last
	for b, err := range life(w.tick, w.last.IsZero()) {
		if err := errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
		f := verifier.Examine(b)
		if !good(&f) || f.AgentPubKey != w.head.Agent || f.PrevHash != prev {
			return problem("", "igor verify shows what is wrong", "checkpoint %d of the life, of tick %d, is not the agent’s next one", w.head.Checkpoints+uint64(len(waiting)), f.TickNumber)
		}
		for {
			n := Rule.Next(append(sizes, int64(len(b))), 0)
			if n == 0 || n > len(waiting) {
				break
			}
			if err := w.segment(waiting[:n]); err != nil {
				return err
			}
			waiting, sizes = waiting[n:], sizes[n:]
		}
		waiting, sizes = append(waiting, bytes.Clone(b)), append(sizes, int64(len(b)))
		hashes = append(hashes, f.ContentHash[:]...)
		prev, newest = f.ContentHash, f
		if w.options.Blocks {
			if err := w.put(published.BlockKey(f.ContentHash), b); err != nil {
				return err
			}
		}
	}
	if n := Rule.Next(sizes, 0); n == len(waiting) && n > 0 {
		if err := w.segment(waiting); err != nil {
			return err
		}
		waiting = nil
	}
	h := &w.head
	if newest.ContentHash.IsZero() { // nothing came after the last segment
		h.Checkpoint, h.Tick, h.Program = w.before.Checkpoint, w.before.Tick, w.before.Program
	} else {
		h.Checkpoint, h.Tick, h.Program = newest.ContentHash, newest.TickNumber, newest.WASMHash
	}
	if len(waiting) > 0 {
		b, err := pack(waiting)
		if err != nil {
			return err
		}
		if err := w.put(published.TailKey(h.Agent, h.Checkpoint), b); err != nil {
			return err
		}
		h.Tail = uint64(len(waiting))
		h.Checkpoints += h.Tail
	}
	if err := w.index(begin, hashes); err != nil {
		return err
	}
	if len(waiting) > 0 && !w.options.Blocks {
		if err := w.put(published.BlockKey(h.Checkpoint), waiting[len(waiting)-1]); err != nil {
			return err
		}
	}
	for name, content := range w.options.Beside {
		if err := checkBeside(h.Agent, name, content); err != nil {
			return err
		}
		if err := w.put(published.Folder(h.Agent)+"/"+name, content); err != nil {
			return err
		}
	}
	w.result.Head, w.result.Added = *h, h.Checkpoints
	if w.before != nil {
		w.result.Added -= w.before.Checkpoints
	}
	if err := w.put(published.HeadKey(h.Agent), h.Append(nil)); err != nil {
		return err
	}
	return w.sweep()
}

// segment writes the next segment.
func (w *writer) segment(checkpoints [][]byte) error {
	b, err := pack(checkpoints)
	if err != nil {
		return err
	}
	if err := w.put(published.SegmentKey(w.head.Agent, w.head.Segments), b); err != nil {
		return err
	}
	w.head.Segments++
	w.head.Checkpoints += uint64(len(checkpoints))
	if w.head.Segments > published.MaxSegments {
		return problem("", "", "the life has over %d segments", published.MaxSegments)
	}
	return nil
}

func pack(checkpoints [][]byte) ([]byte, error) {
	var out bytes.Buffer
	_, err := segment.Write(&out, sha256.Sum256(checkpoints[len(checkpoints)-1]), func(yield func([]byte, error) bool) {
		for _, b := range checkpoints {
			if !yield(b, nil) {
				return
			}
		}
	})
	return out.Bytes(), err
}

// index writes the hashes of the checkpoints from number n on. A reader sees a part of
// them, or all: what is there already is the same.
func (w *writer) index(n uint64, hashes []byte) error {
	name := published.IndexKey(w.head.Agent)
	f, err := w.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() < int64(n)*int64(published.HashSize) {
		return problem(w.in(name), "remove the folder "+w.in(published.Folder(w.head.Agent))+", and publish again", "it lacks what is published")
	}
	if beforeWrite != nil {
		if err := beforeWrite(name); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(hashes, int64(n)*int64(published.HashSize)); err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(n)*int64(published.HashSize)+int64(len(hashes))), f.Sync())
}

// beforeWrite lets tests end a run before each of its writes.
var beforeWrite func(key string) error

// put writes a file at once and whole. One that has these bytes already is left as it is.
func (w *writer) put(key string, content []byte) error {
	if err := w.root.MkdirAll(path.Dir(key), 0o755); err != nil {
		return err
	}
	if there, err := readSmall(w.root, key, int64(len(content))); err == nil && bytes.Equal(there, content) {
		return nil
	}
	if beforeWrite != nil {
		if err := beforeWrite(key); err != nil {
			return err
		}
	}
	next := key + ".next" + strconv.Itoa(os.Getpid())
	if err := w.root.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := w.root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = w.root.Rename(next, key)
	}
	if err != nil {
		w.root.Remove(next)
		return err
	}
	w.result.Bytes += int64(len(content))
	return syncDir(w.root, path.Dir(key))
}

// sweep removes tails, but for this one and the one before it, which somebody may be reading,
// and what an interrupted run left.
func (w *writer) sweep() error {
	folder := published.Folder(w.head.Agent)
	keep := map[string]bool{published.TailKey(w.head.Agent, w.head.Checkpoint): true}
	if w.before != nil {
		keep[published.TailKey(w.head.Agent, w.before.Checkpoint)] = true
		if w.before.Checkpoint == w.head.Checkpoint {
			return nil // nothing new: nor is anything old
		}
	}
	for _, dir := range []string{folder + "/tail", folder + "/segments", folder} {
		entries, err := fs.ReadDir(w.root.FS(), dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		for _, e := range entries {
			name := dir + "/" + e.Name()
			left := strings.Contains(e.Name(), ".next")
			if tail := dir == folder+"/tail" && !keep[name]; (tail || left) && e.Type().IsRegular() {
				if err := w.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}

// readSmall reads a regular file of at most so many bytes.
func readSmall(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return b, err
}

// openRegular opens a regular file, and nothing that could wait or lead elsewhere.
func openRegular(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// syncDir makes the names in a folder durable, where its file system can.
func syncDir(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

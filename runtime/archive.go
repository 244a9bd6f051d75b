package runtime

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"igor.dev/archive"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// defaultArchiveLimit is how long a run that ended may take to have the rest of its life on
// its way to the archive.
const defaultArchiveLimit = 10 * time.Second

// beginArchive begins to archive the life, beside it. Nothing of the life waits for that.
func (l *life) beginArchive() {
	a := l.engine.config.Archive
	if a == nil || l.visit || l.relive || l.passes {
		return
	}
	task := a.Begin(archive.Life{
		Agent:  l.public,
		Dir:    l.store.Path(),
		Source: &archived{l.store.Path(), l.public},
		Sign:   func(message []byte) ([]byte, error) { return l.key.Sign(nil, message, crypto.Hash(0)) },
		Log:    l.Log,
	})
	if !l.result.Head.IsZero() {
		task.Saved(l.result.Tick)
	}
	l.archive = task
	if l.watch.agent != nil {
		l.watch.agent.archive.Store(task)
	}
}

// endArchive has what is left be archived, as far as that comes in time. The folder is
// still locked.
func (l *life) endArchive() {
	if l.archive == nil {
		return
	}
	limit := l.engine.config.ArchiveLimit
	if limit == 0 {
		limit = defaultArchiveLimit
	}
	ctx, done := context.WithTimeout(context.Background(), limit)
	defer done()
	if l.archive.End(ctx) == nil {
		return
	}
	for _, s := range l.archive.Status() {
		if s.Behind > 0 {
			l.Log.Warn("the archive is behind; it goes on when the agent does", "target", s.Target, "checkpoints", s.Behind, "bytes", s.BytesBehind, "error", s.Error)
		}
	}
}

// ArchiveStatus returns how far the agent in a folder is archived, in each target that it
// was ever archived to: as the process says that runs it, or as the folder's records do.
func ArchiveStatus(ctx context.Context, dir string) ([]archive.Status, error) {
	if r, err := Connect(dir); err == nil {
		if s, err := r.Status(ctx); err == nil && s.Archive != nil {
			return s.Archive, nil
		}
	}
	all, err := archivedOf(ctx, dir)
	return all, public(err)
}

// archivedOf is ArchiveStatus as the folder's records have it.
func archivedOf(ctx context.Context, dir string) ([]archive.Status, error) {
	all, err := archive.StatusOf(dir)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	tick, none, err := archive.LastCut(dir)
	if err != nil {
		return nil, err
	}
	for b, err := range store.After(dir, tick, none) {
		if err != nil {
			return nil, err
		}
		for i := range all {
			all[i].Behind++
			all[i].BytesBehind += int64(len(b))
		}
	}
	return all, ctx.Err()
}

// Archives returns how far the agents are archived that live now, by their folders.
func (e *Engine) Archives() map[string][]archive.Status {
	e.mu.Lock()
	tasks := map[string]*archive.Task{}
	for a := range e.agents {
		if t := a.archive.Load(); t != nil {
			tasks[a.dir] = t
		}
	}
	e.mu.Unlock()
	all := map[string][]archive.Status{}
	for dir, t := range tasks {
		all[dir] = t.Status()
	}
	return all
}

// archived reads an agent's folder for the archive, beside its life.
type archived struct {
	dir   string
	agent verifier.PublicKey
}

// After implements [archive.Source].
func (a *archived) After(tick uint64, all bool) iter.Seq2[[]byte, error] {
	return store.After(a.dir, tick, all)
}

// maxIncrement is how many bytes of receipts one statement names.
const maxIncrement = 64 << 20

// Parts implements [archive.Source].
func (a *archived) Parts(tick uint64, want []archive.Part, read archive.Read) (_ map[archive.Part][]byte, _ archive.Read, err error) {
	at, program, err := a.checkpoint(tick)
	if err != nil {
		return nil, read, err
	}
	wasm, man, err := store.Program(a.dir)
	if err != nil {
		return nil, read, err
	}
	grows := func(p archive.Part) bool { return p == archive.Receipts || p == archive.Onchain || p == archive.Events }
	if sha256.Sum256(wasm) != program && slices.ContainsFunc(want, func(p archive.Part) bool { return !grows(p) }) {
		return nil, read, archive.ErrGoneOn // to another program
	}
	root, err := os.OpenRoot(a.dir)
	if err != nil {
		return nil, read, err
	}
	defer root.Close()
	all := map[archive.Part][]byte{}
	for _, p := range want {
		switch p {
		case archive.Program:
			all[p] = wasm
		case archive.Manifest:
			all[p] = man
		case archive.Journal:
			all[p], err = journalAt(root, at)
		case archive.Receipts:
			all[p], read[0], err = receiptsTo(root, receipt.Name, read[0], tick)
		case archive.Onchain:
			all[p], read[1], err = receiptsTo(root, receipt.Onchain, read[1], tick)
		case archive.Events:
			all[p], read[2], err = a.events(read[2], tick)
		}
		if err != nil {
			return nil, read, err
		}
	}
	// Without these, who makes the folder again would not know that it must not go on.
	if home, err := store.HomeOf(a.dir); err != nil {
		return nil, read, err
	} else if home.Name != "" {
		all[archive.Home] = []byte("the home of this agent is not its folder\n")
	}
	if all[archive.Retirement], err = store.Retirement(a.dir, maxRetirement); err != nil {
		return nil, read, err
	}
	return all, read, nil
}

const maxRetirement = 64 << 10

// checkpoint returns the checkpoint of a tick as a journal's base, and its program.
func (a *archived) checkpoint(tick uint64) (at journal.Base, program verifier.Hash, err error) {
	for b, err := range store.After(a.dir, max(tick, 1)-1, tick == 0) {
		if err != nil {
			return at, program, err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return at, program, err
		}
		if c.TickNumber != tick {
			break
		}
		return journal.Base{Tick: tick, Hash: sha256.Sum256(b)}, c.WASMHash, nil
	}
	return at, program, archive.ErrGoneOn
}

// journalAt returns the journal as who goes on from a checkpoint needs it: records, each
// with its length.
func journalAt(root *os.Root, at journal.Base) (framed []byte, err error) {
	f, err := (readOnly{root: root}).Open(journal.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, ok, err := journal.At(f, at)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, archive.ErrGoneOn
	}
	for _, r := range records {
		framed = appendFramed(framed, r)
	}
	return framed, nil
}

// events returns the event log from a tick on, up to a checkpoint's, as a pack, and where it
// goes on after that. What is lost of it is left out.
func (a *archived) events(from int64, to uint64) (packed []byte, next int64, err error) {
	log, closeLog, err := openReadOnly(filepath.Join(a.dir, store.DirEvents))
	if err != nil {
		return nil, from, err
	}
	defer closeLog()
	var b bytes.Buffer
	w := pack.NewWriter(&b)
	first, n := uint64(from), 0
	for checkpoint, err := range store.After(a.dir, max(first, 1)-1, first == 0) {
		if err != nil {
			return nil, from, err
		}
		c, err := verifier.Parse(checkpoint)
		if err != nil {
			return nil, from, err
		}
		if c.TickNumber > to || b.Len() > maxIncrement {
			break
		}
		there, err := addEvents(w, log, first)
		if err != nil {
			return nil, from, err
		}
		if there {
			n++
		}
		first = c.TickNumber + 1
	}
	if n == 0 {
		return nil, int64(first), nil
	}
	if _, _, err := w.Close(); err != nil {
		return nil, from, err
	}
	return b.Bytes(), int64(first), nil
}

// addEvents adds a segment of the event log to a pack, and what it names.
func addEvents(w *pack.Writer, log *eventlog.Log, first uint64) (there bool, err error) {
	f, err := log.Raw(first)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	if err := w.Segment(first, size, io.NewSectionReader(f, 0, size)); err != nil {
		return false, err
	}
	payloads, _, err := eventlog.Scan(io.NewSectionReader(f, 0, size))
	if err != nil {
		return false, err
	}
	for _, hash := range payloads {
		if w.HasPayload(hash) {
			continue
		}
		content, err := log.Payload(hash)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = w.Payload(hash, int64(len(content)), bytes.NewReader(content))
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// receiptsTo returns the whole receipts in a file after an offset, up to a tick, and where
// they end.
func receiptsTo(root *os.Root, name string, from int64, tick uint64) (b []byte, end int64, err error) {
	f, err := (readOnly{root: root}).Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, from, nil
	}
	if err != nil {
		return nil, from, err
	}
	defer f.Close()
	r := receipts.NewReader(io.NewSectionReader(f, from, math.MaxInt64-from))
	for len(b) < maxIncrement {
		got, err := r.Next()
		if err != nil {
			break // its end, or what is not whole yet; damage is for those who verify
		}
		if e, ok := got.(*receipts.Execution); ok && e.Tick > tick {
			break
		}
		b = got.Append(b)
		end = from + r.Offset()
	}
	if len(b) == 0 {
		return nil, from, nil
	}
	return b, end, nil
}

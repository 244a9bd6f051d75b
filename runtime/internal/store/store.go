// Package store keeps an agent's life in a folder.
//
//	agent.wasm            the program
//	agent.manifest.json   what it may reach
//	key                   its Ed25519 private key: PKCS #8 in PEM, mode 0600
//	history/%010d.ckpt    its checkpoints, by tick: the newest
//	history/A-B.car       and older ones, in segments (package segment)
//	events/               what it observed (package eventlog)
//	events/A-B.pack       between the checkpoints of a segment (package pack)
//	packed                the mark: how far the life is packed
//	journal               its side effects (package journal)
//	receipts              what it paid, and what its time was (package receipt)
//	damaged/              what was set aside
//	run                   which process ran it last, and how that ended, for people
//	lock                  who has the folder open; the lock itself is the kernel's
//
// The newest checkpoint is the newest file of history/, and nothing else says
// so: a checkpoint and its place in the history are one write. A checkpoint is
// written beside the history under another name, synced, linked to its name,
// and the folder is synced; only then does [Store.Append] return. A process
// that is killed in between leaves either nothing or the whole checkpoint. Several
// checkpoints that are appended at once share these syncs: a group commit. Then
// their first names are synced too, for a machine that loses power may find any of
// the names that were being given: what lacks its own, and has one that names it as
// its predecessor, gets it when the folder is opened.
//
// A folder can be copied with cp -r, and its life goes on from the copy.
//
// Every path is opened below the folder (os.Root): neither a link nor a name
// leads out of it.
package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"igor.dev/runtime/internal/failpoint"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/pack"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

const (
	fileWASM     = "agent.wasm"
	fileManifest = "agent.manifest.json"
	fileKey      = "key"
	fileLock     = "lock"
	DirHistory   = "history"
	dirDamaged   = "damaged"
	DirEvents    = "events"
	dirPayloads  = "payloads" // in DirEvents

	// extNext ends the name of a checkpoint until it has its name. A file of such a
	// name is no checkpoint of the history, whatever is in it.
	extNext = ".next"
)

// An Appender takes checkpoints that are to be durable.
type Appender interface {
	// Append makes next, in their order, the successors of prev, the hash of the
	// newest checkpoint, or zero if there is none. It returns when all of them are
	// durable. It fails with ErrConflict, and changes nothing, if prev is not the
	// newest.
	//
	// before makes durable what has to be there with them. It may run while they are
	// written, and if it fails, none of them becomes part of the history.
	Append(prev verifier.Hash, before func() error, next ...[]byte) error
}

// Create makes an agent's folder at once and whole: dir is there afterwards or it is
// not. It has to be absent or empty before. begin makes what the life begins with, in
// the folder before it has its name: first the key, where [Store.Path] says.
func Create(dir string, wasm, manifest []byte, begin func(*Store) error) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return inUse(dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Build(dir, func(root *os.Root) error {
		for _, f := range []struct {
			name string
			data []byte
			mode fs.FileMode
		}{
			{fileWASM, wasm, 0o644},
			{fileManifest, manifest, 0o644},
		} {
			if err := writeFile(root, f.name, f.data, f.mode); err != nil {
				return err
			}
		}
		for _, name := range []string{DirHistory, DirEvents, filepath.Join(DirEvents, dirPayloads)} {
			if err := root.Mkdir(name, 0o755); err != nil {
				return err
			}
		}
		s, err := Open(root.Name())
		if err != nil {
			return err
		}
		s.dir = dir
		return errors.Join(begin(s), s.Close())
	})
}

func inUse(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, fileKey)); err == nil {
		return hint.Wrap(&inUseError{fmt.Errorf("%s already holds an agent", dir)},
			"to go on with its life: igor resume %s; to start another one, name another folder with --dir", dir)
	}
	if isMountPoint(dir) {
		return mountPoint(dir)
	}
	return hint.Wrap(&inUseError{fmt.Errorf("%s is not empty", dir)}, "name another folder with --dir")
}

// mountPoint refuses a volume's own folder: an agent's folder gets its name when it
// is whole, and this one has its name already.
func mountPoint(dir string) error {
	return hint.Wrap(fmt.Errorf("%s is a mount point", dir), "name a folder in it, such as --dir %s", filepath.Join(dir, "agent"))
}

// inAgent refuses a folder that is an agent's, or in one: another life in it would be
// taken for a part of its history.
func inAgent(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	for {
		if IsAgent(abs) {
			return hint.Wrap(fmt.Errorf("%s is an agent's folder, and no agent lives in another's", abs), "name a folder outside of it with --dir, such as --dir %s", filepath.Join(filepath.Dir(abs), "agent"))
		}
		up := filepath.Dir(abs)
		if up == abs {
			return nil
		}
		abs = up
	}
}

// IsAgent reports whether a folder looks like an agent's: it has a history, and a key
// or a program beside it.
func IsAgent(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, DirHistory))
	return err == nil && info.IsDir() && HasParts(dir)
}

// HasParts reports whether there is something in a folder that an agent has beside its
// history, and that a history alone has not.
func HasParts(dir string) bool {
	return slices.ContainsFunc([]string{fileKey, fileWASM, fileLock}, func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	})
}

// Remains reports whether a folder without a history is what is left of an agent's.
func Remains(dir string) bool {
	for _, name := range []string{fileKey, fileWASM} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// Build fills a new folder beside dir, makes it durable, and gives it its name.
// dir has to be absent or empty.
func Build(dir string, fill func(*os.Root) error) error {
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if err := inAgent(parent); err != nil {
		return err
	}
	if isMountPoint(dir) {
		return mountPoint(dir)
	}
	Sweep(parent)
	tmp, err := os.MkdirTemp(parent, newPrefix+"*")
	if err != nil {
		return cannotMake(dir, err)
	}
	defer os.RemoveAll(tmp) // what is left of it after a failure
	defer hold(tmp)()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := probe(root, parent); err != nil {
		return err
	}
	if err := fill(root); err != nil {
		return err
	}
	failpoint.Reach(failpoint.FolderFilled)
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(root, path)
	})
	if err != nil {
		return err
	}
	// os.Rename replaces no folder, and this removes no other than an empty one.
	switch err := syscall.Rmdir(dir); {
	case errors.Is(err, syscall.EBUSY): // mounted from the same file system
		return mountPoint(dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return inUse(dir)
	}
	failpoint.Reach(failpoint.FolderSynced)
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	failpoint.Reach(failpoint.FolderNamed)
	p, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer p.Close()
	return syncDir(p, ".")
}

// probe finds out before anything is made whether a file system has what a history
// needs: names that are given at once, and once.
func probe(root *os.Root, dir string) error {
	const a, b = ".probe", ".probe.link"
	for _, left := range []string{a, b} { // by a process that was killed
		if err := root.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := root.OpenFile(a, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	err = root.Link(a, b)
	switch {
	case isNoLinks(err):
		return errors.Join(unsupported(dir, "no hard links"), root.Remove(a))
	case err != nil:
		return errors.Join(err, root.Remove(a))
	}
	return errors.Join(root.Remove(a), root.Remove(b))
}

// isNoLinks tells a file system that has no hard links from one that is full, or
// fails.
func isNoLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}

// cannotMake names what was to be made: the error has a name that was made up for it
// in the same folder.
func cannotMake(path string, err error) error {
	p, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return err
	}
	err = fmt.Errorf("cannot make %s: %w", path, p.Err)
	if errors.Is(p.Err, fs.ErrNotExist) {
		return hint.Wrap(err, "make the folder that it is to be in, or name another one")
	}
	return err
}

// writeFile makes a new file durable, but for its name.
func writeFile(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(root *os.Root, name string) error { return wal.SyncDir(root, name) }

// SyncDir makes the names in a folder durable.
func SyncDir(root *os.Root, name string) error { return wal.SyncDir(root, name) }

// SyncsDirs reports whether the folder's file system makes names durable when it is
// asked to. Where it does not, a machine that loses power may lose what was said to
// be durable.
func (s *Store) SyncsDirs() (bool, error) { return wal.SyncsDirs(s.history, ".") }

// A Store is an agent's folder, locked. It is not safe for concurrent use.
type Store struct {
	dir       string
	root      *os.Root
	history   *os.Root
	events    *os.Root // nil until they are asked for
	payloads  *os.Root
	lock      *os.File
	head      verifier.Hash // of the newest checkpoint, once recovered
	mark      *pack.Mark    // how far the history is packed; nil = it is not known
	packs     *Packs        // of the event log, nil = nobody looked
	recovered bool
	failed    error // why nothing can be appended any more

	// Verified is a checkpoint that was verified a moment ago, with all that leads to it.
	Verified verifier.Hash

	// Syncs makes what is written durable; nil = each file by itself.
	Syncs *wal.Group

	// Through, if it is there, has the folder of the given name written through
	// another one: a test's, that fails.
	Through func(name string, folder wal.Folder) wal.Folder
}

// through returns a folder to write to.
func (s *Store) through(name string, root *os.Root) wal.Folder {
	folder := wal.DirIn(root, s.Syncs)
	if s.Through != nil {
		folder = s.Through(name, folder)
	}
	return folder
}

// Open locks an agent's folder and clears away what a killed process left.
func Open(dir string) (_ *Store, err error) {
	s := &Store{dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.root, err = os.OpenRoot(dir); err != nil {
		return nil, notAgent(dir, err)
	}
	if s.history, err = s.root.OpenRoot(DirHistory); err != nil {
		return nil, notAgent(dir, err)
	}
	if s.lock, err = Lock(s.root, dir); err != nil {
		return nil, err
	}
	if err := probe(s.root, dir); err != nil { // before anything is lived that cannot be kept
		return nil, err
	}
	if err := s.finish(); err != nil {
		return nil, err
	}
	return s, nil
}

// finish ends a group commit that a killed process or a loss of power cut off: a
// checkpoint that has only its first name gets its own, if one that is in the history
// names it as its predecessor. The others were never part of the history.
func (s *Store) finish() error {
	left, err := fs.Glob(s.history.FS(), "*"+extNext)
	if err != nil || len(left) == 0 {
		return err
	}
	ticks, err := s.Ticks()
	if err != nil {
		return err
	}
	linked := false
	slices.Sort(left)
	for _, next := range slices.Backward(left) {
		name := strings.TrimSuffix(next, extNext)
		tick, err := strconv.ParseUint(strings.TrimSuffix(name, history.Ext), 10, 64)
		at, there := slices.BinarySearch(ticks, tick)
		if err != nil || name != FileName(tick) || there || at == len(ticks) {
			continue
		}
		after, err := s.checkpoint(ticks[at])
		if err != nil {
			return err
		}
		b, err := readRegular(s.history, next, verifier.MaxCheckpointSize)
		if err != nil {
			return fmt.Errorf("%s: %w", s.historyPath(next), err)
		}
		if c, err := verifier.Parse(after); err != nil || c.PrevHash != sha256.Sum256(b) {
			continue
		}
		if err := s.history.Link(next, name); err != nil {
			return err
		}
		ticks, linked = slices.Insert(ticks, at, tick), true
	}
	if linked {
		if err := syncDir(s.history, "."); err != nil {
			return err
		}
	}
	for _, next := range left {
		if err := s.history.Remove(next); err != nil {
			return err
		}
	}
	return nil
}

func notAgent(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if Remains(dir) {
			return hint.Wrap(&notFolderError{fmt.Errorf("%s has an agent's key and program, and its history is missing", dir)},
				"restore the folder history from a copy, or from an export: igor history import")
		}
		err = errors.New("there is no such folder, or no history/ in it")
	} else if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return hint.Wrap(&notFolderError{fmt.Errorf("%s is not an agent's folder: %w", dir, err)},
		"name the folder that igor run made, or a copy of it")
}

// NotFolder says that dir is no agent's folder.
func NotFolder(dir string) error {
	err := error(fs.ErrNotExist)
	if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return notAgent(dir, err)
}

// Dir returns the folder's path.
func (s *Store) Dir() string { return s.dir }

// Path is where the folder is now: before it has its name, not in [Store.Dir].
func (s *Store) Path() string { return s.root.Name() }

// Close gives the folder free.
func (s *Store) Close() error {
	var errs []error
	if s.packs != nil {
		errs = append(errs, s.packs.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	for _, r := range []*os.Root{s.history, s.payloads, s.events, s.root} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// WASM returns the agent's program.
func (s *Store) WASM() ([]byte, error) { return s.part(fileWASM, sandbox.MaxModule) }

// Manifest returns the agent's manifest, as it was given.
func (s *Store) Manifest() ([]byte, error) { return s.part(fileManifest, manifest.MaxSize) }

// BadManifest says of what is wrong with the agent's manifest that it was damaged: it was
// good when the life began.
func (s *Store) BadManifest(err error) error {
	path := s.path(fileManifest)
	return hint.Wrap(damaged(path, "%s is not the manifest that the agent was given: %v", path, err), "put it back from a copy of the folder; igor repair %s --manifest FILE takes one only if it is the agent's own", s.dir)
}

// part reads a file that every agent has.
func (s *Store) part(name string, limit int64) ([]byte, error) {
	b, err := s.readFile(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		flag := map[string]string{fileWASM: "wasm", fileManifest: "manifest"}[name]
		err = hint.Wrap(damaged(s.path(name), "%s has no %s", s.dir, name), "put it back from a copy of the folder; igor repair %s --%s FILE takes one only if it is the agent's own", s.dir, flag)
	}
	return b, err
}

// Folder is the agent's folder, for the files that other packages keep in it.
func (s *Store) Folder() wal.Folder { return s.through(".", s.root) }

// Events returns the folders of the event log. If the agent has none, as one that
// was born before there were event logs, it makes them, and made is true.
func (s *Store) Events() (segments, payloads wal.Folder, made bool, err error) {
	if s.events == nil {
		for _, name := range []string{DirEvents, filepath.Join(DirEvents, dirPayloads)} {
			err := s.root.Mkdir(name, 0o755)
			if err == nil {
				made = made || name == DirEvents
				err = syncDir(s.root, filepath.Dir(name))
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, nil, false, err
			}
		}
		if s.events, err = s.root.OpenRoot(DirEvents); err != nil {
			return nil, nil, false, err
		}
		if s.payloads, err = s.events.OpenRoot(dirPayloads); err != nil {
			return nil, nil, false, err
		}
	}
	return s.through(DirEvents, s.events), s.through(dirPayloads, s.payloads), made, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// readFile reads a regular file of the folder, up to a limit.
func (s *Store) readFile(name string, limit int64) ([]byte, error) {
	b, err := readRegular(s.root, name, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(name), err)
	}
	return b, nil
}

func readRegular(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Stat(name) // before it is opened: opening a pipe would wait
	if err != nil {
		return nil, bare(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, bare(err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return b, nil
}

// bare takes the path off an error whose message gets a better one.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// FileName returns the name of the checkpoint of a tick. Names prove nothing;
// they are for people, and for the folder to find its newest checkpoint by.
func FileName(tick uint64) string { return fmt.Sprintf("%010d%s", tick, history.Ext) }

// Ticks returns the ticks of the checkpoints in the history by their names, in order.
func (s *Store) Ticks() ([]uint64, error) {
	entries, err := fs.ReadDir(s.history.FS(), ".")
	if err != nil {
		return nil, err
	}
	var ticks []uint64
	for _, e := range entries {
		if !history.IsCheckpoint(e.Name()) {
			continue
		}
		tick, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), history.Ext), 10, 64)
		if err != nil || e.Name() != FileName(tick) {
			path := s.path(filepath.Join(DirHistory, e.Name()))
			return nil, hint.Wrap(damaged(path, "%s does not have a name that igor gives", path),
				"move it out of the history, or give it its name back, such as %s for tick 1", FileName(1))
		}
		ticks = append(ticks, tick)
	}
	slices.Sort(ticks)
	return ticks, nil
}

// Append implements [Appender].
func (s *Store) Append(prev verifier.Hash, before func() error, next ...[]byte) error {
	switch {
	case s.failed != nil:
		return s.failed
	case !s.recovered || prev != s.head || len(next) == 0:
		return ErrConflict
	}
	names := make([]string, len(next))
	for i, b := range next {
		c, err := verifier.Parse(b)
		if err != nil {
			return err
		}
		names[i] = FileName(c.TickNumber)
	}
	if err := s.write(names, before, next); err != nil {
		return fmt.Errorf("%s: %w", s.historyPath(names[0]), err)
	}
	s.head = sha256.Sum256(next[len(next)-1])
	return nil
}

func (s *Store) write(names []string, before func() error, data [][]byte) error {
	folder := s.through(DirHistory, s.history)
	// A disk commits what is synced at the same time in about the time of one sync.
	var all sync.WaitGroup
	errs := make([]error, len(names))
	for i := range names {
		all.Go(func() { errs[i] = wal.Write(folder, names[i]+extNext, bytes.NewReader(data[i])) })
	}
	err := before()
	all.Wait()
	err = errors.Join(append(errs, err)...)
	if err == nil && len(names) > 1 {
		err = folder.Sync() // so that what is linked can be finished
	}
	failpoint.Reach(failpoint.CheckpointWritten)
	linked := 0
	for err == nil && linked < len(names) {
		err = folder.Link(names[linked]+extNext, names[linked]) // unlike a rename, it replaces nothing
		switch {
		case err == nil:
			linked++
			failpoint.Reach(failpoint.CheckpointLinked)
		case linked == 0 && errors.Is(err, fs.ErrExist):
			err = ErrConflict
		}
	}
	if linked > 0 && err == nil {
		err = folder.Sync()
		failpoint.Reach(failpoint.CheckpointSynced)
	}
	if linked == 0 || err == nil { // else the first names may still be needed
		for _, name := range names {
			if removed := folder.Remove(name + extNext); err == nil {
				err = removed
			}
		}
	}
	if linked == 0 {
		return err
	}
	if err != nil {
		// The checkpoints may be durable or not; only a new look can tell.
		s.failed = fmt.Errorf("the folder cannot be written any more: %w", err)
	}
	return s.failed
}

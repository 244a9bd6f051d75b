// Package dir is an authority and a replica in a folder: on another disk of the machine,
// or on a network file system that has locks.
//
//	STORE/z6Mk…/position           the agent's position (docs/spec/position.md), and behind
//	                               it what went with the append
//	STORE/z6Mk…/blobs/N-KIND-HASH  what was put for append N
//	STORE/z6Mk…/lock               held while a position is compared and replaced
//
// An agent's folder in it is named by the agent's DID, without "did:key:". Whoever can
// write the folder is trusted.
package dir

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"igor.dev/authority"
	"igor.dev/verifier"
)

const (
	filePosition = "position"
	fileLock     = "lock"
	dirBlobs     = "blobs"
	temporary    = ".new-"
)

// A Store is an [authority.Authority] and an [authority.Replica]. It is safe for
// concurrent use, and other processes may use the folder too.
type Store struct {
	dir string

	// told has positions come from whoever asks, who knows them: [Blobs].
	told bool

	mu    sync.Mutex
	named map[verifier.PublicKey]named // what was found last
}

// named is what a position names, with all that it needs, and the files in which that is.
type named struct {
	position authority.Position
	files    map[authority.Name]string
}

// Open opens the store in dir, which is made if it is absent.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Store{dir: abs, named: map[verifier.PublicKey]named{}}, syncDir(filepath.Dir(abs))
}

// Blobs opens the store in dir as what keeps the blobs of a member of a fleet, which has the
// positions elsewhere: it believes those that it is called with, and has none itself.
func Blobs(dir string) (authority.Replica, error) {
	s, err := Open(dir)
	if err == nil {
		s.told = true
	}
	return s, err
}

// Find opens the store in dir, which has to be there.
func Find(dir string) (*Store, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the store cannot be reached: %w", err)
	}
	return Open(dir)
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(agent verifier.PublicKey, names ...string) string {
	return filepath.Join(append([]string{s.dir, strings.TrimPrefix(agent.DID(), "did:key:")}, names...)...)
}

// Read implements [authority.Authority].
func (s *Store) Read(_ context.Context, agent verifier.PublicKey) (authority.Position, error) {
	p, _, err := s.Record(context.Background(), agent)
	return p, err
}

// Record implements [authority.Recording].
func (s *Store) Record(_ context.Context, agent verifier.PublicKey) (authority.Position, []byte, error) {
	p, record, err := s.read(agent)
	if err == nil && p.IsZero() {
		err = authority.ErrNone
	}
	return p, record, err
}

func (s *Store) read(agent verifier.PublicKey) (p authority.Position, record []byte, err error) {
	path := s.path(agent, filePosition)
	if _, err := os.Stat(s.dir); err != nil {
		return p, nil, fmt.Errorf("the store cannot be reached: %w", err)
	}
	b, err := readFile(path, int64(authority.PositionSize+authority.MaxRecord))
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil, nil
	}
	if err != nil {
		return p, nil, err
	}
	of, p, record, err := authority.ParseWith(b)
	if err == nil && of != agent {
		err = errors.New("it is another agent's")
	}
	if err != nil {
		return authority.Position{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, record, nil
}

// Append implements [authority.Authority].
func (s *Store) Append(ctx context.Context, agent verifier.PublicKey, prev, next authority.Position) error {
	return s.AppendRecord(ctx, agent, prev, next, nil)
}

// AppendRecord implements [authority.Recording]. A record is behind the position, in the
// same file: who sees it sees that the append was made.
func (s *Store) AppendRecord(_ context.Context, agent verifier.PublicKey, prev, next authority.Position, record []byte) (err error) {
	if len(record) > 0 && (len(record) > authority.MaxRecord || sha256.Sum256(record) != next.Record) {
		return &authority.RuleError{Reason: "the position does not name the record that goes with it"}
	}
	if err := s.make(agent); err != nil {
		return err
	}
	lock, err := os.OpenFile(s.path(agent, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := exclusive(lock); err != nil {
		return fmt.Errorf("%s: %w", lock.Name(), err)
	}
	have, _, err := s.read(agent)
	if err != nil {
		return err
	}
	if have != prev {
		return &authority.Conflict{Have: have}
	}
	if _, err := prev.Allows(&next); err != nil {
		return err
	}
	return write(s.path(agent), filePosition, next.AppendWith(nil, agent, record))
}

// make makes an agent's folder.
func (s *Store) make(agent verifier.PublicKey) error {
	blobs := s.path(agent, dirBlobs)
	if _, err := os.Stat(blobs); err == nil {
		return nil
	}
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}
	return errors.Join(syncDir(s.path(agent)), syncDir(s.dir))
}

// Put implements [authority.Replica].
func (s *Store) Put(_ context.Context, agent verifier.PublicKey, sequence uint64, blobs ...authority.Blob) error {
	if err := s.make(agent); err != nil {
		return err
	}
	dir := s.path(agent, dirBlobs)
	// A disk commits what is synced at the same time in about the time of one sync.
	var all sync.WaitGroup
	errs := make([]error, len(blobs))
	for i := range blobs {
		all.Go(func() { errs[i] = give(dir, fileName(sequence, blobs[i].Name), blobs[i].Append(nil)) })
	}
	all.Wait()
	return errors.Join(append(errs, syncDir(dir))...)
}

func fileName(sequence uint64, name authority.Name) string {
	return fmt.Sprintf("%d-%s", sequence, name)
}

// parseFileName returns for which append a file was put, and its blob's name.
func parseFileName(file string) (sequence uint64, name string, ok bool) {
	number, name, ok := strings.Cut(file, "-")
	sequence, err := strconv.ParseUint(number, 10, 64)
	return sequence, name, ok && err == nil && !strings.HasPrefix(file, temporary)
}

// find returns the files in which an agent's blobs are.
func (s *Store) find(agent verifier.PublicKey) (map[string][]string, error) {
	entries, err := os.ReadDir(s.path(agent, dirBlobs))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := map[string][]string{}
	for _, e := range entries {
		if _, name, ok := parseFileName(e.Name()); ok {
			files[name] = append(files[name], e.Name())
		}
	}
	return files, nil
}

// blob returns what a file is to have.
func (s *Store) blob(agent verifier.PublicKey, file string, name authority.Name) (b authority.Blob, err error) {
	raw, err := readFile(s.path(agent, dirBlobs, file), maxBlob)
	if errors.Is(err, fs.ErrNotExist) {
		return b, authority.ErrMissing
	}
	if err != nil {
		return b, err
	}
	if b, err = authority.ParseBlob(raw); err == nil && b.Name != name {
		err = fmt.Errorf("%s has %s", file, b.Name)
	}
	return b, err
}

const maxBlob = authority.MaxData + 40*authority.MaxNeeds + 1024

// versions returns the files of a blob, what was put last, for a position or before, first;
// what was put for a later one comes at the end.
func versions(files map[string][]string, name authority.Name, p authority.Position) []string {
	all := files[name.String()]
	slices.SortFunc(all, func(a, b string) int {
		x, _, _ := parseFileName(a)
		y, _, _ := parseFileName(b)
		if later := x > p.Sequence; later != (y > p.Sequence) {
			return map[bool]int{true: 1, false: -1}[later]
		}
		return cmp.Compare(y, x)
	})
	return all
}

// reach returns what the agent's position names, with all that it needs.
func (s *Store) reach(agent verifier.PublicKey, p authority.Position) (named, error) {
	if !s.told {
		var err error
		if p, _, err = s.read(agent); err != nil {
			return named{}, err
		}
	}
	s.mu.Lock()
	known, ok := s.named[agent]
	s.mu.Unlock()
	if ok && known.position == p {
		return known, nil
	}
	files, err := s.find(agent)
	if err != nil {
		return named{}, err
	}
	chosen := map[authority.Name]string{}
	all, err := p.Gather(func(name authority.Name) iter.Seq2[authority.Blob, error] {
		return func(yield func(authority.Blob, error) bool) {
			for _, file := range versions(files, name, p) {
				b, err := s.blob(agent, file, name)
				b.Data = nil // which is not what counts here
				chosen[name] = file
				if !yield(b, err) {
					return
				}
			}
		}
	})
	if err != nil {
		return named{}, err
	}
	n := named{p, map[authority.Name]string{}}
	for name := range all {
		n.files[name] = chosen[name]
	}
	s.mu.Lock()
	s.named[agent] = n
	s.mu.Unlock()
	return n, nil
}

// Get implements [authority.Replica].
func (s *Store) Get(_ context.Context, agent verifier.PublicKey, of authority.Position, name authority.Name) (authority.Blob, error) {
	n, err := s.reach(agent, of)
	if s.told && err != nil {
		return s.part(agent, of, name)
	}
	if err != nil {
		return authority.Blob{}, err
	}
	file, ok := n.files[name]
	if n.position != of || !ok {
		return authority.Blob{}, authority.ErrNotNamed
	}
	return s.blob(agent, file, name)
}

// part returns a blob where not all that a position names is here: the rest is elsewhere. It
// is what was put for that position or before, which need not be what the position names.
func (s *Store) part(agent verifier.PublicKey, of authority.Position, name authority.Name) (b authority.Blob, err error) {
	files, err := s.find(agent)
	if err != nil {
		return b, err
	}
	err = authority.ErrMissing
	for _, file := range versions(files, name, of) {
		if sequence, _, _ := parseFileName(file); sequence > of.Sequence {
			break
		}
		if b, err = s.blob(agent, file, name); err == nil {
			return b, nil
		}
	}
	return authority.Blob{}, err
}

// Accept implements [authority.Replica]. It believes its own position.
func (s *Store) Accept(_ context.Context, agent verifier.PublicKey, p authority.Position) error {
	n, err := s.reach(agent, p)
	if err != nil {
		return err // what is not whole is not tidied up
	}
	files, err := s.find(agent)
	if err != nil {
		return err
	}
	if err := s.sweep(agent); err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, file := range n.files {
		kept[file] = true
	}
	for _, all := range files {
		for _, file := range all {
			sequence, _, _ := parseFileName(file)
			if sequence <= n.position.Sequence && !kept[file] {
				if err := os.Remove(s.path(agent, dirBlobs, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}

// unfinished is how old a file without its name is that a killed process left.
const unfinished = time.Hour

func (s *Store) sweep(agent verifier.PublicKey) error {
	left, err := filepath.Glob(s.path(agent, dirBlobs, temporary+"*"))
	for _, file := range left {
		if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > unfinished {
			os.Remove(file)
		}
	}
	return err
}

func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, limit)
	}
	return os.ReadFile(path)
}

// give makes a whole file durable, but for its name.
func give(dir, name string, data []byte) error {
	tmp := filepath.Join(dir, temporary+rand.Text())
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

func write(dir, name string, data []byte) error {
	if err := give(dir, name, data); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

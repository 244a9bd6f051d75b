package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"

	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// PutBack puts checkpoints into the history of a folder that lacks them, or has the same
// ones. With whole, the history begins with the genesis then; without, they are those
// before the oldest one, if any.
func (s *Store) PutBack(checkpoints iter.Seq2[[]byte, error], whole bool) error {
	// A disk commits what is synced at the same time in about the time of one sync.
	errs := make(chan error, 1)
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, 64)
	for b, err := range checkpoints {
		if err != nil {
			return err
		}
		c, err := verifier.Parse(b)
		if err != nil {
			return err
		}
		b = bytes.Clone(b)
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			if err := s.putBack(c.TickNumber, b); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
		if len(errs) > 0 {
			break
		}
	}
	all.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	if err := syncDir(s.history, "."); err != nil {
		return err
	}
	if !whole {
		return s.beginsEarlier()
	}
	err := s.root.Remove(fileRestored)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return cmp.Or(err, syncDir(s.root, "."))
}

func (s *Store) putBack(tick uint64, b []byte) error {
	err := writeFile(s.history, FileName(tick), b, 0o644)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, err := s.checkpoint(tick)
	if err == nil && !bytes.Equal(there, b) {
		err = fmt.Errorf("%s has another checkpoint of tick %d than the archive", s.dir, tick)
	}
	return err
}

// beginsEarlier has a restored history begin with the oldest checkpoint that is there now.
func (s *Store) beginsEarlier() error {
	at, err := s.restored()
	if err != nil || at == nil {
		return err
	}
	h, err := OpenHistory(s.dir)
	if err != nil {
		return err
	}
	defer h.Close()
	b, _, err := s.first(h)
	if err != nil {
		return err
	}
	first := verifier.Hash(sha256.Sum256(b))
	if first == at.Checkpoint {
		return nil
	}
	b, err = json.Marshal(beginningFile{hex.EncodeToString(at.Genesis[:]), hex.EncodeToString(first[:])})
	if err != nil {
		return err
	}
	return wal.WriteFile(s.Folder(), fileRestored+extNext, fileRestored, bytes.NewReader(append(b, '\n')), true)
}

// Program returns the agent's program and manifest of a folder, without its lock.
func Program(dir string) (wasm, man []byte, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	s := &Store{dir: dir, root: root}
	if wasm, err = s.WASM(); err != nil {
		return nil, nil, err
	}
	man, err = s.Manifest()
	return wasm, man, err
}

// TempBeside makes a folder beside dir for what is on its way there. A later command
// removes what a killed process leaves of it.
func TempBeside(dir string) (path string, release func(), err error) {
	parent := filepath.Dir(filepath.Clean(dir))
	Sweep(parent)
	if path, err = os.MkdirTemp(parent, newPrefix+"*"); err != nil {
		return "", nil, cannotMake(dir, err)
	}
	held := hold(path)
	return path, func() { os.RemoveAll(path); held() }, nil
}

// Checkpoint returns the checkpoint of a tick.
func (s *Store) Checkpoint(tick uint64) ([]byte, error) { return s.checkpoint(tick) }

// RecoverParts are what an archive has of a life beside its checkpoints.
type RecoverParts struct {
	WASM, Manifest []byte
	Key            []byte // as its file has it
}

// RestoreArchived makes an agent's folder of what an archive has of its life. rest makes
// what other packages keep in it, and puts the checkpoints back.
func RestoreArchived(dir string, r *RecoverParts, rest func(*Store) error) error {
	return Create(dir, r.WASM, r.Manifest, func(s *Store) error {
		if err := writeFile(s.root, fileKey, r.Key, 0o600); err != nil {
			return err
		}
		return rest(s)
	})
}

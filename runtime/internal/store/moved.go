package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"

	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// The files of an agent's hand-overs: docs/spec/handover.md.
const (
	fileMoved     = "moved"     // in the folder of an agent that was given away
	fileMoving    = "moving"    // the same, before its home was asked: it may be
	fileHandOvers = "handovers" // all records of its life
)

// Moved returns the commit of the hand-over by which the agent left a folder, nil if it
// did not.
func Moved(dir string, limit int64) ([]byte, error) {
	return readMove(dir, fileMoved, limit)
}

// Moving returns the commit of a hand-over that this folder was about to append to its
// agent's home, nil if there is none: whether it was appended the home says.
func Moving(dir string, limit int64) ([]byte, error) { return readMove(dir, fileMoving, limit) }

func readMove(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, notAgent(dir, err)
	}
	defer root.Close()
	b, err := readRegular(root, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Move says that the agent was given away, durably.
func (s *Store) Move(commit []byte) error {
	return wal.WriteFile(s.Folder(), fileMoved+extNext, fileMoved, bytes.NewReader(commit), false)
}

// KeepMove keeps the commit of a hand-over that is about to be appended, durably.
func (s *Store) KeepMove(commit []byte) error {
	return wal.WriteFile(s.Folder(), fileMoving+extNext, fileMoving, bytes.NewReader(commit), true)
}

// EndMove says what became of it: the agent was given away, or it was not. It is durable
// then.
func (s *Store) EndMove(moved bool) (err error) {
	folder := s.Folder()
	if moved {
		err = folder.Rename(fileMoving, fileMoved)
	} else {
		err = folder.Remove(fileMoving)
	}
	return errors.Join(err, folder.Sync())
}

// HandOvers returns the records of the agent's hand-overs.
func HandOvers(root *os.Root) ([]*verifier.HandOver, error) {
	b, err := readRegular(root, fileHandOvers, int64(verifier.HandOverSize*verifier.MaxHandOvers))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return verifier.ParseHandOvers(b)
}

// HandOvers is [HandOvers] of the folder.
func (s *Store) HandOvers() ([]*verifier.HandOver, error) { return HandOvers(s.root) }

// AddHandOver adds a record to the agent's, durably, if it is not there yet.
func AddHandOver(root *os.Root, h *verifier.HandOver) error {
	all, err := HandOvers(root)
	if err != nil || slices.ContainsFunc(all, func(o *verifier.HandOver) bool { return *o == *h }) {
		return err
	}
	if len(all) == verifier.MaxHandOvers {
		return errors.New("the agent was handed over too often for one file of records")
	}
	var b []byte
	for _, o := range append(all, h) {
		b = o.Append(b)
	}
	return wal.WriteFile(wal.Dir(root), fileHandOvers+extNext, fileHandOvers, bytes.NewReader(b), true)
}

// DropKey removes the agent's key from a folder, durably. That it is not there is no error.
func DropKey(root *os.Root) error {
	// What is overwritten may be elsewhere on the disk all the same: it is a promise, and
	// no proof.
	if f, err := root.OpenFile(fileKey, os.O_WRONLY, 0); err == nil {
		_, err = f.Write(make([]byte, maxKeyFile/4))
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := root.Remove(fileKey); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(root, ".")
}

// PutKey makes the key of an agent that came by a hand-over, durably.
func PutKey(root *os.Root, encoded []byte) error {
	if err := root.Remove(fileKey); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeFile(root, fileKey, encoded, 0o600); err != nil {
		return err
	}
	return syncDir(root, ".")
}

package store

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/hint"
	"igor.dev/verifier"
)

// fileRestored is in a folder whose history does not begin with the genesis, since it was
// made of what a successor needs: docs/spec/position.md.
const fileRestored = "restored"

const maxRestored = 4 << 10

// A Beginning is where a restored history begins.
type Beginning struct {
	Genesis    verifier.Hash // which is not in it
	Checkpoint verifier.Hash // the first that is
}

type beginningFile struct {
	Genesis    string `json:"genesis"`
	Checkpoint string `json:"checkpoint"`
}

// restored returns where a restored history begins, nil if it has its genesis.
func (s *Store) restored() (*Beginning, error) {
	b, err := readRegular(s.root, fileRestored, maxRestored)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var f beginningFile
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	var at Beginning
	for text, to := range map[string]*verifier.Hash{f.Genesis: &at.Genesis, f.Checkpoint: &at.Checkpoint} {
		if raw, hexErr := hex.DecodeString(text); err == nil && hexErr == nil && len(raw) == len(to) {
			copy(to[:], raw)
		}
	}
	if err == nil && (at.Genesis.IsZero() || at.Checkpoint.IsZero()) {
		err = errors.New("it does not name a genesis and a checkpoint")
	}
	if err != nil {
		path := s.path(fileRestored)
		return nil, hint.Wrap(&DamagedError{path, fmt.Errorf("%s: %w", path, err)}, "restore the folder again, with igor restore")
	}
	return &at, nil
}

// RestoredEnd reports whether the history in an agent's folder is the end of one because
// the folder was restored, and nothing else is wrong with it.
func RestoredEnd(dir string, report *verifier.Report) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	at, err := (&Store{dir: dir, root: root}).restored()
	return err == nil && at != nil && isEnd(report)
}

// Parts are what is left of a life that lost its folder.
type Parts struct {
	WASM, Manifest []byte
	Key            []byte // as its file has it
	Checkpoint     []byte
	Begins         Beginning
}

// Restore makes an agent's folder of what is left of its life. rest makes what other
// packages keep in it.
func Restore(dir string, r *Parts, rest func(*Store) error) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return inUse(dir)
	}
	c, err := verifier.Parse(r.Checkpoint)
	if err != nil {
		return err
	}
	begins, err := json.Marshal(beginningFile{hex.EncodeToString(r.Begins.Genesis[:]), hex.EncodeToString(r.Begins.Checkpoint[:])})
	if err != nil {
		return err
	}
	return Build(dir, func(root *os.Root) error {
		for _, name := range []string{DirHistory, DirEvents, filepath.Join(DirEvents, dirPayloads)} {
			if err := root.Mkdir(name, 0o755); err != nil {
				return err
			}
		}
		files := []struct {
			name string
			data []byte
			mode fs.FileMode
		}{
			{fileWASM, r.WASM, 0o644}, {fileManifest, r.Manifest, 0o644}, {fileKey, r.Key, 0o600},
			{filepath.Join(DirHistory, FileName(c.TickNumber)), r.Checkpoint, 0o644},
		}
		if r.Begins.Genesis != r.Begins.Checkpoint {
			files = append(files, struct {
				name string
				data []byte
				mode fs.FileMode
			}{fileRestored, append(begins, '\n'), 0o644})
		}
		for _, f := range files {
			if err := writeFile(root, f.name, f.data, f.mode); err != nil {
				return err
			}
		}
		s, err := Open(root.Name())
		if err != nil {
			return err
		}
		s.dir = dir
		return errors.Join(rest(s), s.Close())
	})
}

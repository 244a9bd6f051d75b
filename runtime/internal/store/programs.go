package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"igor.dev/runtime/internal/wal"
)

// DirPrograms is where an agent keeps the programs and manifests with which it lived
// before its upgrades, in the folder of its event log: to run that again takes them.
const DirPrograms = "programs"

// programs opens that folder, and makes it if it is to be written to.
func (s *Store) programs(write bool) (*os.Root, error) {
	if _, _, _, err := s.Events(); err != nil {
		return nil, err
	}
	if write {
		err := s.events.Mkdir(DirPrograms, 0o755)
		if err == nil {
			err = syncDir(s.events, ".")
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return s.events.OpenRoot(DirPrograms)
}

// Kept returns a file of a program or manifest that is kept, up to a limit.
func (s *Store) Kept(name string, limit int64) ([]byte, error) {
	root, err := s.programs(false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := readRegular(root, name, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(filepath.Join(DirEvents, DirPrograms, name)), err)
	}
	return b, nil
}

// Keep keeps files under their names, durably.
func (s *Store) Keep(files map[string][]byte) error {
	root, err := s.programs(true)
	if err != nil {
		return err
	}
	defer root.Close()
	folder := s.through(filepath.Join(DirEvents, DirPrograms), root)
	for name, content := range files {
		if err := wal.WriteFile(folder, ".next", name, bytes.NewReader(content), true); err != nil {
			return err
		}
	}
	return nil
}

// SetProgram replaces the agent's program and manifest, each of them durably. They are
// kept before, and the event log says which go on: this is for people, and for the
// next run not to have to look.
func (s *Store) SetProgram(wasm, man []byte) error {
	folder := s.Folder()
	err := wal.WriteFile(folder, "."+fileWASM+".next", fileWASM, bytes.NewReader(wasm), true)
	if err == nil {
		err = wal.WriteFile(folder, "."+fileManifest+".next", fileManifest, bytes.NewReader(man), true)
	}
	return err
}

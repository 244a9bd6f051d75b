package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"

	"igor.dev/runtime/internal/wal"
)

// fileRetired is in the folder of an agent that is retired: docs/spec/retirement.md.
const fileRetired = "retired"

// Retire says that the agent is retired, durably.
func (s *Store) Retire(statement []byte) error {
	return wal.WriteFile(s.Folder(), fileRetired+extNext, fileRetired, bytes.NewReader(statement), true)
}

// Retirement returns what the agent in a folder said when it was retired, nil if it is not.
func Retirement(dir string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, notAgent(dir, err)
	}
	defer root.Close()
	b, err := readRegular(root, fileRetired, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

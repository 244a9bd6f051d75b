package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/wal"
)

// fileHome is in a folder that is not its agent's home.
const fileHome = "home"

const maxHome = 64 << 10

// A Home says where it is decided who lives an agent.
type Home struct {
	Name string `json:"home"` // what it is called, such as a path; "" = the folder
	// Known says that the home knows of the agent: it has a position there.
	Known bool `json:"known"`
}

// Home returns where the agent's home is.
func (s *Store) Home() (h Home, err error) {
	b, err := readRegular(s.root, fileHome, maxHome)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err == nil && h.Name == "" {
		err = errors.New("it names no home")
	}
	if err != nil {
		path := s.path(fileHome)
		return h, hint.Wrap(&DamagedError{path, fmt.Errorf("%s: %w", path, err)}, "put it back from a copy of the folder: without it nobody knows who lives the agent")
	}
	return h, nil
}

// HomeOf is [Store.Home] of a folder, without its lock.
func HomeOf(dir string) (Home, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Home{}, err
	}
	defer root.Close()
	return (&Store{dir: dir, root: root}).Home()
}

// SetHome says where the agent's home is, durably.
func (s *Store) SetHome(h Home) error { return setHome(s.Folder(), h) }

// PutHome is [Store.SetHome] of a folder that nobody has opened.
func PutHome(root *os.Root, h Home) error { return setHome(wal.Dir(root), h) }

func setHome(folder wal.Folder, h Home) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return wal.WriteFile(folder, fileHome+extNext, fileHome, bytes.NewReader(append(b, '\n')), true)
}

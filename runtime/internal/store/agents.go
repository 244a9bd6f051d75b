package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/verifier/history"
)

// Agents returns the names of the folders directly in dir that are an agent's.
func Agents(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if history.Ignored(e.Name()) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				continue
			}
		} else if !e.IsDir() {
			continue
		}
		if HasAgent(path) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// HasAgent reports whether a folder is an agent's, one that has its history alone, what is
// left of one, or one that may be and that nobody may look into. A folder that has another
// thing called history is none of them.
func HasAgent(dir string) bool {
	if IsAgent(dir) || Remains(dir) {
		return true
	}
	f, err := os.Open(filepath.Join(dir, DirHistory))
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(100)
		for _, e := range entries {
			if history.IsCheckpoint(e.Name()) || filepath.Ext(e.Name()) == extCAR {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}

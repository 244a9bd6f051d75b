//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep checks that what killed births left, with a key in it, goes with the next
// birth in the same place, and nothing else does.
func TestSweep(t *testing.T) {
	tmp := t.TempDir()
	old := time.Now().Add(-time.Hour)
	make := func(name string) string {
		t.Helper()
		dir := filepath.Join(tmp, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fileKey), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead, alive, other := make(newPrefix+"1"), make(newPrefix+"2"), make("agent")
	link := filepath.Join(tmp, newPrefix+"link")
	if err := os.Symlink(other, link); err != nil {
		t.Fatal(err)
	}
	young := filepath.Join(tmp, newPrefix+"young")
	if err := os.Mkdir(young, 0o700); err != nil {
		t.Fatal(err)
	}
	defer hold(alive)()
	if err := Build(filepath.Join(tmp, "new"), func(*os.Root) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a killed birth left is there: %v", err)
	}
	for _, path := range []string{alive, filepath.Join(other, fileKey), link, young, filepath.Join(tmp, "new")} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

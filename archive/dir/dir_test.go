package dir_test

import (
	"os"
	"path/filepath"
	"testing"

	"igor.dev/archive"
	"igor.dev/archive/dir"
	"igor.dev/archive/targettest"
)

func open(t *testing.T) (*dir.Target, string) {
	path := filepath.Join(t.TempDir(), "archive")
	target, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return target, path
}

func TestTarget(t *testing.T) {
	target, path := open(t)
	targettest.Run(t, target)
	// Nothing is left that has no name.
	err := filepath.WalkDir(path, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name()[0] == '.' {
			t.Errorf("%s was left", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLinks leads out of the folder by links, which nothing follows.
func TestLinks(t *testing.T) {
	target, path := open(t)
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, filepath.Join(path, "igor")); err != nil {
		t.Skip(err)
	}
	if b, err := target.Get(t.Context(), "igor/secret", 0, 10); err == nil {
		t.Fatalf("read %q through a link", b)
	}
	if _, err := target.Put(t.Context(), "igor/new", []byte("x"), true); err == nil {
		t.Fatal("wrote through a link")
	}
}

func TestPipe(t *testing.T) {
	target, path := open(t)
	if err := os.Mkdir(filepath.Join(path, "igor"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Get(t.Context(), "igor", 0, 10); err == nil {
		t.Fatal("read a folder")
	}
}

// TestNotMounted: a folder is made, the one that it is in is not.
func TestNotMounted(t *testing.T) {
	if _, err := dir.Open(filepath.Join(t.TempDir(), "not", "mounted")); err == nil {
		t.Fatal("made a folder in one that is not there")
	}
}

var _ archive.Target = (*dir.Target)(nil)

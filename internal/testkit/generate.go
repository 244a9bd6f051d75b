package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// GeneratedDir finds a folder of testdata in the module around the working directory.
func GeneratedDir(folder string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata", folder), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory; run it inside the module")
		}
		dir = parent
	}
}

// Generate makes a folder of testdata hold exactly these JSON files, and what else lies there,
// on behalf of a program that it ends if that fails.
func Generate(program, folder string, files map[string][]byte) {
	if err := generate(folder, files); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		os.Exit(1)
	}
}

func generate(folder string, files map[string][]byte) error {
	dir, err := GeneratedDir(folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Generated holds a folder of testdata to what its program writes, which is at least so many
// JSON files.
func Generated(t *testing.T, program, folder string, least int, files map[string][]byte) {
	t.Helper()
	dir, err := GeneratedDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < least {
		t.Fatalf("only %d vectors", len(files))
	}
	for name, b := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s is not what the generator writes; run go run ./internal/testkit/%s", name, program)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) != len(files) {
		t.Errorf("%d files, want %d, %v", len(names), len(files), err)
	}
}

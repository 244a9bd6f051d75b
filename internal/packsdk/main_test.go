package main

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"testing"
)

const checkout = "../.."

// TestPacked holds the zip that igor has inside against the sources.
func TestPacked(t *testing.T) {
	committed, err := os.ReadFile("../../cmd/igor/sdk.zip")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := pack(os.DirFS(checkout))
	if err != nil {
		t.Fatal(err)
	}
	want, got := contents(t, packed), contents(t, committed)
	for name, b := range want {
		if got[name] != b {
			t.Errorf("%s is another one in sdk.zip: run go generate ./cmd/igor", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is in sdk.zip alone: run go generate ./cmd/igor", name)
	}
	for _, name := range []string{
		"go/sdk/go.mod", "go/sdk/sdk.go", "go/sdk/sdktest/sdktest.go", "go/sdk/internal/host/host.go", "go/effects/go.mod", "go/effects/log.go",
		"rust/igor-sdk/Cargo.toml", "rust/igor-sdk/src/lib.rs", "assemblyscript/@igor-dev/sdk/index.ts", "assemblyscript/@igor-dev/sdk/testing.js",
		"c/igor.h", "c/igor_test.h", "LICENSE",
	} {
		if want[name] == "" {
			t.Errorf("%s is not packed", name)
		}
	}
}

func contents(t *testing.T, b []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range archive.File {
		content, err := fs.ReadFile(archive, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(content)
	}
	return all
}

// Packsdk writes the sources that an agent needs of igor.dev/sdk and
// igor.dev/effects into a zip, which igor new has inside.
//
//	packsdk CHECKOUT FILE.zip
package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: packsdk CHECKOUT FILE.zip")
		os.Exit(2)
	}
	b, err := pack(os.DirFS(os.Args[1]))
	if err == nil {
		err = os.WriteFile(os.Args[2], b, 0o644)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "packsdk: %v\n", err)
		os.Exit(1)
	}
}

// modules are packed, and without their tests.
var modules = []string{"effects", "sdk"}

const probe = "sdk/internal/probe" // is for a test of the runtime

func pack(checkout fs.FS) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	add := func(name, from string) error {
		b, err := fs.ReadFile(checkout, from)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: name, Method: zip.Deflate} // without a time: the same sources are the same bytes
		h.SetMode(0o644)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(b)
		}
		return err
	}
	for _, module := range modules {
		err := fs.WalkDir(checkout, module, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (name == probe || d.Name() == "testdata"):
				return fs.SkipDir
			case d.IsDir(), strings.HasSuffix(name, "_test.go"), path.Ext(name) != ".go" && d.Name() != "go.mod":
				return nil
			}
			return add(name, name)
		})
		if err != nil {
			return nil, err
		}
	}
	if err := add("LICENSE", "LICENSE"); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

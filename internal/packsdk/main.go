// Packsdk writes the sources that an agent needs of the SDKs into a zip, a folder a
// language, which igor new has inside.
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

// A tree is a folder of the checkout that is packed: what keep says of it, under
// another name.
type tree struct {
	from, to string
	keep     func(name string) bool // of a file, from the folder on
}

var trees = []tree{
	{"effects", "go/effects", goSource},
	{"sdk", "go/sdk", goSource},
	{"sdk/rust", "rust/igor-sdk", func(name string) bool {
		return name == "Cargo.toml" || name == "README.md" || strings.HasPrefix(name, "src/")
	}},
	{"sdk/assemblyscript", "assemblyscript/@igor-dev/sdk", func(name string) bool { return !strings.Contains(name, "/") }},
	{"sdk/c", "c", func(name string) bool { return path.Ext(name) == ".h" }},
}

// goSource keeps a module without its tests, and without the program that the
// runtime's tests are made with.
func goSource(name string) bool {
	return !strings.HasPrefix(name, "internal/probe/") && !strings.HasPrefix(name, "conformance/") && !strings.HasSuffix(name, "_test.go") &&
		(path.Ext(name) == ".go" || path.Base(name) == "go.mod")
}

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
	for _, t := range trees {
		err := fs.WalkDir(checkout, t.from, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || d.Name() == "target" || d.Name() == "node_modules"):
				return fs.SkipDir
			case d.IsDir():
				return nil
			}
			if rest := strings.TrimPrefix(name, t.from+"/"); t.keep(rest) && !strings.HasPrefix(d.Name(), ".") && d.Name() != "Cargo.lock" {
				return add(t.to+"/"+rest, name)
			}
			return nil
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

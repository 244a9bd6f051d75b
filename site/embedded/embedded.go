// Package embedded serves the site from inside a program. The site's build puts
// it there; a program that was built without it says so.
package embedded

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"igor.dev/site/policy"
)

// The folder has site.zip once the site was built, and else a file that keeps it in git.
//
//go:embed all:files
var files embed.FS

// ErrNotBuilt says that the program has no site in it.
var ErrNotBuilt = errors.New("this igor was built without the site")

// Handler returns what serves the site.
func Handler() (http.Handler, error) {
	packed, err := files.ReadFile("files/site.zip")
	if err != nil {
		return nil, ErrNotBuilt
	}
	return unpack(packed)
}

type handler map[string][]byte // by path in the site

func unpack(packed []byte) (handler, error) {
	archive, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, fmt.Errorf("the site in this program: %w", err)
	}
	h := make(handler)
	for _, f := range archive.File {
		r, err := f.Open()
		if err == nil {
			h[f.Name], err = io.ReadAll(r)
			r.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("the site in this program: %s: %w", f.Name, err)
		}
	}
	return h, nil
}

// types are those that the system's own table may not have.
var types = map[string]string{
	".js":          "text/javascript; charset=utf-8",
	".wasm":        "application/wasm",
	".woff2":       "font/woff2",
	".car":         "application/vnd.ipld.car",
	".gz":          "application/gzip",
	".webmanifest": "application/manifest+json",
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" || strings.HasSuffix(name, "/") {
		name += "index.html"
	}
	content, ok := h[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind, ok := types[path.Ext(name)]
	if !ok {
		kind = mime.TypeByExtension(path.Ext(name))
	}
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Content-Security-Policy", policy.Header(name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

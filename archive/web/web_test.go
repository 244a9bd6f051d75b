package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"igor.dev/archive"
	"igor.dev/archive/dir"
	"igor.dev/archive/web"
)

func open(t *testing.T, h http.Handler) *web.Target {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	target, err := web.Open(server.URL+"/base/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestFolder reads what a usual server serves of a folder that was archived to.
func TestFolder(t *testing.T) {
	path := t.TempDir()
	d, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Put(t.Context(), "igor/did:key:z6Mk/segments/0.car", []byte("0123456789"), true); err != nil {
		t.Fatal(err)
	}
	target := open(t, http.StripPrefix("/base", http.FileServer(http.Dir(path))))
	for _, c := range []struct {
		offset, limit int64
		want          string
	}{{0, 100, "0123456789"}, {3, 4, "3456"}, {9, 9, "9"}, {10, 5, ""}, {0, 0, ""}} {
		b, err := target.Get(t.Context(), "igor/did:key:z6Mk/segments/0.car", c.offset, c.limit)
		if err != nil || string(b) != c.want {
			t.Errorf("%+v: %q, %v", c, b, err)
		}
	}
	if _, err := target.Get(t.Context(), "igor/x", 0, 1); !errors.Is(err, archive.ErrNotFound) {
		t.Error(err)
	}
	if _, err := target.Put(t.Context(), "igor/x", nil, true); !errors.Is(err, archive.ErrReadOnly) {
		t.Error(err)
	}
	if err := target.List(t.Context(), "igor/", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// TestHostile asks servers that say what they should not.
func TestHostile(t *testing.T) {
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		want string // in the error; "" = none
	}{
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, ""},
		"no range": {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100)) }, ""},
		"another range": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/100")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "0123456789")
		}, "another range"},
		"compressed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "x")
		}, "compressed"},
		"round and round": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, "leads on more than"},
		"a file": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "leads to file"},
		"a neighbour": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://localhost:1/latest/meta-data", http.StatusFound)
		}, "not public"},
		"a neighbour by its number": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, "not public"},
		"an error": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "\x1b[2Joh dear", strings.Repeat("x", 1<<20))
		}, "502 Bad Gateway: [2Joh dear"},
		"huge headers": {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, "header"},
	} {
		b, err := open(t, c.h).Get(t.Context(), "igor/x", 5, 10)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)), len(b) > 10:
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		case err != nil && len(err.Error()) > 400:
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestOpen(t *testing.T) {
	for _, bad := range []string{"", "x", "ftp://h", "http://", "http://u:p@h", "https://h?x=1", "https://h#x"} {
		if _, err := web.Open(bad, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

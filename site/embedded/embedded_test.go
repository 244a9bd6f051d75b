package embedded

import (
	"archive/zip"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		e, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHandler(t *testing.T) {
	h, err := unpack(pack(t, map[string]string{
		"index.html": "home", "load.html": "load", "embed.html": "embed", "specs/index.html": "specs", "app/main.js": "code", "app/a.wasm": "\x00asm",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, body, kind string
		code                     int
		connect                  string
	}{
		{"GET", "/", "home", "text/html; charset=utf-8", 200, "connect-src 'self';"},
		{"GET", "/load.html?history=x", "load", "text/html; charset=utf-8", 200, "connect-src 'self' https: http:;"},
		{"GET", "/embed.html", "embed", "text/html; charset=utf-8", 200, "connect-src 'self' blob:;"},
		{"GET", "/specs/", "specs", "text/html; charset=utf-8", 200, "connect-src 'self';"},
		{"GET", "/app/main.js", "code", "text/javascript; charset=utf-8", 200, "connect-src 'self';"},
		{"GET", "/app/a.wasm", "\x00asm", "application/wasm", 200, "connect-src 'self';"},
		{"HEAD", "/", "", "text/html; charset=utf-8", 200, "connect-src 'self';"},
		{"GET", "/absent", "404 page not found\n", "text/plain; charset=utf-8", 404, ""},
		{"GET", "/../index.html", "404 page not found\n", "text/plain; charset=utf-8", 404, ""},
		{"POST", "/", "only GET and HEAD are answered\n", "text/plain; charset=utf-8", 405, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, http.NoBody))
		if w.Code != c.code || w.Body.String() != c.body || w.Header().Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %d, %q, %q", c.method, c.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, c.connect) {
			t.Errorf("%s %s: policy %q without %q", c.method, c.path, p, c.connect)
		}
	}
}

func TestUnpackRefusesWhatIsNoArchive(t *testing.T) {
	if _, err := unpack([]byte("hello")); err == nil {
		t.Error("no error")
	}
}

package main

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

// TestServeFolder serves an agent's folder while its life goes on: what is public in it, as
// it is now, and nothing else.
func TestServeFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "counter")
	live := func(args ...string) {
		t.Helper()
		var out strings.Builder
		if code := run(args, strings.NewReader(""), &out, &out); code != 0 {
			t.Fatal(code, out.String())
		}
	}
	flags := []string{"--ticks", "5", "--checkpoint-every", "1", "--tick-interval", "0", "-q"}
	live(append([]string{"run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir}, flags...)...)
	s := &lifeServer{stderr: io.Discard}
	defer s.close()
	if err := s.open(t.Context(), []string{dir}); err != nil {
		t.Fatal(err)
	}
	served, err := s.server.Trees[0].Agents()
	if err != nil || len(served) != 1 {
		t.Fatal(served, err)
	}
	server := httptest.NewServer(patient(s.handler(nil)))
	defer server.Close()
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	head := func() *published.Head {
		t.Helper()
		_, text := get("/" + published.HeadKey(served[0]))
		h, err := published.ParseHead([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := head()
	live(append([]string{"resume", dir}, flags...)...)
	if failures := s.publish(context.Background()); len(failures) > 0 {
		t.Fatal(failures)
	}
	if after := head(); after.Checkpoints != before.Checkpoints+5 || after.Tick != before.Tick+5 {
		t.Errorf("%+v after %+v", after, before)
	}
	// By every name that a file of the folder has, and its content by no other.
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !e.Type().IsRegular() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		for _, target := range []string{name, "igor/" + served[0].DID() + "/" + name, "counter/" + name} {
			if status, _ := get("/" + filepath.ToSlash(target)); status == 200 {
				t.Errorf("/%s is served", target)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil || verifier.KindOf(name, b[:min(len(b), verifier.KindStart)]) == verifier.KindCheckpoint {
			return err
		}
		return filepath.WalkDir(s.own, func(own string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			public, err := os.ReadFile(own)
			if len(b) > 40 && strings.Contains(string(public), string(b)) && verifier.KindOfBytes(b[:min(len(b), verifier.KindStart)]) != verifier.KindCAR {
				t.Errorf("%s is in what is served", name)
			}
			return err
		})
	})
	if err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || len(b) < 40 {
		t.Error("the folder has no key to look for", err)
	}
	own := s.own
	s.close()
	if _, err := os.Stat(own); err == nil {
		t.Error("what it published for itself is left")
	}
}

package s3_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"igor.dev/archive"
	"igor.dev/archive/s3"
	"igor.dev/archive/targettest"
)

// serve serves a bucket, through a handler that may spoil it.
func serve(t *testing.T, spoil func(http.Handler) http.Handler) *s3.Target {
	backend := s3mem.New()
	if err := backend.CreateBucket("lives"); err != nil {
		t.Fatal(err)
	}
	handler := http.Handler(gofakes3.New(backend).Server())
	if spoil != nil {
		handler = spoil(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := s3.ParseURL("s3://lives/some/prefix?endpoint=" + server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.Credentials = credentials.NewStaticV4("key", "secret", "")
	target, err := s3.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestTarget(t *testing.T) { targettest.Run(t, serve(t, nil)) }

var (
	_ archive.Target  = (*s3.Target)(nil)
	_ archive.Swapper = (*s3.Target)(nil)
)

// TestCareless: a store that ignores conditions gets nothing that must not be replaced.
func TestCareless(t *testing.T) {
	for _, header := range []string{"If-None-Match", "If-Match"} {
		target := serve(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del(header)
				next.ServeHTTP(w, r)
			})
		})
		_, err := target.Put(t.Context(), "igor/x", []byte("x"), true)
		if permanent := new(archive.PermanentError); !errors.As(err, &permanent) || !strings.Contains(err.Error(), "replaces objects") {
			t.Errorf("a store without %s: %v", header, err)
		}
		if _, err := target.Get(t.Context(), "igor/x", 0, 1); !errors.Is(err, archive.ErrNotFound) {
			t.Errorf("a store without %s has the object: %v", header, err)
		}
	}
}

// TestConflict: 409 is tried again, and so is nothing else here.
func TestConflict(t *testing.T) {
	left, asked := 3, 0
	target := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "igor/x") {
				if asked++; left > 0 {
					left--
					w.WriteHeader(http.StatusConflict)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	if _, err := target.Put(t.Context(), "igor/x", []byte("x"), true); err != nil || asked != 4 {
		t.Fatalf("%v, after %d attempts", err, asked)
	}
}

func TestEndless(t *testing.T) {
	target := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		})
	})
	if b, err := target.Get(t.Context(), "igor/x", 0, 1000); len(b) > 1000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
}

func TestParseURL(t *testing.T) {
	for _, bad := range []string{"", "s3:", "s3://", "s3:///x", "http://x", "s3://b?x=1", "s3://user:pass@b", "s3://b/../c", "s3://b?region=a&region=b", "s3://b?endpoint=%zz"} {
		if c, err := s3.ParseURL(bad); err == nil {
			t.Errorf("%q: %+v", bad, c)
		}
	}
	for _, bad := range []string{"x", "https://u:p@h", "https://h/p", "ftp://h"} {
		if _, err := s3.Open(s3.Config{Endpoint: bad, Bucket: "b"}); err == nil {
			t.Errorf("endpoint %q is taken", bad)
		}
	}
}

// inRegion has a bucket answer only who asks in its region, as AWS does.
func inRegion(region string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Authorization"), "/"+region+"/s3/aws4_request") {
				w.WriteHeader(http.StatusBadRequest)
				w.Write([]byte("<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message></Error>"))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestRegion: what a target says of itself opens it again, where the bucket is in another
// region than the usual one too.
func TestRegion(t *testing.T) {
	const region = "eu-test-7"
	usual := serve(t, inRegion(region))
	if permanent := new(archive.PermanentError); !errors.As(usual.Probe(t.Context()), &permanent) {
		t.Fatal("the server does not care about regions")
	}
	c, err := s3.ParseURL(usual.Name() + "&region=" + region)
	if err != nil {
		t.Fatal(err)
	}
	c.Credentials = credentials.NewStaticV4("key", "secret", "")
	target, err := s3.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Put(t.Context(), "igor/x", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	if target.Name() != usual.Name() {
		t.Errorf("it is called %s, and was %s", target.Name(), usual.Name())
	}
	again, err := s3.ParseURL(target.Address())
	if err != nil {
		t.Fatal(err)
	}
	again.Credentials = c.Credentials
	if target, err = s3.Open(again); err != nil {
		t.Fatal(err)
	}
	if b, err := target.Get(t.Context(), "igor/x", 0, 10); err != nil || string(b) != "x" {
		t.Errorf("opened again by %s: %q, %v", target.Address(), b, err)
	}
}

// FuzzURL reads the name of a target, which never has a password in it.
func FuzzURL(f *testing.F) {
	f.Add("s3://lives/some/prefix?endpoint=https://s3.example.com&region=eu-1")
	f.Add("s3://b?endpoint=http://u:p@h")
	f.Add("s3://b?region=a%26endpoint%3Dhttp://h")
	f.Add("s3://b?endpoint=http://h%26region=x")
	f.Add("s3://b?endpoint=http://h%23x")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := s3.ParseURL(s)
		if err != nil {
			return
		}
		c.Credentials = credentials.NewStaticV4("key", "secret", "")
		target, err := s3.Open(c)
		if err != nil {
			return
		}
		again, err := s3.ParseURL(target.Name())
		if err != nil || again.Bucket != c.Bucket || again.Prefix != c.Prefix || again.Endpoint != c.Endpoint {
			t.Errorf("%q is called %q, which is %+v: %v", s, target.Name(), again, err)
		}
		if again, err = s3.ParseURL(target.Address()); err == nil {
			again.Credentials = c.Credentials
		}
		if err != nil || again != c {
			t.Errorf("%q is opened again by %q, which is %+v: %v", s, target.Address(), again, err)
		}
	})
}

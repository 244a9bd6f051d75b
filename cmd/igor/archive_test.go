package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"igor.dev/archive"
	"igor.dev/archive/arweave/arweavetest"
)

// keyed gives a command the keys of a bucket.
func keyed(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID=key", "AWS_SECRET_ACCESS_KEY=secret")
	return cmd
}

// TestArchiveKill kills an agent that is archived to a bucket and to Arweave, has it go on,
// and makes it anew of the bucket alone.
func TestArchiveKill(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("lives"); err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	bucket := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		bucket.ServeHTTP(w, r)
	}))
	defer server.Close()
	chain := httptest.NewServer(arweavetest.New(1))
	defer chain.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	target := "s3://lives/agents?endpoint=" + server.URL
	to := []string{"--archive", target, "--archive", "arweave+" + chain.URL + "/v1", "--archive-every=5"}
	dir := filepath.Join(t.TempDir(), "agent")
	p := start(t, append([]string{"run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir}, to...)...)
	did, acked := "", ack{}
	for round := range max(3, *killRounds/10) {
		down.Store(round%2 == 1)
		for range 40 {
			a, ok := <-p.acks
			if !ok {
				t.Fatalf("it ended: %v\n%s", p.cmd.Wait(), &p.stderr)
			}
			acked = a
		}
		did, acked = p.kill(t, did, acked)
		p = start(t, append([]string{"resume", dir}, to...)...)
	}
	down.Store(false)
	a, ok := <-p.acks
	if !ok {
		t.Fatalf("it did not go on\n%s", &p.stderr)
	}
	acked = a
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	acked, err := p.wait(acked)
	if err != nil {
		t.Fatalf("%v\n%s", err, &p.stderr)
	}
	f, err := archive.StatusOf(dir)
	if err != nil || len(f) != 2 {
		t.Fatal(f, err)
	}
	for _, s := range f {
		if strings.HasPrefix(s.Target, "s3:") && (s.Tick != acked.tick || s.Head != acked.cid) {
			t.Fatalf("%+v, and the agent is at %+v\n%s", s, acked, &p.stderr)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := keyed(igor(t, args...)).CombinedOutput()
		if err != nil {
			t.Fatalf("igor %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out := run("archive", "verify", dir, "--from", target); !strings.Contains(out, "verified") {
		t.Fatal(out)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.Rename(filepath.Join(dir, "key"), key); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	run("recover", did, dir, "--from", target, "--key", key, "--head", acked.cid)
	p = start(t, append([]string{"resume", dir, "--ticks=20"}, to...)...)
	again, err := p.wait(acked)
	if err != nil || again.tick != acked.tick+20 {
		t.Fatalf("%+v, %v\n%s", again, err, &p.stderr)
	}
	if out := run("verify", dir); !strings.Contains(out, "\nverified") {
		t.Fatal(out)
	}
	if out := run("archive", "verify", dir, "--from", target, "--json"); !strings.Contains(out, `"verdict": "verified"`) || strings.Contains(out, "problem") {
		t.Fatal(out)
	}
}

// TestArchiveRegion archives to a bucket that answers only in its region, and has it
// verified by what is in the folder.
func TestArchiveRegion(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("lives"); err != nil {
		t.Fatal(err)
	}
	bucket := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-test-7/s3/") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		bucket.ServeHTTP(w, r)
	}))
	defer server.Close()
	dir := filepath.Join(t.TempDir(), "agent")
	for _, args := range [][]string{
		{"run", filepath.Join(agents(t), "counter.wasm"), "--dir", dir, "--ticks=10", "--tick-interval=1ms", "--archive", "s3://lives?endpoint=" + server.URL + "&region=eu-test-7"},
		{"archive", "verify", dir},
	} {
		if out, err := keyed(igor(t, args...)).CombinedOutput(); err != nil {
			t.Fatalf("igor %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

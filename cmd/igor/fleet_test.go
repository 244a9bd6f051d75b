package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"igor.dev/authority/dir"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/authority/member"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// forgetful is a fleet of one whose store can lose everything.
type forgetful struct {
	mu   sync.Mutex
	m    *member.Member
	name string
}

func (f *forgetful) Serve(ctx context.Context, caller verifier.PublicKey, request []byte) []byte {
	f.mu.Lock()
	m := f.m
	f.mu.Unlock()
	return m.Serve(ctx, caller, request)
}

// lose has the store lose everything but blobs.
func (f *forgetful) lose(t *testing.T, operator verifier.PublicKey, blobs string) {
	t.Helper()
	r, err := dir.Blobs(blobs)
	if err != nil {
		t.Fatal(err)
	}
	m, err := member.New(member.Config{Engine: member.NewMemory(), Replica: r, Operators: []verifier.PublicKey{operator}})
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m = m
}

// TestFleet lives an agent whose home is a fleet, has that lose its data, and recovers it.
func TestFleet(t *testing.T) {
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	t.Setenv("XDG_CACHE_HOME", config)
	node, err := runtime.NodeKey(filepath.Join(config, "igor", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	operator := verifier.PublicKey(node.Public().(ed25519.PublicKey))
	blobs := t.TempDir()
	f := &forgetful{}
	f.lose(t, operator, blobs)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	memberKey := ed25519.NewKeyFromSeed(slices.Repeat([]byte{3}, 32))
	s, err := https.Serve(l, memberKey, f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f.name = fleet.Prefix + fleet.Member{Key: verifier.PublicKey(memberKey.Public().(ed25519.PublicKey)), Address: s.Addr().String()}.String()

	program, _ := trader(t)
	agents := t.TempDir()
	folder := filepath.Join(agents, "trader")
	do := func(want int, says string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(args, strings.NewReader(""), &out, &errs); got != want || !strings.Contains(out.String()+errs.String(), says) {
			t.Fatalf("igor %s: exit code %d, and %d was due, with %q:\n%s%s", strings.Join(args, " "), got, want, says, &out, &errs)
		}
		return out.String()
	}
	do(0, "", "run", program, "--dir", folder, "--ticks", "4", "--tick-interval", "0", "--checkpoint-every", "2", "--store", f.name, "-q")
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	do(0, "active", "fleet", "status", f.name)
	do(0, "1 of 1 agents are as nodes know them", "fleet", "recover", f.name, agents)

	f.lose(t, operator, blobs)
	do(76, "lost data", "resume", folder, "--ticks", "2", "-q")
	do(1, "the store lost the newest position", "fleet", "recover", f.name, agents)
	do(76, "lost data", "resume", folder, "--ticks", "2", "-q") // nothing was put back
	do(0, "restored", "fleet", "recover", f.name, agents, "--yes")
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")
	do(0, "1 of 1", "fleet", "recover", f.name, agents)

	// What is put back may be an older copy, where nobody has a newer one; then the newer one
	// is divided from it.
	f.lose(t, operator, blobs)
	do(0, "restored", "fleet", "recover", f.name, copied, "--yes")
	out := do(1, "", "fleet", "recover", f.name, agents, "--json")
	var found []findingJSON
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 || found[0].Verdict != "lost" && found[0].Verdict != "divided" {
		t.Fatalf("%v: %s", err, out)
	}
	do(0, "restored", "fleet", "recover", f.name, agents, "--yes", "--pick", found[0].DID+"="+found[0].Candidates[len(found[0].Candidates)-1].Position)
	do(0, "", "resume", folder, "--ticks", "2", "--tick-interval", "0", "-q")

	// Not everybody may.
	other := filepath.Join(t.TempDir(), "other.key")
	do(1, "operators of the fleet's members", "fleet", "status", f.name, "--node-key", other)
	do(1, "name it as agents do", "fleet", "status", "/mnt/backup")
}

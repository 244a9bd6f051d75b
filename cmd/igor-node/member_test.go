package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// twoPorts returns an address at which, and at whose next port, nothing listens.
func twoPorts(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+1))
		l.Close()
		if err == nil {
			next.Close()
			return "127.0.0.1:" + strconv.Itoa(port)
		}
	}
	t.Fatal("no two ports")
	return ""
}

// TestMember runs a fleet of one, and what cannot be one.
func TestMember(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "node.key")
	key, err := runtime.NodeKey(file)
	if err != nil {
		t.Fatal(err)
	}
	self := fleet.Member{Key: verifier.PublicKey(key.Public().(ed25519.PublicKey)), Address: twoPorts(t)}
	other := fleet.Member{Key: verifier.PublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)), Address: "127.0.0.1:1"}
	for says, args := range map[string][]string{
		"want DID@HOST:PORT":              {"member", "--dir", dir, "--node-key", file},
		"is not a member of that fleet":   {"member", "--dir", dir, "--node-key", file, "--fleet", other.String()},
		"want a port from 1 to 65534":     {"member", "--dir", dir, "--node-key", file, "--fleet", self.Key.DID() + "@127.0.0.1:65535"},
		"--operator: ":                    {"member", "--dir", dir, "--node-key", file, "--fleet", self.String(), "--operator", "me"},
		"name it with --fleet, or its ke": {"member", "--dir", dir, "--node-key", file, "--fleet", other.String()},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code == 0 || !strings.Contains(errs.String(), says) {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		var out, errs bytes.Buffer
		code := run(ctx, []string{"member", "--dir", dir, "--node-key", file, "--fleet", self.String(), "-q"}, &out, &errs)
		if code != 0 {
			t.Errorf("exit code %d: %s", code, &errs)
		}
		done <- code
	}()
	c, err := fleet.New(fleet.Config{Members: []fleet.Member{self}, Via: https.NewTransport(key)})
	if err != nil {
		t.Fatal(err)
	}
	agent := verifier.PublicKey{7}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.Read(t.Context(), agent)
		if errors.Is(err, authority.ErrNone) {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 { // a member's own node is an operator
		t.Errorf("%v, %v", all, err)
	}
	stop()
	<-done
}

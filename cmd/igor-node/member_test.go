package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// freePort returns a port at which, and at whose next and third and fourth next, nothing
// listens: what a node that is a member takes. It is not one that a connection gets by itself.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port, free := 10_000+rand.IntN(20_000), true
		for _, more := range []int{0, 1, 3, 4} {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+more))
			if err == nil {
				l.Close()
			}
			free = free && err == nil
		}
		if free {
			return port
		}
	}
	t.Fatal("no ports")
	return 0
}

// aNode makes a node's folder, and returns its key and port.
func aNode(t *testing.T) (dir string, key ed25519.PrivateKey, port int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "node")
	port = freePort(t)
	file := filepath.Join(filepath.Dir(dir), "node.key")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"init", "--dir", dir, "--key", file, "--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port)}, &out, &errs); code != 0 {
		t.Fatal(&errs)
	}
	key, err := runtime.NodeKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return dir, key, port
}

func didAt(key ed25519.PrivateKey, port int) string {
	return fmt.Sprintf("%s@127.0.0.1:%d", didOf(key), port)
}

// start runs a node until the function that it returns is called, which returns the exit
// code and what the node said.
func start(t *testing.T, dir string) (stop func() (int, string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"start", "--dir", dir}, &errs, &errs) }()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := api.Dial(dir); err == nil {
			break
		}
		if time.Since(began) > 30*time.Second || len(done) > 0 {
			cancel()
			t.Fatalf("it does not start: %d\n%s", <-done, &errs)
		}
	}
	return func() (int, string) { cancel(); return <-done, errs.String() }
}

func describe(t *testing.T, dir string, nodes ...string) *fleet.Description {
	t.Helper()
	d := &fleet.Description{Name: "acme", Version: 1}
	for _, s := range nodes {
		n, err := fleet.ParseNode(s, true)
		if err != nil {
			t.Fatal(err)
		}
		d.Nodes = append(d.Nodes, n)
	}
	if err := d.Write(filepath.Join(dir, fleet.FileDescription)); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMember runs a fleet of one in a node, by both carriers, and what cannot be one.
func TestMember(t *testing.T) {
	dir, key, port := aNode(t)
	_, other, otherPort := aNode(t)
	refused := func(code int, says ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		got := run(t.Context(), []string{"start", "--dir", dir}, &out, &errs)
		for _, s := range says {
			if got != code || !strings.Contains(errs.String(), s) {
				t.Errorf("exit code %d instead of %d, and %q was due: %s", got, code, s, &errs)
			}
		}
	}
	describe(t, dir, didAt(other, otherPort))
	refused(exitConfig, "is not in the fleet acme", "igor fleet join a file that has it")
	os.WriteFile(filepath.Join(dir, fleet.FileDescription), []byte(`{"fleet":"acme"}`), 0o600)
	refused(exitConfig, "its version is 1 or more")
	d := describe(t, dir, didAt(key, port))
	l, err := net.Listen("tcp", d.Nodes[0].Member)
	if err != nil {
		t.Fatal(err)
	}
	refused(exitFailed, "is taken: another program listens there", "give the member another address")
	l.Close()
	peer, _ := fleet.PeerAddress(d.Nodes[0].Member)
	if l, err = net.Listen("tcp", peer); err != nil {
		t.Fatal(err)
	}
	refused(exitFailed, "is taken: another program listens there")
	l.Close()

	stop := start(t, dir)
	self := d.Members()[0]
	c, err := fleet.New(fleet.Config{Members: d.Members(), Via: https.NewTransport(key)})
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		_, err := c.Read(t.Context(), verifier.PublicKey{7})
		if s, serr := c.Standing(t.Context(), self); errors.Is(err, authority.ErrNone) && serr == nil && s.Version == 1 {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 { // members may look at all agents
		t.Errorf("%v, %v", all, err)
	}
	if code, said := stop(); code != 0 || !strings.Contains(said, "the fleet lives") {
		t.Errorf("exit code %d: %s", code, said)
	}

	// Another node does not take its data for its own.
	os.Remove(filepath.Join(filepath.Dir(dir), "node.key"))
	if key, err = runtime.NodeKey(filepath.Join(filepath.Dir(dir), "node.key")); err != nil {
		t.Fatal(err)
	}
	describe(t, dir, didAt(key, port))
	refused(exitFailed, "has the data of the member "+self.Key.DID(), "give the node its key back")
}

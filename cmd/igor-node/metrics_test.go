package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"igor.dev/internal/monitor/monitortest"
	"igor.dev/node"
)

const rules = "../../packaging/prometheus/igor-node.rules.yml"

// TestMetricsPage holds docs/node.md and the alert rules against what there is.
func TestMetricsPage(t *testing.T) {
	names := monitortest.Same(t, "../../docs/node.md", "igor_", newFigures(&node.Node{}, nil))
	monitortest.Known(t, rules, "igor_node_", names)
	monitortest.Rules(t, rules)
}

// A safeBuffer is written and read at the same time.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestMetrics asks a node how it is, over HTTP.
func TestMetrics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	var out safeBuffer
	if code := run(t.Context(), []string{"init", "--dir", dir, "--key", filepath.Join(dir, "node.key"), "--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"}, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"start", "--dir", dir, "--metrics", "0", "--cache-dir", t.TempDir()}, &out, &out)
	}()
	var at []string
	for began := time.Now(); at == nil || !strings.Contains(out.String(), "/quic-v1"); time.Sleep(10 * time.Millisecond) {
		at = regexp.MustCompile(`url=(http://\S+)/metrics`).FindStringSubmatch(out.String())
		if time.Since(began) > 30*time.Second {
			t.Fatal(out.String())
		}
	}
	get := func(path string) string {
		r, err := http.Get(at[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.Status + " " + string(b)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if got := get(path); got != "200 OK ok: no agents\n" {
			t.Errorf("%s says %q", path, got)
		}
	}
	for _, want := range []string{`igor_node_info{did="did:key:z6Mk`, `igor_node_moves_total{way="here"} 0`, "igor_build_info", "igor_ceiling_used{", "igor_node_draining 0", "igor_node_rent_due_agents 0", "igor_node_rent_payments_total 0"} {
		if got := get("/metrics"); !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// TestQUICPrivate wants what cannot be together to be refused.
func TestQUICPrivate(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "network.key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("0"), 64), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"init", "--dir", filepath.Join(dir, "node"), "--key", filepath.Join(dir, "node.key"), "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--network-key", key}, &out, &out)
	if code != exitUsage || !strings.Contains(out.String(), "has no QUIC") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestImports holds heavy things to the programs that need them: the log is in igor-log
// alone, and nodes and stores are not in it.
func TestImports(t *testing.T) {
	for program, not := range map[string][]string{
		"igor.dev/cmd/igor-log":    {"github.com/libp2p/", "go.etcd.io/", "igor.dev/runtime", "igor.dev/node"},
		"igor.dev/cmd/igor":        {"github.com/transparency-dev/", "filippo.io/torchwood"},
		"igor.dev/cmd/igor-verify": {"github.com/transparency-dev/", "filippo.io/torchwood", "net/http"},
	} {
		out, err := exec.Command("go", "list", "-deps", program).Output()
		if err != nil || len(out) < 100 {
			t.Fatal(program, err)
		}
		for line := range strings.Lines(string(out)) {
			for _, prefix := range not {
				if strings.HasPrefix(line, prefix) {
					t.Errorf("%s links %s", program, strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestUsage: what is missing is named, and nothing is made for a wrong call.
func TestUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"name":             {"serve", t.TempDir()},
		"--log KEY":        {"witness", t.TempDir(), "--name", "w.example"},
		"--policy FILE":    {"monitor", t.TempDir(), "--name", "m.example"},
		"unknown flag":     {"serve", t.TempDir(), "--nonsense"},
		"unknown command":  {"nonsense"},
		"no such file":     {"serve", t.TempDir(), "--name", "l.example", "--policy", "/nowhere"},
		"malformed":        {"witness", t.TempDir(), "--name", "w.example", "--log", "nonsense"},
		"accepts 1 arg(s)": {"serve", "--name", "l.example"},
	} {
		var out, err bytes.Buffer
		if code := run(t.Context(), args, &out, &err); code != 2 || !strings.Contains(err.String(), want) {
			t.Errorf("%q: exit code %d, %q; want %q", args, code, err.String(), want)
		}
	}
	var out, err bytes.Buffer
	dir := t.TempDir()
	if code := run(t.Context(), []string{"serve", dir, "--name", "l.example", "--print-key"}, &out, &err); code != 0 || !strings.HasPrefix(out.String(), "l.example+") {
		t.Errorf("%d, %q, %q", code, out.String(), err.String())
	}
	first := out.String()
	out.Reset()
	if code := run(t.Context(), []string{"serve", dir, "--name", "l.example", "--print-key"}, &out, &err); code != 0 || out.String() != first {
		t.Errorf("another key: %q", out.String())
	}
}

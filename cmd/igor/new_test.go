package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"demo", "a", "price-watch", "x402", "agent-7-b", strings.Repeat("a", maxName)} {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-", "-a", "a-", "a--b", "7up", "Demo", "a_b", "a.b", "a/b", "..", "ä", "a b", "a\n", "time", "con", strings.Repeat("a", maxName+1)} {
		if err := checkName(name); err == nil {
			t.Errorf("took %q", name)
		}
	}
}

// TestTaken has every name that the standard library has, of which none can be a
// module.
func TestTaken(t *testing.T) {
	out, err := exec.Command("go", "list", "std", "cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if len(names) < 100 {
		t.Fatalf("the standard library has %d packages", len(names))
	}
	for _, path := range names {
		if name, _, _ := strings.Cut(path, "/"); !slices.Contains(taken, name) {
			t.Errorf("%s is a package of Go", name)
		}
	}
}

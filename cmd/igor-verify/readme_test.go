package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
)

// TestReadme runs the commands of the README that need nothing but this
// repository, and holds the output shown against theirs.
func TestReadme(t *testing.T) {
	self, err := os.Executable() // which testscript.Main makes igor-verify, by its name
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, bin+"/igor-verify"); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, shown := range testkit.Console(string(readme)) {
		line, want := shown.Line, shown.Output
		if !strings.HasPrefix(line, "igor-verify ") {
			continue // cmd/igor runs it
		}
		if ran++; strings.TrimSpace(want) == "" {
			t.Errorf("%s: the README shows no output", line)
		}
		shell := exec.Command("sh", "-c", line)
		shell.Dir = "../.."
		shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := shell.Output()
		if _, ok := err.(*exec.ExitError); err != nil && !ok {
			t.Fatalf("%s: %v", line, err)
		}
		if got := strings.TrimSpace(string(out)); got != strings.TrimSpace(want) {
			t.Errorf("%s gives\n%s\nthe README shows\n%s", line, got, want)
		}
	}
	if ran == 0 {
		t.Error("the README shows no igor-verify command")
	}
}

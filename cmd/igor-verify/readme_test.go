package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
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
	for i, text := range strings.Split(string(readme), "```") {
		text, isConsole := strings.CutPrefix(text, "console\n")
		if i%2 == 0 || !isConsole {
			continue
		}
		for _, call := range strings.Split("\n"+text, "\n$ ")[1:] {
			line, want, _ := strings.Cut(call, "\n")
			if !strings.HasPrefix(line, "igor-verify ") {
				continue
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
	}
	if ran == 0 {
		t.Error("the README shows no igor-verify command")
	}
}

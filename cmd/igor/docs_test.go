package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changing is what is another thing in every life and on every machine.
var changing = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`did:key:z6Mk\w+`), "DID"},
	{regexp.MustCompile(`bafkrei\w+`), "CID"},
	{regexp.MustCompile(`budget  (0\.999\d{3}|1\.000000)`), "BUDGET"},
	{regexp.MustCompile(`demo\s+(\(cached\)|\d+\.\d+s)`), "demo TIME"},
}

func settled(s string) string {
	for _, c := range changing {
		s = c.what.ReplaceAllString(s, c.is)
	}
	return strings.TrimSpace(s)
}

// TestAgentsPage runs the commands of docs/agents.md, without a network, and holds
// the output shown against theirs.
func TestAgentsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable() // which testscript.Main makes igor, by its name
	if err != nil {
		t.Fatal(err)
	}
	tmp, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "igor")); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+t.TempDir(),
		"GOFLAGS=", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local", "MAKEFLAGS=", "MAKELEVEL=")
	dir, ran := tmp, 0
	for i, text := range strings.Split(string(page), "```") {
		text, isConsole := strings.CutPrefix(text, "console\n")
		if i%2 == 0 || !isConsole {
			continue
		}
		for _, call := range strings.Split("\n"+text, "\n$ ")[1:] {
			line, want, _ := strings.Cut(call, "\n")
			ran++
			if to, ok := strings.CutPrefix(line, "cd "); ok {
				dir = filepath.Join(dir, to)
				continue
			}
			shell := exec.Command("sh", "-c", line)
			shell.Dir, shell.Env = dir, env
			out, err := shell.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if got, want := settled(string(out)), settled(want); got != want {
				t.Errorf("%s gives\n%s\nthe page shows\n%s", line, got, want)
			}
		}
	}
	if ran != 8 {
		t.Errorf("the page has %d commands, want 8", ran)
	}
	if t.Failed() {
		return
	}

	// The rest of the Makefile, and of what igor new promises.
	for _, line := range []string{
		"make IGOR='echo igor' run verify clean", // life is there, so it goes on
		"test -z \"$(gofmt -l .)\"",
		"GOFLAGS=-mod=mod go mod tidy -diff",
		"git init -q && git add -A && ! git ls-files | grep -E 'life|wasm'",
	} {
		shell := exec.Command("sh", "-c", line)
		shell.Dir, shell.Env = dir, env
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

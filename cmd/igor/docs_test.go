package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
)

// changing is what is another thing in every life and on every machine.
var changing = []struct {
	what *regexp.Regexp
	is   string
}{
	{regexp.MustCompile(`did:key:z6Mk\w+`), "DID"},
	{regexp.MustCompile(`bafkrei\w+`), "CID"},
	{regexp.MustCompile(`demo\s+(\(cached\)|\d+\.\d+s)`), "demo TIME"},
	{regexp.MustCompile(`finished in \d+\.\d+s`), "finished in TIME"},
}

func settled(s string) string {
	for _, c := range changing {
		s = c.what.ReplaceAllString(s, c.is)
	}
	return strings.TrimSpace(s)
}

// desk is a folder in which the commands of a page are run, with igor in the PATH and
// no network.
type desk struct {
	t   *testing.T
	dir string
	env []string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	self, err := os.Executable() // which testscript.Main makes igor, by its name
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "igor")); err != nil {
		t.Fatal(err)
	}
	return &desk{t, t.TempDir(), append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+t.TempDir(),
		"GOFLAGS=", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local", "MAKEFLAGS=", "MAKELEVEL=")}
}

func (d *desk) shell(line string) (string, error) {
	shell := exec.Command("sh", "-c", line)
	shell.Dir, shell.Env = d.dir, d.env
	out, err := shell.CombinedOutput()
	return string(out), err
}

// follow runs the commands of a page of which skip is not true, and holds the output
// shown against theirs. It returns how many they are.
func (d *desk) follow(page string, skip func(line string) bool) (ran int) {
	d.t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.followText(page, string(text), skip)
}

// followText is the same of a part of a page.
func (d *desk) followText(page, text string, skip func(line string) bool) (ran int) {
	d.t.Helper()
	for _, shown := range testkit.Console(text) {
		if skip(shown.Line) {
			continue
		}
		ran++
		if to, ok := strings.CutPrefix(shown.Line, "cd "); ok {
			d.dir = filepath.Join(d.dir, to)
			continue
		}
		out, err := d.shell(shown.Line)
		if err != nil {
			d.t.Fatalf("%s: %v\n%s", shown.Line, err, out)
		}
		if got, want := settled(out), settled(shown.Output); got != want {
			d.t.Errorf("%s gives\n%s\n%s shows\n%s", shown.Line, got, page, want)
		}
	}
	return ran
}

// TestReadme lives the life of the README: run, copied, resumed, verified and replayed.
func TestReadme(t *testing.T) {
	d := newDesk(t)
	buildHeartbeat(t, filepath.Join(d.dir, "bin", "agents"))
	ran := d.follow("../../README.md", func(line string) bool {
		return strings.HasPrefix(line, "igor-verify ") // cmd/igor-verify runs it
	})
	if ran != 7 {
		t.Errorf("the README has %d commands, want 7", ran)
	}
}

// TestDemo runs what make demo runs.
func TestDemo(t *testing.T) {
	d := newDesk(t)
	bin := filepath.Join(d.dir, "bin")
	buildHeartbeat(t, filepath.Join(bin, "agents"))
	if out, err := exec.Command("go", "build", "-o", bin, "../igor-verify").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script, err := filepath.Abs("../../demo.sh")
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.shell("cp " + script + " . && TMPDIR=$PWD ./demo.sh")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"\nverified: ", "unbroken, but self-asserted, ", "\nbad-signature  ", "\ninvalid: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}

// TestAgentsPage follows docs/agents.md, as far as it is about Go; TestLanguages
// follows the rest.
func TestAgentsPage(t *testing.T) {
	d := newDesk(t)
	before, _ := section(t, "Rust")
	ran := d.followText(agentsPage, before, func(string) bool { return false })
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
		if out, err := d.shell(line); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

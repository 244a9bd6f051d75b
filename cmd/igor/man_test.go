package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"igor.dev/internal/manual"
)

// macro is what a line of a page may begin with.
var macro = regexp.MustCompile(`^\.(TH|SH|TP|PP|BR|br|nf|fi)( |$)`)

func TestMan(t *testing.T) {
	dir := t.TempDir()
	if out, err := igor(t, "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	for _, name := range []string{"igor.1", "igor-run.1", "igor-effects-repair.1", "igor-verify.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".1")
		if !strings.HasPrefix(string(b), ".TH "+strings.ToUpper(name)+" 1 ") || !strings.Contains(string(b), "\n.SH NAME\n"+manual.Escape(name)+" \\-\n") {
			t.Errorf("%s does not begin as a manual page does", file)
		}
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !macro.MatchString(strings.TrimSpace(line)) {
				t.Errorf("%s: %q is no macro", file, line)
			}
		}
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("make test installs mandoc, which checks more")
	}
	if out, err := exec.Command(mandoc, append([]string{"-Tlint", "-Wstyle"}, files...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

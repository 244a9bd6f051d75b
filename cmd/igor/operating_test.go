package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestOperating holds docs/operating.md against the program.
func TestOperating(t *testing.T) {
	b, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)

	t.Run("metrics", func(t *testing.T) {
		descs := make(chan *prometheus.Desc, 100)
		m := newMonitor()
		for _, c := range []prometheus.Collector{m, m.ticks, m.saves} {
			c.Describe(descs)
		}
		close(descs)
		var have, described []string
		for d := range descs {
			parts := regexp.MustCompile(`fqName: "(\w+)".* variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatal(d)
			}
			if parts[2] != "" {
				parts[1] += "{" + parts[2] + "}"
			}
			have = append(have, parts[1])
		}
		for _, row := range regexp.MustCompile("(?m)^\\| `(igor_[^`]+)` \\|").FindAllStringSubmatch(page, -1) {
			described = append(described, row[1])
		}
		slices.Sort(have)
		slices.Sort(described)
		if len(have) < 15 || !slices.Equal(have, described) {
			t.Errorf("the page has\n%s\nand the program\n%s", strings.Join(described, "\n"), strings.Join(have, "\n"))
		}
	})

	t.Run("commands", func(t *testing.T) {
		code, n := 0, 0
		root := command(&code)
		for _, line := range regexp.MustCompile(`(?m)^(?:ExecStart=/usr/local/bin/)?(igor .*)$`).FindAllStringSubmatch(page, -1) {
			words := strings.Fields(strings.ReplaceAll(line[1], " $IGOR_FLAGS", ""))
			cmd, rest, err := root.Find(words[1:])
			if err != nil || cmd == root {
				t.Errorf("%s: there is no such command: %v", line[1], err)
				continue
			}
			n++
			if !cmd.DisableFlagParsing {
				quoted := regexp.MustCompile(`"[^"]*"`).ReplaceAllString(strings.Join(rest, " "), "text")
				if err := cmd.ParseFlags(strings.Fields(quoted)); err != nil {
					t.Errorf("%s: %v", line[1], err)
				} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
					t.Errorf("%s: %v", line[1], err)
				}
			}
		}
		run, _, err := root.Find([]string{"run"})
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(page, -1) {
			if flag[1] != "help" && run.Flags().Lookup(flag[1]) == nil {
				t.Errorf("igor run has no flag --%s", flag[1])
			}
		}
		if n < 12 {
			t.Errorf("%d commands", n)
		}
	})

	t.Run("log", func(t *testing.T) {
		var source bytes.Buffer
		for _, dir := range []string{"../../runtime", "."} {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
					return err
				}
				b, err := os.ReadFile(path)
				source.Write(b)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		rows := regexp.MustCompile("(?m)^\\| `([a-z ,;]+)` \\| (?:INFO|WARN|ERROR) \\|").FindAllStringSubmatch(page, -1)
		if len(rows) < 9 {
			t.Errorf("%d messages", len(rows))
		}
		for _, row := range rows {
			if !bytes.Contains(source.Bytes(), []byte(`"`+row[1]+`"`)) {
				t.Errorf("nothing logs %q", row[1])
			}
		}
	})

	t.Run("unit", func(t *testing.T) {
		analyze, err := exec.LookPath("systemd-analyze")
		if err != nil {
			t.Skip("needs systemd-analyze")
		}
		_, unit, ok := strings.Cut(page, "```ini\n[Unit]\n")
		unit, _, end := strings.Cut(unit, "```\n")
		if !ok || !end {
			t.Fatal("there is no unit")
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "igor@watcher.service")
		unit = "[Unit]\n" + strings.ReplaceAll(unit, "/usr/local/bin/igor", self)
		if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
		// What it says of other units is no concern of ours.
		out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", file).CombinedOutput()
		if about := bytes.Contains(out, []byte("igor@watcher.service")); err != nil || about {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

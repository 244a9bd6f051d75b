package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/monitor"
	"igor.dev/internal/monitor/monitortest"
)

// hostcallMessage is the message that has what an agent says.
const hostcallMessage = "agent INFO"

// keysOf returns the keys of a JSON object in their order, as they are written, and
// its message.
func keysOf(t *testing.T, object string) (keys []string, msg string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		t.Fatalf("no object: %s: %v", object, err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatalf("%s: %v", object, err)
		}
		keys = append(keys, key.(string))
		var value any
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%s: %v", object, err)
		}
		if key == "msg" {
			msg, _ = value.(string)
		}
	}
	return keys, msg
}

// TestOperating holds docs/operating.md against the program.
func TestOperating(t *testing.T) {
	b, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)

	t.Run("metrics", func(t *testing.T) {
		if names := monitortest.Same(t, "../../docs/operating.md", "igor_", monitor.New()); len(names) < 15 {
			t.Errorf("only %q", names)
		}
	})

	t.Run("commands", func(t *testing.T) {
		code, n := 0, 0
		root := command(&code)
		for _, line := range regexp.MustCompile(`(?m)^(?:ExecStart=/usr/local/bin/)?(igor .*)$`).FindAllStringSubmatch(page, -1) {
			words := strings.Fields(strings.ReplaceAll(line[1], " $IGOR_FLAGS", ""))
			if words[1] == "--version" {
				continue
			}
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
		up, _, err := root.Find([]string{"up"})
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(page, -1) {
			if flag[1] != "help" && run.Flags().Lookup(flag[1]) == nil && up.Flags().Lookup(flag[1]) == nil {
				t.Errorf("igor run and igor up have no flag --%s", flag[1])
			}
		}
		if n < 12 {
			t.Errorf("%d commands", n)
		}
	})

	t.Run("log", func(t *testing.T) {
		// What the program logs, as MESSAGE LEVEL; the one that is no literal is what an agent says.
		logged := map[string]bool{hostcallMessage: true}
		call := regexp.MustCompile(`(?i)\blog\.(Info|Warn|Error)\("([^"]+)"(?:,[^\n]*\n?[^\n]*)?\)\n`)
		for _, dir := range []string{"../../runtime", "../../archive", "."} {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../../runtime/simulate") {
					return err // what befalls a simulated machine, no operator's log has
				}
				b, err := os.ReadFile(path)
				for _, c := range call.FindAllStringSubmatch(string(b), -1) {
					logged[c[2]+" "+strings.ToUpper(c[1])] = true
					if own := regexp.MustCompile(`"(time|level|msg)"`).FindString(c[0]); own != "" {
						t.Errorf("%s: %s is every line's own key: %s", path, own, c[0])
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		described := make(map[string]bool)
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (INFO|WARN|ERROR) \\|").FindAllStringSubmatch(page, -1) {
			described[row[1]+" "+row[2]] = true
		}
		if len(logged) < 15 || !maps.Equal(logged, described) {
			t.Errorf("the page has\n%s\nand the program\n%s", strings.Join(slices.Sorted(maps.Keys(described)), "\n"), strings.Join(slices.Sorted(maps.Keys(logged)), "\n"))
		}
	})

	t.Run("log keys", func(t *testing.T) {
		p := start(t, "run", filepath.Join(agents(t), "observer.wasm"), "--dir", filepath.Join(t.TempDir(), "agent"), "--ticks=3", "--metrics=0")
		if _, err := p.wait(ack{}); err != nil {
			t.Fatalf("%v\n%s", err, p.stderr.Bytes())
		}
		seen := make(map[string]bool)
		for line := range strings.Lines(p.stderr.String()) {
			keys, msg := keysOf(t, line)
			seen[msg] = true
			slices.Sort(keys)
			if !slices.Equal(keys, slices.Compact(slices.Clone(keys))) {
				t.Errorf("a key is there twice: %s", line)
			}
		}
		for _, msg := range []string{"metrics", "alive", "checkpoint", "hostcalls"} {
			if !seen[msg] {
				t.Errorf("no line %q", msg)
			}
		}
	})

	t.Run("units", func(t *testing.T) {
		files, err := filepath.Glob("../../packaging/systemd/*.service")
		if err != nil || len(files) == 0 {
			t.Fatalf("no units: %v", err)
		}
		var stays []string // down, of the table of exit codes
		for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|.*\| does not \|$`).FindAllStringSubmatch(page, -1) {
			stays = append(stays, row[1])
		}
		for _, file := range files {
			unit, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// igor-log has one exit code for all that goes wrong.
			others := strings.HasPrefix(filepath.Base(file), "igor-log")
			if want := "RestartPreventExitStatus=" + strings.Join(stays, " ") + "\n"; len(stays) < 5 || !others && !strings.Contains(string(unit), want) {
				t.Errorf("%s has not %q", file, want)
			}
			checkUnit(t, filepath.Base(file), string(unit))
		}
	})
}

// TestWatched has an agent be watched, and wants every metric of the alert rules and
// of the dashboard in what it says, and every query to be one that Prometheus reads.
func TestWatched(t *testing.T) {
	folder := t.TempDir()
	if out, err := igor(t, "run", filepath.Join(agents(t), "observer.wasm"), "--dir", filepath.Join(folder, "agent"), "--ticks=1", "--tick-interval=0").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := startMonitored(t, "up", folder, "--archive", t.TempDir())
	_, text, _ := strings.Cut(m.get("/metrics"), " ")
	m.cmd.Process.Kill()
	m.cmd.Wait()
	has := func(name string) bool {
		return regexp.MustCompile(`(?m)^` + name + `(\{| )`).MatchString(text)
	}
	queries := func(file string, exprs []string) (rules string) {
		found := 0
		for i, expr := range exprs {
			for _, name := range regexp.MustCompile(`\b(igor|process|go)_\w+`).FindAllString(expr, -1) {
				found++
				if !has(name) {
					t.Errorf("%s: there is no metric %s in\n%s", file, name, text)
				}
			}
			rules += fmt.Sprintf("      - record: query%d\n        expr: %q\n", i, expr)
		}
		if found == 0 {
			t.Errorf("%s is about nothing", file)
		}
		return "groups:\n  - name: queries\n    rules:\n" + rules
	}

	const rules = "../../packaging/prometheus/igor.rules.yml"
	b, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var alerts []string
	for _, e := range regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllSubmatch(b, -1) {
		alerts = append(alerts, string(e[1]))
	}
	queries(rules, alerts)

	const dashboard = "../../packaging/grafana/igor.json"
	if b, err = os.ReadFile(dashboard); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	var shown []string
	seen := map[int]bool{}
	for _, p := range d.Panels {
		if len(p.Targets) == 0 || seen[p.ID] {
			t.Errorf("panel %d, %s, shows nothing, or is there twice", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			shown = append(shown, strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*", "$agent", ".*").Replace(target.Expr))
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(queries(dashboard, shown)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, v := range d.Templating.List {
		if metric := regexp.MustCompile(`^label_values\((\w+)`).FindStringSubmatch(v.Definition); metric != nil && !has(metric[1]) {
			t.Errorf("there is no metric %s", metric[1])
		}
	}

	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("promtool is not here: tools/needs.sh go gets it")
	}
	for _, file := range []string{rules, file} {
		if out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// checkUnit has systemd read a unit, where there is one.
func checkUnit(t *testing.T, name, unit string) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd-analyze here: the unit is not checked by it")
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name = strings.Replace(name, "@", "@watcher", 1)
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, regexp.MustCompile(`/usr/bin/igor(-node|-log)?`).ReplaceAllLiteral([]byte(unit), []byte(self)), 0o644); err != nil {
		t.Fatal(err)
	}
	// What it says of other units is no concern of ours.
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", file).CombinedOutput()
	if about := bytes.Contains(out, []byte(name)); err != nil || about {
		t.Errorf("%v\n%s", err, out)
	}
	// 0 is a service that can do nothing, 10 one that can do all.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", file).CombinedOutput(); err != nil {
		t.Errorf("%s is exposed more than 2.0: %v\n%s", name, err, out)
	}
}

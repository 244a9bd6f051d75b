package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
)

// workspace is a repository as docs/ci.md has it, with the program in its PATH.
type workspace struct {
	dir  string
	env  []string
	temp string
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash: ", err)
	}
	w := &workspace{dir: t.TempDir(), temp: t.TempDir()}
	life := testkit.NewAgent("alice").History(8, 32)
	w.write(t, "lineage.head", []byte(testkit.CID(life[7])+"\n"))
	if err := testkit.WriteFolder(filepath.Join(w.dir, "agent", "history"), life...); err != nil {
		t.Fatal(err)
	}
	w.write(t, "agent/history.car", testkit.CAR(life[7], life...))
	w.env = append(os.Environ(),
		"PATH="+filepath.Dir(build(t))+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GITHUB_WORKSPACE="+w.dir,
		"GITHUB_OUTPUT="+filepath.Join(w.temp, "output"),
		"GITHUB_STEP_SUMMARY="+filepath.Join(w.temp, "summary.md"),
		"RUNNER_TEMP="+w.temp,
	)
	return w
}

func (w *workspace) write(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// bash runs a script as GitHub and GitLab do, with more variables.
func (w *workspace) bash(t *testing.T, script string, env ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir = w.dir
	cmd.Env = slices.Concat(w.env, env)
	b, err := cmd.CombinedOutput()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func (w *workspace) file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *workspace) output(t *testing.T) string {
	t.Helper()
	path := filepath.Join(w.temp, "output")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	lines := strings.Fields(string(b))
	return lines[len(lines)-1] // of a key that is set twice, the last value holds
}

var fence = regexp.MustCompile("(?ms)^```(sh|yaml)\n(.*?)^```$")

// below returns the lines that are indented deeper than the line, without that indentation.
func below(text, line string) (string, bool) {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.TrimPrefix(strings.TrimSpace(l), "- ") != line {
			continue
		}
		own := len(l) - len(strings.TrimLeft(l, " -"))
		var block []string
		for _, b := range lines[i+1:] {
			if strings.TrimSpace(b) != "" && len(b)-len(strings.TrimLeft(b, " ")) <= own {
				break
			}
			block = append(block, strings.TrimPrefix(b, strings.Repeat(" ", own+2)))
		}
		return strings.TrimRight(strings.Join(block, "\n"), "\n") + "\n", true
	}
	return "", false
}

var install = regexp.MustCompile(`(?m)^go install igor\.dev/.*$`)

// TestDocs runs the examples of docs/ci.md.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorkspace(t)
	ran := 0
	run := func(script, want string, env ...string) {
		t.Helper()
		ran++
		script = install.ReplaceAllString(script, ":") // the program is here already
		out, code := w.bash(t, script, env...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d of\n%s\n%s", code, script, out)
		}
	}
	for _, m := range fence.FindAllStringSubmatch(string(doc), -1) {
		text := m[2]
		switch {
		case m[1] == "sh" && strings.Contains(text, "> "):
			if strings.Contains(text, "jq ") {
				if _, err := exec.LookPath("jq"); err != nil {
					t.Log("not run, for want of jq: ", text)
					ran++
					continue
				}
			}
			run(text, "")
		case m[1] == "sh":
			run(text, "the expected agent, 8 checkpoints, no gaps, head pinned")
		case strings.Contains(text, "script:"):
			list, _ := below(text, "script:")
			script := regexp.MustCompile(`(?m)^- `).ReplaceAllString(list, "")
			agent := regexp.MustCompile(`AGENT: (.*)`).FindStringSubmatch(text)
			run(script, "", "AGENT="+agent[1])
			if xml := w.file(t, "lineage.xml"); !strings.Contains(xml, `failures="0"`) {
				t.Errorf("lineage.xml is %s", xml)
			}
		default:
			script, ok := below(text, "run: |")
			if !ok {
				t.Fatalf("nothing to run in\n%s", text)
			}
			run(script, "")
			with, ok := below(text, "with:")
			head := strings.TrimPrefix(w.output(t), "head=")
			ran++
			env := action{binary: build(t)}.env()
			for _, line := range strings.Split(strings.TrimSpace(with), "\n") {
				key, value, _ := strings.Cut(line, ": ")
				env = append(env, strings.ToUpper(key)+"="+strings.ReplaceAll(value, "${{ steps.pins.outputs.head }}", head))
			}
			out, code := w.bash(t, actionScript(t), env...)
			ok = ok && w.output(t) == "verdict=verified"
			if strings.Contains(with, "format: sarif") {
				ok = ok && strings.Contains(w.file(t, "lineage.sarif"), `"results":[]`)
			} else {
				ok = ok && strings.Contains(out, "the expected agent, 8 checkpoints, no gaps, head pinned")
			}
			if code != 0 || !ok {
				t.Errorf("exit code %d of the action: %s", code, out)
			}
		}
	}
	if ran != 8 {
		t.Errorf("ran %d examples, want 8", ran)
	}
	if svg := w.file(t, "lineage.svg"); !strings.HasPrefix(svg, "<svg ") {
		t.Errorf("lineage.svg is %s", svg)
	}
}

// actionScript returns the script of action.yml.
func actionScript(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	script, ok := below(string(b), "run: |")
	if !ok || strings.Count(string(b), "run: |") != 1 {
		t.Fatal("action.yml does not have exactly one script")
	}
	if strings.Contains(script, "${{") {
		t.Error("an expression in the script of action.yml could become a command")
	}
	return script
}

// action is what a workflow gives to the action.
type action struct {
	paths, did, head, format, output, binary string
	release, sums, url                       string
}

func (a action) env() []string {
	or := func(s, def string) string {
		if s == "" {
			return def
		}
		return s
	}
	return []string{"PATHS=" + a.paths, "DID=" + or(a.did, "any"), "HEAD=" + or(a.head, "any"), "FORMAT=" + or(a.format, "github"), "OUTPUT=" + a.output, "BINARY=" + a.binary,
		"RELEASE=" + a.release, "SHA256SUMS=" + a.sums, "RELEASE_URL=" + a.url}
}

func TestAction(t *testing.T) {
	w := newWorkspace(t)
	script := actionScript(t)
	bad := filepath.Join(w.dir, "agent", "history", "0000000009.ckpt")
	good, err := os.ReadFile(bad)
	if err != nil {
		t.Fatal(err)
	}
	other := testkit.NewAgent("bob").DID()
	for _, test := range []struct {
		name    string
		action  action
		env     string
		setup   func()
		code    int
		verdict string
		out     string
	}{
		{"verified", action{paths: "agent/history"}, "", nil, 0, "verified", "::notice title=lineage verified::"},
		{"several paths", action{paths: "agent/history\n\nagent/history.car\n"}, "", nil, 0, "verified", "unbroken, but self-asserted, 8 checkpoints"},
		{"another agent", action{paths: "agent/history", did: other}, "", nil, 1, "invalid", "file=agent/history/0000000004.ckpt,"},
		{"no paths", action{}, "", nil, 2, "none", "nothing to verify"},
		{"an unset variable as pin", action{paths: "agent/history"}, "DID=", nil, 2, "none", "flag --did has an empty value"},
		{"an unset variable as head", action{paths: "agent/history"}, "HEAD=", nil, 2, "none", "flag --head has an empty value"},
		{"a flag as a path", action{paths: "--version"}, "", nil, 2, "none", "--version: no such file"},
		{"commands as inputs", action{paths: "$(touch pwned)\n`touch pwned`\"; touch pwned; \"", did: "$(touch pwned)", format: "text; touch pwned"}, "", nil, 2, "none", "not an agent's DID"},
		{"a flag as a format", action{paths: "agent/history", format: "--help"}, "", nil, 2, "none", "flag --format needs a value"},
		{"patterns", action{paths: "agent/history/*.ckpt\nagent/*.car"}, "", nil, 0, "verified", "unbroken, but self-asserted, 8 checkpoints"},
		{"a pattern of any depth", action{paths: "**/*.ckpt"}, "", nil, 0, "verified", "unbroken, but self-asserted, 8 checkpoints"},
		{"a pattern that nothing fits", action{paths: "agent/*.zip"}, "", nil, 2, "none", "agent/*.zip: no such file"},
		{"a name that is a pattern", action{paths: "with [space] *"}, "", func() {
			w.write(t, "with [space] */1.ckpt", testkit.NewAgent("alice").History(1, 0)[0])
		}, 0, "verified", "self-asserted, 1 checkpoint,"},
		{"hostile names", action{paths: "hostile/*"}, "", func() {
			w.write(t, "hostile/$(touch pwned)\n--version\n.ckpt", testkit.NewAgent("alice").History(1, 0)[0])
		}, 0, "verified", "self-asserted, 1 checkpoint,"},
		{"text", action{paths: "agent/history", format: "text"}, "", nil, 0, "verified", "Proves: "},
		{"incomplete", action{paths: "agent/history"}, "", func() { os.Remove(bad) }, 3, "incomplete", "::error file=agent/history/0000000014.ckpt,"},
		{"invalid", action{paths: "agent/history"}, "", func() { w.write(t, "agent/history/0000000009.ckpt", append(good, 1)) }, 1, "invalid", "::error file=agent/history/0000000009.ckpt,"},
	} {
		if test.setup != nil {
			test.setup()
		}
		test.action.binary = build(t)
		out, code := w.bash(t, script, append(test.action.env(), test.env)...)
		if code != test.code || w.output(t) != "verdict="+test.verdict || !strings.Contains(out, test.out) {
			t.Errorf("%s: exit code %d\n%s", test.name, code, out)
		}
	}
	for format, want := range map[string]string{"sarif": `"verdict":"invalid"`, "junit": `<property name="verdict" value="invalid"/>`} {
		os.Remove(filepath.Join(w.temp, "output"))
		a := action{paths: "agent/history", format: format, output: "out/a b." + format, binary: build(t)}
		out, code := w.bash(t, script, a.env()...)
		b, err := os.ReadFile(filepath.Join(w.temp, "output"))
		if code != 1 || out != "" || err != nil || string(b) != "verdict=none\noutput="+a.output+"\nverdict=invalid\n" || !strings.Contains(w.file(t, a.output), want) {
			t.Errorf("%s: exit code %d, %s, %s", format, code, out, b)
		}
		a.paths = "nowhere"
		if out, code := w.bash(t, script, a.env()...); code != 2 || !strings.Contains(out, "no such file") || !strings.Contains(w.file(t, a.output), "no such file") {
			t.Errorf("%s without a verdict: exit code %d, %s", format, code, out)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "pwned")); err == nil {
		t.Error("an input was run as a command")
	}
	if b, err := os.ReadFile(filepath.Join(w.temp, "summary.md")); err != nil || !bytes.Contains(b, []byte("Agent lineage: verified")) {
		t.Errorf("job summary: %v %s", err, b)
	}
}

// TestActionBuilds builds the program as the action does, with no module but this one to be had.
func TestActionBuilds(t *testing.T) {
	w := newWorkspace(t)
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	// In a container this path is that of the host, where nothing of the action is.
	if bytes.Contains(text, []byte("${{ github.action_path }}")) {
		t.Error("action.yml has github.action_path in an expression")
	}
	_, version, ok := strings.Cut(string(text), "run: echo ")
	version, _, _ = strings.Cut(version, "\n")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, code := w.bash(t, "echo "+version, "GITHUB_ACTION_PATH="+root); !ok || code != 0 || !strings.HasPrefix(w.output(t), "go=1.") {
		t.Errorf("exit code %d of %s", code, version)
	}
	out, code := w.bash(t, actionScript(t), append(action{paths: "agent/history", format: "text"}.env(),
		"GITHUB_ACTION_PATH="+root, "GOPROXY=off", "GOMODCACHE="+t.TempDir(), "GOFLAGS=-mod=vendor")...)
	if code != 0 || w.output(t) != "verdict=verified" {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestActionRelease has the action use a release, which a server here has, and run
// nothing that is not what was pinned.
func TestActionRelease(t *testing.T) {
	w := newWorkspace(t)
	script := actionScript(t)
	name := map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
	system := map[string]string{"linux": "Linux", "darwin": "macOS"}[runtime.GOOS]
	if name == "" || system == "" {
		t.Skipf("the test makes no release for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	host := t.TempDir()
	archive := fmt.Sprintf("igor-verify_9.8.7_%s_%s", runtime.GOOS, runtime.GOARCH)
	at := filepath.Join(host, "v9.8.7")
	if out, code := w.bash(t, `mkdir -p "$AT" "$T/$NAME" && cp "$PROGRAM" "$T/$NAME/igor-verify" && tar -czf "$AT/$NAME.tar.gz" -C "$T" "$NAME"`,
		"AT="+at, "NAME="+archive, "PROGRAM="+build(t), "T="+t.TempDir()); code != 0 {
		t.Fatal(out)
	}
	whole, err := os.ReadFile(filepath.Join(at, archive+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	list := fmt.Appendf(nil, "%x  other.tar.gz\n%x  %s.tar.gz\n", sha256.Sum256(nil), sha256.Sum256(whole), archive)
	if err := os.WriteFile(filepath.Join(at, "SHA256SUMS"), list, 0o666); err != nil {
		t.Fatal(err)
	}
	sums := fmt.Sprintf("%x", sha256.Sum256(list))
	server := httptest.NewServer(http.FileServer(http.Dir(host)))
	t.Cleanup(server.Close)
	good := action{paths: "agent/history", release: "9.8.7", sums: sums, url: server.URL}
	run := func(name string, a action, code int, verdict, says string, env ...string) {
		t.Helper()
		os.Remove(filepath.Join(w.temp, "output"))
		all := append([]string{"RUNNER_OS=" + system, "RUNNER_ARCH=" + name}, a.env()...)
		out, got := w.bash(t, script, append(all, env...)...)
		if got != code || w.output(t) != "verdict="+verdict || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %d and %q\n%s", got, code, says, out)
		}
	}
	run(name, good, 0, "verified", "8 checkpoints")
	for _, change := range []struct {
		change func(*action)
		says   string
	}{
		{func(a *action) { a.sums = "" }, "release needs sha256sums"},
		{func(a *action) { a.sums = strings.ToUpper(sums) }, "release needs sha256sums"},
		{func(a *action) { a.sums = fmt.Sprintf("%x", sha256.Sum256(nil)) }, "SHA256SUMS of release 9.8.7 has another SHA-256"},
		{func(a *action) { a.release = "9.8.6" }, "cannot be had"},
		{func(a *action) { a.release = "../9.8.7" }, "not a version"},
		{func(a *action) { a.release = "1$(touch pwned)" }, "not a version"},
		{func(a *action) { a.url = "http://127.0.0.1:1" }, "cannot be had"},
	} {
		a := good
		change.change(&a)
		run(name, a, 2, "none", change.says)
	}
	run(name, good, 2, "none", "no release for Plan9", "RUNNER_OS=Plan9")
	run("MIPS", good, 2, "none", "no release for MIPS")

	if err := os.WriteFile(filepath.Join(at, archive+".tar.gz"), append(whole, 0), 0o666); err != nil {
		t.Fatal(err)
	}
	run(name, good, 2, "none", archive+".tar.gz of release 9.8.7 has another SHA-256")
	if _, err := os.Stat(filepath.Join(w.dir, "pwned")); err == nil {
		t.Error("an input was run as a command")
	}
}

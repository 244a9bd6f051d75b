package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"igor.dev/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"igor-verify": main})
}

// tests are all tests, and what is to be done after them.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer func() {
		if binaryDir != "" {
			os.RemoveAll(binaryDir)
		}
	}()
	return t.M.Run()
}

var binaryDir string // once the program is built

// TestScripts runs testdata/*.txtar: output, exit codes and errors.
func TestScripts(t *testing.T) {
	histories, err := filepath.Abs("../../testdata/histories")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HISTORIES", histories)
			e.Setenv("DID", testkit.NewAgent("alice").DID())
			life := testkit.NewAgent("alice").History(8, 32)
			e.Setenv("HEAD", testkit.CID(life[7]))
			e.Setenv("EARLIER", testkit.CID(life[5]))
			e.Setenv("OTHER", testkit.NewAgent("bob").DID())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   cmdExits,
			"history": cmdHistory,
			"car":     cmdCAR,
			"flip":    cmdFlip,
			"cut":     cmdCut,
			"hostile": cmdHostile,
			"screen":  cmdScreen,
		},
	})
}

// exits CODE PROGRAM ARG...: the program ends with that exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// history DIR N: writes N checkpoints of the agent alice as files.
func cmdHistory(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(testkit.WriteFolder(ts.MkAbs(args[0]), life(ts, args[1])...))
}

// car FILE N: writes N checkpoints of the agent alice as a CAR.
func cmdCAR(ts *testscript.TestScript, neg bool, args []string) {
	l := life(ts, args[1])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), testkit.CAR(l[len(l)-1], l...), 0o666))
}

func life(ts *testscript.TestScript, n string) [][]byte {
	count, err := strconv.Atoi(n)
	ts.Check(err)
	return testkit.NewAgent("alice").History(count, 32)
}

// flip OFFSET FILE...: flips the lowest bit of that byte, from the end if negative.
func cmdFlip(ts *testscript.TestScript, neg bool, args []string) {
	offset, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, pattern := range args[1:] {
		files, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(files) == 0 {
			ts.Fatalf("no file %s", pattern)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			ts.Check(err)
			at := offset
			if at < 0 {
				at += len(b)
			}
			b[at] ^= 1
			ts.Check(os.WriteFile(f, b, 0o666))
		}
	}
}

// cut SIZE FILE: truncates the file.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[1]), size))
}

// hostileName is a name that would clear the screen, forge a line, a workflow
// command, a table and an element.
const hostileName = "\x1b[2J\nverified: 1 checkpoint\r::warning::x ##[add-mask]y |`<img src=x> @all \u202e\u009b31m\x7f \xff.ckpt"

// hostile FOLDER: gives the folder's first checkpoint but one a hostile name.
func cmdHostile(ts *testscript.TestScript, neg bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0] + "/*.ckpt"))
	ts.Check(err)
	ts.Check(os.Rename(files[1], filepath.Join(ts.MkAbs(args[0]), hostileName)))
}

// screen FILE: stdout fits a screen and has nothing but printable characters.
func cmdScreen(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stdout")
	if !utf8.ValidString(text) {
		ts.Fatalf("not UTF-8")
	}
	if err := printable(text); err != nil {
		ts.Fatalf("%v", err)
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 23 {
		ts.Fatalf("%d lines are more than fit a screen with the prompt", len(lines))
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > 80 {
			ts.Fatalf("%d columns: %s", n, l)
		}
	}
}

func printable(text string) error {
	for _, c := range text {
		if c != '\n' && !strconv.IsPrint(c) {
			return fmt.Errorf("not printable: %q", c)
		}
	}
	return nil
}

// binary builds the program as it is released and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "igor-verify")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	path := filepath.Join(dir, "igor-verify")
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func build(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDependencies keeps the program to the standard library and this module.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 3 {
		t.Fatalf("only %q", packages)
	}
	for _, p := range packages {
		if p != "igor.dev" && !strings.HasPrefix(p, "igor.dev/") {
			t.Errorf("depends on %s, which is not of the standard library or this module", p)
		}
	}
}

// TestSize keeps the program small enough to be fetched in every CI run.
func TestSize(t *testing.T) {
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 20
	if info.Size() > limit {
		t.Errorf("%d bytes stripped, over %d", info.Size(), limit)
	}
	t.Logf("%d bytes stripped", info.Size())
}

// run runs the released program.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(build(t), args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

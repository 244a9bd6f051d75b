package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"igor": main})
}

// agents is where the agents of testdata are.
func agents(t testing.TB) string {
	dir, err := filepath.Abs("testdata/agents")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A told is what a command said, and what it exited with.
type told struct {
	code        int
	out, stderr string
}

// tell runs a command in this process, so that a panic ends the test.
func tell(args ...string) told {
	var out, stderr bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &stderr)
	return told{code, out.String(), stderr.String()}
}

// expects returns what runs commands, first of which some words may always be, and wants of
// each its exit code and what it says. It returns what is printed.
func expects(t *testing.T, always ...string) func(want int, says string, args ...string) string {
	return func(want int, says string, args ...string) string {
		t.Helper()
		args = slices.Concat(always, args)
		got := tell(args...)
		if got.code != want || !strings.Contains(got.out+got.stderr, says) {
			t.Fatalf("igor %s: exit code %d, and %d was due, with %q:\n%s%s", strings.Join(args, " "), got.code, want, says, got.out, got.stderr)
		}
		return got.out
	}
}

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	cache := t.TempDir() // one for all, as on a real machine
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("AGENTS", agents(t))
			// A command, as Go builds it without -buildmode=c-shared, and a component.
			command := "\x00asm\x01\x00\x00\x00" + "\x00\x0b\x0ago:buildid" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" +
				"\x07\x0a\x01\x06_start\x00\x00" + "\x0a\x04\x01\x02\x00\x0b"
			for name, wasm := range map[string]string{"command.wasm": command, "component.wasm": "\x00asm\x0d\x00\x01\x00"} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(wasm), 0o644); err != nil {
					return err
				}
			}
			e.Setenv("XDG_CACHE_HOME", cache)
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, ".config"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":     exitCode,
			"cp-r":     copyFolder,
			"truncate": truncate,
			"shell":    shellLine,
		},
	})
}

// exitCode runs a command and wants its exit code: exit CODE COMMAND ARGS….
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE COMMAND ARGS…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%v: exit code %d, want %s", args[1:], got, args[0])
	}
}

// copyFolder copies a folder as cp -r does.
func copyFolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cp-r FROM TO")
	}
	ts.Check(ts.Exec("cp", "-r", args[0], args[1]))
}

func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE SIZE")
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
}

// TestPlain says errors as they come, for people.
func TestPlain(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "a/key", Err: fs.ErrNotExist}
	full := &fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}
	for _, test := range []struct {
		err  error
		text string
		hint string
	}{
		{missing, "a/key: file does not exist", "check the path"},
		{failed(fmt.Errorf("the key: %w", missing)), "the key: a/key: file does not exist", "check the path"},
		{errors.Join(missing, full), "a/key: file does not exist; cannot write the output: no space left on device", "make room, and do it again; nothing that was acknowledged is lost"},
		{&hinted{missing, "look"}, "a/key: file does not exist", "look"},
		{full, "cannot write the output: no space left on device", "look at where the output goes; what was done is done all the same"},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "x: no space left on device", "make room, and do it again; nothing that was acknowledged is lost"},
		{failed(fmt.Errorf("replay: %w", context.Canceled)), "interrupted before it was done", ""},
		{errors.New("open a/key"), "open a/key", ""},
	} {
		if got := plain(test.err).Error(); got != test.text {
			t.Errorf("%q is said as %q, want %q", test.err, got, test.text)
		}
		if got := nextStep(plain(test.err)); got != test.hint {
			t.Errorf("%q: hint %q, want %q", test.err, got, test.hint)
		}
	}
}

// shellLine runs a line of a shell, which has to succeed.
func shellLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: shell LINE")
	}
	ts.Check(ts.Exec("sh", "-c", args[0]))
}

//go:build !wasip1

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withIgor builds igor into a folder of the test that comes first in the PATH.
func withIgor(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir, "./cmd/igor")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("XDG_CACHE_HOME", dir)
	return dir
}

// TestPanics ends the probes in their third tick, and wants the operator to be told
// why and where.
func TestPanics(t *testing.T) {
	tmp := withIgor(t)
	for _, tt := range []struct{ language, file, after, panics, want string }{
		{"rust", "probe.rs", "self.ticks += 1;", `assert!(self.ticks < 3, "three is too many");`, "three is too many"},
		{"c", "probe.c", "p->ticks++;", `if (p->ticks == 3) igor_panic("three is too many");`, "probe.c:67: three is too many"},
		{"assemblyscript", "probe.ts", "this.ticks++;", `assert(this.ticks < 3, "three is too many");`, ": three is too many"},
	} {
		t.Run(tt.language, func(t *testing.T) {
			if out, err := exec.Command("make", "-s", "-C", "..", "has-"+tt.language).CombinedOutput(); err != nil {
				t.Skipf("%s is not here: tools/needs.sh languages gets it\n%s", tt.language, out)
			}
			from, wasm := t.TempDir(), filepath.Join(tmp, tt.language+".wasm")
			if err := os.CopyFS(from, os.DirFS(tt.language)); err != nil {
				t.Fatal(err)
			}
			for file, change := range map[string][2]string{
				tt.file:      {tt.after, tt.after + " " + tt.panics},
				"Cargo.toml": {`"../../rust"`, `"` + strings.TrimSuffix(mustAbs(t, "."), "conformance") + `rust"`},
			} {
				b, err := os.ReadFile(filepath.Join(from, file))
				if os.IsNotExist(err) && file == "Cargo.toml" {
					continue
				}
				if err != nil || !strings.Contains(string(b), change[0]) {
					t.Fatalf("%s has no %q: %v", file, change[0], err)
				}
				if err := os.WriteFile(filepath.Join(from, file), []byte(strings.Replace(string(b), change[0], change[1], 1)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.Command("make", "-s", "-C", "..", "program-"+tt.language, "FROM="+from, "NAME=probe", "TO="+wasm, "TARGETS="+t.TempDir()).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := live(wasm); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.file) {
				t.Errorf("got error %v, want %q and %s", err, tt.want, tt.file)
			}
		})
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestProbes runs the suite on the probe of each SDK.
func TestProbes(t *testing.T) {
	tmp := withIgor(t)
	for _, language := range []string{"go", "rust", "rust without std", "c", "assemblyscript"} {
		t.Run(language, func(t *testing.T) {
			language, std := strings.CutSuffix(language, " without std")
			std = !std
			wasm := filepath.Join(tmp, language+".wasm")
			build := exec.Command("go", "build", "-buildmode=c-shared", "-o", wasm, "./probe")
			build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
			if language != "go" {
				if out, err := exec.Command("make", "-s", "-C", "..", "has-"+language).CombinedOutput(); err != nil {
					t.Skipf("%s is not here: tools/needs.sh languages gets it\n%s", language, out)
				}
				from, err := filepath.Abs(language)
				if err != nil {
					t.Fatal(err)
				}
				if !std {
					from = withoutStd(t)
				}
				build = exec.Command("make", "-s", "-C", "..", "program-"+language, "FROM="+from, "NAME=probe", "TO="+wasm,
					"TARGETS="+t.TempDir()) // what is built with RUSTC_BOOTSTRAP stays out of what is built without
				if !std {
					build.Env = append(os.Environ(), "RUSTC_BOOTSTRAP=1") // for Rust before 1.68
				}
			}
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			program, err := os.ReadFile(wasm)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(checkModule(program)...); err != nil {
				t.Error(err)
			}
			if err := live(wasm); err != nil {
				t.Error(err)
			}
			for n := range min(len(program), 2000) { // hostile modules give errors
				parse(program[:n])
			}
		})
	}
}

// withoutStd makes the Rust probe one that is no_std, with the SDK's own allocator.
func withoutStd(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	sdk, err := filepath.Abs("../rust")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"Cargo.toml": {`{ path = "../../rust" }`, `{ path = "` + sdk + `", default-features = false }`},
		"probe.rs": {"\nuse igor_sdk", `
#![cfg_attr(target_arch = "wasm32", no_std)]
#![feature(default_alloc_error_handler)]

extern crate alloc;
use alloc::{format, vec, string::{String, ToString}};

use igor_sdk`},
	} {
		b, err := os.ReadFile(filepath.Join("rust", name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(b), change[0], change[1], 1)
		if changed == string(b) {
			t.Fatalf("%s has no %q", name, change[0])
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDiffer changes the state of a probe, and is told where.
func TestDiffer(t *testing.T) {
	state := func(said, intent string) []byte {
		return []byte("igor/kv-state/v1\x00\x00\x00\x00\x00" + "\x01" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00" +
			string(rune(len(said))) + "\x00\x00\x00" + said + "\x0f\x00\x00\x00" + "\x01\x00\x00\x00\x03\x01\x00\x00\x00" + intent + "\x01\x00\x00\x00x")
	}
	want := state("now 1\npay ok\n", "a")
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{state("now 1\npay failed\n", "a"), `has "pay failed", which should be "pay ok"`},
		{state("now 1\n", "a"), `has "", which should be "pay ok"`},
		{state("now 1\npay ok\n", "b"), `has "intent b confirmed \"x\"", which should be "intent a confirmed \"x\""`},
		{want[:len(want)-1], "not in the form that README.md asks: a state that is cut short"},
		{[]byte("x"), "its store is not empty, or it has none"},
	} {
		if err := differ(tt.got, want); !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got error %v, want %s", err, tt.want)
		}
	}
}

// TestModules has modules that are no agents.
func TestModules(t *testing.T) {
	const agent = `(memory (export "memory") 1) (func (export "agent_init")) (func (export "agent_tick")) (func (export "agent_checkpoint") (result i32) (i32.const 0))
		(func (export "agent_checkpoint_ptr") (result i32) (i32.const 0)) (func (export "agent_resume") (param i32 i32)) (func (export "malloc") (param i32) (result i32) (i32.const 0))`
	wat2wasm, err := exec.LookPath("wat2wasm")
	if err != nil {
		t.Skip("wat2wasm is not here (package wabt)")
	}
	for _, tt := range []struct{ from, to, want string }{
		{"", "", ""},
		{`(memory (export "memory") 1)`, "(memory 1)", "it does not export its memory as memory"},
		{`(export "malloc")`, `(export "alloc")`, "it does not export malloc, which is (i32) -> (i32)"},
		{`(func (export "agent_tick"))`, `(func (export "agent_tick") (result i64) (i64.const 0))`, "it exports agent_tick as () -> (i64), which should be () -> (i32)"},
		{`"agent_resume") (param i32 i32)`, `"agent_resume") (param i32)`, "it exports agent_resume as (i32) -> (), which should be (i32 i32) -> ()"},
		{"(memory", `(import "env" "abort" (func (param i32 i32 i32 i32))) (memory`, "it imports env.abort, which no agent has (AssemblyScript: --use abort=FUNCTION"},
		{"(memory", `(import "env" "seed" (func (result f64))) (memory`, "it imports env.seed, which no agent has (AssemblyScript's Math.random"},
		{"(memory", `(import "igor" "clock" (func (result i64))) (memory`, "it imports igor.clock, which no agent has (docs/spec/abi.md lists"},
		{"(memory", `(import "igor" "clock_now" (func (result i32))) (memory`, "it imports clock_now as () -> (i32), which should be () -> (i64)"},
		{"(memory", `(func (export "_start")) (memory`, "it exports _start: it is built as a command"},
		{"(memory", `(func (export "agent_observe") (param i32)) (memory`, "it exports agent_observe as (i32) -> (), which should be (i32 i32) -> ()"},
		{"(memory", `(func (export "_initialize") (result i32) (i32.const 0)) (memory`, "it exports _initialize as"},
	} {
		text := strings.Replace(agent, tt.from, tt.to, 1)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "m.wat"), []byte("(module "+text+")"), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(wat2wasm, filepath.Join(dir, "m.wat"), "-o", filepath.Join(dir, "m.wasm")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		program, err := os.ReadFile(filepath.Join(dir, "m.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(checkModule(program)...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q: got error %v, want %q", tt.to, err, tt.want)
		}
	}
	component := checkModule([]byte("\x00asm\x0d\x00\x01\x00"))
	if len(component) != 1 || !strings.Contains(component[0].Error(), "it is a component, and an agent is a core module") {
		t.Errorf("a component: got %v", component)
	}
	for _, b := range []string{"", "\x00asm", "MZ", "\x00asm\x01\x00\x00\x00\x01\xff"} {
		if problems := checkModule([]byte(b)); len(problems) == 0 {
			t.Errorf("%q is taken", b)
		}
	}
}

func FuzzModule(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { parse(b) })
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const agentsPage = "../../docs/agents.md"

// section returns what of docs/agents.md stands before a section, and the section.
func section(t *testing.T, title string) (before, text string) {
	t.Helper()
	page, err := os.ReadFile(agentsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, text, ok := strings.Cut(string(page), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("%s has no section %s", agentsPage, title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return before, text
}

// useLanguage puts the toolchain of a language into the desk's PATH, or skips the
// test if there is none.
func (d *desk) useLanguage(name string) {
	d.t.Helper()
	if out, err := exec.Command("make", "-s", "-C", "../../sdk", "has-"+name).CombinedOutput(); err != nil {
		d.t.Skipf("%s is not here: tools/needs.sh languages gets it\n%s", name, out)
	}
	dir := ""
	switch name {
	case "rust": // the one in PATH need not have WebAssembly; Debian's has
		if _, err := d.shell(`test -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)"`); err != nil {
			dir = "/usr/bin"
		}
	case "assemblyscript":
		var err error
		if dir, err = filepath.Abs("../../node_modules/.bin"); err != nil {
			d.t.Fatal(err)
		}
	}
	if dir != "" {
		out, err := d.shell("printf %s \"$PATH\"")
		if err != nil {
			d.t.Fatal(err)
		}
		d.env = append(d.env, "PATH="+dir+":"+out)
	}
}

// TestLanguages follows the section of each language in docs/agents.md: from igor new
// to a life that was lived here and on a copy, verified and run again.
func TestLanguages(t *testing.T) {
	for _, l := range languages {
		if l.name == "go" {
			continue // TestAgentsPage
		}
		t.Run(l.name, func(t *testing.T) {
			d := newDesk(t)
			if home, err := os.UserHomeDir(); err == nil && os.Getenv("RUSTUP_HOME") == "" {
				d.env = append(d.env, "RUSTUP_HOME="+filepath.Join(home, ".rustup"))
			}
			d.env = append(d.env, "HOME="+t.TempDir())
			d.useLanguage(l.name)
			_, text := section(t, l.title)
			ran := d.followText(agentsPage, text, func(string) bool { return false })
			if ran != 8 {
				t.Errorf("the section has %d commands, want 8", ran)
			}
			if t.Failed() {
				return
			}
			for _, line := range []string{
				"mv copy life.copied && make IGOR='echo igor' run verify clean", // life is there, so it goes on
				"rm -r life.copied && git init -q && git add -A && ! git ls-files | grep -E '^life|wasm$|^target|_test$|node_modules'",
			} {
				if out, err := d.shell(line); err != nil {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
		})
	}
}

// TestMissingTools takes the tools of each language away, and is told what to get.
func TestMissingTools(t *testing.T) {
	for _, tt := range []struct{ lang, tools, want string }{
		{"rust", "sh make", "cargo is not here: install Rust (rustup.rs, or apt install cargo)"},
		{"rust", "sh make cargo", "this Rust has no WebAssembly: rustup target add wasm32-unknown-unknown, or apt install libstd-rust-dev-wasm32 lld"},
		{"c", "sh make", "clang is not here: apt install clang lld wasi-libc libclang-rt-dev-wasm32"},
		{"assemblyscript", "sh make", "node is not here: install Node 20 or later"},
		{"assemblyscript", "sh make node env", "asc, the AssemblyScript compiler, is not here: npm install"},
	} {
		d := newDesk(t)
		if out, err := d.shell("igor new demo --lang " + tt.lang); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		bin := t.TempDir()
		for _, tool := range strings.Fields(tt.tools) {
			at, err := exec.LookPath(tool)
			if tool == "cargo" {
				at, err = "/bin/true", nil // one without a compiler
			}
			if err == nil {
				err = os.Symlink(at, filepath.Join(bin, tool))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d.dir = filepath.Join(d.dir, "demo")
		d.env = append(d.env, "PATH="+bin)
		out, err := d.shell("make -s build")
		if first, _, _ := strings.Cut(out, "\n"); err == nil || first != tt.want {
			t.Errorf("%s with %s: %v\n%s", tt.lang, tt.tools, err, out)
		}
	}
}

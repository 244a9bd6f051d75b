package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

var whole = flag.Bool("whole", false, "make the release for every platform, and the second time with nothing compiled before")

// TestRelease makes a release twice, in two folders, and wants the same bytes; then
// it uses what it made.
func TestRelease(t *testing.T) {
	root, err := output(".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		t.Fatal(err)
	}
	targets := []string{"linux/amd64", "windows/amd64"}
	if *whole {
		targets = platforms
	}
	first := build(t, root, targets, nil)
	elsewhere := filepath.Join(t.TempDir(), "a clone", "elsewhere")
	clone(t, root, elsewhere)
	var env []string
	if *whole {
		env = []string{"GOCACHE=" + t.TempDir()}
	}
	second := build(t, elsewhere, targets, env)

	t.Run("install", func(t *testing.T) { installed(t, elsewhere) })

	names := files(t, first)
	made, packages := 0, 0
	for _, target := range targets {
		for _, p := range products {
			if p.on(target) {
				made++
			}
			if p.deb && strings.HasPrefix(target, "linux/") {
				packages++
			}
		}
	}
	if want := made + packages + 2; len(names) != want { // archives, packages, bill and checksums
		t.Errorf("%d files, want %d: %q", len(names), want, names)
	}
	if again := files(t, second); !slices.Equal(names, again) {
		t.Fatalf("the first time %q, the second %q", names, again)
	}
	for _, name := range names {
		if a, b := read(t, first, name), read(t, second, name); !bytes.Equal(a, b) {
			t.Errorf("%s is not the same: %x and %x", name, sha256.Sum256(a), sha256.Sum256(b))
		}
	}
	t.Run("checksums", func(t *testing.T) { checksums(t, first, names) })
	t.Run("bill", func(t *testing.T) { bill(t, first) })
	t.Run("archives", func(t *testing.T) { archives(t, root, first, targets) })
	t.Run("package", func(t *testing.T) { debs(t, root, first, packages) })
}

// installed wants go install to bring the programs alone, which know their commit
// without being told.
func installed(t *testing.T, root string) {
	bin := t.TempDir()
	cmd := exec.Command("go", "install", "./cmd/...")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-buildvcs=true", "CGO_ENABLED=0")
	say(t, cmd)
	programs := []string{"igor", "igor-log", "igor-node", "igor-verify", "igord-lab"}
	if have := files(t, bin); !slices.Equal(have, programs) {
		t.Errorf("go install brings %q", have)
	}
	for _, name := range programs {
		if said := say(t, exec.Command(filepath.Join(bin, name), "--version")); strings.Contains(said, "unknown") {
			t.Errorf("%s says %s", name, said)
		}
	}
}

// build makes a release from a clone, as make release does.
func build(t *testing.T, root string, targets, env []string) (out string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "out")
	cmd := exec.Command("go", "run", "-C", "tools", "./release", "-dirty", "-out", out, "-targets", strings.Join(targets, ","))
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// clone copies what a release is made from: the commit, what is not committed, and
// the site that was built before.
func clone(t *testing.T, root, to string) {
	t.Helper()
	list, err := output(root, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := output(root, "git", "clone", "--quiet", "--shared", root, to); err != nil {
		t.Fatal(err)
	}
	names := strings.Split(list, "\n")
	site, err := filepath.Glob(filepath.Join(root, "site", "embedded", "files", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range site {
		name, err := filepath.Rel(root, s)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			os.Remove(filepath.Join(to, name))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func checksums(t *testing.T, dir string, names []string) {
	cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if lines := strings.Count(string(out), ": OK\n"); lines != len(names)-1 {
		t.Errorf("%d files are checked, of %d", lines, len(names))
	}
}

// bill wants every module that igor says it is made of in the bill of materials.
func bill(t *testing.T, dir string) {
	found, err := filepath.Glob(filepath.Join(dir, "*.cdx.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	var b cdx.BOM
	if err := json.Unmarshal(read(t, "", found[0]), &b); err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, c := range *b.Components {
		have[c.Name] = true
	}
	for _, want := range []string{"std", "github.com/tetratelabs/wazero", "github.com/spf13/cobra", "uplot"} {
		if !have[want] {
			t.Errorf("%s is not in it: %q", want, slices.Sorted(maps.Keys(have)))
		}
	}
	for _, name := range notShipped {
		if have[name] {
			t.Errorf("%s is in it, and is not shipped", name)
		}
	}
}

// archives unpacks the archives with the tools that people have, and runs what is
// for this machine.
func archives(t *testing.T, root, dir string, targets []string) {
	ran := 0
	for _, target := range targets {
		for _, p := range products {
			if !p.on(target) {
				continue
			}
			what := p.name
			found, err := filepath.Glob(filepath.Join(dir, what+"_*_"+strings.ReplaceAll(target, "/", "_")+".*"))
			if err != nil || len(found) != 1 {
				t.Fatalf("%s for %s: %q, %v", what, target, found, err)
			}
			to := t.TempDir()
			unpack := exec.Command("tar", "-xzf", found[0], "-C", to)
			if strings.HasSuffix(found[0], ".zip") {
				unpack = exec.Command("python3", "-m", "zipfile", "-e", found[0], to)
			}
			if out, err := unpack.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			folders := files(t, to)
			if len(folders) != 1 || !strings.HasPrefix(filepath.Base(found[0]), folders[0]+".") {
				t.Fatalf("%s unpacks to %q", found[0], folders)
			}
			folder := filepath.Join(to, folders[0])
			program := filepath.Join(folder, what+exe(target))
			if info, err := os.Stat(program); err != nil || info.Size() < 1<<20 {
				t.Errorf("%s: %v", program, err)
			}
			if target == runtime.GOOS+"/"+runtime.GOARCH {
				ran++
				for _, name := range p.programs {
					knows(t, root, filepath.Join(folder, name))
				}
				if !p.server {
					use(t, root, filepath.Join(folder, "igor-verify"))
				}
				if what == "igor" {
					live(t, root, filepath.Join(folder, "igor"))
				}
			}
		}
	}
	if ran != len(products) {
		t.Errorf("%d archives are for this machine", ran)
	}
}

// knows wants a program to know its commit.
func knows(t *testing.T, root, program string) {
	t.Helper()
	commit, err := output(root, "git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if said := say(t, exec.Command(program, "--version")); !strings.Contains(said, commit) {
		t.Errorf("%s says %q, and the commit is %s", program, said, commit)
	}
}

// use wants a verdict.
func use(t *testing.T, root, verify string) {
	t.Helper()
	if said := say(t, exec.Command(verify, filepath.Join(root, "testdata", "histories", "heartbeat-moved"))); !strings.Contains(said, "\nverified: ") {
		t.Errorf("%s says %s", verify, said)
	}
}

// live lets the smallest agent live, and makes one where there is no clone and no network.
func live(t *testing.T, root, igor string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "counter")
	home := t.TempDir()
	for _, args := range [][]string{
		{"run", filepath.Join(root, "cmd", "igor", "testdata", "agents", "counter.wasm"), "--dir", dir, "--ticks", "3", "--tick-interval", "0", "--quiet"},
		{"resume", dir, "--ticks", "3", "--tick-interval", "0", "--quiet"},
		{"verify", dir},
	} {
		cmd := exec.Command(igor, args...)
		cmd.Env = []string{"HOME=" + home}
		say(t, cmd)
	}
	cache, err := output(root, "go", "env", "GOCACHE")
	if err != nil {
		t.Fatal(err)
	}
	made := exec.Command("sh", "-c", `PATH="$(dirname "$0"):$PATH" && igor new demo && cd demo && make simulate`, igor)
	made.Dir = home
	made.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOPROXY=off", "GOCACHE=" + cache}
	if said := say(t, made); !strings.Contains(said, "\nverified: ") {
		t.Errorf("an agent that was made with it says %s", said)
	}
}

func say(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// wanted is some of what is in a package.
var wanted = map[string][]string{
	"igor": {"usr/bin/igor", "usr/bin/igor-verify", "usr/share/man/man1/igor-run.1.gz", "usr/share/man/man1/igor-logs.1.gz", "usr/share/bash-completion/completions/igor", "usr/lib/systemd/system/igor.service",
		"usr/lib/systemd/system/igor@.service", "usr/share/igor/prometheus/igor.rules.yml", "usr/share/igor/grafana/igor.json"},
	"igor-log": {"usr/bin/igor-log", "usr/share/man/man1/igor-log.1.gz", "usr/share/man/man1/igor-log-serve.1.gz", "usr/lib/systemd/system/igor-log.service", "usr/lib/systemd/system/igor-log-witness.service",
		"usr/lib/systemd/system/igor-log-monitor.service", "usr/share/igor/prometheus/igor-log.rules.yml", "usr/share/igor/grafana/igor-log.json"},
	"igor-node": {"usr/bin/igor-node", "usr/share/man/man1/igor-node.1.gz", "usr/share/man/man1/igor-node-start.1.gz", "usr/lib/systemd/system/igor-node.service", "usr/share/igor/prometheus/igor-node.rules.yml"},
}

// debs unpacks the packages, and runs what is for this machine.
func debs(t *testing.T, root, dir string, packages int) {
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != packages {
		t.Fatalf("%q, %v", found, err)
	}
	for _, deb := range found {
		to := t.TempDir()
		say(t, exec.Command("dpkg-deb", "-x", deb, to))
		what, _, _ := strings.Cut(filepath.Base(deb), "_")
		want := wanted[what]
		if len(want) == 0 {
			t.Errorf("%s is a package that nobody wants", deb)
		}
		for _, name := range append(want, "usr/share/doc/"+what+"/copyright") {
			if _, err := os.Stat(filepath.Join(to, name)); err != nil {
				t.Error(err)
			}
		}
		if strings.HasSuffix(deb, fmt.Sprintf("_%s.deb", runtime.GOARCH)) {
			knows(t, root, filepath.Join(to, "usr/bin", what))
		}
		if what == "igor" && strings.HasSuffix(deb, fmt.Sprintf("_%s.deb", runtime.GOARCH)) {
			use(t, root, filepath.Join(to, "usr/bin/igor-verify"))
		}
	}
}

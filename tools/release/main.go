// Release makes the files of a release from a clone: for each platform the archives
// of igor and igor-verify, for Linux those of the servers too, for Debian packages, a
// bill of materials, and the checksums of them all.
//
//	go run -C tools ./release [-out FOLDER] [-targets linux/amd64,…]
//
// The same commit gives the same bytes, on any machine and in any folder: Go
// builds without paths (-trimpath), files are written in one order, and every date
// is that of the commit. So anybody can make a release again and compare.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where igor runs, as go tool dist names it.
var platforms = []string{
	"linux/amd64", "linux/arm64",
	"darwin/amd64", "darwin/arm64",
	"windows/amd64", "windows/arm64",
	"freebsd/amd64", "freebsd/arm64",
}

// A product gets an archive of its own for each platform, and some a package for Debian.
type product struct {
	name     string
	programs []string
	server   bool     // made for Linux alone; files that begin with its name are its own
	deb      bool     // packaging/debian has its control file and scripts
	only     []string // files of the clone; none = all that are no server's
}

var products = []product{
	{name: "igor", programs: []string{"igor", "igor-verify"}, deb: true},
	{name: "igor-verify", programs: []string{"igor-verify"}, only: []string{"LICENSE", "man/man1/igor-verify.1"}},
	{name: "igor-log", programs: []string{"igor-log"}, server: true, deb: true, only: []string{"LICENSE", "CHANGELOG.md"}},
	{name: "igor-node", programs: []string{"igor-node"}, server: true, deb: true, only: []string{"LICENSE", "CHANGELOG.md"}},
}

// has reports whether a file of documents belongs to the product.
func (p *product) has(name string) bool {
	for _, o := range products {
		// Its own is igor-log-serve.1, and not igor-logs.1.
		if rest, ok := strings.CutPrefix(path.Base(name), o.name); o.server && ok && rest != "" && strings.Contains(".-@", rest[:1]) {
			return o.name == p.name
		}
	}
	return p.only == nil || slices.Contains(p.only, name)
}

// on reports whether the product is made for a platform.
func (p *product) on(target string) bool { return !p.server || strings.HasPrefix(target, "linux/") }

func main() {
	out := flag.String("out", "", "the `FOLDER` to write to, which has to be absent or empty (default: dist/release/VERSION)")
	targets := flag.String("targets", strings.Join(platforms, ","), "the `PLATFORMS` to build for")
	dirty := flag.Bool("dirty", false, "build although there are uncommitted changes: for tests, never for a release")
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("%q is one argument too many", flag.Arg(0)))
	}
	r, err := newRelease(*out, *dirty)
	if err == nil {
		err = r.make(strings.Split(*targets, ","))
	}
	if err != nil {
		fail(err)
	}
	fmt.Println(r.out)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "release:", err)
	os.Exit(1)
}

// A release is what is being made.
type release struct {
	root    string // of the clone
	out     string
	work    string // for what is not part of it
	version string
	commit  string
	date    time.Time // of the commit
}

func newRelease(out string, dirty bool) (*release, error) {
	r := &release{}
	var err error
	if r.root, err = output(".", "git", "rev-parse", "--show-toplevel"); err != nil {
		return nil, fmt.Errorf("a release is made in a clone: %w", err)
	}
	changes, err := output(r.root, "git", "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changes != "" && !dirty {
		return nil, fmt.Errorf("there are uncommitted changes; commit them, for a release is made from a commit:\n%s", changes)
	}
	if r.commit, err = output(r.root, "git", "rev-parse", "--short=12", "HEAD"); err != nil {
		return nil, err
	}
	seconds, err := output(r.root, "git", "show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return nil, err
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, err
	}
	r.date = time.Unix(unix, 0).UTC()
	if r.version, err = sourceVersion(r.root); err != nil {
		return nil, err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	if out == "" {
		r.out = filepath.Join(r.root, "dist", "release", r.version)
	}
	found, err := os.ReadDir(r.out)
	if err == nil && len(found) > 0 {
		return nil, fmt.Errorf("%s is not empty; remove it, or name another folder with -out", r.out)
	}
	return r, os.MkdirAll(r.out, 0o755)
}

// make makes everything.
func (r *release) make(targets []string) (err error) {
	for _, target := range targets {
		if !slices.Contains(platforms, target) {
			return fmt.Errorf("there is no platform %q; there are %s", target, strings.Join(platforms, ", "))
		}
	}
	if r.work, err = os.MkdirTemp("", "igor-release-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	docs, err := r.documents()
	if err != nil {
		return err
	}
	var programs []string
	for _, target := range targets {
		bin, err := r.build(target)
		if err != nil {
			return err
		}
		for _, p := range products {
			if !p.on(target) {
				continue
			}
			for _, name := range p.programs {
				programs = append(programs, filepath.Join(bin, name+exe(target)))
			}
			if err := r.archives(p, target, bin, docs); err != nil {
				return err
			}
			if system, machine, _ := strings.Cut(target, "/"); p.deb && system == "linux" {
				if err := r.deb(p, machine, bin, docs); err != nil {
					return err
				}
			}
		}
	}
	if err := r.bill(programs); err != nil {
		return err
	}
	return r.checksums()
}

// build builds the programs for one platform, and returns the folder they are in.
func (r *release) build(target string) (string, error) {
	system, machine, _ := strings.Cut(target, "/")
	bin := filepath.Join(r.work, "bin", system+"-"+machine)
	var packages []string
	for _, p := range products {
		if p.on(target) {
			for _, name := range p.programs {
				packages = append(packages, "./cmd/"+name)
			}
		}
	}
	slices.Sort(packages)
	return bin, r.goBuild(bin, system, machine, slices.Compact(packages)...)
}

func (r *release) goBuild(bin, system, machine string, packages ...string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w -buildid= -X igor.dev/verifier.commit=" + r.commit,
		"-o", bin + string(filepath.Separator)}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS="+system, "GOARCH="+machine)
	return run(cmd)
}

func exe(target string) string {
	if strings.HasPrefix(target, "windows/") {
		return ".exe"
	}
	return ""
}

// documents has the manual pages and the completions, made by an igor of this
// machine, and the files that are in the clone: by their paths in an archive.
func (r *release) documents() (map[string]string, error) {
	bin := filepath.Join(r.work, "bin", "here")
	writers := []string{"igor"} // of manual pages
	for _, p := range products {
		if p.server {
			writers = append(writers, p.programs...)
		}
	}
	var packages []string
	for _, name := range writers {
		packages = append(packages, "./cmd/"+name)
	}
	if err := r.goBuild(bin, "", "", packages...); err != nil {
		return nil, err
	}
	igor := filepath.Join(bin, "igor")
	docs := map[string]string{
		"LICENSE":      filepath.Join(r.root, "LICENSE"),
		"CHANGELOG.md": filepath.Join(r.root, "CHANGELOG.md"),
	}
	man := filepath.Join(r.work, "man")
	for _, name := range writers {
		cmd := exec.Command(filepath.Join(bin, name), "man", man)
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.date.Unix(), 10))
		if err := run(cmd); err != nil {
			return nil, err
		}
	}
	pages, err := filepath.Glob(filepath.Join(man, "*.1"))
	if err != nil || len(pages) == 0 {
		return nil, errors.Join(errors.New("there are no manual pages"), err)
	}
	for _, page := range pages {
		docs["man/man1/"+filepath.Base(page)] = page
	}
	for shell, name := range map[string]string{"bash": "igor.bash", "zsh": "_igor", "fish": "igor.fish", "powershell": "igor.ps1"} {
		script, err := exec.Command(igor, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("igor completion %s: %w", shell, err)
		}
		file := filepath.Join(r.work, name)
		if err := os.WriteFile(file, script, 0o644); err != nil {
			return nil, err
		}
		docs["completions/"+name] = file
	}
	for _, folder := range []string{"systemd", "prometheus", "grafana"} {
		files, err := filepath.Glob(filepath.Join(r.root, "packaging", folder, "*"))
		if err != nil || len(files) == 0 {
			return nil, errors.Join(fmt.Errorf("packaging/%s is empty", folder), err)
		}
		for _, file := range files {
			docs[folder+"/"+filepath.Base(file)] = file
		}
	}
	return docs, nil
}

// checksums writes SHA256SUMS, as sha256sum -c reads it.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(b), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// sourceVersion asks the source which version it is.
func sourceVersion(root string) (string, error) {
	said, err := output(root, "go", "run", "./cmd/igor-verify", "--version")
	if err != nil {
		return "", err
	}
	fields := strings.Fields(said) // igor 0.1.0 (commit …
	if len(fields) < 2 {
		return "", fmt.Errorf("igor-verify --version says %q", said)
	}
	return fields[1], nil
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(b)), nil
}

func run(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

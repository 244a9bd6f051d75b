package main

import (
	"archive/zip"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An earlierLife is what the version of igor that made it found of it.
type earlierLife struct {
	DID              string
	Verdict          string
	Checkpoints      int
	Head             string
	Unresolved       int
	TickAfterTwoMore string
}

// TestEarlierLives goes on with the lives that earlier versions left behind.
func TestEarlierLives(t *testing.T) {
	files, err := filepath.Glob("../../testdata/lives/*/lives.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no lives: %v", err)
	}
	home := t.TempDir()
	for _, file := range files {
		dir := filepath.Dir(file)
		var lives map[string]earlierLife
		decode(t, readAll(t, file), &lives)
		zips, err := filepath.Glob(filepath.Join(dir, "*.zip"))
		if err != nil || len(zips) == 0 || len(zips) != len(lives) {
			t.Fatalf("%d lives in %s, and %d folders", len(lives), file, len(zips))
		}
		for name, want := range lives {
			t.Run(filepath.Base(dir)+"/"+name, func(t *testing.T) {
				folder := earlierFolder(t, dir, name)
				want.goesOn(t, home, folder)
			})
		}
	}
}

func (want *earlierLife) goesOn(t *testing.T, home, folder string) {
	igor := func(args ...string) []byte {
		t.Helper()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// The test binary is igor where it is called so.
		link := filepath.Join(t.TempDir(), "igor")
		if err := os.Symlink(exe, link); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(link, args...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("igor %q: %v\n%s%s", args, err, out, stderr.String())
		}
		return out
	}
	var report struct {
		Verdict, DID, Head string
		Checkpoints        int
	}
	verify := func() {
		t.Helper()
		decode(t, igor("verify", "--format", "json", folder), &report)
	}
	verify()
	if report.Verdict != want.Verdict || report.DID != want.DID || report.Head != want.Head || report.Checkpoints != want.Checkpoints {
		t.Errorf("it is %+v, and was %+v", report, want)
	}
	var effects []struct{ State string }
	decode(t, igor("effects", "--json", folder), &effects)
	unresolved := 0
	for _, e := range effects {
		if e.State == "unresolved" {
			unresolved++
		}
	}
	if unresolved != want.Unresolved {
		t.Errorf("%d side effects are unresolved, and %d were", unresolved, want.Unresolved)
	}
	igor("replay", folder)

	args := []string{"resume", folder, "--ticks", "2", "--tick-interval", "0", "--json", "--quiet"}
	if strings.HasSuffix(folder, "exhausted") {
		args = append(args, "--top-up", "1")
	}
	var result struct{ DID, Tick string }
	decode(t, igor(args...), &result)
	if result.DID != want.DID || result.Tick != want.TickAfterTwoMore {
		t.Errorf("it went on as %+v, and the earlier version to tick %s", result, want.TickAfterTwoMore)
	}
	decode(t, igor("resume", folder, "--ticks", "2", "--tick-interval", "0", "--json", "--quiet"), &result)
	verify()
	if report.Verdict != "verified" || report.DID != want.DID || report.Checkpoints <= want.Checkpoints {
		t.Errorf("afterwards it is %+v", report)
	}
	igor("replay", folder)
}

// earlierFolder unpacks an agent's folder.
func earlierFolder(t *testing.T, dir, name string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), name)
	z, err := zip.OpenReader(filepath.Join(dir, name+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := os.CopyFS(folder, z); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent, _, _ := strings.Cut(name, "-")
	f, err := os.Open(filepath.Join(dir, "programs", agent+".wasm.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	program, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	wasm, err := io.ReadAll(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "agent.wasm"), wasm, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

func readAll(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
}

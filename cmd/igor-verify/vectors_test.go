package main

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"igor.dev/internal/testkit"
	"igor.dev/internal/verifycli"
)

type report struct {
	Verdict     string
	DID         string
	Checkpoints int
	Duplicates  int
	Problems    []struct{ Code, Name string }
	Lives       []struct{ Checkpoints, Others int }
	NotLookedAt []struct {
		Kind  string
		Files int
	}
}

// check holds a report against what is expected of it beyond its verdict.
func (r *report) check(t *testing.T, want testkit.Expect) {
	var lives []int
	for _, l := range r.Lives {
		if lives = append(lives, l.Checkpoints); l.Others > 0 {
			lives[len(lives)-1] = l.Others
		}
	}
	if want.Lives != nil && !slices.Equal(lives, want.Lives) {
		t.Errorf("the lives have %v checkpoints, want %v", lives, want.Lives)
	}
	beside := make(map[string]int)
	for _, l := range r.NotLookedAt {
		beside[l.Kind] = l.Files
	}
	if want.NotLookedAt != nil && !maps.Equal(beside, want.NotLookedAt) {
		t.Errorf("not looked at is %v, want %v", beside, want.NotLookedAt)
	}
	var accused []string
	for _, p := range r.Problems {
		accused = append(accused, p.Name)
	}
	if want.Accused != nil && !slices.Equal(accused, want.Accused) {
		t.Errorf("the problems are at %q, want %q", accused, want.Accused)
	}
}

// TestVectors runs every vector and every real history through the program.
func TestVectors(t *testing.T) {
	vectors, err := testkit.LoadVectors("../../testdata/vectors")
	if err != nil {
		t.Fatal(err)
	}
	histories, err := testkit.LoadHistories("../../testdata/histories")
	if err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 80 {
		t.Fatalf("only %d vectors", len(vectors))
	}
	t.Setenv("GITHUB_STEP_SUMMARY", "") // a run on GitHub is not about the vectors
	build(t)
	for _, v := range append(vectors, histories...) {
		t.Run(v.Name, func(t *testing.T) {
			testVector(t, v)
		})
	}
}

func testVector(t *testing.T, v testkit.Vector) {
	if len(v.Names) > 0 {
		var err error
		if v, err = v.CopyTo(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	pins := []string{"--format=json"}
	if v.Args.DID != "" {
		pins = append(pins, "--did", v.Args.DID)
	}
	if v.Args.Head != "" {
		pins = append(pins, "--head", v.Args.Head)
	}
	stdout, stderr, code := run(t, slices.Concat(pins, v.Paths())...)
	if code != v.Expect.Exit {
		t.Fatalf("exit code %d, want %d\n%s%s", code, v.Expect.Exit, stdout, stderr)
	}
	if code == 2 {
		if stdout != "" {
			t.Errorf("output without a verdict: %s", stdout)
		}
		if !strings.HasPrefix(stderr, "igor-verify: ") || !strings.Contains(stderr, "\nhint: ") || strings.Count(stderr, "\n") != 2 {
			t.Errorf("not an error and a hint: %q", stderr)
		}
		return
	}
	if stderr != "" {
		t.Errorf("on standard error: %s", stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatal(err)
	}
	codes := []string{} // each once
	for _, p := range r.Problems {
		if !slices.Contains(codes, p.Code) {
			codes = append(codes, p.Code)
		}
	}
	if r.Verdict != v.Expect.Verdict || r.DID != v.Expect.DID || r.Checkpoints != v.Expect.Checkpoints ||
		r.Duplicates != v.Expect.Duplicates || !slices.Equal(codes, v.Expect.Codes) {
		t.Errorf("got verdict %s, DID %s, %d checkpoints, %d duplicates, codes %q\nwant %+v",
			r.Verdict, r.DID, r.Checkpoints, r.Duplicates, codes, v.Expect)
	}

	r.check(t, v.Expect)

	// The order of the inputs, and whether a folder or its files are given, is nothing.
	random := rand.New(rand.NewPCG(1, 2))
	paths := v.Paths()
	if len(paths) == 1 {
		paths = flatFiles(t, paths[0])
	}
	random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	if again, _, _ := run(t, slices.Concat(paths, pins)...); besides.ReplaceAllString(again, "") != besides.ReplaceAllString(stdout, "") {
		t.Errorf("another report for the same checkpoints given as %q:\n%s\nwant\n%s", paths, again, stdout)
	}

	// The other formats give the same verdict, with nothing but printable text.
	for _, format := range []string{"text", "github", "junit", "sarif", "svg"} {
		var out, errors strings.Builder
		code := verifycli.Main("igor-verify", slices.Concat(v.Paths(), pins[1:], []string{"--format", format}), nil, &out, &errors)
		if code != v.Expect.Exit || errors.Len() > 0 {
			t.Errorf("%s: exit code %d, want %d: %s", format, code, v.Expect.Exit, &errors)
		}
		if !strings.Contains(out.String(), v.Expect.Verdict) {
			t.Errorf("%s: no verdict in\n%s", format, &out)
		}
		if format == "text" {
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			for _, line := range lines {
				if utf8.RuneCountInString(line) > 80 {
					t.Errorf("a line of over 80 columns: %q", line)
				}
			}
			if len(lines) > 23 {
				t.Errorf("%d lines, which are no screen:\n%s", len(lines), &out)
			}
		}
		if format == "svg" {
			if err := xml.Unmarshal([]byte(out.String()), new(struct{})); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
		if err := printable(out.String()); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// besides is the part of a report that says what lay in a folder beside the checkpoints.
var besides = regexp.MustCompile(`(?m)^  "notLookedAt": \[\n(    .*\n)+  \],\n`)

var segmentName = regexp.MustCompile(`^[0-9]+(-[0-9]+)?\.(car|CAR)$`)

// flatFiles returns the checkpoints in a folder, or path itself if it is not a
// folder, or has a folder in it, or a name that is found in no other way.
func flatFiles(t *testing.T, path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return []string{path}
	}
	var files []string
	for _, e := range entries {
		if e.IsDir() {
			return []string{path}
		}
		if strings.HasSuffix(strings.ToLower(e.Name()), ".ckpt") || segmentName.MatchString(e.Name()) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files
}

// Package reference_test holds verify.py, which was written from the spec's text alone, to the vectors, the
// histories and the spec's own examples.
package reference_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// driver runs verify.py's main in one process, so that a case costs no start of an interpreter. A line of its input is
// a case, the same line of its output what verify.py would have exited with and written.
const driver = `
import io, json, os, sys, traceback
sys.path.insert(0, sys.argv[1])
import verify
out = sys.stdout
for line in sys.stdin:
    case = json.loads(line)
    os.chdir(case["dir"])
    sys.argv = ["verify.py", *case["args"]]
    sys.stdout, sys.stderr, exit = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO(), None
    try:
        verify.main()
    except SystemExit as e:
        exit = e.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    printed = sys.stdout.buffer.getvalue().decode()
    print(json.dumps({"exit": exit, "stdout": printed, "stderr": sys.stderr.getvalue()}), file=out, flush=True)
`

type expectation struct {
	Verdict     string   `json:"verdict"`
	Exit        int      `json:"exit"`
	Codes       []string `json:"codes"`
	DID         string   `json:"did"`
	Checkpoints int      `json:"checkpoints"`
	Duplicates  int      `json:"duplicates"`

	Lives       []int          `json:"lives"`
	NotLookedAt map[string]int `json:"notLookedAt"`
	Accused     []string       `json:"accused"`
}

// A testCase is one call of verify.py, in a folder.
type testCase struct {
	name   string
	Dir    string   `json:"dir"`
	Args   []string `json:"args"`
	expect expectation
}

// An outcome is what verify.py exited with and wrote. Exit is nil if it ended by an exception.
type outcome struct {
	Exit   *int   `json:"exit"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

func TestVectors(t *testing.T) {
	var cases []testCase
	for _, file := range glob(t, "../../../testdata/vectors/*/vector.json") {
		var vector struct {
			Args   struct{ DID, Head *string }
			Inputs []string
			Names  map[string]string
			Expect expectation
		}
		readJSON(t, file, &vector)
		c := testCase{name: filepath.Base(filepath.Dir(file)), Dir: filepath.Dir(file), expect: vector.Expect}
		if vector.Names != nil {
			c.Dir = rename(t, c.Dir, vector.Names)
		}
		if vector.Args.DID != nil {
			c.Args = append(c.Args, "--did="+*vector.Args.DID)
		}
		c.Args = append(c.Args, vector.Inputs...)
		if vector.Args.Head != nil {
			c.Args = append(c.Args, "--head", *vector.Args.Head)
		}
		cases = append(cases, c)
	}
	check(t, cases)
}

// TestKinds holds verify.py's kinds of inputs to their vectors.
func TestKinds(t *testing.T) {
	const program = `
import json, sys, verify
wrong = 0
for v in json.load(open(sys.argv[1])):
    kind = verify.kind_of(v["name"].encode(), bytes.fromhex(v["start"]))
    use = "read" if kind in verify.READ else "refuse" if kind in verify.REFUSED else "leave-out"
    if (kind, use) != (v["kind"], v["use"]):
        sys.exit("%r is %s, %s" % (v, kind, use))
print("checked", v["name"])`
	out, err := exec.Command("python3", "-B", "-c", program, "../../../testdata/kinds.json").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "checked") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestReceipts holds receipts.py to the vectors of receipts.
func TestReceipts(t *testing.T) {
	const program = `
import glob, json, sys, receipts, verify
from hashlib import sha256
files = glob.glob(sys.argv[1] + "/*.json")
for file in files:
    v = json.load(open(file))
    want = v["expect"]
    examine = lambda b: verify.examine(b"", b, sha256(b).digest())
    checkpoints = [examine(bytes.fromhex(c)) for c in v["checkpoints"]] if "checkpoints" in v else None
    agent = verify.parse_did(v["agent"]) if "agent" in v else None
    try:
        got = receipts.check(list(receipts.parse(bytes.fromhex(v["receipts"]))), checkpoints, agent)
    except ValueError as error:
        if want["exit"] != 2:
            sys.exit("%s: %r" % (file, error))
        continue
    codes = {p["code"] for p in got["problems"]}
    for key in "verdict", "executions", "payments", "duplicates":
        if want["exit"] == 2 or got[key] != want[key] or codes != set(want.get("codes", [])):
            sys.exit("%s: %r, want %r" % (file, got, want))
print("checked", len(files))`
	out, err := exec.Command("python3", "-B", "-c", program, "../../../testdata/receipts").CombinedOutput()
	var n int
	if fmt.Sscanf(string(out), "checked %d", &n); err != nil || n < 60 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestHistories(t *testing.T) {
	var cases []testCase
	for _, file := range glob(t, "../../../testdata/histories/*/EXPECT.json") {
		dir := filepath.Dir(file)
		c := testCase{name: filepath.Base(dir), Dir: dir, Args: []string{"."}}
		readJSON(t, file, &c.expect)
		cases = append(cases, c)
	}
	check(t, cases)
}

// TestSignatures asks verify.py for its decision on edge cases of Ed25519.
func TestSignatures(t *testing.T) {
	const ask = `
import json, sys
sys.path.insert(0, ".")
import verify
for v in json.load(open(sys.argv[1]))["vectors"]:
    key, signature, message = (bytes.fromhex(v[part]) for part in ("key", "sig", "msg"))
    print(v["id"], verify.signature_problem(key, signature, message) or "accepted")
`
	const file = "../../../testdata/ed25519/edge_cases.json"
	var cases struct {
		Vectors []struct{ ID, Decision string }
	}
	readJSON(t, file, &cases)
	call := exec.Command("python3", "-B", "-c", ask, file)
	call.Stderr = os.Stderr
	out, err := call.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(got) != 926 || len(got) != len(cases.Vectors) {
		t.Fatalf("%d decisions on %d cases, want 926", len(got), len(cases.Vectors))
	}
	for i, v := range cases.Vectors {
		if want := v.ID + " " + v.Decision; got[i] != want {
			t.Errorf("%s, want %s", got[i], want)
		}
	}
}

// TestSpecExamples runs verify.py by itself, on the bytes that the spec shows, as files and as a CAR on standard input.
func TestSpecExamples(t *testing.T) {
	genesis := unhex(t, block(t, "checkpoint.md", "hex genesis"))
	successor := unhex(t, block(t, "lineage.md", "hex successor"))
	car := unhex(t, block(t, "car.md", "hex car"))
	want := block(t, "lineage.md", "json report")

	dir := t.TempDir()
	write(t, filepath.Join(dir, "0000000004.ckpt"), genesis)
	write(t, filepath.Join(dir, "0000000009.ckpt"), successor)
	calls := map[string]*exec.Cmd{
		"files":  exec.Command("python3", "-B", "verify.py", filepath.Join(dir, "0000000009.ckpt"), filepath.Join(dir, "0000000004.ckpt")),
		"folder": exec.Command("python3", "-B", "verify.py", dir),
		"CAR":    exec.Command("python3", "-B", "verify.py", "-"),
	}
	calls["CAR"].Stdin = bytes.NewReader(car)
	for name, call := range calls {
		got, err := call.Output()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if got, want := fields(t, string(got)), fields(t, want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the report is\n%q, not the spec's\n%q", name, got, want)
		}
	}

	call := exec.Command("python3", "-B", "verify.py", "-")
	call.Stdin = bytes.NewReader(car[:len(car)-1])
	got, err := call.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || len(got) > 0 || len(exit.Stderr) == 0 {
		t.Errorf("a CAR that is cut short: %v, %q", err, got)
	}

	other := t.TempDir()
	write(t, filepath.Join(other, "notes.md"), []byte("not a checkpoint"))
	for _, folders := range [][]string{{dir, other}, {other, dir}} {
		got, err := exec.Command("python3", append([]string{"-B", "verify.py"}, folders...)...).Output()
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || len(got) > 0 {
			t.Errorf("a folder without a checkpoint beside a good one: %v, %q", err, got)
		}
	}
}

// check runs all cases in one Python process and compares the outcomes.
func check(t *testing.T, cases []testCase) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	var input bytes.Buffer
	for i := range cases {
		if cases[i].Dir, err = filepath.Abs(cases[i].Dir); err != nil {
			t.Fatal(err)
		}
		if cases[i].Args == nil {
			cases[i].Args = []string{}
		}
		if err := json.NewEncoder(&input).Encode(cases[i]); err != nil {
			t.Fatal(err)
		}
	}
	call := exec.Command("python3", "-B", "-c", driver, here)
	call.Stdin = &input
	call.Stderr = os.Stderr
	printed, err := call.Output()
	if err != nil {
		t.Fatal(err)
	}

	lines := bufio.NewReader(bytes.NewReader(printed))
	for _, c := range cases {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%s: no outcome: %v", c.name, err)
		}
		var got outcome
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		t.Run(c.name, func(t *testing.T) { compare(t, got, c.expect) })
	}
}

func compare(t *testing.T, got outcome, want expectation) {
	if got.Exit == nil {
		t.Fatal(got.Stderr)
	}
	if *got.Exit == 2 {
		if want.Exit != 2 || got.Stdout != "" || got.Stderr == "" {
			t.Fatalf("exit 2, stdout %q, stderr %q; want %+v", got.Stdout, got.Stderr, want)
		}
		return
	}
	var report struct {
		expectation
		Problems    []struct{ Code, Name string }
		Lives       []struct{ Checkpoints, Others int } `json:"lives"`
		NotLookedAt []struct {
			Kind  string
			Files int
		} `json:"notLookedAt"`
	}
	if err := json.Unmarshal([]byte(got.Stdout), &report); err != nil {
		t.Fatal(err)
	}
	if want.Lives != nil {
		for _, life := range report.Lives {
			report.expectation.Lives = append(report.expectation.Lives, cmp.Or(life.Others, life.Checkpoints))
		}
	}
	if want.NotLookedAt != nil {
		report.expectation.NotLookedAt = map[string]int{}
		for _, left := range report.NotLookedAt {
			report.expectation.NotLookedAt[left.Kind] = left.Files
		}
	}
	if want.Accused != nil {
		for _, problem := range report.Problems {
			report.Accused = append(report.Accused, problem.Name)
		}
	}
	seen := map[string]bool{}
	for _, problem := range report.Problems {
		if !seen[problem.Code] {
			seen[problem.Code] = true
			report.Codes = append(report.Codes, problem.Code)
		}
	}
	report.Exit = *got.Exit
	if len(want.Codes) == 0 {
		want.Codes = nil
	}
	if !reflect.DeepEqual(report.expectation, want) {
		t.Errorf("got  %+v\nwant %+v\n%s", report.expectation, want, got.Stdout)
	}
}

// glob returns the files that match, at least one.
func glob(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no file (%v)", pattern, err)
	}
	return files
}

// rename copies a vector's folder and gives its files the names of the vector, where the file system takes them.
func rename(t *testing.T, dir string, names map[string]string) string {
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for from, name := range names {
		name = filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(to, filepath.FromSlash(from)), name); err != nil {
			t.Logf("keeps its name: %v", err)
		}
	}
	return to
}

// block returns the text of a fenced block of a page of the spec.
func block(t *testing.T, page, info string) string {
	text, err := os.ReadFile(filepath.Join("..", page))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```" + info + "\n(.*?)```").FindSubmatch(text)
	if found == nil || len(found[1]) == 0 {
		t.Fatalf("%s has no block %q", page, info)
	}
	return string(found[1])
}

func unhex(t *testing.T, text string) []byte {
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fields returns a report's fields in their order, the ones that a verifier puts in its own words without the value.
func fields(t *testing.T, report string) []string {
	decoder := json.NewDecoder(strings.NewReader(report))
	if _, err := decoder.Token(); err != nil {
		t.Fatalf("%v: %q", err, report)
	}
	var all []string
	for decoder.More() {
		var value json.RawMessage
		name, err := decoder.Token()
		if err == nil {
			err = decoder.Decode(&value)
		}
		var compact bytes.Buffer
		if err == nil {
			err = json.Compact(&compact, value)
		}
		if err != nil {
			t.Fatalf("%v: %q", err, report)
		}
		switch name {
		case "proves", "doesNotProve", "verifier":
			compact.Reset()
		}
		all = append(all, name.(string)+": "+compact.String())
	}
	return all
}

func readJSON(t *testing.T, file string, into any) {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func write(t *testing.T, file string, data []byte) {
	if err := os.WriteFile(file, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

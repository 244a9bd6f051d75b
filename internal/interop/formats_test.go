package interop

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"igor.dev/internal/testkit"
	"igor.dev/internal/verifycli"
)

// eachReport runs igor-verify on every vector that has a verdict, and gives test
// what it writes and how many problems there are.
func eachReport(t *testing.T, format string, test func(t *testing.T, out []byte, problems map[string]int)) {
	vectors, err := testkit.LoadVectors("../../testdata/vectors")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, v := range vectors {
		if v.Expect.Exit == 2 {
			continue
		}
		n++
		t.Run(v.Name, func(t *testing.T) {
			if len(v.Names) > 0 {
				if v, err = v.CopyTo(t.TempDir()); err != nil {
					t.Fatal(err)
				}
			}
			args := v.Paths()
			if v.Args.DID != "" {
				args = append(args, "--did", v.Args.DID)
			}
			if v.Args.Head != "" {
				args = append(args, "--head", v.Args.Head)
			}
			run := func(format string) []byte {
				var out, errors bytes.Buffer
				if code := verifycli.Main("igor-verify", append(args, "--format", format), nil, &out, &errors); code != v.Expect.Exit {
					t.Fatalf("exit code %d, want %d: %s", code, v.Expect.Exit, &errors)
				}
				return out.Bytes()
			}
			var report struct{ Problems []struct{ Code string } }
			if err := json.Unmarshal(run("json"), &report); err != nil {
				t.Fatal(err)
			}
			problems := make(map[string]int)
			for _, p := range report.Problems {
				problems[p.Code]++
			}
			test(t, run(format), problems)
		})
	}
	if n == 0 {
		t.Fatal("no vector with a verdict")
	}
}

// sarifSchema returns the schema of SARIF 2.1.0 (OASIS, Errata 01), which go-sarif
// has in a constant that it does not export.
func sarifSchema(t *testing.T) any {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "report", "v210", "sarif", "schema.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && len(lit.Value) > len(text) {
			text = lit.Value
		}
		return true
	})
	if text, err = strconv.Unquote(text); err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

const sarifURL = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// noVerdict is what igor-verify writes in a format where there is no verdict.
func noVerdict(t *testing.T, format string) (outs [][]byte) {
	text := filepath.Join(t.TempDir(), "[notes](x) \x1b ::error::.txt")
	if err := os.WriteFile(text, []byte("notes\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {text}, {text + "nowhere"}, {"--did", "alice", text}, {"--head", "", text}, {"--unknown", text}} {
		var out, errors bytes.Buffer
		if code := verifycli.Main("igor-verify", append([]string{"--format", format}, args...), nil, &out, &errors); code != 2 || errors.Len() == 0 {
			t.Fatalf("exit code %d, want 2: %s", code, &errors)
		}
		outs = append(outs, out.Bytes())
	}
	return outs
}

// TestReports holds the report against testdata/schemas/igor-lineage-report-2.json.
func TestReports(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../testdata/schemas/igor-lineage-report-2.json")
	if err != nil {
		t.Fatal(err)
	}
	members := make(map[string]bool)
	eachReport(t, "json", func(t *testing.T, out []byte, _ map[string]int) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		for name := range doc.(map[string]any) {
			members[name] = true
		}
	})
	for _, name := range []string{"lives", "notLookedAt"} {
		if !members[name] {
			t.Errorf("no report has %s", name)
		}
	}
}

// TestSARIF holds the SARIF output against the official schema, and reads it with
// another implementation.
func TestSARIF(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(sarifURL, sarifSchema(t)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(sarifURL)
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(map[string]any{"version": "2.1.0"}) == nil {
		t.Fatal("the schema takes a log without runs")
	}
	for _, out := range noVerdict(t, "sarif") {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if log, err := sarif.FromBytes(out); err != nil || *log.Runs[0].Invocations[0].ExecutionSuccessful || len(log.Runs[0].Invocations[0].ToolExecutionNotifications) != 1 {
			t.Errorf("no verdict, and it says: %s", out)
		}
	}
	eachReport(t, "sarif", func(t *testing.T, out []byte, problems map[string]int) {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if got := doc.(map[string]any)["$schema"]; got != sarifURL {
			t.Errorf("it names the schema %v", got)
		}
		log, err := sarif.FromBytes(out)
		if err != nil || len(log.Runs) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		got := make(map[string]int)
		for _, r := range log.Runs[0].Results {
			got[*r.RuleID]++
			if rule := log.Runs[0].Tool.Driver.Rules[r.RuleIndex]; *rule.ID != *r.RuleID {
				t.Errorf("rule %d is %s, not %s", r.RuleIndex, *rule.ID, *r.RuleID)
			}
		}
		equal(t, got, problems)
	})
}

// TestJUnit holds the JUnit output against testdata/schemas/junit.xsd.
func TestJUnit(t *testing.T) {
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("xmllint is not here: tools/needs.sh go gets it")
	}
	var files []string
	dir := t.TempDir()
	eachReport(t, "junit", func(t *testing.T, out []byte, problems map[string]int) {
		files = append(files, filepath.Join(dir, strconv.Itoa(len(files))+".xml"))
		if err := os.WriteFile(files[len(files)-1], out, 0o666); err != nil {
			t.Fatal(err)
		}
		var suites struct {
			Suite []struct {
				Tests    int `xml:"tests,attr"`
				Failures int `xml:"failures,attr"`
				Skipped  int `xml:"skipped,attr"`
				Case     []struct {
					Skipped *struct{} `xml:"skipped"`
					Failure *struct {
						Type string `xml:"type,attr"`
						Text string `xml:",chardata"`
					} `xml:"failure"`
				} `xml:"testcase"`
			} `xml:"testsuite"`
		}
		if err := xml.Unmarshal(out, &suites); err != nil || len(suites.Suite) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		s := suites.Suite[0]
		got := make(map[string]int)
		failures, skipped := 0, 0
		for _, c := range s.Case {
			if c.Failure != nil {
				failures++
				for line := range strings.Lines(strings.TrimSpace(c.Failure.Text)) {
					if !strings.HasPrefix(line, " ") {
						got[c.Failure.Type]++
					}
				}
			}
			if c.Skipped != nil {
				skipped++
			}
		}
		if s.Tests != len(s.Case) || s.Failures != failures || s.Skipped != skipped {
			t.Errorf("counted %d, %d, %d, but has %d cases, %d failures, %d skipped", s.Tests, s.Failures, s.Skipped, len(s.Case), failures, skipped)
		}
		equal(t, got, problems)
	})
	for _, out := range noVerdict(t, "junit") {
		files = append(files, filepath.Join(dir, strconv.Itoa(len(files))+".xml"))
		if err := os.WriteFile(files[len(files)-1], out, 0o666); err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(out), "<error ") != 1 || !strings.Contains(string(out), `errors="1"`) {
			t.Errorf("no verdict, and it says: %s", out)
		}
	}
	lint := func(files ...string) ([]byte, error) {
		return exec.Command("xmllint", append([]string{"--noout", "--nonet", "--schema", "../../testdata/schemas/junit.xsd"}, files...)...).CombinedOutput()
	}
	if out, err := lint(files...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	bad := filepath.Join(dir, "bad.xml")
	if err := os.WriteFile(bad, []byte("<testsuites><testsuite/></testsuites>"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := lint(bad); err == nil {
		t.Error("the schema takes a suite without anything")
	}
}

func equal(t *testing.T, got, want map[string]int) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("problems %v, want %v", got, want)
	}
	for code, n := range want {
		if got[code] != n {
			t.Errorf("%d problems %s, want %d", got[code], code, n)
		}
	}
}

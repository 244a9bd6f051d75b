package interop

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestReplayReports holds what igor replay --json writes on every replay vector against
// testdata/schemas/igor-replay-report-1.json.
func TestReplayReports(t *testing.T) {
	igor := filepath.Join(t.TempDir(), "igor")
	build := exec.Command("go", "build", "-o", igor, "./cmd/igor")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../testdata/schemas/igor-replay-report-1.json")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := filepath.Glob("../../testdata/replay/*/replay.json")
	if err != nil || len(vectors) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	cache := t.TempDir()
	reports := 0
	for _, file := range vectors {
		var v struct {
			Args   []string
			Report json.RawMessage
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if v.Report == nil {
			continue
		}
		reports++
		cmd := exec.Command(igor, append([]string{"replay", "--json", "--cache-dir", cache}, v.Args...)...)
		cmd.Dir = filepath.Dir(file)
		out, _ := cmd.Output() // its exit code is for the test beside igor
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, out)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
		// What is green and has a problem is no report, and neither is what nobody knows.
		report := doc.(map[string]any)
		for key, value := range map[string]any{"verdict": "verified", "more": 1, "problems": []any{map[string]any{"code": "other"}}} {
			was, there := report[key]
			report[key] = value
			if schema.Validate(report) == nil {
				t.Errorf("%s: the schema takes %s: %v", file, key, value)
			}
			if report[key] = was; !there {
				delete(report, key)
			}
		}
	}
	if reports == 0 {
		t.Error("no reports")
	}
}

package archive_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"igor.dev/archive"
	"igor.dev/internal/testkit"
)

// A statementVector is bytes that are a statement, or why they are none.
type statementVector struct{ Name, Kind, Bytes, Why string }

func statements(t testing.TB) (all []statementVector) {
	var file struct{ Statements []statementVector }
	b, err := os.ReadFile("../testdata/archive/vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	if err != nil || len(file.Statements) < 10 {
		t.Fatal(len(file.Statements), err)
	}
	return file.Statements
}

func TestVectors(t *testing.T) {
	for _, v := range statements(t) {
		b, err := hex.DecodeString(v.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if v.Kind == "binding" {
			_, _, err = archive.ParseBinding(b)
		} else {
			var s archive.Statement
			if s, err = archive.ParseStatement(b); err == nil && !bytes.HasPrefix(b, s.Append(nil)) {
				t.Errorf("%s: written as other bytes", v.Name)
			}
		}
		if v.Why == "" && err != nil || v.Why != "" && (err == nil || !strings.Contains(err.Error(), v.Why)) {
			t.Errorf("%s: %v, want %q", v.Name, err, v.Why)
		}
	}
}

// TestSpec holds the page's examples to the vectors, and its numbers to the code.
func TestSpec(t *testing.T) {
	const spec = "../docs/spec"
	for _, c := range []struct{ block, kind string }{{"hex parts", "parts"}, {"hex binding", "binding"}} {
		want := hex.EncodeToString(testkit.SpecBytes(t, spec, "archive.md", c.block))
		for _, v := range statements(t) {
			if v.Kind == c.kind {
				if v.Bytes != want {
					t.Errorf("the page's %s is not the vector %q", c.block, v.Name)
				}
				break
			}
		}
	}
	page, err := os.ReadFile(spec + "/archive.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"268,435,456", "414 bytes", "148 bytes", "| object, bytes | 268,435,456 |"} {
		if !strings.Contains(string(page), number) {
			t.Errorf("the page has no %s", number)
		}
	}
	if archive.MaxObject != 268435456 || archive.MaxStatement != 414 || archive.BindingSize != 148 {
		t.Error("the page has other numbers")
	}
}

func FuzzStatement(f *testing.F) {
	for _, v := range statements(f) {
		b, _ := hex.DecodeString(v.Bytes)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := archive.ParseStatement(b); err == nil && !bytes.HasPrefix(b, s.Append(nil)) {
			t.Error("written as other bytes")
		}
		archive.ParseBinding(b)
	})
}

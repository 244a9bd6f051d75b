package main_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The boundary links the verifier, with what judges receipts and witnesses, and nothing else
// of this module or of any other, and none of the packages that would make it large for the
// browser.
func TestDependencies(t *testing.T) {
	list := func(format string) []string {
		cmd := exec.Command("go", "list", "-deps", "-f", format, ".")
		cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	ours := list("{{if not .Standard}}{{.ImportPath}}{{end}}")
	if !slices.Contains(ours, "igor.dev/verifier") {
		t.Fatalf("go list found %v", ours)
	}
	for _, p := range ours {
		if !slices.Contains([]string{"igor.dev/wasm", "igor.dev/verifier", "igor.dev/verifier/receipt", "igor.dev/verifier/witness"}, p) && !strings.HasPrefix(p, "igor.dev/verifier/internal/") {
			t.Errorf("depends on %s", p)
		}
	}
	direct := list(`{{if eq .ImportPath "igor.dev/wasm"}}{{join .Imports "\n"}}{{end}}`)
	for _, p := range direct {
		if !slices.Contains([]string{"igor.dev/verifier", "igor.dev/verifier/receipt", "igor.dev/verifier/witness", "math", "strconv", "strings", "unsafe"}, p) {
			t.Errorf("imports %s", p)
		}
	}
	for _, p := range list("{{.ImportPath}}") {
		switch first, _, _ := strings.Cut(p, "/"); first {
		case "crypto", "encoding", "fmt", "net", "os", "reflect", "regexp", "syscall", "time":
			t.Errorf("links %s", p)
		}
	}
}

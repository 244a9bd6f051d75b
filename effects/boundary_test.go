package effects_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func goList(t *testing.T, env string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if env != "" {
		cmd.Env = append(cmd.Env, strings.Fields(env)...)
	}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) == 0 {
		t.Fatal("go list found nothing")
	}
	return lines
}

// The module depends on the standard library only, its tests included.
func TestStandardLibraryOnly(t *testing.T) {
	if mods := goList(t, "", "-m", "all"); !slices.Equal(mods, []string{"igor.dev/effects"}) {
		t.Errorf("the module requires %v", mods)
	}
	for _, p := range goList(t, "", "-deps", "-test", "-f", "{{if not .Standard}}{{with .Module}}{{.Path}}{{else}}{{.ImportPath}}{{end}}{{end}}", "./...") {
		if p != "igor.dev/effects" && p != "igor.dev/effects.test" {
			t.Errorf("depends on %s", p)
		}
	}
}

// An agent links the package: it builds for WASI and brings in nothing large.
func TestSmallInAgents(t *testing.T) {
	const wasip1 = "GOOS=wasip1 GOARCH=wasm"
	deps := goList(t, wasip1, "-deps", "./...")
	for _, large := range []string{"fmt", "os", "time", "syscall", "encoding/json", "crypto/sha256"} {
		if slices.Contains(deps, large) {
			t.Errorf("links %s", large)
		}
	}
	cmd := exec.Command("go", "build", "./...")
	cmd.Env = append(os.Environ(), append(strings.Fields(wasip1), "GOWORK=off")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go build for wasip1: %v\n%s", err, out)
	}
}

// hexBlock decodes the lines between two marks. What follows a # is a comment.
func hexBlock(t *testing.T, file, text, begin, end, indent string) []byte {
	t.Helper()
	_, rest, found := strings.Cut(text, begin)
	block, after, closed := strings.Cut(rest, end)
	if !found || !closed || strings.Contains(after, begin) {
		t.Fatalf("%s has no hex block, or two", file)
	}
	var digits strings.Builder
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, indent), "#")
		digits.WriteString(line)
	}
	b := unhex(t, digits.String())
	if len(b) == 0 {
		t.Fatalf("the hex block of %s is empty", file)
	}
	return b
}

// The bytes in the package documentation and on the spec page are those of
// [Example], whose output the go command checks.
func TestSpecExample(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	must(t, err)
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	fromDoc := hexBlock(t, "doc.go", string(doc), "is these 41 bytes:\n//\n", "\n//\n", "//\t")
	if len(fromDoc) != 41 || !strings.Contains(string(example), "\n\t// "+hex.EncodeToString(fromDoc)+"\n") {
		t.Errorf("the %d bytes in doc.go are not those of Example: %x", len(fromDoc), fromDoc)
	}

	page, err := os.ReadFile("../docs/spec/effects.md")
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat("../go.mod"); errors.Is(err, fs.ErrNotExist) {
			t.Skip("the module stands alone, without the repository that holds docs/spec")
		}
	}
	must(t, err)
	fromPage := hexBlock(t, "docs/spec/effects.md", string(page), "\n```hex\n", "\n```\n", "")
	if !bytes.Equal(fromPage, fromDoc) {
		t.Errorf("docs/spec/effects.md has\n%x, doc.go\n%x", fromPage, fromDoc)
	}
	if !strings.Contains(string(example), "\n\t// "+hex.EncodeToString(resolved(fromPage))+"\n") {
		t.Error("Example does not load and save the bytes of docs/spec/effects.md")
	}
}

package runtime

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPage checks that every claim of SECURITY.md about agents names tests, and
// that each is in the package that it is said to be in.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| claim | shown by |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	claims := strings.Split(table, "\n")
	if len(claims) < 15 {
		t.Fatalf("SECURITY.md makes %d claims", len(claims))
	}
	for _, claim := range claims {
		cells := strings.Split(claim, " | ")
		shown := strings.Split(strings.TrimSuffix(cells[len(cells)-1], " |"), "; ")
		for _, by := range shown {
			where, names, _ := strings.Cut(by, " ")
			for name := range strings.SplitSeq(names, ", ") {
				if quoted := strings.Trim(name, "`"); "`"+quoted+"`" != name || !there(t, where, quoted) {
					t.Errorf("SECURITY.md names %s of %s, and there is no such test: %s", name, where, claim)
				}
			}
		}
	}
}

// there reports whether a folder, as SECURITY.md names it, has a test.
func there(t *testing.T, where, name string) bool {
	t.Helper()
	folder := filepath.Join("internal", where)
	switch {
	case where == "runtime":
		folder = "."
	case strings.Contains(where, "/"):
		folder = filepath.Join("..", where)
	}
	if strings.Contains(name, "/") { // a script
		_, err := fs.Stat(os.DirFS(folder), name)
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(\w+ \*testing\.[TF]\)`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if function.Match(b) {
			return true
		}
	}
	return false
}

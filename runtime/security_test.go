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

// TestSigners checks that nothing is signed but checkpoints, seals of the event log, and
// receipts: see SECURITY.md.
func TestSigners(t *testing.T) {
	signs := map[string]int{
		"runtime/checkpoint.go":                 1, // checkpoints
		"runtime/restore.go":                    1, // again, what an appended position names by the hash of the signed bytes
		"runtime/retire.go":                     1, // igor/retirement/v1
		"runtime/archive.go":                    1, // igor/archive-key/v1, igor/parts/v1
		"runtime/unarchive.go":                  1, // the same, of an agent that is recovered
		"runtime/move.go":                       2, // igor/handover/v1, and the position with it: igor/position/v1
		"runtime/seen.go":                       1, // igor/position/v1
		"runtime/succeed.go":                    2, // igor/succession/v1, by both keys; igor/commitment/v1
		"runtime/witness.go":                    1, // igor/head/v1
		"runtime/internal/sim/nodes.go":         1, // igor/offer/v1, of simulated nodes, by their own keys
		"cmd/igor/wallet.go":                    1, // igor/wallet/v1
		"runtime/internal/pack/mark.go":         1, // igor/packed/v1
		"runtime/internal/store/packer.go":      1, // the same, through it
		"runtime/internal/eventlog/eventlog.go": 1, // seals: igor/event-segment/v1, and three hashes
		"runtime/internal/receipt/receipt.go":   3, // igor/execution-receipt/v1, igor/payment-receipt/v1, igor/x402-receipt/v1
	}
	root := os.DirFS("..")
	for _, folder := range []string{"runtime", "cmd", "verifier", "effects", "wasm"} {
		err := fs.WalkDir(root, folder, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			b, err := fs.ReadFile(root, name)
			if n := strings.Count(string(b), ".Sign("); n != signs[name] {
				t.Errorf("%s signs in %d places, and %d are known: say in SECURITY.md what, and that it begins with its context", name, n, signs[name])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
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
	case strings.Contains(where, "/"), where == "authority":
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

package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"demo", "a", "price-watch", "x402", "agent-7-b", strings.Repeat("a", maxName)} {
		if err := languages[0].checkName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-", "-a", "a-", "a--b", "7up", "Demo", "a_b", "a.b", "a/b", "..", "ä", "a b", "a\n", "time", "con", strings.Repeat("a", maxName+1)} {
		if err := languages[0].checkName(name); err == nil {
			t.Errorf("took %q", name)
		}
	}
}

// TestTaken has every name that the standard library has, of which none can be a
// module.
func TestTaken(t *testing.T) {
	out, err := exec.Command("go", "list", "std", "cmd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	if len(names) < 100 {
		t.Fatalf("the standard library has %d packages", len(names))
	}
	for _, path := range names {
		if name, _, _ := strings.Cut(path, "/"); !slices.Contains(languages[0].taken, name) {
			t.Errorf("%s is a package of Go", name)
		}
	}
}

func TestNamesOfLanguages(t *testing.T) {
	for _, tt := range []struct{ lang, name, want string }{
		{"rust", "time", ""},
		{"go", "match", ""},
		{"rust", "match", `"match" is a name that Rust keeps to itself: take a longer one, such as match-agent`},
		{"rust", "igor-sdk", "keeps to itself"},
		{"c", "aux", "some systems keep to themselves"},
		{"assemblyscript", "agent", ""},
	} {
		l, err := languageNamed(tt.lang)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.checkName(tt.name); err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %s: got error %v, want %q", tt.lang, tt.name, err, tt.want)
		}
	}
	if _, err := languageNamed("cobol"); err == nil || !strings.Contains(err.Error(), "igor new knows go, rust, assemblyscript, c") {
		t.Errorf("got error %v", err)
	}
}

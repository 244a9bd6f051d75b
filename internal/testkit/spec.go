package testkit

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// T is the part of testing.TB that helpers need.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// SpecBlock returns the fenced block of a spec page that has the info string,
// where spec is the folder docs/spec.
func SpecBlock(t T, spec, page, info string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(spec, page))
	if err != nil {
		t.Fatalf("%v", err)
	}
	_, rest, opens := strings.Cut(string(text), "\n```"+info+"\n")
	body, _, closes := strings.Cut(rest, "```")
	if !opens || !closes {
		t.Fatalf("%s has no block %q", page, info)
	}
	return body
}

var hexComment = regexp.MustCompile(`#.*`)

// SpecBytes returns the bytes of a block of hexadecimal, where # begins a comment.
func SpecBytes(t T, spec, page, info string) []byte {
	t.Helper()
	body := hexComment.ReplaceAllString(SpecBlock(t, spec, page, info), "")
	b, err := hex.DecodeString(strings.Join(strings.Fields(body), ""))
	if err != nil {
		t.Fatalf("%s, block %q: %v", page, info, err)
	}
	return b
}

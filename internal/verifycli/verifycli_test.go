package verifycli

import (
	"html"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"igor.dev/verifier"
)

func TestChecks(t *testing.T) {
	// A report's problems stand in the order of the codes.
	n := 0
	for code := verifier.Empty; code.String() != ""; code++ {
		if n >= len(checks) || checks[n].code != code {
			t.Fatalf("check %d is not about %s", n, code)
		}
		n++
	}
	if n != len(checks) {
		t.Errorf("%d checks for %d codes", len(checks), n)
	}
}

func TestQuote(t *testing.T) {
	for name, want := range map[string]string{
		"0000000004.ckpt":     "0000000004.ckpt",
		`C:\history\4.ckpt`:   `C:\history\4.ckpt`,
		"agent é 世界.ckpt":     `"agent é 世界.ckpt"`,
		"é.ckpt":              "é.ckpt",
		"a\x1b[31m\x9b\n\r\t": `"a\x1b[31m\x9b\n\r\t"`,
		"\u202egnp.ckpt":      `"\u202egnp.ckpt"`,
		"\ufeff\U000e0041":    `"\ufeff\U000e0041"`,
		"##[add-mask]x":       `"#\x23[add-mask]x"`,
		"####[[":              `"###\x23[["`,
		"\x00#[":              `"\x00#["`,
		"a b":                 `"a b"`,
		"":                    "",
	} {
		if got := quote(name); got != want {
			t.Errorf("quote(%q) = %s, want %s", name, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for _, test := range []struct {
		s    string
		n    int
		want string
	}{
		{"0000000004.ckpt", 15, "0000000004.ckpt"},
		{"0000000004.ckpt", 9, "0000…ckpt"},
		{"世界世界世界", 9, "世界…世界"},
		{"世界世界世界", 7, "世…界"},
	} {
		if got := Clip(test.s, test.n); got != test.want {
			t.Errorf("Clip(%s, %d) = %s, want %s", test.s, test.n, got, test.want)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[uint64]string{
		1: "1 byte", 1000: "1000 bytes", 10 << 10: "10.0 KiB", 193742: "189.2 KiB", 64 << 20: "64.0 MiB", 1<<64 - 1: "16777216.0 TiB",
	} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	for line := range strings.Lines(Usage("igor-verify")) {
		if width(strings.TrimSuffix(line, "\n")) > columns {
			t.Errorf("%d columns: %s", width(line)-1, line)
		}
	}
}

// FuzzHostileText gives names to all that puts them somewhere.
func FuzzHostileText(f *testing.F) {
	f.Add("0000000004.ckpt", 40)
	f.Add("\x1b[2J\n::error::\r%0A##[x] |`<b>\u202e\xff 世界", 9)
	f.Fuzz(func(t *testing.T, s string, n int) {
		e := Printable(s)
		for _, r := range e {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q has %q", e, r)
			}
		}
		if !utf8.ValidString(e) || strings.Contains(e, "##[") {
			t.Fatalf("%q", e)
		}
		if Printable(e) != e {
			t.Fatalf("%q is escaped again", e)
		}
		n = 4 + int(uint(n)%100)
		if c := Clip(e, n); width(c) > n || !utf8.ValidString(c) {
			t.Fatalf("clip to %d: %q", n, c)
		}
		lines := Wrap(e, n)
		for _, l := range lines {
			if width(l) > n {
				t.Fatalf("wrapped at %d: %q", n, l)
			}
		}
		if got, want := strings.Join(lines, ""), strings.ReplaceAll(e, " ", ""); strings.ReplaceAll(got, " ", "") != want {
			t.Fatalf("wrapped to %q, want %q", got, want)
		}
		m := markdownText(e)
		if strings.ContainsAny(m, "<>|`*_[]()!@:.~\\\"'") || html.UnescapeString(m) != e {
			t.Fatalf("%q", m)
		}
		if p := commandProperty.Replace(s); strings.ContainsAny(p, "\r\n:,") {
			t.Fatalf("%q", p)
		}
		if html.UnescapeString(xmlText(s)) != e {
			t.Fatalf("%q", xmlText(s))
		}
	})
}

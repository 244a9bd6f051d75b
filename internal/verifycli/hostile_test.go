package verifycli

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

// lies are what a name may have in it that a terminal, a CI system, or a reader takes
// for something else.
var lies = []string{
	"::error::", "::add-mask::x", "::set-output name=verdict::verified", "::stop-commands::x", " ::warning::x", "x::error::", "::", ":::", "::::error::",
	":", "x:", ":x", "a\n::error::b", "a\r::error::b", "a\r\n##[error]b", "##[error]x", "x##[add-path]y", "###[[", "##[", "#[", "##", "a##\n[error]",
	"##vso[task.setvariable]x", "##teamcity[testFailed]", "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\u009b31m", "\x7f", "\b\b\b\bverified",
	"\u202egnp", "\u2066a\u2069", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u061c", "\u180e", "\u2028", "\u2029", "\u0085", "\u00a0", "\u3164", "\u115f", "\uffa0", "\u2800",
	"\ufe0f", "\U000e0041", "\U000e0100", "\ue000", "\ufff9", "\U0001d173", "\xff\xfe", "\xe4\xb8", "\xed\xa0\x80", "%0A::error::x", "%0D%0A##[x]", "<script>alert(1)</script>", "]]>", "--><b>",
	"\"'&<>", "`id`", "$(id)", "|x|", "[a](javascript:x)", "![a](http://x)", "@user", "\\u003a:", "a b", "\t\t", "verified: the expected agent", strings.Repeat("x", 200), strings.Repeat(":", 79) + "error::",
	strings.Repeat("a", 73) + "##[error]", strings.Repeat("a", 71) + " ::error::", strings.Repeat("世", 40) + "::error::",
}

// TestHostileNames gives names that lie to every output there is: no line has a command
// in it, and no output has a character that nobody sees.
func TestHostileNames(t *testing.T) {
	if len(lies) < 60 {
		t.Fatal("only", len(lies))
	}
	t.Setenv("GITHUB_WORKSPACE", "")
	summary := filepath.Join(t.TempDir(), "summary.md")
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	life := testkit.NewAgent("alice").History(3, 20)
	bad := bytes.Clone(life[1])
	bad[len(bad)-1] ^= 1
	made := 0
	for i, lie := range lies {
		dir := filepath.Join(t.TempDir(), "agent")
		write := func(name string, b []byte) bool {
			path := filepath.Join(dir, name)
			if os.MkdirAll(filepath.Dir(path), 0o777) != nil || os.WriteFile(path, b, 0o666) != nil {
				return false
			}
			return true
		}
		name := strings.ReplaceAll(lie, "/", "∕")
		ok := write("a"+name+".ckpt", life[0]) && write(name+".ckpt", bad) && write(name+".x/"+name+".ckpt", life[2]) && write(name+".zip", nil) &&
			write(name+".key", nil) && write(name+"/key", nil)
		if !ok {
			continue // a file system that does not take it
		}
		made++
		paid := filepath.Join(dir, "receipts")
		if err := os.WriteFile(paid, payments(lie), 0o666); err != nil {
			t.Fatal(err)
		}
		odd := bytes.Clone(life[2])
		copy(odd[testkit.OffState:], lie)
		file := filepath.Join(dir, name+".x", name+".ckpt")
		for _, args := range [][]string{
			{"--format", "text", dir}, {"--format", "json", dir}, {"--report", "1", "--format", "json", dir}, {"--format", "github", dir}, {"--format", "junit", dir}, {"--format", "sarif", dir}, {"--format", "svg", dir},
			{"--format", "text", file}, {"--format", "github", file}, {"--format", "sarif", file},
			{"--format", "text", filepath.Join(dir, name+".zip")}, {"--format", "github", filepath.Join(dir, name+".zip")}, {"--format", "junit", filepath.Join(dir, name+".zip")},
			{"--format", "sarif", filepath.Join(dir, name+".zip")}, {"--format", "svg", filepath.Join(dir, name+".zip")}, {"--format", "json", dir, name + "nowhere"},
			{"--format", lie, dir}, {"--" + lie, dir}, {"--format", "github", "--did", lie, dir}, {"--format", "sarif", "--head", lie, dir},
			{"inspect", file}, {"inspect", filepath.Join(dir, name+".zip")}, {"inspect", "-"}, {"receipts", dir}, {"receipts", "--format", "json", dir}, {"receipts", file}, {"receipts", filepath.Join(dir, name+".zip")},
			{"receipts", paid}, {"receipts", "--format", "json", paid}, {"receipts", "--did", stranger, paid}, {"receipts", "--did", stranger, "--format", "json", dir},
		} {
			var out, errs bytes.Buffer
			code := Main("igor-verify", args, bytes.NewReader(odd), &out, &errs)
			where := fmt.Sprintf("%d %q: %q", i, lie, args)
			if code == 0 && args[0] != "inspect" && !slices.Contains(args, paid) {
				t.Errorf("%s: exit code 0", where)
			}
			if slices.Contains(args, paid) && code != 0 && code != 1 {
				t.Errorf("%s: exit code %d: %s", where, code, errs.String())
			}
			for line := range strings.Lines(out.String()) {
				if args[0] == "receipts" && !slices.Contains(args, "json") && width(strings.TrimSuffix(line, "\n")) > columns {
					t.Errorf("%s: a line of %d columns: %s", where, width(line), line)
				}
			}
			github := strings.Contains(strings.Join(args, " "), "github")
			honest(t, where, out.String(), github)
			honest(t, where, errs.String(), false)
			wellFormed(t, where, args, out.Bytes())
		}
		b, err := os.ReadFile(summary)
		if err != nil {
			t.Fatal(err)
		}
		honest(t, "summary of "+lie, strings.NewReplacer("&#", "", "\ufe0f", "").Replace(string(b)), false) // ⚠️ has the selector of a coloured sign
		os.Remove(summary)
	}
	if made < 60 {
		t.Errorf("only %d names could be made", made)
	}
}

const stranger = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"

// payments are an agent's payments to a recipient, and for a memo, that lie.
func payments(lie string) (b []byte) {
	private := testkit.NewAgent("alice").Private
	for i, memo := range []string{lie, strings.Repeat(lie, 1+512/len(lie)), "\n" + lie} {
		p := receipt.Payment{Payer: verifier.PublicKey(private[32:]), Nonce: [32]byte{byte(i)}, Recipient: lie, Memo: memo[:min(len(memo), receipt.MaxMemo)]}
		p.Signature = [64]byte(ed25519.Sign(private, p.AppendMessage(nil)))
		b = p.Append(b)
	}
	return b
}

// honest looks at what a program wrote as a terminal and a CI system do.
func honest(t *testing.T, where, out string, github bool) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("%s: not UTF-8", where)
	}
	for _, r := range out {
		if r != '\n' && verifier.Invisible(r) {
			t.Errorf("%s: has %U in\n%q", where, r, out)
			break
		}
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "##[") {
			t.Errorf("%s: a command in %q", where, line)
		}
		if github {
			for _, ours := range []string{"::error ", "::warning title=", "::notice title="} {
				if rest, ok := strings.CutPrefix(line, ours); ok {
					properties, data, _ := strings.Cut(rest, "::")
					line = properties + data
					break
				}
			}
		}
		if strings.Contains(line, "::") {
			t.Errorf("%s: a command in %q", where, line)
		}
	}
}

func wellFormed(t *testing.T, where string, args []string, out []byte) {
	t.Helper()
	format := ""
	for i, a := range args[:len(args)-1] {
		if a == "--format" {
			format = args[i+1]
		}
	}
	switch format {
	case "json", "sarif":
		if len(out) == 0 && format == "json" {
			return // no verdict
		}
		if !json.Valid(out) {
			t.Errorf("%s: not JSON: %s", where, out)
		}
	case "junit", "svg":
		for d := xml.NewDecoder(bytes.NewReader(out)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: not XML: %v\n%s", where, err, out)
				break
			}
		}
	}
	if format == "github" || format == "junit" || format == "sarif" || format == "svg" {
		if len(out) == 0 {
			t.Errorf("%s: nothing was written", where)
		}
	}
}

// TestSafeJSON holds that what is escaped is still the same value.
func TestSafeJSON(t *testing.T) {
	for _, lie := range lies {
		b, err := json.Marshal(map[string]string{lie: lie})
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]string
		safe := SafeJSON(b)
		if json.Unmarshal(b, &want) != nil || json.Unmarshal(safe, &got) != nil || len(got) != 1 {
			t.Fatalf("%s", safe)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s is not %s", safe, b)
			}
		}
		honest(t, lie, string(safe), false)
	}
}

// TestSafeLog gives a log what an agent may say, as both of slog's handlers write it.
func TestSafeLog(t *testing.T) {
	for _, lie := range lies {
		var text, lines bytes.Buffer
		slog.New(slog.NewTextHandler(SafeLog(&text, true), nil)).Info(lie, "name", lie)
		slog.New(slog.NewJSONHandler(SafeLog(&lines, false), nil)).Info(lie, "name", lie)
		honest(t, lie, lines.String(), false)
		var got struct{ Msg, Name string }
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil || got.Name != strings.ToValidUTF8(lie, "\ufffd") && utf8.ValidString(lie) {
			t.Errorf("%q is %+v: %v", lie, got, err)
		}
		if s := text.String(); strings.Contains(s, "##[") || strings.Count(s, "\n") != 1 || !strings.HasPrefix(s, "time=") {
			t.Errorf("%q is %q", lie, s)
		}
	}
}

package verifycli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"igor.dev/verifier"
)

// File names are chosen by whoever made the history. What is printed must
// neither steer the terminal, nor look like another line, nor be a command to a
// CI system that reads the log.

// Printable returns s without anything but printable characters that are seen: the
// others are written as in a Go string, and so are "::" and "##[", which CI systems
// take for commands. It leaves backslashes alone, for Windows paths.
func Printable(s string) string {
	plain := !strings.Contains(s, "##[") && !strings.Contains(s, "::")
	for i := 0; i < len(s) && plain; i++ {
		plain = 0x20 <= s[i] && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case strings.HasPrefix(s[i:], "##["):
			// GitHub's runner takes ##[command] anywhere in a line for a command,
			b.WriteString(`#\x23[`)
			size = len("##[")
		case r == ':' && i > 0 && s[i-1] == ':':
			// and ::command:: where a line begins, or where it is made to.
			b.WriteString(`\x3a`)
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r) && !verifier.Invisible(r):
			b.WriteRune(r)
		case strconv.IsPrint(r): // by what Go knows of it
			b.WriteString(escapeRune(r))
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	return b.String()
}

// quote escapes a name and puts it in quotes if it could be taken for something else.
func quote(name string) string {
	e := Printable(name)
	// What stands beside a name must not make another thing of its ends.
	ends := strings.ContainsAny(e, ":#") && strings.Trim(e, ":#[") != e
	if e == name && !ends && !strings.ContainsAny(e, " \"'()") {
		return e
	}
	return `"` + e + `"`
}

func escapeRune(r rune) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// SafeJSON returns JSON with all escaped in its strings that Printable would escape,
// so that a log can have it. The value is the same.
func SafeJSON(b []byte) []byte {
	plain := !bytes.Contains(b, []byte("##[")) && !bytes.Contains(b, []byte("::"))
	for i := 0; i < len(b) && plain; i++ {
		plain = b[i] < 0x7f
	}
	if plain {
		return b
	}
	safe := make([]byte, 0, len(b)+len(b)/8)
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == ':' && i > 0 && b[i-1] == ':', // never outside of a string
			r == '#' && i > 0 && b[i-1] == '#' && i+1 < len(b) && b[i+1] == '[',
			r >= 0x7f && r < 0x10000 && verifier.Invisible(r):
			safe = append(safe, fmt.Sprintf(`\u%04x`, r)...)
		case r >= 0x10000 && verifier.Invisible(r):
			high, low := utf16.EncodeRune(r)
			safe = append(safe, fmt.Sprintf(`\u%04x\u%04x`, high, low)...)
		default:
			safe = append(safe, b[i:i+size]...)
		}
		i += size
	}
	return safe
}

// width returns how many columns of a terminal s takes, at most.
func width(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x1100 && (r < 0x2000 || r > 0x22ff) {
			n++ // wide, or may be; those between are not
		}
	}
	return n
}

// Clip shortens s to n columns, in its middle, as names differ at their ends.
func Clip(s string, n int) string {
	if width(s) <= n {
		return s
	}
	head, tail := 0, len(s)
	for left := n - 1; ; {
		_, a := utf8.DecodeRuneInString(s[head:])
		_, b := utf8.DecodeLastRuneInString(s[:tail])
		w := width(s[head:head+a]) + width(s[tail-b:tail])
		if w > left {
			return s[:head] + "…" + s[tail:]
		}
		left -= w
		head += a
		tail -= b
	}
}

// Wrap breaks s into lines of at most n columns, between words where it can.
func Wrap(s string, n int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && width(line)+1+width(word) <= n {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for width(word) > n {
			cut := 0
			for cut < len(word) {
				_, size := utf8.DecodeRuneInString(word[cut:])
				if width(word[:cut+size]) > n {
					break
				}
				cut += size
			}
			lines = append(lines, word[:cut])
			word = word[cut:]
		}
		line = word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Plural counts things.
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if stem, ok := strings.CutSuffix(one, "y"); ok && !strings.HasSuffix(one, "ey") {
		one = stem + "ie"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// byteSize writes a size for people, such as "3424 bytes" or "1.2 GiB".
func byteSize(n uint64) string {
	if n < 10<<10 {
		return Plural(int(n), "byte")
	}
	f, unit := float64(n)/1024, 0
	for ; f >= 1000 && unit < 3; unit++ {
		f /= 1024
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + [...]string{"KiB", "MiB", "GiB", "TiB"}[unit]
}

// SafeLog returns a writer for the lines of a log, which are JSON or, if text is set,
// those of slog.TextHandler: it writes them to w with all escaped that does harm there.
func SafeLog(w io.Writer, text bool) io.Writer { return safeLog{w, text} }

type safeLog struct {
	w    io.Writer
	text bool
}

func (l safeLog) Write(line []byte) (int, error) {
	safe := line
	if l.text {
		// The handler has quoted what is not printable, and begins each line itself.
		safe = bytes.ReplaceAll(line, []byte("##["), []byte(`#\x23[`))
	} else {
		safe = SafeJSON(line)
	}
	if _, err := l.w.Write(safe); err != nil {
		return 0, err
	}
	return len(line), nil
}

package verifycli

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// File names are chosen by whoever made the history. What is printed must
// neither steer the terminal, nor look like another line, nor be a command to a
// CI system that reads the log.

// Printable returns s without anything but printable characters: the others are
// written as in a Go string. It leaves backslashes alone, for Windows paths.
func Printable(s string) string {
	plain := !strings.Contains(s, "##[")
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
			// GitHub's runner takes ##[command] anywhere in a line for a command.
			b.WriteString(`#\x23[`)
			size = len("##[")
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r):
			b.WriteRune(r)
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
	if e == name && !strings.ContainsAny(e, " \"'()") {
		return e
	}
	return `"` + e + `"`
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
	if stem, ok := strings.CutSuffix(one, "y"); ok {
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

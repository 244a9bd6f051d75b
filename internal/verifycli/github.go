package verifycli

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

// GitHub shows ten annotations of a step, and a job summary of up to 1 MiB.
// See "Workflow commands for GitHub Actions".
const (
	maxAnnotations     = 10
	maxSummaryProblems = 50
	maxSummaryColumns  = 300
)

// writeGitHub writes annotations to the log, and the job summary to the file
// that the runner names.
func writeGitHub(w *bufio.Writer, r *verifier.Report, l *locator) error {
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendFile(path, markdown(r)); err != nil {
			return &failure{"cannot write the job summary: " + cause(err), "GITHUB_STEP_SUMMARY names a file that can be written, or is not set"}
		}
	}
	n := 0
	for q := range r.Problems() {
		if n++; n == maxAnnotations && r.NumProblems() > maxAnnotations {
			fmt.Fprintf(w, "::error title=lineage %s::and %d more problems (--format json lists all)\n", r.Verdict(), r.NumProblems()-n+1)
			break
		}
		properties := ""
		if file := l.locate(q); file != "" && Printable(file) == file {
			properties = "file=" + commandProperty.Replace(file) + ","
		}
		message := q.Message
		if q.Name != "" {
			message = quote(q.Name) + ": " + message
		}
		if q.Expected != "" {
			message += "\nexpected: " + q.Expected
		}
		if q.Found != "" {
			message += "\nfound: " + q.Found
		}
		lines := strings.Split(message, "\n")
		for i := range lines {
			lines[i] = Printable(lines[i])
		}
		fmt.Fprintf(w, "::error %stitle=lineage %s: %s::%s\n", properties, r.Verdict(), q.Code, commandData.Replace(strings.Join(lines, "\n")))
	}
	if warning := keyWarning(r); warning != "" {
		fmt.Fprintf(w, "::warning title=a private key lies with the history::%s\n", commandData.Replace(warning))
	}
	if r.Verdict() == verifier.Verified {
		fmt.Fprintf(w, "::notice title=lineage verified::%s\n", commandData.Replace(r.Proves()+" "+r.DoesNotProve()))
	}
	fmt.Fprintln(w, verdictLine(r))
	return nil
}

// writeGitHubFailure writes why there is no verdict.
func writeGitHubFailure(w *bufio.Writer, f *failure) {
	fmt.Fprintf(w, "::error title=lineage not verified::%s\n", commandData.Replace(Printable(f.problem)+"\n"+Printable(f.hint)))
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" {
		text := "### ⛔ Agent lineage: no verdict\n\n" + markdownText(Printable(f.problem)) + "\n\n" + markdownText(Printable(f.hint)) + "\n\n"
		appendFile(path, text) // what keeps it from being written may be the failure
	}
}

var (
	commandData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// markdown writes the report as GitHub-flavoured Markdown.
func markdown(r *verifier.Report) string {
	var b strings.Builder
	mark := map[verifier.Verdict]string{verifier.Verified: "✅", verifier.Incomplete: "⚠️", verifier.Invalid: "❌"}[r.Verdict()]
	fmt.Fprintf(&b, "### %s Agent lineage: %s\n\n", mark, r.Verdict())
	fmt.Fprintf(&b, "%s\n\n| | |\n| --- | --- |\n", markdownText(verdictLine(r)))
	did, head := r.Pinned()
	if key, ok := r.Key(); ok && (did || r.NumLives() < 2) {
		fmt.Fprintf(&b, "| agent | <code>%s</code> (%s) |\n", key.DID(), choose(did, "DID pinned", "self-asserted"))
	}
	fmt.Fprintf(&b, "| life | %s |\n", markdownText(life(r)))
	if r.NumLives() > 1 {
		for _, text := range lives(r, verifier.PublicKey{}) {
			fmt.Fprintf(&b, "| key | %s |\n", markdownText(text))
		}
	}
	if beside := beside(r); beside != "" {
		fmt.Fprintf(&b, "| beside | %s |\n", markdownText(beside))
	}
	if h, ok := r.Head(); ok {
		fmt.Fprintf(&b, "| head | <code>%s</code> (%s) |\n", h.CID(), choose(head, "a head is pinned", "unpinned"))
	}
	b.WriteString("\n")
	if n := r.NumProblems(); n > 0 {
		b.WriteString("| problem | checkpoint | tick | |\n| --- | --- | ---: | --- |\n")
		shown := 0
		for q := range r.Problems() {
			if shown++; shown > maxSummaryProblems {
				break
			}
			text := q.Message
			if q.Expected != "" {
				text += "; expected " + q.Expected
			}
			if q.Found != "" {
				text += "; found " + q.Found
			}
			name := ""
			if q.Name != "" {
				name = "<code>" + markdownText(Clip(Printable(q.Name), maxSummaryColumns)) + "</code>"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", q.Code, name, q.Tick, markdownText(Clip(Printable(text), maxSummaryColumns)))
		}
		if n > maxSummaryProblems {
			fmt.Fprintf(&b, "\nand %d more (`--format json` lists all)\n", n-maxSummaryProblems)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s %s\n\n%s\n\n", markdownText(r.Proves()), markdownText(r.DoesNotProve()), markdownText(verifier.Version()))
	return b.String()
}

// markdownText writes s so that nothing in it is Markdown, HTML, a link or a
// mention: whatever could begin one becomes a character reference.
func markdownText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == ' ', r >= 0x80:
			b.WriteRune(r)
		default:
			b.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		}
	}
	return b.String()
}

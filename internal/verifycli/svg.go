package verifycli

import (
	"bufio"
	"fmt"
	"strings"

	"igor.dev/verifier"
)

// A badge's look: white on a dark colour with a contrast of at least
// 4.5 to 1 (WCAG 2.2 AA), and a shape, so that colour is never all there is.
type badgeLook struct {
	colour string
	shape  string // in a box of 12 by 12
}

var badgeLooks = map[verifier.Verdict]badgeLook{
	// a check mark in a disc
	verifier.Verified: {"#1a7f37", `<circle cx="6" cy="6" r="6"/><path d="M3.2 6.3l2 2 3.7-4.2" fill="none" stroke="#1a7f37" stroke-width="1.7"/>`},
	// an exclamation mark in a triangle
	verifier.Incomplete: {"#8a5a00", `<path d="M6 .3l6 11.2H0z"/><path d="M6 4v3.8M6 8.8v1.5" stroke="#8a5a00" stroke-width="1.6"/>`},
	// a cross in an octagon
	verifier.Invalid: {"#b3202c", `<path d="M3.5 0h5L12 3.5v5L8.5 12h-5L0 8.5v-5z"/><path d="M3.7 3.7l4.6 4.6M8.3 3.7l-4.6 4.6" stroke="#b3202c" stroke-width="1.7"/>`},
}

// unbroken is the look of a verified history that nobody pinned, which is somebody's:
// two links of a chain, and no check mark.
var unbroken = badgeLook{"#1f5f99", `<path d="M4.7 4.1h-1.5a1.9 1.9 0 0 0 0 3.8h3a1.9 1.9 0 0 0 1.9-1.9M7.3 7.9h1.5a1.9 1.9 0 0 0 0-3.8h-3A1.9 1.9 0 0 0 3.9 6" fill="none" stroke="#fff" stroke-width="1.4"/>`}

// notChecked is the look where there is no verdict: a question mark, on grey.
var notChecked = badgeLook{"#57606a", `<path d="M3.6 3.6a2.4 2.4 0 1 1 3.6 2.1C6.3 6.2 6 6.6 6 7.6M6 9.6v1.4" fill="none" stroke="#fff" stroke-width="1.7"/>`}

// writeSVGFailure writes a badge that says that nothing was checked.
func writeSVGFailure(w *bufio.Writer) {
	writeBadge(w, notChecked, "could not be checked", "Agent lineage: could not be checked, there is no verdict")
}

// writeSVG writes the verdict as a badge for a page that runs no scripts. It has no
// text from the history but numbers and the DID, so nothing hostile gets into it.
func writeSVG(w *bufio.Writer, r *verifier.Report) {
	n, _ := r.Checkpoints()
	look := badgeLooks[r.Verdict()]
	status := r.Verdict().String()
	switch did, _ := r.Pinned(); {
	case r.Verdict() != verifier.Verified:
		status += ", " + Plural(r.NumProblems(), "problem")
	case did:
		status += ", the expected agent, " + Plural(n, "checkpoint")
	default:
		look = unbroken
		status = "unbroken, self-asserted, " + Plural(n, "checkpoint")
	}
	title := "Agent lineage " + verdictLine(r)
	if did, _ := r.Pinned(); did || r.NumLives() < 2 {
		if key, ok := r.Key(); ok {
			title += "; " + key.DID()
		}
	}
	writeBadge(w, look, status, title)
}

func writeBadge(w *bufio.Writer, look badgeLook, status, title string) {
	const (
		subject   = "agent lineage"
		height    = 20
		padding   = 7
		shapeSize = 12
		gap       = 5
	)
	subjectWidth, statusWidth := textWidth(subject), textWidth(status)
	left := padding + subjectWidth + padding
	total := left + padding + shapeSize + gap + statusWidth + padding
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%[3]s">
<title>%[3]s</title>
<rect width="%[1]d" height="%[2]d" rx="4" fill="%[4]s"/><path d="M4 0H%[5]dV20H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#3a3f47"/>
<g fill="#fff" transform="translate(%[6]d 4)">%[7]s</g>
`, total, height, title, look.colour, left, left+padding, look.shape)
	// The length is given, so that the text fits in whatever font there is.
	text := func(x, length int, s string) {
		fmt.Fprintf(w, "<text x=\"%d\" y=\"14\" textLength=\"%d\">%s</text>\n", x, length, s)
	}
	fmt.Fprintln(w, `<g fill="#fff" font-family="Verdana,'DejaVu Sans',Geneva,sans-serif" font-size="11" aria-hidden="true">`)
	text(padding, subjectWidth, subject)
	text(left+padding+shapeSize+gap, statusWidth, status)
	fmt.Fprintln(w, "</g>\n</svg>")
}

// textWidth returns about how wide s is in 11 pixel Verdana.
func textWidth(s string) int {
	tenths := 0
	for _, c := range s {
		switch {
		case strings.ContainsRune("ijl", c):
			tenths += 32
		case strings.ContainsRune(" ,", c):
			tenths += 40
		case strings.ContainsRune("frt", c):
			tenths += 44
		case strings.ContainsRune("mw", c):
			tenths += 98
		default:
			tenths += 67
		}
	}
	return (tenths + 9) / 10
}

package verifycli

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"igor.dev/verifier"
)

// The text fits one screen of 80 columns and 24 lines, the shell's prompt included.
const (
	columns = 80
	rows    = 23
)

// Of hostile length are only names, and what has names in it.
const (
	maxMessageLines = 3
	maxDetailLines  = 2
	maxNameColumns  = 40
)

// writeText writes the report for people, the verdict as the last line.
func writeText(w *bufio.Writer, r *verifier.Report, pins verifier.Pins, p Palette) {
	head := summary(r, pins)
	tail := p.Proves(r.Proves(), r.DoesNotProve())

	const others = 4 // a blank line after each part, and the verdict
	for _, line := range head {
		fmt.Fprintln(w, p.Paint(Dim, line[:labelWidth])+line[labelWidth:])
	}
	fmt.Fprintln(w)
	if r.NumProblems() > 0 {
		for _, line := range problemLines(r, rows-len(head)-len(tail)-others, p) {
			fmt.Fprintln(w, line)
		}
		fmt.Fprintln(w)
	}
	for _, line := range tail {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	verdict := r.Verdict().String()
	fmt.Fprintln(w, p.Paint(reportStyle(r), verdict)+strings.TrimPrefix(verdictLine(r), verdict))
}

// Proves writes what a report proves, and below it what it does not.
func (p Palette) Proves(proves, doesNot string) []string {
	const label = "Proves: "
	lines := Wrap(label+proves, columns)
	lines[0] = p.Paint(Bold, label) + strings.TrimPrefix(lines[0], label)
	return append(lines, Wrap(doesNot, columns)...)
}

// reportStyle is another one for somebody's unbroken history than for the agent that
// was expected.
func reportStyle(r *verifier.Report) string {
	if did, _ := r.Pinned(); r.Verdict() == verifier.Verified && !did {
		return Cyan
	}
	return verdictStyle(r.Verdict())
}

func verdictStyle(v verifier.Verdict) string {
	switch v {
	case verifier.Verified:
		return Green
	case verifier.Incomplete:
		return Yellow
	}
	return Red
}

// verdictLine says the verdict in one line that stands alone.
func verdictLine(r *verifier.Report) string {
	n, _ := r.Checkpoints()
	problems := Plural(r.NumProblems(), "problem")
	switch r.Verdict() {
	case verifier.Verified:
		did, head := r.Pinned()
		end := choose(head, "head pinned", "head unpinned")
		if did {
			return fmt.Sprintf("verified: the expected agent, %s, no gaps, %s", Plural(n, "checkpoint"), end)
		}
		return fmt.Sprintf("verified: unbroken, but self-asserted, %s, %s", Plural(n, "checkpoint"), end)
	case verifier.Incomplete:
		if onlyUnwitnessed(r) {
			return fmt.Sprintf("incomplete: %s, no gaps, but the head is not witnessed as demanded", Plural(n, "checkpoint"))
		}
		return fmt.Sprintf("incomplete: %s in %s; not a whole life", problems, Plural(n, "checkpoint"))
	}
	return fmt.Sprintf("invalid: %s in %s; do not rely on this history", problems, Plural(n, "checkpoint"))
}

// onlyUnwitnessed reports whether nothing is missing but a witness.
func onlyUnwitnessed(r *verifier.Report) bool {
	for q := range r.Problems() {
		if q.Code != verifier.NotWitnessed {
			return false
		}
	}
	return true
}

func choose(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

const labelWidth = len("agent ")

// summary says whose history it is, what is in it, and where it ends.
func summary(r *verifier.Report, pins verifier.Pins) []string {
	var lines []string
	row := func(label, text string) {
		for _, line := range Wrap(text, columns-labelWidth) {
			lines = append(lines, fmt.Sprintf("%-*s%s", labelWidth, label, line))
			label = ""
		}
	}
	valid, invalid := r.Signatures()
	if r.NumLives() > 1 && pins.DID == nil {
		for i, text := range lives(r, verifier.PublicKey{}) {
			row(choose(i == 0, "keys", ""), text)
		}
	} else if key, ok := r.Key(); ok {
		note := "(self-asserted)"
		switch {
		case valid == 0:
			note = "(only claimed)"
		case pins.DID != nil && *pins.DID == key:
			note = "(pinned)"
		case pins.DID != nil:
			note = "(not expected)"
		}
		row("agent", key.DID()+" "+note)
		for i, text := range lives(r, key) {
			row(choose(i == 0, "also", ""), text)
		}
	}
	row("life", life(r))
	if r.Verdict() != verifier.Verified {
		n, _ := r.Checkpoints()
		signatures := fmt.Sprintf("signatures: %d valid, %d invalid", valid, invalid)
		if absent := n - valid - invalid; absent > 0 {
			signatures += fmt.Sprintf(", %d absent", absent)
		}
		row("", signatures)
	}
	if h, ok := r.Head(); ok {
		note := "(unpinned)"
		switch {
		case pins.Head != nil && *pins.Head == h:
			note = "(pinned)"
		case pins.Head != nil:
			note = "(not the pin)"
		}
		row("head", h.CID()+" "+note)
	}
	for i, text := range handOverRows(r) {
		row(choose(i == 0, "moved", ""), text)
	}
	if w := r.Witnessed(); w != nil {
		row("seen", witnessedText(w))
	}
	if s := r.Succeeds(); s != nil {
		row("after", s.Says())
	}
	if beside := beside(r); beside != "" {
		row("other", beside)
	}
	return lines
}

// lives says how many authentic checkpoints are by which keys, but for one of them.
func lives(r *verifier.Report, except verifier.PublicKey) []string {
	const most = 4
	var lines []string
	others := r.NumLives()
	for l := range r.Lives() {
		if len(lines) == most {
			break
		}
		if others--; l.Key == except {
			continue
		}
		lines = append(lines, l.Key.DID()+" ("+Plural(l.Checkpoints, "checkpoint")+")")
	}
	if others > 0 && len(lines) > 0 {
		lines = append(lines, "and "+Plural(others, "other key"))
	}
	return lines
}

// beside says what was not looked at.
func beside(r *verifier.Report) string {
	var kinds []string
	files := 0
	for l := range r.NotLookedAt() {
		files += l.Files
		kind := strconv.Itoa(l.Files) + " " + l.Kind.String()
		switch l.Kind {
		case verifier.KindKey:
			kind += " (a secret: do not share it)"
		case verifier.KindFolderLink, verifier.KindText, verifier.KindOther: // what else it is, its name says
			kind += " (" + Clip(quote(l.Name), maxNameColumns) + choose(l.Files > 1, " …", "") + ")"
		}
		kinds = append(kinds, kind)
	}
	if files == 0 {
		return ""
	}
	return Plural(files, "file") + " beside it, not looked at: " + strings.Join(kinds, ", ")
}

// keyWarning says that a private key lies with the history, if one does, where others
// can see that: in its folder it belongs.
func keyWarning(r *verifier.Report) string {
	for l := range r.NotLookedAt() {
		if l.Kind == verifier.KindKey {
			return Clip(quote(l.Name), maxNameColumns) + " is the agent's private key: whoever has it can sign as the agent; keep it out of what is shared"
		}
	}
	return ""
}

func life(r *verifier.Report) string {
	n, duplicates := r.Checkpoints()
	s := Plural(n, "checkpoint")
	if duplicates > 0 {
		s += " (and " + Plural(duplicates, "duplicate") + ", ignored)"
	}
	s += ", " + byteSize(r.Bytes())
	if first, last, ok := r.Ticks(); ok {
		if first == last {
			s += fmt.Sprintf(", tick %d", first)
		} else {
			s += fmt.Sprintf(", ticks %d to %d", first, last)
		}
		binaries := make(map[verifier.Hash]bool)
		for segment := range r.Segments() {
			binaries[segment.WASMHash] = true
		}
		s += ", " + Plural(len(binaries), "WASM binary")
	}
	return s
}

// problemLines lists as many problems as there is room for: all in full, or the
// first in full and the others in a line each.
func problemLines(r *verifier.Report, room int, p Palette) []string {
	var full [][]string
	for q := range r.Problems() {
		full = append(full, problemInFull(q, p))
		if len(full) > room {
			break
		}
	}
	if len(full) == r.NumProblems() {
		if all := slices.Concat(full...); len(all) <= room {
			return all
		}
	}
	lines := full[0]
	for i, problem := range full[1:] {
		left := r.NumProblems() - 1 - i
		if left > 1 && len(lines)+1 >= room {
			return append(lines, fmt.Sprintf("and %d more (--format json lists all)", left))
		}
		lines = append(lines, problem[0])
	}
	return lines
}

// problemInFull says in its first line what is wrong with which file, and then why.
func problemInFull(q verifier.Problem, p Palette) []string {
	style := Red
	if q.Code.Incomplete() {
		style = Yellow
	}
	title := p.Paint(style, q.Code.String())
	if q.Name != "" {
		title += "  " + p.Paint(Bold, Clip(quote(q.Name), maxNameColumns))
	}
	if q.Tick != "" {
		title += "  tick " + q.Tick
	}
	lines := []string{title}
	add := func(label, text string, limit int) {
		wrapped := Wrap(Printable(text), columns-2-len(label))
		if len(wrapped) > limit {
			wrapped = wrapped[:limit]
			wrapped[limit-1] = Clip(wrapped[limit-1]+" …", columns-2-len(label))
		}
		for _, line := range wrapped {
			lines = append(lines, "  "+p.Paint(Dim, label)+line)
			label = strings.Repeat(" ", len(label))
		}
	}
	add("", q.Message, maxMessageLines)
	if q.Expected != "" {
		add("expected ", q.Expected, maxDetailLines)
		add("found    ", q.Found, maxDetailLines)
	}
	return lines
}

package verifycli

import (
	"bufio"
	"fmt"
	"html"
	"time"

	"igor.dev/verifier"
)

// checks says of every problem code what is checked, in the order of a report.
var checks = []struct {
	code  verifier.Code
	text  string
	title string // what it means that the check failed
}{
	{verifier.Empty, "no checkpoint is empty", "A checkpoint is empty"},
	{verifier.Truncated, "no checkpoint is cut short", "A checkpoint is cut short"},
	{verifier.UnsupportedVersion, "every checkpoint has a known version", "A file is no checkpoint of a known version"},
	{verifier.UnsignedVersion, "every checkpoint is of a version with a signature", "A checkpoint is of a version without a signature"},
	{verifier.WeakKey, "no key is one for which anybody can sign", "Anybody can sign for the key of a checkpoint"},
	{verifier.BadSignature, "every signature fits its checkpoint", "A signature does not fit its checkpoint"},
	{verifier.NegativeBudget, "no budget is negative", "A budget is negative"},
	{verifier.NegativePrice, "no price is negative", "A price is negative"},
	{verifier.IdentityMismatch, "every checkpoint is by one key, and by the pinned one if one is", "A checkpoint is by another key"},
	{verifier.Fork, "no two checkpoints have the same predecessor", "Two checkpoints have the same predecessor"},
	{verifier.TickOrder, "ticks only go up", "Ticks do not go up"},
	{verifier.MissingGenesis, "the genesis is there", "The beginning of the life is missing"},
	{verifier.Gap, "every predecessor is there", "A checkpoint is missing"},
	{verifier.HeadNotFound, "the pinned head is there", "The expected head is missing"},
	{verifier.NotWitnessed, "the head is in a log, where that is demanded", "The head is not shown to be in a log"},
}

// writeJUnit writes the report as JUnit XML, one test case for each check. So
// the cases of two runs have the same names, and a CI system can compare them.
// The elements and attributes are those that the Ant task writes, all of them
// and in its order, which every known schema accepts.
func writeJUnit(w *bufio.Writer, r *verifier.Report) {
	failed := make(map[verifier.Code]int)
	for q := range r.Problems() {
		failed[q.Code]++
	}
	_, headPinned := r.Pinned()
	skipped := 0
	if !headPinned {
		skipped++
	}
	if !r.WitnessDemanded() {
		skipped++
	}
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
<testsuite package="igor" id="0" name="lineage" timestamp="%s" hostname="localhost" tests="%d" failures="%d" errors="0" skipped="%d" time="0">
<properties>
`, time.Now().UTC().Format("2006-01-02T15:04:05"), len(checks), len(failed), skipped)
	property := func(name, value string) {
		fmt.Fprintf(w, "<property name=\"%s\" value=\"%s\"/>\n", name, xmlText(value))
	}
	did, _ := r.Pinned()
	property("verdict", r.Verdict().String())
	if key, ok := r.Key(); ok {
		property("did", key.DID())
	}
	property("identity", choose(did, "pinned", "self-asserted"))
	property("completeness", choose(headPinned, "head-pinned", "unpinned"))
	if h, ok := r.Head(); ok {
		property("head", h.CID())
	}
	property("proves", r.Proves())
	property("doesNotProve", r.DoesNotProve())
	property("verifier", verifier.Version())
	fmt.Fprintln(w, "</properties>")
	for _, c := range checks {
		fmt.Fprintf(w, `<testcase name="%s" classname="lineage.%s" time="0"`, c.text, c.code)
		switch {
		case failed[c.code] > 0:
			fmt.Fprintln(w, ">")
			writeFailure(w, r, c.code, failed[c.code])
			fmt.Fprintln(w, "</testcase>")
		case c.code == verifier.HeadNotFound && !headPinned:
			fmt.Fprintln(w, `><skipped>no head is pinned</skipped></testcase>`)
		case c.code == verifier.NotWitnessed && !r.WitnessDemanded():
			fmt.Fprintln(w, `><skipped>no witness is demanded</skipped></testcase>`)
		default:
			fmt.Fprintln(w, "/>")
		}
	}
	fmt.Fprintf(w, "<system-out>%s</system-out>\n<system-err></system-err>\n</testsuite>\n</testsuites>\n", xmlText(verdictLine(r)))
}

// writeJUnitFailure writes why there is no verdict: a test case with an error.
func writeJUnitFailure(w *bufio.Writer, f *failure) {
	problem := xmlText(f.problem)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
<testsuite package="igor" id="0" name="lineage" timestamp="%s" hostname="localhost" tests="1" failures="0" errors="1" skipped="0" time="0">
<properties>
<property name="verdict" value="none"/>
<property name="verifier" value="%s"/>
</properties>
<testcase name="the history can be verified" classname="lineage.verdict" time="0">
<error message="%[3]s" type="no-verdict">%[3]s
%[4]s</error>
</testcase>
<system-out></system-out>
<system-err>%[3]s
</system-err>
</testsuite>
</testsuites>
`, time.Now().UTC().Format("2006-01-02T15:04:05"), xmlText(verifier.Version()), problem, xmlText(f.hint))
}

func writeFailure(w *bufio.Writer, r *verifier.Report, code verifier.Code, n int) {
	first := true
	for q := range r.Problems() {
		if q.Code != code {
			continue
		}
		if first {
			message := q.Message
			if n > 1 {
				message = Plural(n, "problem") + ", the first: " + message
			}
			fmt.Fprintf(w, "<failure message=\"%s\" type=\"%s\">\n", xmlText(message), code)
			first = false
		}
		if q.Name != "" {
			fmt.Fprint(w, xmlText(quote(q.Name)), ": ")
		}
		if q.Tick != "" {
			fmt.Fprintf(w, "tick %s: ", q.Tick)
		}
		fmt.Fprintln(w, xmlText(q.Message))
		if q.Expected != "" {
			fmt.Fprintln(w, "  expected:", xmlText(q.Expected))
			fmt.Fprintln(w, "  found:   ", xmlText(q.Found))
		}
	}
	fmt.Fprintln(w, "</failure>")
}

// xmlText escapes s for XML, which has no way to write most control characters.
func xmlText(s string) string { return html.EscapeString(Printable(s)) }

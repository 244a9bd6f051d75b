package verifycli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"

	"igor.dev/verifier"
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	ShortDescription sarifText `json:"shortDescription"` // an alert's title
	FullDescription  sarifText `json:"fullDescription"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	RuleIndex int             `json:"ruleIndex"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations,omitempty"`
}

type sarifLocation struct {
	PhysicalLocation struct {
		ArtifactLocation struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region struct {
			StartLine int `json:"startLine"`
		} `json:"region"`
	} `json:"physicalLocation"`
}

// writeSARIF writes the report as SARIF 2.1.0, one result for each problem.
// It goes result by result, as a report can have as many as checkpoints.
func writeSARIF(w *bufio.Writer, r *verifier.Report, l *locator) error {
	s := &sarifWriter{w: w}
	s.raw(`{"$schema":"` + sarifSchema + `","version":"2.1.0","runs":[{"tool":{"driver":{"name":"igor-verify","fullName":`)
	s.value(verifier.Version())
	s.raw(`,"informationUri":"https://igor.dev","rules":`)
	rules := make([]sarifRule, len(checks))
	index := make(map[verifier.Code]int)
	for i, c := range checks {
		rules[i] = sarifRule{c.code.String(), sarifText{c.code.String()}, sarifText{"It is checked that " + c.text + "."}}
		index[c.code] = i
	}
	s.value(rules)
	s.raw(`}},"columnKind":"unicodeCodePoints","invocations":[{"executionSuccessful":true,"exitCode":`)
	s.value(r.Verdict().ExitCode())
	s.raw(`}],"properties":`)
	did, head := r.Pinned()
	properties := map[string]any{
		"verdict":      r.Verdict().String(),
		"identity":     choose(did, "pinned", "self-asserted"),
		"completeness": choose(head, "head-pinned", "unpinned"),
		"proves":       r.Proves(),
		"doesNotProve": r.DoesNotProve(),
	}
	if key, ok := r.Key(); ok {
		properties["did"] = key.DID()
	}
	if h, ok := r.Head(); ok {
		properties["head"] = h.CID()
	}
	s.value(properties)
	s.raw(`,"results":[`)
	separator := "\n"
	for q := range r.Problems() {
		s.raw(separator)
		separator = ",\n"
		s.value(sarifResultOf(q, index[q.Code], l))
	}
	s.raw("]}]}\n")
	return s.err
}

func sarifResultOf(q verifier.Problem, rule int, l *locator) sarifResult {
	text := q.Message
	if q.Name != "" {
		text = quote(q.Name) + ": " + text
	}
	if q.Expected != "" {
		text += "; expected " + q.Expected
	}
	if q.Found != "" {
		text += "; found " + q.Found
	}
	// A result has the level "error" also where the history is incomplete: it is not verified.
	result := sarifResult{RuleID: q.Code.String(), RuleIndex: rule, Level: "error", Message: sarifText{sarifMessage.Replace(Printable(text))}}
	if file := l.locate(q); file != "" {
		var at sarifLocation
		at.PhysicalLocation.ArtifactLocation.URI = uriReference(file)
		at.PhysicalLocation.Region.StartLine = 1 // GitHub's code scanning shows no result without a line
		result.Locations = []sarifLocation{at}
	}
	return result
}

// sarifMessage escapes what is a link in a SARIF message, "[text](target)".
var sarifMessage = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`)

// uriReference writes a path as a URI: a relative reference, or a file URI.
func uriReference(path string) string {
	if !filepath.IsAbs(filepath.FromSlash(path)) {
		return (&url.URL{Path: path}).String()
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

type sarifWriter struct {
	w   *bufio.Writer
	err error
}

func (s *sarifWriter) raw(text string) {
	if s.err == nil {
		_, s.err = s.w.WriteString(text)
	}
}

func (s *sarifWriter) value(v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil && s.err == nil {
		s.err = err
	}
	s.raw(strings.TrimSuffix(b.String(), "\n"))
}

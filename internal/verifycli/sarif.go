package verifycli

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strconv"
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
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations,omitempty"`
	Fingerprints map[string]string `json:"partialFingerprints"`
}

// GitHub's code scanning takes 25,000 results of a run and shows 5,000.
// See "SARIF support for code scanning".
const maxResults = 5000

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
	s.start()
	index := make(map[verifier.Code]int)
	for i, c := range checks {
		index[c.code] = i
	}
	s.raw(`,"invocations":[{"executionSuccessful":true,"exitCode":`)
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
	n := 0
	for q := range r.Problems() {
		s.raw(separator)
		separator = ",\n"
		result := sarifResultOf(q, index[q.Code], l)
		if n++; n == maxResults && r.NumProblems() > maxResults {
			// One that says how many more there are, of the kind of the next.
			more := strconv.Itoa(r.NumProblems() - maxResults + 1)
			result.Message.Text = more + " more problems, of which this is the first: " + result.Message.Text
			s.value(result)
			break
		}
		s.value(result)
	}
	s.raw("]}]}\n")
	return s.err
}

// writeSARIFFailure writes a run that gave no verdict.
func writeSARIFFailure(w *bufio.Writer, f *failure) error {
	s := &sarifWriter{w: w}
	s.start()
	s.raw(`,"invocations":[{"executionSuccessful":false,"exitCode":2,"toolExecutionNotifications":[{"level":"error","message":`)
	s.value(sarifText{sarifMessage.Replace(Printable(f.problem) + " (" + Printable(f.hint) + ")")})
	s.raw(`}]}],"properties":{"verdict":"none"},"results":[]}]}` + "\n")
	return s.err
}

// start writes what every run has.
func (s *sarifWriter) start() {
	s.raw(`{"$schema":"` + sarifSchema + `","version":"2.1.0","runs":[{"tool":{"driver":{"name":"igor-verify","fullName":`)
	s.value(verifier.Version())
	s.raw(`,"informationUri":"https://igor.dev","rules":`)
	rules := make([]sarifRule, len(checks))
	for i, c := range checks {
		rules[i] = sarifRule{c.code.String(), sarifText{c.title}, sarifText{"It is checked that " + c.text + "."}}
	}
	s.value(rules)
	s.raw(`}},"columnKind":"unicodeCodePoints"`)
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
	// By this name code scanning tells whether a result is one that it knows. What it
	// would make of a file itself is the same for all problems in one CAR.
	sum := sha256.Sum256([]byte(q.Code.String() + "\x00" + q.Name + "\x00" + q.Tick + "\x00" + q.Expected))
	result.Fingerprints = map[string]string{"primaryLocationLineHash": hex.EncodeToString(sum[:8]) + ":1"}
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
	s.raw(string(SafeJSON(bytes.TrimSuffix(b.Bytes(), []byte("\n")))))
}

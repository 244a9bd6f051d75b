package pages

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"igor.dev/verifier"
)

// A sample is a history that the Verify page opens in one click.
type sample struct {
	File    string // in samples/
	Title   string
	Text    string
	Verdict string // that it has to have
	DID     string // that the page pins, or ""
	Head    string
	CAR     string // the same as a CAR, in samples/
	bytes   []byte
	car     []byte
}

// Look is the mark that the verdict will have: without a pinned identity, a verified history is only unbroken.
func (s sample) Look() string {
	if s.Verdict == "verified" && s.DID == "" {
		return "unbroken"
	}
	return s.Verdict
}

type namedFile struct {
	name  string
	bytes []byte
}

// makeSamples makes the samples from real histories and holds each against the
// verdict that the page announces for it.
func makeSamples(histories fs.FS) ([]sample, error) {
	whole, err := readHistory(histories, "liquidation-02")
	if err != nil {
		return nil, err
	}
	heartbeat, err := readHistory(histories, "heartbeat-01")
	if err != nil {
		return nil, err
	}
	forked, err := readHistory(histories, "fork-01-merged")
	if err != nil {
		return nil, err
	}

	tampered := append([]namedFile(nil), heartbeat...)
	victim := &tampered[7]
	changed := bytes.Clone(victim.bytes)
	changed[1] ^= 0x20 // the lowest byte of the budget
	victim.bytes = changed

	head := contentHash(heartbeat[len(heartbeat)-1].bytes)
	samples := []sample{
		{File: "whole.car", Title: "A whole life", Verdict: "verified",
			Text:  fmt.Sprintf("A liquidation watcher: %d checkpoints, genesis to head.", len(whole)),
			bytes: car(whole)},
		{File: "tampered.zip", Title: "Tampered with", Verdict: "invalid",
			Text:  "A heartbeat agent: somebody changed one byte of its budget.",
			bytes: zipped(tampered)},
		{File: "cut.car", Title: "Cut short", Verdict: "incomplete",
			Text:  "The same agent: its newest part is left out, but its head is known.",
			bytes: car(heartbeat[:len(heartbeat)-4]), Head: head.CID()},
		{File: "forked.zip", Title: "Forked", Verdict: "invalid",
			Text:  "One key that signed two futures, and both were supplied.",
			bytes: zipped(forked)},
	}
	for i, files := range [][]namedFile{whole, tampered, heartbeat[:len(heartbeat)-4], forked} {
		s := &samples[i]
		if err := s.check(files); err != nil {
			return nil, err
		}
		s.car = car(files)
		s.CAR = strings.TrimSuffix(s.File, path.Ext(s.File)) + ".car"
	}
	return samples, nil
}

func (s *sample) check(files []namedFile) error {
	pins, err := verifier.ParsePins(s.DID, s.Head)
	if err != nil {
		return err
	}
	var pile verifier.Pile
	for _, f := range files {
		finding := verifier.Examine(f.bytes)
		if err := pile.Add(&finding, f.name); err != nil {
			return err
		}
	}
	if got := verifier.Link(&pile, pins).Verdict().String(); got != s.Verdict {
		return fmt.Errorf("pages: the sample %s is %s, not %s", s.File, got, s.Verdict)
	}
	return nil
}

// readHistory reads the checkpoints of one history, by name, which is by tick.
func readHistory(histories fs.FS, name string) ([]namedFile, error) {
	paths, err := fs.Glob(histories, name+"/*.ckpt")
	if err != nil {
		return nil, err
	}
	if len(paths) < 10 {
		return nil, fmt.Errorf("pages: the history %s has %d checkpoints, too few for a sample", name, len(paths))
	}
	var files []namedFile
	for _, file := range paths {
		b, err := fs.ReadFile(histories, file)
		if err != nil {
			return nil, err
		}
		files = append(files, namedFile{path.Base(file), b})
	}
	return files, nil
}

func contentHash(b []byte) verifier.Hash {
	f := verifier.Examine(b)
	return f.ContentHash
}

func car(files []namedFile) []byte {
	out := verifier.AppendCARHeader(nil, contentHash(files[len(files)-1].bytes))
	for _, f := range files {
		out = verifier.AppendCARBlock(out, contentHash(f.bytes), f.bytes)
	}
	return out
}

func zipped(files []namedFile) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		// Neither fails: the writer below is memory.
		e, _ := w.Create(f.name)
		e.Write(f.bytes)
	}
	w.Close()
	return b.Bytes()
}

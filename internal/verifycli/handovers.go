package verifycli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"igor.dev/verifier"
)

const handOversName = "handovers"

// readHandOvers reads the records of hand-overs that lie beside the paths, and has the
// report judge them. They change no verdict; a file that is none of records is said to be
// so.
func readHandOvers(paths []string, r *verifier.Report) (bad string, err error) {
	var all []*verifier.HandOver
	seen := map[string]bool{}
	for _, path := range paths {
		for _, file := range besideHistory(path) {
			if seen[file] {
				continue
			}
			seen[file] = true
			b, err := readIfThere(file, int64(verifier.MaxHandOvers*verifier.HandOverSize))
			if err != nil {
				return "", err
			}
			if b == nil {
				continue
			}
			records, err := verifier.ParseHandOvers(b)
			if err != nil {
				bad = fmt.Sprintf("%s is not looked at: %v", file, err)
				continue
			}
			all = append(all, records...)
		}
	}
	if len(all) > 0 {
		r.SetHandOvers(all)
	}
	return bad, nil
}

// besideHistory is where the records of a path's history are: in an agent's folder, beside
// its folder history, and beside an exported CAR.
func besideHistory(path string) []string {
	if path == "-" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case !info.IsDir() && strings.EqualFold(filepath.Ext(path), ".car"):
		return []string{strings.TrimSuffix(path, filepath.Ext(path)) + "." + handOversName}
	case !info.IsDir():
		return nil
	}
	files := []string{filepath.Join(path, handOversName)}
	if abs, err := filepath.Abs(path); err == nil && filepath.Base(abs) == "history" {
		files = append(files, filepath.Join(filepath.Dir(abs), handOversName))
	}
	return files
}

// maxHandOverRows is how many hand-overs people are shown; the others are counted.
const maxHandOverRows = 6

// handOverRows say who gave the agent to whom.
func handOverRows(r *verifier.Report) (rows []string) {
	n, wrong := 0, 0
	var last []string
	for h := range r.HandOvers() {
		n++
		text := "to " + h.To.DID()
		if h.HasTick {
			text += fmt.Sprintf(" at tick %d", h.Tick)
		}
		if h.Problem != verifier.HandOverCounts {
			wrong++
			rows = append(rows, fmt.Sprintf("hand-over %d does not count: %s", h.Number, h.Problem.What()))
			continue
		}
		last = append(last, text)
	}
	if n == 0 {
		return nil
	}
	head := Plural(n-wrong, "hand-over") + " that both nodes signed"
	more := max(0, len(last)-maxHandOverRows)
	shown := append([]string{head}, last[more:]...)
	if more > 0 {
		shown = append(shown[:1], append([]string{fmt.Sprintf("the newest %d:", maxHandOverRows)}, shown[1:]...)...)
	}
	if len(rows) > maxHandOverRows {
		rows = append(rows[:maxHandOverRows], fmt.Sprintf("and %d more that do not count", len(rows)-maxHandOverRows))
	}
	return append(shown, rows...)
}

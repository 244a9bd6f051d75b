package main

import (
	"os"
	"path/filepath"
	"strings"

	"igor.dev/runtime"
)

// meant gives an error about a word that nobody knows the nearest one that is known as
// its hint.
func meant(err error, word string, known []string, before string) error {
	if near := nearest(word, known); near != "" {
		return &hinted{err, "did you mean " + before + near + "?"}
	}
	return err
}

// nearest returns the known word that a mistyped one is for, "" if none is near.
func nearest(word string, known []string) string {
	best, least := "", min(2, (len(word)+1)/3)+1
	for _, k := range known {
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if len(word) > 2 && strings.HasPrefix(k, word) {
			d = 1
		}
		// Of two that are as near, the shorter one: --tick is for --ticks.
		if d > 0 && (d < least || d == least && best != "" && len(k) < len(best)) {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters have to be put in, taken out, replaced or swapped with
// the next one to make one word of another.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before, last []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		before, last = last, row
		row = append(make([]int, 0, len(y)+1), i+1)
		for j := range y {
			d := min(last[j+1], row[j]) + 1
			if x[i] == y[j] {
				d = min(d, last[j])
			} else {
				d = min(d, last[j]+1)
			}
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
	}
	return row[len(y)]
}

// nearestAgent returns the agent's folder that a mistyped path is for, "" if none is
// near, or there is something at the path.
func nearestAgent(path string) string {
	if _, err := os.Lstat(path); err == nil {
		return ""
	}
	parent, name := filepath.Split(filepath.Clean(path))
	dir := parent
	if dir == "" {
		dir = "."
	}
	names, err := runtime.AgentFolders(dir)
	if err != nil {
		return ""
	}
	if near := nearest(name, names); near != "" {
		return parent + near
	}
	return ""
}

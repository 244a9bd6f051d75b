package testkit

import "strings"

// A Shown is a command that a page shows, and what it writes.
type Shown struct{ Line, Output string }

// Console returns the commands of a page in Markdown, which are the lines that begin
// with "$ " in its blocks of console.
func Console(page string) []Shown {
	var all []Shown
	for i, text := range strings.Split(page, "```") {
		text, isConsole := strings.CutPrefix(text, "console\n")
		if i%2 == 0 || !isConsole {
			continue
		}
		for _, call := range strings.Split("\n"+text, "\n$ ")[1:] {
			line, output, _ := strings.Cut(call, "\n")
			all = append(all, Shown{line, output})
		}
	}
	return all
}

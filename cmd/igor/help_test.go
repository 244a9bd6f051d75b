package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelp holds what every command says of itself against a terminal of 80
// columns and 24 rows. What a command comes to, it says to programs too.
func TestHelp(t *testing.T) {
	code := 0
	root := command(&code)
	n := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" { // cobra's own
			return
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		n++
		var out bytes.Buffer
		if got := run(append(strings.Fields(cmd.CommandPath())[1:], "--help"), strings.NewReader(""), &out, &out); got != 0 {
			t.Errorf("%s --help: exit code %d", cmd.CommandPath(), got)
		}
		help := out.String()
		for line := range strings.Lines(help) {
			if width := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > columns {
				t.Errorf("%s --help has a line of %d columns: %s", cmd.CommandPath(), width, line)
			}
		}
		if cmd == root {
			if rows := strings.Count(help, "\n"); rows > 23 {
				t.Errorf("igor --help has %d rows", rows)
			}
			for _, sub := range cmd.Commands() {
				if name := sub.Name(); sub.GroupID == "" && name != "completion" && name != "help" && name != "man" {
					t.Errorf("igor %s is in no group", name)
				}
			}
			return
		}
		if name := cmd.Name(); name != "man" && name != "history" && name != "archive" && name != "fleet" && name != "wallet" && name != "node" && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
		if cmd.Runnable() && !strings.Contains(help, "\nExamples:\n  igor "+strings.TrimPrefix(cmd.CommandPath(), "igor ")) {
			t.Errorf("%s --help has no example of it", cmd.CommandPath())
		}
	}
	walk(root)
	if n < 15 {
		t.Errorf("%d commands", n)
	}
}

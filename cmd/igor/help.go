package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"igor.dev/internal/manual"
	"igor.dev/runtime"
)

// groups are the commands by who asks for them. Of some, help only names the commands,
// for they say what they do. Those that are in none are named in the last line of help.
var groups = []struct {
	title    string
	commands []string
	named    bool
}{
	{"Authors", []string{"new", "simulate"}, false},
	{"Operators", []string{"run", "resume", "up", "ls", "status", "logs"}, false},
	{"A life", []string{"fork", "upgrade", "top-up", "price", "checkpoint", "pause", "continue", "stop", "retire"}, true},
	{"Money and mending", []string{"wallet", "rent", "effects", "repair", "restore", "recover", "succeed"}, true},
	{"Kept and shared", []string{"history", "archive", "publish", "serve", "fetch", "node", "fleet", "migrate"}, true},
	{"Verification", []string{"verify", "inspect", "replay", "receipts", "site"}, false},
}

func noShell(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("there is no completion for %q", args[0])
	}
	return errors.New("SHELL is missing")
}

func knownCommand(cmd *cobra.Command, args []string) error {
	if _, rest, err := cmd.Root().Find(args); err != nil || len(rest) > 0 {
		return noCommand(cmd, args)
	}
	return nil
}

// help returns what shows help, and keeps what kept it from being shown.
func help(show func(*cobra.Command, []string), unshown *error) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		out := cmd.OutOrStdout()
		var text bytes.Buffer
		cmd.SetOut(&text)
		show(cmd, args)
		cmd.SetOut(out)
		_, *unshown = out.Write(text.Bytes())
	}
}

// unquoteUsages takes out the marks of the values' names, which completion would show.
func unquoteUsages(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) })
	for _, sub := range cmd.Commands() {
		unquoteUsages(sub)
	}
}

// columns is how wide what people read is.
const columns = 80

// explainUsage gives all commands their help and completion.
func explainUsage(root *cobra.Command) {
	cobra.EnableCommandSorting = false
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() { // cobra's own: they take any word for a question
		case "completion":
			cmd.Use, cmd.Args, cmd.RunE = "completion SHELL", cobra.ArbitraryArgs, noShell
		case "help":
			cmd.Use, cmd.Args, cmd.Long = "help [COMMAND]", knownCommand, "Help explains a command."
		}
	}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, name := range g.commands {
			for _, cmd := range root.Commands() {
				if cmd.Name() == name {
					cmd.GroupID = g.title
				}
			}
		}
	}
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate("{{with or .Long .Short}}{{. | paragraphs}}\n{{end}}{{.UsageString}}")
	cobra.AddTemplateFunc("paragraphs", manual.Paragraphs)
	cobra.AddTemplateFunc("takesOperands", manual.TakesOperands)
	cobra.AddTemplateFunc("named", func(g *cobra.Group) string {
		if of := groups[slices.IndexFunc(root.Groups(), func(o *cobra.Group) bool { return o == g })]; of.named {
			return strings.Join(of.commands, ", ")
		}
		return ""
	})
	cobra.AddTemplateFunc("flagsOf", func(f *pflag.FlagSet) string { return strings.TrimRight(f.FlagUsagesWrapped(columns), "\n") })
	complete(root)
}

// usageTemplate is for 80 columns, and that of igor itself for 24 rows.
const usageTemplate = `{{if not .HasParent}}{{$root := .}}{{range $i, $g := .Groups}}{{$g.Title}}:{{with named $g}} {{.}}{{else}}{{range $root.Commands}}{{if and (eq .GroupID $g.ID) .IsAvailableCommand}}
  {{rpad .Name 11}} {{.Short}}{{end}}{{end}}{{end}}
{{end}}
More: igor COMMAND --help, igor completion, igor man, igor --version
{{else}}Usage:
  {{if . | takesOperands}}{{.UseLine}}{{if .HasAvailableSubCommands}}
  {{end}}{{end}}{{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags | flagsOf}}{{end}}
{{end}}`

// complete adds completion of operands, by what the usage calls them, and of
// the values of flags.
func complete(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
	if cmd.ValidArgsFunction == nil && cmd.Runnable() && !cmd.HasSubCommands() || cmd.Name() == "effects" {
		cmd.ValidArgsFunction = completeOperands(strings.Fields(cmd.Use)[1:])
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Value.(*amountFlag); ok && f.DefValue == new(amountFlag).String() {
			f.DefValue = "" // for help, zero is none
		}
		name, _ := pflag.UnquoteUsage(f)
		var values cobra.CompletionFunc
		switch words, isChoice := f.Value.(interface{ Words() []string }); {
		case isChoice:
			values = cobra.FixedCompletions(words.Words(), cobra.ShellCompDirectiveNoFileComp)
		case f.Name == "manifest":
			values = cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveFilterFileExt)
		case f.Name == "wasm":
			values = cobra.FixedCompletions([]string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt)
		case name == "FILE":
			return // any
		case name == "FOLDER", f.Name == "dir", f.Name == "cache-dir":
			values = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		default:
			values = cobra.NoFileCompletions
		}
		cmd.RegisterFlagCompletionFunc(f.Name, values) // fails where there is one already
	})
}

// completeOperands completes the operands that the usage names.
func completeOperands(names []string) cobra.CompletionFunc {
	if len(names) > 0 && names[0] == "[flags]" {
		names = names[1:]
	}
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if cmd.DisableFlagParsing {
			if found, directive, ok := completeFlag(cmd, args, word); ok {
				return found, directive
			}
			return nil, cobra.ShellCompDirectiveDefault // paths
		}
		if len(args) >= len(names) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		switch name := strings.Trim(names[len(args)], "[]"); {
		case name == "AGENT.wasm":
			return []string{"wasm"}, cobra.ShellCompDirectiveFilterFileExt
		case name == "FILE.car":
			return []string{"car"}, cobra.ShellCompDirectiveFilterFileExt
		case name == "FOLDER" && len(args) == 0:
			return agentFolders(word)
		case name == "FOLDER", name == "DIRECTORY":
			return nil, cobra.ShellCompDirectiveFilterDirs
		case strings.Contains(name, "FOLDER"), strings.Contains(name, "FILE"):
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the values of flags of a command that parses none.
func completeFlag(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective, bool) {
	if len(args) > 0 {
		if f := cmd.Flags().Lookup(strings.TrimLeft(args[len(args)-1], "-")); f != nil && strings.HasPrefix(args[len(args)-1], "-") && f.Value.Type() != "bool" {
			values, ok := cmd.GetFlagCompletionFunc(f.Name)
			if !ok {
				return nil, cobra.ShellCompDirectiveNoFileComp, true
			}
			found, directive := values(cmd, args, word)
			return found, directive, true
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp, strings.HasPrefix(word, "-") // cobra has the names
}

// agentFolders completes folders: whole names of those that hold an agent, and the
// beginnings of paths through others.
func agentFolders(word string) ([]string, cobra.ShellCompDirective) {
	parent, begin := filepath.Split(word)
	dir := parent
	if dir == "" {
		dir = "."
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	var agents, others []string
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), begin) || strings.HasPrefix(e.Name(), ".") && begin == "" {
			continue
		}
		if runtime.IsAgentFolder(filepath.Join(dir, e.Name())) {
			agents = append(agents, parent+e.Name())
		} else {
			others = append(others, parent+e.Name()+"/")
		}
	}
	if len(agents) == 0 {
		agents, directive = others, directive|cobra.ShellCompDirectiveNoSpace
	}
	return agents, directive
}

// Package manual writes the manual pages of our programs: a page for each command, of what
// it says of itself.
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"igor.dev/internal/verifycli"
	"igor.dev/verifier"
)

// columns is how wide what people read is.
const columns = 80

// Write writes pages into a folder, which is made if it is absent.
func Write(folder string, pages map[string]string) error {
	err := os.MkdirAll(folder, 0o755)
	for name, page := range pages {
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name+".1"), []byte(page), 0o644)
		}
	}
	return err
}

// Command returns the command of a program that writes its pages.
func Command(program string) *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Short:   "Write the manual pages of " + program,
		Long:    "Man writes a manual page for each command into FOLDER, which is made if it is absent.",
		Example: fmt.Sprintf("  %s man man1\n  man ./man1/%s.1", program, program),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return Write(args[0], Pages(cmd.Root())) },
	}
}

// TakesOperands reports whether a command does something by itself, and not only by
// the commands below it.
func TakesOperands(cmd *cobra.Command) bool {
	return !cmd.HasSubCommands() || len(strings.Fields(cmd.Use)) > 1
}

// Pages returns the manual pages of a program and all its commands, by their names.
func Pages(root *cobra.Command) map[string]string {
	all := make(map[string]string)
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		all[pageName(cmd)] = page(cmd)
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && cmd.Name() != "completion" {
				add(sub)
			}
		}
	}
	add(root)
	return all
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// builtAt returns what SOURCE_DATE_EPOCH says (reproducible-builds.org) or the time of
// the commit, so that the same program writes the same pages; where neither is known,
// now.
func builtAt() time.Time {
	if unix, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(unix, 0).UTC()
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return time.Now().UTC()
}

// A Page is one in the macros of man(7).
type Page struct{ strings.Builder }

// New begins the page of a command.
func New(name, title string) *Page {
	r := &Page{}
	release, _, _ := strings.Cut(verifier.Version(), " (")
	fmt.Fprintf(r, ".TH %s 1 %s \"%s\" \"Igor manual\"\n", strings.ToUpper(name), builtAt().Format(time.DateOnly), release)
	r.Section("name")
	first, size := utf8.DecodeRuneInString(title)
	fmt.Fprintf(r, "%s \\-\n%s\n", Escape(name), Escape(string(unicode.ToLower(first))+title[size:]))
	return r
}

// Section begins a section.
func (r *Page) Section(title string) { r.WriteString(".SH " + strings.ToUpper(title) + "\n") }

// Text writes paragraphs.
func (r *Page) Text(s string) {
	for i, p := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			r.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, " ") {
			r.Literal(p)
			continue
		}
		for _, line := range verifycli.Wrap(p, columns-4) {
			r.WriteString(Escape(line) + "\n")
		}
	}
}

// Literal writes lines as they are.
func (r *Page) Literal(s string) {
	r.WriteString(".nf\n")
	for line := range strings.Lines(s) {
		r.WriteString(Escape(strings.TrimRight(line, "\n")) + "\n")
	}
	r.WriteString(".fi\n")
}

// Escape escapes a line, so that nothing in it is a macro.
func Escape(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

func bold(s string) string   { return `\fB` + Escape(s) + `\fR` }
func italic(s string) string { return `\fI` + Escape(s) + `\fR` }

// page writes the page of a command.
func page(cmd *cobra.Command) string {
	r := New(pageName(cmd), cmd.Short)
	r.Section("synopsis")
	use := strings.Fields(strings.Replace(cmd.Use, "[flags] ", "", 1))[1:]
	var ways []string
	if TakesOperands(cmd) {
		way := bold(cmd.CommandPath()) + " [" + italic("flags") + "]"
		for _, name := range use {
			way += " " + italic(name)
		}
		ways = append(ways, way)
	}
	if cmd.HasSubCommands() {
		ways = append(ways, bold(cmd.CommandPath())+" "+italic("COMMAND"))
	}
	r.WriteString(strings.Join(ways, "\n.br\n") + "\n")
	r.Section("description")
	text, codes, hasCodes := strings.Cut(cmd.Long, "\n\nExit codes: ")
	if text == "" {
		text = cmd.Short + "."
	}
	r.Text(text)
	if cmd.HasAvailableSubCommands() && cmd.Name() != "completion" {
		r.Section("commands")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(r, ".TP\n%s(1)\n%s.\n", bold(pageName(sub)), Escape(sub.Short))
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		r.Section("options")
		cmd.LocalFlags().VisitAll(r.flag)
	}
	if hasCodes {
		r.Section("exit status")
		r.Text(codes)
	}
	if cmd.HasExample() {
		r.Section("examples")
		r.Literal(cmd.Example)
	}
	if cmd.HasParent() {
		r.Section("see also")
		fmt.Fprintf(r, ".BR %s (1)\n", Escape(pageName(cmd.Parent())))
	}
	return r.String()
}

func (r *Page) flag(f *pflag.Flag) {
	value, usage := pflag.UnquoteUsage(f)
	r.WriteString(".TP\n")
	if f.Shorthand != "" {
		r.WriteString(bold("-"+f.Shorthand) + ", ")
	}
	r.WriteString(bold("--" + f.Name))
	if value != "" {
		r.WriteString(" " + italic(value))
	}
	r.WriteString("\n")
	switch f.DefValue {
	case "", "0", "false", "0s":
	default:
		usage += " (default " + f.DefValue + ")"
	}
	r.Text(usage)
}

package main

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

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write the manual pages of igor and igor-verify",
		Long: `Man writes a manual page for each command into FOLDER: igor(1), igor-run(1) and so
on, and igor-verify(1). FOLDER is made if it is absent.`,
		Example: `  igor man man1
  man ./man1/igor-run.1`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := os.MkdirAll(args[0], 0o755)
			for name, page := range pages(cmd.Root()) {
				if err == nil {
					err = os.WriteFile(filepath.Join(args[0], name+".1"), []byte(page), 0o644)
				}
			}
			return failed(err)
		},
	}
}

// pages returns the manual pages of root and all below it, by their names, and that
// of igor-verify, which igor verify has too.
func pages(root *cobra.Command) map[string]string {
	all := make(map[string]string)
	date := builtAt().Format(time.DateOnly)
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		all[pageName(cmd)] = page(cmd, date)
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && cmd.Name() != "completion" {
				add(sub)
			}
		}
	}
	add(root)
	all["igor-verify"] = verifyPage(date)
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

// A roff is a page in the macros of man(7).
type roff struct{ strings.Builder }

func newPage(name, date, title string) *roff {
	r := &roff{}
	release, _, _ := strings.Cut(verifier.Version(), " (")
	fmt.Fprintf(r, ".TH %s 1 %s \"%s\" \"Igor manual\"\n", strings.ToUpper(name), date, release)
	r.section("name")
	first, size := utf8.DecodeRuneInString(title)
	fmt.Fprintf(r, "%s \\-\n%s\n", escapeRoff(name), escapeRoff(string(unicode.ToLower(first))+title[size:]))
	return r
}

func (r *roff) section(title string) { r.WriteString(".SH " + strings.ToUpper(title) + "\n") }

// text writes paragraphs.
func (r *roff) text(s string) {
	for i, p := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			r.WriteString(".PP\n")
		}
		if strings.HasPrefix(p, " ") {
			r.literal(p)
			continue
		}
		for _, line := range verifycli.Wrap(p, columns-4) {
			r.WriteString(escapeRoff(line) + "\n")
		}
	}
}

// literal writes lines as they are.
func (r *roff) literal(s string) {
	r.WriteString(".nf\n")
	for line := range strings.Lines(s) {
		r.WriteString(escapeRoff(strings.TrimRight(line, "\n")) + "\n")
	}
	r.WriteString(".fi\n")
}

// escapeRoff escapes a line, so that nothing in it is a macro.
func escapeRoff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

func bold(s string) string   { return `\fB` + escapeRoff(s) + `\fR` }
func italic(s string) string { return `\fI` + escapeRoff(s) + `\fR` }

// page writes the page of a command.
func page(cmd *cobra.Command, date string) string {
	r := newPage(pageName(cmd), date, cmd.Short)
	r.section("synopsis")
	use := strings.Fields(strings.Replace(cmd.Use, "[flags] ", "", 1))[1:]
	var ways []string
	if takesOperands(cmd) {
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
	r.section("description")
	text, codes, hasCodes := strings.Cut(cmd.Long, "\n\nExit codes: ")
	if text == "" {
		text = cmd.Short + "."
	}
	r.text(text)
	if cmd.HasAvailableSubCommands() && cmd.Name() != "completion" {
		r.section("commands")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(r, ".TP\n%s(1)\n%s.\n", bold(pageName(sub)), escapeRoff(sub.Short))
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		r.section("options")
		cmd.LocalFlags().VisitAll(r.flag)
	}
	if hasCodes {
		r.section("exit status")
		r.text(codes)
	}
	if cmd.HasExample() {
		r.section("examples")
		r.literal(cmd.Example)
	}
	if cmd.HasParent() {
		r.section("see also")
		fmt.Fprintf(r, ".BR %s (1)\n", escapeRoff(pageName(cmd.Parent())))
	}
	return r.String()
}

func (r *roff) flag(f *pflag.Flag) {
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
	r.text(usage)
}

// verifyPage makes the page of igor-verify, which is not of cobra, of its usage.
func verifyPage(date string) string {
	r := newPage("igor-verify", date, "verify the whole life of an agent")
	usage, codes, _ := strings.Cut(strings.TrimPrefix(verifycli.Usage("igor-verify"), "usage: "), "\n\nexit codes: ")
	synopsis, text, _ := strings.Cut(usage, "\n\n")
	r.section("synopsis")
	r.WriteString(".nf\n")
	for line := range strings.Lines(synopsis) {
		r.WriteString(escapeRoff(strings.TrimSpace(line)) + "\n")
	}
	r.WriteString(".fi\n")
	r.section("description")
	r.text(text + "\n\nigor verify, igor inspect and igor receipts are the same, and take --json too.")
	r.section("exit status")
	r.text(codes)
	r.section("see also")
	r.WriteString(".BR igor (1)\n")
	return r.String()
}

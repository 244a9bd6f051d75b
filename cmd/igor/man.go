package main

import (
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/manual"
	"igor.dev/internal/verifycli"
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
			pages := manual.Pages(cmd.Root())
			pages["igor-verify"] = verifyPage()
			return failed(manual.Write(args[0], pages))
		},
	}
}

// verifyPage makes the page of igor-verify, which is not of cobra, of its usage.
func verifyPage() string {
	r := manual.New("igor-verify", "verify the whole life of an agent")
	usage, codes, _ := strings.Cut(strings.TrimPrefix(verifycli.Usage("igor-verify"), "usage: "), "\n\nexit codes: ")
	synopsis, text, _ := strings.Cut(usage, "\n\n")
	r.Section("synopsis")
	r.WriteString(".nf\n")
	for line := range strings.Lines(synopsis) {
		r.WriteString(manual.Escape(strings.TrimSpace(line)) + "\n")
	}
	r.WriteString(".fi\n")
	r.Section("description")
	r.Text(text + "\n\nigor verify, igor inspect and igor receipts are the same, and take --json too.")
	r.Section("exit status")
	r.Text(codes)
	r.Section("see also")
	r.WriteString(".BR igor (1)\n")
	return r.String()
}

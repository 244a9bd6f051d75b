package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

func repairFolderCommand() *cobra.Command {
	var yes, asJSON bool
	var wasm, manifest, receipts string
	var c runtime.RepairConfig
	cmd := &cobra.Command{
		Use:   "repair FOLDER",
		Short: "Mend what is missing or damaged in an agent's folder",
		Long: `Repair looks at every file in the folder of an agent that does not run, and says
what is missing or damaged, what would mend it, and what is lost for good. Without
--yes it changes nothing. A file that it replaces is kept beside the new one.

It takes what it needs from another copy of the folder (--from), such as an older
backup, or from files that you name: nothing that is not the agent's own, by its
hash or its signature. A journal is never taken from a copy, for an older one does
not know what the agent did since: what is whole of it is kept. What igor resume
mends by itself, repair only names.

Exit codes: 0 nothing is wrong, or nothing any more that keeps the agent from going
on; 65 something is.`,
		Example: `  igor repair watcher
  igor repair watcher --from /backup/watcher --yes
  igor repair watcher --wasm watcher.wasm --yes`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			for _, f := range []struct {
				path  string
				limit int64
				to    *[]byte
			}{{wasm, runtime.MaxWASM, &c.WASM}, {manifest, runtime.MaxManifest, &c.Manifest}, {receipts, 1 << 30, &c.Receipts}} {
				if f.path == "" {
					continue
				}
				if *f.to, err = readLimited(f.path, f.limit); err != nil {
					return failed(err)
				}
			}
			c.Do = yes
			ctx, stop := withProgress(cmd)
			found, err := runtime.RepairFolder(ctx, args[0], c)
			stop()
			var shown error
			if asJSON {
				shown = writeJSON(cmd.OutOrStdout(), append([]runtime.Repair{}, found...))
			} else {
				shown = writeRepairs(cmd.OutOrStdout(), found)
			}
			if err = errors.Join(err, shown); err != nil {
				return failed(err)
			}
			return failed(leftOver(args[0], found, yes))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&yes, "yes", false, "do it, and take what is lost for lost")
	flags.StringVar(&c.Copy, "from", "", "another copy of the agent's `FOLDER`, to take from it what is missing")
	flags.StringVar(&wasm, "wasm", "", "the `FILE` of the agent's program")
	flags.StringVar(&manifest, "manifest", "", "the `FILE` of the agent's manifest")
	flags.StringVar(&receipts, "receipts", "", "a `FILE` with receipts of the agent, such as a node's ledger has")
	flags.BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// leftOver says what is still to be done.
func leftOver(dir string, found []runtime.Repair, did bool) error {
	var left, can []string
	for _, r := range found {
		switch {
		case r.Done:
		case r.Mend != "":
			can = append(can, r.File)
		case r.Fatal || !did:
			left = append(left, r.File)
		}
	}
	switch {
	case len(can) > 0:
		return &hinted{&damageFound{"nothing is changed; missing or damaged: " + strings.Join(append(can, left...), ", ")}, "igor repair " + dir + " --yes mends what can be; a whole copy of the folder would be better"}
	case len(left) > 0:
		return &damageFound{"missing or damaged: " + strings.Join(left, ", ")}
	}
	return nil
}

func writeRepairs(w io.Writer, found []runtime.Repair) error {
	var b strings.Builder
	if len(found) == 0 {
		b.WriteString("nothing is missing or damaged\n")
	}
	for _, r := range found {
		row := func(name, text string) {
			for _, line := range verifycli.Wrap(verifycli.Printable(text), columns-10) {
				fmt.Fprintf(&b, "  %-7s %s\n", name, line)
				name = ""
			}
		}
		for i, line := range verifycli.Wrap(verifycli.Printable(r.File+": "+r.Damage), columns-2) {
			b.WriteString(map[bool]string{false: "  "}[i == 0] + line + "\n")
		}
		if r.Mend != "" {
			row(map[bool]string{true: "mended", false: "mend"}[r.Done], r.Mend)
		}
		for _, l := range r.Lost {
			row("lost", l)
		}
		if r.Aside != "" {
			row("aside", r.Aside)
		}
		if r.Next != "" {
			row("next", r.Next)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

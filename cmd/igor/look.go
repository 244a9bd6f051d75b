package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// minCID is the least of a CID that tells checkpoints apart.
const minCID = 16

func lsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [FOLDER]",
		Short: "List an agent's checkpoints, or the agents in a folder",
		Long: `Ls lists the checkpoints in an agent's FOLDER, or the newest one of each agent in
any other folder (default: here). It shows what the files say, and verifies
nothing: igor verify does.`,
		Example: `  igor ls
  igor ls heartbeat --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			found, err := runtime.Look(dir)
			if err != nil && len(found) == 0 {
				return failed(err)
			}
			unread := failed(err)
			if asJSON {
				return cmp.Or(failed(writeJSON(cmd.OutOrStdout(), append([]runtime.Sight{}, found...))), unread)
			}
			var table strings.Builder
			w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "folder\ttick\tbudget\tbytes\tcheckpoint")
			for _, s := range found {
				fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\n", verifycli.Printable(s.Folder), s.Tick, verifier.FormatMicrocents(s.Budget), s.Bytes, s.CID)
			}
			if err := w.Flush(); err != nil {
				return failed(err)
			}
			out, terminal := cmd.OutOrStdout(), verifycli.IsTerminal(cmd.OutOrStdout())
			for line := range strings.Lines(table.String()) {
				row, cid := strings.TrimRight(line, "\n"), strings.LastIndexByte(line, ' ')+1
				if room := columns - cid; terminal && len(row) > columns && room >= minCID {
					row = row[:cid] + verifycli.Clip(row[cid:], room)
				}
				if _, err := fmt.Fprintln(out, row); err != nil {
					return failed(err)
				}
			}
			return unread
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func logsCommand() *cobra.Command {
	var asJSON bool
	var from uint64
	cmd := &cobra.Command{
		Use:   "logs FOLDER",
		Short: "Show what an agent logged in its whole life",
		Long: `Logs shows the lines that the agent in FOLDER logged, by their ticks, as its event
log has them. It verifies nothing: igor replay does.`,
		Example: "  igor logs heartbeat --from 100",
		Args:    operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			encode := json.NewEncoder(cmd.OutOrStdout())
			return failed(runtime.Logs(args[0], from, func(l runtime.LogLine) error {
				if asJSON {
					return encode.Encode(l)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "tick %-8d %s\n", l.Tick, verifycli.Printable(l.Line))
				return err
			}))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON, an object a line")
	cmd.Flags().Uint64Var(&from, "from", 0, "begin with this `TICK`")
	return cmd
}

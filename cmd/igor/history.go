package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

func historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Share histories as one file",
		Example: `  igor history export heartbeat
  igor history import heartbeat.car copy`,
		Args: cobra.ArbitraryArgs,
		RunE: noCommand,
	}
	cmd.AddCommand(exportCommand(), importCommand())
	return cmd
}

func exportCommand() *cobra.Command {
	var out string
	var events bool
	cmd := &cobra.Command{
		Use:   "export FOLDER",
		Short: "Write a history as one .car file",
		Example: `  igor history export heartbeat
  igor history export heartbeat --events -o life.car`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				abs, err := filepath.Abs(args[0])
				if err != nil {
					return failed(err)
				}
				out = filepath.Base(abs) + ".car"
			}
			ctx, stop := withProgress(cmd)
			report, err := runtime.ExportHistory(ctx, args[0], out)
			stop()
			if err != nil {
				return failed(plain(err))
			}
			if err := printShared(cmd.OutOrStdout(), out, report); err != nil || !events {
				return err
			}
			to := strings.TrimSuffix(out, ".car") + ".events"
			n, err := runtime.ExportEvents(args[0], to)
			if err != nil {
				return failed(plain(err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%-8s%s, %d segments\n", "events", to, n)
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "write the event log too, into the folder FILE.events beside it: with it, others can run the life again")
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write (default: FOLDER.car, here)")
	return cmd
}

func importCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "import FILE.car FOLDER",
		Short:   "Write the checkpoints of a .car file into a new folder",
		Example: "  igor history import heartbeat.car copy",
		Args:    operands("FILE.car", "FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := withProgress(cmd)
			report, err := runtime.ImportHistory(ctx, args[0], args[1])
			stop()
			if err != nil {
				return failed(plain(err))
			}
			return printShared(cmd.OutOrStdout(), args[1], report)
		},
	}
}

func printShared(w io.Writer, where string, r *verifier.Report) error {
	n, _ := r.Checkpoints()
	head, ok := r.Head()
	_, err := fmt.Fprintf(w, "%-8s%s\n%-8s%d checkpoints, %s\n", "wrote", where, "history", n, r.Verdict())
	if err == nil && ok {
		_, err = fmt.Fprintf(w, "%-8s%s\n", "head", head.CID())
	}
	return failed(err)
}

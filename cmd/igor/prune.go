package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"igor.dev/archive"
	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

// pruneSays is what somebody agrees to who prunes a history.
const pruneSays = "from now on igor verify says incomplete without the archive"

func pruneCommand() *cobra.Command {
	var c runtime.PruneConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prune FOLDER",
		Short: "Remove the oldest checkpoints of a history, if they are archived",
		Long: `Prune removes the oldest checkpoints of the agent in FOLDER, which must not run,
if they are archived: every one is final in all targets of the agent's archive,
or is in the copy that --archived-in names, a folder or a CAR, of which every
byte is read and hashed. The newest checkpoints stay, and with them all that the
agent needs to live on.

From now on igor verify says incomplete without the archive: its beginning is
there. igor verify FOLDER ARCHIVE verifies both together.

The event log stays, and with it what the agent said and observed; with --events
what the copy has of it is removed too, and those ticks can be run again with the
copy alone. Nothing is removed of a side effect whose outcome nobody knows, or
that was compensated and not given back, and nothing after it. Programs,
manifests, the journal and receipts stay.

Without --yes it changes nothing, and says what it would remove.`,
		Example: `  igor history prune heartbeat
  igor history prune heartbeat --archived-in /mnt/archive/heartbeat.car
  igor history prune heartbeat --archived-in /mnt/heartbeat --events --yes`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			if c.Copy == "" {
				tick, targets, err := archive.FinalTick(dir)
				if err != nil {
					return failed(err)
				}
				if targets == 0 {
					return failed(&hinted{errors.New("nothing says that anything of this history is archived"),
						"igor resume FOLDER --archive TARGET archives it while it lives; or name a copy with --archived-in"})
				}
				c.Archived = &tick
			}
			ctx, stop := withProgress(cmd)
			r, err := runtime.PruneHistory(ctx, dir, c)
			stop()
			if err != nil {
				return failed(err)
			}
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
					return failed(err)
				}
			} else if err := writePruned(cmd, &r); err != nil {
				return failed(err)
			}
			if !c.Do && r.Segments+r.Packs > 0 {
				return failed(&hinted{errors.New("nothing is changed: " + pruneSays), "igor history prune with --yes removes them"})
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&c.Copy, "archived-in", "", "a `FOLDER|CAR` that has the checkpoints too, instead of the archive's own records")
	cmd.Flags().BoolVar(&c.Events, "events", false, "remove the event log too, as far as the folder of --archived-in has it")
	cmd.Flags().BoolVar(&c.Do, "yes", false, "remove them: "+pruneSays)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was removed as JSON")
	return cmd
}

func writePruned(cmd *cobra.Command, r *runtime.Pruned) error {
	what := "would remove"
	if r.Done {
		what = "removed"
	}
	rows := []string{what, fmt.Sprintf("%s, %s", verifycli.Plural(int(r.Checkpoints), "checkpoint"), byteSize(r.Bytes))}
	if r.Checkpoints > 0 {
		rows = append(rows, "up to", fmt.Sprintf("tick %d", r.LastTick))
	}
	if r.Packs > 0 {
		rows = append(rows, "events", "of "+verifycli.Plural(r.Packs, "segment"))
	}
	if r.HeldBy != "" {
		rows = append(rows, "held by", "side effect "+r.HeldBy+": nothing after it is removed before it is resolved")
	}
	return writeRows(cmd.OutOrStdout(), rows...)
}

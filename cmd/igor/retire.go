package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

func retireCommand() *cobra.Command {
	var nodeKey, ledger string
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "retire FOLDER",
		Short: "End an agent's life for good",
		Long: `Retire ends the life of the agent in FOLDER, which may be alive: it makes a last
checkpoint, signs that its life is over and what is left of its budget, and gives
that back to whoever stands behind it: the ledger of the process that runs it, and
the one of --ledger. No igor goes on with it after that, and where its store or the
ledger is known, with no copy of it either. The folder stays: its history can be
verified and replayed, and forked.

Side effects whose outcome nobody knows have to be resolved first.

Without --yes it changes nothing.`,
		Example: `  igor retire watcher
  igor retire watcher --yes`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := args[0]
			_, over, err := runtime.ReadRetirement(dir)
			if err != nil {
				return failed(err)
			}
			if !yes && !over {
				return failed(&hinted{errors.New("nothing is changed: to retire an agent cannot be undone"), "igor retire " + dir + " --yes ends its life for good"})
			}
			node, err := userNodeKey(nodeKey)
			if err != nil {
				return failed(err)
			}
			finder := asNode(node)
			defer finder.Close()
			c := runtime.EngineConfig{Log: slog.New(slog.DiscardHandler), CacheDir: userCache(), Homes: finder.Find, NodeKey: node}
			if ledger != "" {
				l, err := runtime.OpenLedger(ledger)
				if err != nil {
					return failed(err)
				}
				defer l.Close()
				c.Budgets = l
			}
			engine, err := runtime.NewEngine(c)
			if err != nil {
				return failed(err)
			}
			defer engine.Close()
			if alive, err := runtime.Connect(dir); err == nil {
				_, err := alive.Retire(cmd.Context())
				if err != nil && !errors.Is(err, runtime.ErrStopped) {
					return failed(err)
				}
			} else if !errors.Is(err, runtime.ErrNotRunning) {
				return failed(err)
			}
			r, err := engine.Retire(cmd.Context(), dir) // or has the ledger know it
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					DID    string `json:"did"`
					Tick   uint64 `json:"tick,string"`
					Head   string `json:"head"`
					Budget int64  `json:"budgetMicrocents,string"`
				}{r.Agent.DID(), r.Tick, r.Head.CID(), r.Budget}))
			}
			return failed(writeRows(cmd.OutOrStdout(), "retired", r.Agent.DID(), "after", fmt.Sprintf("tick %d", r.Tick), "head", r.Head.CID(),
				"given back", verifier.FormatMicrocents(r.Budget)))
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&yes, "yes", false, "end its life")
	flags.StringVar(&ledger, "ledger", "", "`FOLDER` of the receipts that the node gave, which takes the rest of the budget back")
	flags.StringVar(&nodeKey, "node-key", "", "`FILE` of the key that signs receipts (default: igor/node.key in the user's configuration folder)")
	flags.BoolVar(&asJSON, "json", false, "write what came of it as JSON")
	return cmd
}

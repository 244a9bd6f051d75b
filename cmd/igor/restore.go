package main

import (
	"errors"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
)

func restoreCommand() *cobra.Command {
	var keyFile, nodeKey string
	var takeOver, asJSON bool
	cmd := &cobra.Command{
		Use:   "restore STORE FOLDER --key FILE",
		Short: "Make an agent's folder anew, of what a store has",
		Long: `Restore makes the folder of an agent whose folder is lost, or is an old copy, of what
is in STORE and of the agent's key. It has all that was acknowledged: the newest
checkpoint, what happened since, the side effects and the payments. igor resume
goes on from there. It has not the history before that checkpoint: igor verify says
incomplete, until that is put back from a copy.

Who lived the agent before can go on no more, wherever it is: what it would say
next, STORE refuses. An agent that another node owns takes --take-over; that is for
nodes that are gone. A fleet allows it to the nodes that the agent's manifest names, and
when the owner was not heard of for as long as its lease.`,
		Example: `  igor restore /mnt/backup/igor watcher-again --key watcher.key
  igor resume watcher-again`,
		Args: operands("STORE", "FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile == "" {
				return errors.New("--key FILE is missing: the agent's own key, a copy of the file key of its folder")
			}
			key, err := runtime.ReadKey(keyFile)
			if err != nil {
				return failed(err)
			}
			node, err := userNodeKey(nodeKey)
			if err == nil && node == nil {
				err = errors.New("--node-key FILE is missing: the user has no configuration folder")
			}
			if err != nil {
				return failed(err)
			}
			finder := asNode(node)
			defer finder.Close()
			home, err := finder.Find(args[0])
			if err != nil {
				return failed(err)
			}
			home.TakeOver = takeOver
			r, err := runtime.Restore(cmd.Context(), args[1], runtime.RestoreConfig{Home: home, Key: key, Node: node})
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					DID      string `json:"did"`
					Tick     uint64 `json:"tick,string"`
					Head     string `json:"head"`
					Appends  uint64 `json:"appends,string"`
					TakeOver bool   `json:"takenOver"`
					Folder   string `json:"folder"`
				}{r.DID, r.Tick, r.Head.CID(), r.Position.Sequence, r.Taken, args[1]}))
			}
			return failed(writeRows(cmd.OutOrStdout(), "restored", r.DID, "head", r.Head.CID(), "folder", args[1], "next", "igor resume "+args[1]))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&keyFile, "key", "", "`FILE` of the agent's key, of which its folder had one")
	flags.StringVar(&nodeKey, "node-key", "", "`FILE` of this node's key (default: igor/node.key in the user's configuration folder)")
	flags.BoolVar(&takeOver, "take-over", false, "go on with an agent that another node owns, which is gone for good")
	flags.BoolVar(&asJSON, "json", false, "write what was made as JSON")
	return cmd
}

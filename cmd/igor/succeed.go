package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

func succeedCommand() *cobra.Command {
	var keyFile, commit, policy, nodeKey, ledger, cacheDir string
	var yes, asJSON bool
	budget, price := defaultBudget, amountFlag(0)
	cmd := &cobra.Command{
		Use:   "succeed FOLDER [NEW]",
		Short: "Give an agent a new key: a successor that goes on with its state",
		Long: `Succeed ends the life of the agent in FOLDER, as igor retire does, and makes another
one in the folder NEW that goes on with its state under a key of its own. Both keys
sign that: igor-verify says of NEW whom it succeeds. What is left of the old budget
goes back; side effects whose outcome nobody knows have to be resolved first.

Whoever has stolen the old key can sign the same. So have it commit to its successor
while it is safe: --commit KEY makes the successor's key, and logs the hash of it
where the witnesses of --witness POLICY see it. Keep KEY elsewhere; NEW gets it with
--key KEY. Without that, a succession helps against wear, and not against theft.

Without --yes or --commit it changes nothing.`,
		Example: `  igor succeed watcher --commit safe/next.key --witness heads.policy
  igor succeed watcher watcher-2 --key safe/next.key --yes`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			old := args[0]
			if commit != "" {
				if len(args) > 1 || policy == "" {
					return errors.New("--commit KEY needs --witness POLICY, and FOLDER alone")
				}
				return commitTo(cmd, old, commit, policy, asJSON)
			}
			if policy != "" {
				return errors.New("--witness is for --commit")
			}
			if len(args) != 2 {
				return errors.New("NEW is missing: the folder of the successor")
			}
			if !yes {
				return failed(&hinted{errors.New("nothing is changed: that ends the old life for good"), "igor succeed " + old + " " + args[1] + " --yes does it"})
			}
			c := runtime.SuccessionConfig{Fork: runtime.ForkConfig{Budget: int64(budget), Log: slog.New(slog.DiscardHandler)}}
			if cmd.Flags().Changed("price") {
				c.Fork.Price = (*int64)(&price)
			}
			var err error
			if keyFile != "" {
				if c.Fork.Key, err = runtime.ReadKey(keyFile); err != nil {
					return failed(err)
				}
			}
			if c.Fork.Origin.WASM, err = readLimited(filepath.Join(old, "agent.wasm"), runtime.MaxWASM); err != nil {
				return failed(err)
			}
			if c.Fork.Origin.Manifest, err = readLimited(filepath.Join(old, "agent.manifest.json"), runtime.MaxManifest); err != nil && !isNone(filepath.Join(old, "agent.manifest.json")) {
				return failed(err)
			}
			c.Fork.Origin.Events = filepath.Join(old, "events")
			if c.Fork.CacheDir = cacheDir; cacheDir == "" {
				c.Fork.CacheDir = userCache()
			}
			node, err := userNodeKey(nodeKey)
			if err != nil {
				return failed(err)
			}
			e := runtime.EngineConfig{Log: c.Fork.Log, CacheDir: c.Fork.CacheDir, Homes: findHomeOfUser, NodeKey: node}
			if ledger != "" {
				l, err := runtime.OpenLedger(ledger)
				if err != nil {
					return failed(err)
				}
				defer l.Close()
				e.Budgets = l
			}
			engine, err := runtime.NewEngine(e)
			if err != nil {
				return failed(err)
			}
			defer engine.Close()
			if alive, err := runtime.Connect(old); err == nil {
				if _, err := alive.Retire(cmd.Context()); err != nil && !errors.Is(err, runtime.ErrStopped) {
					return failed(err)
				}
			} else if !errors.Is(err, runtime.ErrNotRunning) {
				return failed(err)
			}
			s, err := engine.Succeed(cmd.Context(), old, args[1], c)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					DID       string `json:"did"`
					Succeeds  string `json:"succeeds"`
					Head      string `json:"head"` // of the old life
					Tick      uint64 `json:"tick,string"`
					Genesis   string `json:"genesis"`
					Committed bool   `json:"committed"`
					Returned  int64  `json:"returnedMicrocents,string"`
					Folder    string `json:"folder"`
				}{s.DID, s.Origin, s.Old.Head.CID(), s.Old.Tick, s.Forked.Head.CID(), s.Committed, s.Old.Budget, args[1]}))
			}
			committed := "nobody witnessed that the old key had chosen this one: it helps against wear, not theft"
			if s.Committed {
				committed = "the old key had committed to this one: igor-verify --witness POLICY says since when"
			}
			return failed(writeRows(cmd.OutOrStdout(), "agent", s.DID, "succeeds", s.Origin, "after", fmt.Sprintf("tick %d", s.Old.Tick), "given back", verifier.FormatMicrocents(s.Old.Budget), "shown", committed, "next", "igor resume "+args[1]))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&yes, "yes", false, "end the old life, and begin the new one")
	f.StringVar(&keyFile, "key", "", "`FILE` of the successor's key, which was committed to (default: a new one)")
	f.StringVar(&commit, "commit", "", "`FILE` of the successor's key, made if it is absent: have the agent's key commit to it, and log that")
	f.StringVar(&policy, "witness", "", "`POLICY` file of logs and witnesses, for --commit")
	f.Var(&budget, "budget", "`AMOUNT` that the successor has to live on, in currency units")
	f.Var(&price, "price", "`AMOUNT` that a second of its ticks costs (default: as before)")
	f.StringVar(&ledger, "ledger", "", "`FOLDER` of the receipts that the node gave, which takes the rest of the budget back")
	f.StringVar(&nodeKey, "node-key", "", "`FILE` of the key that signs receipts (default: igor/node.key in the user's configuration folder)")
	f.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	f.BoolVar(&asJSON, "json", false, "write what was made as JSON")
	return cmd
}

// commitTo has the key of an agent commit to a successor's.
func commitTo(cmd *cobra.Command, dir, file, policy string, asJSON bool) error {
	log, err := witnessClient(policy)
	if err != nil {
		return failed(err)
	}
	key, err := runtime.ReadKey(filepath.Join(dir, "key"))
	if err != nil {
		return failed(err)
	}
	next, err := runtime.NodeKey(file) // makes one, and never replaces one
	if err != nil {
		return failed(err)
	}
	successor := verifier.PublicKey(next.Public().(ed25519.PublicKey))
	ctx, done := context.WithTimeout(cmd.Context(), time.Minute)
	defer done()
	if _, err := runtime.Commit(ctx, dir, key, successor, log); err != nil {
		return failed(&hinted{fmt.Errorf("the commitment was not logged: %w", err), "do it again; the key in " + file + " stays"})
	}
	if asJSON {
		return failed(writeJSON(cmd.OutOrStdout(), map[string]string{"key": file, "proof": filepath.Join(dir, "successor.tlog-proof")}))
	}
	return failed(writeRows(cmd.OutOrStdout(), "committed", "to the key in "+file, "proof", filepath.Join(dir, "successor.tlog-proof"), "next", "keep "+file+" where whoever steals the agent's key does not find it"))
}

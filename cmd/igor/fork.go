package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
	"igor.dev/verifier"
)

func forkCommand() *cobra.Command {
	var at uint64
	var dir, manifest, cacheDir string
	var past pastFlags
	var asJSON bool
	budget, price := amountFlag(1_000_000), amountFlag(0)
	cmd := &cobra.Command{
		Use:   "fork FOLDER|FILE.car --at TICK",
		Short: "Begin another life with an agent's state after a tick",
		Long: `Fork makes a new agent, in a folder of its own, that begins with the state that
the agent in FOLDER had after a tick. It has a new identity and a budget of its
own, and its event log names where it comes from. FOLDER is only read; its agent
may be running. igor resume runs the fork.

What the agent in FOLDER did outside after that tick, the fork may do too, as
somebody else. Fork says how many side effects those are; a manifest without http
and x402, or with other hosts and recipients (--manifest), keeps it from that.`,
		Example: `  igor fork heartbeat --at 12
  igor resume heartbeat-at-12
  igor replay heartbeat-at-12 --origin heartbeat`,
		Args: operands("FOLDER|FILE.car"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("at") {
				return errors.New("--at TICK is missing")
			}
			origin, done, err := past.find(cmd, args[0])
			if err != nil {
				return failed(err)
			}
			defer done()
			c := runtime.ForkConfig{Origin: origin, At: at, Budget: int64(budget), Log: slog.New(slog.DiscardHandler), CacheDir: cacheDir}
			if cmd.Flags().Changed("price") {
				c.Price = (*int64)(&price)
			}
			if info, err := os.Stat(args[0]); err == nil && info.IsDir() && past.wasm != "" {
				// The origin's own program is there: this one is the fork's.
				c.WASM = origin.WASM
				if c.Origin.WASM, err = readLimited(filepath.Join(args[0], "agent.wasm"), runtime.MaxWASM); err != nil {
					return failed(err)
				}
			}
			if manifest != "" {
				if c.Manifest, err = readLimited(manifest, runtime.MaxManifest); err != nil {
					return failed(err)
				}
			}
			if cacheDir == "" {
				c.CacheDir = userCache()
			}
			if dir == "" {
				abs, err := filepath.Abs(args[0])
				if err != nil {
					return failed(err)
				}
				dir = strings.TrimSuffix(filepath.Base(abs), ".car") + "-at-" + strconv.FormatUint(at, 10)
			}
			ctx, stop := withProgress(cmd)
			f, err := runtime.Fork(ctx, dir, c)
			stop()
			if err != nil {
				return failed(past.named(args[0], manifest, err))
			}
			return printFork(cmd, dir, at, int64(budget), f, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&at, "at", 0, "the `TICK` after which it begins")
	flags.StringVar(&dir, "dir", "", "the fork's new `FOLDER` (default: FOLDER-at-TICK, here)")
	flags.StringVar(&past.wasm, "wasm", "", "`FILE` of the fork's program, such as a mended one (default: agent.wasm in FOLDER)")
	flags.StringVar(&past.events, "events", "", "`FOLDER` of the origin's event log")
	flags.Var(&budget, "budget", "what the fork has to live on, in currency units")
	flags.Var(&price, "price", "what a second of its ticks costs, in currency units (default: as at that tick)")
	flags.StringVar(&manifest, "manifest", "", "the fork's manifest `FILE` (default: that of FOLDER)")
	flags.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	flags.BoolVar(&asJSON, "json", false, "write what was made as JSON")
	return cmd
}

func printFork(cmd *cobra.Command, dir string, at uint64, budget int64, f *runtime.Forked, asJSON bool) error {
	w := cmd.OutOrStdout()
	if asJSON {
		return failed(writeJSON(w, struct {
			DID        string `json:"did"`
			Tick       uint64 `json:"tick,string"`
			Head       string `json:"head"`
			Budget     int64  `json:"budgetMicrocents,string"`
			Folder     string `json:"folder"`
			Origin     string `json:"origin"`
			Checkpoint string `json:"originCheckpoint"`
			Effects    int    `json:"originEffectsAfter"`
			Partial    bool   `json:"originEventsPartial"` // so that there may be more
		}{f.DID, at, f.Head.CID(), budget, dir, f.Origin, f.Checkpoint.CID(), f.Effects, f.Partial}))
	}
	_, err := fmt.Fprintf(w, "%-8s%s\n%-8s%s\n%-8safter tick %d\n%-8s%s\n%-8s%s\n%-8s%s\n%-8s%s\n",
		"agent", f.DID, "origin", f.Origin, "begins", at, "from", f.Checkpoint.CID(), "head", f.Head.CID(),
		"budget", verifier.FormatMicrocents(budget), "folder", dir)
	if err != nil {
		return failed(err)
	}
	if f.Effects > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "igor: side effects that the origin did after tick %d, and that the fork may do again: %d\n"+
			"hint: if it must not, make the fork with a --manifest that does not allow them\n", at, f.Effects)
	}
	if f.Partial {
		fmt.Fprintf(cmd.ErrOrStderr(), "igor: the origin's event log after tick %d is not whole: it may have done more than is counted here\n", at)
	}
	return nil
}

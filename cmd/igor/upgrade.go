package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
)

func upgradeCommand() *cobra.Command {
	var wasm, manifest, cacheDir string
	var moreRights, fromCheckpoint, dryRun, asJSON bool
	var ticks uint64
	cmd := &cobra.Command{
		Use:   "upgrade FOLDER --wasm FILE",
		Short: "Give an agent another program, or another manifest",
		Long: `Upgrade gives the agent in FOLDER another program, while it lives or not. Its life
goes on with it from the state that it has: same identity, budget and history. The
new program has to be able to restore that state, which is tried first. The event
log says that the program changed; the programs of before stay in FOLDER, and
igor replay runs each tick with the one that lived it.

A manifest that grants more than the one before takes --more-rights.

With --dry-run nothing is changed: the new program goes on from the newest
checkpoint on a simulated machine, whose requests and payments reach nobody.`,
		Example: `  igor upgrade heartbeat --wasm heartbeat-2.wasm --dry-run
  igor upgrade heartbeat --wasm heartbeat-2.wasm
  igor effects heartbeat`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wasm == "" && manifest == "" {
				return errors.New("--wasm FILE is missing, or --manifest FILE")
			}
			u, err := runtime.ReadUpgrade(wasm, manifest)
			if err != nil {
				return failed(err)
			}
			u.MoreRights, u.FromCheckpoint = moreRights, fromCheckpoint
			if cacheDir == "" {
				cacheDir = userCache()
			}
			if dryRun {
				return failed(tryUpgrade(cmd, args[0], u, ticks, cacheDir, asJSON))
			}
			r, err := upgrade(cmd.Context(), args[0], u, absolute(wasm), absolute(manifest))
			if err != nil {
				return failed(err)
			}
			return failed(printUpgrade(cmd, args[0], &r, asJSON))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&wasm, "wasm", "", "the new program's `FILE` (default: as before)")
	flags.StringVar(&manifest, "manifest", "", "the new manifest's `FILE` (default: as before)")
	flags.BoolVar(&moreRights, "more-rights", false, "take a manifest that grants more than the one before")
	flags.BoolVar(&fromCheckpoint, "from-checkpoint", false, "go on from the newest checkpoint, as if the ticks after it had never been: for an agent that fails in agent_checkpoint")
	flags.BoolVar(&dryRun, "dry-run", false, "change nothing; simulate the new program")
	flags.Uint64Var(&ticks, "ticks", 10, "let --dry-run simulate `N` ticks")
	flags.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	flags.BoolVar(&asJSON, "json", false, "write what was done as JSON")
	return cmd
}

// upgrade tells the process that runs the agent, or if nobody does, does it itself.
func upgrade(ctx context.Context, dir string, u runtime.Upgrade, wasm, manifest string) (runtime.Upgraded, error) {
	r, err := runtime.Connect(dir)
	switch {
	case err == nil && u.FromCheckpoint:
		return runtime.Upgraded{}, &hinted{errors.New("the agent lives, and goes on from what it did last"), "stop it first, if that is to be forgotten: igor stop " + dir}
	case err == nil:
		return r.Upgrade(ctx, wasm, manifest, u.MoreRights)
	case !errors.Is(err, runtime.ErrNotRunning):
		return runtime.Upgraded{}, err
	}
	engine, err := ownEngine()
	if err != nil {
		return runtime.Upgraded{}, err
	}
	defer engine.Close()
	return engine.UpgradeStopped(ctx, dir, u)
}

// absolute is the absolute path of a file, "" of none.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); path != "" && err == nil {
		return abs
	}
	return path
}

func printUpgrade(cmd *cobra.Command, dir string, r *runtime.Upgraded, asJSON bool) error {
	if asJSON {
		more := r.More
		if more == nil {
			more = []string{}
		}
		return writeJSON(cmd.OutOrStdout(), struct {
			Tick   uint64   `json:"tick,string"`
			WASM   string   `json:"wasmHash"`
			Before string   `json:"wasmHashBefore"`
			More   []string `json:"moreRights"`
		}{r.Tick, r.WASM.String(), r.Before.String(), more})
	}
	rows := []string{"upgraded", dir, "after", "tick " + strconv.FormatUint(r.Tick, 10), "program", r.WASM.String(), "before", r.Before.String()}
	for _, m := range r.More {
		rows = append(rows, "more", m)
	}
	return writeRows(cmd.OutOrStdout(), rows...)
}

func tryUpgrade(cmd *cobra.Command, dir string, u runtime.Upgrade, ticks uint64, cacheDir string, asJSON bool) error {
	old, err := readLimited(filepath.Join(dir, "agent.wasm"), runtime.MaxWASM)
	if err != nil {
		return err
	}
	man, err := readLimited(filepath.Join(dir, "agent.manifest.json"), runtime.MaxManifest)
	if err != nil {
		return err
	}
	past := runtime.Past{Dir: filepath.Join(dir, "history"), WASM: old, Manifest: man, Events: filepath.Join(dir, "events")}
	r, err := runtime.TryUpgrade(cmd.Context(), past, u, runtime.SimulationConfig{Log: slog.New(slog.DiscardHandler), Ticks: ticks, CacheDir: cacheDir})
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(cmd.OutOrStdout(), struct {
			Tick uint64 `json:"tick,string"`
		}{r.Tick})
	}
	return writeRows(cmd.OutOrStdout(), "simulated", "up to tick "+strconv.FormatUint(r.Tick, 10)+"; nothing was changed")
}

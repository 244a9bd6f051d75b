package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/runtime"
)

func replayCommand(code *int) *cobra.Command {
	var wasm, manifest, events, cacheDir string
	var until uint64
	var dump, step, asJSON bool
	c := runtime.ReplayConfig{}
	cmd := &cobra.Command{
		Use:   "replay FOLDER|FILE.car",
		Short: "Run a life again, and compare every state",
		Long: `Replay runs the ticks of a life again, each from what the agent observed in it,
and compares the state of every checkpoint, byte for byte. The program is
agent.wasm of the FOLDER, or --wasm; the event log is its folder events, or that
beside a .car file (FILE.events), or --events.

Exit codes: 0 every state is as recorded, 1 something differs, 3 nothing differs
but something cannot be re-executed, 2 no verdict.`,
		Example: `  igor replay heartbeat
  igor replay heartbeat.car --wasm heartbeat.wasm
  igor replay heartbeat --until 12 --dump > state`,
		Args: operands("FOLDER|FILE.car"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dump && !cmd.Flags().Changed("until") {
				return errors.New("--dump needs --until TICK")
			}
			if cmd.Flags().Changed("until") {
				c.Until = &until
			}
			// Everything from here on is no verdict, and has its exit code.
			refused := func(err error) error {
				if errors.Is(err, runtime.ErrInvalidHistory) {
					return failed(err)
				}
				*code = exitUsage
				return &refusal{plain(err)}
			}
			dir, base, done, err := source(cmd, args[0])
			if err != nil {
				return refused(err)
			}
			defer done()
			first := func(paths ...string) string {
				for _, p := range paths {
					if _, err := os.Stat(p); p != "" && err == nil {
						return p
					}
				}
				return paths[len(paths)-1]
			}
			if c.Events = events; events == "" {
				c.Events = first(base+".events", filepath.Join(args[0], "events"))
			}
			if wasm == "" {
				if wasm = filepath.Join(args[0], "agent.wasm"); base != "" {
					return errors.New("--wasm is missing: a .car file has no program in it")
				}
			}
			if c.WASM, err = readLimited(wasm, runtime.MaxWASM); err != nil {
				return refused(err)
			}
			if manifest == "" {
				manifest = first(filepath.Join(c.Events, "agent.manifest.json"), filepath.Join(args[0], "agent.manifest.json"), strings.TrimSuffix(wasm, ".wasm")+".manifest.json")
			}
			if c.Manifest, err = readLimited(manifest, runtime.MaxManifest); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return refused(err)
			}
			c.Log = slog.New(slog.DiscardHandler)
			if c.CacheDir = cacheDir; cacheDir == "" {
				c.CacheDir = userCache()
			}
			out := cmd.OutOrStdout()
			if step {
				encode := json.NewEncoder(out)
				c.Observe = func(o runtime.Observation) {
					if asJSON {
						encode.Encode(o)
					} else {
						fmt.Fprintf(out, "tick %-6d %-20s -> %-20d %s %s\n", o.Tick, o.Hostcall, o.Return, o.Request, o.Result)
					}
				}
			}
			r, err := runtime.Replay(cmd.Context(), dir, c)
			if err != nil {
				return refused(err)
			}
			*code = r.Verdict.ExitCode()
			switch {
			case dump && r.Verdict == runtime.Replayed:
				_, err = out.Write(r.State)
			case asJSON && !step:
				encode := json.NewEncoder(out)
				encode.SetIndent("", "  ")
				err = encode.Encode(r)
			case dump || step && asJSON:
				err = r.WriteText(cmd.ErrOrStderr())
			default:
				err = r.WriteText(out)
			}
			return failed(err)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&wasm, "wasm", "", "the agent's program (default: agent.wasm in FOLDER)")
	flags.StringVar(&manifest, "manifest", "", "manifest `file` (default: beside the event log, or in FOLDER)")
	flags.StringVar(&events, "events", "", "`folder` of the event log")
	flags.Uint64Var(&c.From, "from", 0, "begin with the checkpoint of this `tick` (default: with the birth)")
	flags.Uint64Var(&until, "until", 0, "end after this `tick` (default: with the newest checkpoint)")
	flags.BoolVar(&dump, "dump", false, "write the state after --until to standard output")
	flags.BoolVar(&step, "step", false, "show every observation")
	flags.BoolVar(&asJSON, "json", false, "write the report as JSON")
	flags.StringVar(&cacheDir, "cache-dir", "", "folder for compiled code (default: igor in the user's cache folder)")
	return cmd
}

// A refusal is an error without a verdict.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// source returns the folder that has the checkpoints. Of a .car file, base is its
// path without the extension, and the folder lives until done.
func source(cmd *cobra.Command, path string) (dir, base string, done func(), err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", nil, err
	}
	if info.IsDir() {
		return path, "", func() {}, nil
	}
	tmp, err := os.MkdirTemp("", "igor-replay-*")
	if err != nil {
		return "", "", nil, err
	}
	done = func() { os.RemoveAll(tmp) }
	dir = filepath.Join(tmp, "agent")
	if _, err := runtime.ImportHistory(cmd.Context(), path, dir); err != nil {
		done()
		return "", "", nil, err
	}
	return dir, strings.TrimSuffix(path, ".car"), done, nil
}

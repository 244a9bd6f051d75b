package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

func replayCommand(code *int) *cobra.Command {
	var past pastFlags
	var origin, cacheDir string
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
			if dump && step {
				return errors.New("--dump and --step write to the same place: ask for one of them")
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
			p, done, err := past.find(cmd, args[0])
			if err != nil {
				return refused(err)
			}
			defer done()
			c.WASM, c.Manifest, c.Events = p.WASM, p.Manifest, p.Events
			if origin != "" {
				o, done, err := (&pastFlags{wasm: past.wasm}).find(cmd, origin)
				if err != nil {
					return refused(err)
				}
				defer done()
				c.Origin = &o
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
						fmt.Fprintln(out, cut(fmt.Sprintf("tick %-6d %-20s %s", o.Tick, o.Hostcall, printable(o.String())), 80))
					}
				}
			}
			ctx, stop := withProgress(cmd)
			if step {
				stop() // what it shows says how far it is
			}
			r, err := runtime.Replay(ctx, p.Dir, c)
			stop()
			if err != nil {
				return refused(err)
			}
			*code = r.Verdict.ExitCode()
			switch {
			case dump && r.Verdict == runtime.Replayed && verifycli.IsTerminal(out):
				_, err = io.WriteString(out, hex.Dump(r.State))
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
	flags.StringVar(&past.wasm, "wasm", "", "the agent's program (default: agent.wasm in FOLDER)")
	flags.StringVar(&past.manifest, "manifest", "", "manifest `file` (default: beside the event log, or in FOLDER)")
	flags.StringVar(&past.events, "events", "", "`folder` of the event log")
	flags.StringVar(&origin, "origin", "", "`FOLDER|FILE.car` that a fork comes from, to check the state that it began with")
	flags.Uint64Var(&c.From, "from", 0, "begin with the checkpoint of this `tick` (default: with the birth)")
	flags.Uint64Var(&until, "until", 0, "end after this `tick` (default: with the newest checkpoint)")
	flags.BoolVar(&dump, "dump", false, "write the state after --until to standard output: its bytes, or in hexadecimal on a terminal")
	flags.BoolVar(&step, "step", false, "show every observation; with --json an object a line, whole but for what is over 256 bytes")
	flags.BoolVar(&asJSON, "json", false, "write the report as JSON")
	flags.StringVar(&cacheDir, "cache-dir", "", "folder for compiled code (default: igor in the user's cache folder)")
	return cmd
}

// cut ends a line that is too long for a terminal.
func cut(line string, columns int) string {
	r := []rune(line)
	if len(r) <= columns {
		return line
	}
	return string(r[:columns-1]) + "…"
}

// A refusal is an error without a verdict.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// pastFlags say where the parts of a life are that is only read.
type pastFlags struct{ wasm, manifest, events string }

// find reads them, where a folder or a .car file has them if nothing else is said.
func (f *pastFlags) find(cmd *cobra.Command, path string) (p runtime.Past, done func(), err error) {
	dir, base, done, err := source(cmd, path)
	if err != nil {
		return p, nil, err
	}
	p.Dir = dir
	defer func() {
		if err != nil {
			done()
		}
	}()
	first := func(paths ...string) string {
		for _, p := range paths {
			if _, err := os.Stat(p); p != "" && err == nil {
				return p
			}
		}
		return paths[len(paths)-1]
	}
	if p.Events = f.events; p.Events == "" {
		p.Events = first(base+".events", filepath.Join(path, "events"))
	}
	wasm, manifest := f.wasm, f.manifest
	if wasm == "" {
		if wasm = filepath.Join(path, "agent.wasm"); base != "" {
			return p, done, errors.New("--wasm is missing: a .car file has no program in it")
		}
	}
	if p.WASM, err = readLimited(wasm, runtime.MaxWASM); err != nil {
		return p, done, err
	}
	if manifest == "" {
		manifest = first(filepath.Join(p.Events, "agent.manifest.json"), filepath.Join(path, "agent.manifest.json"), strings.TrimSuffix(wasm, ".wasm")+".manifest.json")
	}
	if p.Manifest, err = readLimited(manifest, runtime.MaxManifest); errors.Is(err, fs.ErrNotExist) {
		err = nil // and grants nothing
	}
	return p, done, err
}

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
	ctx, stop := withProgress(cmd)
	defer stop()
	if _, err := runtime.ImportHistory(ctx, path, dir); err != nil {
		done()
		return "", "", nil, err
	}
	return dir, strings.TrimSuffix(path, ".car"), done, nil
}

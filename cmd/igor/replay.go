package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
			if dump && step || dump && asJSON {
				return errors.New("--dump writes to the same place as --step and --json: ask for one of them")
			}
			if cmd.Flags().Changed("until") {
				if c.Until = &until; c.From > 0 && until <= c.From {
					return errors.New("--until has to be a tick after --from")
				}
			}
			// Errors from here on are no verdict, and have its exit code.
			refused := func(err error) error {
				if errors.Is(err, runtime.ErrInvalidHistory) {
					return failed(err)
				}
				return &refusal{err}
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
			ctx, stop := withProgress(cmd)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var unshown error
			if step {
				stop() // what it shows says how far it is
				encode := json.NewEncoder(out)
				c.Observe = func(o runtime.Observation) {
					switch {
					case unshown != nil:
						return
					case asJSON:
						unshown = encode.Encode(o)
					default:
						_, unshown = fmt.Fprintln(out, cut(fmt.Sprintf("tick %-6d %-20s %s", o.Tick, o.Hostcall, verifycli.Printable(o.String())), columns))
					}
					if unshown != nil {
						cancel()
					}
				}
			}
			r, err := runtime.Replay(ctx, p.Dir, c)
			stop()
			if unshown != nil {
				return unwritten(unshown)
			}
			if err != nil {
				return refused(past.named(args[0], past.manifest, err))
			}
			*code = r.Verdict.ExitCode()
			switch {
			case dump && r.Verdict == runtime.Replayed && verifycli.IsTerminal(out):
				_, err = io.WriteString(out, hex.Dump(r.State))
			case dump && r.Verdict == runtime.Replayed:
				_, err = out.Write(r.State)
			case asJSON && !step:
				err = writeJSON(out, r)
			case dump || step && asJSON:
				err = writeReplay(cmd.ErrOrStderr(), r)
			default:
				err = writeReplay(out, r)
			}
			return unwritten(err)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&past.wasm, "wasm", "", "`FILE` of the agent's program (default: agent.wasm in FOLDER)")
	flags.StringVar(&past.manifest, "manifest", "", "manifest `FILE` (default: beside the event log, or in FOLDER)")
	flags.StringVar(&past.events, "events", "", "`FOLDER` of the event log")
	flags.StringVar(&origin, "origin", "", "`FOLDER|FILE.car` that a fork comes from, to check the state that it began with")
	flags.Uint64Var(&c.From, "from", 0, "begin with the checkpoint of this `TICK` (default: with the birth)")
	flags.Uint64Var(&until, "until", 0, "end after this `TICK` (default: with the newest checkpoint)")
	flags.BoolVar(&dump, "dump", false, "write the state after --until to standard output: its bytes, or in hexadecimal on a terminal")
	flags.BoolVar(&step, "step", false, "show every observation; with --json an object a line, whole but for what is over 256 bytes")
	flags.BoolVar(&asJSON, "json", false, "write the report as JSON")
	flags.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
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

// writeReplay writes the report for people, the verdict as the last line.
func writeReplay(w io.Writer, r *runtime.ReplayReport) error {
	var b strings.Builder
	p := verifycli.PaletteOf(w)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%s%s\n", p.Paint(verifycli.Dim, fmt.Sprintf("%-8s", label)), fmt.Sprintf(format, args...))
	}
	row("agent", "%s", r.DID)
	if o := r.Origin; o != nil {
		checked := "not checked"
		if o.Checked {
			checked = "checked"
		}
		row("origin", "%s, after tick %d, %s", o.DID, o.Tick, checked)
	}
	row("program", "%s", r.WASM)
	row("lineage", "%s", r.Lineage)
	row("replay", "%d of %s, %d ticks, %d observations, ticks %d to %d", r.Replayed, verifycli.Plural(r.Intervals, "interval"), r.Ticks, r.Observations, r.FirstTick, r.LastTick)
	b.WriteByte('\n')
	const most = 10
	for i, q := range r.Problems {
		if i == most {
			fmt.Fprintf(&b, "and %d more (--json lists all)\n", len(r.Problems)-most)
			break
		}
		style := verifycli.Red
		if q.Incomplete() {
			style = verifycli.Yellow
		}
		fmt.Fprintf(&b, "%s  ticks %d to %d\n", p.Paint(style, q.Code), q.From, q.To)
		for _, line := range verifycli.Wrap(verifycli.Printable(q.Message), columns-2) {
			b.WriteString("  " + line + "\n")
		}
	}
	if len(r.Problems) > 0 {
		b.WriteByte('\n')
	}
	for _, line := range p.Proves(r.Proves, r.DoesNotProve) {
		b.WriteString(line + "\n")
	}
	intervals := verifycli.Plural(r.Intervals, "interval")
	verdict, style := "", verifycli.Red
	switch r.Verdict {
	case runtime.Replayed:
		style = verifycli.Green
		verdict = intervals + ", every state as recorded"
		if r.Origin != nil && !r.Origin.Checked {
			verdict += "; it began as a fork, and its origin was not checked"
		}
	case runtime.NotReplayed:
		style = verifycli.Yellow
		verdict = fmt.Sprintf("%d of %s cannot be re-executed, or the lineage is not whole", r.Intervals-r.Replayed, intervals)
	default:
		verdict = fmt.Sprintf("%s in %s; do not rely on this history", verifycli.Plural(len(r.Problems), "problem"), intervals)
		if !slices.ContainsFunc(r.Problems, func(p runtime.ReplayProblem) bool { return p.Code != "bad-segment" }) {
			verdict = fmt.Sprintf("%s in %s: a file of the event log is damaged, or was changed", verifycli.Plural(len(r.Problems), "problem"), intervals)
		}
	}
	fmt.Fprintf(&b, "\n%s: %s\n", p.Paint(style, string(r.Verdict)), verdict)
	_, err := io.WriteString(w, b.String())
	return err
}

// A refusal is an error without a verdict.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// unwritten is the error of a verdict that could not be written: its exit code must
// not be that of another one.
func unwritten(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return &refusal{&hinted{fmt.Errorf("cannot write the output: %w", err), "there is no verdict without the whole output"}}
}

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
		if p.Events = filepath.Join(path, "events"); base != "" {
			p.Events = base + ".events"
		}
	}
	wasm, manifest := f.wasm, f.manifest
	if wasm == "" {
		if wasm = filepath.Join(path, "agent.wasm"); base != "" {
			return p, done, errors.New("--wasm is missing: a .car file has no program in it")
		}
	}
	if p.WASM, err = readLimited(wasm, runtime.MaxWASM); err != nil {
		if f.wasm == "" && errors.Is(err, fs.ErrNotExist) {
			err = &hinted{fmt.Errorf("%s has no program in it, agent.wasm", path), "name the folder that igor run made, or the program with --wasm"}
		}
		return p, done, err
	}
	if manifest == "" {
		manifest = first(filepath.Join(p.Events, "agent.manifest.json"), filepath.Join(path, "agent.manifest.json"), beside(wasm))
	}
	if p.Manifest, err = readLimited(manifest, runtime.MaxManifest); f.manifest == "" && errors.Is(err, fs.ErrNotExist) {
		if err = nil; f.wasm == "" { // a program by itself may have none; an agent's folder has one
			err = &hinted{&damageFound{path + " has no manifest in it, agent.manifest.json"}, "put it back from a copy, or name it with --manifest"}
		}
	}
	return p, done, err
}

// named is [named] of what a life in path was to be run with.
func (f *pastFlags) named(path, manifest string, err error) error {
	return named(cmp.Or(f.wasm, filepath.Join(path, "agent.wasm")), cmp.Or(manifest, filepath.Join(path, "agent.manifest.json")), err)
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

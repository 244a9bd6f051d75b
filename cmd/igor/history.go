package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
)

func historyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Share a history as one file, or remove what is archived of it",
		Example: `  igor history export heartbeat
  igor history import heartbeat.car copy
  igor history prune heartbeat --archived-in /mnt/archive/heartbeat`,
		Args: cobra.ArbitraryArgs,
		RunE: noCommand,
	}
	cmd.AddCommand(exportCommand(), importCommand(), pruneCommand())
	return cmd
}

func exportCommand() *cobra.Command {
	var out string
	var events, asJSON bool
	cmd := &cobra.Command{
		Use:   "export FOLDER",
		Short: "Write a history as one .car file",
		Long: `Export writes the history in FOLDER as one .car file. If the agent moved between nodes,
the records of that are written too, as FILE.handovers beside it: igor verify and the
verification site look at them there.`,
		Example: `  igor history export heartbeat
  igor history export heartbeat --events -o life.car
  igor history export heartbeat -o - | igor verify -`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "-" {
				if events || asJSON {
					return errors.New("-o - writes the history alone to standard output, without --events and --json")
				}
				return failed(exportTo(cmd, args[0]))
			}
			if out == "" {
				abs, err := filepath.Abs(args[0])
				if err != nil {
					return failed(err)
				}
				out = filepath.Base(abs) + ".car"
			}
			beside := besideCAR(out, verifier.RoleHandOvers)
			moves, err := handOversOf(filepath.Join(args[0], verifier.RoleHandOvers.File()))
			if err != nil {
				return failed(err)
			}
			if _, err := os.Lstat(beside); err == nil {
				return failed(&hinted{fmt.Errorf("%s is there already, and would be taken for a part of this history", beside), "name another file with -o"})
			}
			ctx, stop := withProgress(cmd)
			report, err := runtime.ExportHistory(ctx, args[0], out)
			stop()
			if err != nil {
				return failed(err)
			}
			wrote := sharedAs(out, report)
			if len(moves) > 0 {
				if err := writeNew(beside, moves); err != nil {
					return failed(err)
				}
				wrote.addHandOvers(beside, moves)
			}
			if events {
				wrote.Events = strings.TrimSuffix(out, ".car") + ".events"
				if wrote.Segments, err = runtime.ExportEvents(args[0], wrote.Events); err != nil {
					return failed(err)
				}
			}
			return wrote.print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "write the event log too, into the folder FILE.events beside it: with it, others can run the life again")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was written as JSON")
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `FILE` to write, - for standard output (default: FOLDER.car, here)")
	return cmd
}

// exportTo writes a history to standard output, when it is whole.
func exportTo(cmd *cobra.Command, dir string) error {
	tmp, err := os.MkdirTemp("", "igor-export-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	file := filepath.Join(tmp, "history.car")
	ctx, stop := withProgress(cmd)
	_, err = runtime.ExportHistory(ctx, dir, file)
	stop()
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(cmd.OutOrStdout(), f)
	return err
}

func importCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "import FILE.car FOLDER",
		Short:   "Write the checkpoints of a .car file into a new folder",
		Example: "  igor history import heartbeat.car copy",
		Args:    operands("FILE.car", "FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := withProgress(cmd)
			moves, err := handOversOf(besideCAR(args[0], verifier.RoleHandOvers))
			if err != nil {
				stop()
				return failed(err)
			}
			report, err := runtime.ImportHistory(ctx, args[0], args[1])
			stop()
			if err != nil {
				return failed(err)
			}
			wrote := sharedAs(args[1], report)
			if len(moves) > 0 {
				to := filepath.Join(args[1], verifier.RoleHandOvers.File())
				if err := writeNew(to, moves); err != nil {
					return failed(err)
				}
				wrote.addHandOvers(to, moves)
			}
			return wrote.print(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was written as JSON")
	return cmd
}

// besideCAR is what a file of a role is called beside a CAR.
func besideCAR(car string, role verifier.Role) string {
	if ext := filepath.Ext(car); strings.EqualFold(ext, ".car") {
		car = strings.TrimSuffix(car, ext)
	}
	return car + role.Ext()
}

// handOversOf returns what a file of hand-over records has, nil if there is none.
func handOversOf(path string) ([]byte, error) {
	f, err := history.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, verifier.RoleHandOvers.MaxSize()+1))
	if err == nil {
		if _, err = verifier.ParseHandOvers(b); err != nil {
			return nil, &hinted{fmt.Errorf("%s: %w", path, err), "put it back from a copy, or move it elsewhere to go on without the records of who ran the agent"}
		}
	}
	return b, err
}

// writeNew writes a file that is to be shared. There must be none.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// shared is a history that was written.
type shared struct {
	Wrote       string `json:"wrote"`
	Checkpoints int    `json:"checkpoints"`
	Verdict     string `json:"verdict"`
	Head        string `json:"head,omitempty"`
	Events      string `json:"events,omitempty"`
	Segments    int    `json:"segments,omitempty"`
	HandOvers   string `json:"handovers,omitempty"`
	Moves       int    `json:"moves,omitempty"`
}

func (s *shared) addHandOvers(path string, records []byte) {
	s.HandOvers, s.Moves = path, len(records)/verifier.HandOverSize
}

func sharedAs(where string, r *verifier.Report) *shared {
	n, _ := r.Checkpoints()
	s := &shared{Wrote: where, Checkpoints: n, Verdict: r.Verdict().String()}
	if head, ok := r.Head(); ok {
		s.Head = head.CID()
	}
	return s
}

func (s *shared) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return failed(writeJSON(w, s))
	}
	_, err := fmt.Fprintf(w, "%-8s%s\n%-8s%s, %s\n", "wrote", s.Wrote, "history", verifycli.Plural(s.Checkpoints, "checkpoint"), s.Verdict)
	if err == nil && s.Head != "" {
		_, err = fmt.Fprintf(w, "%-8s%s\n", "head", s.Head)
	}
	if err == nil && s.Events != "" {
		_, err = fmt.Fprintf(w, "%-8s%s, %s\n", "events", s.Events, verifycli.Plural(s.Segments, "segment"))
	}
	if err == nil && s.HandOvers != "" {
		_, err = fmt.Fprintf(w, "%-8s%s, %s\n", "moved", s.HandOvers, verifycli.Plural(s.Moves, "hand-over"))
	}
	return failed(err)
}

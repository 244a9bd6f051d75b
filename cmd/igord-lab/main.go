// Igord-lab is a laboratory for protocol developers: it runs nodes on a network on this
// machine by a script, has things go wrong, and checks what came of it. See docs/lab.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"igor.dev/internal/manual"
	"igor.dev/internal/verifycli"
	"igor.dev/lab"
	"igor.dev/verifier"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errWrong says that something is wrong with what came of a run, which was shown.
var errWrong = errors.New("something is wrong with what came of it")

// Exit codes: 0 all is well, 1 something is wrong with what came of it, 2 it could not be
// run.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "igord-lab: %s\n", verifycli.Printable(err.Error()))
	if errors.Is(err, errWrong) {
		return 1
	}
	return 2
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "igord-lab",
		Short: "Run nodes by a script, have things go wrong, and check what came of it",
		Long: `Igord-lab is a laboratory for protocol developers. It runs nodes, each a process on a
host of its own, on a network on this machine, or simulated ones in simulated time;
agents live there, are moved, and their nodes are killed, paused and cut off, as a
script says. A run is recorded. At its end
every history is verified, each life run again, and it is checked that nothing was
done twice, and that where agents were said to live is linearizable.`,
		Example: `  igord-lab run docs/lab/round.yaml --out round
  igord-lab run round --out again
  igord-lab check round`,
		Version:       verifier.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(runCommand(), checkCommand())
	manual.Narrow(root)
	return root
}

func runCommand() *cobra.Command {
	var c lab.Config
	var seed uint64
	var quiet bool
	cmd := &cobra.Command{
		Use:   "run SCRIPT",
		Short: "Run a script, or a recording again",
		Long: `Run runs SCRIPT, or that of a recording again. Nodes that are processes need Linux, root
and iproute2, and a clone with Go unless igor-node is given; simulated ones nothing. What
happens by chance is what the seed says.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if c.Script, err = lab.ReadScript(args[0]); err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				c.Script.Seed = seed
			}
			if c.Dir == "" {
				if c.Dir, err = os.MkdirTemp("", "igord-lab-"); err != nil {
					return err
				}
			}
			if c.Program == "" && !c.Script.Simulated {
				built, err := os.MkdirTemp("", "igord-lab-build-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(built)
				if c.Program, err = lab.Build(cmd.Context(), c.Script, built); err != nil {
					return err
				}
			}
			if c.Program, err = filepath.Abs(c.Program); err != nil {
				return err
			}
			if !quiet {
				c.Say = func(format string, args ...any) {
					fmt.Fprintln(cmd.ErrOrStderr(), verifycli.Printable(fmt.Sprintf(format, args...)))
				}
			}
			r, err := lab.Run(cmd.Context(), c)
			if err != nil {
				return fmt.Errorf("%w; what there is of the run is in %s", err, c.Dir)
			}
			return show(cmd, r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Dir, "out", "", "`FOLDER` of the recording, absent or empty (default: a new one)")
	f.StringVar(&c.Program, "node", "", "`FILE` of igor-node (default: one that is built of this clone)")
	f.StringVar(&c.Cache, "cache-dir", "", "`FOLDER` for compiled code (default: in the recording)")
	f.Uint64Var(&seed, "seed", 0, "`N` that says what happens by chance (default: the script's)")
	f.BoolVarP(&quiet, "quiet", "q", false, "do not say what is done")
	return cmd
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FOLDER",
		Short: "Look again at what came of a recorded run, and draw it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := lab.Check(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return show(cmd, r)
		},
	}
}

func show(cmd *cobra.Command, r *lab.Result) error {
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\nrecorded in %s\n", r.Summary(), r.Dir); err != nil {
		return err
	}
	if len(r.Problems()) > 0 {
		return errWrong
	}
	return nil
}

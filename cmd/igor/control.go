package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// aliveOr asks the process that runs the agent in dir, or if nobody does, has the life
// opened without a tick and asked.
func aliveOr(ctx context.Context, dir string, alive func(*runtime.Remote) error, stopped func(context.Context, *runtime.Agent) error) (lives bool, err error) {
	r, err := runtime.Connect(dir)
	if err == nil {
		return true, alive(r)
	}
	if !errors.Is(err, runtime.ErrNotRunning) {
		return false, err
	}
	engine, err := ownEngine()
	if err != nil {
		return false, err
	}
	defer engine.Close()
	_, err = engine.Visit(ctx, dir, stopped)
	return false, err
}

// ownEngine makes an engine for an agent that nobody runs.
func ownEngine() (*runtime.Engine, error) {
	return runtime.NewEngine(runtime.EngineConfig{Log: slog.New(slog.DiscardHandler), CacheDir: userCache(), Homes: findHomeOfUser})
}

// writeRows writes a name and what there is to say of it on a line each.
func writeRows(w io.Writer, rows ...string) error {
	var b strings.Builder
	for i := 0; i+1 < len(rows); i += 2 {
		name, text := rows[i], verifycli.Printable(rows[i+1])
		lines := []string{text}
		if all := verifycli.Wrap(text, columns-12); len(all) > 1 && strings.Join(all, " ") == text { // no word is broken: somebody may copy it
			lines = all
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "%-11s %s\n", name, line)
			name = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func aliveOrStopped(yes bool) string {
	if yes {
		return "alive"
	}
	return "stopped"
}

// moneyCommand makes a command that changes what an agent has, or pays, by an amount that
// is not less than least.
func moneyCommand(cmd *cobra.Command, least int64, alive func(*runtime.Remote, context.Context, int64) (runtime.Status, error), stopped func(*runtime.Agent, context.Context, int64) (runtime.Status, error)) *cobra.Command {
	var asJSON bool
	cmd.Args = operands("FOLDER", "AMOUNT")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		amount, err := runtime.ParseAmount(args[1])
		if err != nil {
			return fmt.Errorf("AMOUNT %s: %w", args[1], err)
		}
		if amount < least {
			return fmt.Errorf("AMOUNT %s: it has to be more than 0", args[1])
		}
		var s runtime.Status
		lived, err := aliveOr(cmd.Context(), args[0],
			func(r *runtime.Remote) (err error) { s, err = alive(r, cmd.Context(), amount); return err },
			func(ctx context.Context, a *runtime.Agent) (err error) { s, err = stopped(a, ctx, amount); return err })
		if err != nil {
			return failed(err)
		}
		out := cmd.OutOrStdout()
		if asJSON {
			return failed(writeJSON(out, struct {
				DID    string `json:"did"`
				Alive  bool   `json:"alive"`
				Tick   uint64 `json:"tick,string"`
				Budget int64  `json:"budgetMicrocents,string"`
				Price  int64  `json:"priceMicrocentsPerSecond,string"`
			}{s.DID, lived, s.Tick, s.Budget, s.Price}))
		}
		return failed(writeRows(out, "agent", s.DID+", "+aliveOrStopped(lived), "budget", verifier.FormatMicrocents(s.Budget),
			"price", verifier.FormatMicrocents(s.Price)+" a second"))
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what it has now as JSON")
	return cmd
}

func topUpCommand() *cobra.Command {
	return moneyCommand(&cobra.Command{
		Use:   "top-up FOLDER AMOUNT",
		Short: "Give an agent more to live on",
		Long: `Top-up adds AMOUNT, in currency units, to the budget of the agent in FOLDER, which
may be alive. It is durable when the command ends. An agent that is stopped has it
when it is resumed.`,
		Example: "  igor top-up watcher 5",
	}, 1, (*runtime.Remote).TopUp, (*runtime.Agent).TopUp)
}

func priceCommand() *cobra.Command {
	return moneyCommand(&cobra.Command{
		Use:   "price FOLDER AMOUNT",
		Short: "Set what a second of an agent's ticks costs",
		Long: `Price sets what a second of the ticks of the agent in FOLDER costs from now on, in
currency units. The agent may be alive.`,
		Example: "  igor price watcher 0.002",
	}, 0, (*runtime.Remote).SetPrice, (*runtime.Agent).SetPrice)
}

func checkpointCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "checkpoint FOLDER",
		Short: "Make a checkpoint of a living agent now",
		Long: `Checkpoint has the agent in FOLDER, which is alive, make a checkpoint between two
ticks, and ends when it is durable. If no tick was since the newest one, it is that.`,
		Example: "  igor checkpoint watcher",
		Args:    operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := connect(args[0])
			if err != nil {
				return failed(err)
			}
			head, tick, err := r.Checkpoint(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					Tick uint64 `json:"tick,string"`
					Head string `json:"head"`
				}{tick, head.CID()}))
			}
			return failed(writeRows(cmd.OutOrStdout(), "tick", fmt.Sprint(tick), "head", head.CID()))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write which it is as JSON")
	return cmd
}

// connect reaches an agent that has to be alive.
func connect(dir string) (*runtime.Remote, error) {
	r, err := runtime.Connect(dir)
	if _, over, _ := runtime.ReadRetirement(dir); over && errors.Is(err, runtime.ErrNotRunning) {
		return nil, &hinted{fmt.Errorf("%s: %w", dir, runtime.ErrRetired), "igor fork " + dir + " makes another agent of its state"}
	}
	if errors.Is(err, runtime.ErrNotRunning) {
		err = &hinted{err, "igor resume " + dir + " goes on with its life"}
	}
	return r, err
}

func stopCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stop FOLDER…",
		Short: "Stop living agents, each with a last checkpoint",
		Long: `Stop has the agents in the FOLDERs end after the tick that runs, with a last
checkpoint, and waits for that. An agent that does not run is stopped already. One
that igor up runs stays stopped until igor up is started again.`,
		Example: "  igor stop watcher",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("FOLDER is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			type ended struct {
				Folder string         `json:"folder"`
				Ran    bool           `json:"ran"` // and does not any more
				Reason runtime.Reason `json:"reason,omitempty"`
				Tick   uint64         `json:"tick,string,omitempty"`
				Head   string         `json:"head,omitempty"`
			}
			var all []ended
			var first error
			for _, dir := range args {
				r, err := runtime.Connect(dir)
				e := ended{Folder: dir}
				if err == nil {
					result, failed := r.Stop(cmd.Context())
					e.Ran, e.Reason, e.Tick, err = true, result.Reason, result.Tick, failed
					if !result.Head.IsZero() {
						e.Head = result.Head.CID()
					}
				} else if errors.Is(err, runtime.ErrNotRunning) {
					_, err = runtime.NewestCheckpoint(dir) // or it is no agent
				}
				if err != nil {
					first = errors.Join(first, err)
					continue
				}
				all = append(all, e)
				if asJSON {
					continue
				}
				state := "does not run"
				if e.Ran {
					state = fmt.Sprintf("stopped at tick %d: %s", e.Tick, reason(e.Reason))
				}
				if err := writeRows(cmd.OutOrStdout(), verifycli.Printable(dir), state); err != nil {
					return failed(err)
				}
			}
			if asJSON {
				if err := writeJSON(cmd.OutOrStdout(), append([]ended{}, all...)); err != nil {
					return failed(err)
				}
			}
			return failed(first)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write how each ended as JSON")
	return cmd
}

func pauseCommand() *cobra.Command {
	return turnCommand(&cobra.Command{
		Use:   "pause FOLDER",
		Short: "Have a living agent not tick for a while",
		Long: `Pause has the agent in FOLDER, which is alive, make a checkpoint and not tick until
igor continue. It stays in memory, and can be given money, or stopped.`,
		Example: "  igor pause watcher\n  igor continue watcher",
	}, "paused", (*runtime.Remote).Pause)
}

func continueCommand() *cobra.Command {
	return turnCommand(&cobra.Command{
		Use:     "continue FOLDER",
		Short:   "End the pause of an agent",
		Long:    "Continue has the agent in FOLDER, which is alive and paused, tick again.",
		Example: "  igor continue watcher",
	}, "alive", (*runtime.Remote).Continue)
}

// turnCommand makes a command that has a living agent be something else.
func turnCommand(cmd *cobra.Command, is string, turn func(*runtime.Remote, context.Context) error) *cobra.Command {
	var asJSON bool
	cmd.Args = operands("FOLDER")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := connect(args[0])
		if err == nil {
			err = turn(r, cmd.Context())
		}
		if err != nil {
			return failed(err)
		}
		if asJSON {
			return failed(writeJSON(cmd.OutOrStdout(), struct {
				Folder string `json:"folder"`
				State  string `json:"state"`
			}{args[0], is}))
		}
		return failed(writeRows(cmd.OutOrStdout(), args[0], is))
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what it is now as JSON")
	return cmd
}

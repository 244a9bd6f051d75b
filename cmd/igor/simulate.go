package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func simulateCommand() *cobra.Command {
	// More often than a real life, so that what an agent forgets at a checkpoint shows soon.
	c := runtime.SimulationConfig{CheckpointEvery: runtime.Every{Time: 5 * time.Second}}
	var manifest, recording, nodes, cacheDir string
	var quiet, asJSON bool
	var maxFailed uint
	budget, price := defaultBudget, defaultPrice
	cmd := &cobra.Command{
		Use:   "simulate AGENT.wasm",
		Short: "Live an agent's life in advance, the same at every run",
		Long: `Simulate lives a life of the agent on a simulated machine. Its clock starts on
2022-01-01 and never waits, a tick takes a millisecond of it, payments go to a
simulated endpoint that settles most, and HTTP requests are answered from
a recording (--http) or fail. All chance follows from --seed: the same agent and
flags give the same life on every machine, down to its head. So does its key:
a simulated identity is nobody's.

With --nodes the agent lives on simulated nodes, and goes on where it asks to be
moved, at that node's price.

A tick that fails is passed over as in a real life (--max-failed-ticks), and the
agent is told in the next one what it did. The simulation then exits 1 all the same.

At the end it says what the ticks cost: fuel, counted as it is in a real life, and
money at --price. A manifest's max_tick_ms is a million units for each millisecond.

With --verify the life is run again twice: as it was, and with a fresh instance
for each tick, which finds what the agent forgets to put into its state.

Exit codes: 0 done, 1 a tick failed or the life is another one when run again,
2 usage.`,
		Example: `  igor simulate demo.wasm --ticks 1000 --verify
  igor simulate demo.wasm --crash-every 10 --http answers.json`,
		Args: operands("AGENT.wasm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.Ticks == 0 {
				return errors.New("--ticks has to be at least 1")
			}
			b, err := readBirth(args[0], manifest)
			if err != nil {
				return failed(err)
			}
			b.Budget, b.Price = int64(budget), int64(price)
			if recording != "" {
				if c.HTTP, err = readLimited(recording, runtime.MaxRecording); err != nil {
					return failed(err)
				}
			}
			if nodes != "" {
				if c.Nodes, err = readLimited(nodes, runtime.MaxSimulatedNodes); err != nil {
					return failed(err)
				}
			}
			options := &slog.HandlerOptions{}
			if quiet {
				options.Level = slog.LevelError
			}
			if c.MaxFailedTicks = int(min(maxFailed, math.MaxInt32)); c.MaxFailedTicks == 0 {
				c.MaxFailedTicks = -1
			}
			c.Log = slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), options))
			if c.CacheDir = cacheDir; !cmd.Flags().Changed("cache-dir") {
				c.CacheDir = userCache()
			}
			r, err := runtime.Simulate(cmd.Context(), b, c)
			if err != nil {
				return failed(named(args[0], manifest, err))
			}
			if err := printSimulation(cmd.OutOrStdout(), &c, &r, int64(price), asJSON); err != nil {
				return failed(err)
			}
			if err := r.Problem(); err != nil || r.Failed == 0 {
				return failed(err)
			}
			return failed(&hinted{fmt.Errorf("%s failed", verifycli.Plural(r.Failed, "tick")), "the log says which and why; the agent went on from the state before each"})
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&c.Ticks, "ticks", 100, "`N` ticks to live")
	flags.Uint64Var(&c.Seed, "seed", 1, "`NUMBER` that all chance follows from")
	flags.Var((*everyFlag)(&c.CheckpointEvery), "checkpoint-every", "`N|TIME`: checkpoint after so many ticks, or after so much simulated time")
	flags.Uint64Var(&c.CrashEvery, "crash-every", 0, "kill the machine in every `N`th tick, and go on 10 s later (default: never)")
	flags.UintVar(&maxFailed, "max-failed-ticks", runtime.DefaultMaxFailedTicks, "`N`: end when so many ticks in a row fail, 0 for never")
	flags.StringVar(&recording, "http", "", "`FILE` of recorded answers, see docs/agents.md (default: HTTP requests fail)")
	flags.StringVar(&nodes, "nodes", "", "`FILE` of nodes between which the agent may move, see docs/agents.md (default: it is on none)")
	flags.BoolVar(&c.Verify, "verify", false, "run the life again, and compare every state")
	flags.StringVar(&c.Dir, "dir", "", "keep the life in this new `FOLDER`, without its key (default: it is not kept)")
	flags.StringVar(&manifest, "manifest", "", "manifest `FILE` (default: AGENT.manifest.json beside AGENT.wasm)")
	flags.Var(&budget, "budget", "what the agent has to live on, in currency units")
	flags.Var(&price, "price", "what a second of its ticks costs, in currency units")
	flags.StringVar(&cacheDir, "cache-dir", "", "`FOLDER` for compiled code (default: igor in the user's cache folder)")
	flags.BoolVar(&asJSON, "json", false, "write how the simulation ended as JSON")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show neither what the agent says nor what befalls it")
	return cmd
}

func printSimulation(w io.Writer, c *runtime.SimulationConfig, r *runtime.SimulationResult, price int64, asJSON bool) error {
	if asJSON {
		out := struct {
			DID         string                `json:"did"`
			Seed        uint64                `json:"seed,string"`
			Reason      runtime.Reason        `json:"reason"`
			Tick        uint64                `json:"tick,string"`
			Head        string                `json:"head"`
			Budget      int64                 `json:"budgetMicrocents,string"`
			Checkpoints int                   `json:"checkpoints"`
			Time        string                `json:"time"` // simulated
			Crashes     int                   `json:"crashes"`
			Requests    int                   `json:"requests"`
			Failed      int                   `json:"failedTicks"`
			Told        int                   `json:"told"` // findings, of what those did
			Payments    map[string]int        `json:"payments"`
			Moves       int                   `json:"moves"`
			Node        string                `json:"node,omitempty"`
			Costs       *runtime.Costs        `json:"costs,omitempty"`
			Folder      string                `json:"folder,omitempty"`
			Replayed    *runtime.ReplayReport `json:"replayed,omitempty"`
			Restarted   *runtime.ReplayReport `json:"restarted,omitempty"`
		}{r.DID, c.Seed, r.Reason, r.Tick, r.Head.CID(), r.Budget, r.Checkpoints, r.Time.String(), r.Crashes, r.Requests, r.Failed, r.Told, r.Payments, r.Moves, r.Node, r.Costs, c.Dir, r.Replayed, r.Restarted}
		return writeJSON(w, out)
	}
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s"+format+"\n", append([]any{name}, args...)...)
	}
	row("agent", "%s", r.DID)
	row("key", "made of seed %d: it is nobody's", c.Seed)
	row("stopped", "at tick %d, after %s: %s", r.Tick, r.Time, reason(r.Reason))
	row("head", "%s", r.Head.CID())
	row("budget", "%s", verifier.FormatMicrocents(r.Budget))
	if used := r.Costs; used != nil && used.Ticks > 0 {
		row("fuel", "%s a tick, at most %s (tick %d)", units(used.Fuel/used.Ticks), units(used.MostFuel), used.MostFuelTick)
		row("cost", "%s for its ticks, at %s for 10^9 units", verifier.FormatMicrocents(used.TimeCost), verifier.FormatMicrocents(price))
	}
	if c.CrashEvery > 0 {
		row("crashes", "%d", r.Crashes)
	}
	if r.Failed > 0 {
		row("failed", "%s; the agent was told of %s of theirs", verifycli.Plural(r.Failed, "tick"), verifycli.Plural(r.Told, "side effect"))
	}
	if len(r.Payments) > 0 {
		var all []string
		for _, outcome := range slices.Sorted(maps.Keys(r.Payments)) {
			all = append(all, fmt.Sprintf("%d %s", r.Payments[outcome], outcome))
		}
		row("paid", "%s", strings.Join(all, ", "))
	}
	if c.HTTP != nil {
		row("http", "%d requests answered", r.Requests)
	}
	if c.Nodes != nil {
		row("moved", "%s, and is on %s", verifycli.Plural(r.Moves, "time"), r.Node)
	}
	if c.Dir != "" {
		row("folder", "%s", c.Dir)
	}
	if r.Replayed != nil && r.Problem() == nil {
		if r.Restarted.Verdict == runtime.Replayed {
			fmt.Fprintf(&b, "\nverified: %d checkpoints; run again as it was, and with a fresh instance for\neach of its %d ticks, every state is the same\n", r.Checkpoints, r.Tick)
		} else {
			fmt.Fprintf(&b, "\nverified: %d checkpoints; run again as it was, every state is the same; it\nobserves in agent_resume, and was not run with a fresh instance for each tick\n", r.Checkpoints)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func inspectCommand(code *int) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect FILE|FOLDER",
		Short: "Show a checkpoint field by field, and what it cost",
		Long: `Inspect shows one checkpoint, field by field: of an agent's FOLDER the newest one.
In an agent's folder it also shows what the ticks since the checkpoint before it
cost, and those of its life so far, as the event log has it: the agent's hostcalls
by capability, and its time. How long each hostcall took is not recorded; igor run
logs it at its end.

Exit codes: 0 the checkpoint is authentic, 1 it is not, 2 it could not be read.`,
		Example: `  igor inspect heartbeat
  igor inspect heartbeat/history/0000000005.ckpt --json`,
		Args: operands("FILE|FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if path, err = runtime.NewestCheckpoint(path); err != nil {
					return &refusal{&hinted{err, "name an agent's folder, or a checkpoint"}}
				}
			}
			b, err := readCheckpoint(path, cmd.InOrStdin())
			if err != nil {
				return &refusal{&hinted{err, "name one checkpoint; igor verify reads histories"}}
			}
			c := costsOf(cmd, path)
			out := cmd.OutOrStdout()
			if asJSON {
				f := verifier.Examine(b)
				if !verifycli.Authentic(&f) {
					*code = exitFailed
				}
				return unwritten(writeJSON(out, inspectionOf(path, &f, c)))
			}
			authentic, err := verifycli.WriteInspection(out, b)
			if !authentic {
				*code = exitFailed
			}
			if err == nil {
				err = c.write(out)
			}
			return unwritten(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func readCheckpoint(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return limited(path, stdin, verifier.MaxCheckpointSize)
	}
	return readLimited(path, verifier.MaxCheckpointSize)
}

// costs is what the event log beside a checkpoint has of it.
type costs struct {
	Interval *runtime.Costs `json:"interval,omitempty"`
	Life     *runtime.Costs `json:"life,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// costsOf returns nil if there is no event log beside the checkpoint.
func costsOf(cmd *cobra.Command, path string) *costs {
	ctx, stop := withProgress(cmd)
	interval, life, err := runtime.CostsOf(ctx, path)
	stop()
	switch {
	case errors.Is(err, runtime.ErrNoEventLog):
		return nil
	case err != nil:
		return &costs{Error: plain(err).Error()}
	}
	return &costs{Interval: &interval, Life: &life}
}

// write writes the costs for people.
func (c *costs) write(w io.Writer) error {
	if c == nil {
		return nil
	}
	if c.Error != "" {
		_, err := fmt.Fprintf(w, "\ncosts: not known: %s\n", verifycli.Printable(c.Error))
		return err
	}
	in, life := c.Interval, c.Life
	const row, wide = "%-8s %8s %11s %14s %8s %11s %14s\n", "%-8s %35s %35s\n"
	var b strings.Builder
	span := func(c *runtime.Costs) string {
		if c.FirstTick == c.LastTick {
			return fmt.Sprintf("tick %d", c.LastTick)
		}
		return fmt.Sprintf("ticks %d to %d", c.FirstTick, c.LastTick)
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	money := verifier.FormatMicrocents
	fmt.Fprintf(&b, "\n"+wide, "costs", span(in), "life: "+span(life))
	fmt.Fprintf(&b, row, "", "calls", "bytes", "spent", "calls", "bytes", "spent")
	for _, u := range life.Hostcalls { // has all that the interval has
		var here runtime.CallCosts
		for _, h := range in.Hostcalls {
			if h.Capability == u.Capability {
				here = h
			}
		}
		fmt.Fprintf(&b, row, u.Capability, number(here.Calls), number(here.Bytes), money(here.Spent), number(u.Calls), number(u.Bytes), money(u.Spent))
	}
	fmt.Fprintf(&b, row, "ticks", number(in.Ticks), short(in.Time), money(in.TimeCost), number(life.Ticks), short(life.Time), money(life.TimeCost))
	if life.Fuel > 0 {
		fmt.Fprintf(&b, wide, "fuel", units(in.Fuel), units(life.Fuel))
		fmt.Fprintf(&b, wide, "", mostFuel(in), mostFuel(life))
	}
	if life.Stored > 0 {
		fmt.Fprintf(&b, row, "stored", "", number(in.Stored), money(in.StoredCost), "", number(life.Stored), money(life.StoredCost))
	}
	fmt.Fprintf(&b, wide, "total", money(in.TimeCost+in.StoredCost+in.Spent), money(life.TimeCost+life.StoredCost+life.Spent))
	fmt.Fprintf(&b, wide+"\n", "added", money(in.Added), money(life.Added))
	if len(life.Missing) == 0 {
		fmt.Fprintf(&b, "As the agent's key signed it with its checkpoints: %s.\n", verifycli.Plural(life.Intervals, "interval"))
	} else {
		m := life.Missing[0]
		for _, line := range verifycli.Wrap(fmt.Sprintf("Not counted: %d of %s, the first ticks %d to %d: %s.",
			len(life.Missing), verifycli.Plural(life.Intervals, "interval"), m.FirstTick, m.LastTick, verifycli.Printable(m.Reason)), 80) {
			b.WriteString(line + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// units says a number of units of fuel.
func units(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " units"
}

// mostFuel says which tick used the most.
func mostFuel(c *runtime.Costs) string {
	return fmt.Sprintf("tick %d %s", c.MostFuelTick, units(c.MostFuel))
}

func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// An inspection is a checkpoint in JSON.
type inspection struct {
	Format          string   `json:"format"`
	File            string   `json:"file"`
	CID             string   `json:"cid"`
	Bytes           uint32   `json:"bytes"`
	Authentic       bool     `json:"authentic"` // as igor-verify inspect has it
	Problems        []string `json:"problems"`
	Version         byte     `json:"version"`
	Tick            string   `json:"tick,omitempty"`
	DID             string   `json:"did,omitempty"`
	Previous        string   `json:"previous,omitempty"` // "" = it is a genesis
	WASMHash        string   `json:"wasmHash,omitempty"`
	Budget          string   `json:"budgetMicrocents,omitempty"`
	PricePerSecond  string   `json:"pricePerSecondMicrocents,omitempty"`
	MajorVersion    string   `json:"majorVersion,omitempty"`
	LeaseGeneration string   `json:"leaseGeneration,omitempty"`
	LeaseExpiry     string   `json:"leaseExpiry,omitempty"`
	Costs           *costs   `json:"costs,omitempty"` // absent without an event log beside it
}

func inspectionOf(path string, f *verifier.Finding, c *costs) *inspection {
	i := &inspection{Format: "igor-inspection/1", File: path, CID: f.ContentHash.CID(), Bytes: f.Size, Authentic: verifycli.Authentic(f),
		Problems: verifycli.Problems(f), Version: f.Version, Costs: c}
	if !f.Parsed() {
		return i
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	i.Tick, i.WASMHash = number(f.TickNumber), f.WASMHash.String()
	i.Budget, i.PricePerSecond = strconv.FormatInt(f.Budget, 10), strconv.FormatInt(f.PricePerSecond, 10)
	if f.Version == verifier.Version4 {
		i.DID = f.AgentPubKey.DID()
		if !f.PrevHash.IsZero() {
			i.Previous = f.PrevHash.CID()
		}
	}
	if f.Version >= verifier.Version3 {
		i.MajorVersion, i.LeaseGeneration, i.LeaseExpiry = number(f.MajorVersion), number(f.LeaseGeneration), strconv.FormatInt(f.LeaseExpiry, 10)
	}
	return i
}

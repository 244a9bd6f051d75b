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

func effectsCommand() *cobra.Command {
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "effects FOLDER",
		Short: "List the side effects whose outcome nobody knows",
		Long: `Effects lists the side effects in an agent's journal that have begun and have no
outcome: whether they happened, only the outside world knows. Find out there, and
say so with igor effects confirm or igor effects compensate. An HTTP request carried
its ID as Idempotency-Key. The agent may be alive, and FOLDER may be a copy that
cannot be written.`,
		Example: `  igor effects watcher
  igor effects confirm watcher 3f2a91c0 --note "invoice 812 is paid"
  igor effects compensate watcher 77b0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noCommand(cmd, args)
			}
			return operands("FOLDER")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			effects, err := runtime.Effects(cmd.Context(), args[0])
			if err != nil {
				return failed(err)
			}
			shown := []runtime.Effect{}
			for _, e := range effects {
				if all || !e.Over() {
					shown = append(shown, e)
				}
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return failed(writeJSON(out, shown))
			}
			for _, e := range shown {
				if err := writeEffect(out, &e); err != nil {
					return failed(err)
				}
			}
			if len(shown) == 0 {
				_, err = fmt.Fprintln(out, "none")
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list the others too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.AddCommand(
		resolveCommand("confirm", "Say that an effect happened: what it held is spent", true),
		resolveCommand("compensate", "Say that an effect did not happen: its hold goes back", false),
		cancelCommand(),
		repairCommand(),
	)
	return cmd
}

func resolveCommand(name, short string, happened bool) *cobra.Command {
	var note string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     name + " FOLDER ID",
		Short:   short,
		Long:    short + map[bool]string{false: ". So is an effect that was undone outside"}[happened] + ". ID is that of igor effects, or its beginning.",
		Example: fmt.Sprintf("  igor effects %s watcher 3f2a91c0 --note \"asked the shop\"", name),
		Args:    operands("FOLDER", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := resolve(cmd.Context(), args[0], args[1], happened, note)
			if err != nil {
				return failed(err)
			}
			state := map[bool]string{true: "confirmed", false: "compensated"}[happened]
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), struct {
					ID    string `json:"id"`
					State string `json:"state"`
				}{id, state}))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), state, id)
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what it is now as JSON")
	cmd.Flags().StringVar(&note, "note", "", "a `TEXT` of what is known, for people")
	return cmd
}

func cancelCommand() *cobra.Command {
	var payments string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "cancel FOLDER ID --payments FILE",
		Short: "Sign that an unresolved payment by x402 is never made",
		Long: `Sign that an unresolved payment by x402 is never made, and print the transaction that
says so to the token: whoever has coins for gas on that chain may send it. Nothing is
sent. Until it is in a block the payment may still be made; the agent's node finds out
which came first, and what was held goes back, or is spent. Without a cancellation a
payment that is not made ends by itself when its time is over.`,
		Example: "  igor effects cancel watcher 3f2a91c0 --payments payments.json",
		Args:    operands("FOLDER", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if payments == "" {
				return &hinted{errors.New("cancel has to know which wallet began the payment"), "name the configuration of igor run with --payments FILE"}
			}
			p, err := runtime.OpenPayments(cmd.Context(), payments, slog.New(slog.DiscardHandler))
			if err != nil {
				return failed(err)
			}
			c, err := runtime.CancelPayment(cmd.Context(), args[0], args[1], p)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				return failed(writeJSON(cmd.OutOrStdout(), c))
			}
			return failed(writeRowsAsTheyAre(cmd, []string{"effect", c.ID, "network", c.Network, "to", c.Asset, "data", c.Data}))
		},
	}
	cmd.Flags().StringVar(&payments, "payments", "", "`FILE` that says with which wallet it was begun, as of igor run")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the transaction as JSON")
	return cmd
}

// resolve tells the process that runs the agent, or if nobody does, its journal.
func resolve(ctx context.Context, dir, id string, happened bool, note string) (whole string, err error) {
	r, err := runtime.Connect(dir)
	if err == nil {
		return r.ResolveEffect(ctx, id, happened, note)
	}
	if !errors.Is(err, runtime.ErrNotRunning) {
		return "", err
	}
	return runtime.ResolveEffect(ctx, dir, id, happened, note)
}

func writeEffect(w io.Writer, e *runtime.Effect) error {
	lines := verifycli.Wrap(verifycli.Printable(e.Request), 78)
	switch {
	case e.Held > 0 && !e.Over():
		lines = append(lines, "holds "+verifier.FormatMicrocents(e.Held))
	case e.Spent > 0:
		lines = append(lines, "spent "+verifier.FormatMicrocents(e.Spent))
	}
	if e.Nonce != "" {
		lines = append(lines, "nonce "+e.Nonce)
	}
	if e.Note != "" {
		lines = append(lines, verifycli.Wrap("note: "+verifycli.Printable(e.Note), 78)...)
	}
	began := "when it was sent is not known"
	if !e.Began.IsZero() {
		began = "sent " + e.Began.Format("2006-01-02 15:04:05 UTC")
	}
	_, err := fmt.Fprintf(w, "%s\n  tick %d, %s, %s, %s\n  %s\n", e.ID, e.Tick, e.Kind, e.State, began, strings.Join(lines, "\n  "))
	return err
}

func repairCommand() *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "repair FOLDER",
		Short: "Go on from what is whole of a damaged journal",
		Long: `Repair is the last resort for a damaged journal of which there is no copy. It keeps
every record that is whole, sets the damaged file aside, and says what is lost and
what that means. Without --yes it changes nothing.`,
		Example: `  igor effects repair watcher
  igor effects repair watcher --yes`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := runtime.RepairJournal(cmd.Context(), args[0], !yes)
			if err != nil {
				return failed(err)
			}
			out := cmd.OutOrStdout()
			if asJSON {
				err = writeJSON(out, r)
			} else {
				err = writeRepair(out, &r)
			}
			if err == nil && !yes {
				err = &hinted{errors.New("nothing is changed"), "igor effects repair " + args[0] + " --yes keeps what is whole; a copy of the journal would be better"}
			}
			return failed(err)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, and take what is lost for lost")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func writeRepair(w io.Writer, r *runtime.JournalRepair) error {
	var b strings.Builder
	row := func(name, text string) {
		for i, line := range verifycli.Wrap(text, 72) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%-8s%s\n", name, line)
		}
	}
	row("damage", verifycli.Printable(r.Damage))
	for _, l := range r.Lost {
		row("lost", fmt.Sprintf("bytes %d to %d: %s", l.Offset, l.Offset+l.Size-1, verifycli.Printable(l.What)))
	}
	row("kept", fmt.Sprintf("effects: %d, of which %d unresolved hold %s", r.Effects, r.Unresolved, verifier.FormatMicrocents(r.Held)))
	if r.Aside != "" {
		row("aside", r.Aside)
	}
	b.WriteString("\nNobody can tell what a lost record was. If it was\n")
	item := func(text string) {
		for i, line := range verifycli.Wrap(text, 78) {
			b.WriteString(map[bool]string{true: "- ", false: "  "}[i == 0] + line + "\n")
		}
	}
	item(fmt.Sprintf("the beginning of an effect of tick %d, which was not over: the effect may be done a second time, and paid a second time. Find out outside before the agent goes on. Those of ticks up to %d are in the event log, and are not done again.", r.Tick+1, r.Tick))
	item("the beginning of an effect that was unresolved: what it held stays out of the budget, and igor effects cannot give it back.")
	item("the end of an effect, or what an operator said of it: the effect is unresolved, keeps what it holds, and is not done again. What went back once does not go back again.")
	_, err := io.WriteString(w, b.String())
	return err
}

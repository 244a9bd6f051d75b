package main

import (
	"encoding/json"
	"fmt"

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
say so with igor effects confirm or igor effects compensate. The agent must not
run meanwhile.`,
		Args: operands("FOLDER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			effects, err := runtime.Effects(cmd.Context(), args[0])
			if err != nil {
				return failed(plain(err))
			}
			shown := []runtime.Effect{}
			for _, e := range effects {
				if all || e.Unresolved() {
					shown = append(shown, e)
				}
			}
			out := cmd.OutOrStdout()
			if asJSON {
				encode := json.NewEncoder(out)
				encode.SetIndent("", "  ")
				return failed(encode.Encode(shown))
			}
			for _, e := range shown {
				if _, err := fmt.Fprintf(out, "%s  tick %d  %s  %s\n  %s\n", e.ID, e.Tick, e.Kind, e.State, printable(e.Request)); err != nil {
					return failed(err)
				}
				if e.Held > 0 && e.Unresolved() {
					fmt.Fprintf(out, "  holds %s\n", verifier.FormatMicrocents(e.Held))
				}
				if e.Note != "" {
					fmt.Fprintf(out, "  note: %s\n", printable(e.Note))
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
		resolveCommand("confirm", "Say that an unresolved effect happened: what it held is spent", true),
		resolveCommand("compensate", "Say that an unresolved effect did not happen, or was undone: what it held goes back", false),
	)
	return cmd
}

func resolveCommand(name, short string, happened bool) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use:   name + " FOLDER ID",
		Short: short,
		Args:  operands("FOLDER", "ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := runtime.ResolveEffect(cmd.Context(), args[0], args[1], happened, note)
			if err != nil {
				return failed(plain(err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%sed %s\n", map[bool]string{true: "confirm", false: "compensat"}[happened], id)
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "what is known, for people")
	return cmd
}

func receiptsCommand(code *int) *cobra.Command {
	return &cobra.Command{
		Use:                "receipts [flags] PATH…",
		Short:              "Check an agent's receipts: what its time cost, and what it paid",
		DisableFlagParsing: true, // igor-verify's flags
		RunE: func(cmd *cobra.Command, args []string) error {
			*code = verifycli.Main("igor", append([]string{"receipts"}, args...), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			return nil
		},
	}
}

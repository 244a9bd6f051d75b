package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
)

// A verifierMain is a command of igor-verify: it says itself what is wrong, and its exit
// code is that of igor-verify.
type verifierMain func(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// verifying makes a command of one of igor-verify. The flags that it declares are
// for help and completion: it parses none, so that no verdict depends on how.
func verifying(cmd *cobra.Command, code *int, main verifierMain) *cobra.Command {
	cmd.DisableFlagParsing = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
			return cmd.Help()
		}
		*code = main(cmd.CommandPath(), spellJSON(args), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		return nil
	}
	return cmd
}

// spellJSON writes --json as igor-verify has it.
func spellJSON(args []string) []string {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	args = slices.Clone(args)
	for i := range args[:end] {
		if args[i] == "--json" {
			args[i] = "--format=json"
		}
	}
	return args
}

func verifyCommand(code *int) *cobra.Command {
	cmd := verifying(&cobra.Command{
		Use:   "verify [flags] PATH…",
		Short: "Verify a life: checkpoints, folders, a .car history, or a DID",
		Long: `Verify says whether the checkpoints at the PATHs are one whole, untampered life of
an agent. A PATH is a checkpoint, a folder (searched for *.ckpt with all below it),
a history in a .car file, or - for a CAR on standard input. All PATHs together are
one history; their order and names do not matter.

A PATH can also be a DID, the CID of a checkpoint, or a URL. Then the life is fetched
from the servers that --from names, or from where the URL says, and from nobody else.
A DID or a CID that you give is what you expect, as with --did and --head; what a URL
says is only what the URL says.

Exit codes: 0 verified, 1 invalid, 3 incomplete (nothing is wrong, but something
is missing), 2 no verdict. They and the report are those of igor-verify.`,
		Example: `  igor verify heartbeat
  igor verify --did did:key:z6Mk… --head bafkrei… heartbeat.car
  igor verify did:key:z6Mk… --from https://agent.example`,
	}, code, nil)
	show := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
			return show(cmd, args)
		}
		args = spellJSON(args)
		rest, done, err := fetchFor(cmd, args)
		defer done()
		if err != nil {
			*code = verifycli.Fail(cmd.CommandPath(), args, cmd.OutOrStdout(), cmd.ErrOrStderr(), plain(err).Error(), nextStep(err))
			return nil
		}
		*code = verifycli.Main(cmd.CommandPath(), rest, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		return nil
	}
	verifierFlags(cmd, verifycli.Formats())
	new(fetchFlags).declare(cmd.Flags())
	cmd.Flags().String("report", "", "version `N` of the report: 2, or 1 for the one of spec version 1")
	cmd.Flags().String("witness", "", "`POLICY` file that names logs and witnesses: say what head.tlog-proof beside the checkpoints proves")
	cmd.Flags().String("require-witness", "", "`POLICY` file: incomplete unless the newest checkpoint is witnessed")
	cmd.Flags().String("monitor", "", "`KEY` of a monitor whose word is taken, in head.monitor beside the checkpoints")
	cmd.Flags().String("proof", "", "`FILE` of the proof, if it is elsewhere")
	cmd.Flags().String("predecessor", "", "`PATH` of the life that this one succeeds, as the file succession beside the checkpoints says")
	cmd.Flags().String("head", "", "a `CID` that has to be in it: the newest one that you know shows that the history was not cut before it")
	return cmd
}

func receiptsCommand(code *int) *cobra.Command {
	cmd := verifying(&cobra.Command{
		Use:   "receipts [flags] PATH…",
		Short: "Check what an agent's time cost, and what it paid",
		Long: `Receipts checks what nodes and the agent signed for. A PATH is an agent's folder,
its file receipts, or checkpoints, against which they are held.

With --on-chain the payments on chains, and rent, are held against the chains: nodes are
asked for the transaction, and it has to move the same amount of the same token from and
to the same addresses by the same nonce. Which nodes, --payments says, or --node.

Exit codes: 0 verified, 1 invalid, 3 incomplete, 2 no verdict; with --on-chain 0 all
confirmed, 1 one differs, 3 one is not found or not known.`,
		Example: `  igor receipts heartbeat
  igor receipts heartbeat/receipts heartbeat.car
  igor receipts heartbeat --on-chain --payments payments.json
  igor receipts heartbeat --on-chain --node https://rpc.example.com`,
	}, code, receiptsMain)
	verifierFlags(cmd, []string{"text", "json"})
	var chains onchainFlags
	chains.add(cmd.Flags())
	return cmd
}

// verifierFlags declares the flags that verify and receipts have in common.
func verifierFlags(cmd *cobra.Command, formats []string) {
	flags := cmd.Flags()
	flags.String("did", "", "the agent that it has to be by, a `DID` (did:key:z6Mk…)")
	flags.String("format", "", "`FORMAT`: "+strings.Join(formats, ", "))
	flags.Bool("json", false, "the same as --format json")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

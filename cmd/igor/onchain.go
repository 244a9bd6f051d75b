package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
)

// onchainFlags say how chains are asked about receipts.
type onchainFlags struct {
	on            bool
	payments      string
	nodes         []string
	agree         int
	confirmations uint64
}

func (f *onchainFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.on, "on-chain", false, "ask chains about the payments on them")
	flags.StringVar(&f.payments, "payments", "", "with --on-chain, `FILE` that names the nodes of chains, as of igor run; its wallet is left alone")
	flags.StringArrayVar(&f.nodes, "node", nil, "with --on-chain, `URL` of a node of a chain (JSON-RPC); may be repeated, of different operators")
	flags.IntVar(&f.agree, "agree", 0, "of how many --node the word counts, `N` (more than half; default: all)")
	flags.Uint64Var(&f.confirmations, "confirmations", 0, "with --node, after how many blocks, `N`, a payment counts (default: when the chain calls it final)")
}

// receiptsMain is igor receipts: what igor-verify has, and with --on-chain more.
func receiptsMain(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	if !slices.ContainsFunc(args[:end], func(s string) bool { return s == "--on-chain" || strings.HasPrefix(s, "--on-chain=") }) {
		for _, flag := range []string{"--payments", "--node", "--agree", "--confirmations"} {
			if slices.ContainsFunc(args[:end], func(s string) bool { return s == flag || strings.HasPrefix(s, flag+"=") }) {
				fmt.Fprintf(stderr, "%s: %s is of no use without --on-chain\nhint: %s --help explains the usage\n", name, flag, name)
				return 2
			}
		}
		return verifycli.Receipts(name, args, stdin, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), verifycli.Signals()...)
	defer stop()
	code, err := receiptsOnChain(ctx, args, stdin, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", name, verifycli.Printable(plain(err).Error()))
		if hint := cmp.Or(nextStep(err), name+" --help explains the usage"); hint != "" {
			fmt.Fprintf(stderr, "hint: %s\n", verifycli.Printable(hint))
		}
		return 2
	}
	return code
}

// A heldClaim is a payment, and what the chain says of it.
type heldClaim struct {
	Kind        string `json:"kind"` // payment or rent
	Network     string `json:"network"`
	Asset       string `json:"asset"`
	From        string `json:"from"`
	To          string `json:"to"`
	Amount      uint64 `json:"amountMicrocents,string"`
	Nonce       string `json:"nonce"`
	Transaction string `json:"transaction"`
	Outcome     string `json:"outcome"` // confirmed, not found, differs, not known
	Agreed      int    `json:"nodesAgreed"`
	Asked       int    `json:"nodesAsked"`
	Lone        bool   `json:"onlyOneNode,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

const maxAsked = 10_000 // payments in one run

func receiptsOnChain(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) (code int, err error) {
	var f onchainFlags
	var did, format string
	flags := pflag.NewFlagSet("receipts", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	f.add(flags)
	flags.StringVar(&did, "did", "", "")
	flags.StringVar(&format, "format", "text", "")
	if err := flags.Parse(args); err != nil {
		return 2, err
	}
	switch {
	case flags.NArg() == 0:
		return 2, errors.New("PATH is missing: an agent's folder, or its file receipts.x402")
	case format != "text" && format != "json":
		return 2, fmt.Errorf("--format %s is none of --on-chain: text, json", format)
	case !f.on:
		return 2, errors.New("--on-chain=false asks nothing: leave it out")
	case (f.payments == "") == (len(f.nodes) == 0):
		return 2, &hinted{errors.New("nothing says which nodes of the chain to ask"), "name them with --payments FILE, or with --node URL, once or more"}
	}
	var agent *verifier.PublicKey
	if did != "" {
		k, err := verifier.ParseDID(did)
		if err != nil {
			return 2, fmt.Errorf("--did %s: %w", did, err)
		}
		agent = &k
	}
	nodesOf, err := f.chains(ctx)
	if err != nil {
		return 2, err
	}
	report, err := verifycli.ReadReceipts(flags.Args(), agent, stdin)
	if err != nil {
		return 2, err
	}
	claims := claimsOf(report)
	if len(claims) > maxAsked {
		return 2, fmt.Errorf("there are %d payments on chains, and at most %d are asked about at a time", len(claims), maxAsked)
	}
	count := map[string]int{}
	lone := 0
	held := []heldClaim{}
	for _, c := range claims {
		h := heldClaim{c.kind, x402.NetworkOf(c.Chain), c.Token.String(), c.From.String(), c.To.String(), c.Value, c.Nonce.String(), c.Transaction.String(), "not known", 0, 0, false, ""}
		if nodes, confirmations := nodesOf(c.Chain); nodes == nil {
			h.Detail = "no node of " + h.Network + " is named"
		} else {
			said := nodes.Holds(ctx, &c.Claim, confirmations)
			h.Outcome, h.Agreed, h.Asked, h.Detail = said.Standing.String(), said.Agreed, said.Asked, said.Why
			h.Lone = said.Agreed == 1 && said.Asked == 1
		}
		if ctx.Err() != nil {
			return 2, ctx.Err()
		}
		if count[h.Outcome]++; h.Lone {
			lone++
		}
		held = append(held, h)
	}
	switch {
	case report.Verdict == verifier.Invalid, count["differs"] > 0:
		code = 1
	case count["confirmed"] < len(held):
		code = 3
	}
	if format == "json" {
		did := ""
		if report.Agent != nil {
			did = report.Agent.DID()
		}
		return code, writeJSON(stdout, struct {
			Format   string      `json:"format"`
			DID      string      `json:"did,omitempty"`
			Receipts string      `json:"receipts"`
			Held     []heldClaim `json:"payments"`
		}{"igor-receipts-on-chain/1", did, report.Verdict.String(), held})
	}
	return code, writeHeld(stdout, report, held, count, lone)
}

func writeHeld(w io.Writer, report *receipt.Report, held []heldClaim, count map[string]int, lone int) error {
	var b strings.Builder
	if report.Agent != nil {
		fmt.Fprintf(&b, "agent    %s\n", report.Agent.DID())
	}
	fmt.Fprintf(&b, "receipts %s\n\n", report.Verdict)
	for _, h := range held {
		text := h.Outcome
		switch {
		case h.Lone:
			text += ", by the word of one node alone"
		case h.Agreed > 0:
			text += fmt.Sprintf(", by %d of %d nodes", h.Agreed, h.Asked)
		}
		if h.Detail != "" {
			text += ": " + h.Detail
		}
		what := fmt.Sprintf("%s to %s", shownBaseUnits(fmt.Sprint(h.Amount)), h.To)
		if h.Kind == "rent" {
			what += ", rent from " + h.From
		}
		fmt.Fprintf(&b, "%s\n  on %s, asset %s\n  transaction %s\n", what, h.Network, h.Asset, h.Transaction)
		for _, line := range verifycli.Wrap(verifycli.Printable(text), columns-2) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	if len(held) == 0 {
		b.WriteString("no payment on a chain\n")
	} else {
		var parts []string
		for _, outcome := range []string{"confirmed", "not found", "differs", "not known"} {
			if n := count[outcome]; n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n, outcome))
			}
		}
		fmt.Fprintf(&b, "\n%s on chains: %s\n", verifycli.Plural(len(held), "payment"), strings.Join(parts, ", "))
		if lone > 0 {
			fmt.Fprintf(&b, "%d by the word of one node alone: name more, of different operators\n", lone)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// A kindOfClaim is a claim and what it is of.
type kindOfClaim struct {
	evm.Claim
	kind string
}

// claimsOf returns what the authentic receipts of the agent say of chains.
func claimsOf(r *receipt.Report) (all []kindOfClaim) {
	for _, o := range r.Moved {
		all = append(all, kindOfClaim{evm.Claim{Chain: o.Chain, Token: o.Asset, From: o.From, To: o.To, Value: uint64(max(0, o.Amount)), Nonce: o.Nonce,
			Transaction: o.Transaction, Block: o.Block, BlockHash: o.BlockHash}, "payment"})
	}
	for _, o := range r.Rented {
		all = append(all, kindOfClaim{evm.Claim{Chain: o.Chain, Token: o.Asset, From: o.From, To: o.To, Value: uint64(max(0, o.Amount)), Nonce: o.Nonce, Transaction: o.Transaction}, "rent"})
	}
	return all
}

// chains returns what gives the nodes of a chain.
func (f *onchainFlags) chains(ctx context.Context) (func(uint64) (*evm.Nodes, uint64), error) {
	if f.payments != "" {
		c, err := runtime.OpenChains(f.payments)
		if err != nil {
			return nil, err
		}
		return c.Nodes, nil
	}
	by := map[uint64]*evm.Nodes{}
	for _, address := range f.nodes {
		n, err := evm.Dial(address)
		if err != nil {
			return nil, fmt.Errorf("--node: %w", err)
		}
		ask, stop := context.WithTimeout(ctx, 15*time.Second)
		chain, err := n.Chain(ask)
		stop()
		if err != nil {
			return nil, fmt.Errorf("--node: %w", err)
		}
		if by[chain] == nil {
			by[chain] = &evm.Nodes{}
		}
		by[chain].All = append(by[chain].All, n)
	}
	for chain, nodes := range by {
		nodes.Quorum = cmp.Or(f.agree, len(nodes.All))
		if err := nodes.Check(); err != nil {
			return nil, fmt.Errorf("network %s: %w", x402.NetworkOf(chain), err)
		}
	}
	return func(chain uint64) (*evm.Nodes, uint64) { return by[chain], f.confirmations }, nil
}

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"igor.dev/internal/rentserver"
	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
)

func rentCommand() *cobra.Command {
	var nodeKey string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "rent CONFIG",
		Short:   "Be paid for running agents, by x402",
		Example: "  igor rent rent.json",
		Long: `Serve POST /rent/DID, where anybody pays this node for an agent that it runs, by x402: for
a lease, or for the execution receipts in a ledger that nobody paid yet. The answer has the
node's receipt, and the ledger keeps it. CONFIG is a JSON file:

  {"listen": "127.0.0.1:8402", "url": "https://node.example.com",
   "ledger": "ledger", "folder": "rent", "payTo": "0x…",
   "network": "eip155:8453", "asset": "0x…", "assetName": "USD Coin",
   "assetVersion": "2", "nodes": ["https://rpc.example.com"],
   "facilitator": "https://facilitator.example.com",
   "lease": {"period": "720h", "price": "5"}}

Without a lease the sum of unpaid receipts is asked for, from "least" on.`,
		Args: operands("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			log := slog.New(slog.NewTextHandler(verifycli.SafeLog(cmd.ErrOrStderr(), true), nil))
			c, err := openRent(args[0], nodeKey)
			if err != nil {
				return failed(err)
			}
			ledger := c.Rent.Books.(*runtime.Ledger)
			defer ledger.Close()
			s, err := rentserver.Serve(cmd.Context(), c, log)
			if err != nil {
				return failed(err)
			}
			defer s.Close()
			due := "unpaid execution receipts"
			if lease := c.Rent.Lease; lease != nil {
				due = "a lease of " + lease.String() + " for " + shownBaseUnits(fmt.Sprint(lease.Price))
			}
			if err := rowsOrJSON(cmd, asJSON, "rent at", "url", s.URL+"/rent/DID", "due", "due", due, "paid to", "payTo", c.Rent.PayTo.String()+" on "+c.Network); err != nil {
				return failed(err)
			}
			select {
			case err := <-s.Over:
				return failed(err)
			case <-cmd.Context().Done():
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", "`FILE` of the key that signs receipts (default: igor/node.key in the user's configuration folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write as JSON where it serves")
	return cmd
}

// openRent reads a configuration, and opens the ledger that it names.
func openRent(file, nodeKey string) (*rentserver.Config, error) {
	c, err := rentserver.Read(file)
	if err != nil {
		return nil, err
	}
	if c.Ledger == "" {
		return nil, fmt.Errorf("%s: ledger: it is missing", file)
	}
	if info, err := os.Stat(c.Ledger); err != nil || !info.IsDir() {
		return nil, &hinted{fmt.Errorf("%s: ledger: there is no folder %s", file, c.Ledger), "name the folder of igor run --ledger, in which the receipts are that are to be paid"}
	}
	if c.Rent.Key, err = userNodeKey(nodeKey); err != nil {
		return nil, err
	}
	if c.Rent.Key == nil {
		return nil, &hinted{errors.New("there is no key of this node"), "name it with --node-key FILE"}
	}
	ledger, err := runtime.OpenLedger(c.Ledger)
	if err != nil {
		return nil, err
	}
	c.Rent.Books = ledger
	return c, nil
}

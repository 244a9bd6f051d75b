package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/rent"
)

// A rentConfig says how a node is paid. docs/spec/rent.md describes it.
type rentConfig struct {
	Listen string `json:"listen"`
	URL    string `json:"url"`
	Ledger string `json:"ledger"`
	Folder string `json:"folder"`

	Network       string   `json:"network"`
	Asset         string   `json:"asset"`
	Name          string   `json:"assetName"`
	Version       string   `json:"assetVersion"`
	PayTo         string   `json:"payTo"`
	Facilitator   string   `json:"facilitator"`
	Nodes         []string `json:"nodes"`
	Agree         int      `json:"agree"`
	Confirmations uint64   `json:"confirmations"`

	Lease *struct {
		Period string `json:"period"`
		Price  string `json:"price"`
	} `json:"lease"`
	Least string `json:"least"`
}

const maxRentConfig = 64 << 10

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
			c, rc, err := openRent(args[0], nodeKey)
			if err != nil {
				return failed(err)
			}
			ledger := rc.Books.(*runtime.Ledger)
			defer ledger.Close()
			rc.Log = log
			l, err := net.Listen("tcp", c.Listen)
			if err != nil {
				return failed(fmt.Errorf("listen: %w", err))
			}
			defer l.Close()
			if rc.URL == "" {
				rc.URL = "http://" + l.Addr().String()
			}
			s, err := rent.Open(cmd.Context(), *rc)
			if err != nil {
				return failed(err)
			}
			defer s.Close()
			due := "unpaid execution receipts"
			if rc.Lease != nil {
				due = "a lease of " + rc.Lease.String() + " for " + shownBaseUnits(fmt.Sprint(rc.Lease.Price))
			}
			if err := rowsOrJSON(cmd, asJSON, "rent at", "url", "http://"+l.Addr().String()+"/rent/DID", "due", "due", due, "paid to", "payTo", rc.PayTo.String()+" on "+c.Network); err != nil {
				return failed(err)
			}
			web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second, IdleTimeout: time.Minute,
				MaxHeaderBytes: 96 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
			over := make(chan error, 1)
			go func() { over <- web.Serve(l) }()
			select {
			case err := <-over:
				return failed(err)
			case <-cmd.Context().Done():
			}
			ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
			defer stop()
			if err := web.Shutdown(ctx); err != nil {
				web.Close()
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", "`FILE` of the key that signs receipts (default: igor/node.key in the user's configuration folder)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write as JSON where it serves")
	return cmd
}

// openRent reads a configuration. Files that it names are beside it.
func openRent(file, nodeKey string) (*rentConfig, *rent.Config, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &hinted{err, "igor rent --help has an example"}
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxRentConfig+1))
	if err != nil {
		return nil, nil, err
	}
	c := &rentConfig{}
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	switch err := d.Decode(c); {
	case len(src) > maxRentConfig:
		return nil, nil, fmt.Errorf("%s: a configuration of rent has at most %d bytes", file, maxRentConfig)
	case err != nil:
		return nil, nil, fmt.Errorf("%s is not a configuration of rent: %w", file, err)
	case d.More():
		return nil, nil, fmt.Errorf("%s is not a configuration of rent: something comes after it", file)
	}
	wrong := func(key string, err error) error { return fmt.Errorf("%s: %s: %w", file, key, err) }
	rc := &rent.Config{URL: c.URL, Confirmations: c.Confirmations}
	rc.Domain.Name, rc.Domain.Version = c.Name, c.Version
	if rc.Domain.Chain, err = x402.ParseNetwork(c.Network); err != nil {
		return nil, nil, wrong("network", err)
	}
	if rc.Domain.Contract, err = evm.ParseAddress(c.Asset); err != nil {
		return nil, nil, wrong("asset", err)
	}
	if rc.PayTo, err = evm.ParseAddress(c.PayTo); err != nil {
		return nil, nil, wrong("payTo", err)
	}
	if rc.Facilitator, err = x402.DialFacilitator(c.Facilitator); err != nil {
		return nil, nil, wrong("facilitator", err)
	}
	rc.Nodes.Quorum = c.Agree
	if c.Agree == 0 {
		rc.Nodes.Quorum = len(c.Nodes)
	}
	for _, address := range c.Nodes {
		n, err := evm.Dial(address)
		if err != nil {
			return nil, nil, wrong("nodes", err)
		}
		rc.Nodes.All = append(rc.Nodes.All, n)
	}
	if err := rc.Nodes.Check(); err != nil {
		return nil, nil, wrong("nodes", err)
	}
	if c.Least != "" {
		if rc.Least, err = runtime.ParseAmount(c.Least); err != nil {
			return nil, nil, wrong("least", err)
		}
	}
	if c.Lease != nil {
		rc.Lease = &rent.Lease{}
		if rc.Lease.Period, err = time.ParseDuration(c.Lease.Period); err != nil {
			return nil, nil, wrong("lease.period", fmt.Errorf("%q is not a time such as 720h", c.Lease.Period))
		}
		if rc.Lease.Price, err = runtime.ParseAmount(c.Lease.Price); err != nil {
			return nil, nil, wrong("lease.price", err)
		}
	}
	for key, value := range map[string]string{"listen": c.Listen, "ledger": c.Ledger, "folder": c.Folder} {
		if value == "" {
			return nil, nil, wrong(key, errors.New("it is missing"))
		}
	}
	beside := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(file), name)
	}
	if info, err := os.Stat(beside(c.Ledger)); err != nil || !info.IsDir() {
		return nil, nil, &hinted{wrong("ledger", fmt.Errorf("there is no folder %s", beside(c.Ledger))), "name the folder of igor run --ledger, in which the receipts are that are to be paid"}
	}
	rc.Folder = beside(c.Folder)
	if rc.Key, err = userNodeKey(nodeKey); err != nil {
		return nil, nil, err
	}
	if rc.Key == nil {
		return nil, nil, &hinted{errors.New("there is no key of this node"), "name it with --node-key FILE"}
	}
	if rc.Books, err = runtime.OpenLedger(beside(c.Ledger)); err != nil {
		return nil, nil, err
	}
	return c, rc, nil
}

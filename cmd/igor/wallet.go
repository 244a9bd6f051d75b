package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	encryption "filippo.io/age"
	"github.com/spf13/cobra"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
)

func walletCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wallet",
		Short: "The wallet that pays servers by x402",
		Long: `The wallet from which this node pays what HTTP servers ask agents for by x402, in USDC
or another token with EIP-3009. It is the operator's: an agent spends from its budget,
and the node's wallet pays. igor run --payments FILE says which one is used.`,
	}
	cmd.AddCommand(walletNewCommand(), walletShowCommand(), walletBalanceCommand(), walletFundCommand(), walletBindCommand(), walletBoundCommand(), walletServeCommand())
	return cmd
}

// rowsOrJSON writes what there is to say, as rows or as an object: a name, its name in
// JSON, a value.
func rowsOrJSON(cmd *cobra.Command, asJSON bool, rows ...string) error {
	if !asJSON {
		var b strings.Builder
		for i := 0; i+2 < len(rows); i += 3 {
			fmt.Fprintf(&b, "%-11s %s\n", rows[i], verifycli.Printable(rows[i+2]))
		}
		_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
		return err
	}
	object := map[string]string{}
	for i := 0; i+2 < len(rows); i += 3 {
		object[rows[i+1]] = rows[i+2]
	}
	return writeJSON(cmd.OutOrStdout(), object)
}

// An unlocking says how to open an encrypted wallet.
type unlocking struct{ passphrase, identity string }

func (u *unlocking) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.passphrase, "passphrase-file", "", "`FILE` with the wallet's passphrase on its only line")
	cmd.Flags().StringVar(&u.identity, "identity", "", "`FILE` of age identities that open the wallet")
}

func (u *unlocking) open(cmd *cobra.Command, file string) (wallet.Wallet, error) {
	with, err := wallet.UnlockWith(u.passphrase, u.identity)
	if err != nil {
		return nil, err
	}
	w, err := runtime.OpenWallet(cmd.Context(), file, with)
	if errors.Is(err, wallet.ErrLocked) {
		return nil, &hinted{err, "name what opens it with --passphrase-file FILE or --identity FILE"}
	}
	return w, err
}

func walletNewCommand() *cobra.Command {
	var passphrase string
	var recipients []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "new FILE",
		Short:   "Make a wallet",
		Example: "  igor wallet new wallet\n  igor wallet new wallet --passphrase-file passphrase",
		Long: `Make a wallet: a new key, in a new file that only you can read. It is never written over.
With --passphrase-file or --recipient the file is encrypted (age-encryption.org).`,
		Args: operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			lock := wallet.Lock{}
			for _, s := range recipients {
				r, err := encryption.ParseX25519Recipient(s)
				if err != nil {
					return fmt.Errorf("--recipient %s: %w", s, err)
				}
				lock.Recipients = append(lock.Recipients, r)
			}
			if passphrase != "" {
				u, err := wallet.UnlockWith(passphrase, "")
				if err == nil {
					lock.Passphrase, err = u.Passphrase()
				}
				if err != nil {
					return failed(err)
				}
			}
			k, err := wallet.Generate()
			if err != nil {
				return failed(err)
			}
			if err := k.Save(args[0], lock); err != nil {
				return failed(err)
			}
			kept := "plain: whoever reads the file has the money"
			if passphrase != "" || len(recipients) > 0 {
				kept = "encrypted"
			}
			return failed(rowsOrJSON(cmd, asJSON, "wallet", "address", k.Address().String(), "file", "file", args[0], "kept", "kept", kept))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was made as JSON")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`FILE` with a passphrase on its only line, for which the wallet is encrypted")
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "`RECIPIENT` of age (age1…) for whom the wallet is encrypted; may be repeated")
	return cmd
}

func walletShowCommand() *cobra.Command {
	var u unlocking
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show FILE|SOCKET",
		Short:   "Print a wallet's address",
		Example: "  igor wallet show wallet",
		Args:    operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := u.open(cmd, args[0])
			if err != nil {
				return failed(err)
			}
			return failed(rowsOrJSON(cmd, asJSON, "wallet", "address", w.Address().String()))
		},
	}
	u.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the address as JSON")
	return cmd
}

// assetsFlag are addresses of tokens.
type assetsFlag []evm.Address

func (f *assetsFlag) String() string { return "" }
func (f *assetsFlag) Type() string   { return "address" }
func (f *assetsFlag) Set(s string) error {
	a, err := evm.ParseAddress(s)
	*f = append(*f, a)
	return err
}

func walletBalanceCommand() *cobra.Command {
	var assets assetsFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "balance PAYMENTS",
		Short:   "Ask the chains what the wallet has",
		Example: "  igor wallet balance payments.json \\\n    --asset 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
		Long: `Ask the nodes of a configuration of payments (igor run --payments) what its wallet has of
a token. A node that does not answer, or where the token is not, is named.`,
		Args: operands("PAYMENTS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(assets) == 0 {
				return &hinted{errors.New("no token is named"), "--asset ADDRESS, such as 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913 for USDC on Base (eip155:8453)"}
			}
			p, err := runtime.OpenPayments(cmd.Context(), args[0], slog.New(slog.DiscardHandler))
			if err != nil {
				return failed(err)
			}
			type row struct {
				Network string `json:"network"`
				Asset   string `json:"asset"`
				Node    string `json:"node"`
				Balance string `json:"balance,omitempty"` // base units
				Error   string `json:"error,omitempty"`
			}
			var rows []row
			good := false
			for _, chain := range p.Networks() {
				for _, node := range p.Nodes(chain).All {
					for _, asset := range assets {
						r := row{Network: x402.NetworkOf(chain), Asset: asset.String(), Node: node.String()}
						if n, err := node.Balance(cmd.Context(), asset, p.Wallet.Address()); err != nil {
							r.Error = err.Error()
						} else {
							r.Balance, good = fmt.Sprint(n), true
						}
						rows = append(rows, r)
					}
				}
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), struct {
					Wallet   string `json:"wallet"`
					Balances []row  `json:"balances"`
				}{p.Wallet.Address().String(), rows})
			} else {
				lines := []string{"wallet", p.Wallet.Address().String()}
				for _, r := range rows {
					said := r.Error
					if said == "" {
						said = shownBaseUnits(r.Balance)
					}
					lines = append(lines, r.Network, fmt.Sprintf("%s of %s\n%12s%s", said, r.Asset, "", r.Node))
				}
				err = writeRowsAsTheyAre(cmd, lines)
			}
			if err == nil && !good {
				err = errors.New("no node of a chain answered")
			}
			return failed(err)
		},
	}
	cmd.Flags().Var(&assets, "asset", "`ADDRESS` of a token; may be repeated")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what there is as JSON")
	return cmd
}

// shownBaseUnits writes base units of a token with 6 decimals, which are microcents.
func shownBaseUnits(s string) string {
	var n uint64
	fmt.Sscan(s, &n)
	return verifier.FormatMicrocents(int64(min(n, math.MaxInt64)))
}

func writeRowsAsTheyAre(cmd *cobra.Command, rows []string) error {
	var b strings.Builder
	for i := 0; i+1 < len(rows); i += 2 {
		fmt.Fprintf(&b, "%-12s%s\n", rows[i], rows[i+1])
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), b.String())
	return err
}

func walletFundCommand() *cobra.Command {
	var u unlocking
	var assets assetsFlag
	var network string
	var amount amountFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "fund FILE|SOCKET",
		Short:   "Say how to give a wallet money",
		Example: "  igor wallet fund wallet --network eip155:8453 \\\n    --asset 0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913 --amount 5",
		Long: `Say how to give a wallet money: its address, and with --network and --asset a link that
wallets on a phone understand (ERC-681). Nothing is sent, and no chain is asked.
The wallet needs the token alone: who settles a payment pays for the transaction.`,
		Args: operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := u.open(cmd, args[0])
			if err != nil {
				return failed(err)
			}
			rows := []string{"wallet", "address", w.Address().String()}
			if network != "" || len(assets) > 0 {
				chain, err := x402.ParseNetwork(network)
				if err != nil {
					return fmt.Errorf("--network: %w", err)
				}
				if len(assets) != 1 {
					return errors.New("--network wants one --asset, the address of the token there")
				}
				link := fmt.Sprintf("ethereum:%s@%d/transfer?address=%s", assets[0], chain, w.Address())
				if amount > 0 {
					link += fmt.Sprintf("&uint256=%d", int64(amount))
				}
				rows = append(rows, "link", "link", link)
			}
			return failed(rowsOrJSON(cmd, asJSON, rows...))
		},
	}
	u.add(cmd)
	cmd.Flags().StringVar(&network, "network", "", "`NETWORK` of the token, such as eip155:8453")
	cmd.Flags().Var(&assets, "asset", "`ADDRESS` of the token")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	cmd.Flags().Var(&amount, "amount", "`AMOUNT` to ask for")
	return cmd
}

func walletServeCommand() *cobra.Command {
	var u unlocking
	var most amountFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "serve FILE SOCKET",
		Short:   "Sign for a node from another process",
		Example: "  igor wallet serve wallet signer.sock --max-payment 0.05",
		Long: `Sign for a node: listen at a Unix socket that only you can reach, and name that socket as
the wallet in the node's configuration of payments. So the process that runs agents
never has the key. What is signed is checked here as well: --max-payment.`,
		Args: operands("FILE", "SOCKET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := u.open(cmd, args[0])
			if err != nil {
				return failed(err)
			}
			l, err := wallet.Listen(args[1])
			if err != nil {
				return failed(err)
			}
			defer os.Remove(args[1])
			if err := rowsOrJSON(cmd, asJSON, "wallet", "address", w.Address().String(), "signs at", "socket", args[1]); err != nil {
				return failed(err)
			}
			return failed(wallet.Serve(cmd.Context(), l, w, func(_ *evm.Domain, a *evm.Authorization) error {
				if most > 0 && a.Value > uint64(most) {
					return fmt.Errorf("a payment of %d, and --max-payment is %d", a.Value, int64(most))
				}
				return nil
			}))
		},
	}
	u.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write as JSON where it signs")
	cmd.Flags().Var(&most, "max-payment", "`AMOUNT` of one payment at most (default: no limit)")
	return cmd
}

func walletBindCommand() *cobra.Command {
	var u unlocking
	var nodeKey string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "bind WALLET AGENT FILE",
		Short:   "Say which wallet pays for an agent",
		Example: "  igor wallet bind wallet watcher watcher.binding",
		Long: `Write a statement into FILE that this WALLET pays for an AGENT, by its folder, on this node.
The agent's key and the wallet sign it, so neither can claim the other. It is for whoever
reads the agent's receipts, and sees a wallet's address in them. igor wallet bound reads it.`,
		Args: operands("WALLET", "AGENT", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := u.open(cmd, args[0])
			if err != nil {
				return failed(err)
			}
			key, err := runtime.ReadKey(filepath.Join(args[1], "key"))
			if err != nil {
				return failed(err)
			}
			node, err := userNodeKey(nodeKey)
			if err != nil {
				return failed(err)
			}
			if node == nil {
				return &hinted{errors.New("there is no key of this node"), "name it with --node-key FILE"}
			}
			b := &wallet.SignedBinding{Binding: wallet.Binding{Agent: [32]byte(key.Public().(ed25519.PublicKey)), Node: [32]byte(node.Public().(ed25519.PublicKey)),
				Wallet: w.Address(), Time: time.Now().UTC().Truncate(time.Second)}}
			if b.ByWallet, err = w.Bind(cmd.Context(), &b.Binding); err != nil {
				return failed(err)
			}
			copy(b.ByAgent[:], ed25519.Sign(key, b.Message()))
			src := b.Append(nil)
			if _, err := wallet.ParseBinding(src); err != nil {
				return failed(err) // a signer that signs something else
			}
			f, err := os.OpenFile(args[2], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return failed(err)
			}
			if _, err = f.Write(src); err != nil {
				return failed(errors.Join(err, f.Close()))
			}
			if err := f.Close(); err != nil {
				return failed(err)
			}
			return failed(showBinding(cmd, asJSON, &b.Binding))
		},
	}
	u.add(cmd)
	cmd.Flags().StringVar(&nodeKey, "node-key", "", "`FILE` with the node's key (default: the user's own)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what was signed as JSON")
	return cmd
}

func walletBoundCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "bound FILE",
		Short:   "Check which wallet pays for which agent",
		Example: "  igor wallet bound watcher.binding",
		Long:    "Check a statement of igor wallet bind: both signatures. Neither key is needed.",
		Args:    operands("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return failed(err)
			}
			defer f.Close()
			src, err := io.ReadAll(io.LimitReader(f, int64(wallet.SignedBindingSize)+1))
			if err != nil {
				return failed(err)
			}
			b, err := wallet.ParseBinding(src)
			if err != nil {
				return failed(fmt.Errorf("%s: %w", args[0], err))
			}
			return failed(showBinding(cmd, asJSON, &b.Binding))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what it says as JSON")
	return cmd
}

func showBinding(cmd *cobra.Command, asJSON bool, b *wallet.Binding) error {
	return rowsOrJSON(cmd, asJSON, "wallet", "wallet", b.Wallet.String(), "agent", "agent", verifier.PublicKey(b.Agent).DID(),
		"node", "node", verifier.PublicKey(b.Node).DID(), "since", "time", b.Time.UTC().Format(time.RFC3339))
}

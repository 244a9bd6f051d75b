// Package buyer pays what HTTP servers ask agents for by x402, from the wallet of the
// node's operator, and finds out on the chain what became of it.
package buyer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"igor.dev/runtime/internal/request"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
)

// A Config says how a node pays: the file of igor run --payments, but for the wallet.
type Config struct {
	// Wallet is the file of a wallet, or the Unix socket of a signer.
	Wallet string `json:"wallet"`
	// Passphrase and Identity are files that open an encrypted wallet: its passphrase on a
	// line, or identities of age.
	Passphrase string `json:"passphraseFile"`
	Identity   string `json:"identityFile"`
	// Networks are the chains on which it pays, as CAIP-2 names them.
	Networks map[string]Network `json:"networks"`
}

// A Network says how one chain is asked.
type Network struct {
	// Nodes are URLs of JSON-RPC, each of another operator.
	Nodes []string `json:"nodes"`
	// Agree is how many of them have to say the same; 0 = all.
	Agree int `json:"agree"`
	// Confirmations is how many blocks, with its own, make a payment final; 0 = what
	// the chain itself calls final.
	Confirmations uint64 `json:"confirmations"`
}

// MaxConfig is how large a configuration may be.
const MaxConfig = 64 << 10

// ParseConfig reads a configuration. What it does not know is an error.
func ParseConfig(src []byte) (*Config, error) {
	if len(src) > MaxConfig {
		return nil, fmt.Errorf("a configuration of payments has at most %d bytes", MaxConfig)
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	c := &Config{}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("not a configuration of payments: %w", err)
	}
	if d.More() {
		return nil, errors.New("not a configuration of payments: something comes after it")
	}
	if c.Wallet == "" {
		return nil, errors.New(`a configuration of payments names no wallet: {"wallet": "FILE or SOCKET", …}`)
	}
	if len(c.Networks) == 0 {
		return nil, errors.New(`a configuration of payments names no network: {"networks": {"eip155:8453": {"nodes": ["https://…"]}}, …}`)
	}
	return c, nil
}

type network struct {
	nodes         evm.Nodes
	confirmations uint64
}

// A Buyer pays from one wallet.
type Buyer struct {
	wallet   wallet.Wallet
	networks map[uint64]*network
	log      *slog.Logger

	mu    sync.Mutex
	known map[evm.Domain]bool // that tokens have, as the nodes agreed
}

// New returns a buyer with a wallet. Nothing is asked yet.
func New(w wallet.Wallet, c *Config, log *slog.Logger) (*Buyer, error) {
	b := &Buyer{wallet: w, networks: map[uint64]*network{}, log: log, known: map[evm.Domain]bool{}}
	for _, name := range slices.Sorted(maps.Keys(c.Networks)) {
		n := c.Networks[name]
		chain, err := x402.ParseNetwork(name)
		if err != nil {
			return nil, err
		}
		one := &network{confirmations: n.Confirmations, nodes: evm.Nodes{Quorum: n.Agree}}
		if n.Agree == 0 {
			one.nodes.Quorum = len(n.Nodes)
		}
		for _, address := range n.Nodes {
			node, err := evm.Dial(address)
			if err != nil {
				return nil, fmt.Errorf("network %s: %w", name, err)
			}
			one.nodes.All = append(one.nodes.All, node)
		}
		if err := one.nodes.Check(); err != nil {
			return nil, fmt.Errorf("network %s: %w", name, err)
		}
		b.networks[chain] = one
	}
	return b, nil
}

// Wallet returns the wallet.
func (b *Buyer) Wallet() wallet.Wallet { return b.wallet }

// Networks returns the chains that are configured.
func (b *Buyer) Networks() []uint64 { return slices.Sorted(maps.Keys(b.networks)) }

// Nodes returns the nodes of a chain, nil if there are none.
func (b *Buyer) Nodes(chain uint64) *evm.Nodes {
	n := b.networks[chain]
	if n == nil {
		return nil
	}
	return &n.nodes
}

// Confirmations returns how many blocks make a payment on a chain final, 0 for those that the
// chain itself calls so.
func (b *Buyer) Confirmations(chain uint64) uint64 {
	if n := b.networks[chain]; n != nil {
		return n.confirmations
	}
	return 0
}

// reorganised is how many blocks a chain may take back at most: what was signed now is in
// no block before.
const reorganised = 64

// Pay implements record.Buyer.
func (b *Buyer) Pay(ctx context.Context, r *x402.Required, o *x402.Offer, nonce evm.Hash) (*request.Paid, error) {
	n := b.networks[o.Chain]
	if n == nil {
		return nil, fmt.Errorf("this node has no configuration for network %s", o.Network())
	}
	newest, err := n.nodes.Newest(ctx, o.Chain)
	if err != nil {
		return nil, fmt.Errorf("the chain cannot be asked: %w", err)
	}
	domain := o.Domain()
	if err := b.knows(ctx, n, &domain); err != nil {
		return nil, err
	}
	a := &evm.Authorization{From: b.wallet.Address(), To: o.PayTo, Value: uint64(o.Amount), ValidBefore: newest.Time + uint64(o.Timeout), Nonce: nonce}
	s, err := b.wallet.Authorize(ctx, &domain, a)
	if err != nil {
		return nil, err
	}
	name, value := r.Pay(o, a, s)
	return &request.Paid{Domain: domain, Since: newest.Number - min(newest.Number, reorganised), Name: name, Value: value}, nil
}

// knows fails if the token has another domain than the server says. What the nodes agreed
// on once is not asked again: a token that is given another domain takes no signature that
// was made for the old one, and what was signed then is never paid.
func (b *Buyer) knows(ctx context.Context, n *network, d *evm.Domain) error {
	b.mu.Lock()
	known := b.known[*d]
	b.mu.Unlock()
	if known {
		return nil
	}
	if err := n.nodes.Knows(ctx, d); err != nil {
		return fmt.Errorf("the token cannot be told: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) >= maxKnown {
		clear(b.known)
	}
	b.known[*d] = true
	return nil
}

// maxKnown is how many domains of tokens are remembered. An agent's manifest says which
// tokens it pays in, so there are few.
const maxKnown = 256

// Fate implements record.Buyer.
func (b *Buyer) Fate(ctx context.Context, p *request.Paid) (evm.Finding, int) {
	payment, err := x402.ParsePayment(p.Name, p.Value)
	n := b.networks[p.Domain.Chain]
	if err != nil || n == nil {
		return evm.Finding{}, 0
	}
	f, errs := n.nodes.Ask(ctx, &evm.Query{Domain: p.Domain, Authorization: payment.Authorization, Since: p.Since, Confirmations: n.confirmations})
	for _, err := range errs {
		if ctx.Err() == nil {
			b.log.Warn("a node of the chain says nothing about a payment", "error", err, "nonce", payment.Authorization.Nonce)
		}
	}
	if f.Fate == evm.Conflict {
		b.log.Error("a payment's nonce was used for something else: what it holds stays held, and the wallet's key may be known to others",
			"nonce", payment.Authorization.Nonce, "transaction", f.Transaction, "wallet", payment.Authorization.From)
	}
	return f, len(n.nodes.All)
}

// What is asked of a chain again and again.
const (
	askFirst = 50 * time.Millisecond
	askMost  = time.Second
)

// Watch implements record.Buyer.
func (b *Buyer) Watch(ctx context.Context, p *request.Paid) (evm.Finding, int) {
	for wait := askFirst; ; wait = min(2*wait, askMost) {
		f, asked := b.Fate(ctx, p)
		if f.Confirmed && f.Fate != evm.Open || f.Fate == evm.Conflict {
			return f, asked
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return f, asked
		}
	}
}

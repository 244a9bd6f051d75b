package runtime

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"igor.dev/runtime/internal/buyer"
	"igor.dev/runtime/internal/hint"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/receipt"
	"igor.dev/runtime/internal/record"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/wal"
	receipts "igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
)

// paysOnChains reports whether the agent's manifest has hosts paid by x402.
func (b *body) paysOnChains() bool { return len(b.manifest.X402.Hosts) > 0 }

// hasOnchain reports whether there are receipts of payments on a chain.
func hasOnchain(folder wal.Folder) (bool, error) {
	f, err := folder.Open(receipt.Onchain)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// settleEvery is how often it is asked what became of payments whose end is not known.
const settleEvery = 5 * time.Second

// onchain finds out what became of payments on chains that have begun and not ended.
type onchain struct {
	next  time.Time
	found chan []settled // nil while nobody asks
}

// A settled is a payment whose fate is final.
type settled struct {
	id      journal.ID
	receipt *receipts.Onchain // nil = never paid
	fate    evm.Fate
}

// settlePayments ends what the chain has decided, and asks about the rest, in the
// background. It is called between two ticks of a life that is live. The first time it waits
// for the answer a little, so that a life of few ticks, or one without money, hears it too.
func (l *life) settlePayments(ctx context.Context) error {
	payments := l.engine.config.Payments
	if payments == nil {
		return nil
	}
	select {
	case all := <-l.onchain.found:
		l.onchain.found = nil
		if err := l.endPayments(all); err != nil {
			return err
		}
	default:
	}
	now := l.machine.now()
	if l.onchain.found != nil || now.Before(l.onchain.next) {
		return nil
	}
	first := l.onchain.next.IsZero()
	l.onchain.next = now.Add(settleEvery)
	open := map[journal.ID]request.Paid{}
	for _, e := range l.world.Journal.Effects() {
		if e.Kind != journal.Paid || e.State != journal.Begun || e.Tick > l.tick {
			continue
		}
		sent, err := l.world.Journal.Request(e.ID)
		if err != nil {
			return err
		}
		p, err := request.ParsePaid(bytes.Clone(sent))
		if err != nil {
			return err
		}
		open[e.ID] = p
	}
	if len(open) == 0 {
		return nil
	}
	found := make(chan []settled, 1)
	l.onchain.found = found
	go func() {
		var all []settled
		for id, p := range open {
			f, asked := payments.buyer.Fate(ctx, &p)
			o, _, final, err := record.Settled(&p, f, asked)
			if err == nil && final {
				all = append(all, settled{id, o, f.Fate})
			}
		}
		found <- all
	}()
	if !first {
		return nil
	}
	select {
	case all := <-found:
		l.onchain.found = nil
		return l.endPayments(all)
	case <-time.After(settleEvery):
	case <-ctx.Done():
	}
	return nil
}

func (l *life) endPayments(all []settled) error {
	for i := range all {
		if err := l.endPayment(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) endPayment(s *settled) error {
	if e, ok := l.world.Journal.Effect(s.id); !ok || e.State != journal.Begun {
		return nil // the operator was faster
	}
	note := fmt.Sprintf("the chain says: %s", s.fate)
	if s.receipt != nil {
		s.receipt.Time = l.machine.now().UnixNano()
		if err := l.books.move(s.receipt, l.key); err != nil {
			return err
		}
		note = fmt.Sprintf("the chain says: paid on %s, in transaction %s", x402.NetworkOf(s.receipt.Chain), evm.Hash(s.receipt.Transaction))
	}
	id, err := l.resolveEffect(l.store.Path(), s.id.String(), s.receipt != nil, note)
	if err != nil {
		return err
	}
	l.Log.Info("a payment is settled", "effect", id, "outcome", note)
	return nil
}

// Payments say how an engine pays what HTTP servers ask agents for by x402.
type Payments struct {
	Wallet wallet.Wallet
	buyer  *buyer.Buyer
}

// OpenPayments reads a configuration of payments (docs/spec/x402.md), and opens the wallet
// that it names. Files that it names are beside it, if they are not absolute.
func OpenPayments(ctx context.Context, file string, log *slog.Logger) (*Payments, error) {
	src, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(err, `make it: {"wallet": "FILE", "networks": {"eip155:8453": {"nodes": ["https://…"]}}}`)
	}
	if err != nil {
		return nil, err
	}
	c, err := buyer.ParseConfig(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	beside := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(file), name)
	}
	u, err := wallet.UnlockWith(beside(c.Passphrase), beside(c.Identity))
	if err != nil {
		return nil, err
	}
	w, err := OpenWallet(ctx, beside(c.Wallet), u)
	if err != nil {
		return nil, err
	}
	b, err := buyer.New(w, c, log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Payments{w, b}, nil
}

// OpenWallet opens a wallet's file, or that of the signer at a Unix socket.
func OpenWallet(ctx context.Context, file string, u wallet.Unlock) (wallet.Wallet, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.Wrap(fmt.Errorf("there is no wallet %s", file), "make one with igor wallet new %s", file)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeSocket {
		return wallet.Dial(ctx, file)
	}
	return wallet.Open(file, u)
}

// Chains say how chains are asked, without a wallet.
type Chains struct{ buyer *buyer.Buyer }

// OpenChains reads which nodes of which chains a configuration of payments names. Its wallet
// is left alone.
func OpenChains(file string) (*Chains, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := buyer.ParseConfig(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	b, err := buyer.New(nil, c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Chains{b}, nil
}

// Nodes returns the nodes of a chain, nil if there are none, and how many confirmations are
// wanted there.
func (c *Chains) Nodes(chain uint64) (*evm.Nodes, uint64) {
	return c.buyer.Nodes(chain), c.buyer.Confirmations(chain)
}

// Networks are the chains that the configuration names.
func (p *Payments) Networks() []uint64 { return p.buyer.Networks() }

// Nodes returns the nodes of a chain that the configuration names, nil if there are none.
func (p *Payments) Nodes(chain uint64) *evm.Nodes { return p.buyer.Nodes(chain) }

// A waitingBuyer asks without a turn.
type waitingBuyer struct {
	*buyer.Buyer
	turns *turns
}

func (b waitingBuyer) Pay(ctx context.Context, r *x402.Required, o *x402.Offer, nonce evm.Hash) (p *request.Paid, err error) {
	b.turns.without(func() { p, err = b.Buyer.Pay(ctx, r, o, nonce) })
	return p, err
}

func (b waitingBuyer) Fate(ctx context.Context, p *request.Paid) (f evm.Finding, asked int) {
	b.turns.without(func() { f, asked = b.Buyer.Fate(ctx, p) })
	return f, asked
}

func (b waitingBuyer) Watch(ctx context.Context, p *request.Paid) (f evm.Finding, asked int) {
	b.turns.without(func() { f, asked = b.Buyer.Watch(ctx, p) })
	return f, asked
}

// A Cancellation is what makes a token refuse a payment for good, once it is in a block.
// Anybody may send it, in a transaction of Data to Asset.
type Cancellation struct {
	ID      string `json:"id"`
	Network string `json:"network"`
	Asset   string `json:"to"`
	Data    string `json:"data"` // of a call of cancelAuthorization
}

// CancelPayment signs that an unresolved payment on a chain is never made. id may be the
// beginning of one. Nothing is sent, and the effect stays as it is until the chain says what
// became of it: the payment may be in a block before its cancellation is.
func CancelPayment(ctx context.Context, dir, id string, payments *Payments) (*Cancellation, error) {
	c, err := cancelPayment(ctx, dir, id, payments)
	return c, public(err)
}

func cancelPayment(ctx context.Context, dir, id string, payments *Payments) (*Cancellation, error) {
	all, err := readEffects(ctx, dir)
	if err != nil {
		return nil, err
	}
	e, err := named(dir, id, all, func(e *Effect) string { return e.ID })
	if err != nil {
		return nil, err
	}
	switch {
	case e.Network == "":
		return nil, hint.Wrap(fmt.Errorf("effect %s is no payment on a chain", e.ID), "igor effects compensate says of others that they did not happen")
	case e.Over():
		return nil, fmt.Errorf("effect %s is %s already", e.ID, e.State)
	case !e.Unresolved():
		return nil, hint.Wrap(fmt.Errorf("effect %s is under way", e.ID), "wait until it has ended")
	case payments.Wallet.Address().String() != e.Wallet:
		return nil, hint.Wrap(fmt.Errorf("effect %s pays from %s, and this is the wallet of %s", e.ID, e.Wallet, payments.Wallet.Address()), "name the configuration of the node that began it with --payments")
	}
	sent, err := hex.DecodeString(e.RequestHex)
	if err != nil {
		return nil, err
	}
	p, err := request.ParsePaid(sent)
	if err != nil {
		return nil, err
	}
	payment, err := x402.ParsePayment(p.Name, p.Value)
	if err != nil {
		return nil, err
	}
	nonce := payment.Authorization.Nonce
	s, err := payments.Wallet.Cancel(ctx, &p.Domain, nonce)
	if err != nil {
		return nil, err
	}
	return &Cancellation{e.ID, e.Network, e.Asset, fmt.Sprintf("0x%x", evm.CancelData(payment.Authorization.From, nonce, s))}, nil
}

package rent

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
)

// A Server takes rent. It is an [http.Handler].
type Server struct {
	config       Config
	answerWithin time.Duration
	settleWithin time.Duration // that a facilitator has
	atOnce       chan struct{}
	lock         *os.File

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	under   map[key]*pending
	byAgent map[verifier.PublicKey]*pending
}

// A key names an authorization.
type key struct {
	chain       uint64
	asset, from evm.Address
	nonce       evm.Hash
}

func keyOf(chain uint64, asset, from evm.Address, nonce evm.Hash) key {
	return key{chain, asset, from, nonce}
}

// A pending payment is durable, and may have been sent.
type pending struct {
	key
	agent   verifier.PublicKey
	payment *x402.Payment
	term    term
	header  string
	since   uint64

	done    chan struct{}
	receipt *receipt.Rent // after done: nil if it was never made
}

// A kept payment is what its file has.
type kept struct {
	Agent  string `json:"agent"`
	Header string `json:"paymentSignature"`
	Since  uint64 `json:"since,string"`

	Amount     int64  `json:"amountMicrocents,string"`
	Begins     int64  `json:"leaseBegins,string,omitempty"` // Unix nanoseconds
	Ends       int64  `json:"leaseEnds,string,omitempty"`
	Prev       string `json:"prev,omitempty"`
	Checkpoint string `json:"checkpoint,omitempty"`
	Receipts   uint64 `json:"receipts,string,omitempty"`
}

func (p *pending) keep() ([]byte, error) {
	t := &p.term
	k := kept{Agent: p.agent.DID(), Header: p.header, Since: p.since, Amount: t.Amount, Begins: t.Begins, Ends: t.Ends, Receipts: t.Receipts}
	if t.Receipts > 0 {
		k.Prev, k.Checkpoint = evm.Hash(t.Prev).String(), evm.Hash(t.Checkpoint).String()
	}
	return json.Marshal(k)
}

func (p *pending) query(s *Server) *evm.Query {
	return &evm.Query{Domain: s.config.Domain, Authorization: p.payment.Authorization, Since: p.since, Confirmations: s.config.Confirmations}
}

// reorganised is how many blocks a chain may take back at most: what is signed now is in no
// block before.
const reorganised = 64

// Open opens a server of rent, and goes on with the payments that were under way. It asks
// the chain whether the token is what the configuration says.
func Open(ctx context.Context, c Config) (*Server, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Least == 0 {
		c.Least = 1
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Books == nil, c.Facilitator == nil, c.Folder == "":
		return nil, errors.New("rent needs books, a facilitator and a folder")
	case len(c.Key) != ed25519.PrivateKeySize:
		return nil, errors.New("rent needs the node's key, for its receipts")
	case c.PayTo.IsZero() || c.PayTo == c.Domain.Contract:
		return nil, errors.New("rent paid to this address is lost")
	case c.Timeout > x402.MaxTimeout:
		return nil, fmt.Errorf("a payment can be used for %d seconds at most", x402.MaxTimeout)
	case c.Least < 0 || c.Lease != nil && (c.Lease.Price <= 0 || c.Lease.Period < time.Minute):
		return nil, errors.New("a lease has a price, and is for a minute or longer")
	}
	if err := c.Nodes.Knows(ctx, &c.Domain); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFolder(c.Folder)
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, answerWithin: answerWithin, settleWithin: settleWithin, atOnce: make(chan struct{}, maxAtOnce), lock: lock, under: map[key]*pending{}, byAgent: map[verifier.PublicKey]*pending{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.recover(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the server. Payments under way go on when it is opened again.
func (s *Server) Close() error {
	s.stop()
	s.work.Wait()
	return s.lock.Close()
}

// recover reads the payments that were under way. One that cannot be read is an error: there
// may be money in it.
func (s *Server) recover() error {
	names, err := filepath.Glob(filepath.Join(s.config.Folder, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p, err := parseKept(src)
		if err != nil {
			return fmt.Errorf("%s: %w; it may have been paid", name, err)
		}
		if filepath.Base(name) != p.file() {
			return fmt.Errorf("%s has another payment than its name says", name)
		}
		if p.payment.Chain != s.config.Domain.Chain || p.payment.Offer.Asset != s.config.Domain.Contract {
			return fmt.Errorf("%s is a payment on %s in %s, which the configuration does not have any more", name, x402.NetworkOf(p.payment.Chain), p.payment.Offer.Asset)
		}
		s.under[p.key], s.byAgent[p.agent] = p, p
	}
	for _, p := range s.under {
		s.work.Go(func() { s.settle(p, false) })
	}
	return nil
}

func parseKept(src []byte) (*pending, error) {
	var k kept
	if err := json.Unmarshal(src, &k); err != nil {
		return nil, errors.New("not a payment under way")
	}
	p := &pending{header: k.Header, since: k.Since, done: make(chan struct{}),
		term: term{Amount: k.Amount, Begins: k.Begins, Ends: k.Ends, Receipts: k.Receipts}}
	var err error
	if k.Receipts > 0 {
		prev, bad := evm.ParseHash(k.Prev)
		checkpoint, worse := evm.ParseHash(k.Checkpoint)
		if err := errors.Join(bad, worse); err != nil {
			return nil, err
		}
		p.term.Prev, p.term.Checkpoint = verifier.Hash(prev), verifier.Hash(checkpoint)
	}
	if p.agent, err = verifier.ParseDID(k.Agent); err != nil {
		return nil, err
	}
	if p.payment, err = x402.ParsePayment(x402.HeaderSignature, k.Header); err != nil {
		return nil, err
	}
	a := &p.payment.Authorization
	if int64(a.Value) != k.Amount || a.Value == 0 {
		return nil, errors.New("a payment of another amount than it is for")
	}
	p.key = keyOf(p.payment.Chain, p.payment.Offer.Asset, a.From, a.Nonce)
	return p, nil
}

// file is the name of a payment's file.
func (k *key) file() string {
	h := evm.Keccak256(fmt.Appendf(nil, "%d %s %s %s", k.chain, k.asset, k.from, k.nonce))
	return hex.EncodeToString(h[:16]) + ".json"
}

// pending reports whether a payment for an agent is under way.
func (s *Server) pending(agent verifier.PublicKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byAgent[agent] != nil
}

// underWay returns a payment that is under way for an agent, or says that it is for another
// agent, or that another one is for this agent.
func (s *Server) underWay(k key, agent verifier.PublicKey) (p *pending, elsewhere, another bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p = s.under[k]; p != nil {
		return p, p.agent != agent, false
	}
	return nil, false, s.byAgent[agent] != nil
}

var (
	errTaken = errors.New("another payment is under way")
	errFull  = errors.New("too many payments are under way")
	errStale = errors.New("something else is due")
)

// begin writes a payment down, which is sent from then on. Of several that come at once for
// one agent it takes one.
func (s *Server) begin(ctx context.Context, p *pending) (*pending, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if had := s.under[p.key]; had != nil && had.agent == p.agent {
		return had, nil
	}
	switch {
	case s.under[p.key] != nil, s.byAgent[p.agent] != nil:
		return nil, errTaken
	case len(s.under) >= maxPending:
		return nil, errFull
	}
	account, err := s.config.Books.Account(ctx, p.agent)
	if err != nil {
		return nil, err
	}
	t := s.due(account, p.term.Amount)
	if account.find(p.key) != nil || t == nil || t.Amount != p.term.Amount {
		return nil, errStale
	}
	p.term = *t
	src, err := p.keep()
	if err != nil {
		return nil, err
	}
	if err := writeFile(s.config.Folder, p.file(), src); err != nil {
		return nil, err
	}
	reach("written")
	s.under[p.key], s.byAgent[p.agent] = p, p
	s.work.Go(func() { s.settle(p, true) })
	return p, nil
}

// How often a payment is asked about, and sent again.
const (
	askFirst  = 50 * time.Millisecond
	askMost   = 2 * time.Second
	sendFirst = 2 * time.Second
	sendMost  = time.Minute
)

// settle follows a payment to its end.
func (s *Server) settle(p *pending, fresh bool) {
	offer := s.offer(&p.term)
	log := s.config.Log.With("did", p.agent.DID(), "nonce", p.payment.Authorization.Nonce.String())
	// A facilitator may wait for a block that the chain has taken back: meanwhile the chain is asked.
	sent := make(chan struct{}, 1)
	send := func() {
		s.work.Go(func() {
			ctx, stop := context.WithTimeout(s.ctx, s.settleWithin)
			defer stop()
			said, err := s.config.Facilitator.Settle(ctx, p.header, offer)
			reach("settled")
			switch {
			case s.ctx.Err() != nil:
			case err != nil:
				log.Warn("a payment of rent was sent, and the facilitator does not say what became of it: the chain will", "error", err)
			case !said.Success:
				log.Warn("the facilitator says that a payment of rent is not made: the chain will say", "reason", said.Reason)
			}
			sent <- struct{}{}
		})
	}
	sending, last, again := false, time.Time{}, time.Duration(0) // what is from before a crash is sent at once, if it is not used
	if fresh {
		send()
		sending = true
	}
	for wait := askFirst; s.ctx.Err() == nil; wait = min(2*wait, askMost) {
		select {
		case <-sent:
			sending, last, again, wait = false, time.Now(), min(max(2*again, sendFirst), sendMost), askFirst
		default:
		}
		f, errs := s.config.Nodes.Ask(s.ctx, p.query(s))
		switch {
		case f.Confirmed && f.Fate == evm.Paid:
			if s.credit(p, f, log) {
				return
			}
		case f.Confirmed && (f.Fate == evm.Never || f.Fate == evm.Cancelled || f.Fate == evm.Conflict):
			if err := removeFile(s.config.Folder, p.file()); err != nil {
				log.Error("a payment of rent has ended, and its file cannot be removed", "error", err)
				break
			}
			log.Info("a payment of rent was never made", "outcome", f.Fate.String())
			s.end(p, nil)
			return
		case f.Fate == evm.Open && !sending && time.Since(last) > again:
			send()
			sending = true
		case f.Fate == evm.Unknown && wait == askMost:
			log.Warn("the chain does not say what became of a payment of rent", "error", errors.Join(errs...))
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
		}
	}
}

// credit signs the receipt of a payment that was made, and tells the books.
func (s *Server) credit(p *pending, f evm.Finding, log *slog.Logger) bool {
	account, err := s.config.Books.Account(s.ctx, p.agent)
	var r *receipt.Rent
	if err == nil {
		if r = account.find(p.key); r == nil { // it was not before a crash
			r = s.receipt(p, f)
		}
		err = s.config.Books.Rented(s.ctx, r) // also what was: it may not have been durable
		reach("rented")
	}
	if err == nil {
		err = removeFile(s.config.Folder, p.file())
		reach("removed")
	}
	if err != nil {
		log.Error("rent was paid, and cannot be written into the books: it is tried again", "error", err)
		return false
	}
	log.Info("rent is paid", "amount", verifier.FormatMicrocents(r.Amount), "transaction", evm.Hash(r.Transaction).String())
	s.end(p, r)
	return true
}

func (s *Server) receipt(p *pending, f evm.Finding) *receipt.Rent {
	t := &p.term
	r := &receipt.Rent{Agent: p.agent, Node: verifier.PublicKey(s.config.Key.Public().(ed25519.PublicKey)), Chain: p.chain, Asset: p.asset, From: p.from, To: p.payment.Authorization.To,
		Amount: t.Amount, Nonce: p.nonce, Transaction: f.Transaction, Prev: t.Prev, Checkpoint: t.Checkpoint, Receipts: t.Receipts,
		Begins: t.Begins, Ends: t.Ends, Time: s.config.Now().UnixNano()}
	copy(r.Signature[:], ed25519.Sign(s.config.Key, r.AppendMessage(nil)))
	return r
}

func (s *Server) end(p *pending, r *receipt.Rent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, p.key)
	delete(s.byAgent, p.agent)
	p.receipt = r
	close(p.done)
}

// writeFile makes a file durable.
func writeFile(folder, name string, content []byte) error {
	next := filepath.Join(folder, "."+name)
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(folder, name)); err != nil {
		return err
	}
	return syncFolder(folder)
}

func removeFile(folder, name string) error {
	if err := os.Remove(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reach is for tests, which end the process there.
var reach = func(string) {}

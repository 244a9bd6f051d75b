// Package rent is the server side of rent: a node is paid for running an agent, by x402,
// before or after it did.
//
//	POST /rent/did:key:z6Mk…                     402, PAYMENT-REQUIRED: what is due
//	POST /rent/did:key:z6Mk…, PAYMENT-SIGNATURE  200, PAYMENT-RESPONSE, and the node's receipt
//	POST /rent/did:key:z6Mk…                     200: nothing is due, and the newest receipt
//
// What is due is a lease, or the sum of the agent's execution receipts that nobody paid.
// Who asks again after an answer was lost gets the receipt, and is not asked for money.
//
// A facilitator sends payments to the chain, and the chain says what became of them: the
// facilitator's word counts for nothing. A payment is durable before it is sent, and is
// followed to its end, whoever waits for it. docs/spec/rent.md has the rules.
package rent

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
)

// ErrUnknown is the error of [Books] that have nothing of an agent.
var ErrUnknown = errors.New("this node has not run the agent")

// Books say what a node gave receipts for and what was paid, and are told of more. The
// budget adapter of a node is one: package runtime's Ledger is.
type Books interface {
	// Account returns what there is of an agent, or [ErrUnknown].
	Account(ctx context.Context, agent verifier.PublicKey) (*Account, error)
	// Rented keeps a receipt for rent, durably. One that it has may come again, after an
	// error or a crash.
	Rented(ctx context.Context, r *receipt.Rent) error
}

// An Account is what a node knows of one agent's rent.
type Account struct {
	Rents []*receipt.Rent // the oldest first
	// Paid is the checkpoint up to whose receipt the node was paid, zero if it was not.
	Paid verifier.Hash
	// Unpaid are the execution receipts after it, the oldest first.
	Unpaid []Unpaid
}

// Unpaid is an execution receipt that nobody paid yet.
type Unpaid struct {
	Checkpoint verifier.Hash
	Cost       int64
}

// Until is when the newest lease ends; zero = there never was one.
func (a *Account) Until() time.Time {
	if ends := a.until(); ends > 0 {
		return time.Unix(0, ends)
	}
	return time.Time{}
}

// until is when the newest lease ends, in Unix nanoseconds.
func (a *Account) until() (ends int64) {
	for _, r := range a.Rents {
		if r.Lease() {
			ends = max(ends, r.Ends)
		}
	}
	return ends
}

// A Lease is a time for which an agent may run.
type Lease struct {
	Period time.Duration
	Price  int64 // microcents
}

// String returns how long it is, such as 30 days or 1h30m.
func (l *Lease) String() string {
	const day = 24 * time.Hour
	if days := l.Period / day; days > 0 && l.Period%day == 0 {
		return fmt.Sprintf("%d days", days)
	}
	s := strings.TrimSuffix(l.Period.String(), "m0s")
	if s != l.Period.String() {
		s = strings.TrimSuffix(s+"m", "h0m")
		if strings.HasSuffix(l.Period.String(), "h0m0s") {
			s += "h"
		}
	}
	return s
}

// A Config says how a node is paid.
type Config struct {
	Books Books
	// Key is the node's, which signs receipts.
	Key ed25519.PrivateKey
	// Folder has the payments that are under way. One process at a time has it.
	Folder string

	// Domain is of the token.
	Domain evm.Domain
	// PayTo gets the rent, and nothing else: a payment that somebody makes to it elsewhere
	// could be shown here.
	PayTo evm.Address
	// Timeout is for how many seconds a payment may be used; 0 = 60.
	Timeout uint32

	Nodes         evm.Nodes
	Confirmations uint64 // as of evm.Query
	Facilitator   *x402.Facilitator

	// Lease is what is due; nil = the sum of execution receipts.
	Lease *Lease
	// Hosts reports whether an agent is here. For one that is not, no lease is offered; what
	// was paid on an offer of before is taken. nil = all that the books know are here.
	Hosts func(agent verifier.PublicKey) bool
	// Least is the smallest sum of receipts that is asked for, for a settlement has its
	// price too; 0 = 1.
	Least int64

	// URL is where the handler is, as its clients see it, such as https://node.example.com.
	URL string
	Log *slog.Logger // nil = none

	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

const (
	defaultTimeout = 60
	maxBody        = 4 << 10          // of a request, whose body means nothing
	maxPending     = 1024             // payments under way
	maxAtOnce      = 32               // requests with a payment that are looked at
	answerWithin   = 12 * time.Second // clients of igor wait for 15
	settleWithin   = 15 * time.Second // that a facilitator has
)

// A term is what one payment is for.
type term struct {
	Amount           int64
	Begins, Ends     int64         // of a lease
	Prev, Checkpoint verifier.Hash // of receipts
	Receipts         uint64
}

// due returns what an agent has to pay now, nil if nothing. of is an amount that was offered
// before: receipts that were given since then are left for another time.
func (s *Server) due(a *Account, of int64) *term {
	if l := s.config.Lease; l != nil {
		now := s.config.Now().UnixNano()
		begins := max(now, a.until())
		if begins-now > int64(l.Period/2) {
			return nil // it has a lease, and most of it is to come
		}
		return &term{Amount: l.Price, Begins: begins, Ends: begins + int64(l.Period)}
	}
	t := &term{Prev: a.Paid}
	var found *term
	for _, u := range a.Unpaid {
		if u.Cost < 0 || t.Amount+u.Cost < t.Amount {
			break // no money has so much
		}
		t.Amount, t.Checkpoint = t.Amount+u.Cost, u.Checkpoint
		t.Receipts++
		if of == t.Amount {
			copied := *t
			found = &copied
		}
	}
	switch {
	case found != nil && of >= s.config.Least:
		return found
	case t.Amount >= s.config.Least:
		return t
	}
	return nil
}

func (s *Server) offer(t *term) *x402.Offer {
	c := &s.config
	return &x402.Offer{Chain: c.Domain.Chain, Asset: c.Domain.Contract, PayTo: c.PayTo, Amount: t.Amount, Timeout: c.Timeout, Name: c.Domain.Name, Version: c.Domain.Version}
}

// An answer is what a client is told.
type answer struct {
	DID     string `json:"did"`
	Error   string `json:"error,omitempty"`
	Due     string `json:"dueMicrocents,omitempty"`
	Network string `json:"network,omitempty"`
	// Of the newest receipt for rent.
	Paid        string `json:"paidMicrocents,omitempty"`
	Transaction string `json:"transaction,omitempty"`
	LeaseEnds   string `json:"leaseEnds,omitempty"`
	Checkpoint  string `json:"checkpoint,omitempty"`
	Receipt     string `json:"receipt,omitempty"` // base64
}

func say(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(a)
}

// ServeHTTP implements [http.Handler], for paths that end with /rent/DID.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, did, ok := strings.Cut(r.URL.Path, "/rent/")
	if !ok || did == "" || strings.Contains(did, "/") {
		say(w, http.StatusNotFound, answer{Error: "the path is /rent/ and the DID of an agent"})
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		say(w, http.StatusMethodNotAllowed, answer{Error: "rent is paid by POST"})
		return
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxBody+1)); err != nil || n > maxBody {
		w.Header().Set("Connection", "close")
		say(w, http.StatusRequestEntityTooLarge, answer{Error: fmt.Sprintf("a body means nothing here, and has at most %d bytes", maxBody)})
		return
	}
	agent, err := verifier.ParseDID(did)
	if err != nil || agent.Weak() {
		say(w, http.StatusBadRequest, answer{Error: "the path does not end with the DID of an agent, which begins with did:key:z6Mk"})
		return
	}
	account, err := s.config.Books.Account(r.Context(), agent)
	switch {
	case errors.Is(err, ErrUnknown):
		say(w, http.StatusNotFound, answer{DID: did, Error: "this node has not run the agent"})
		return
	case err != nil:
		s.config.Log.Error("the rent of an agent cannot be read", "did", did, "error", err)
		s.later(w, answer{DID: did, Error: "the node's books cannot be read now"})
		return
	}
	switch values := r.Header.Values(x402.HeaderSignature); {
	case len(values) > 1:
		say(w, http.StatusBadRequest, answer{DID: did, Error: "there are two payments, and nobody can tell which one counts"})
	case len(values) == 1:
		s.paid(w, r, agent, account, values[0])
	case s.pending(agent):
		s.later(w, answer{DID: did, Error: "a payment for the agent is being settled"})
	case s.config.Lease != nil && s.config.Hosts != nil && !s.config.Hosts(agent):
		say(w, http.StatusNotFound, answer{DID: did, Error: "the agent is not at this node any more: nobody pays a lease for it here"})
	default:
		s.ask(w, agent, account, "")
	}
}

// later asks the client to come again.
func (s *Server) later(w http.ResponseWriter, a answer) {
	w.Header().Set("Retry-After", "5")
	status := http.StatusServiceUnavailable
	if a.Error == "a payment for the agent is being settled" {
		status = http.StatusConflict
	}
	say(w, status, a)
}

// ask asks for what is due. reason says why a payment that came is not taken: nothing of it
// was sent anywhere.
func (s *Server) ask(w http.ResponseWriter, agent verifier.PublicKey, account *Account, reason string) {
	did := agent.DID()
	t := s.due(account, 0)
	if t == nil {
		a := answer{DID: did, Due: "0"}
		if n := len(account.Rents); n > 0 {
			a.add(account.Rents[n-1])
		}
		if reason != "" {
			a.Error = reason
			say(w, http.StatusConflict, a)
			return
		}
		say(w, http.StatusOK, a)
		return
	}
	var what string
	if l := s.config.Lease; l != nil {
		what = "a lease of " + l.String()
	} else {
		what = strconv.FormatUint(t.Receipts, 10) + " execution receipts, up to checkpoint " + t.Checkpoint.CID()
	}
	w.Header().Set(x402.HeaderRequired, x402.Require(x402.Resource{URL: strings.TrimSuffix(s.config.URL, "/") + "/rent/" + did, Description: "rent: " + what, MimeType: "application/json"}, reason, s.offer(t)))
	say(w, http.StatusPaymentRequired, answer{DID: did, Error: reason, Due: strconv.FormatInt(t.Amount, 10), Network: x402.NetworkOf(s.config.Domain.Chain)})
}

func (a *answer) add(r *receipt.Rent) {
	a.Network = x402.NetworkOf(r.Chain)
	a.Paid, a.Transaction = strconv.FormatInt(r.Amount, 10), evm.Hash(r.Transaction).String()
	if r.Lease() {
		a.LeaseEnds = time.Unix(0, r.Ends).UTC().Format(time.RFC3339)
	} else {
		a.Checkpoint = r.Checkpoint.CID()
	}
	a.Receipt = base64.StdEncoding.EncodeToString(r.Append(nil))
}

// given answers with the receipt of a payment.
func (s *Server) given(w http.ResponseWriter, r *receipt.Rent) {
	w.Header().Set(x402.HeaderResponse, (&x402.Response{Success: true, Transaction: r.Transaction, Network: x402.NetworkOf(r.Chain)}).Header(r.From))
	a := answer{DID: r.Agent.DID()}
	a.add(r)
	say(w, http.StatusOK, a)
}

// find returns the receipt of a payment that was made.
func (a *Account) find(k key) *receipt.Rent {
	for _, r := range a.Rents {
		if keyOf(r.Chain, r.Asset, r.From, r.Nonce) == k {
			return r
		}
	}
	return nil
}

// paid answers a request with a payment.
func (s *Server) paid(w http.ResponseWriter, r *http.Request, agent verifier.PublicKey, account *Account, header string) {
	did, ctx := agent.DID(), r.Context()
	payment, err := x402.ParsePayment(x402.HeaderSignature, header)
	if err != nil {
		say(w, http.StatusBadRequest, answer{DID: did, Error: err.Error()})
		return
	}
	a := &payment.Authorization
	k := keyOf(payment.Chain, payment.Offer.Asset, a.From, a.Nonce)
	if done := account.find(k); done != nil {
		s.given(w, done)
		return
	}
	under, elsewhere, another := s.underWay(k, agent)
	switch {
	case elsewhere:
		say(w, http.StatusConflict, answer{DID: did, Error: "the payment is for another agent"})
		return
	case under != nil:
		s.wait(w, r, under)
		return
	case another:
		s.later(w, answer{DID: did, Error: "a payment for the agent is being settled"})
		return
	}
	refuse := func(reason string) { s.ask(w, agent, account, reason) }
	t := s.due(account, int64(min(a.Value, 1<<63-1)))
	if t == nil {
		refuse("nothing is due, and nothing was taken")
		return
	}
	offer := s.offer(t)
	if !payment.Takes(offer) {
		refuse("the payment is not for what is due")
		return
	}
	if !payment.Signed(&s.config.Domain) {
		refuse("the payer did not sign the payment")
		return
	}
	select {
	case s.atOnce <- struct{}{}:
		defer func() { <-s.atOnce }()
	default:
		s.later(w, answer{DID: did, Error: "too many payments come at once"})
		return
	}
	newest, err := s.config.Nodes.Newest(ctx, payment.Chain)
	if err != nil {
		s.config.Log.Warn("the chain cannot be asked, and rent is not taken", "error", err)
		s.later(w, answer{DID: did, Error: "the chain cannot be asked now, and nothing was taken"})
		return
	}
	if reason := payment.InTime(offer, newest.Time); reason != "" {
		refuse("the payment: " + reason)
		return
	}
	p := &pending{key: k, agent: agent, payment: payment, term: *t, header: header, since: newest.Number - min(newest.Number, reorganised), done: make(chan struct{})}
	if fate, errs := s.config.Nodes.Ask(ctx, p.query(s)); fate.Fate != evm.Open {
		if fate.Fate == evm.Unknown {
			s.config.Log.Warn("the chain cannot be asked, and rent is not taken", "error", errors.Join(errs...))
			s.later(w, answer{DID: did, Error: "the chain cannot be asked now, and nothing was taken"})
			return
		}
		if account, err = s.config.Books.Account(ctx, agent); err != nil {
			s.later(w, answer{DID: did, Error: "the node's books cannot be read now"})
		} else if done := account.find(k); done != nil { // meanwhile
			s.given(w, done)
		} else {
			s.ask(w, agent, account, "the payment was used before, and not for this")
		}
		return
	}
	valid, reason, err := s.config.Facilitator.Verify(ctx, header, offer)
	switch {
	case err != nil:
		s.config.Log.Warn("rent is not taken", "error", err)
		s.later(w, answer{DID: did, Error: "the facilitator cannot be asked now, and nothing was taken"})
		return
	case !valid:
		refuse("the facilitator does not take the payment: " + reason)
		return
	}
	switch under, err := s.begin(ctx, p); {
	case errors.Is(err, errTaken):
		s.later(w, answer{DID: did, Error: "a payment for the agent is being settled"})
	case errors.Is(err, errFull):
		s.later(w, answer{DID: did, Error: "too many payments are under way"})
	case errors.Is(err, errStale):
		account, err := s.config.Books.Account(ctx, agent)
		if err != nil {
			s.later(w, answer{DID: did, Error: "the node's books cannot be read now"})
			return
		}
		if done := account.find(k); done != nil {
			s.given(w, done)
			return
		}
		s.ask(w, agent, account, "something else is due by now")
	case err != nil:
		s.config.Log.Error("rent is not taken: a payment cannot be written down", "error", err)
		s.later(w, answer{DID: did, Error: "the node cannot write now, and nothing was taken"})
	default:
		s.wait(w, r, under)
	}
}

// wait waits for the end of a payment, for a while.
func (s *Server) wait(w http.ResponseWriter, r *http.Request, p *pending) {
	late := time.NewTimer(s.answerWithin)
	defer late.Stop()
	select {
	case <-p.done:
		if p.receipt != nil {
			s.given(w, p.receipt)
			return
		}
		if account, err := s.config.Books.Account(r.Context(), p.agent); err == nil {
			s.ask(w, p.agent, account, "the payment was never made")
			return
		}
	case <-late.C:
	case <-r.Context().Done():
	}
	failed := &x402.Response{Reason: "settlement_pending", Network: x402.NetworkOf(p.payment.Chain)}
	w.Header().Set(x402.HeaderResponse, failed.Header(p.payment.Authorization.From))
	s.later(w, answer{DID: p.agent.DID(), Error: "whether the payment was made is not known yet: ask again with the same one, never with another"})
}

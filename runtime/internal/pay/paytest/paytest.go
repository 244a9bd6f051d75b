// Package paytest is a payment endpoint for tests and demonstrations: it keeps
// its ledger in memory, and counts what it was sent.
package paytest

import (
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"sync"

	"igor.dev/runtime/internal/pay"
	"igor.dev/verifier/receipt"
)

// A Ledger is an endpoint as package pay describes it.
type Ledger struct {
	// Refuse, if it is there, says which payments are refused.
	Refuse func(*receipt.Payment) bool

	mu       sync.Mutex
	payments map[string]*receipt.Payment // by nonce
	repeats  int
	forged   int
}

// ServeHTTP implements [http.Handler].
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	nonce := r.Header.Get("Idempotency-Key")
	if r.Method == http.MethodGet {
		nonce = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if p := l.payments[nonce]; p != nil {
			pay.Answer{Status: pay.Settled, Nonce: nonce, Amount: p.Amount}.Write(w)
		} else {
			pay.Answer{Status: pay.Unknown, Nonce: nonce}.Write(w)
		}
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, int64(receipt.MaxPaymentSize)+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	got, size, err := receipt.Parse(b)
	p, ok := got.(*receipt.Payment)
	if err != nil || !ok || size != len(b) || nonce != hex.EncodeToString(p.Nonce[:]) {
		l.forged++
		pay.Answer{Status: pay.Refused, Nonce: nonce}.Write(w)
		return
	}
	pay.Answer{Status: l.take(p, b), Nonce: nonce, Amount: p.Amount}.Write(w)
}

func (l *Ledger) take(p *receipt.Payment, b []byte) pay.Status {
	nonce := hex.EncodeToString(p.Nonce[:])
	switch known := l.payments[nonce]; {
	case !p.Authentic():
		l.forged++
		return pay.Refused
	case known != nil && string(known.Append(nil)) == string(b):
		l.repeats++
		return pay.Settled
	case known != nil:
		l.forged++
		return pay.Refused
	case l.Refuse != nil && l.Refuse(p):
		return pay.Refused
	}
	if l.payments == nil {
		l.payments = map[string]*receipt.Payment{}
	}
	l.payments[nonce] = p
	return pay.Settled
}

// Paid returns the number of payments and their sum, in microcents.
func (l *Ledger) Paid() (payments int, sum int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.payments {
		sum += p.Amount
	}
	return len(l.payments), sum
}

// Repeats returns how often a payment came that had come before.
func (l *Ledger) Repeats() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.repeats
}

// Forged returns how many came that nobody signed, or that differ from what came
// under their nonce.
func (l *Ledger) Forged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forged
}

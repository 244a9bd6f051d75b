package lab

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
)

// A shop is a server that all nodes reach, one for each agent. It counts what it is sent, and
// answers a GET with what was posted there.
type shop struct {
	server http.Server
	market *market // who sells there, nil = nobody
	mu     sync.Mutex
	posts  map[string]int // by what was sent
	there  map[string][]byte
	gets   int
}

// Where the shop of the first agent listens; the next one has the next port. placeholder is
// what stands for its address in a program, which has as many bytes.
const (
	shopPort    = 17447
	placeholder = "127.0.0.1:00000"
)

func openShop(l net.Listener, m *market) *shop {
	s := &shop{market: m, posts: map[string]int{}, there: map[string][]byte{}}
	s.server.Handler = s
	go s.server.Serve(l)
	return s
}

func (s *shop) close() { s.server.Close() }

// ServeHTTP implements [http.Handler].
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.market != nil && s.market.sells(r.URL.Path) {
		if r.Header.Get(x402.HeaderSignature) == "" { // else it is the same request again
			s.mu.Lock()
			s.gets++
			s.mu.Unlock()
		}
		s.market.proxy.ServeHTTP(w, r)
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet {
		s.gets++
		b, is := s.there[r.URL.Path]
		if !is {
			w.WriteHeader(http.StatusNotFound)
		}
		w.Write(b)
		return
	}
	s.there[r.URL.Path] = b
	s.posts[fmt.Sprintf("%s %x", r.URL.Path, b)]++
}

// sent returns how many requests came that send something, and how many that ask for
// something, and which of the former came more than once.
func (s *shop) sent() (n, asked int, twice []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for what, times := range s.posts {
		n += times
		if times > 1 {
			twice = append(twice, what)
		}
	}
	return n, s.gets, twice
}

// A bank is the pay endpoint of all nodes (docs/spec/pay.md): it settles what agents pay,
// each payment once.
type bank struct {
	server http.Server
	mu     sync.Mutex
	paid   map[[32]byte]*receipt.Payment // by nonce
	bad    []string
}

const bankPort = shopPort - 1

func openBank(l net.Listener) *bank {
	b := &bank{paid: map[[32]byte]*receipt.Payment{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pay", b.settle)
	mux.HandleFunc("GET /pay/{nonce}", b.what)
	b.server.Handler = mux
	go b.server.Serve(l)
	return b
}

func (b *bank) close() { b.server.Close() }

func (b *bank) settle(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		return
	}
	got, _, err := receipt.Parse(raw)
	p, is := got.(*receipt.Payment)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil || !is || !p.Authentic():
		b.bad = append(b.bad, fmt.Sprintf("%.60x is no payment that its agent signed", raw))
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	case b.paid[p.Nonce] != nil && !bytes.Equal(b.paid[p.Nonce].Append(nil), raw):
		b.bad = append(b.bad, fmt.Sprintf("two payments have the nonce %x", p.Nonce))
		w.WriteHeader(http.StatusForbidden)
		return
	}
	b.paid[p.Nonce] = p
	answerPayment(w, "settled", p.Nonce, p.Amount)
}

func (b *bank) what(w http.ResponseWriter, r *http.Request) {
	var nonce [32]byte
	if n, err := hex.Decode(nonce[:], []byte(r.PathValue("nonce"))[:min(64, len(r.PathValue("nonce")))]); err != nil || n != len(nonce) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	p := b.paid[nonce]
	b.mu.Unlock()
	if p == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"status": "unknown", "nonce": "%x"}`, nonce)
		return
	}
	answerPayment(w, "settled", nonce, p.Amount)
}

func answerPayment(w http.ResponseWriter, status string, nonce [32]byte, amount int64) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"status": %q, "nonce": "%x", "amountMicrocents": "%d"}`, status, nonce, amount)
}

// of returns what an agent paid: how often, and how much.
func (b *bank) of(agent verifier.PublicKey) (n int, amount int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.paid {
		if p.Payer == agent {
			n++
			amount += p.Amount
		}
	}
	return n, amount
}

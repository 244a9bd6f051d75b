package pay_test

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"testing"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/pay"
	"igor.dev/runtime/internal/pay/paytest"
	signer "igor.dev/runtime/internal/receipt"
	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
)

func authorise(t *testing.T, effect byte, amount int64) []byte {
	t.Helper()
	p := &receipt.Payment{Nonce: receipt.PaymentNonce([32]byte{effect}), Amount: amount, Time: 1, Recipient: "bob"}
	if err := signer.SignPayment(p, ed25519.NewKeyFromSeed(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	return p.Append(nil)
}

func endpoint(t *testing.T, h http.Handler) *pay.Endpoint {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	e, err := pay.NewEndpoint(s.URL + "/payments/")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPay(t *testing.T) {
	ledger := &paytest.Ledger{Refuse: func(p *receipt.Payment) bool { return p.Amount > 100 }}
	e := endpoint(t, ledger)
	one, two, much := authorise(t, 1, 10), authorise(t, 2, 20), authorise(t, 3, 1000)
	settled := func(a []byte, want bool) {
		t.Helper()
		if got, known := e.Settled(t.Context(), a); got != want || !known {
			t.Errorf("settled: got %v, known %v, want %v", got, known, want)
		}
	}
	settled(one, false)
	for _, a := range [][]byte{one, one, two} { // the second one is a repeat
		if got, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: a}); code != 0 || string(got) != string(a) {
			t.Errorf("got %x, %d", got, code)
		}
	}
	settled(one, true)
	if _, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: much}); code != hostcall.CodeProcessing {
		t.Errorf("a payment that is refused gives %d", code)
	}
	settled(much, false)
	forged := authorise(t, 4, 1)
	forged[len(forged)-1] ^= 1
	if _, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: forged}); code != hostcall.CodeProcessing {
		t.Errorf("a forged payment gives %d", code)
	}
	if n, sum := ledger.Paid(); n != 2 || sum != 30 || ledger.Repeats() != 1 || ledger.Forged() != 1 {
		t.Errorf("%d payments of %d, %d repeats, %d forged; want 2 of 30, 1 and 1", n, sum, ledger.Repeats(), ledger.Forged())
	}
}

// TestUnknown checks that what may have happened is never reported as refused.
func TestUnknown(t *testing.T) {
	a := authorise(t, 1, 10)
	for name, handler := range map[string]http.HandlerFunc{
		"no answer":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"internal error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"not found":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
	} {
		e := endpoint(t, handler)
		if _, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: a}); code != hostcall.CodeUnresolved {
			t.Errorf("%s: got %d, want %d", name, code, hostcall.CodeUnresolved)
		}
		if _, known := e.Settled(t.Context(), a); known && name != "not found" {
			t.Errorf("%s: it is known whether it was settled", name)
		}
	}
	down, err := pay.NewEndpoint("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, code := down.Pay(t.Context(), &hostcall.Payment{Authorisation: a}); code != hostcall.CodeFailed {
		t.Errorf("an endpoint that is not there: got %d, want %d, for nothing was sent", code, hostcall.CodeFailed)
	}
	if _, known := down.Settled(t.Context(), a); known {
		t.Error("an endpoint that is not there knows of a payment")
	}
}

func TestNotAPayment(t *testing.T) {
	e := endpoint(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	for _, a := range [][]byte{nil, []byte("pay"), append(authorise(t, 1, 1), 0), make([]byte, 145)} {
		if _, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: a}); code != hostcall.CodeProcessing {
			t.Errorf("%x: got %d", a, code)
		}
	}
}

// TestNotACheckpoint checks that an agent cannot have a checkpoint of its own
// making signed, as the recipient or the memo of a payment.
func TestNotACheckpoint(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	forged := verifier.Checkpoint{Version: verifier.Version4, Budget: 1 << 40, State: []byte("mine")}
	copy(forged.AgentPubKey[:], key.Public().(ed25519.PublicKey))
	message := string(forged.AppendMessage(nil))
	for _, text := range []string{message, "\x04" + message, message[1:]} {
		p := &receipt.Payment{Amount: 1, Recipient: text, Memo: text}
		if err := signer.SignPayment(p, key); err != nil {
			t.Fatal(err)
		}
		signed := p.AppendMessage(nil)
		if c, err := verifier.Parse(append(signed, p.Signature[:]...)); err == nil {
			t.Errorf("a payment is a checkpoint of version %d", c.Version)
		}
		if ed25519.Verify(forged.AgentPubKey[:], []byte(message), p.Signature[:]) {
			t.Error("the signature of a payment is one of a checkpoint")
		}
	}
}

func TestNewEndpoint(t *testing.T) {
	for _, address := range []string{"", "pay.example.com", "ftp://x/", "http://", "https://x/?q", "https://x/#f", "http://[", "/payments"} {
		if _, err := pay.NewEndpoint(address); err == nil {
			t.Errorf("took %q", address)
		}
	}
}

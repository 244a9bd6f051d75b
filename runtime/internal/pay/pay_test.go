package pay_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
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
	e, err := pay.NewEndpoint(s.URL+"/payments/", slog.New(slog.DiscardHandler))
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
		if _, known := e.Settled(t.Context(), a); known {
			t.Errorf("%s: it is known whether it was settled", name)
		}
	}
	down, err := pay.NewEndpoint("http://127.0.0.1:1", slog.New(slog.DiscardHandler))
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

// TestNotAnEndpoint has all kinds of things answer that do not know the payment.
// What they say is never the word of the endpoint, and the operator is told.
func TestNotAnEndpoint(t *testing.T) {
	a := authorise(t, 1, 10)
	nonce := fmt.Sprintf("%x", receipt.PaymentNonce([32]byte{1}))
	other := fmt.Sprintf("%x", receipt.PaymentNonce([32]byte{2}))
	body := func(format string, v ...any) string { return fmt.Sprintf(format, v...) }
	for _, tt := range []struct {
		name, method string
		code         int
		kind, body   string
		says         string // of the problem
	}{
		{"a page for every path", "", 200, "text/html", "<!doctype html><title>app</title>", "Content-Type"},
		{"a page that says it is JSON", "", 200, "application/json", "<!doctype html>", "invalid character"},
		{"a proxy that forbids", "", 403, "text/html", "<h1>403 Forbidden</h1>", "Content-Type"},
		{"a server without the path", "", 404, "text/plain", "404 page not found", "Content-Type"},
		{"another service", "", 200, "application/json", `{"status": "ok"}`, "status"},
		{"an empty answer", "", 200, "", "", "Content-Type"},
		{"null", "", 200, "application/json", "null", "status"},
		{"no nonce", "", 200, "application/json", `{"status": "settled", "amountMicrocents": "10"}`, "nonce"},
		{"another nonce", "", 200, "application/json", body(`{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, other), "nonce"},
		{"no amount", "", 200, "application/json", body(`{"status": "settled", "nonce": %q}`, nonce), "amount"},
		{"another amount", "", 200, "application/json", body(`{"status": "settled", "nonce": %q, "amountMicrocents": "11"}`, nonce), "amount"},
		{"an amount that is a number", "", 200, "application/json", body(`{"status": "settled", "nonce": %q, "amountMicrocents": 10}`, nonce), "string"},
		{"another HTTP status", "", 202, "application/json", body(`{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, nonce), "HTTP status 202"},
		{"settled and not found", "", 404, "application/json", body(`{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, nonce), "HTTP status 404"},
		{"two answers", "", 200, "application/json", strings.Repeat(body(`{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, nonce), 2), "after top-level value"},
		{"an answer that does not end", "", 200, "application/json", strings.Repeat(" ", pay.MaxAnswer) + body(`{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, nonce), "over"},
		{"unknown, of what was just sent", "POST", 404, "application/json", body(`{"status": "unknown", "nonce": %q}`, nonce), ""},
		{"unknown, of another payment", "", 404, "application/json", body(`{"status": "unknown", "nonce": %q}`, other), "nonce"},
		{"refused, of another amount", "", 402, "application/json", body(`{"status": "refused", "nonce": %q, "amountMicrocents": "11"}`, nonce), "amount"},
	} {
		var told bytes.Buffer
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tt.kind != "" {
				w.Header().Set("Content-Type", tt.kind)
			}
			w.WriteHeader(tt.code)
			io.WriteString(w, tt.body)
		}))
		e, err := pay.NewEndpoint(s.URL, slog.New(slog.NewTextHandler(&told, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if tt.method != "GET" {
			if got, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: a}); code != hostcall.CodeUnresolved || got != nil {
				t.Errorf("%s: a payment gives %d, want %d: nobody knows", tt.name, code, hostcall.CodeUnresolved)
			}
		}
		if tt.method != "POST" {
			if settled, known := e.Settled(t.Context(), a); settled || known {
				t.Errorf("%s: it is known that it was settled, or was not", tt.name)
			}
		}
		if tt.says != "" && (!strings.Contains(told.String(), tt.says) || !strings.Contains(told.String(), s.URL)) {
			t.Errorf("%s: the operator is told %q", tt.name, &told)
		}
		s.Close()
	}
}

// TestUser checks that an endpoint's password is sent, and told to nobody else.
func TestUser(t *testing.T) {
	var told bytes.Buffer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "node" || password != "secret" {
			t.Errorf("by %q with %q", user, password)
		}
	}))
	t.Cleanup(s.Close)
	e, err := pay.NewEndpoint(strings.Replace(s.URL, "http://", "http://node:secret@", 1), slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	e.Pay(t.Context(), &hostcall.Payment{Authorisation: authorise(t, 1, 10)})
	if told.Len() == 0 || strings.Contains(told.String(), "secret") {
		t.Errorf("the operator is told %q", &told)
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
		if _, err := pay.NewEndpoint(address, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("took %q", address)
		}
	}
}

// TestSpec has the example of docs/spec/pay.md answer.
func TestSpec(t *testing.T) {
	payment := testkit.SpecBytes(t, "../../../docs/spec", "receipts.md", "hex payment")
	says := testkit.SpecBlock(t, "../../../docs/spec", "pay.md", "json settled")
	e := endpoint(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if nonce := r.Header.Get("Idempotency-Key"); !strings.Contains(says, nonce) {
			t.Errorf("the nonce is %s", nonce)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, says)
	}))
	if got, code := e.Pay(t.Context(), &hostcall.Payment{Authorisation: payment}); code != 0 || !bytes.Equal(got, payment) {
		t.Errorf("got %x, %d", got, code)
	}
}

func FuzzAnswer(f *testing.F) {
	payment := receipt.Payment{Nonce: receipt.PaymentNonce([32]byte{1}), Amount: 10, Time: 1, Recipient: "bob"}
	nonce := fmt.Sprintf("%x", payment.Nonce)
	f.Add(200, "application/json", fmt.Appendf(nil, `{"status": "settled", "nonce": %q, "amountMicrocents": "10"}`, nonce))
	f.Add(404, "application/json", fmt.Appendf(nil, `{"status": "unknown", "nonce": %q}`, nonce))
	f.Add(200, "text/html", []byte("<!doctype html>"))
	f.Fuzz(func(t *testing.T, code int, kind string, body []byte) {
		status, err := pay.ParseAnswer(code, kind, bytes.NewReader(body), &payment)
		if (err == nil) != (status != "") {
			t.Fatalf("%q, %v", status, err)
		}
		if err == nil && (!bytes.Contains(body, []byte(nonce[:8])) && !bytes.Contains(body, []byte(`\u`)) || status == pay.Settled && code != 200) {
			t.Fatalf("%q of %d %q", status, code, body)
		}
	})
}

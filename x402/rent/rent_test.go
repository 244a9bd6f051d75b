package rent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// shelf is books in a folder: a file of receipts for rent per agent, and what is owed.
type shelf struct {
	dir string

	mu   sync.Mutex
	owed map[verifier.PublicKey][]Unpaid
	fail int // of the next times that rent is to be kept
}

func (b *shelf) file(agent verifier.PublicKey) string {
	return filepath.Join(b.dir, strings.TrimPrefix(agent.DID(), "did:key:"))
}

func (b *shelf) Account(_ context.Context, agent verifier.PublicKey) (*Account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	owed, known := b.owed[agent]
	if !known {
		return nil, ErrUnknown
	}
	a := &Account{Unpaid: owed}
	src, _ := os.ReadFile(b.file(agent))
	for r := receipt.NewReader(bytes.NewReader(src)); ; {
		got, err := r.Next()
		if err != nil {
			break
		}
		rent := got.(*receipt.Rent)
		if a.Rents = append(a.Rents, rent); !rent.Lease() {
			a.Paid = rent.Checkpoint
		}
	}
	for i, u := range owed {
		if u.Checkpoint == a.Paid {
			a.Unpaid = owed[i+1:]
		}
	}
	return a, nil
}

func (b *shelf) Rented(ctx context.Context, r *receipt.Rent) error {
	b.mu.Lock()
	if b.fail > 0 {
		b.fail--
		b.mu.Unlock()
		return fmt.Errorf("the shelf fell down")
	}
	b.mu.Unlock()
	if a, err := b.Account(ctx, r.Agent); err != nil || a.find(keyOf(r.Chain, r.Asset, r.From, r.Nonce)) != nil {
		return err
	}
	f, err := os.OpenFile(b.file(r.Agent), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(r.Append(nil))
	return err
}

// A house is a node that takes rent, the chain that it is paid on, and who pays.
type house struct {
	t           *testing.T
	chain       *x402test.Chain
	facilitator *x402test.Part
	config      Config
	books       *shelf
	agents      []verifier.PublicKey
	server      *Server
	web         *httptest.Server
	nonces      atomic.Uint32
}

const leasePrice = 5000

var payTo = evm.Address{19: 7}

func agentKey(i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, chain: x402test.NewChain(t), books: &shelf{dir: t.TempDir(), owed: map[verifier.PublicKey][]Unpaid{}}}
	h.facilitator = h.chain.Facilitator()
	for i := range 4 {
		a := verifier.PublicKey(agentKey(i).Public().(ed25519.PublicKey))
		h.agents = append(h.agents, a)
		h.books.owed[a] = nil
	}
	h.chain.Mint(evm.AddressOf(x402test.Key(5).PubKey()), 10_000_000)
	h.chain.Mint(evm.AddressOf(x402test.Key(6).PubKey()), 10_000_000)
	h.config = h.configure(t.TempDir(), h.facilitator.URL)
	h.config.Lease = &Lease{Period: time.Hour, Price: leasePrice}
	return h
}

func (h *house) configure(folder, facilitator string) Config {
	h.t.Helper()
	f, err := x402.DialFacilitator(facilitator)
	if err != nil {
		h.t.Fatal(err)
	}
	c := Config{Books: h.books, Key: agentKey(100), Folder: folder, Domain: h.chain.Domain(), PayTo: payTo,
		Nodes: evm.Nodes{All: []*evm.Node{h.chain.Node()}, Quorum: 1}, Confirmations: 1, Facilitator: f, URL: "http://node.test"}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	return c
}

func (h *house) open() *house {
	h.t.Helper()
	var err error
	if h.server, err = Open(h.t.Context(), h.config); err != nil {
		h.t.Fatal(err)
	}
	h.server.answerWithin, h.server.settleWithin = 3*time.Second, 2*time.Second
	h.web = httptest.NewServer(h.server)
	h.t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	if h.server == nil {
		return
	}
	h.web.Close()
	h.server.Close()
	h.server = nil
}

// an is an answer of the server.
type an struct {
	status int
	header http.Header
	body   answer
	err    error
}

func (h *house) post(agent verifier.PublicKey, headers ...string) an {
	h.t.Helper()
	return post(h.web.URL+"/rent/"+agent.DID(), headers...)
}

func post(url string, headers ...string) (got an) {
	req, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return an{err: err}
	}
	for _, v := range headers {
		req.Header.Add(x402.HeaderSignature, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return an{err: err}
	}
	defer resp.Body.Close()
	got = an{status: resp.StatusCode, header: resp.Header}
	got.err = json.NewDecoder(resp.Body).Decode(&got.body)
	return got
}

// sign pays what an answer asks for, from anvil's account i, with a change before it is signed.
func (h *house) sign(i int, asked an, change func(*evm.Authorization, *x402.Offer)) string {
	h.t.Helper()
	required, err := x402.ParseRequired(asked.header, nil)
	if err != nil || len(required.Offers) != 1 {
		h.t.Fatalf("%+v: %v", asked, err)
	}
	newest, err := h.chain.Node().Block(h.t.Context(), evm.Latest)
	if err != nil {
		h.t.Fatal(err)
	}
	o := &required.Offers[0]
	a := evm.Authorization{From: evm.AddressOf(x402test.Key(i).PubKey()), To: o.PayTo, Value: uint64(o.Amount), ValidBefore: newest.Time + uint64(o.Timeout), Nonce: evm.Hash{0: byte(h.nonces.Add(1)), 1: byte(i)}}
	if change != nil {
		change(&a, o)
	}
	domain := o.Domain()
	_, value := required.Pay(o, &a, evm.Sign(x402test.Key(i), a.Digest(&domain)))
	return value
}

// receiptOf reads the receipt in an answer.
func (h *house) receiptOf(got an) *receipt.Rent {
	h.t.Helper()
	b, err := base64.StdEncoding.DecodeString(got.body.Receipt)
	if err != nil {
		h.t.Fatal(err)
	}
	r, n, err := receipt.Parse(b)
	if err != nil || n != len(b) || !r.Authentic() {
		h.t.Fatalf("status %d, the receipt %x of %+v: %v", got.status, b, got.body, err)
	}
	return r.(*receipt.Rent)
}

// books wants the chain and the books to say the same, and nothing to be under way.
func (h *house) balances(rents int) {
	h.t.Helper()
	have, err := h.chain.Node().Balance(h.t.Context(), h.chain.Token, payTo)
	if err != nil {
		h.t.Fatal(err)
	}
	n, sum := 0, int64(0)
	seen := map[[32]byte]bool{}
	for _, agent := range h.agents {
		a, err := h.books.Account(h.t.Context(), agent)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, r := range a.Rents {
			if n, sum = n+1, sum+r.Amount; !r.Authentic() || seen[r.Transaction] {
				h.t.Errorf("the receipt %+v", r)
			}
			seen[r.Transaction] = true
		}
	}
	if int64(have) != sum || n != rents {
		h.t.Errorf("the chain has %d, %d receipts have %d; want %d of them", have, n, sum, rents)
	}
	if left, _ := filepath.Glob(filepath.Join(h.config.Folder, "*.json")); len(left) > 0 {
		h.t.Errorf("under way: %q", left)
	}
}

// TestReferenceClient has the reference client pay rent through the reference facilitator,
// and ask again: it pays once.
func TestReferenceClient(t *testing.T) {
	h := newHouse(t).open()
	all := x402test.ClientDo(t, t.Context(), 5, http.MethodPost, h.web.URL+"/rent/"+h.agents[0].DID(), 3)
	if len(all) != 3 {
		t.Fatal(all)
	}
	var first answer
	for i, a := range all {
		var got answer
		if err := json.Unmarshal([]byte(a.Body), &got); a.Status != http.StatusOK || err != nil {
			t.Fatalf("%d: %+v, %v", i, a, err)
		}
		if i == 0 {
			first = got
			said, err := x402.ParseResponse(http.Header{http.CanonicalHeaderKey(x402.HeaderResponse): {a.Response}})
			if err != nil || !said.Success || said.Transaction.String() != got.Transaction {
				t.Errorf("the header says %+v, %v, the body %+v", said, err, got)
			}
		}
		if got.Receipt != first.Receipt {
			t.Errorf("%d: another receipt", i)
		}
	}
	r := h.receiptOf(an{body: first})
	if !r.Lease() || r.Agent != h.agents[0] || r.Amount != leasePrice || r.To != payTo || r.Ends-r.Begins != int64(time.Hour) || r.From != evm.AddressOf(x402test.Key(5).PubKey()) {
		t.Errorf("the receipt is %+v", r)
	}
	h.balances(1)
}

// TestReceipts pays the sum of execution receipts, which the receipt names; then what came since.
func TestReceipts(t *testing.T) {
	h := newHouse(t)
	h.config.Lease, h.config.Least = nil, 50
	agent := h.agents[0]
	owe := func(cost int64) {
		h.books.mu.Lock()
		defer h.books.mu.Unlock()
		h.books.owed[agent] = append(h.books.owed[agent], Unpaid{verifier.Hash{byte(len(h.books.owed[agent]) + 1)}, cost})
	}
	h.open()
	owe(30)
	if got := h.post(agent); got.status != http.StatusOK || got.body.Due != "0" {
		t.Fatalf("less than is asked for: %+v", got)
	}
	owe(70)
	owe(0)
	asked := h.post(agent)
	if asked.status != http.StatusPaymentRequired || asked.body.Due != "100" {
		t.Fatalf("got %+v", asked)
	}
	owe(1000) // meanwhile
	payment := h.sign(5, asked, nil)
	got := h.post(agent, payment)
	r := h.receiptOf(got)
	if got.status != http.StatusOK || r.Amount != 100 || !r.Prev.IsZero() || r.Checkpoint != (verifier.Hash{3}) || r.Receipts != 3 || r.Lease() {
		t.Fatalf("got %+v, %+v", got, r)
	}
	h.balances(1)
	again := h.post(agent)
	if again.status != http.StatusPaymentRequired || again.body.Due != "1000" {
		t.Fatalf("got %+v", again)
	}
	next := h.receiptOf(h.post(agent, h.sign(6, again, nil)))
	if next.Prev != r.Checkpoint || next.Checkpoint != (verifier.Hash{4}) || next.Receipts != 1 {
		t.Fatalf("got %+v", next)
	}
	h.balances(2)
	if old := h.receiptOf(h.post(agent, payment)); *old != *r {
		t.Errorf("the first payment again gives %+v", old)
	}
	h.balances(2)
}

// TestLost goes through all that can be lost between a payer, this server and a facilitator:
// the rent is paid once, and whoever asks again with the same payment, or with none, gets it.
func TestLost(t *testing.T) {
	h := newHouse(t).open()
	paid := 0
	for _, row := range []struct {
		name, fault string
		times       int
		before      bool // nothing was taken: a payment can be made anew
	}{
		{"nothing", "", 0, false},
		{"verify down", "verify down", 1, true},
		{"verify answer lost", "verify answer lost", 1, true},
		{"verify answers 500", "verify answers 500", 1, true},
		{"settle down", "settle down", 2, false},
		{"settle answer lost", "settle answer lost", 1, false},
		{"settle answers 500", "settle answers 500", 1, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			h.t = t
			agent := verifier.PublicKey(agentKey(10 + paid).Public().(ed25519.PublicKey))
			h.books.mu.Lock()
			h.books.owed[agent] = nil
			h.books.mu.Unlock()
			h.agents = append(h.agents, agent)
			h.facilitator.Fail(row.fault, row.times)
			payment := h.sign(5, h.post(agent), nil)
			got := h.post(agent, payment)
			if row.before {
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
					t.Fatalf("got %+v", got)
				}
				h.balances(paid)
			}
			for range 20 {
				if got.status == http.StatusOK {
					break
				}
				got = h.post(agent, payment)
			}
			r := h.receiptOf(got)
			paid++
			h.balances(paid)
			for _, again := range []an{h.post(agent, payment), h.post(agent)} {
				if again.status != http.StatusOK || *h.receiptOf(again) != *r {
					t.Errorf("again: %+v", again)
				}
			}
			h.balances(paid)
		})
	}
}

// TestNever has a facilitator that never settles, until the payment's time is over; then the
// rent is due again.
func TestNever(t *testing.T) {
	h := newHouse(t).open()
	h.facilitator.Fail("settle down", 1000)
	payment := h.sign(5, h.post(h.agents[0]), nil)
	if got := h.post(h.agents[0], payment); got.status != http.StatusConflict && got.status != http.StatusServiceUnavailable {
		t.Fatalf("got %+v", got)
	}
	// Nobody else is asked for money meanwhile.
	if got := h.post(h.agents[0]); got.status != http.StatusConflict {
		t.Errorf("got %+v", got)
	}
	other := h.post(h.agents[1])
	if got := h.post(h.agents[0], h.sign(6, other, nil)); got.status != http.StatusConflict {
		t.Errorf("another payment: %+v", got)
	}
	if got := h.post(h.agents[1], payment); got.status != http.StatusConflict || !strings.Contains(got.body.Error, "another agent") {
		t.Errorf("another agent: %+v", got)
	}
	h.chain.Pass(2 * time.Minute)
	for range 100 {
		if !h.server.pending(h.agents[0]) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.facilitator.Fail("", 0)
	h.balances(0)
	if got := h.post(h.agents[0], payment); got.status != http.StatusPaymentRequired || !strings.Contains(got.body.Error, "time is over") {
		t.Errorf("the old payment: %+v", got)
	}
	h.receiptOf(h.post(h.agents[0], h.sign(5, h.post(h.agents[0]), nil)))
	h.balances(1)
}

// TestRace has several pay for one agent at once. One of them does.
func TestRace(t *testing.T) {
	h := newHouse(t).open()
	var payments []string
	asked := h.post(h.agents[0])
	for i := range 8 {
		payments = append(payments, h.sign(5+i%2, asked, nil))
	}
	payments = append(payments, payments...) // and each twice
	statuses := make([]int, len(payments))
	var all sync.WaitGroup
	for i, p := range payments {
		all.Go(func() { statuses[i] = h.post(h.agents[0], p).status })
	}
	all.Wait()
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	t.Log(count)
	if count[http.StatusOK] == 0 || count[http.StatusOK] > 2 || count[http.StatusOK]+count[http.StatusConflict]+count[http.StatusPaymentRequired] != len(payments) {
		t.Errorf("got %v", count)
	}
	h.balances(1)

	// One payment for two agents at once.
	p := h.sign(5, h.post(h.agents[1]), nil)
	got := make([]an, 8)
	for i := range got {
		all.Go(func() { got[i] = h.post(h.agents[1+i%2], p) })
	}
	all.Wait()
	h.balances(2)
}

// TestStrangers refuses what is not a payment of what is due, and asks nobody about it.
func TestStrangers(t *testing.T) {
	h := newHouse(t).open()
	agent := h.agents[0]
	asked := h.post(agent)
	verifies := h.facilitator.Seen("verify")
	thief := evm.AddressOf(x402test.Key(6).PubKey())
	for name, value := range map[string]string{
		"less":             h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.Value-- }),
		"more":             h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.Value++ }),
		"to another":       h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.To = thief }),
		"of another":       h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.From = thief }),
		"over":             h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.ValidBefore = 1 }),
		"next year":        h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.ValidBefore += 365 * 86400 }),
		"not yet":          h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { a.ValidAfter = a.ValidBefore - 1 }),
		"another domain":   h.sign(5, asked, func(a *evm.Authorization, o *x402.Offer) { o.Name = "USDC" }),
		"accepts anything": strings.Repeat("A", 400),
		"huge":             strings.Repeat("A", 60<<10),
		"empty":            "",
		"no JSON":          base64.StdEncoding.EncodeToString([]byte("{")),
		"version 1":        base64.StdEncoding.EncodeToString([]byte(`{"x402Version":1,"scheme":"exact","network":"base-sepolia","payload":{}}`)),
	} {
		if got := h.post(agent, value); got.status != http.StatusPaymentRequired && got.status != http.StatusBadRequest || got.err != nil || got.body.Error == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	good := h.sign(5, asked, nil)
	if got := h.post(agent, good, good); got.status != http.StatusBadRequest {
		t.Errorf("two of them: %+v", got)
	}
	for path, status := range map[string]int{
		"/rent/": 404,
		"/rent/did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK":   404, // not an agent of this node
		"/rent/did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK/x": 404,
		"/rent/did:key:z6Mk":                 400,
		"/rent/" + strings.Repeat("z", 5000): 400,
		"/elsewhere":                         404,
	} {
		if got := post(h.web.URL+path, good); got.status != status {
			t.Errorf("%.60s: %+v", path, got)
		}
	}
	resp, err := http.Post(h.web.URL+"/rent/"+agent.DID(), "application/octet-stream", io.LimitReader(zeros{}, 64<<20))
	if err == nil {
		if resp.Body.Close(); resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a huge body: %d", resp.StatusCode)
		}
	}
	if resp, err = http.Get(h.web.URL + "/rent/" + agent.DID()); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v, %v", resp, err)
	}
	if n := h.facilitator.Seen("verify"); n != verifies {
		t.Errorf("the facilitator was asked %d times", n-verifies)
	}
	// One that was used for something else pays no rent.
	used := h.sign(5, asked, nil)
	p, err := x402.ParsePayment(x402.HeaderSignature, used)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.chain.Settle(&p.Authorization, p.Signature); err != nil {
		t.Fatal(err)
	}
	if got := h.post(agent, used); got.status != http.StatusPaymentRequired || !strings.Contains(got.body.Error, "used before") {
		t.Errorf("a payment for something else: %+v", got)
	}
	// One without money behind it is not taken, and does not keep others out.
	if got := h.post(agent, h.sign(3, asked, nil)); got.status != http.StatusPaymentRequired || !strings.Contains(got.body.Error, "the facilitator does not take") {
		t.Errorf("a payment without money: %+v", got)
	}
	if a, err := h.books.Account(t.Context(), agent); err != nil || len(a.Rents) != 0 {
		t.Errorf("rented: %+v, %v", a, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestLyingFacilitator has one that says that it settled what it did not, that it is not
// settled what is, and all kinds of other things. The chain decides.
func TestLyingFacilitator(t *testing.T) {
	h := newHouse(t)
	var settle string
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/verify" {
			io.WriteString(w, `{"isValid": true}`)
			return
		}
		if strings.HasPrefix(settle, "forward ") {
			resp, err := http.Post(h.facilitator.URL+"/settle", "application/json", r.Body)
			if err == nil {
				resp.Body.Close()
			}
		}
		io.WriteString(w, strings.TrimPrefix(settle, "forward "))
	}))
	defer liar.Close()
	h.config = h.configure(t.TempDir(), liar.URL)
	h.config.Lease = &Lease{Period: time.Hour, Price: leasePrice}
	h.open()
	settle = `{"success": true, "transaction": "0x` + strings.Repeat("ab", 32) + `", "network": "eip155:84532"}`
	payment := h.sign(5, h.post(h.agents[0]), nil)
	if got := h.post(h.agents[0], payment); got.status == http.StatusOK || got.body.Receipt != "" {
		t.Errorf("it says that it settled: %+v", got)
	}
	if a, _ := h.books.Account(t.Context(), h.agents[0]); len(a.Rents) != 0 {
		t.Error("rented by the word of a facilitator")
	}
	h.chain.Pass(2 * time.Minute)
	for range 100 {
		if !h.server.pending(h.agents[0]) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.balances(0)
	for i, says := range []string{`{"success": false, "errorReason": "insufficient_funds"}`, `{}`, ``, `<html>`, `{"success": "yes"}`, strings.Repeat(" ", MaxSays)} {
		settle = "forward " + says
		agent := h.agents[i%4]
		if i >= 4 {
			agent = verifier.PublicKey(agentKey(50 + i).Public().(ed25519.PublicKey))
			h.books.mu.Lock()
			h.books.owed[agent] = nil
			h.books.mu.Unlock()
			h.agents = append(h.agents, agent)
		}
		if got := h.post(agent, h.sign(5, h.post(agent), nil)); got.status != http.StatusOK {
			t.Errorf("%.60s: %+v", says, got)
		}
		h.balances(i + 1)
	}
}

// MaxSays is more than a facilitator may say.
const MaxSays = x402.MaxFacilitated + 1

// TestBooksFail has the books fail when the rent is paid: it is not lost.
func TestBooksFail(t *testing.T) {
	h := newHouse(t).open()
	h.books.mu.Lock()
	h.books.fail = 3
	h.books.mu.Unlock()
	h.receiptOf(h.post(h.agents[0], h.sign(5, h.post(h.agents[0]), nil)))
	h.balances(1)
}

// TestReorganised has the chain take back the block of a payment. It is made again.
func TestReorganised(t *testing.T) {
	h := newHouse(t)
	h.config.Confirmations = 4
	h.open()
	h.chain.Mine(8)
	payment := h.sign(5, h.post(h.agents[0]), nil)
	done := make(chan an, 1)
	go func() { done <- h.post(h.agents[0], payment) }()
	for range 100 {
		if have, _ := h.chain.Node().Balance(t.Context(), h.chain.Token, payTo); have > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	h.chain.Reorganise(3)
	if have, _ := h.chain.Node().Balance(t.Context(), h.chain.Token, payTo); have != 0 {
		t.Fatalf("the chain still has it: %d", have)
	}
	<-done
	for range 200 { // it is sent again
		h.chain.Mine(1)
		if !h.server.pending(h.agents[0]) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.receiptOf(h.post(h.agents[0], payment))
	h.balances(1)
}

// TestKilled kills the server as a process at each moment of a payment. It goes on.
func TestKilled(t *testing.T) {
	if at := os.Getenv("RENT_KILL"); at != "" {
		serve(t, at)
		return
	}
	h := newHouse(t)
	for i, at := range []string{"", "written", "settled", "rented", "removed"} {
		t.Run("at "+at, func(t *testing.T) {
			h.t = t
			agent := h.agents[i%4]
			if i == 4 {
				agent = verifier.PublicKey(agentKey(60).Public().(ed25519.PublicKey))
				h.books.owed[agent] = nil
				h.agents = append(h.agents, agent)
			}
			url, wait := h.process(at, agent)
			asked := post(url + "/rent/" + agent.DID())
			if asked.status != http.StatusPaymentRequired {
				t.Fatalf("got %+v", asked)
			}
			payment := h.sign(5, asked, nil)
			got := post(url+"/rent/"+agent.DID(), payment)
			if at == "" {
				h.receiptOf(got)
				wait(true)
				h.balances(1)
				return
			}
			// The chain may have said what the facilitator has not said yet.
			if got.err == nil && at != "removed" && at != "settled" {
				t.Errorf("it was to die, and answered %+v", got)
			}
			answered := got
			wait(false)
			url, wait = h.process("", agent)
			defer func() { wait(true) }()
			for range 50 { // without the payment: the node knows
				if got = post(url + "/rent/" + agent.DID()); got.status == http.StatusOK {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			h.receiptOf(got)
			if answered.err == nil && answered.body.Receipt != got.body.Receipt {
				t.Errorf("it answered %+v, and after its death %+v", answered, got)
			}
			if again := post(url+"/rent/"+agent.DID(), payment); again.body.Receipt != got.body.Receipt {
				t.Errorf("again: %+v", again)
			}
			h.balances(i + 1)
		})
	}
}

// process starts a server in a process of its own, which dies at a moment.
func (h *house) process(at string, agent verifier.PublicKey) (url string, wait func(end bool)) {
	h.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
	if at == "" {
		at = "never"
	}
	config, _ := json.Marshal(map[string]string{"chain": h.chain.URL, "token": h.chain.Token.String(), "facilitator": h.facilitator.URL, "folder": h.config.Folder, "books": h.books.dir, "agent": agent.DID()})
	cmd.Env = append(os.Environ(), "RENT_KILL="+at, "RENT_CONFIG="+string(config))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	b := make([]byte, 0, 4096)
	for !strings.Contains(string(b), "serving http://127.0.0.1:") || !strings.HasSuffix(string(b), "\n") {
		chunk := make([]byte, 256)
		n, err := out.Read(chunk)
		if err != nil {
			h.t.Fatalf("it does not serve: %v\n%s", err, b)
		}
		b = append(b, chunk[:n]...)
	}
	_, url, _ = strings.Cut(strings.TrimSpace(string(b)), "serving ")
	return strings.TrimSpace(url), func(end bool) {
		if end {
			cmd.Process.Kill()
		}
		cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			h.t.Errorf("it was not killed: %v", cmd.ProcessState)
		}
	}
}

// serve is the process.
func serve(t *testing.T, at string) {
	var c map[string]string
	if err := json.Unmarshal([]byte(os.Getenv("RENT_CONFIG")), &c); err != nil {
		t.Fatal(err)
	}
	reach = func(here string) {
		if here == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	agent, _ := verifier.ParseDID(c["agent"])
	token, _ := evm.ParseAddress(c["token"])
	node, err := evm.Dial(c["chain"])
	if err != nil {
		t.Fatal(err)
	}
	facilitator, _ := x402.DialFacilitator(c["facilitator"])
	s, err := Open(t.Context(), Config{Books: &shelf{dir: c["books"], owed: map[verifier.PublicKey][]Unpaid{agent: nil}}, Key: agentKey(100), Folder: c["folder"],
		Domain: evm.Domain{Name: x402test.TokenName, Version: x402test.TokenVersion, Chain: x402test.ChainID, Contract: token}, PayTo: payTo,
		Nodes: evm.Nodes{All: []*evm.Node{node}, Quorum: 1}, Confirmations: 1, Facilitator: facilitator, Lease: &Lease{Period: time.Hour, Price: leasePrice}, URL: "http://node.test"})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	fmt.Println("serving " + web.URL)
	time.Sleep(time.Minute)
}

func TestLeaseString(t *testing.T) {
	for _, c := range []struct {
		period time.Duration
		want   string
	}{{time.Hour, "1h"}, {90 * time.Minute, "1h30m"}, {10 * time.Minute, "10m"}, {61 * time.Second, "1m1s"}, {30 * 24 * time.Hour, "30 days"}, {25 * time.Hour, "25h"}, {10 * time.Hour, "10h"}} {
		if got := (&Lease{Period: c.period}).String(); got != c.want {
			t.Errorf("%v is written %s, want %s", c.period, got, c.want)
		}
	}
}

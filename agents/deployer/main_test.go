package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"igor.dev/agents/internal/life"
	"igor.dev/sdk"
	"igor.dev/sdk/sdktest"
)

const price = 20_000

// A payment is what the provider wants to know of a payment receipt.
type payment struct {
	nonce, recipient, memo string
	amount                 int64
	receipt                []byte
}

// parse reads a payment receipt, as docs/spec/receipts.md has it, and checks who
// signed it.
func parse(b []byte) (payment, error) {
	const context, fixed = "igor/payment-receipt/v1\x00", 108
	if len(b) < fixed+ed25519.SignatureSize || string(b[:24]) != context {
		return payment{}, errors.New("not a payment receipt")
	}
	signed, signature := b[:len(b)-ed25519.SignatureSize], b[len(b)-ed25519.SignatureSize:]
	recipient := int(binary.LittleEndian.Uint16(b[104:]))
	if len(signed) != fixed+recipient+int(binary.LittleEndian.Uint16(b[106:])) || !ed25519.Verify(b[24:56], signed, signature) {
		return payment{}, errors.New("a payment receipt that nobody signed")
	}
	text := string(signed[fixed:])
	return payment{hex.EncodeToString(b[56:88]), text[:recipient], text[recipient:], int64(binary.LittleEndian.Uint64(b[88:])), b}, nil
}

// A rented machine is an order, and what came of it.
type rented struct {
	payments  map[string]int // by nonce: how often it came
	posts     map[string]int // by Idempotency-Key
	receipt   []byte
	cancelled bool
	name      string // of its deployment
	state     string
	did       string
}

// A computing is the provider, and where its customers' payments are settled.
type computing struct {
	image string
	parse func([]byte) (payment, error)
	// start runs the image of a new deployment, and says when its history verifies.
	start func(name string) (did string, err error)

	mu     sync.Mutex
	orders []*rented
	probes int
	denied map[string]int // probes that were told of nothing
	wrong  []string

	// The next request of a kind, such as "POST pay", stops until the client is gone,
	// before or after it is served, or gets no answer.
	before, after, lose string
	stopped             chan struct{}
	starts              sync.WaitGroup
}

func newComputing(image string) *computing {
	return &computing{image: image, parse: parse, denied: map[string]int{}, stopped: make(chan struct{})}
}

func (c *computing) find(order string) *rented {
	for i, o := range c.orders {
		if order == orderName(i) {
			return o
		}
	}
	return nil
}

func orderName(i int) string { return fmt.Sprintf("order-%d", i+1) }

func (c *computing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	first, name, _ := strings.Cut(r.URL.Path[1:], "/")
	kind := r.Method + " " + first
	c.mu.Lock()
	stop := kind == c.before
	if stop {
		c.before = ""
	} else {
		c.serve(w, r, kind, name, body)
		if stop = kind == c.after; stop {
			c.after = ""
		}
	}
	lost := kind == c.lose
	if lost {
		c.lose = ""
	}
	c.mu.Unlock()
	if lost {
		panic(http.ErrAbortHandler)
	}
	if stop {
		c.stopped <- struct{}{}
		<-r.Context().Done()
	}
}

func (c *computing) serve(w http.ResponseWriter, r *http.Request, kind, name string, body []byte) {
	switch kind {
	case "POST pay":
		c.settle(w, r, body)
		return
	case "GET pay":
		c.probes++
		for _, o := range c.orders {
			if o.payments[name] > 0 {
				said(w, http.StatusOK, "settled", name)
				return
			}
		}
		c.denied[name]++
		said(w, http.StatusNotFound, "unknown", name)
		return
	case "GET offer":
		c.orders = append(c.orders, &rented{payments: map[string]int{}, posts: map[string]int{}})
		answer(w, offer{Order: orderName(len(c.orders) - 1), Image: c.image, Amount: price, PayTo: provider})
		return
	case "POST deployments":
		c.deploy(w, r, string(body))
		return
	case "GET effects":
		c.probes++
		for _, o := range c.orders {
			if o.posts[name] > 0 && o.name != "" {
				io.WriteString(w, o.name)
				return
			}
		}
	case "GET orders":
		if o := c.find(name); o != nil {
			answer(w, order{o.is(), o.receipt, o.name})
			return
		}
	case "GET deployments":
		for _, o := range c.orders {
			if o.name == name {
				answer(w, deployment{o.state, c.image, o.did})
				return
			}
		}
	}
	c.denied[name]++
	http.NotFound(w, r)
}

func (o *rented) is() string {
	switch {
	case o.cancelled:
		return "cancelled"
	case o.name != "":
		return "deployed"
	case o.receipt != nil:
		return "paid"
	}
	return "open"
}

func answer(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

// said answers as the endpoint of --pay-at.
func said(w http.ResponseWriter, code int, status, nonce string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"status": %q, "nonce": %q, "amountMicrocents": "%d"}`, status, nonce, price)
}

// settle is the endpoint of --pay-at.
func (c *computing) settle(w http.ResponseWriter, r *http.Request, body []byte) {
	p, err := c.parse(body)
	o := c.find(p.memo)
	if err != nil || o == nil || p.recipient != provider || p.amount != price || p.nonce != r.Header.Get("Idempotency-Key") {
		c.wrong = append(c.wrong, fmt.Sprintf("payment %+v, %v", p, err))
		said(w, http.StatusForbidden, "refused", p.nonce)
		return
	}
	o.payments[p.nonce]++
	o.receipt = p.receipt
	said(w, http.StatusOK, "settled", p.nonce)
}

func (c *computing) deploy(w http.ResponseWriter, r *http.Request, body string) {
	order, image, _ := strings.Cut(body, " ")
	shown, err := base64.StdEncoding.DecodeString(r.Header.Get("X-PAYMENT"))
	var p payment
	if err == nil {
		p, err = c.parse(shown)
	}
	o := c.find(order)
	switch {
	case err != nil || o == nil || p.memo != order || image != c.image:
		c.wrong = append(c.wrong, fmt.Sprintf("deployment of %q with payment %+v, %v", body, p, err))
		w.WriteHeader(http.StatusBadRequest)
		return
	case o.cancelled:
		w.WriteHeader(http.StatusGone)
		return
	case o.payments[p.nonce] == 0:
		w.WriteHeader(http.StatusPaymentRequired)
		return
	}
	o.posts[r.Header.Get("Idempotency-Key")]++
	if o.name == "" {
		o.name, o.state = "copy-of-"+order, "starting"
		c.starts.Add(1)
		go c.run(o)
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, o.name)
}

// run runs a deployment; until its history verifies, it does not count.
func (c *computing) run(o *rented) {
	defer c.starts.Done()
	did, err := c.start(o.name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %v", o.name, err))
		return
	}
	o.state, o.did = "running", did
}

// set changes what the provider is about to do.
func (c *computing) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// world is a world with a provider whose deployments run at once.
func world(t *testing.T) (*sdktest.World, *computing) {
	w := sdktest.New(t)
	c := newComputing(strings.Repeat("ab", 32))
	c.start = func(name string) (string, error) { return "did:key:" + name, nil }
	c.parse = func(b []byte) (payment, error) {
		return payment{recipient: provider, memo: memo(b), amount: price, nonce: "n" + memo(b), receipt: b}, nil
	}
	w.Receipt = func(p sdktest.Payment) []byte {
		b := binary.LittleEndian.AppendUint16(make([]byte, 104), uint16(len(p.Recipient)))
		b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Memo)))
		b = append(b, p.Recipient+p.Memo+strings.Repeat("s", 64)...)
		if o := c.find(p.Memo); o.receipt == nil {
			o.receipt = b
			o.payments["n"+p.Memo]++
		}
		return b
	}
	w.Web = c
	return w, c
}

// lives ticks until the deployer has nothing more to do at once, and restarts it
// between each two ticks.
func lives(t *testing.T, c *computing, d *deployer) *deployer {
	t.Helper()
	for range 20 {
		more := d.Tick()
		c.starts.Wait()
		d = sdktest.Restart(t, d, &deployer{})
		if !more {
			return d
		}
	}
	t.Fatal("it does not come to rest")
	return nil
}

func TestDeploy(t *testing.T) {
	w, c := world(t)
	d := &deployer{}
	d.Init()
	d = lives(t, c, d)
	if !d.runs || d.copies != 1 || d.spent != price || len(w.Paid) != 1 || len(c.orders) != 1 || c.orders[0].is() != "deployed" {
		t.Fatalf("paid %+v, and has %+v\n%s", w.Paid, d, w.Log())
	}
	if want := "copy 1 runs as did:key:copy-of-order-1"; w.Lines[len(w.Lines)-1] != want {
		t.Errorf("it says\n%s\nwant %q", w.Log(), want)
	}
	lines := len(w.Lines)
	d = lives(t, c, d)
	if len(w.Lines) != lines || len(w.Paid) != 1 {
		t.Errorf("a copy runs, and it says\n%s", w.Log())
	}
	c.orders[0].state = "gone"
	d = lives(t, c, d)
	if d.copies != 2 || d.spent != 2*price || len(w.Paid) != 2 || d.name != "copy-of-order-2" || len(c.wrong) > 0 {
		t.Errorf("paid %+v, and has %+v, %q\n%s", w.Paid, d, c.wrong, w.Log())
	}
}

// TestUnresolved loses the answers to both acts. The wallet knows of the payment,
// the provider of the deployment.
func TestUnresolved(t *testing.T) {
	w, c := world(t)
	lost := map[string]bool{}
	w.Lose = func(call, target string) error {
		if target == server+"/deployments" || call == "wallet_pay" {
			if !lost[call] {
				lost[call] = true
				return sdk.ErrUnresolved
			}
		}
		return nil
	}
	d := lives(t, c, &deployer{}) // does not know whether it paid
	if len(w.Paid) != 1 || len(d.log.Open()) != 1 || d.paid != nil {
		t.Fatalf("paid %+v, and has %+v\n%s", w.Paid, d, w.Log())
	}
	d = lives(t, c, d) // does not know whether it deployed
	if len(d.log.Open()) != 1 || d.paid == nil || d.name != "" || !strings.Contains(w.Log(), "reconciled with the wallet: pay order-1") {
		t.Fatalf("it has %+v\n%s", d, w.Log())
	}
	d = lives(t, c, d)
	if !d.runs || d.copies != 1 || len(w.Paid) != 1 || d.spent != price || len(c.orders) != 1 || len(c.orders[0].posts) != 1 {
		t.Errorf("paid %+v, and has %+v\n%s", w.Paid, d, w.Log())
	}
}

// TestElsewhere does not find its payment in the wallet: the provider has it, or
// has cancelled the order.
func TestElsewhere(t *testing.T) {
	for _, state := range []string{"paid", "cancelled", "open"} {
		w, c := world(t)
		w.Lose = func(call, _ string) error {
			if call == "wallet_pay" {
				return sdk.ErrUnresolved
			}
			return nil
		}
		d := lives(t, c, &deployer{})
		receipt := w.Receipt(w.Paid[0])
		w.Paid, w.Lose = nil, nil
		copies, paid := uint64(1), 0
		switch o := c.orders[0]; state {
		case "paid":
			o.receipt = receipt
		case "cancelled":
			o.cancelled, paid = true, 1 // another one is paid
		case "open":
			o.receipt, copies = nil, 0
		}
		d = lives(t, c, d)
		if d.copies != copies || len(w.Paid) != paid || d.spent != int64(copies)*price || len(d.log.Open()) != 1-int(copies) {
			t.Errorf("%s: paid %+v, and has %+v\n%s", state, w.Paid, d, w.Log())
		}
	}
}

// TestCancelled has the order cancelled after it was paid.
func TestCancelled(t *testing.T) {
	w, c := world(t)
	d := &deployer{}
	for d.paid == nil {
		d.Tick()
	}
	c.orders[0].cancelled = true
	d.Tick()
	if d.offer.Order != "" || d.spent != 0 || d.log.Len() != 0 {
		t.Fatalf("it has %+v\n%s", d, w.Log())
	}
	d = lives(t, c, d)
	if !d.runs || d.spent != price || len(w.Paid) != 2 {
		t.Errorf("paid %+v, and has %+v\n%s", w.Paid, d, w.Log())
	}
}

// TestUndeployed loses a deployment that never came: the order has none, and it
// is asked for again.
func TestUndeployed(t *testing.T) {
	w, c := world(t)
	failed := false
	w.Web = http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && !failed {
			failed = true
			a.WriteHeader(http.StatusBadGateway)
			return
		}
		c.ServeHTTP(a, r)
	})
	d := lives(t, c, &deployer{})
	if len(d.log.Open()) != 1 {
		t.Fatalf("it has %+v\n%s", d, w.Log())
	}
	d = lives(t, c, d)
	if !d.runs || d.tries != 2 || len(w.Paid) != 1 {
		t.Errorf("paid %+v, and has %+v\n%s", w.Paid, d, w.Log())
	}
}

func TestRefusesOffers(t *testing.T) {
	good := offer{Order: "order-1", Image: strings.Repeat("ab", 32), Amount: maxPrice, PayTo: provider}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for i, change := range []func(*offer){
		func(o *offer) { o.Order = "" },
		func(o *offer) { o.Order = "a/b" },
		func(o *offer) { o.Order = "a\r" },
		func(o *offer) { o.Order = strings.Repeat("a", 65) },
		func(o *offer) { o.Image = "ab" },
		func(o *offer) { o.Image = strings.Repeat("x", 64) },
		func(o *offer) { o.Amount = 0 },
		func(o *offer) { o.Amount++ },
		func(o *offer) { o.PayTo = "somebody" },
		func(o *offer) { o.Rent = "/elsewhere" },
		func(o *offer) { o.Rent = "/rent/" },
		func(o *offer) { o.Rent = "/rent/a?b" },
		func(o *offer) { o.Rent = "//rent/a" },
	} {
		o := good
		if change(&o); o.check() == nil {
			t.Errorf("%d: took %+v", i, o)
		}
	}
}

func TestMemo(t *testing.T) {
	w, _ := world(t)
	good := w.Receipt
	w.Web.(*computing).orders = []*rented{{payments: map[string]int{}}}
	b := good(sdktest.Payment{Recipient: provider, Memo: "order-1"})
	if memo(b) != "order-1" {
		t.Errorf("got %q", memo(b))
	}
	for n := range b {
		if got := memo(b[:n]); got != "" {
			t.Errorf("cut to %d bytes: got %q", n, got)
		}
	}
}

// rent gives a provider real machines: it runs the agent's own image, on what was
// paid, and holds the copy's history against the image.
func rent(t *testing.T, l *life.Life) *computing {
	t.Helper()
	wasm, err := os.ReadFile(l.WASM)
	if err != nil {
		t.Fatal(err)
	}
	c := newComputing(fmt.Sprintf("%x", sha256.Sum256(wasm)))
	// A copy that may reach nothing finds no offer, and rests.
	manifest := filepath.Join(t.TempDir(), "copy.manifest.json")
	const grants = `{"capabilities": {"log": {"version": 1}, "wallet": {"version": 1}, "http": {"version": 1}, "x402": {"version": 1}}}`
	if err := os.WriteFile(manifest, []byte(grants), 0o644); err != nil {
		t.Fatal(err)
	}
	c.start = func(name string) (did string, err error) {
		dir := filepath.Join(t.TempDir(), name)
		out, err := l.Command("run", l.WASM, "--manifest", manifest, "--dir", dir, fmt.Sprintf("--budget=0.%06d", price),
			"--ticks=3", "--tick-interval=0", "--quiet").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		var report struct {
			Verdict, DID string
			Segments     []struct{ WASMHash string }
		}
		if out, err = l.Command("verify", "--format=json", dir).Output(); err == nil {
			err = json.Unmarshal(out, &report)
		}
		if err != nil || report.Verdict != "verified" || len(report.Segments) != 1 || report.Segments[0].WASMHash != c.image {
			return "", fmt.Errorf("not a life of the image: %+v, %v", report, err)
		}
		return report.DID, nil
	}
	return c
}

// TestLife kills the machine between each two steps, and in the middle of both
// acts. The provider counts.
func TestLife(t *testing.T) {
	var c *computing
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.ServeHTTP(w, r) }))
	defer local.Close()
	l := life.New(t, "go", server, local.URL)
	c = rent(t, l)
	pay := "--pay-at=" + local.URL + "/pay"
	c.lose = "POST pay"
	gone := func(i int) { c.set(func() { c.orders[i].state = "gone" }) }

	for _, stop := range []struct{ before, after string }{
		{before: "GET offer"},
		{before: "GET orders"}, // does not know whether it paid
		{before: "POST deployments"},
		{after: "POST deployments"},
		{before: "GET deployments"},
		{}, // runs
		{before: "POST pay"},
		{after: "POST pay"},
		{before: "GET deployments"},
		{},
	} {
		c.set(func() { c.before, c.after = stop.before, stop.after })
		p := l.Start(pay)
		if stop.before != "" || stop.after != "" {
			<-c.stopped
			p.Kill()
			continue
		}
		p.Said(" runs as did:key:z6Mk")
		c.set(func() { c.before = "GET deployments" }) // when it asks again, what it said is kept
		<-c.stopped
		p.Kill()
		gone(len(c.orders) - 1)
	}
	p := l.Start(pay)
	p.Said("copy 3 runs as did:key:z6Mk")
	p.Stop()
	c.starts.Wait()
	l.Verify()

	var d deployer
	if err := d.Unmarshal(l.State()); err != nil {
		t.Fatal(err)
	}
	c.check(t, &d)
	if len(c.orders) != 3 || d.copies != 3 || c.probes != 4 {
		t.Errorf("%d orders, %d probes of 4 interrupted acts, %+v", len(c.orders), c.probes, &d)
	}
	// What was not answered, the journal does not know; the agent asked.
	if out := l.Effects(); strings.Count(out, "unresolved") != 1 || !strings.Contains(out, `memo "order-1"`) {
		t.Errorf("igor effects says\n%s", out)
	}
}

// check holds what the provider received against what the agent knows, and
// returns what was paid.
func (c *computing) check(t *testing.T, d *deployer) (microcents int64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) > 0 {
		t.Errorf("the provider received %q", c.wrong)
	}
	paid := 0
	for i, o := range c.orders {
		paid += len(o.payments)
		if len(o.payments) > 1 || len(o.posts) > 1 {
			t.Errorf("%s was paid with %d nonces and deployed with %d keys", orderName(i), len(o.payments), len(o.posts))
		}
		for _, came := range []map[string]int{o.payments, o.posts} {
			for id, times := range came {
				// One that was asked for, and denied, may be sent again, and then both arrive.
				if times > 1+c.denied[id] {
					t.Errorf("%s came %d times", id, times)
				}
			}
		}
	}
	microcents = int64(paid) * price
	if d.spent != microcents || d.copies == 0 || len(d.log.Open()) != 0 {
		t.Errorf("%d payments came, and the agent has %+v", paid, d)
	}
	return microcents
}

// TestCrash kills deployers anywhere. Each has to deploy anew once.
func TestCrash(t *testing.T) {
	var c *computing
	done := make(chan struct{}, 1)
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.ServeHTTP(w, r)
		if !strings.HasPrefix(r.URL.Path, "/deployments/") {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch o := c.orders[len(c.orders)-1]; {
		case o.state == "running" && len(c.orders) < 2:
			o.state = "gone" // whoever asked knows that it ran
		case o.state == "running":
			select {
			case done <- struct{}{}:
			default:
			}
		}
	}))
	defer local.Close()
	l := life.New(t, "go", server, local.URL)
	l.Crash(life.Matrix{
		Args:  []string{"--pay-at=" + local.URL + "/pay"},
		Begin: func() { c = rent(t, l) },
		Done:  done,
		End: func(state []byte) (paid int64) {
			c.starts.Wait()
			var d deployer
			if err := d.Unmarshal(state); err != nil {
				t.Fatal(err)
			}
			return c.check(t, &d)
		},
		Every: true,
	})
}

// TestRent pays a lease by x402: the node does, and the provider says so with 200.
func TestRent(t *testing.T) {
	for _, says := range []string{"delivered", "not delivered", "unresolved, then paid", "unresolved, then never", "402"} {
		w, c := world(t)
		leases := 0
		w.Web = http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
			order := c.find("order-1")
			switch {
			case strings.HasPrefix(r.URL.Path, "/rent/"):
				if says == "402" || says == "unresolved, then never" && leases > 0 {
					a.WriteHeader(http.StatusPaymentRequired)
					return
				}
				leases++
				order.receipt = []byte("a receipt for rent")
				answer(a, map[string]any{"receipt": order.receipt})
			case r.URL.Path == "/offer":
				c.orders = append(c.orders, &rented{payments: map[string]int{}, posts: map[string]int{}})
				answer(a, offer{Order: orderName(len(c.orders) - 1), Image: c.image, Amount: price, Rent: "/rent/did:key:z6Mkcopy"})
			case r.URL.Path == "/deployments":
				b, _ := base64.StdEncoding.DecodeString(r.Header.Get("X-RENT"))
				if string(b) != "a receipt for rent" {
					t.Errorf("%s: deployed with %q", says, b)
				}
				order.name, order.state, order.did = "copy-of-order-1", "running", "did:key:z6Mkcopy"
				a.WriteHeader(http.StatusCreated)
				io.WriteString(a, order.name)
			default:
				c.ServeHTTP(a, r)
			}
		})
		w.Lose = func(call, target string) error {
			switch {
			case !strings.Contains(target, "/rent/"):
				return nil
			case says == "not delivered":
				return sdk.ErrNotDelivered
			case strings.HasPrefix(says, "unresolved"):
				return sdk.ErrUnresolved
			}
			return nil
		}
		d := lives(t, c, &deployer{})
		if strings.HasPrefix(says, "unresolved") {
			if len(d.log.Open()) != 1 || d.paid != nil {
				t.Fatalf("%s: it has %+v\n%s", says, d, w.Log())
			}
			// What the node finds out, it tells the effect log.
			if says == "unresolved, then paid" {
				must(d.log.Confirm("pay order-1"))
			} else {
				must(d.log.Compensate("pay order-1"))
				w.Lose = nil
			}
			d = lives(t, c, d)
		}
		switch says {
		case "402":
			if d.runs || d.spent != 0 || leases != 0 {
				t.Errorf("%s: it has %+v\n%s", says, d, w.Log())
			}
		case "unresolved, then never":
			if d.runs || d.spent != 0 {
				t.Errorf("%s: it has %+v\n%s", says, d, w.Log())
			}
		default:
			if !d.runs || d.spent != price || leases != 1 || len(w.Paid) != 0 || len(d.log.Open()) != 0 {
				t.Errorf("%s: rented %d times, it has %+v\n%s", says, leases, d, w.Log())
			}
		}
	}
}

// TestOldState reads what an older version of the program wrote.
func TestOldState(t *testing.T) {
	e := sdk.NewEncoder(1)
	var d deployer
	e.Value(&d.log)
	e.Text("order-1")
	e.Text("image")
	e.Int64(5)
	e.Text(provider)
	e.Bool(true)
	e.Bytes([]byte("receipt"))
	e.Uint64(1)
	e.Text("name")
	e.Bool(true)
	e.Uint64(2)
	e.Int64(5)
	if err := d.Unmarshal(e.Data()); err != nil || d.offer.Rent != "" || string(d.paid) != "receipt" || d.copies != 2 {
		t.Errorf("got %+v, %v", d, err)
	}
}

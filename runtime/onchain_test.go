package runtime

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/request"
	"igor.dev/runtime/internal/wasmtest"
	"igor.dev/verifier/receipt"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
	"igor.dev/x402/x402test"
)

// A market is a chain with the token on it, a shop that sells by x402, and a node's wallet.
type market struct {
	t           *testing.T
	chain       *x402test.Chain
	facilitator *x402test.Part
	server      *x402test.Part
	shop        evm.Address
	payments    *Payments
	walletFile  string
	birth       Birth
	dir         string
	given       int64
	before      int64 // that the shop had before this life
	room        int32 // of the agent's buffer
	agent       wasmtest.Agent
}

const (
	marketPrice = 2500
	marketFunds = 1_000_000
)

func newMarket(t *testing.T) *market {
	t.Helper()
	m := &market{t: t, chain: x402test.NewChain(t), shop: evm.Address{19: 9}, room: 4000}
	m.facilitator = m.chain.Facilitator()
	m.server = m.chain.Server(m.facilitator, m.shop, marketPrice)
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	m.chain.Mint(key.Address(), 10_000_000)
	dir := t.TempDir()
	m.walletFile = filepath.Join(dir, "wallet")
	if err := key.Save(m.walletFile, wallet.Lock{}); err != nil {
		t.Fatal(err)
	}
	config, _ := json.Marshal(map[string]any{"wallet": m.walletFile, "networks": map[string]any{
		fmt.Sprintf("eip155:%d", x402test.ChainID): map[string]any{"nodes": []string{m.chain.URL}, "confirmations": 1}}})
	file := filepath.Join(dir, "payments.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if m.payments, err = OpenPayments(t.Context(), file, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return m
}

// begin is a market for another life, of an agent that asks in each tick.
func (m *market) begin(t *testing.T, method string) *market {
	t.Helper()
	had, err := m.chain.Node().Balance(t.Context(), m.chain.Token, m.shop)
	if err != nil {
		t.Fatal(err)
	}
	another := *m
	m = &another
	m.t, m.given, m.before, m.dir = t, marketFunds, int64(had), filepath.Join(t.TempDir(), "agent")
	host := strings.TrimPrefix(m.server.URL, "http://")
	path := "/data"
	if method == "POST" {
		path = "/order"
	}
	const data = wasmtest.DataAt + 100
	call := wasmtest.I32(data) + wasmtest.I32(int32(len(method))) + wasmtest.I32(data+4) + wasmtest.I32(int32(len(m.server.URL+path))) +
		wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(0) + wasmtest.I32(8192) + wasmtest.I32(m.room) + wasmtest.Call(0) + wasmtest.Drop
	agent := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest},
		Data:  strings.Repeat("\x00", 100) + method + strings.Repeat("\x00", 4-len(method)) + m.server.URL + path,
		Funcs: map[string]wasmtest.Func{"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + call + wasmtest.I32(1)}}}
	m.agent = agent
	m.birth = Birth{WASM: agent.Bytes(), Budget: marketFunds, Manifest: fmt.Appendf(nil, `{"capabilities": {
		"http": {"version": 1, "options": {"allowed_hosts": [%q], "timeout_ms": 8000}},
		"x402": {"version": 2, "options": {"hosts": [%q], "networks": ["eip155:%d"], "assets": [%q], "allowed_recipients": [%q],
			"max_payment_microcents": %d, "max_per_day_microcents": 100000}}}, "resource_limits": {"max_tick_ms": 3000}}`,
		host, host, x402test.ChainID, m.chain.Token, m.shop, marketPrice)}
	return m
}

func (m *market) config(n uint64) settings {
	c := ticks(n, 1)
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	c.Payments = m.payments
	return c
}

// live lives some ticks, from the beginning if there is none, and returns what the agent got
// for the last request.
func (m *market) live(n uint64) int64 {
	m.t.Helper()
	var err error
	if _, failed := os.Stat(m.dir); failed != nil {
		_, err = Start(m.t.Context(), m.dir, m.birth, m.config(n))
	} else {
		_, err = Resume(m.t.Context(), m.dir, m.config(n))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return m.last()
}

func (m *market) last() (code int64) {
	m.t.Helper()
	rc := replayConfig(m.dir, m.birth)
	rc.Observe = func(o Observation) {
		if o.kind == eventlog.HTTPRequest || o.kind == eventlog.PaidRequest {
			code = o.Return
		}
	}
	report, err := Replay(m.t.Context(), m.dir, rc)
	if err != nil || report.Verdict != Replayed {
		m.t.Fatalf("run again it is %+v, %v", report, err)
	}
	return code
}

// accounts wants the chain, the receipts and the budget to say the same: what moved, what
// is open.
func (m *market) accounts(payments, open int64) {
	m.t.Helper()
	have, err := m.chain.Node().Balance(m.t.Context(), m.chain.Token, m.shop)
	if err != nil {
		m.t.Fatal(err)
	}
	have -= uint64(m.before)
	receipts, sum := 0, int64(0)
	if f, err := os.Open(filepath.Join(m.dir, "receipts.x402")); err == nil {
		for r := receipt.NewReader(f); ; {
			got, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				m.t.Fatal(err)
			}
			o := got.(*receipt.Onchain)
			if !o.Authentic() || o.Agreed != 1 || o.Asked != 1 {
				m.t.Errorf("the receipt %+v", o)
			}
			receipts, sum = receipts+1, sum+o.Amount
		}
		f.Close()
	}
	budget, held := m.standing()
	if int64(have) != payments*marketPrice || sum != int64(have) || receipts != int(payments) || m.given-budget-held != sum || held != open*marketPrice {
		m.t.Errorf("the chain has %d, %d receipts have %d, the budget lost %d, of which %d are held; want %d payments and %d open", have, receipts, sum, m.given-budget, held, payments, open)
	}
}

func (m *market) standing() (budget, held int64) {
	m.t.Helper()
	seen, err := Look(m.dir)
	if err != nil || len(seen) == 0 {
		m.t.Fatal(seen, err)
	}
	effects, err := Effects(m.t.Context(), m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, e := range effects {
		if e.Unresolved() {
			held += e.Held
		}
	}
	return seen[len(seen)-1].Budget, held
}

// TestMarketNoRoom has an agent whose buffer is too small for what it pays for: that is not
// delivered. With -5 it would ask again with a larger one, and pay again.
func TestMarketNoRoom(t *testing.T) {
	shared := newMarket(t)
	shared.room = 14 // the 402 fits
	for _, method := range []string{"GET", "POST"} {
		m := shared.begin(t, method)
		if code := m.live(1); code != hostcall.CodePaid {
			t.Errorf("%s: the agent gets %d", method, code)
		}
		m.accounts(1, 0)
	}
}

// TestMarket goes through all that can be lost between an agent and a shop: it pays once or
// not at all, and the books say which.
func TestMarket(t *testing.T) {
	shared := newMarket(t)
	for _, method := range []string{"GET", "POST"} {
		for _, row := range []struct {
			name, facilitator, server string
			code                      int64
			paid                      int64
			open                      int64
		}{
			{"all goes well", "", "", 200, 1, 0},
			{"facilitator down before settling", "settle down", "", hostcall.CodeUnresolved, 0, 1},
			{"settled, the facilitator's answer lost", "settle answer lost", "", hostcall.CodePaid, 1, 0},
			{"settled, the server's answer lost", "", "server answer lost", hostcall.CodePaid, 1, 0},
			{"settled, a proxy answers", "", "server answers 502", hostcall.CodePaid, 1, 0},
			{"the server is gone before it settles", "", "server down before", hostcall.CodeUnresolved, 0, 1},
		} {
			t.Run(method+" "+row.name, func(t *testing.T) {
				m := shared.begin(t, method)
				if row.facilitator != "" {
					m.facilitator.Fail(row.facilitator, 1)
				}
				if row.server != "" {
					m.server.Fail(row.server, 1)
				}
				if code := m.live(1); code != row.code {
					t.Errorf("the agent gets %d, want %d", code, row.code)
				}
				m.accounts(row.paid, row.open)
				if row.open == 0 {
					return
				}
				// When its time is over, what was not paid comes back, and the agent pays again.
				m.chain.Pass(2 * time.Minute)
				if code := m.live(2); code != 200 {
					t.Errorf("later the agent gets %d", code)
				}
				m.accounts(2, 0)
			})
		}
	}
}

// TestCancelPayment cancels a payment that nobody settled, so that it ends at once, and the
// signature that the shop has is worth nothing.
func TestCancelPayment(t *testing.T) {
	m := newMarket(t).begin(t, "GET")
	m.facilitator.Fail("settle down", 1)
	m.live(1)
	m.accounts(0, 1)
	effects, err := Effects(t.Context(), m.dir)
	if err != nil || len(effects) != 1 {
		t.Fatal(effects, err)
	}
	other, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for id, p := range map[string]*Payments{"": m.payments, "xyz": m.payments, effects[0].ID: {Wallet: other}} {
		if c, err := CancelPayment(t.Context(), m.dir, id, p); err == nil {
			t.Errorf("effect %q: %+v", id, c)
		}
	}
	c, err := CancelPayment(t.Context(), m.dir, effects[0].ID[:8], m.payments)
	if err != nil || c.Asset != m.chain.Token.String() || c.ID != effects[0].ID {
		t.Fatalf("got %+v, %v", c, err)
	}
	if err := m.chain.Send(m.chain.Token, c.Data); err != nil {
		t.Fatal(err)
	}
	m.server.Stop() // nothing more is bought
	m.live(1)
	m.accounts(0, 0)
	if _, err := CancelPayment(t.Context(), m.dir, effects[0].ID, m.payments); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("one that has ended: %v", err)
	}
	sent, _ := hex.DecodeString(effects[0].RequestHex)
	p, err := request.ParsePaid(sent)
	if err != nil {
		t.Fatal(err)
	}
	m.server.Start()
	req, _ := http.NewRequest("GET", m.server.URL+"/data", nil)
	req.Header.Set(p.Name, p.Value)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == 200 {
		t.Error("the shop delivers for a payment that is cancelled")
	}
	m.accounts(0, 0)
}

// TestMarketFailedTick has an agent that gets what it pays for, and traps then. The next tick
// asks for the same, and gets it: it is not paid again. The one after that pays.
func TestMarketFailedTick(t *testing.T) {
	shared := newMarket(t)
	for _, method := range []string{"GET", "POST"} {
		m := shared.begin(t, method)
		agent := wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest, wasmtest.WalletReceiptCount}, Data: m.agent.Data, Funcs: map[string]wasmtest.Func{}}
		// It traps in the tick that begins without a receipt, which is the first.
		const had = 24
		body := wasmtest.I32(had) + wasmtest.Call(1) + "\x36\x02\x00" + m.agent.Funcs["agent_tick"].Body[:len(m.agent.Funcs["agent_tick"].Body)-len(wasmtest.I32(1))] +
			wasmtest.I32(had) + "\x28\x02\x00" + "\x45" + "\x04\x40\x00\x0b" + wasmtest.I32(1) // load, eqz, if unreachable end
		agent.Funcs["agent_tick"] = wasmtest.Func{Type: wasmtest.ToI32, Body: body}
		m.birth.WASM = agent.Bytes()
		m.birth.Manifest = []byte(strings.Replace(string(m.birth.Manifest), `"http": `, `"wallet": {"version": 1}, "http": `, 1))
		c := m.config(2)
		c.MaxFailedTicks = -1
		if _, err := Start(t.Context(), m.dir, m.birth, c); err != nil {
			t.Fatal(err)
		}
		if code := m.last(); code != 200 {
			t.Errorf("%s: after the tick that failed the agent gets %d", method, code)
		}
		paid := int64(1)
		if method == "POST" { // an order is another order: acts know it again, and nobody else
			paid = 2
		}
		m.accounts(paid, 0)
		m.live(1)
		m.accounts(paid+1, 0)

		// The same, and the process ends between the two ticks.
		m.dir += " again"
		m.before += (paid + 1) * marketPrice
		c = m.config(1)
		c.MaxFailedTicks = -1
		if _, err := Start(t.Context(), m.dir, m.birth, c); err != nil {
			t.Fatal(err)
		}
		m.accounts(1, 0)
		m.live(1)
		m.accounts(paid, 0)
	}
}

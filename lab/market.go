package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
	"igor.dev/x402/x402test"
)

// A market is what is real where agents buy: a chain of its own with USDC on it, x402's
// reference facilitator, and its reference server, which sells GET /report. Every node has a
// wallet.
type market struct {
	parts       *parts
	chain       *x402test.Chain
	facilitator *x402test.Part
	server      *x402test.Part
	proxy       *httputil.ReverseProxy
	forward     net.Listener // to the chain, for nodes
	wallets     map[string]evm.Address

	mu     sync.Mutex
	ambush map[string]chan struct{} // by a node's address: closed when it has paid
}

const (
	chainPort   = shopPort - 2
	reportPrice = 2_500     // base units of USDC, which are microcents
	walletFunds = 1_000_000 // of each node

	// What stands in capabilities for the token's contract, and for whom reports are bought of.
	placeholderToken  = "USDC"
	placeholderSeller = "SELLER"
)

// seller is who gets the money.
var seller = evm.Address{0: 0x5e, 1: 0x11, 19: 0xe4}

// parts is whom x402test starts what it starts for. What fails panics, and [parts.try] is
// where that ends.
type parts struct {
	ctx  context.Context
	dir  string
	ends []func()
}

type partsError string

func (p *parts) Helper()                           {}
func (p *parts) Cleanup(f func())                  { p.ends = append(p.ends, f) }
func (p *parts) Context() context.Context          { return p.ctx }
func (p *parts) Error(args ...any)                 { p.Fatal(args...) }
func (p *parts) Fatal(args ...any)                 { panic(partsError(fmt.Sprint(args...))) }
func (p *parts) Fatalf(format string, args ...any) { panic(partsError(fmt.Sprintf(format, args...))) }
func (p *parts) Skipf(format string, args ...any)  { p.Fatalf(format, args...) }

func (p *parts) TempDir() string {
	dir, err := os.MkdirTemp(p.dir, "chain-")
	if err != nil {
		p.Fatal(err)
	}
	return dir
}

func (p *parts) try(do func()) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case partsError:
			err = errors.New(string(e))
		default:
			panic(e)
		}
	}()
	do()
	return nil
}

// openMarket starts the parts, and makes wallets for nodes.
func openMarket(ctx context.Context, dir string, chain net.Listener, nodes []node) (m *market, err error) {
	m = &market{parts: &parts{ctx: ctx, dir: dir}, forward: chain, wallets: map[string]evm.Address{}, ambush: map[string]chan struct{}{}}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	err = m.parts.try(func() {
		m.chain = x402test.NewChain(m.parts)
		m.facilitator = m.chain.Facilitator()
		m.server = m.chain.Server(m.facilitator, seller, reportPrice)
	})
	if err != nil {
		return m, fmt.Errorf("a script with chain: true needs a clone, and the real parts of payments: %w", err)
	}
	go forwardTo(chain, strings.TrimPrefix(m.chain.URL, "http://"))
	to, err := url.Parse(m.server.URL)
	if err != nil {
		return m, err
	}
	m.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ModifyResponse: m.answered,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	for _, n := range nodes {
		if err := m.wallet(n.at(), chain.Addr().String()); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *market) close() {
	m.forward.Close()
	for i := len(m.parts.ends) - 1; i >= 0; i-- {
		m.parts.try(m.parts.ends[i])
	}
}

// wallet gives a node one, with funds, and says how it reaches the chain.
func (m *market) wallet(s *seat, chain string) error {
	key, err := wallet.Generate()
	if err != nil {
		return err
	}
	if err := key.Save(filepath.Join(s.dir, fileWallet), wallet.Lock{}); err != nil {
		return err
	}
	m.wallets[s.name] = key.Address()
	if err := m.parts.try(func() { m.chain.Mint(key.Address(), walletFunds) }); err != nil {
		return err
	}
	b, err := json.Marshal(map[string]any{"wallet": fileWallet, "networks": map[string]any{
		x402.NetworkOf(x402test.ChainID): map[string]any{"nodes": []string{"http://" + chain}, "confirmations": 1}}})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, filePayments), append(b, '\n'), 0o600)
}

// Files of a node.
const (
	fileWallet   = "wallet"
	filePayments = "payments.json"
)

// fill puts what is not known before into an agent's manifest.
func (m *market) fill(manifest []byte) []byte {
	r := strings.NewReplacer(`"`+placeholderToken+`"`, `"`+m.chain.Token.String()+`"`, `"`+placeholderSeller+`"`, `"`+seller.String()+`"`)
	return []byte(r.Replace(string(manifest)))
}

// sells reports whether the server answers for a path.
func (m *market) sells(path string) bool { return path == "/report" }

// answered sees what the server says to a node, before the node does.
func (m *market) answered(r *http.Response) error {
	if r.StatusCode != http.StatusOK || r.Header.Get(x402.HeaderResponse) == "" {
		return nil
	}
	host, _, _ := net.SplitHostPort(r.Request.RemoteAddr)
	m.mu.Lock()
	paid, waits := m.ambush[host]
	delete(m.ambush, host)
	m.mu.Unlock()
	if !waits {
		return nil
	}
	close(paid)
	// Whoever waits kills the node, which ends its request.
	select {
	case <-r.Request.Context().Done():
	case <-time.After(10 * time.Second):
	}
	return errors.New("nobody is there to be answered")
}

// paid waits until a node has paid, and does not get the answer.
func (m *market) paid(ctx context.Context, host string) error {
	paid := make(chan struct{})
	m.mu.Lock()
	m.ambush[host] = paid
	m.mu.Unlock()
	select {
	case <-paid:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("it paid nothing within a minute")
	}
}

// balance is what an address has on the chain.
func (m *market) balance(ctx context.Context, of evm.Address) (int64, error) {
	n, err := evm.Dial(m.chain.URL)
	if err != nil {
		return 0, err
	}
	b, err := n.Balance(ctx, m.chain.Token, of)
	return int64(b), err
}

// forwardTo has whoever connects to l be connected to an address.
func forwardTo(l net.Listener, address string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			to, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer to.Close()
			go func() {
				io.Copy(to, from)
				to.(*net.TCPConn).CloseWrite()
			}()
			io.Copy(from, to)
		}()
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
	"igor.dev/x402/x402test"
)

// A demo is a chain of its own, a node with a wallet that pays on it, and igor.
type demo struct {
	t           *testing.T
	chain       *x402test.Chain
	facilitator *x402test.Part
	dir, igor   string
	began       time.Time // after everything was built
}

func newDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{t: t, chain: x402test.NewChain(t), dir: t.TempDir()}
	d.facilitator = d.chain.Facilitator()
	d.igor = filepath.Join(d.dir, "igor")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", d.igor, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(filepath.Join(d.dir, "wallet"), wallet.Lock{}); err != nil {
		t.Fatal(err)
	}
	d.chain.Mint(key.Address(), 1_000_000)
	d.write("payments.json", map[string]any{"wallet": "wallet", "networks": map[string]any{d.network(): map[string]any{"nodes": []string{d.chain.URL}, "confirmations": 1}}})
	return d
}

func (d *demo) network() string { return fmt.Sprintf("eip155:%d", x402test.ChainID) }

func (d *demo) write(name string, content any) {
	d.t.Helper()
	b, err := json.Marshal(content)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.dir, name), b, 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// agent builds an agent of agents/ for a server, with a manifest that lets its host be paid.
func (d *demo) agent(name, server string, payTo evm.Address, most int64, capabilities map[string]any) {
	d.t.Helper()
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -X main.server="+server, "-o", filepath.Join(d.dir, name+".wasm"), "./"+name)
	build.Dir = "../../agents"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	host := strings.TrimPrefix(server, "http://")
	version1 := map[string]any{"version": 1}
	all := map[string]any{"clock": version1, "log": version1, "wallet": version1,
		"http": map[string]any{"version": 1, "options": map[string]any{"allowed_hosts": []string{host}}},
		"x402": map[string]any{"version": 2, "options": map[string]any{"hosts": []string{host}, "networks": []string{d.network()}, "assets": []string{d.chain.Token.String()},
			"allowed_recipients": []string{payTo.String()}, "max_payment_microcents": most, "max_per_day_microcents": 20 * most}}}
	for k, v := range capabilities {
		all[k] = v
	}
	d.began = time.Now()
	d.write(name+".manifest.json", map[string]any{"capabilities": all, "resource_limits": map[string]any{"max_memory_bytes": 33554432}})
}

func (d *demo) command(ctx context.Context, failpoint string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.igor, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(d.dir, "config"), "XDG_CACHE_HOME="+filepath.Join(d.dir, "cache"), "IGOR_FAILPOINT="+failpoint)
	return cmd
}

// run runs igor, which may die at a failpoint.
func (d *demo) run(failpoint string, args ...string) (out string, err error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	b, err := d.command(ctx, failpoint, args...).CombinedOutput()
	d.t.Logf("$ igor %s\n%s", strings.Join(args, " "), b)
	return string(b), err
}

func (d *demo) balance(of evm.Address) uint64 {
	d.t.Helper()
	n, err := d.chain.Node().Balance(d.t.Context(), d.chain.Token, of)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// TestDemoPay is a part of make demo-pay: agents/x402buyer buys a report from the reference
// server, its machine dies when the payment is settled and the report not there yet, and it
// goes on. It has paid once.
func TestDemoPay(t *testing.T) {
	const price = 2500
	d := newDemo(t)
	shop := evm.Address{19: 9}
	server := d.chain.Server(d.facilitator, shop, price)
	d.agent("x402buyer", server.URL, shop, 5000, nil)
	t.Logf("# A shop wants %d base units of USDC for a report. An agent buys it, and the machine dies when it has paid.", price)
	if out, err := d.run("paid-answered:1", "run", "x402buyer.wasm", "--dir", "buyer", "--budget=1", "--price=0.001", "--ticks=1", "--payments=payments.json"); err == nil || d.balance(shop) != price {
		t.Fatalf("it did not die, or not after it paid: %v\n%s", err, out)
	}
	t.Logf("# On the chain the shop has %d. It goes on: the payment began, so it is asked about, and not made again.", d.balance(shop))
	out, err := d.run("", "resume", "buyer", "--ticks=1", "--payments=payments.json")
	if err != nil || !strings.Contains(out, "paid by the node, and not delivered") {
		t.Errorf("it does not go on: %v", err)
	}
	if d.balance(shop) != price {
		t.Errorf("the shop has %d, want %d", d.balance(shop), price)
	}
	out, err = d.run("", "effects", "buyer", "--all")
	if err != nil || !strings.Contains(out, "spent 0.002500") {
		t.Errorf("the effect is not spent: %v", err)
	}
	for _, args := range [][]string{{"receipts", "buyer"}, {"receipts", "buyer", "--on-chain", "--payments", "payments.json"}, {"verify", "buyer"}, {"replay", "buyer"}} {
		if out, err := d.run("", args...); err != nil || args[0] == "receipts" && strings.Count(out, "0.002500 to "+shop.String()) != 1 ||
			len(args) > 2 && !strings.Contains(out, "confirmed, by the word of one node alone") {
			t.Errorf("igor %q: %v", args, err)
		}
	}
	t.Logf("# The shop has %d: it was paid once. It took %s after the build.", d.balance(shop), time.Since(d.began).Round(time.Second/10))
}

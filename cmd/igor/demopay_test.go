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

// TestDemoPay is make demo-pay: agents/x402buyer buys a report from the reference server, its
// machine dies when the payment is settled and the report not there yet, and it goes on. It
// has paid once.
func TestDemoPay(t *testing.T) {
	const price = 2500
	chain := x402test.NewChain(t)
	facilitator := chain.Facilitator()
	shop := evm.Address{19: 9}
	server := chain.Server(facilitator, shop, price)
	host := strings.TrimPrefix(server.URL, "http://")

	dir := t.TempDir()
	self := filepath.Join(dir, "igor")
	if out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", self, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -X main.server="+server.URL, "-o", filepath.Join(dir, "buyer.wasm"), "./x402buyer")
	build.Dir = "../../agents"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(filepath.Join(dir, "wallet"), wallet.Lock{}); err != nil {
		t.Fatal(err)
	}
	chain.Mint(key.Address(), 1_000_000)
	network := fmt.Sprintf("eip155:%d", x402test.ChainID)
	payments, _ := json.Marshal(map[string]any{"wallet": "wallet", "networks": map[string]any{network: map[string]any{"nodes": []string{chain.URL}, "confirmations": 1}}})
	for name, content := range map[string]string{"payments.json": string(payments), "buyer.manifest.json": fmt.Sprintf(`{"capabilities": {
		"clock": {"version": 1}, "log": {"version": 1}, "wallet": {"version": 1},
		"http": {"version": 1, "options": {"allowed_hosts": [%q]}},
		"x402": {"version": 2, "options": {"hosts": [%q], "networks": [%q], "assets": [%q], "allowed_recipients": [%q],
			"max_payment_microcents": 5000, "max_per_day_microcents": 100000}}},
		"resource_limits": {"max_memory_bytes": 33554432}}`, host, host, network, chain.Token, shop)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(failpoint string, args ...string) (out string, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, self, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "IGOR_FAILPOINT="+failpoint)
		b, err := cmd.CombinedOutput()
		t.Logf("$ igor %s\n%s", strings.Join(args, " "), b)
		return string(b), err
	}
	balance := func() uint64 {
		n, err := chain.Node().Balance(t.Context(), chain.Token, shop)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Logf("# A shop wants %d base units of USDC for a report. An agent buys it, and the machine dies when it has paid.", price)
	if out, err := run("paid-answered:1", "run", "buyer.wasm", "--dir", "buyer", "--budget=1", "--price=0.001", "--ticks=1", "--payments=payments.json"); err == nil || balance() != price {
		t.Fatalf("it did not die, or not after it paid: %v\n%s", err, out)
	}
	t.Logf("# On the chain the shop has %d. It goes on: the payment began, so it is asked about, and not made again.", balance())
	out, err := run("", "resume", "buyer", "--ticks=1", "--payments=payments.json")
	if err != nil || !strings.Contains(out, "paid by the node, and not delivered") {
		t.Errorf("it does not go on: %v", err)
	}
	if balance() != price {
		t.Errorf("the shop has %d, want %d", balance(), price)
	}
	out, err = run("", "effects", "buyer", "--all")
	if err != nil || !strings.Contains(out, "spent 0.002500") {
		t.Errorf("the effect is not spent: %v", err)
	}
	for _, args := range [][]string{{"receipts", "buyer"}, {"verify", "buyer"}, {"replay", "buyer"}} {
		if out, err := run("", args...); err != nil || args[0] == "receipts" && strings.Count(out, "0.002500 to "+shop.String()) != 1 {
			t.Errorf("igor %q: %v", args, err)
		}
	}
	t.Logf("# The shop has %d: it was paid once.", balance())
}

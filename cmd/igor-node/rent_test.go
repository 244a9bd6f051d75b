package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/x402"
	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// set changes a node's settings.
func set(t *testing.T, dir string, change map[string]any) {
	t.Helper()
	file := filepath.Join(dir, fileConfig)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	for k, v := range change {
		all[k] = v
	}
	if b, err = json.Marshal(all); err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRent has an agent stand still at a node that sells leases, on a real chain and by a
// facilitator: it goes on when somebody paid there, and the node counts that.
func TestRent(t *testing.T) {
	chain := x402test.NewChain(t)
	facilitator := chain.Facilitator()
	chain.Mint(evm.AddressOf(x402test.Key(5).PubKey()), 1_000_000)
	dir, key, _ := aNode(t)
	rents := map[string]any{"listen": "127.0.0.1:0", "folder": "rents", "payTo": evm.Address{19: 7}.String(), "network": fmt.Sprintf("eip155:%d", x402test.ChainID), "asset": chain.Token.String(),
		"assetName": x402test.TokenName, "assetVersion": x402test.TokenVersion, "nodes": []string{chain.URL}, "confirmations": 1, "facilitator": facilitator.URL,
		"lease": map[string]any{"period": "1h", "price": "0.02"}}
	b, err := json.Marshal(rents)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "rent.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	set(t, dir, map[string]any{"rent": "rent.json", "rent_grace": "1ms", "ledger": filepath.Join(dir, "ledger"), "tick_interval": "5ms", "checkpoint_every": "50ms"})
	// An agent.
	wasm, err := os.ReadFile("../igor/testdata/agents/counter.wasm")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	e, err := runtime.NewEngine(runtime.EngineConfig{Log: slog.New(slog.DiscardHandler), NodeKey: key, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(filepath.Dir(dir), "watcher")
	r, err := e.Start(t.Context(), folder, runtime.Birth{WASM: wasm, Manifest: []byte("{}"), Budget: 1e9, Price: 1000}, runtime.Config{MaxTicks: 1}).Wait(t.Context())
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, filepath.Join(dir, "agents", "watcher")); err != nil {
		t.Fatal(err)
	}
	var out safeBuffer
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"start", "--dir", dir, "--metrics", "0", "--cache-dir", cache}, &out, &out)
	}()
	await := func(what string, is func() bool) {
		t.Helper()
		for began := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Since(began) > 60*time.Second {
				t.Fatalf("it did not come to this: %s\n%s", what, out.String())
			}
		}
	}
	address := func(re string) (at string) {
		await(re, func() bool {
			found := regexp.MustCompile(re).FindStringSubmatch(out.String())
			if found != nil {
				at = found[1]
			}
			return found != nil
		})
		return at
	}
	metrics, rent := address(`url=(http://\S+/metrics)`), address(`url=(http://\S+/rent/)DID`)
	get := func(want string) bool {
		resp, err := http.Get(metrics)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return bytes.Contains(b, []byte("\n"+want+"\n"))
	}
	post := func(did string, headers ...string) (int, http.Header, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, rent+did, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range headers {
			req.Header.Add(x402.HeaderSignature, v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header, string(b)
	}
	await("its rent is due", func() bool { return get("igor_node_rent_due_agents 1") })
	status, header, body := post(r.DID)
	required, err := x402.ParseRequired(header, nil)
	if err != nil || status != http.StatusPaymentRequired {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	o := &required.Offers[0]
	newest, err := chain.Node().Block(t.Context(), evm.Latest)
	if err != nil {
		t.Fatal(err)
	}
	a := evm.Authorization{From: evm.AddressOf(x402test.Key(5).PubKey()), To: o.PayTo, Value: uint64(o.Amount), ValidBefore: newest.Time + uint64(o.Timeout), Nonce: evm.Hash{1}}
	domain := o.Domain()
	_, payment := required.Pay(o, &a, evm.Sign(x402test.Key(5), a.Digest(&domain)))
	await("it is paid", func() bool {
		chain.Mine(1)
		status, _, body = post(r.DID, payment)
		return status == http.StatusOK
	})
	if !strings.Contains(body, `"receipt"`) || !strings.Contains(body, `"paidMicrocents":"20000"`) {
		t.Errorf("paid: %s", body)
	}
	await("it lives", func() bool {
		return get("igor_node_rent_due_agents 0") && get("igor_node_rent_payments_total 1") && get("igor_node_rent_microcents_total 20000")
	})
	c, err := api.Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	tick := func() uint64 {
		var all []api.Agent
		if err := c.Get(t.Context(), "/v1/agents", &all); err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0].Tick
	}
	before := tick()
	await("it goes on", func() bool { return tick() > before+3 })
	if status, _, body := post(r.DID); status != http.StatusOK || !strings.Contains(body, `"receipt"`) {
		t.Errorf("nothing is due: %d %s", status, body)
	}
	if status, _, body := post("did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd"); status != http.StatusNotFound {
		t.Errorf("another agent: %d %s", status, body)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	// What cannot be.
	refused := func(want string, change map[string]any, file map[string]any) {
		t.Helper()
		b, err := json.Marshal(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "rent.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		set(t, dir, change)
		var out bytes.Buffer
		if code := run(t.Context(), []string{"start", "--dir", dir, "--cache-dir", cache}, &out, &out); code != exitConfig || !strings.Contains(out.String(), want) {
			t.Errorf("exit code %d, want %q in %s", code, want, &out)
		}
	}
	rents["ledger"] = "elsewhere"
	refused("leave it out", nil, rents)
	delete(rents, "ledger")
	delete(rents, "lease")
	refused("nobody could buy it", nil, rents)
	refused("set ledger too", map[string]any{"ledger": ""}, rents)
	refused("no such file", map[string]any{"ledger": filepath.Join(dir, "ledger"), "rent": "nothing.json"}, rents)
}

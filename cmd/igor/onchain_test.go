package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"igor.dev/verifier"
	"igor.dev/verifier/receipt"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
	"igor.dev/x402/x402test"
)

// TestReceiptsOnChain holds receipts against a real chain, by nodes that tell the truth and
// nodes that do not.
func TestReceiptsOnChain(t *testing.T) {
	chain := x402test.NewChain(t)
	from, shop := evm.AddressOf(x402test.Key(5).PubKey()), evm.Address{19: 9}
	chain.Mint(from, 1_000_000)
	domain := chain.Domain()
	a := evm.Authorization{From: from, To: shop, Value: 2500, ValidBefore: 1 << 40, Nonce: evm.Hash{1}}
	if err := chain.Settle(&a, evm.Sign(x402test.Key(5), a.Digest(&domain))); err != nil {
		t.Fatal(err)
	}
	f, err := chain.Node().Ask(t.Context(), &evm.Query{Domain: domain, Authorization: a, Confirmations: 1})
	if err != nil || f.Fate != evm.Paid {
		t.Fatal(f, err)
	}
	agent := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	good := receipt.Onchain{Payer: verifier.PublicKey(agent.Public().(ed25519.PublicKey)), Nonce: a.Nonce, Chain: x402test.ChainID, Asset: chain.Token, From: from, To: shop, Amount: 2500,
		Transaction: f.Transaction, Block: f.Block, BlockHash: f.BlockHash, Agreed: 1, Asked: 1, Time: 1}
	dir := t.TempDir()
	write := func(change func(*receipt.Onchain)) string {
		r := good
		change(&r)
		copy(r.Signature[:], ed25519.Sign(agent, r.AppendMessage(nil)))
		file := filepath.Join(dir, "receipts.x402")
		if err := os.WriteFile(file, r.Append(nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	// denies answers as the chain does, but that it knows no transaction; moved says another amount.
	lying := func(change func(method string, body []byte) []byte) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			question, _ := io.ReadAll(r.Body)
			resp, err := http.Post(chain.URL, "application/json", bytes.NewReader(question))
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			var q struct{ Method string }
			json.Unmarshal(question, &q)
			w.Write(change(q.Method, body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	denies := lying(func(method string, body []byte) []byte {
		if method != "eth_getTransactionReceipt" {
			return body
		}
		var answer map[string]any
		json.Unmarshal(body, &answer)
		answer["result"] = nil
		b, _ := json.Marshal(answer)
		return b
	})
	word := func(n uint64) string { h := evm.Hash{30: byte(n >> 8), 31: byte(n)}; return h.String()[2:] }
	inflates := lying(func(method string, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(word(2500)), []byte(word(9999)))
	})
	same := func(*receipt.Onchain) {}
	for _, row := range []struct {
		name   string
		change func(*receipt.Onchain)
		args   []string
		code   int
		want   string
	}{
		{"confirmed by two", same, []string{"--node", chain.URL, "--node", chain.URL + "/"}, 0, "confirmed, by 2 of 2 nodes"},
		{"one node's word", same, []string{"--node", chain.URL}, 0, "confirmed, by the word of one node alone"},
		{"another block by now", func(o *receipt.Onchain) { o.Block++ }, []string{"--node", chain.URL}, 0, "by now"},
		{"another amount", func(o *receipt.Onchain) { o.Amount++ }, []string{"--node", chain.URL}, 1, "differs"},
		{"another recipient", func(o *receipt.Onchain) { o.To[0]++ }, []string{"--node", chain.URL}, 1, "differs"},
		{"another nonce", func(o *receipt.Onchain) { o.Nonce[0]++ }, []string{"--node", chain.URL}, 1, "does not use this nonce"},
		{"another asset", func(o *receipt.Onchain) { o.Asset[0]++ }, []string{"--node", chain.URL}, 1, "differs"},
		{"another transaction", func(o *receipt.Onchain) { o.Transaction[0]++ }, []string{"--node", chain.URL}, 3, "not found"},
		{"another network", func(o *receipt.Onchain) { o.Chain++ }, []string{"--node", chain.URL}, 3, "no node of eip155:84533"},
		{"not final yet", same, []string{"--node", chain.URL, "--confirmations", "1000"}, 3, "confirmations of 1000"},
		{"one of three denies it", same, []string{"--node", chain.URL, "--node", denies, "--node", chain.URL, "--agree", "2"}, 0, "confirmed, by 2 of 3 nodes"},
		{"two of three deny it", same, []string{"--node", chain.URL, "--node", denies, "--node", denies, "--agree", "2"}, 3, "not found, by 2 of 3 nodes"},
		{"one confirms what is not", func(o *receipt.Onchain) { o.Amount = 9999 }, []string{"--node", chain.URL, "--node", inflates, "--node", chain.URL, "--agree", "2"}, 1, "differs, by 2 of 3 nodes"},
		{"one alone confirms what is not", func(o *receipt.Onchain) { o.Amount = 9999 }, []string{"--node", inflates}, 0, "by the word of one node alone"},
		{"they disagree", same, []string{"--node", chain.URL, "--node", denies}, 3, "not known"},
	} {
		args := append([]string{"receipts", "--on-chain", write(row.change)}, row.args...)
		if !strings.Contains(strings.Join(args, " "), "--confirmations") {
			args = append(args, "--confirmations", "1")
		}
		var out, errs bytes.Buffer
		code := run(args, nil, &out, &errs)
		if text := strings.Join(strings.Fields(out.String()), " "); code != row.code || !strings.Contains(text, row.want) || errs.Len() > 0 {
			t.Errorf("%s: exit %d\n%s%s", row.name, code, out.String(), errs.String())
		}
		out.Reset()
		var report struct {
			Payments []heldClaim `json:"payments"`
		}
		if code := run(append(args, "--format", "json"), nil, &out, &errs); code != row.code || json.Unmarshal(out.Bytes(), &report) != nil || len(report.Payments) != 1 {
			t.Errorf("%s, as JSON: exit %d\n%s", row.name, code, out.String())
		}
	}
	for _, args := range [][]string{
		{"receipts", "--on-chain", dir},
		{"receipts", "--on-chain", "--node", chain.URL},
		{"receipts", "--on-chain", "--node", "ftp://x", dir},
		{"receipts", "--on-chain", "--node", "http://127.0.0.1:1", dir},
		{"receipts", "--on-chain", "--payments", filepath.Join(dir, "none"), dir},
		{"receipts", "--node", chain.URL, dir},
		{"receipts", "--on-chain", "--node", chain.URL, "--agree", "9", dir},
	} {
		var out, errs bytes.Buffer
		if code := run(args, nil, &out, &errs); code != 2 || errs.Len() == 0 || !strings.Contains(errs.String(), "hint: ") {
			t.Errorf("%q: exit %d\n%s%s", args, code, out.String(), errs.String())
		}
	}
}

// TestWalletBind signs which wallet pays for an agent, and reads it.
func TestWalletBind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	key, err := wallet.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Save(filepath.Join(dir, "wallet"), wallet.Lock{}); err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(dir, "agent")
	if err := os.Mkdir(agent, 0o700); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	file := filepath.Join(dir, "binding")
	args := []string{"wallet", "bind", filepath.Join(dir, "wallet"), agent, file}
	if code := run(args, nil, &out, &errs); code == 0 {
		t.Error("an agent without a key")
	}
	if err := os.WriteFile(filepath.Join(agent, "key"), []byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	errs.Reset()
	if code := run(args, nil, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	signed := out.String()
	if !strings.Contains(signed, key.Address().String()) || strings.Count(signed, "did:key:z6Mk") != 2 {
		t.Errorf("it says\n%s", signed)
	}
	if code := run(args, nil, &out, &errs); code == 0 {
		t.Error("written over")
	}
	out.Reset()
	if code := run([]string{"wallet", "bound", file}, nil, &out, &errs); code != 0 || out.String() != signed {
		t.Errorf("exit %d, it says\n%s", code, out.String())
	}
	b, _ := os.ReadFile(file)
	b[40] ^= 1
	os.WriteFile(file, b, 0o600)
	if code := run([]string{"wallet", "bound", file}, nil, &out, &errs); code == 0 {
		t.Error("a flipped bit is taken")
	}
}

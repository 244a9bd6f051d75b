package evm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"igor.dev/x402/evm"
	"igor.dev/x402/x402test"
)

// liar passes questions on to a real node, and changes the answers.
func liar(t *testing.T, behind string, lie func(method string, result any) any) *evm.Node {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		var asked struct{ Method string }
		json.Unmarshal(question, &asked)
		resp, err := http.Post(behind, "application/json", bytes.NewReader(question))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		var answer map[string]any
		json.NewDecoder(resp.Body).Decode(&answer)
		answer["result"] = lie(asked.Method, answer["result"])
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	n, err := evm.Dial(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const (
	yes = "0x0000000000000000000000000000000000000000000000000000000000000001"
	no  = "0x0000000000000000000000000000000000000000000000000000000000000000"
)

// lies are what a node could gain by: that money moved, that it did not, that time passed.
var lies = map[string]func(method string, result any) any{
	"it was never used": func(method string, result any) any {
		switch method {
		case "eth_call":
			return no
		case "eth_getBlockByNumber":
			result.(map[string]any)["timestamp"] = "0x7fffffffff"
		}
		return result
	},
	"it was used": func(method string, result any) any {
		switch method {
		case "eth_call":
			return yes
		case "eth_getLogs":
			return []any{}
		}
		return result
	},
	"another transaction": func(method string, result any) any {
		if method == "eth_getLogs" && len(result.([]any)) > 0 {
			result.([]any)[0].(map[string]any)["transactionHash"] = "0x" + strings.Repeat("ab", 32)
		}
		return result
	},
	"the future": func(method string, result any) any {
		if method == "eth_getBlockByNumber" {
			b := result.(map[string]any)
			b["number"], b["timestamp"] = "0xfffffffffffffff0", "0xfffffffffffffff0"
		}
		return result
	},
	"the same block, in the future": func(method string, result any) any {
		if method == "eth_getBlockByNumber" {
			result.(map[string]any)["timestamp"] = "0xfffffffffffffff0"
		}
		return result
	},
	"the past": func(method string, result any) any {
		if method == "eth_getBlockByNumber" {
			b := result.(map[string]any)
			b["number"], b["timestamp"] = "0x1", "0x1"
		}
		return result
	},
	"another chain": func(method string, result any) any {
		if method == "eth_chainId" {
			return "0x1"
		}
		return result
	},
	"nothing":      func(string, any) any { return nil },
	"nonsense":     func(string, any) any { return map[string]any{"a": []any{1}} },
	"a long story": func(string, any) any { return "0x" + strings.Repeat("00", evm.MaxAnswer) },
	"an order of logs": func(method string, result any) any {
		if method == "eth_getLogs" {
			var many []any
			for range 5000 {
				many = append(many, map[string]any{"address": "0x" + strings.Repeat("00", 20), "topics": []any{}, "data": "0x"})
			}
			return many
		}
		return result
	},
}

// TestLiars asks three nodes of which one lies: it changes nothing.
func TestLiars(t *testing.T) {
	c := x402test.NewChain(t)
	domain, key := c.Domain(), x402test.Key(5)
	from := evm.AddressOf(key.PubKey())
	c.Mint(from, 1_000_000)
	newest, err := c.Node().Block(t.Context(), evm.Latest)
	if err != nil {
		t.Fatal(err)
	}
	query := func(nonce byte) *evm.Query {
		a := evm.Authorization{From: from, To: evm.Address{19: 7}, Value: 1000, ValidBefore: newest.Time + 600, Nonce: evm.Hash{31: nonce}}
		return &evm.Query{Domain: domain, Authorization: a, Since: newest.Number, Confirmations: 2}
	}
	paid, open := query(1), query(2)
	if err := c.Settle(&paid.Authorization, evm.Sign(key, paid.Authorization.Digest(&domain))); err != nil {
		t.Fatal(err)
	}
	c.Mine(3)
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			bad := liar(t, c.URL, lie)
			alone := &evm.Nodes{All: []*evm.Node{bad}, Quorum: 1}
			nodes := &evm.Nodes{All: []*evm.Node{bad, c.Node(), c.Node()}, Quorum: 2}
			if f, errs := nodes.Ask(t.Context(), paid); f.Fate != evm.Paid || !f.Confirmed {
				t.Errorf("paid: %+v, %v", f, errs)
			}
			if f, errs := nodes.Ask(t.Context(), open); f.Fate != evm.Open {
				t.Errorf("open: %+v, %v", f, errs)
			}
			for at := range nodes.All { // wherever the liar stands among them
				placed := &evm.Nodes{All: []*evm.Node{c.Node(), c.Node(), c.Node()}, Quorum: 2}
				placed.All[at] = bad
				b, err := placed.Newest(t.Context(), x402test.ChainID)
				if err != nil || b.Number > newest.Number+20 || b.Time > newest.Time+1000 {
					t.Errorf("with the liar at %d the newest block is %+v, %v", at, b, err)
				}
			}
			alone.Ask(t.Context(), paid) // nothing panics
			alone.Ask(t.Context(), open)
		})
	}
	one := &evm.Nodes{All: []*evm.Node{liar(t, c.URL, lies["it was never used"])}, Quorum: 1}
	if f, _ := one.Ask(t.Context(), paid); f.Fate != evm.Never || f.Nodes != 1 {
		t.Errorf("a lone liar is believed, and what is found says so by Nodes: %+v", f)
	}
	two := &evm.Nodes{All: append(one.All, c.Node()), Quorum: 2}
	if f, _ := two.Ask(t.Context(), paid); f.Fate != evm.Unknown {
		t.Errorf("two that disagree: %+v", f)
	}
	for _, n := range []*evm.Nodes{{}, {All: two.All}, {All: two.All, Quorum: 1}, {All: two.All, Quorum: 3}} {
		if n.Check() == nil {
			t.Errorf("%d of %d was taken", n.Quorum, len(n.All))
		}
	}
}

// TestLoneNode asks one node that contradicts itself, or answers something else than was
// asked: then not even its own word counts.
func TestLoneNode(t *testing.T) {
	c := x402test.NewChain(t)
	domain, key := c.Domain(), x402test.Key(5)
	from := evm.AddressOf(key.PubKey())
	c.Mint(from, 1_000_000)
	newest, err := c.Node().Block(t.Context(), evm.Latest)
	if err != nil {
		t.Fatal(err)
	}
	a := evm.Authorization{From: from, To: evm.Address{19: 7}, Value: 1000, ValidBefore: newest.Time + 600, Nonce: evm.Hash{31: 1}}
	q := &evm.Query{Domain: domain, Authorization: a, Since: newest.Number, Confirmations: 2}
	if err := c.Settle(&a, evm.Sign(key, a.Digest(&domain))); err != nil {
		t.Fatal(err)
	}
	c.Mine(1)
	logs := func(change func(map[string]any)) func(string, any) any {
		return func(method string, result any) any {
			if method == "eth_getLogs" {
				for _, l := range result.([]any) {
					change(l.(map[string]any))
				}
			}
			return result
		}
	}
	receipts := func(change func(map[string]any)) func(string, any) any {
		return func(method string, result any) any {
			if r, ok := result.(map[string]any); ok && method == "eth_getTransactionReceipt" {
				change(r)
			}
			return result
		}
	}
	hash := "0x" + strings.Repeat("ab", 32)
	for name, lie := range map[string]func(string, any) any{
		"another chain":                lies["another chain"],
		"used, and no log of it":       lies["it was used"],
		"a log of another contract":    logs(func(l map[string]any) { l["address"] = "0x" + strings.Repeat("ab", 20) }),
		"a log of another payer":       logs(func(l map[string]any) { l["topics"].([]any)[1] = hash }),
		"a log of another nonce":       logs(func(l map[string]any) { l["topics"].([]any)[2] = hash }),
		"a log without topics":         logs(func(l map[string]any) { l["topics"] = []any{} }),
		"a log from before":            logs(func(l map[string]any) { l["blockNumber"] = "0x1" }),
		"a receipt in another block":   receipts(func(r map[string]any) { r["blockHash"] = hash }),
		"a receipt of another number":  receipts(func(r map[string]any) { r["blockNumber"] = "0x1" }),
		"a receipt of another payment": receipts(func(r map[string]any) { r["transactionHash"] = hash }),
		"a receipt that failed":        receipts(func(r map[string]any) { r["status"] = "0x0" }),
		"a receipt without logs":       receipts(func(r map[string]any) { r["logs"] = []any{} }),
		"neither yes nor no": func(method string, result any) any {
			return map[bool]any{true: "0x" + strings.Repeat("0", 63) + "2", false: result}[method == "eth_call"]
		},
		"an older chain than it began in": func(method string, result any) any {
			if b, ok := result.(map[string]any); ok && method == "eth_getBlockByNumber" {
				b["number"] = "0x1"
			}
			return result
		},
	} {
		f, errs := (&evm.Nodes{All: []*evm.Node{liar(t, c.URL, lie)}, Quorum: 1}).Ask(t.Context(), q)
		if f.Fate != evm.Unknown || len(errs) != 1 {
			t.Errorf("%s: %+v, %v", name, f, errs)
		}
	}
	honest := &evm.Nodes{All: []*evm.Node{c.Node()}, Quorum: 1}
	if f, errs := honest.Ask(t.Context(), q); f.Fate != evm.Paid || !f.Confirmed || len(errs) > 0 {
		t.Errorf("without a lie: %+v, %v", f, errs)
	}

	// One that is ahead of the others confirms nothing for them.
	behind := liar(t, c.URL, func(method string, result any) any {
		if b, ok := result.(map[string]any); ok && method == "eth_getBlockByNumber" {
			b["number"] = fmt.Sprintf("0x%x", newest.Number+1) // of the payment
		}
		return result
	})
	three := &evm.Nodes{All: []*evm.Node{c.Node(), behind, behind}, Quorum: 2}
	if f, errs := three.Ask(t.Context(), q); f.Fate != evm.Paid || f.Confirmed || f.Nodes != 3 {
		t.Errorf("one node is ahead: %+v, %v", f, errs)
	}

	// A time that is past in the newest block, and not yet in a final one, is not over.
	open := *q
	open.Authorization.Nonce = evm.Hash{31: 2}
	c.Late(time.Hour)
	if f, errs := honest.Ask(t.Context(), &open); f.Fate != evm.Open {
		t.Errorf("no final block is so late: %+v, %v", f, errs)
	}
	c.Mine(8)
	if f, errs := honest.Ask(t.Context(), &open); f.Fate != evm.Never {
		t.Errorf("a final block is: %+v, %v", f, errs)
	}
}

// TestRawAnswers has nodes answer what is no answer.
func TestRawAnswers(t *testing.T) {
	var says func(id string) (int, string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		var asked struct{ ID json.RawMessage }
		json.Unmarshal(question, &asked)
		status, body := says(string(asked.ID))
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	defer s.Close()
	n, err := evm.Dial(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(id, result string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":` + result + `}` }
	says = func(id string) (int, string) { return 200, answer(id, `"0x2105"`) }
	if chain, err := n.Chain(t.Context()); err != nil || chain != 8453 {
		t.Fatal(chain, err)
	}
	for name, bad := range map[string]func(id string) (int, string){
		"to another question": func(id string) (int, string) { return 200, answer("9999", `"0x2105"`) },
		"to a text":           func(id string) (int, string) { return 200, answer(`"`+id+`"`, `"0x2105"`) },
		"another status":      func(id string) (int, string) { return 502, answer(id, `"0x2105"`) },
		"too long":            func(id string) (int, string) { return 200, answer(id, `"0x2105"`) + strings.Repeat(" ", evm.MaxAnswer) },
		"nothing":             func(id string) (int, string) { return 200, "" },
		"a page":              func(id string) (int, string) { return 200, "<html>" },
		"a number too large":  func(id string) (int, string) { return 200, answer(id, `"0x1ffffffffffffffff"`) },
		"no number":           func(id string) (int, string) { return 200, answer(id, `"2105"`) },
	} {
		says = bad
		if chain, err := n.Chain(t.Context()); err == nil {
			t.Errorf("%s: chain %d", name, chain)
		}
	}
}

// TestDialSecret finds nothing of an address's secrets in what is said of a node.
func TestDialSecret(t *testing.T) {
	n, err := evm.Dial("http://user:hush@127.0.0.1:1/v2/hush?key=hush")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Chain(t.Context())
	if err == nil || strings.Contains(fmt.Sprint(err, n), "hush") {
		t.Errorf("got %v", err)
	}
	if _, err := evm.Dial("ftp://hush"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %v", err)
	}
}

// TestSlowNode ends with the caller's context, whatever the node does.
func TestSlowNode(t *testing.T) {
	asked, hang := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(asked); <-hang }))
	defer s.Close()
	defer close(hang)
	n, _ := evm.Dial(s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := n.Chain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// FuzzNode feeds answers to a node's client.
func FuzzNode(f *testing.F) {
	var answer []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		var asked struct{ ID json.RawMessage }
		json.Unmarshal(question, &asked)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, asked.ID, answer)
	}))
	f.Cleanup(s.Close)
	n, _ := evm.Dial(s.URL)
	f.Add([]byte(`{"number":"0x1","hash":"` + no + `","timestamp":"0x2"}`))
	f.Add([]byte(`[{"address":"0x0000000000000000000000000000000000000000","topics":[],"data":"0x","transactionHash":"` + no + `","blockNumber":"0x1","blockHash":"` + no + `"}]`))
	f.Add([]byte(`"` + yes + `"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		answer = b
		n.Block(t.Context(), evm.Latest)
		n.Logs(t.Context(), evm.Address{}, 1, 1)
		n.Receipt(t.Context(), evm.Hash{})
		n.Balance(t.Context(), evm.Address{}, evm.Address{})
	})
}

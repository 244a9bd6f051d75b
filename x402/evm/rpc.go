package evm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of what a node may answer.
const (
	MaxAnswer = 4 << 20 // bytes
	maxLogs   = 1024    // in one answer, and in one transaction
	maxData   = 64 << 10

	// LogWindow is how many blocks one question for logs covers, since providers
	// refuse more than a few thousand, and maxWindows how many are asked.
	LogWindow  = 2000
	maxWindows = 100
)

// A Node answers questions about one chain, by JSON-RPC over HTTP. What it says
// is its word: a caller that needs more asks several.
type Node struct {
	name   string // the URL without a user or a path, which may hold a secret
	url    string
	client *http.Client
	next   atomic.Uint64
}

// Dial returns the node at a URL of http or https. Nothing is asked yet.
func Dial(address string) (*Node, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("not the address of a node's JSON-RPC, such as https://rpc.example.com")
	}
	return &Node{
		name: u.Scheme + "://" + u.Host,
		url:  u.String(),
		client: &http.Client{
			Timeout:       15 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, MaxResponseHeaderBytes: 64 << 10},
		},
	}, nil
}

// String returns the node's address without what may be a secret in it.
func (n *Node) String() string { return n.name }

// A NodeError is what a node answered instead of a result.
type NodeError struct {
	Node    string
	Code    int64
	Message string
}

func (e *NodeError) Error() string {
	return fmt.Sprintf("%s says: %.200q (code %d)", e.Node, e.Message, e.Code)
}

func (n *Node) call(ctx context.Context, result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	id := n.next.Add(1)
	question, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(question))
	if err != nil {
		return n.errorf("%s", "bad address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "igor")
	resp, err := n.client.Do(req)
	if err != nil {
		// *url.Error holds the whole URL.
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return fmt.Errorf("%s: %w", n.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", n.name, err)
	case len(body) > MaxAnswer:
		return n.errorf("its answer has more than %d bytes", MaxAnswer)
	}
	var answer struct {
		ID     json.RawMessage `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Code    int64  `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return n.errorf("it answered with status %d, and not with JSON-RPC", resp.StatusCode)
	}
	if answer.Error != nil {
		return &NodeError{n.name, answer.Error.Code, answer.Error.Message}
	}
	if string(answer.ID) != strconv.FormatUint(id, 10) || resp.StatusCode != http.StatusOK {
		return n.errorf("it answered with status %d, and not to what was asked", resp.StatusCode)
	}
	if len(answer.Result) == 0 || string(answer.Result) == "null" {
		return ErrNotFound
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		return n.errorf("its answer to %s is not what such an answer is: %v", method, err)
	}
	return nil
}

// ErrNotFound is the error of what a node does not know (yet).
var ErrNotFound = errors.New("not known to the node")

func (n *Node) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", n.name, fmt.Errorf(format, args...))
}

// quantity is a number as JSON-RPC writes it, 0x and digits without leading zeros.
type quantity uint64

func (q *quantity) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New("not a number")
	}
	digits, ok := strings.CutPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return fmt.Errorf("%.30q is no number of 64 bits", s)
	}
	*q = quantity(n)
	return nil
}

func hexNumber(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

// UnmarshalJSON reads 0x and 40 digits, whatever the case.
func (a *Address) UnmarshalJSON(b []byte) error { return unhexJSON(a[:], b) }

// UnmarshalJSON reads 0x and 64 digits.
func (h *Hash) UnmarshalJSON(b []byte) error { return unhexJSON(h[:], b) }

func unhexJSON(to, b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New("not a string")
	}
	return unhex(to, s)
}

// data is bytes of any number.
type data []byte

func (d *data) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil || len(s) > 2*maxData+2 || len(s)%2 != 0 {
		return errors.New("not bytes, or too many")
	}
	*d = make([]byte, max(0, len(s)-2)/2)
	return unhex(*d, s)
}

// Chain returns the number of the chain (EIP-155).
func (n *Node) Chain(ctx context.Context) (uint64, error) {
	var q quantity
	err := n.call(ctx, &q, "eth_chainId")
	return uint64(q), err
}

// A Block is what is needed of one.
type Block struct {
	Number uint64
	Hash   Hash
	Time   uint64 // seconds since 1970
}

// Names of blocks.
const (
	Latest    = "latest"
	Finalized = "finalized" // no honest chain takes it back
)

// Block returns a block by its name.
func (n *Node) Block(ctx context.Context, name string) (Block, error) {
	var b struct {
		Number    *quantity `json:"number"`
		Hash      *Hash     `json:"hash"`
		Timestamp *quantity `json:"timestamp"`
	}
	if err := n.call(ctx, &b, "eth_getBlockByNumber", name, false); err != nil {
		return Block{}, err
	}
	if b.Number == nil || b.Hash == nil || b.Timestamp == nil {
		return Block{}, n.errorf("its block has no number, hash or time")
	}
	return Block{uint64(*b.Number), *b.Hash, uint64(*b.Timestamp)}, nil
}

// BlockAt returns a block by its number.
func (n *Node) BlockAt(ctx context.Context, number uint64) (Block, error) {
	return n.Block(ctx, hexNumber(number))
}

// A Log is what a contract said in a transaction.
type Log struct {
	Contract    Address
	Topics      []Hash
	Data        []byte
	Transaction Hash
	Block       uint64
	BlockHash   Hash
}

type wireLog struct {
	Address         *Address  `json:"address"`
	Topics          []Hash    `json:"topics"`
	Data            data      `json:"data"`
	TransactionHash *Hash     `json:"transactionHash"`
	BlockNumber     *quantity `json:"blockNumber"`
	BlockHash       *Hash     `json:"blockHash"`
	Removed         bool      `json:"removed"`
}

func (n *Node) logs(wire []wireLog) ([]Log, error) {
	if len(wire) > maxLogs {
		return nil, n.errorf("it has more than %d logs where one or two are asked for", maxLogs)
	}
	var all []Log
	for _, w := range wire {
		if w.Address == nil || w.TransactionHash == nil || w.BlockNumber == nil || w.BlockHash == nil || len(w.Topics) > 4 {
			return nil, n.errorf("a log has no address, transaction or block")
		}
		if !w.Removed {
			all = append(all, Log{*w.Address, w.Topics, w.Data, *w.TransactionHash, uint64(*w.BlockNumber), *w.BlockHash})
		}
	}
	return all, nil
}

// Logs returns what a contract said from one block to another, both included, with
// these topics. They are asked for LogWindow blocks at a time, and only the first
// 200,000.
func (n *Node) Logs(ctx context.Context, contract Address, from, to uint64, topics ...Hash) (all []Log, err error) {
	ask := make([]string, len(topics))
	for i, t := range topics {
		ask[i] = t.String()
	}
	if to > from {
		to = from + min(to-from, maxWindows*LogWindow-1)
	}
	for start := from; start <= to; start += LogWindow {
		var wire []wireLog
		err := n.call(ctx, &wire, "eth_getLogs", map[string]any{
			"address": contract.String(), "topics": ask,
			"fromBlock": hexNumber(start), "toBlock": hexNumber(min(to, start+LogWindow-1)),
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		some, err := n.logs(wire)
		if err != nil {
			return nil, err
		}
		for _, l := range some {
			if l.Contract != contract || len(l.Topics) < len(topics) || l.Block < start || l.Block > to {
				return nil, n.errorf("it answered with a log that was not asked for")
			}
			for i := range topics {
				if l.Topics[i] != topics[i] {
					return nil, n.errorf("it answered with a log that was not asked for")
				}
			}
		}
		if all = append(all, some...); len(all) > maxLogs {
			return nil, n.errorf("it has more than %d logs where one or two are asked for", maxLogs)
		}
	}
	return all, nil
}

// A Receipt is what came of a transaction.
type Receipt struct {
	Transaction Hash
	Block       uint64
	BlockHash   Hash
	Success     bool
	Logs        []Log
}

// Receipt returns what came of a transaction, or ErrNotFound if it is in no block.
func (n *Node) Receipt(ctx context.Context, transaction Hash) (*Receipt, error) {
	var w struct {
		TransactionHash *Hash     `json:"transactionHash"`
		BlockNumber     *quantity `json:"blockNumber"`
		BlockHash       *Hash     `json:"blockHash"`
		Status          *quantity `json:"status"`
		Logs            []wireLog `json:"logs"`
	}
	if err := n.call(ctx, &w, "eth_getTransactionReceipt", transaction.String()); err != nil {
		return nil, err
	}
	if w.TransactionHash == nil || w.BlockNumber == nil || w.BlockHash == nil || w.Status == nil || *w.TransactionHash != transaction {
		return nil, n.errorf("its receipt is not that of transaction %s", transaction)
	}
	logs, err := n.logs(w.Logs)
	if err != nil {
		return nil, err
	}
	return &Receipt{transaction, uint64(*w.BlockNumber), *w.BlockHash, *w.Status == 1, logs}, nil
}

// Call asks a contract, without a transaction, as of a block.
func (n *Node) Call(ctx context.Context, contract Address, input []byte, block string) ([]byte, error) {
	var d data
	err := n.call(ctx, &d, "eth_call", map[string]any{"to": contract.String(), "data": fmt.Sprintf("0x%x", input)}, block)
	return d, err
}

// word asks a contract for one word.
func (n *Node) word(ctx context.Context, contract Address, block, function string, args ...Hash) (h Hash, err error) {
	selector := Keccak256([]byte(function))
	input := append([]byte(nil), selector[:4]...)
	for _, a := range args {
		input = append(input, a[:]...)
	}
	out, err := n.Call(ctx, contract, input, block)
	if err != nil {
		return Hash{}, err
	}
	if len(out) != len(h) {
		return Hash{}, n.errorf("%s has no %s", contract, function)
	}
	copy(h[:], out)
	return h, nil
}

// Balance returns how many of a token an address has; more than 64 bits hold is
// as much as they hold.
func (n *Node) Balance(ctx context.Context, token, owner Address) (uint64, error) {
	h, err := n.word(ctx, token, Latest, "balanceOf(address)", owner.word())
	if err != nil {
		return 0, err
	}
	amount, ok := uint64Of(h)
	if !ok {
		amount = 1<<64 - 1
	}
	return amount, nil
}

// Separator returns the token's own hash of its domain.
func (n *Node) Separator(ctx context.Context, token Address) (Hash, error) {
	return n.word(ctx, token, Latest, "DOMAIN_SEPARATOR()")
}

// Used reports whether a nonce was used or cancelled, as of a block.
func (n *Node) Used(ctx context.Context, token, owner Address, nonce Hash, block string) (bool, error) {
	h, err := n.word(ctx, token, block, "authorizationState(address,bytes32)", owner.word(), nonce)
	if err != nil {
		return false, err
	}
	is, ok := uint64Of(h)
	if !ok || bits.Len64(is) > 1 {
		return false, n.errorf("%s answered authorizationState with something else than yes or no", token)
	}
	return is == 1, nil
}

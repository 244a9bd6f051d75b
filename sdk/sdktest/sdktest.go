//go:build !wasip1

// Package sdktest is a world for an agent's tests: the same at every run, and
// observed.
//
//	func TestTick(t *testing.T) {
//		w := sdktest.New(t)
//		w.Web = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "42") })
//		a := &agent{}
//		a.Init()
//		a.Tick()
//		if w.Lines[0] != "the price is 42" { … }
//	}
//
// The hostcalls give the results and have the limits of docs/spec/abi.md; what a
// manifest forbids is not modelled, but for Deny. Tests with a World must not run
// in parallel with others of their package.
package sdktest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/sdk"
	"igor.dev/sdk/internal/host"
)

// A World is what the agent under test observes. Its fields may be changed at
// any time.
type World struct {
	Time time.Time     // what Now returns next
	Step time.Duration // by which each Now advances Time

	Rand *rand.ChaCha8 // where Rand draws from

	Lines []string // what was logged

	Budget int64 // microcents; payments take from it
	Price  int64 // microcents per second

	// Web serves the agent's requests. If it is nil, or panics with
	// http.ErrAbortHandler, they fail.
	Web http.Handler
	// Requests counts the requests that Web served.
	Requests int

	// Paid are the payments that were made. The receipt of one is its index in
	// text, "payment 0", unless Receipt says otherwise.
	Paid    []Payment
	Receipt func(Payment) []byte

	// Deny, if it returns an error of package sdk, refuses a call before anything
	// happens. The call is "http_request", "wallet_pay" or "migrate"; the target is a
	// URL, a recipient or a DID.
	Deny func(call, target string) error
	// Lose, if it returns an error of package sdk, gives the agent that error, after
	// the request was served or the payment made: sdk.ErrTimeout, sdk.ErrUnresolved; of a
	// request that is paid also sdk.ErrNotDelivered and sdk.ErrNotSettled.
	Lose func(call, target string) error

	KV map[string][]byte // the agent's store

	Node *Node // where the agent lives; nil: on no node

	// Effects are the side effects that reached the world, and what came of them. Tell
	// tells the agent of one.
	Effects []Effect
}

// An Effect is a side effect that the agent made.
type Effect struct {
	Kind    uint8 // 8 a request, 9 a payment
	Request []byte
	Return  int32  // what the agent got
	Result  []byte // what was written into its buffer
}

// Tell does what the host does before a tick when there is something to tell: that
// the effect of this index happened (sdk.OutcomeConfirmed) or did not
// (sdk.OutcomeCompensated), as an operator found out; or that a tick that failed, of
// which a's state knows nothing, began it (sdk.OutcomeUnresolved), or made it with
// what came of it (sdk.OutcomeEnded).
func (w *World) Tell(t testing.TB, a sdk.Agent, outcome sdk.Outcome, effect int) {
	t.Helper()
	e := w.Effects[effect]
	le := binary.LittleEndian
	finding := append([]byte{byte(outcome), e.Kind}, make([]byte, 32)...)
	le.PutUint64(finding[2:], uint64(effect)+1) // its id
	finding = le.AppendUint64(finding, uint64(effect)+1)
	finding = le.AppendUint32(finding, 0)
	if outcome != sdk.OutcomeEnded {
		e.Return, e.Result = 0, nil
	}
	finding = le.AppendUint64(finding, uint64(e.Return))
	for _, part := range [][]byte{e.Request, e.Result, []byte("told by the test")} {
		finding = append(le.AppendUint32(finding, uint32(len(part))), part...)
	}
	world := host.Current
	host.Current = resuming{world}
	defer func() { host.Current = world }()
	if err := host.Observe(a, finding); err != nil {
		t.Fatal(err)
	}
}

// Tick does what the host does for a tick: beside a.Tick, what is settled when a tick
// begins. It matters after [World.Tell] alone.
func Tick(a sdk.Agent) (more bool) { return host.Tick(a) }

// effect remembers a side effect.
func (w *World) effect(kind uint8, request []byte, buf []byte, code int32) int32 {
	e := Effect{Kind: kind, Request: request, Return: code}
	if code >= 0 && len(buf) >= 4 {
		e.Result = bytes.Clone(buf[:4+binary.LittleEndian.Uint32(buf)])
	}
	w.Effects = append(w.Effects, e)
	return code
}

func part[T string | []byte](b []byte, v T) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
}

// A Node is one that the agent lives on.
type Node struct {
	ID     string        // its DID
	Offers [][]byte      // signed ones, of its peers
	Drain  time.Time     // when it wants to be empty; zero: it does not
	Wish   string        // the DID of the node that the agent asked to be moved to
	Status sdk.Migration // of that wish; what Migrate makes Asked
}

// A Payment is one that the agent made.
type Payment struct {
	Amount          int64
	Recipient, Memo string
}

// New makes a world and puts the agent into it until the test ends. It begins on
// 2022-01-01, with a budget of 1 (1,000,000 microcents), and each Now advances its
// time by a millisecond.
func New(t testing.TB) *World {
	w := &World{
		Time:   time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC),
		Step:   time.Millisecond,
		Rand:   rand.NewChaCha8([32]byte{}),
		Budget: 1_000_000,
		Price:  1_000,
		KV:     map[string][]byte{},
	}
	before := host.Current
	host.Current = &hostOf{w}
	t.Cleanup(func() { host.Current = before })
	return w
}

// Log returns what was logged, a line each.
func (w *World) Log() string { return strings.Join(w.Lines, "\n") }

// Restart makes what a checkpoint makes of an agent: a's state, handed to next, a
// fresh value. It fails the test if the state does not come back as the same bytes.
func Restart[A sdk.Agent](t testing.TB, a, next A) A {
	t.Helper()
	state := a.Marshal()
	if !bytes.Equal(a.Marshal(), state) {
		t.Fatal("the same agent has two states")
	}
	world := host.Current
	host.Current = resuming{world}
	defer func() { host.Current = world }()
	if err := next.Unmarshal(slices.Clone(state)); err != nil {
		t.Fatalf("the state cannot be restored: %v", err)
	}
	return next
}

// hostOf is a world as the ABI has it.
type hostOf struct{ w *World }

func (h *hostOf) NodeID(buf []byte) int32 {
	if h.w.Node == nil {
		return host.NotOnNode
	}
	return fit([]byte(h.w.Node.ID), buf)
}

func (h *hostOf) PeerCount() int32 {
	if h.w.Node == nil {
		return host.NotOnNode
	}
	return int32(len(h.w.Node.Offers))
}

func (h *hostOf) PeerOffer(index int32, buf []byte) int32 {
	if n := h.PeerCount(); index < 0 || index >= n {
		return host.Failed
	}
	return fit(h.w.Node.Offers[index], buf)
}

func (h *hostOf) Migrate(did string) int32 {
	switch {
	case h.w.Node == nil:
		return host.NotOnNode
	case refused(h.w.Deny, "migrate", did) != 0:
		return host.NotAllowed
	}
	h.w.Node.Wish, h.w.Node.Status = did, sdk.Asked
	return 0
}

func (h *hostOf) MigrateStatus() int32 {
	if h.w.Node == nil {
		return host.NotOnNode
	}
	return int32(h.w.Node.Status)
}

func (h *hostOf) DrainDeadline() int64 {
	switch {
	case h.w.Node == nil:
		return int64(host.NotOnNode)
	case h.w.Node.Drain.IsZero():
		return 0
	}
	return h.w.Node.Drain.UnixNano()
}

func (h *hostOf) ClockNow() int64 {
	now := h.w.Time.UnixNano()
	h.w.Time = h.w.Time.Add(h.w.Step)
	return now
}

func (h *hostOf) RandBytes(b []byte) int32 {
	if len(b) > host.MaxRand {
		return host.TooLong
	}
	h.w.Rand.Read(b)
	return 0
}

func (h *hostOf) LogEmit(line string) {
	h.w.Lines = append(h.w.Lines, line[:min(len(line), host.MaxLog)])
}

func (h *hostOf) WalletBalance() int64      { return h.w.Budget }
func (h *hostOf) NodePrice() int64          { return h.w.Price }
func (h *hostOf) WalletReceiptCount() int32 { return int32(len(h.w.Paid)) }

func (h *hostOf) receipt(i int) []byte {
	if h.w.Receipt != nil {
		return h.w.Receipt(h.w.Paid[i])
	}
	return fmt.Appendf(nil, "payment %d", i)
}

func (h *hostOf) WalletReceipt(index int32, buf []byte) int32 {
	if index < 0 || int(index) >= len(h.w.Paid) {
		return host.Failed
	}
	return fit(h.receipt(int(index)), buf)
}

func (h *hostOf) HTTPRequest(method, url, headers string, body, buf []byte) int32 {
	if len(method) > host.MaxMethod || len(url) > host.MaxURL || len(headers) > host.MaxHeaders || len(body) > host.MaxBody {
		return host.TooLong
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return host.Processing
	}
	for line := range strings.SplitSeq(headers, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return host.Processing
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
	if code := refused(h.w.Deny, "http_request", url); code != 0 {
		return code
	}
	if h.w.Web == nil {
		return host.Failed
	}
	req.RequestURI = req.URL.RequestURI()
	code := h.serve(req, url, buf)
	paid := code == host.Unresolved || code == host.NotDelivered || code == host.NotSettled
	if paid || method != "GET" && method != "HEAD" {
		h.w.effect(8, part(part(part(part(nil, method), url), headers), body), buf, code)
	}
	return code
}

func (h *hostOf) serve(req *http.Request, url string, buf []byte) int32 {
	answer := httptest.NewRecorder()
	h.w.Requests++
	if !serve(h.w.Web, answer, req) {
		return host.Failed
	}
	if code := refused(h.w.Lose, "http_request", url); code != 0 {
		return code
	}
	if answer.Body.Len() > host.MaxResponse {
		put(buf, answer.Body.Len()+4)
		return host.TooLarge
	}
	return sized(answer.Body.Bytes(), buf, int32(answer.Code))
}

// serve reports whether there was an answer.
func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (answered bool) {
	defer func() {
		if e := recover(); e == http.ErrAbortHandler {
			answered = false
		} else if e != nil {
			panic(e)
		}
	}()
	h.ServeHTTP(w, r)
	return true
}

func (h *hostOf) WalletPay(amount int64, recipient, memo string, buf []byte) int32 {
	switch {
	case len(recipient) > host.MaxRecipient || len(memo) > host.MaxMemo:
		return host.TooLong
	case amount <= 0:
		return host.Processing
	case recipient == "":
		return host.NotAllowed
	}
	if code := refused(h.w.Deny, "wallet_pay", recipient); code != 0 {
		return code
	}
	if amount > h.w.Budget {
		return host.Failed
	}
	h.w.Budget -= amount
	h.w.Paid = append(h.w.Paid, Payment{amount, recipient, memo})
	request := part(part(binary.LittleEndian.AppendUint64(nil, uint64(amount)), recipient), memo)
	if code := refused(h.w.Lose, "wallet_pay", recipient); code != 0 {
		return h.w.effect(9, request, nil, code)
	}
	receipt := h.receipt(len(h.w.Paid) - 1)
	return h.w.effect(9, request, buf, sized(receipt, buf, int32(4+len(receipt))))
}

// refused returns the code of the error that a hook gives.
func refused(hook func(call, target string) error, call, target string) int32 {
	if hook == nil {
		return 0
	}
	err := hook(call, target)
	if err == nil {
		return 0
	}
	for code, cause := range map[int32]error{
		host.Failed: sdk.ErrFailed, host.TooLong: sdk.ErrTooLong, host.NotAllowed: sdk.ErrNotAllowed, host.Processing: sdk.ErrProcessing,
		host.Unresolved: sdk.ErrUnresolved, host.TooLarge: sdk.ErrTooLarge,
	} {
		if errors.Is(err, cause) {
			return code
		}
	}
	switch http := call == "http_request"; {
	case http && errors.Is(err, sdk.ErrTimeout):
		return host.Timeout
	case http && errors.Is(err, sdk.ErrNotDelivered):
		return host.NotDelivered
	case http && errors.Is(err, sdk.ErrNotSettled):
		return host.NotSettled
	case call == "wallet_pay" && errors.Is(err, sdk.ErrOverCap):
		return host.OverCap
	}
	panic(fmt.Sprintf("sdktest: %s cannot fail with %q", call, err))
}

func (h *hostOf) KVGet(key string, buf []byte) int32 {
	if len(key) > host.MaxKey {
		return host.TooLong
	}
	value, ok := h.w.KV[key]
	if !ok {
		return host.NotFound
	}
	return fit(value, buf)
}

func (h *hostOf) KVPut(key string, value []byte) int32 {
	if len(key) > host.MaxKey || len(value) > host.MaxValue {
		return host.TooLong
	}
	size := len(key) + len(value) + 8
	for k, v := range maps.All(h.w.KV) {
		if k != key {
			size += len(k) + len(v) + 8
		}
	}
	if size > host.MaxStore {
		return host.Processing
	}
	h.w.KV[key] = bytes.Clone(value)
	return 0
}

func (h *hostOf) KVDelete(key string) int32 {
	if len(key) > host.MaxKey {
		return host.TooLong
	}
	if _, ok := h.w.KV[key]; !ok {
		return host.NotFound
	}
	delete(h.w.KV, key)
	return 0
}

// fit writes a payload of wallet_receipt or kv_get.
func fit(payload, buf []byte) int32 {
	if len(payload) > len(buf) {
		put(buf, len(payload))
		return host.NoRoom
	}
	return int32(copy(buf, payload))
}

// sized writes a payload of http_request or wallet_pay.
func sized(payload, buf []byte, code int32) int32 {
	if 4+len(payload) > len(buf) {
		put(buf, 4+len(payload))
		return host.TooLarge
	}
	put(buf, len(payload))
	copy(buf[4:], payload)
	return code
}

func put(buf []byte, n int) {
	if len(buf) >= 4 {
		binary.LittleEndian.PutUint32(buf, uint32(n))
	}
}

// resuming is where Unmarshal runs: nothing leaves the machine.
type resuming struct{ host.Host }

func (resuming) HTTPRequest(_, _, _ string, _, _ []byte) int32  { return host.NotAllowed }
func (resuming) WalletPay(_ int64, _, _ string, _ []byte) int32 { return host.NotAllowed }

// Offer encodes what [sdk.PeerOffer] returns of the node with this key: o, whose Node is
// of no account. The agent's node would have refused it, since it is not signed.
func Offer(key [32]byte, o sdk.Offer) []byte {
	le := binary.LittleEndian
	b := append([]byte("igor/offer/v1\x00"), key[:]...)
	b = append(b, make([]byte, 32)...)
	for _, v := range []int64{o.Issued.Unix(), o.Expires.Unix(), o.Price, o.StoredPrice} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint64(le.AppendUint32(b, o.FreeAgents), o.FreeMemory)
	draining := byte(0)
	if o.Draining {
		draining = 1
	}
	b = append(b, draining, 1, 1, 0, 0, 0, byte(len(o.Regions)))
	for _, r := range o.Regions {
		b = append(append(b, byte(len(r))), r...)
	}
	return append(append(b, 0), make([]byte, 64)...)
}

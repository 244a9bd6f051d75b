package hostcall_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/sandbox"
	"igor.dev/runtime/internal/wasmtest"
)

// A spy is a world that writes down what reaches it.
type spy struct {
	hostcall.Live
	seen    []string
	payload string // of http and x402
	code    int32
	flood   bool // gives more than there is room for
	meter   hostcall.Meter
}

func (s *spy) see(format string, args ...any) { s.seen = append(s.seen, fmt.Sprintf(format, args...)) }

func (s *spy) Meter() *hostcall.Meter { return &s.meter }

func (s *spy) ClockNow() int64      { s.see("clock_now"); return 1 << 40 }
func (s *spy) RandBytes(b []byte)   { s.see("rand_bytes %d", len(b)) }
func (s *spy) LogEmit(b []byte)     { s.see("log_emit %.9s", b) }
func (s *spy) WalletBalance() int64 { s.see("wallet_balance"); return 1 << 41 }
func (s *spy) NodePrice() int64     { s.see("node_price"); return 1 << 42 }
func (s *spy) ReceiptCount() int32  { s.see("wallet_receipt_count"); return 2 }

func (s *spy) fit(code int32, room uint32) ([]byte, int32) {
	if s.flood {
		return make([]byte, room+1), code
	}
	return hostcall.Fit([]byte(s.payload), code, room)
}

func (s *spy) Receipt(index, room uint32) ([]byte, int32) {
	s.see("wallet_receipt %d", index)
	if s.flood {
		return make([]byte, room+1), 1
	}
	return s.Live.Receipt(index, room)
}

func (s *spy) HTTP(_ context.Context, r *hostcall.HTTPRequest) ([]byte, int32) {
	s.see("http_request %.9s %.30s %.9s %.9s", r.Method, r.URL, r.Headers, r.Body)
	return s.fit(s.code, r.Room)
}

func (s *spy) Pay(_ context.Context, p *hostcall.Payment) ([]byte, int32) {
	s.see("wallet_pay %d %.9s %.9s", p.Amount, p.Recipient, p.Memo)
	return s.fit(int32(4+len(s.payload)), p.Room)
}

func (s *spy) KVGet(key []byte, room uint32) ([]byte, int32) {
	s.see("kv_get %.9s", key)
	if s.flood {
		return make([]byte, room+1), 1
	}
	return s.Live.KVGet(key, room)
}
func (s *spy) NodeID(room uint32) ([]byte, int32) {
	s.see("node_id")
	if s.flood {
		return make([]byte, room+1), 1
	}
	return s.Live.NodeID(room)
}
func (s *spy) PeerOffer(index, room uint32) ([]byte, int32) {
	s.see("peer_offer %d", index)
	if s.flood {
		return make([]byte, room+1), 1
	}
	return s.Live.PeerOffer(index, room)
}
func (s *spy) PeerCount() int32         { s.see("peer_count"); return s.Live.PeerCount() }
func (s *spy) Migrate(did string) int32 { s.see("migrate %.9s", did); return s.Live.Migrate(did) }
func (s *spy) MigrateStatus() int32     { s.see("migrate_status"); return s.Live.MigrateStatus() }
func (s *spy) DrainDeadline() int64     { s.see("drain_deadline"); return s.Live.DrainDeadline() }

// node is one of three others.
type node struct{}

func (node) ID() string                            { return "did:key:" }
func (node) PeerCount() int32                      { return 3 }
func (node) PeerOffer(index uint32) ([]byte, bool) { return []byte("offer"), index < 3 }
func (node) Migrate(did string) int32              { return 0 }
func (node) MigrateStatus() int32                  { return 1 }
func (node) DrainDeadline() int64                  { return 1 << 43 }

func (s *spy) KVPut(key, value []byte) int32 {
	s.see("kv_put %.9s %.9s", key, value)
	return s.Live.KVPut(key, value)
}
func (s *spy) KVDelete(key []byte) int32 {
	s.see("kv_delete %.9s", key)
	return s.Live.KVDelete(key)
}

const everything = `{"capabilities": {
	"clock": {"version": 1}, "rand": {"version": 1}, "log": {"version": 1}, "kv": {"version": 1},
	"wallet": {"version": 1}, "pricing": {"version": 1}, "node": {"version": 1},
	"http": {"version": 1, "options": {"allowed_hosts": ["api.example.com"]}},
	"x402": {"version": 1, "options": {"allowed_recipients": ["bob"], "max_payment_microcents": 100}}
}}`

func parse(t *testing.T, s string) *manifest.Manifest {
	t.Helper()
	m, err := manifestOf(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func manifestOf(s string) (*manifest.Manifest, error) { return manifest.Parse([]byte(s)) }

type setup struct {
	spy
	log bytes.Buffer
}

func (s *setup) start(t *testing.T, a wasmtest.Agent, man string) *sandbox.Instance {
	t.Helper()
	if s.KV == nil {
		s.KV = kv.New(kv.MaxTotal)
	}
	p, err := sandbox.Compile(t.Context(), a.Bytes(), sandbox.Config{
		Manifest: parse(t, man), Host: &s.spy, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	in, err := p.Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// A hostcallCase is a call with arguments that are all right.
type hostcallCase struct {
	im   wasmtest.Import
	args []int64
	ptrs []int // which of args are pointers, a length behind each
	ok   int64 // what it returns
	seen string
}

// What the agents in these tests have in memory.
const (
	data   = "GET https://api.example.com/ X: y body bob memo key value"
	at     = wasmtest.DataAt
	buffer = 8192
)

func where(s string) int64 { return int64(at + strings.Index(data, s)) }

var hostcalls = []hostcallCase{
	{wasmtest.ClockNow, nil, nil, 1 << 40, "clock_now"},
	{wasmtest.RandBytes, []int64{buffer, 8}, []int{0}, 0, "rand_bytes 8"},
	{wasmtest.LogEmit, []int64{at, 3}, []int{0}, 0, "log_emit GET"},
	{wasmtest.WalletBalance, nil, nil, 1 << 41, "wallet_balance"},
	{wasmtest.WalletReceiptCount, nil, nil, 2, "wallet_receipt_count"},
	{wasmtest.WalletReceipt, []int64{1, buffer, 100}, []int{1}, 3, "wallet_receipt 1"},
	{wasmtest.NodePrice, nil, nil, 1 << 42, "node_price"},
	{wasmtest.HTTPRequest, []int64{at, 3, where("https"), 24, where("X"), 4, where("body"), 4, buffer, 100}, []int{0, 2, 4, 6, 8}, 200,
		"http_request GET https://api.example.com/ X: y body"},
	{wasmtest.WalletPay, []int64{7, where("bob"), 3, where("memo"), 4, buffer, 100}, []int{1, 3, 5}, 9, "wallet_pay 7 bob memo"},
	{wasmtest.KVPut, []int64{where("key"), 3, where("value"), 5}, []int{0, 2}, 0, "kv_put key value"},
	{wasmtest.KVGet, []int64{where("key"), 3, buffer, 100}, []int{0, 2}, 5, "kv_get key"},
	{wasmtest.KVDelete, []int64{where("key"), 3}, []int{0}, 0, "kv_delete key"},
	{wasmtest.NodeID, []int64{buffer, 100}, []int{0}, 8, "node_id"},
	{wasmtest.PeerCount, nil, nil, 3, "peer_count"},
	{wasmtest.PeerOffer, []int64{2, buffer, 100}, []int{1}, 5, "peer_offer 2"},
	{wasmtest.Migrate, []int64{where("bob"), 3}, []int{0}, 0, "migrate bob"},
	{wasmtest.MigrateStatus, nil, nil, 1, "migrate_status"},
	{wasmtest.DrainDeadline, nil, nil, 1 << 43, "drain_deadline"},
}

func (h hostcallCase) wide() bool { return strings.HasSuffix(string(h.im.Type), "\x01\x7e") }
func (h hostcallCase) void() bool { return h.im.Type == wasmtest.I32I32 }

// body calls hostcall number 0 and keeps what it returns at address 0.
func (h hostcallCase) body(args []int64) string {
	call := ""
	for i, v := range args {
		if i == 0 && h.im == wasmtest.WalletPay {
			call += wasmtest.I64(v)
		} else {
			call += wasmtest.I32(int32(v))
		}
	}
	call += wasmtest.Call(0)
	switch {
	case h.void():
		return call
	case h.wide():
		return wasmtest.I32(0) + call + "\x37\x03\x00" // i64.store
	}
	return wasmtest.StoreI32(0, call)
}

func (h hostcallCase) result(t *testing.T, in *sandbox.Instance) int64 {
	t.Helper()
	state, err := in.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if h.wide() {
		return int64(binary.LittleEndian.Uint64(state))
	}
	return int64(int32(binary.LittleEndian.Uint32(state)))
}

// tick makes one call in agent_tick and returns its result and the memory at buffer.
func (h hostcallCase) tick(t *testing.T, s *setup, args []int64) (int64, []byte) {
	t.Helper()
	copyBack := wasmtest.I32(8) + wasmtest.I32(buffer) + wasmtest.I32(4096) + "\xfc\x0a\x00\x00" // memory.copy
	in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{h.im}, Data: data, Pages: 40, Funcs: map[string]wasmtest.Func{
		"agent_tick":       {Type: wasmtest.ToI32, Body: h.body(args) + copyBack + wasmtest.I32(0)},
		"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(8 + 4096)},
	}}, everything)
	defer in.Close()
	if _, err := in.Tick(t.Context()); err != nil {
		t.Fatalf("%s%d: %v", h.im.Name, args, err)
	}
	state, err := in.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.result(t, in), state[8:]
}

func newSetup() *setup {
	s := &setup{}
	s.payload, s.code = "reply", 200
	s.Node = node{}
	s.Receipts = func() [][]byte { return [][]byte{[]byte("a"), []byte("two")} }
	s.KV = kv.New(kv.MaxTotal)
	s.KV.Put([]byte("key"), []byte("value"))
	return s
}

// TestEveryHostcall checks that the tests here know every hostcall, and of each every
// pointer: a new one is tried with what is out of range, or this fails.
func TestEveryHostcall(t *testing.T) {
	plain := map[string][]int{"wallet_receipt": {0}, "wallet_pay": {0}, "peer_offer": {0}} // an index, an amount
	known := map[string]bool{}
	for _, h := range hostcalls {
		known[h.im.Name] = true
		params := h.im.Type.Params()
		is := make([]string, len(params)) // what each is said to be
		for _, p := range plain[h.im.Name] {
			is[p] = "plain"
		}
		for _, p := range h.ptrs {
			is[p], is[p+1] = "pointer", "length"
		}
		if len(h.args) != len(params) || slices.Contains(is, "") {
			t.Errorf("%s takes (%s), and the test knows of %q", h.im.Name, params, is)
		}
	}
	functions := hostcall.Functions()
	for name, signature := range functions {
		at := slices.IndexFunc(wasmtest.Hostcalls, func(im wasmtest.Import) bool { return im.Name == name })
		if !known[name] || at < 0 || strings.Count(signature, "i32")+strings.Count(signature, "i64") < len(wasmtest.Hostcalls[at].Type.Params()) {
			t.Errorf("%s %s is not tried", name, signature)
		}
	}
	if len(functions) != len(hostcalls) || len(functions) != len(wasmtest.Hostcalls) {
		t.Errorf("there are %d hostcalls, and %d and %d are tried", len(functions), len(hostcalls), len(wasmtest.Hostcalls))
	}
}

func TestHostcalls(t *testing.T) {
	for _, h := range hostcalls {
		s := newSetup()
		got, out := h.tick(t, s, h.args)
		if got != h.ok || strings.Join(s.seen, ", ") != h.seen {
			t.Errorf("%s: got %d, and the host saw %q; want %d and %q", h.im.Name, got, s.seen, h.ok, h.seen)
		}
		want := map[string]string{"wallet_receipt": "two", "http_request": "\x05\x00\x00\x00reply", "wallet_pay": "\x05\x00\x00\x00reply", "kv_get": "value", "node_id": "did:key:", "peer_offer": "offer"}[h.im.Name]
		if !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: wrote %q, want %q", h.im.Name, out[:16], want)
		}
	}
}

// TestOutOfRange calls each hostcall with each of its pointers and lengths out
// of the agent's memory. None reaches the host.
func TestOutOfRange(t *testing.T) {
	const pages, size = 40, 40 << 16
	tried := 0
	for _, h := range hostcalls {
		for _, p := range h.ptrs {
			for _, bad := range [][2]int64{{-4, 8}, {-1, -1}, {size, 1}, {size - 7, 8}, {size + 1, 0}, {-1, 1}, {1 << 31, 4}} {
				s := newSetup()
				args := append([]int64(nil), h.args...)
				args[p], args[p+1] = bad[0], bad[1]
				got, _ := h.tick(t, s, args)
				tried++
				if !h.void() && got != hostcall.CodeFailed && got != hostcall.CodeTooLong || len(s.seen) > 0 {
					t.Errorf("%s with %d at argument %d: got %d, and the host saw %q", h.im.Name, bad, p, got, s.seen)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d calls were tried", tried)
	}
}

// TestInputLimits calls hostcalls with inputs that are as long as they may be,
// and one byte longer.
func TestInputLimits(t *testing.T) {
	const long = 1 << 16 // in the second page, which is zero: no good URL, and a good key
	for _, tt := range []struct {
		name  string
		arg   int
		limit int64
		most  int64 // what it returns at the limit
	}{
		{"rand_bytes", 0, hostcall.MaxRandom, 0},
		{"http_request", 0, hostcall.MaxMethod, hostcall.CodeProcessing},
		{"http_request", 2, hostcall.MaxURL, hostcall.CodeProcessing},
		{"http_request", 4, hostcall.MaxHeaders, hostcall.CodeProcessing},
		{"http_request", 6, hostcall.MaxBody, 200},
		{"wallet_pay", 1, hostcall.MaxRecipient, hostcall.CodeNotAllowed},
		{"wallet_pay", 3, hostcall.MaxMemo, 9},
		{"kv_get", 0, kv.MaxKey, hostcall.CodeNotFound},
		{"kv_put", 0, kv.MaxKey, 0},
		{"kv_put", 2, kv.MaxValue, 0},
		{"kv_delete", 0, kv.MaxKey, hostcall.CodeNotFound},
		{"migrate", 0, hostcall.MaxDID, 0},
	} {
		for _, h := range hostcalls {
			if h.im.Name != tt.name {
				continue
			}
			args := append([]int64(nil), h.args...)
			args[tt.arg], args[tt.arg+1] = long, tt.limit
			if got, _ := h.tick(t, newSetup(), args); got != tt.most {
				t.Errorf("%s with %d bytes at argument %d: got %d, want %d", tt.name, tt.limit, tt.arg, got, tt.most)
			}
			s := newSetup()
			args[tt.arg+1]++
			if got, _ := h.tick(t, s, args); got != hostcall.CodeTooLong || len(s.seen) > 0 {
				t.Errorf("%s with %d bytes at argument %d: got %d, and the host saw %q", tt.name, tt.limit+1, tt.arg, got, s.seen)
			}
		}
	}
}

// TestRoom calls hostcalls whose result does not fit.
func TestRoom(t *testing.T) {
	for _, h := range hostcalls {
		needed, code := 0, int64(hostcall.CodeNoRoom)
		switch h.im.Name {
		case "wallet_receipt":
			needed = 3
		case "kv_get":
			needed = 5
		case "http_request", "wallet_pay":
			needed, code = 9, hostcall.CodeTooLarge
		default:
			continue
		}
		last := len(h.args) - 1
		for room := range needed + 2 {
			args := append([]int64(nil), h.args...)
			args[last] = int64(room)
			got, out := h.tick(t, newSetup(), args)
			want := []byte{0, 0, 0, 0}
			if room >= 4 {
				want[0] = byte(needed)
			}
			switch {
			case room >= needed && got != h.ok:
				t.Errorf("%s with room for %d: got %d, want %d", h.im.Name, room, got, h.ok)
			case room < needed && (got != code || !bytes.Equal(out[:4], want)):
				t.Errorf("%s with room for %d: got %d and %x, want %d and %x", h.im.Name, room, got, out[:4], code, want)
			}
		}
	}
}

// TestHostGivesTooMuch checks that a host, such as a replay of a forged log,
// cannot write over an agent's memory.
func TestHostGivesTooMuch(t *testing.T) {
	tried := 0
	for _, h := range hostcalls {
		switch h.im.Name {
		case "wallet_receipt", "kv_get", "http_request", "wallet_pay":
		default:
			continue
		}
		tried++
		s := newSetup()
		s.flood = true
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{h.im}, Data: data, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: h.body(h.args) + wasmtest.I32(0)},
		}}, everything)
		_, err := in.Tick(t.Context())
		if err == nil || !strings.Contains(err.Error(), "agent_tick failed: a result of 101 bytes does not fit into the agent's buffer of 100") {
			t.Errorf("%s: got error %v", h.im.Name, err)
		}
	}
	if tried != 4 {
		t.Error("not all were tried")
	}
}

// TestPhases checks where there is a world: not in calls that are made more
// often than they are lived, without side effects in agent_init, and without the
// network in agent_resume.
func TestPhases(t *testing.T) {
	posts := hostcalls[7]
	posts.args = append([]int64{where("body"), 4}, posts.args[2:]...) // a method that is not GET
	for _, h := range append([]hostcallCase{posts}, hostcalls...) {
		for _, export := range []string{"_initialize", "agent_init", "agent_checkpoint", "agent_checkpoint_ptr", "agent_resume", "malloc"} {
			s := newSetup()
			f := map[string]wasmtest.Func{
				"_initialize":          {Type: wasmtest.Nothing},
				"agent_init":           {Type: wasmtest.Nothing},
				"agent_checkpoint":     {Type: wasmtest.ToI32, Body: wasmtest.I32(8)},
				"agent_checkpoint_ptr": {Type: wasmtest.ToI32, Body: wasmtest.I32(0)},
				"agent_resume":         {Type: wasmtest.I32I32},
				"malloc":               {Type: wasmtest.I32ToI32, Body: wasmtest.I32(16)},
			}
			one := f[export]
			one.Body = h.body(h.args) + one.Body
			f[export] = one
			in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{h.im}, Data: data, Funcs: f}, everything)
			if err := in.Init(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := in.Resume(t.Context(), []byte("state")); err != nil {
				t.Fatal(err)
			}
			got := h.result(t, in)
			effect := h.im == wasmtest.WalletPay || h.im == wasmtest.Migrate || h.args != nil && h.im == wasmtest.HTTPRequest && h.args[0] == where("body")
			want, seen := int64(0), ""
			switch {
			case export == "agent_init" && !effect, export == "agent_resume" && !effect && h.im != wasmtest.HTTPRequest:
				want, seen = h.ok, h.seen
			case !h.wide() && !h.void():
				want = hostcall.CodeNotAllowed
			}
			if got != want || strings.Join(s.seen, ", ") != seen {
				t.Errorf("%s in %s: got %d, and the host saw %q; want %d and %q", h.im.Name, export, got, s.seen, want, seen)
			}
		}
	}
}

func TestHTTPRules(t *testing.T) {
	for _, tt := range []struct {
		method, url, headers string
		code                 int32
	}{
		{"GET", "https://api.example.com/", "", 200},
		{"BREW", "https://API.example.com:443/", "Accept: x", 200},
		{"GET", "http://api.example.com:80", "", 200},
		{"GET", "https://api.example.com:80/", "", 200},
		{"GET", "https://example.com/", "", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com.evil.org/", "", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com@evil.org/", "", hostcall.CodeProcessing},
		{"GET", "https://evil.org#@api.example.com/", "", hostcall.CodeNotAllowed},
		{"GET", "https://evil.org\\@api.example.com/", "", hostcall.CodeProcessing},
		{"GET", "https://[::1]/", "", hostcall.CodeNotAllowed},
		{"GET", "https://[fe80::1%25eth0]/", "", hostcall.CodeNotAllowed},
		{"GET", "https://äpi.example.com/", "", hostcall.CodeProcessing},
		{"GET", "https:/api.example.com/", "", hostcall.CodeProcessing},
		{"GET", "https:api.example.com", "", hostcall.CodeProcessing},
		{"GET", "", "", hostcall.CodeProcessing},
		{"CONNECT", "https://api.example.com/", "", hostcall.CodeNotAllowed},
		{"", "https://api.example.com/", "", hostcall.CodeProcessing},
		{"GET /x HTTP/1.1", "https://api.example.com/", "", hostcall.CodeProcessing},
		{"GET\n", "https://api.example.com/", "", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", "Accept", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", ": x", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", "Acc ept: x", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", " Accept: x", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", "Accept: x\ry: z", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", "Accept: \x00", hostcall.CodeProcessing},
		{"GET", "https://api.example.com/", "host: x", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com/", "A: b\nCONTENT-LENGTH: 5", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com/", "Transfer-Encoding: chunked", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com/", "Connection: upgrade", hostcall.CodeNotAllowed},
		{"GET", "https://api.example.com/", "Proxy-Authorization: x", hostcall.CodeNotAllowed},
		{"POST", "https://api.example.com/", "Idempotency-Key: mine", hostcall.CodeNotAllowed},
	} {
		s := newSetup()
		all := tt.method + tt.url + tt.headers
		p := int32(at)
		body := ""
		for _, part := range []string{tt.method, tt.url, tt.headers, ""} {
			body += wasmtest.I32(p) + wasmtest.I32(int32(len(part)))
			p += int32(len(part))
		}
		body += wasmtest.I32(buffer) + wasmtest.I32(100) + wasmtest.Call(0)
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest}, Data: all, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.StoreI32(0, body) + wasmtest.I32(0)},
		}}, everything)
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := (hostcallCase{}).result(t, in); got != int64(tt.code) || (len(s.seen) > 0) != (tt.code == 200) {
			t.Errorf("%q: got %d, and the host saw %q; want %d", all, got, s.seen, tt.code)
		}
	}
}

// TestForbiddenHeaders checks each header that docs/spec/abi.md keeps from an agent.
func TestForbiddenHeaders(t *testing.T) {
	page, err := os.ReadFile("../../../docs/spec/abi.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "The agent cannot set ")
	list, _, _ = strings.Cut(list, ": of a side effect")
	names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(list, -1)
	if len(names) != 15 {
		t.Fatalf("docs/spec/abi.md names %d headers: %q", len(names), list)
	}
	for _, name := range names {
		s := newSetup()
		line := name[1] + ": x"
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.HTTPRequest}, Data: data + line, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: hostcalls[7].body([]int64{at, 3, where("https"), 24, int64(at + len(data)), int64(len(line)), at, 0, buffer, 100}) + wasmtest.I32(0)},
		}}, everything)
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := hostcalls[7].result(t, in); got != hostcall.CodeNotAllowed || len(s.seen) > 0 {
			t.Errorf("%s: got %d, and the host saw %q", name[1], got, s.seen)
		}
	}
}

func TestPaymentRules(t *testing.T) {
	pay := hostcalls[8]
	for _, tt := range []struct {
		amount, recipient, size int64
		want                    int64
	}{
		{100, where("bob"), 3, 9},
		{101, where("bob"), 3, hostcall.CodeOverCap},
		{1 << 62, where("bob"), 3, hostcall.CodeOverCap},
		{0, where("bob"), 3, hostcall.CodeProcessing},
		{-1, where("bob"), 3, hostcall.CodeProcessing},
		{-1 << 63, where("bob"), 3, hostcall.CodeProcessing},
		{1, where("bob"), 2, hostcall.CodeNotAllowed},
		{1, where("bob"), 4, hostcall.CodeNotAllowed},
		{1, where("bob"), 0, hostcall.CodeNotAllowed},
		{1, where("body"), 3, hostcall.CodeNotAllowed},
	} {
		s := newSetup()
		args := append([]int64{tt.amount, tt.recipient, tt.size}, pay.args[3:]...)
		if got, _ := pay.tick(t, s, args); got != tt.want || (len(s.seen) > 0) != (tt.want > 0) {
			t.Errorf("%d to %d bytes at %d: got %d, and the host saw %q; want %d", tt.amount, tt.size, tt.recipient, got, s.seen, tt.want)
		}
	}
}

// TestNothingByDefault checks that capabilities without options reach nobody.
func TestNothingByDefault(t *testing.T) {
	for _, h := range hostcalls[7:9] {
		s := newSetup()
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{h.im}, Data: data, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: h.body(h.args) + wasmtest.I32(0)},
		}}, `{"capabilities": {"http": {"version": 1}, "x402": {"version": 1}}}`)
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := h.result(t, in); got != hostcall.CodeNotAllowed || len(s.seen) > 0 {
			t.Errorf("%s: got %d, and the host saw %q", h.im.Name, got, s.seen)
		}
	}
}

// TestNoParts checks that a node which has nothing behind a capability says so.
func TestNoParts(t *testing.T) {
	for _, h := range hostcalls {
		in, want := (*sandbox.Instance)(nil), int64(0)
		switch h.im.Name {
		case "clock_now", "rand_bytes", "log_emit":
			continue
		case "wallet_receipt", "http_request", "wallet_pay", "kv_get", "kv_put", "kv_delete",
			"node_id", "peer_count", "peer_offer", "migrate", "migrate_status", "drain_deadline":
			want = hostcall.CodeFailed
		}
		p, err := sandbox.Compile(t.Context(), wasmtest.Agent{Imports: []wasmtest.Import{h.im}, Data: data, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: h.body(h.args) + wasmtest.I32(0)},
		}}.Bytes(), sandbox.Config{Manifest: parse(t, everything), Host: hostcall.Live{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if in, err = p.Instantiate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := h.result(t, in); got != want {
			t.Errorf("%s: got %d, want %d", h.im.Name, got, want)
		}
	}
}

// TestFloods runs agents that want too much of the world in one tick.
func TestFloods(t *testing.T) {
	call := func(i int) string {
		return hostcalls[i].body(hostcalls[i].args)
	}
	big := hostcalls[1]
	big.args = []int64{1 << 16, hostcall.MaxRandom}
	for _, tt := range []struct {
		name  string
		im    wasmtest.Import
		body  string
		times int32
		want  string // of the error, "" = none
		seen  int
	}{
		{"a million clocks", wasmtest.ClockNow, call(0), 1_000_000, "agent_tick failed: clock_now: more than 100000 hostcalls in one call", hostcall.MaxCalls},
		{"as many as there may be", wasmtest.ClockNow, call(0), hostcall.MaxCalls, "", hostcall.MaxCalls},
		{"a million lines", wasmtest.LogEmit, call(2), 1_000_000, "agent_tick failed: log_emit: more than 100000 hostcalls", hostcall.MaxLogLines},
		{"many lines", wasmtest.LogEmit, call(2), 2 * hostcall.MaxLogLines, "", hostcall.MaxLogLines},
		{"a gigabyte of randomness", wasmtest.RandBytes, big.body(big.args), 1024, "agent_tick failed: rand_bytes: more than 67108864 bytes", 65},
	} {
		s := newSetup()
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{tt.im}, Data: data, Pages: 40, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Repeat(tt.times, tt.body) + wasmtest.I32(0)},
		}}, everything)
		_, err := in.Tick(t.Context())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got error %v, want %q", tt.name, err, tt.want)
		}
		if agentErr := new(sandbox.AgentError); err != nil && !errors.As(err, &agentErr) {
			t.Errorf("%s: got error %v, want an AgentError", tt.name, err)
		}
		if len(s.seen) != tt.seen {
			t.Errorf("%s: %d calls came through, want %d", tt.name, len(s.seen), tt.seen)
		}
		if tt.im == wasmtest.LogEmit && strings.Count(s.log.String(), "the agent logs too much") != 1 {
			t.Errorf("%s: the node does not say once that lines were dropped:\n%.300s", tt.name, s.log.String())
		}
	}
}

// TestHugeStore fills a store: it ends at its limit, and the agent is told.
func TestHugeStore(t *testing.T) {
	for _, limit := range []int{kv.MaxTotal, 3 << 20} {
		s := newSetup()
		s.KV = kv.New(limit)
		put := wasmtest.StoreI32(0, wasmtest.I32(wasmtest.CountAt)+wasmtest.I32(4)+wasmtest.I32(1<<16)+wasmtest.I32(kv.MaxValue)+wasmtest.Call(0))
		in := s.start(t, wasmtest.Agent{Imports: []wasmtest.Import{wasmtest.KVPut}, Pages: 40, Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Repeat(40, put) + wasmtest.I32(0)},
		}}, everything)
		if _, err := in.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := (hostcallCase{}).result(t, in); got != hostcall.CodeProcessing || s.KV.Size() > limit || s.KV.Len() != limit/kv.MaxValue-1 {
			t.Errorf("the last kv_put gave %d, and there are %d bytes in %d entries", got, s.KV.Size(), s.KV.Len())
		}
	}
}

func TestMeter(t *testing.T) {
	s := newSetup()
	h := hostcalls[7]
	h.tick(t, s, h.args)
	clock := hostcalls[0]
	clock.tick(t, s, nil)
	clock.tick(t, s, nil)
	got := s.meter.Usage()
	if len(got) != 2 || got[0].Capability != "clock" || got[0].Calls != 2 || got[0].Bytes != 16 ||
		got[1].Capability != "http" || got[1].Calls != 1 || got[1].Bytes != 3+24+4+4+9 || got[0].Time <= 0 {
		t.Errorf("got %+v", got)
	}
}

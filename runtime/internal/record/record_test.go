package record

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"igor.dev/internal/testkit"
	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/hostcall"
	"igor.dev/runtime/internal/journal"
	"igor.dev/runtime/internal/kv"
	"igor.dev/runtime/internal/manifest"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/verifier"
	receipts "igor.dev/verifier/receipt"
)

// A life is an event log and a journal in memory, and a world that counts what
// reaches it.
type life struct {
	segments, payloads *waltest.Folder
	log                *eventlog.Log
	world              *World
	kv                 *kv.Map
	header             eventlog.Header
	sent               []string // requests and payments that left
	answer             []byte   // to requests
	synced             int
}

func (l *life) Do(_ context.Context, r *hostcall.HTTPRequest) ([]byte, int32) {
	l.sent = append(l.sent, r.Method+" "+r.URL)
	return l.answer, 200
}

func (l *life) Pay(_ context.Context, p *hostcall.Payment) ([]byte, int32) {
	l.sent = append(l.sent, fmt.Sprint("pay ", p.Amount))
	return []byte("paid"), 0
}

// version is that of the event logs of newLife.
var version uint8 = eventlog.Version1

// each runs a test with every version.
func each(t *testing.T, test func(*testing.T)) {
	defer func() { version = eventlog.Version1 }()
	for version = eventlog.Version1; version <= eventlog.Version2; version++ {
		t.Run(fmt.Sprint("v", version), test)
	}
}

func newLife(t testing.TB) *life {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	identity := journal.Life{Genesis: verifier.Hash{1}}
	copy(identity.Agent[:], private.Public().(ed25519.PublicKey))
	folder := waltest.New()
	if err := journal.Create(folder, identity, journal.Base{Hash: identity.Genesis}); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(folder, identity, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{segments: waltest.New(), payloads: waltest.New(), kv: kv.New(1000), answer: []byte("answer"), header: eventlog.Header{Version: version, Prev: verifier.Hash{1}}}
	if version != eventlog.Version1 {
		l.header.Schedule, l.header.First = 1, 1
	}
	l.log = eventlog.New(l.segments, l.payloads)
	w, _, err := l.log.Continue(l.header, 1)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	l.world = &World{
		Version: version,
		Live: hostcall.Live{
			Log:      slog.New(slog.DiscardHandler),
			Now:      func() time.Time { now = now.Add(time.Second); return now },
			Random:   bytes.NewReader(bytes.Repeat([]byte("0123456789"), 10_000)),
			Balance:  func() int64 { return 77 },
			Price:    func() int64 { return 1000 },
			Receipts: func() [][]byte { return [][]byte{[]byte("receipt")} },
			Web:      l,
			Payer:    l,
		},
		Manifest: &manifest.Manifest{MaxTick: time.Second},
		Writer:   w,
		Journal:  j,
		Genesis:  identity.Genesis,
		Key:      private,
		Sync:     func() error { l.synced++; return w.Sync() },
		Spend:    func(int64) {},
		Paid:     func(*receipts.Payment) error { return nil },
	}
	return l
}

// feed reads what was recorded from tick 1 on.
func (l *life) feed(t testing.TB) *Feed {
	t.Helper()
	f, err := NewFeed(l.log, 1, l.world.Writer.Totals().Records)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// replay is a host without a world that gives what was recorded.
func (l *life) replay(t testing.TB) *Host {
	return NewHost(nil, l.feed(t), kv.New(1000), 1)
}

// try makes a call, and returns the error with which the host ended it.
func try(h *Host, call func(*Host) string) (said string, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = e.(error)
			if h.Err() != err {
				panic(fmt.Sprintf("ended with %v, and Err is %v", err, h.Err()))
			}
		}
	}()
	return call(h), nil
}

func get(url string) *hostcall.HTTPRequest {
	return &hostcall.HTTPRequest{Method: "GET", URL: url, Headers: "A: b", Body: []byte("body"), Room: 100}
}

func post(url string) *hostcall.HTTPRequest {
	r := get(url)
	r.Method = "POST"
	return r
}

func said(written []byte, code int32) string { return fmt.Sprintf("%q %d", written, code) }

// calls are the hostcalls, each with others that ask for something else, by where
// their requests begin to differ.
var calls = []struct {
	kind   eventlog.Kind
	call   func(*Host) string
	others map[int]func(*Host) string
}{
	{eventlog.ClockNow, func(h *Host) string { return fmt.Sprint(h.ClockNow()) }, nil},
	{eventlog.RandBytes, func(h *Host) string { b := make([]byte, 8); h.RandBytes(b); return string(b) }, map[int]func(*Host) string{
		0: func(h *Host) string { h.RandBytes(make([]byte, 9)); return "" },
		1: func(h *Host) string { h.RandBytes(make([]byte, 8+256)); return "" },
	}},
	{eventlog.LogEmit, func(h *Host) string { h.LogEmit([]byte("a line")); return "" }, map[int]func(*Host) string{
		2: func(h *Host) string { h.LogEmit([]byte("a word")); return "" },
		4: func(h *Host) string { h.LogEmit([]byte("a li")); return "" },
		6: func(h *Host) string { h.LogEmit([]byte("a line more")); return "" },
	}},
	{eventlog.WalletBalance, func(h *Host) string { return fmt.Sprint(h.WalletBalance()) }, nil},
	{eventlog.WalletReceiptCount, func(h *Host) string { return fmt.Sprint(h.ReceiptCount()) }, nil},
	{eventlog.WalletReceipt, func(h *Host) string { return said(h.Receipt(0, 50)) }, map[int]func(*Host) string{
		0: func(h *Host) string { return said(h.Receipt(1, 50)) },
		4: func(h *Host) string { return said(h.Receipt(0, 51)) },
	}},
	{eventlog.NodePrice, func(h *Host) string { return fmt.Sprint(h.NodePrice()) }, nil},
	{eventlog.HTTPRequest, func(h *Host) string { return said(h.HTTP(context.Background(), get("http://a/"))) }, map[int]func(*Host) string{
		0: func(h *Host) string {
			r := get("http://a/")
			r.Room++
			return said(h.HTTP(context.Background(), r))
		},
		4: func(h *Host) string { return said(h.HTTP(context.Background(), post("http://a/"))) },
		// room 4, method 4+3, the URL's length 4
		22: func(h *Host) string { return said(h.HTTP(context.Background(), get("http://b/"))) },
		11: func(h *Host) string { return said(h.HTTP(context.Background(), get("http://a/b"))) },
		28: func(h *Host) string {
			r := get("http://a/")
			r.Headers = "B: b"
			return said(h.HTTP(context.Background(), r))
		},
		39: func(h *Host) string {
			r := get("http://a/")
			r.Body = []byte("bodY")
			return said(h.HTTP(context.Background(), r))
		},
	}},
	{eventlog.HTTPRequest, func(h *Host) string { return said(h.HTTP(context.Background(), post("http://a/"))) }, nil},
	{eventlog.WalletPay, func(h *Host) string { return said(pay(h, 5, 100, "bob", "memo")) }, map[int]func(*Host) string{
		0:  func(h *Host) string { return said(pay(h, 6, 100, "bob", "memo")) },
		8:  func(h *Host) string { return said(pay(h, 5, 101, "bob", "memo")) },
		16: func(h *Host) string { return said(pay(h, 5, 100, "eve", "memo")) },
		26: func(h *Host) string { return said(pay(h, 5, 100, "bob", "mem0")) },
	}},
	{eventlog.KVPut, func(h *Host) string { return fmt.Sprint(h.KVPut([]byte("key"), []byte("value"))) }, map[int]func(*Host) string{
		4: func(h *Host) string { return fmt.Sprint(h.KVPut([]byte("Key"), []byte("value"))) },
		7: func(h *Host) string { return fmt.Sprint(h.KVPut([]byte("key"), []byte("Value"))) },
	}},
	{eventlog.KVGet, func(h *Host) string { return said(h.KVGet([]byte("key"), 20)) }, map[int]func(*Host) string{
		0: func(h *Host) string { return said(h.KVGet([]byte("key"), 21)) },
		4: func(h *Host) string { return said(h.KVGet([]byte("Key"), 20)) },
	}},
	{eventlog.KVDelete, func(h *Host) string { return fmt.Sprint(h.KVDelete([]byte("key"))) }, map[int]func(*Host) string{
		2: func(h *Host) string { return fmt.Sprint(h.KVDelete([]byte("keY"))) },
	}},
}

func pay(h *Host, amount int64, room uint32, recipient, memo string) ([]byte, int32) {
	return h.Pay(context.Background(), &hostcall.Payment{Amount: amount, Room: room, Recipient: recipient, Memo: memo})
}

// lived makes all calls in tick 1, and ends it; tick 2 is empty.
func lived(t testing.TB) (*life, []string) {
	t.Helper()
	l := newLife(t)
	h := NewHost(l.world, nil, l.kv, 1)
	var all []string
	for _, c := range calls {
		got, err := try(h, c.call)
		if err != nil {
			t.Fatalf("%s: %v", c.kind, err)
		}
		all = append(all, got)
	}
	for tick := range int64(2) {
		if again, err := h.End(tick, Used{Elapsed: time.Second}, func(Used) eventlog.Metered { return eventlog.Metered{Cost: 3} }); again || err != nil {
			t.Fatalf("got %v, %v", again, err)
		}
	}
	return l, all
}

// TestGiven checks that each hostcall is recorded as the spec says, and given again
// as it was, by a host that reaches nothing.
func TestGiven(t *testing.T) { each(t, testGiven) }

func testGiven(t *testing.T) {
	l, want := lived(t)
	if fmt.Sprint(l.sent) != "[GET http://a/ POST http://a/ pay 5]" || l.synced != 2 {
		t.Errorf("sent %q after %d syncs", l.sent, l.synced)
	}
	h := l.replay(t)
	var seen []string
	h.Observe = func(r *eventlog.Record) {
		request, err := l.log.Content(r.Request)
		if err != nil {
			t.Fatal(err)
		}
		result, err := l.log.Content(r.Result)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, fmt.Sprintf("%d %s %d %x %q %d", r.Tick, r.Kind, r.Return, request, result, r.Spent))
	}
	for i, c := range calls {
		if more, err := h.Recorded(); !more || err != nil {
			t.Fatalf("%s: got %v, %v", c.kind, more, err)
		}
		if got, err := try(h, c.call); got != want[i] || err != nil {
			t.Errorf("%s: got %q, %v; want %q", c.kind, got, err, want[i])
		}
	}
	for tick := range int64(2) {
		if again, err := h.End(tick, Used{}, nil); !again || err != nil {
			t.Errorf("got %v, %v", again, err)
		}
	}
	if more, err := h.Recorded(); more || err != nil {
		t.Errorf("got %v, %v", more, err)
	}
	if fmt.Sprint(l.sent) != "[GET http://a/ POST http://a/ pay 5]" {
		t.Errorf("a replay sent %q", l.sent)
	}
	const asked = `64000000 03000000474554 09000000687474703a2f2f612f 04000000413a2062 04000000626f6479`
	if got, want := strings.Join(seen, "\n"), strings.Join([]string{
		`1 clock_now 1001000000000  "" 0`,
		`1 rand_bytes 0 08000000 ` + fmt.Sprintf("%q", drawn()) + ` 0`,
		`1 log_emit 0 61206c696e65 "" 0`,
		`1 wallet_balance 77  "" 0`,
		`1 wallet_receipt_count 1  "" 0`,
		`1 wallet_receipt 7 0000000032000000 "receipt" 0`,
		`1 node_price 1000  "" 0`,
		`1 http_request 200 ` + strings.ReplaceAll(asked, " ", "") + ` "\x06\x00\x00\x00answer" 0`,
		`1 http_request 200 ` + strings.ReplaceAll(strings.Replace(asked, "03000000474554", "04000000504f5354", 1), " ", "") + ` "\x06\x00\x00\x00answer" 0`,
		`1 wallet_pay 8 0500000000000000` + `64000000` + `03000000626f62` + `040000006d656d6f` + ` "\x04\x00\x00\x00paid" 5`,
		`1 kv_put 0 030000006b657976616c7565 "" 0`,
		`1 kv_get 5 140000006b6579 "value" 0`,
		`1 kv_delete 0 6b6579 "" 0`,
		`1 tick end 0  "" 0`,
		`2 tick end 1  "" 0`,
	}, "\n"); got != want {
		t.Errorf("observed\n%s\nwant\n%s", got, want)
	}
}

// TestDivergence makes, in the place of each recorded call, every other call, and
// the same one with another request: the error names tick, call and byte.
func TestDivergence(t *testing.T) { each(t, testDivergence) }

func testDivergence(t *testing.T) {
	l, _ := lived(t)
	until := func(n int) *Host {
		h := l.replay(t)
		for _, c := range calls[:n] {
			if _, err := try(h, c.call); err != nil {
				t.Fatal(err)
			}
		}
		return h
	}
	tried := 0
	for i, c := range calls {
		for _, other := range calls {
			if other.kind == c.kind {
				continue
			}
			tried++
			_, err := try(until(i), other.call)
			d, ok := errors.AsType[*Divergence](err)
			if !ok || d.Tick != 1 || d.Call != i || d.Recorded != c.kind.String() || d.Got != other.kind.String() {
				t.Errorf("%s instead of %s: got %v", other.kind, c.kind, err)
			}
		}
		for at, other := range c.others {
			tried++
			_, err := try(until(i), other)
			d, ok := errors.AsType[*Divergence](err)
			if !ok || d.Tick != 1 || d.Call != i || d.Recorded != c.kind.String() || d.Got != d.Recorded || d.At != at ||
				bytes.Equal(d.RecordedBytes, d.GotBytes) || !bytes.Equal(d.RecordedBytes[:at], d.GotBytes[:at]) || !strings.Contains(d.Error(), fmt.Sprint("at byte ", at)) {
				t.Errorf("another %s, from byte %d on: got %v", c.kind, at, err)
			}
		}
		_, err := until(i).End(0, Used{}, nil)
		if d, ok := errors.AsType[*Divergence](err); !ok || d.Call != i || d.Recorded != c.kind.String() || d.Got != "tick end" {
			t.Errorf("an end instead of %s: got %v", c.kind, err)
		}
	}
	if tried < 150 {
		t.Errorf("only %d tries", tried)
	}
	h := until(len(calls))
	_, err := h.End(256, Used{}, nil)
	if d, ok := errors.AsType[*Divergence](err); !ok || d.At != 1 || d.Recorded != "tick end" || hex.EncodeToString(d.GotBytes) != "0001000000000000" {
		t.Errorf("another result of the tick: got %v", err)
	}
	_, err = try(until(len(calls)), calls[0].call)
	if d, ok := errors.AsType[*Divergence](err); !ok || d.Call != len(calls) || d.Recorded != "tick end" || d.Got != "clock_now" {
		t.Errorf("a call more: got %v", err)
	}
	h = until(len(calls))
	if _, err = h.End(0, Used{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = h.End(1, Used{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err = h.End(0, Used{}, nil); !errors.Is(err, ErrMissing) {
		t.Errorf("a tick more: got %v", err)
	}
	if _, err = try(h, calls[0].call); !errors.Is(err, ErrMissing) {
		t.Errorf("a call more, after all: got %v", err)
	}
}

// TestStoreDivergence gives back what a store said to an agent whose store has
// something else.
func TestStoreDivergence(t *testing.T) { each(t, testStoreDivergence) }

func testStoreDivergence(t *testing.T) {
	put := func(h *Host) string { return fmt.Sprint(h.KVPut([]byte("key"), []byte("value"))) }
	load := func(h *Host) string { return said(h.KVGet([]byte("key"), 20)) }
	remove := func(h *Host) string { return fmt.Sprint(h.KVDelete([]byte("key"))) }
	for name, tt := range map[string]struct {
		call  func(*Host) string
		there string // in the replay's store
		limit int
		at    int
	}{
		"get another value": {load, "vaLue", 1000, 8 + 2},
		"get nothing":       {load, "", 1000, 0},
		"put where full":    {put, "", 10, 0},
		"delete nothing":    {remove, "", 1000, 0},
	} {
		l := newLife(t)
		if err := l.kv.Put([]byte("key"), []byte("value")); err != nil {
			t.Fatal(err)
		}
		h := NewHost(l.world, nil, l.kv, 1)
		tt.call(h)
		if _, err := h.End(0, Used{}, free); err != nil {
			t.Fatal(err)
		}
		again := kv.New(tt.limit)
		if tt.there != "" {
			if err := again.Put([]byte("key"), []byte(tt.there)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := try(NewHost(nil, l.feed(t), again, 1), tt.call)
		if d, ok := errors.AsType[*Divergence](err); !ok || d.At != tt.at {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestGoOn ends a life after each number of records, as a crash does, and goes on:
// what was recorded is given, the rest is observed, and nothing is recorded twice.
func TestGoOn(t *testing.T) { each(t, testGoOn) }

func testGoOn(t *testing.T) {
	whole, want := lived(t)
	records := whole.world.Writer.Totals().Records
	for n := range records {
		l := newLife(t)
		s, err := whole.log.Segment(1)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			r, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			if err := l.world.Writer.Append(&r); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.world.Writer.Flush(); err != nil {
			t.Fatal(err)
		}
		h := NewHost(l.world, l.feed(t), l.kv, 1)
		for i, c := range calls {
			more, err := h.Recorded()
			if more != (uint64(i) < n) || err != nil {
				t.Fatalf("%d records, call %d: got %v, %v", n, i, more, err)
			}
			got, err := try(h, c.call)
			if err != nil || more && got != want[i] {
				t.Errorf("%d records, %s: got %q, %v; want %q", n, c.kind, got, err, want[i])
			}
		}
		for tick := range int64(2) {
			again, err := h.End(tick, Used{}, func(Used) eventlog.Metered { return eventlog.Metered{Cost: 1} })
			if err != nil || again != (n > uint64(len(calls))+uint64(tick)) {
				t.Errorf("%d records: got %v, %v", n, again, err)
			}
		}
		if got := l.world.Writer.Totals(); got.Records != records || got.Last != 2 {
			t.Errorf("%d records: got %+v", n, got)
		}
		h = l.replay(t)
		for _, c := range calls {
			if _, err := try(h, c.call); err != nil {
				t.Errorf("%d records, again: %v", n, err)
			}
		}
	}
}

// TestNotEnded checks that a tick that does not end has observed nothing, but for
// what a side effect follows from; agent_resume is part of its first tick.
func TestNotEnded(t *testing.T) { each(t, testNotEnded) }

func testNotEnded(t *testing.T) {
	l := newLife(t)
	h := NewHost(l.world, nil, l.kv, 1)
	h.ClockNow() // in agent_resume
	h.ClockNow() // in agent_tick
	if n := l.world.Writer.Totals().Records; n != 0 {
		t.Errorf("%d records", n)
	}
	h.HTTP(t.Context(), get("http://a/"))
	if n := l.world.Writer.Totals().Records; n != 0 {
		t.Errorf("%d records", n)
	}
	h.HTTP(t.Context(), post("http://a/"))
	if n := l.world.Writer.Totals().Records; n != 3 || l.synced != 1 {
		t.Errorf("%d records after %d syncs", n, l.synced)
	}
	s, err := l.log.Segment(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r, err := s.Next(); err != nil || r.Tick != 1 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

// TestPayloads takes away, cuts and changes the bytes of a long observation: it
// cannot be given, and nothing else is.
func TestPayloads(t *testing.T) { each(t, testPayloads) }

func testPayloads(t *testing.T) {
	request := get("http://a/")
	request.Room = 1 << 20
	call := func(h *Host) string { return said(h.HTTP(context.Background(), request)) }
	for name, damage := range map[string]func(l *life, hash string){
		"whole":   nil,
		"missing": func(l *life, hash string) { l.payloads.Remove(hash) },
		"cut":     func(l *life, hash string) { l.payloads.Put(hash, l.payloads.Get(hash)[:100]) },
		"longer":  func(l *life, hash string) { l.payloads.Put(hash, append(l.payloads.Get(hash), 0)) },
		"other":   func(l *life, hash string) { l.payloads.Put(hash, make([]byte, len(l.payloads.Get(hash)))) },
	} {
		l := newLife(t)
		l.answer = bytes.Repeat([]byte("long"), 2000)
		h := NewHost(l.world, nil, l.kv, 1)
		want := call(h)
		if _, err := h.End(0, Used{}, free); err != nil {
			t.Fatal(err)
		}
		names, err := l.payloads.Names()
		if err != nil || len(names) != 1 {
			t.Fatalf("payloads %q, %v", names, err)
		}
		if damage != nil {
			damage(l, names[0])
		}
		got, err := try(l.replay(t), call)
		if damage == nil && (got != want || err != nil) || damage != nil && !errors.Is(err, ErrMissing) {
			t.Errorf("%s: got %.20q, %v", name, got, err)
		}
	}
}

// TestHostileLog gives what no runtime records, and its own signature may stand
// under: an error, never a panic of another kind, and never a wrong length.
func TestHostileLog(t *testing.T) { each(t, testHostileLog) }

func testHostileLog(t *testing.T) {
	random := func(n int) eventlog.Record {
		return eventlog.Record{Kind: eventlog.RandBytes, Tick: 1, Request: eventlog.Bytes([]byte{8, 0, 0, 0}), Result: eventlog.Bytes(make([]byte, n))}
	}
	draw := func(h *Host) string { b := make([]byte, 8); h.RandBytes(b); return string(b) }
	for name, tt := range map[string]struct {
		records []eventlog.Record
		call    func(*Host) string
		want    string
	}{
		"less randomness": {[]eventlog.Record{random(7)}, draw, "rand_bytes differs"},
		"more randomness": {[]eventlog.Record{random(9)}, draw, "rand_bytes differs"},
		"another tick": {[]eventlog.Record{{Kind: eventlog.ClockNow, Tick: 2}},
			func(h *Host) string { return fmt.Sprint(h.ClockNow()) }, map[uint8]string{1: "next is tick 2", 2: "the event log ends in the middle of tick 1"}[version]},
		"money": {[]eventlog.Record{{Kind: eventlog.Account, Tick: 1, Reason: eventlog.TopUp, Amount: 5}},
			func(h *Host) string { return fmt.Sprint(h.ClockNow()) }, "the event log ends in the middle of tick 1"},
	} {
		l := newLife(t)
		for i := range tt.records {
			if err := l.world.Writer.Append(&tt.records[i]); version != eventlog.Version1 && tt.records[i].Tick > 1 {
				continue // it has no tick that could be another
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := l.world.Writer.Flush(); err != nil {
			t.Fatal(err)
		}
		if got, err := try(l.replay(t), tt.call); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}

	// Damage ends the feed with an error, at whichever byte it is.
	l, _ := lived(t)
	file := eventlog.FileName(1)
	b := l.segments.Get(file)
	for at := range b {
		bad := bytes.Clone(b)
		bad[at] ^= 0x10
		l.segments.Put(file, bad)
		h := l.replay(t)
		var err error
		for _, c := range calls {
			if _, err = try(h, c.call); err != nil {
				break
			}
		}
		for tick := int64(0); err == nil && tick < 2; tick++ {
			_, err = h.End(tick, Used{}, nil)
		}
		if err == nil {
			t.Fatalf("byte %d of %d may be another one", at, len(b))
		}
	}
}

// TestNothingLeftToWait has calls that wait longer than a tick's calls may together: the
// last one that begins counts as long as there was left, and after that nothing is asked,
// sent or begun. It is recorded, and given again.
func TestNothingLeftToWait(t *testing.T) {
	defer func() { version = eventlog.Version1 }()
	version = eventlog.Version2
	l := newLife(t)
	now := time.Unix(0, 0)
	l.world.Clock = func() time.Time { now = now.Add(350 * time.Millisecond); return now } // once before a call, once after
	calls := func(h *Host) (all []string) {
		for range 3 {
			all = append(all, said(h.HTTP(t.Context(), get("https://a/"))))
		}
		all = append(all, said(h.HTTP(t.Context(), get("https://a/"))), said(h.HTTP(t.Context(), post("https://a/"))), said(pay(h, 5, 100, "shop", "memo")))
		return all
	}
	h := NewHost(l.world, nil, l.kv, 1)
	got := calls(h)
	for i, s := range got {
		if want := fmt.Sprint(hostcall.CodeTimeout); strings.HasSuffix(s, " "+want) != (i >= 3) {
			t.Errorf("call %d came to %s", i, s)
		}
	}
	if len(l.sent) != 3 || l.world.Journal.Len() != 0 {
		t.Errorf("sent are %q, and %d effects begun", l.sent, l.world.Journal.Len())
	}
	if h.waited != uint64(time.Second) {
		t.Errorf("the tick waited %d", h.waited)
	}
	if _, err := h.End(0, Used{}, func(u Used) eventlog.Metered { return eventlog.Metered{Fuel: u.Fuel, Waited: u.Waited} }); err != nil {
		t.Fatal(err)
	}
	if err := l.world.Writer.Flush(); err != nil {
		t.Fatal(err)
	}
	again := l.replay(t)
	if given := calls(again); !slices.Equal(given, got) || again.Err() != nil {
		t.Errorf("given again: %q, %v", given, again.Err())
	}
}

func TestFirstDifference(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		at   int
	}{{"", "", 0}, {"a", "", 0}, {"", "a", 0}, {"ab", "ac", 1}, {"ab", "abc", 2}, {"abc", "abc", 3}} {
		if got := FirstDifference([]byte(tt.a), []byte(tt.b)); got != tt.at {
			t.Errorf("%q, %q: got %d, want %d", tt.a, tt.b, got, tt.at)
		}
	}
	if got := Excerpt([]byte("0123456789abcdefghijkl"), 10); got != hex.EncodeToString([]byte("6789abcdefghijkl")) {
		t.Errorf("got %s", got)
	}
	if got := Excerpt([]byte("0123"), 4); got != "the end (4 bytes)" {
		t.Errorf("got %s", got)
	}
}

// free is a charge of nothing.
func free(Used) eventlog.Metered { return eventlog.Metered{} }

// drawn is what the first call of a tick for eight bytes gives.
func drawn() string {
	if version == eventlog.Version1 {
		return "01234567"
	}
	sum := sha256.Sum256([]byte("igor/rand/v2\x00" + "01234567890123456789012345678901" + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	return string(sum[:8])
}

// TestSpecRandom holds docs/spec/eventlog.md to what a tick draws.
func TestSpecRandom(t *testing.T) {
	seed := make([]byte, seedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	s := stream{seed: seed}
	var got []byte
	for _, n := range []int{5, 40} {
		b := make([]byte, n)
		s.read(b)
		got = append(got, b...)
	}
	if want := testkit.SpecBytes(t, "../../../docs/spec", "eventlog.md", "hex random"); !bytes.Equal(got, want) {
		t.Errorf("got %x, and the page has %x", got, want)
	}
}

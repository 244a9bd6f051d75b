package runtime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"igor.dev/runtime/internal/eventlog"
	"igor.dev/runtime/internal/store"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wasmtest"
)

// moody is an agent that sends a POST in every tick in which a random byte is odd. Its
// state is how many ticks there were, and how many POSTs, as u64.
func moody(url string) wasmtest.Agent {
	const flag, post = 32, wasmtest.DataAt
	load := func(at int32) string { return wasmtest.I32(at) + "\x29\x03\x00" } // i64.load
	text := func(at, size int) string { return wasmtest.I32(int32(at)) + wasmtest.I32(int32(size)) }
	send := wasmtest.I32(8) + load(8) + "\x42\x01\x7c" + "\x37\x03\x00" + // i64.const 1 i64.add i64.store
		text(post, 4) + text(post+4, len(url)) + text(0, 0) + text(post, 4) + text(4096, 4096) + wasmtest.Call(1) + wasmtest.Drop
	return wasmtest.Agent{
		Imports: []wasmtest.Import{wasmtest.RandBytes, wasmtest.HTTPRequest},
		Data:    "POST" + url,
		Funcs: map[string]wasmtest.Func{
			"agent_tick": {Type: wasmtest.ToI32, Body: wasmtest.Count + wasmtest.I32(flag) + wasmtest.I32(1) + wasmtest.Call(0) + wasmtest.Drop +
				wasmtest.I32(flag) + "\x2d\x00\x00" + wasmtest.I32(1) + "\x71\x04\x40" + send + "\x0b" + wasmtest.I32(1)}, // load8_u and if … end
			"agent_checkpoint": {Type: wasmtest.ToI32, Body: wasmtest.I32(16)},
			"agent_resume":     {Type: wasmtest.I32I32, Body: wasmtest.I32(0) + "\x20\x00\x20\x01\xfc\x0a\x00\x00"}, // memory.copy
		},
	}
}

// recordsOf returns where each record of a file begins, and where the last one ends.
func recordsOf(t *testing.T, b []byte) (at []int) {
	t.Helper()
	for s := wal.NewScanner(bytes.NewReader(b), len(b)); ; {
		at = append(at, int(s.Offset()))
		if _, err := s.Next(); err == io.EOF {
			return at
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// eachDamage calls try with every way in which a segment can be damaged at each of its
// records: cut off before it or in it, or a bit of its length or of what it has flipped.
func eachDamage(t *testing.T, segment []byte, try func(what string, damaged []byte)) {
	t.Helper()
	at := recordsOf(t, segment)
	if len(at) < 5 {
		t.Fatalf("only %d records", len(at))
	}
	flipped := func(i int) []byte {
		b := bytes.Clone(segment)
		b[i] ^= 0x10
		return b
	}
	for i, begin := range at[:len(at)-1] {
		end := at[i+1]
		try(fmt.Sprintf("cut off before record %d", i), segment[:begin])
		try(fmt.Sprintf("cut off in record %d", i), segment[:(begin+end)/2])
		try(fmt.Sprintf("the length of record %d", i), flipped(begin))
		try(fmt.Sprintf("the content of record %d", i), flipped((begin+end)/2))
		try(fmt.Sprintf("the checksum of record %d", i), flipped(end-1))
	}
}

// TestDamagedEvents damages the event log after the newest checkpoint, of ticks in which
// the agent acted outside, at each of its records, while the journal is whole. Nothing is
// done again: the life goes on with what it did, or the error says what is missing and
// what to do, and then it goes on.
func TestDamagedEvents(t *testing.T) {
	var mu sync.Mutex
	posts := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posts[r.Header.Get("Idempotency-Key")]++
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	b := birth(moody(server.URL + "/"))
	b.Manifest = fmt.Appendf(nil, `{"capabilities": {"rand": {"version": 1}, "http": {"version": 1, "options": {"allowed_hosts": [%q]}}}}`, host)
	const newestTick = 7
	var born string
	for len(posts) < 2 {
		clear(posts)
		born = filepath.Join(t.TempDir(), "agent")
		if _, err := Start(t.Context(), born, b, ticks(newestTick, 0)); err != nil {
			t.Fatal(err)
		}
	}
	// The last checkpoint never became durable.
	err := errors.Join(os.Remove(filepath.Join(born, "history", store.FileName(newestTick))),
		os.Remove(filepath.Join(born, "events", eventlog.FileName(newestTick+1))))
	if err != nil {
		t.Fatal(err)
	}
	sent := maps.Clone(posts)
	name := filepath.Join("events", eventlog.FileName(1))
	whole, err := os.ReadFile(filepath.Join(born, name))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	eachDamage(t, whole, func(what string, damaged []byte) {
		mu.Lock()
		posts = maps.Clone(sent)
		mu.Unlock()
		dir := copyOf(t, born)
		write := func(b []byte) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(damaged)
		r, err := Resume(t.Context(), dir, ticks(3, 2))
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "event log") || !strings.Contains(hintOf(err), "restore ") {
				t.Errorf("%s: it says %q, and to do: %q", what, err, hintOf(err))
			}
			if !maps.Equal(posts, sent) {
				t.Errorf("%s: it sent something, and then: %v", what, err)
			}
			write(whole)
			if r, err = Resume(t.Context(), dir, ticks(3, 2)); err != nil {
				t.Fatalf("%s, and restored: %v", what, err)
			}
		}
		known := int(binary.LittleEndian.Uint64(newest(t, dir, r.Tick).State[8:]))
		for id, n := range posts {
			if n > 1 {
				t.Errorf("%s: %s was sent %d times", what, id, n)
			}
		}
		if len(posts) != known {
			t.Errorf("%s: %d were sent, and the agent knows of %d", what, len(posts), known)
		}
		counts(t, dir)
		if got, err := Replay(t.Context(), dir, replayConfig(dir, b)); err != nil || got.Verdict != Replayed || got.Ticks != r.Tick {
			t.Errorf("%s: run again it is %+v, %v", what, got, err)
		}
	})
	if refused == 0 {
		t.Error("it always goes on")
	}
}

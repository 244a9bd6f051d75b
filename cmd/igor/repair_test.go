package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"igor.dev/runtime"
)

// TestRepair damages the journal of an agent with unresolved effects. It goes on
// from what is whole of it, only when the operator says so, and repeats nothing.
func TestRepair(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "agent")
	do := func(want int, args ...string) string {
		t.Helper()
		cmd := igor(t, args...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Fatalf("%q: exit code %d, want %d\n%s", args, got, want, out)
		}
		return string(out)
	}
	pay := "--pay-at=" + server.URL
	do(0, "run", actor(t, u, "unsafe"), "--dir", dir, "--budget=1", "--price=0", "--ticks=8", "--tick-interval=0", "--checkpoint-every=100", pay)
	if n := requests.Load(); n != 4 {
		t.Fatalf("%d requests, want 4", n)
	}
	if out := do(0, "effects", dir); strings.Count(out, "\n  POST \""+server.URL) != 2 || !strings.Contains(out, ", body \"") ||
		!strings.Contains(out, "\n  0.000001 to \"shop\", memo \"") {
		t.Errorf("the effects are\n%s", out)
	}
	do(1, "effects", "repair", dir, "--yes") // it is whole

	file := filepath.Join(dir, "journal")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The payload of the third record: the header, a request, a payment.
	at, size := 0, 0
	for range 3 {
		at += size
		size = 12 + int(binary.LittleEndian.Uint32(whole[at:]))
	}
	damaged := bytes.Clone(whole)
	damaged[at+60] ^= 0x40
	if err := os.WriteFile(file, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"resume", dir, "--ticks=1", pay}, {"effects", dir}} {
		if out := do(exitDamaged, args...); !strings.Contains(out, "the journal is damaged: at byte ") || !strings.Contains(out, "igor repair") {
			t.Errorf("%q:\n%s", args, out)
		}
	}
	out := do(1, "effects", "repair", dir)
	for _, want := range []string{
		"damage  the journal is damaged: at byte ", "a record has the wrong checksum\n", "a record that cannot be read\n",
		"kept    effects: 3, of which 3 unresolved hold 0.000001\n", "tick 9, which was not over", "\nigor: nothing is changed\nhint: igor effects repair ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("without %q:\n%s", want, out)
		}
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, damaged) {
		t.Errorf("the journal was changed without --yes: %v", err)
	}
	var r runtime.JournalRepair
	if err := json.Unmarshal([]byte(do(0, "effects", "repair", dir, "--yes", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Effects != 3 || r.Unresolved != 3 || r.Held != 1 || r.Tick != 8 || len(r.Lost) != 1 || r.Lost[0].Offset != int64(at) || r.Lost[0].Size != int64(size) {
		t.Errorf("it came to %+v", r)
	}
	if b, err := os.ReadFile(r.Aside); err != nil || !bytes.Equal(b, damaged) {
		t.Errorf("what was set aside is not the damaged journal: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, append(bytes.Clone(whole[:at]), whole[at+size:]...)) {
		t.Errorf("the journal is not what was whole of it: %v", err)
	}
	do(0, "resume", dir, "--ticks=1", "--tick-interval=0", pay)
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests after the repair: something was done again", n)
	}
	do(0, "verify", dir)
	replayed(t, dir)

	// A hold that went back does so once, though the journal no longer knows of it.
	var open []map[string]string
	if err := json.Unmarshal([]byte(do(0, "effects", dir, "--json")), &open); err != nil || len(open) != 3 {
		t.Fatalf("%v, %v", open, err)
	}
	id := ""
	for _, e := range open {
		if e["kind"] == "payment" {
			id = e["id"]
		}
	}
	do(0, "effects", "compensate", dir, id)
	budget := func() string {
		t.Helper()
		var r struct{ BudgetMicrocents string }
		cmd := igor(t, "resume", dir, "--ticks=1", "--tick-interval=0", "--json", pay)
		b, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		return r.BudgetMicrocents
	}
	before := budget()
	if whole, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	for at = 0; whole[at+8] != 3; { // what the operator said
		at += 12 + int(binary.LittleEndian.Uint32(whole[at:]))
	}
	whole[at+20] ^= 1
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	do(0, "effects", "repair", dir, "--yes")
	if out := do(1, "effects", "compensate", dir, id); !strings.Contains(out, "held went back already, at tick 10\n") {
		t.Errorf("got\n%s", out)
	}
	do(0, "effects", "confirm", dir, id)
	if after := budget(); after != before || before != "999999" {
		t.Errorf("the budget is %s after the repair, and was %s", after, before)
	}
	do(0, "verify", dir)
	replayed(t, dir)
}

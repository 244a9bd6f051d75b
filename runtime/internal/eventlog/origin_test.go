package eventlog

import (
	"bytes"
	"strings"
	"testing"

	"igor.dev/verifier"
)

// TestOrigin verifies the first segment of a fork, and refuses an origin in any other
// place.
func TestOrigin(t *testing.T) {
	birth := Record{Kind: Account, Tick: 7, Reason: Birth, Amount: 500, Price: 3}
	origin := Record{Kind: Origin, Tick: 7, Agent: public, Checkpoint: verifier.Hash{5}}
	end := Record{Kind: TickEnd, Tick: 7}
	now := Record{Kind: ClockNow, Tick: 7}
	next := checkpoint(t, verifier.Hash{}, 7, 500, 3)
	verify := func(records ...Record) error {
		f := newFolders()
		h := Header{WASM: wasm, Manifest: verifier.Hash{9}}
		w := write(t, f, h, 0, nil)
		for _, r := range records {
			if err := w.Append(&r); err != nil {
				return err
			}
		}
		if err := seal(w, next, key); err != nil {
			t.Fatal(err)
		}
		totals, err := Verify(bytes.NewReader(f.segments.Get(FileName(0))), nil, next)
		if err == nil && (totals.Origin == nil || totals.Origin.Agent != public || totals.Origin.Checkpoint != origin.Checkpoint || totals.Ticks != 0 || totals.Last != 7) {
			t.Errorf("got %+v", totals)
		}
		return err
	}
	if err := verify(birth, origin); err != nil {
		t.Error(err)
	}
	early, late := birth, origin
	early.Tick, late.Tick = 0, 8
	for _, tt := range []struct {
		records []Record
		want    string
	}{
		{[]Record{origin}, "an origin that does not come directly after a birth"},
		{[]Record{origin, birth}, "an origin that does not come directly after a birth"},
		{[]Record{birth, now, origin}, "an origin that does not come directly after a birth"},
		{[]Record{birth, origin, origin}, "an origin that does not come directly after a birth"},
		{[]Record{{Kind: Account, Tick: 7, Reason: TopUp, Amount: 500, Price: 3}, origin}, "an origin that does not come directly after a birth"},
		{[]Record{birth, origin, now}, "after the end of tick 7"},
		{[]Record{birth, origin, {Kind: ClockNow, Tick: 8}}, "does not end with tick 7"},
		{[]Record{birth, late}, "tick 7 has no end"},
		{[]Record{early, origin}, "tick 0 has no end"},
		{[]Record{birth, end}, "begins with tick 7, not 0"},
		{[]Record{birth}, "begins with tick 7, not 0"},
	} {
		if err := verify(tt.records...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.records, err, tt.want)
		}
	}
	// After a checkpoint there is none, whatever comes before it.
	prev := checkpoint(t, verifier.Hash{}, 6, 0, 3)
	after := checkpoint(t, prev.ContentHash, 7, 500, 3)
	f := newFolders()
	w := write(t, f, Header{Prev: prev.ContentHash, WASM: wasm}, 7, []Record{birth, origin})
	if err := seal(w, after, key); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(bytes.NewReader(f.segments.Get(FileName(7))), prev, after); err == nil || !strings.Contains(err.Error(), "a birth is the first record") {
		t.Errorf("in the middle of a life: got %v", err)
	}
	// Every bit of the record counts, and it comes back as it was.
	b := origin.append(nil, Version1)
	if got, err := parse(b, Version1); err != nil || got.Agent != origin.Agent || got.Checkpoint != origin.Checkpoint || got.Tick != 7 || !bytes.Equal(got.append(nil, Version1), b) {
		t.Errorf("got %+v, %v", got, err)
	}
	for n := range b {
		if _, err := parse(b[:n], Version1); err == nil {
			t.Errorf("%d of %d bytes are a record", n, len(b))
		}
	}
}

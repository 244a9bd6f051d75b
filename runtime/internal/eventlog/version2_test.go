package eventlog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/wal"
	"igor.dev/verifier"
)

// TestVerify2Refuses has segments of version 2 that are well-formed, and sealed, and
// not what they should be. Where a cost is wrong, the tick is named.
func TestVerify2Refuses(t *testing.T) {
	of := forms()[1]
	_, h, prev, next := of.life(t)
	for name, tt := range map[string]struct {
		change func(h *Header, r []Record, took *Metered) []Record
		want   string
		tick   uint64 // of the wrong cost
	}{
		"a cost is higher by one":    {func(h *Header, r []Record, _ *Metered) []Record { at(r, TickEnd, 5).Cost++; return r }, "recorded is a cost of 0.000004", 5},
		"a cost is lower by one":     {func(h *Header, r []Record, _ *Metered) []Record { at(r, TickEnd, 6).Cost--; return r }, "recorded is a cost", 6},
		"a rest is higher by one":    {func(h *Header, r []Record, _ *Metered) []Record { at(r, TickEnd, 7).Rest++; return r }, "recorded is a cost", 7},
		"less fuel":                  {func(h *Header, r []Record, _ *Metered) []Record { at(r, TickEnd, 6).Fuel--; return r }, "1499999 units of fuel", 6},
		"another rest to begin with": {func(h *Header, r []Record, _ *Metered) []Record { h.Rest++; return r }, "and a rest of", 5},
		"the checkpoint cost less":   {func(h *Header, r []Record, took *Metered) []Record { took.Fuel--; return r }, "tick 8, the checkpoint after it", 8},
		"less is spent":              {func(h *Header, r []Record, _ *Metered) []Record { at(r, HTTPRequest, 5).Spent = 0; return r }, "leaves a budget", 0},
		"more than there is":         {func(h *Header, r []Record, _ *Metered) []Record { at(r, HTTPRequest, 5).Spent = 1 << 40; return r }, "spend more than there was", 0},
		"another epoch":              {func(h *Header, r []Record, _ *Metered) []Record { h.MajorVersion = 1; return r }, "of epoch 1, 0", 0},
		"another generation":         {func(h *Header, r []Record, _ *Metered) []Record { h.LeaseGeneration = 1; return r }, "of epoch 0, 1", 0},
		"a tick is missing":          {func(h *Header, r []Record, _ *Metered) []Record { return r[:len(r)-1] }, "", 0},
		"it upgrades from another program": {func(h *Header, r []Record, _ *Metered) []Record {
			return slices.Insert(r, 0, Record{Kind: Upgrade, Tick: 5, WASM: verifier.Hash{7}})
		}, "goes on from program", 0},
		"it ends with a failed tick that is none": {func(h *Header, r []Record, _ *Metered) []Record {
			end := &r[len(r)-1]
			end.Kind, end.Failure, end.Call, end.Return = TickFailed, Trap, Tick, 0
			return r
		}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			h, took := h, of.took
			records := tt.change(&h, slices.Clone(of.ticks), &took)
			f := newFolders()
			w := write(t, f, h, 5, records)
			if err := sealed(w, next, took, key); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(bytes.NewReader(f.segments.Get(FileName(5))), prev, next)
			if strings.HasPrefix(name, "it ends with a failed") { // that is for a replay to see
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !Bad(err) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v", err)
			}
			if cost, ok := errors.AsType[*CostError](err); tt.tick > 0 && (!ok || cost.Tick != tt.tick) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// at returns the record of a kind in a tick.
func at(records []Record, kind Kind, tick uint64) *Record {
	i := slices.IndexFunc(records, func(r Record) bool { return r.Kind == kind && r.Tick == tick })
	return &records[i]
}

func TestAppend2Refuses(t *testing.T) {
	f := newFolders()
	h := forms()[1].header(verifier.Hash{1})
	first := newFolders()
	w, _, err := first.log().Continue(h, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&Record{Kind: ClockNow, Tick: 4}); err == nil || !strings.Contains(err.Error(), "begins with tick 5") {
		t.Errorf("another first tick: %v", err)
	}
	w = write(t, f, h, 5, ticks2[:18])
	before := w.Size()
	for name, tt := range map[string]struct {
		r    Record
		want string
	}{
		"a wall clock":                {Record{Kind: TickEnd, Tick: 6, Elapsed: 1}, "time of another version"},
		"a repetition of its own":     {Record{Kind: again, Tick: 6}, "no record is of"},
		"waiting that no call did":    {Record{Kind: TickEnd, Tick: 6, Waited: 1}, "waited 1 ns, and its calls 0 ns"},
		"too much fuel":               {Record{Kind: TickEnd, Tick: 6, Fuel: MaxUnits + 1}, "units of fuel"},
		"a rest that is a microcent":  {Record{Kind: TickEnd, Tick: 6, Rest: account.Microcent}, "a rest of a microcent"},
		"an upgrade that comes later": {Record{Kind: Upgrade, Tick: 6}, "does not come first"},
		"a failure of no kind":        {Record{Kind: TickFailed, Tick: 6, Call: Tick}, "unknown way 0"},
		"a failure of no call":        {Record{Kind: TickFailed, Tick: 6, Failure: Trap}, "unknown call 0"},
		"a failure of another kind":   {Record{Kind: TickFailed, Tick: 6, Failure: lastFailure + 1, Call: Tick}, "unknown way 5"},
		"a record of what may come":   {Record{Kind: 135, Tick: 6}, "no record is of kind 135"},
	} {
		if err := w.Append(&tt.r); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if w.Size() != before {
		t.Error("what was refused is written")
	}
	if err := w.Append(&Record{Kind: TickFailed, Tick: 6, Failure: Depth, Call: Tick, Fuel: 10}); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&Record{Kind: ClockNow, Tick: 7}); err == nil || !strings.Contains(err.Error(), "tick 6, which failed") {
		t.Errorf("after a tick that failed: %v", err)
	}
	for name, bad := range map[string]Header{
		"no schedule":         {Version: Version2, Prev: verifier.Hash{1}},
		"a rest":              {Version: Version2, Prev: verifier.Hash{1}, Schedule: 1, Rest: account.Microcent},
		"a debt at birth":     {Version: Version2, Schedule: 1, Rest: 1},
		"an unknown version":  {Version: 3},
		"version 1 with fuel": {Version: Version1, Schedule: 1},
	} {
		if _, _, err := newFolders().log().Continue(bad, 5); err == nil {
			t.Errorf("a header with %s is written", name)
		}
	}
}

// TestFailedTick verifies a segment that ends with a tick that failed.
func TestFailedTick(t *testing.T) {
	records := metered([]Record{
		{Kind: TickEnd, Tick: 5, Fuel: 10},
		{Kind: ClockNow, Tick: 6, Return: 1},
		{Kind: TickFailed, Tick: 6, Failure: Fuel, Call: Tick, Fuel: 15_000_000_000},
	})
	prev := checkpoint(t, verifier.Hash{}, 4, 1000, 1000)
	f := newFolders()
	w := write(t, f, forms()[1].header(prev.ContentHash), 5, records)
	next := checkpoint(t, prev.ContentHash, 6, 1000-records[2].Cost, 1000)
	if records[2].Cost != 1000 { // 15,000 would be more than there is
		t.Fatalf("it cost %d", records[2].Cost)
	}
	if err := seal(w, next, key); err != nil {
		t.Fatal(err)
	}
	v, err := Verify(bytes.NewReader(f.segments.Get(FileName(5))), prev, next)
	if err != nil || v.Ticks != 2 || v.Failed != 1 || !v.EndsFailed() || v.Rest != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestUpgrade verifies a segment in which another program goes on.
func TestUpgrade(t *testing.T) {
	prev := checkpoint(t, verifier.Hash{}, 4, 1000, 0)
	old := prev.WASMHash
	prev.WASMHash = verifier.Hash{8} // it was lived by another one until then
	h := forms()[1].header(prev.ContentHash)
	h.Rest = 0
	upgrade := Record{Kind: Upgrade, Tick: 5, WASM: prev.WASMHash, Manifest: verifier.Hash{3}}
	end := Record{Kind: TickEnd, Tick: 5, Fuel: 1}
	next := checkpoint(t, prev.ContentHash, 5, 1000, 0)
	verify := func(records ...Record) (Verified, error) {
		f := newFolders()
		if err := seal(write(t, f, h, 5, records), next, key); err != nil {
			t.Fatal(err)
		}
		return Verify(bytes.NewReader(f.segments.Get(FileName(5))), prev, next)
	}
	if v, err := verify(upgrade, end); err != nil || v.Upgrade == nil || v.Upgrade.Manifest != upgrade.Manifest || v.Upgrade.WASM != prev.WASMHash || v.Header.WASM != old {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := verify(end); err == nil || !strings.Contains(err.Error(), "goes on from program") {
		t.Errorf("without its record: %v", err)
	}
	upgrade.WASM = verifier.Hash{9}
	if _, err := verify(upgrade, end); err == nil || !strings.Contains(err.Error(), "goes on from program") {
		t.Errorf("from another one: %v", err)
	}
	genesis := checkpoint(t, verifier.Hash{}, 0, 5, 0)
	f := newFolders()
	born := []Record{{Kind: Upgrade, WASM: wasm}, {Kind: Account, Reason: Birth, Amount: 5}, {Kind: TickEnd}}
	if err := seal(write(t, f, Header{Version: Version2, WASM: wasm, Schedule: 1}, 0, born), genesis, key); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(bytes.NewReader(f.segments.Get(FileName(0))), nil, genesis); err == nil {
		t.Error("a life begins with an upgrade")
	}
}

// TestAgain has random lives, many of whose ticks go as the one before: what is read
// is what was written, and what an idle tick costs on the disk.
func TestAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	short := 0
	for range 300 {
		at := account.Account{Budget: r.Int64N(5000), Price: []int64{0, 1, 999, 123_456_789, 1 << 50}[r.IntN(5)], Rest: uint64(r.Int64N(account.Microcent))}
		h := Header{Version: Version2, Prev: verifier.Hash{1}, WASM: wasm, Schedule: 1, Rest: at.Rest}
		var records []Record
		fuel := uint64(r.IntN(1_000_000))
		for tick := uint64(5); tick < 40; tick++ {
			switch r.IntN(10) {
			case 0:
				records = append(records, Record{Kind: ClockNow, Tick: tick, Return: r.Int64()})
			case 1:
				records = append(records, Record{Kind: Account, Tick: tick, Reason: TopUp, Amount: r.Int64N(100), Price: at.Price})
			case 2:
				fuel = uint64(r.IntN(1_000_000))
			case 3:
				records = append(records, Record{Kind: HTTPRequest, Tick: tick, Waited: 7})
			}
			end := Record{Kind: TickEnd, Tick: tick, Return: 0, Fuel: fuel}
			if n := len(records); n > 0 && records[n-1].Kind == HTTPRequest {
				end.Waited = 7
			}
			records = append(records, end)
		}
		for i := range records {
			charged(&records[i], &at)
		}
		f := newFolders()
		w := write(t, f, h, 5, nil)
		for i := range records {
			before := w.Size()
			if err := w.Append(&records[i]); err != nil {
				t.Fatal(err)
			}
			if w.Size()-before == 1+wal.Overhead {
				short++
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		s, err := f.log().Segment(5)
		if err != nil {
			t.Fatal(err)
		}
		got, err := say(s.Reader)
		if err != io.EOF || !slices.Equal(got, lines(records)) {
			t.Fatalf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(lines(records), "\n"))
		}
		if w.Totals() != s.Totals() {
			t.Error("the totals differ")
		}
	}
	if short < 1000 {
		t.Errorf("only %d records were short", short)
	}
	// One that has none before it.
	h := forms()[1].header(verifier.Hash{1})
	for name, before := range map[string][]Record{
		"nothing":        nil,
		"an observation": metered([]Record{{Kind: TickEnd, Tick: 5, Fuel: 5}, {Kind: ClockNow, Tick: 6}}),
		"waiting":        metered([]Record{{Kind: HTTPRequest, Tick: 5, Waited: 5}, {Kind: TickEnd, Tick: 5, Waited: 5}}),
	} {
		b := wal.AppendRecord(nil, h.append(nil))
		for i := range before {
			b = wal.AppendRecord(b, before[i].append(nil, Version2))
		}
		b = wal.AppendRecord(b, []byte{byte(again)})
		if n := drain(NewReader(bytes.NewReader(b))); n != len(before) {
			t.Errorf("after %s: %d records", name, n)
		}
	}
}

// TestSizes holds the table of docs/spec/eventlog.md to what is written.
func TestSizes(t *testing.T) {
	size := func(records ...Record) int64 {
		f := newFolders()
		h := Header{Version: Version2, Prev: verifier.Hash{1}, Schedule: 1}
		at := account.Account{Budget: 1 << 40, Price: 1000}
		w := write(t, f, h, 5, nil)
		begun := w.Size()
		for i := range records {
			if records[i].Tick = 5; i > 0 && records[i-1].Kind == TickEnd {
				records[i].Tick = 6
			}
			charged(&records[i], &at)
			if err := w.Append(&records[i]); err != nil {
				t.Fatal(err)
			}
		}
		return w.Size() - begun
	}
	end := Record{Kind: TickEnd, Fuel: 40_000}
	for what, tt := range map[string]struct{ got, want int64 }{
		"an interval":       {int64(header2Size + seal2Size + 2*wal.Overhead), 325},
		"a tick":            {size(end), 23},
		"the same again":    {size(end, end) - size(end), 13},
		"the time":          {size(Record{Kind: ClockNow, Return: 1_700_000_000_000_000_000}), 22},
		"a line of 40":      {size(Record{Kind: LogEmit, Request: Bytes(make([]byte, 40))}), 55},
		"randomness":        {size(Record{Kind: RandBytes, Request: Bytes(make([]byte, 4)), Result: Bytes(make([]byte, 32))}), 52},
		"more of it":        {size(Record{Kind: RandBytes, Request: Bytes(make([]byte, 4))}), 20},
		"a tick that fails": {size(Record{Kind: TickFailed, Failure: Trap, Call: Tick, Fuel: 40_000}), 24},
	} {
		if tt.got != tt.want {
			t.Errorf("%s takes %d bytes, and the spec says %d", what, tt.got, tt.want)
		}
	}
	// An idle minute, and an idle hour: what they come to when they are packed.
	f := newFolders()
	w := write(t, f, Header{Version: Version2, Prev: verifier.Hash{1}, Schedule: 1}, 5, nil)
	at := account.Account{Budget: 1 << 40, Price: 1000}
	for tick := uint64(5); tick < 5+3600; tick++ {
		r := Record{Kind: TickEnd, Tick: tick, Fuel: 40_000}
		charged(&r, &at)
		if err := w.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(f.segments.Get(FileName(5)))
	z.Close()
	t.Logf("an idle hour: %d bytes, packed %d", w.Size(), packed.Len())
	if packed.Len() > 1000 {
		t.Errorf("an idle hour takes %d bytes when it is packed", packed.Len())
	}
}

// TestFromVersion1 has a life of version 1 go on: what is recorded is gone on with in
// version 1, and where nothing is, version 2 begins.
func TestFromVersion1(t *testing.T) {
	prev := verifier.Hash{1}
	h1 := Header{Version: Version1, Prev: prev, WASM: wasm, Manifest: verifier.Hash{9}}
	h2 := forms()[1].header(prev)
	for _, cut := range []int{0, 3} { // torn, too
		f := newFolders()
		w := write(t, f, h1, 5, nil)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		f.segments.Put(FileName(5), f.segments.Get(FileName(5))[:len(f.segments.Get(FileName(5)))-cut])
		w, r, err := f.log().Continue(h2, 5)
		if err != nil || r != (Recovery{}) || w.Header() != h2 {
			t.Fatalf("%+v, %+v, %v", w, r, err)
		}
		if want := wal.AppendRecord(nil, h2.append(nil)); !bytes.Equal(f.segments.Get(FileName(5)), want) {
			t.Errorf("it is %x", f.segments.Get(FileName(5)))
		}
	}
	f := newFolders()
	if err := write(t, f, h1, 5, ticks[:1]).Close(); err != nil {
		t.Fatal(err)
	}
	w, _, err := f.log().Continue(h2, 5)
	if err != nil || w.Header() != h1 {
		t.Fatalf("%+v, %v", w.Header(), err)
	}
	if err := w.Append(&Record{Kind: TickEnd, Tick: 5, Elapsed: 7, Cost: 1}); err != nil {
		t.Error(err)
	}
	// What counts where it was begun stays so, whoever goes on with it.
	f = newFolders()
	if err := write(t, f, h2, 5, nil).Close(); err != nil {
		t.Fatal(err)
	}
	other := h2
	other.Schedule, other.Rest, other.LeaseGeneration = 2, 3, 4
	if w, _, err := f.log().Continue(other, 5); err != nil || w.Header() != h2 {
		t.Errorf("%+v, %v", w.Header(), err)
	}
	h2.WASM[0]++
	if _, _, err := f.log().Continue(h2, 5); err == nil {
		t.Error("another program goes on with it")
	}
}

// TestUnreadable has a disk that fails: that is no verdict on a segment.
func TestUnreadable(t *testing.T) {
	broken := errors.New("input/output error")
	for _, of := range forms() {
		f, _, prev, next := of.life(t)
		b := f.segments.Get(FileName(5))
		for cut := range len(b) {
			_, err := Verify(io.MultiReader(bytes.NewReader(b[:cut]), iotest{broken}), prev, next)
			if !errors.Is(err, broken) || Bad(err) {
				t.Fatalf("the disk fails at byte %d: %v", cut, err)
			}
		}
	}
}

type iotest struct{ err error }

func (r iotest) Read([]byte) (int, error) { return 0, r.err }

// TestStored has a segment that pays for what is stored: with one byte, or one part of a
// price, more or less it does not verify.
func TestStored(t *testing.T) {
	of := forms()[1]
	_, h, prev, next := of.life(t)
	records := slices.Clone(of.ticks)
	at(records, HTTPRequest, 5).Result = Bytes(make([]byte, MaxInline+1))
	files := uint64(0)
	for i := range records {
		for _, d := range []Data{records[i].Request, records[i].Result} {
			if d.Size() > MaxInline {
				files += uint64(d.Size())
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(*Metered)
		want   string // "" = it verifies
	}{
		"as it is":        {func(*Metered) {}, ""},
		"a byte more":     {func(m *Metered) { m.Stored++ }, "bytes that are stored"},
		"a byte less":     {func(m *Metered) { m.Stored-- }, "bytes that are stored"},
		"another price":   {func(m *Metered) { m.StoredPrice++ }, "bytes at"},
		"another rest":    {func(m *Metered) { m.Rest++ }, "bytes at"},
		"no file counted": {func(m *Metered) { m.Stored -= MaxInline + 1 }, "bytes that are stored"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolders()
			w := write(t, f, h, 5, records)
			sum := account.Account{Budget: prev.Budget, Price: prev.PricePerSecond, Rest: h.Rest}
			for i := range records {
				if err := records[i].Apply(&sum); err != nil {
					t.Fatal(err)
				}
			}
			took := sum.Store(of.took.Fuel, w.Stored()+uint64(next.Size), 1e6)
			next := *next
			next.Budget = sum.Budget
			tt.change(&took)
			if err := sealed(w, &next, took, key); err != nil {
				t.Fatal(err)
			}
			v, err := Verify(bytes.NewReader(f.segments.Get(FileName(5))), prev, &next)
			switch {
			case tt.want == "" && (err != nil || v.Seal.StoredPrice != 1e6 || v.Files != files):
				t.Errorf("got %+v, %v", v, err)
			case tt.want != "" && (err == nil || !Bad(err) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v", err)
			}
		})
	}
}

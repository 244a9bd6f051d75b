package eventlog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/runtime/internal/account"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/verifier"
)

var (
	key    = ed25519.NewKeyFromSeed(seed())
	public = verifier.PublicKey(key.Public().(ed25519.PublicKey))
	wasm   = verifier.Hash{1, 2, 3}
)

func seed() []byte {
	s := make([]byte, ed25519.SeedSize)
	for i := range s {
		s[i] = byte(i)
	}
	return s
}

// checkpoint makes and examines one.
func checkpoint(t testing.TB, prev verifier.Hash, tick uint64, budget, price int64) *verifier.Finding {
	t.Helper()
	c := verifier.Checkpoint{Version: verifier.Version4, Budget: budget, PricePerSecond: price, TickNumber: tick,
		WASMHash: wasm, PrevHash: prev, AgentPubKey: public}
	copy(c.Signature[:], ed25519.Sign(key, c.AppendMessage(nil)))
	f := verifier.Examine(c.Append(nil))
	if !f.Authentic() {
		t.Fatal("the checkpoint is not authentic")
	}
	return &f
}

var (
	large = bytes.Repeat([]byte("large"), 1000)

	// ticks are the two after a checkpoint of tick 4, with a record of every kind.
	ticks = []Record{
		{Kind: Account, Tick: 5, Reason: TopUp, Amount: 500, Price: 1000},
		{Kind: ClockNow, Tick: 5, Return: 1_700_000_000_000_000_000},
		{Kind: RandBytes, Tick: 5, Request: Bytes([]byte{4, 0, 0, 0}), Result: Bytes([]byte("rand"))},
		{Kind: LogEmit, Tick: 5, Request: Bytes([]byte("hello"))},
		{Kind: WalletBalance, Tick: 5, Return: 1500},
		{Kind: WalletReceiptCount, Tick: 5},
		{Kind: WalletReceipt, Tick: 5, Return: -1, Request: Bytes(make([]byte, 8))},
		{Kind: NodePrice, Tick: 5, Return: 1000},
		{Kind: HTTPRequest, Tick: 5, Return: 200, Spent: 3, Request: Bytes([]byte("GET")), Result: Bytes(large)},
		{Kind: TickEnd, Tick: 5, Return: 1, Elapsed: 2_000_000, Cost: 2},
		{Kind: WalletPay, Tick: 6, Return: 8, Spent: 250, Request: Bytes([]byte("pay")), Result: Bytes([]byte("receipt!"))},
		{Kind: KVGet, Tick: 6, Return: -5, Request: Bytes([]byte("k"))},
		{Kind: KVPut, Tick: 6, Request: Bytes(large)},
		{Kind: KVDelete, Tick: 6, Return: -5, Request: Bytes([]byte("k"))},
		{Kind: Account, Tick: 6, Reason: Release, Amount: 10, Price: 1000, Effect: verifier.Hash{7}},
		{Kind: Account, Tick: 6, Reason: NewPrice, Price: 2000},
		{Kind: TickEnd, Tick: 6, Elapsed: 1_000_000, Cost: 1},
	}
)

const budget = 1000 + 500 - 3 - 2 - 250 + 10 - 1 // after ticks

// ticks2 are those of version 2, with a record of every kind that can stand among
// others: see TestUpgrade and TestFailedTick for the rest.
var ticks2 = metered([]Record{
	{Kind: Account, Tick: 5, Reason: TopUp, Amount: 500, Price: 1000},
	{Kind: ClockNow, Tick: 5, Return: 1_700_000_000_000_000_000},
	{Kind: Finding, Tick: 5, Request: Bytes([]byte("it happened"))},
	{Kind: RandBytes, Tick: 5, Request: Bytes([]byte{4, 0, 0, 0}), Result: Bytes(make([]byte, 32))},
	{Kind: RandBytes, Tick: 5, Request: Bytes([]byte{4, 0, 0, 0})},
	{Kind: LogEmit, Tick: 5, Request: Bytes(large[:200])},
	{Kind: WalletBalance, Tick: 5, Return: 1500},
	{Kind: WalletReceiptCount, Tick: 5},
	{Kind: WalletReceipt, Tick: 5, Return: -1, Request: Bytes(make([]byte, 8))},
	{Kind: NodePrice, Tick: 5, Return: 1000},
	{Kind: HTTPRequest, Tick: 5, Return: 200, Spent: 3, Waited: 650_000, Request: Bytes([]byte("GET")), Result: Bytes(large)},
	{Kind: NodeID, Tick: 5, Return: -1, Request: Bytes(make([]byte, 4))},
	{Kind: PeerCount, Tick: 5, Return: -1},
	{Kind: PeerOffer, Tick: 5, Return: -1, Request: Bytes(make([]byte, 8))},
	{Kind: Migrate, Tick: 5, Return: -1, Request: Bytes([]byte("did:key:z6Mk"))},
	{Kind: MigrateStatus, Tick: 5, Return: -1},
	{Kind: DrainDeadline, Tick: 5, Return: -1},
	{Kind: TickEnd, Tick: 5, Return: 1, Fuel: 2_000_000, Waited: 650_000},
	{Kind: WalletPay, Tick: 6, Return: 8, Spent: 250, Waited: 50_000, Request: Bytes([]byte("pay")), Result: Bytes([]byte("receipt!"))},
	{Kind: KVGet, Tick: 6, Return: -5, Request: Bytes([]byte("k"))},
	{Kind: KVPut, Tick: 6, Request: Bytes(large)},
	{Kind: KVDelete, Tick: 6, Return: -5, Request: Bytes([]byte("k"))},
	{Kind: Account, Tick: 6, Reason: Release, Amount: 10, Price: 1000, Effect: verifier.Hash{7}},
	{Kind: Account, Tick: 6, Reason: NewPrice, Price: 2000},
	{Kind: TickEnd, Tick: 6, Fuel: 1_500_000, Waited: 50_000},
	{Kind: TickEnd, Tick: 7, Fuel: 1_500_000},
	{Kind: TickEnd, Tick: 8, Fuel: 1_500_000}, // as the one before it
})

// metered has the costs of records that a life with a budget of 1000, at 1000 a second
// and with a rest of 400,000,000, begins with.
func metered(records []Record) []Record {
	at := account.Account{Budget: 1000, Price: 1000, Rest: rest}
	for i := range records {
		charged(&records[i], &at)
	}
	return records
}

// charged charges for a record, and says in it what that cost.
func charged(r *Record, at *account.Account) {
	if r.Kind == TickEnd || r.Kind == TickFailed {
		r.SetMetered(at.Meter(r.Fuel, r.Waited))
	} else if err := r.Apply(at); err != nil {
		panic(err)
	}
}

const rest = 400_000_000

// A form is a version with the records of it.
type form struct {
	version uint8
	ticks   []Record
	last    uint64 // tick
	budget  int64
	took    Metered // to make the checkpoint
}

// forms are those of the two versions.
func forms() []*form {
	at := account.Account{Budget: 1000, Price: 1000, Rest: rest}
	for i := range ticks2 {
		if err := ticks2[i].Apply(&at); err != nil {
			panic(err)
		}
	}
	took := at.Meter(300_000, 0)
	return []*form{
		{version: Version1, ticks: ticks, last: 6, budget: budget},
		{version: Version2, ticks: ticks2, last: 8, budget: at.Budget, took: took},
	}
}

// each runs a test with every version.
func each(t *testing.T, test func(*testing.T, *form)) {
	for _, f := range forms() {
		t.Run(fmt.Sprintf("v%d", f.version), func(t *testing.T) { test(t, f) })
	}
}

func (f *form) header(prev verifier.Hash) Header {
	h := Header{Version: f.version, Prev: prev, WASM: wasm, Manifest: verifier.Hash{9}}
	if f.version != Version1 {
		h.First, h.Schedule, h.Rest = 5, 1, rest
	}
	return h
}

type folders struct{ segments, payloads *waltest.Folder }

func newFolders() folders { return folders{waltest.New(), waltest.New()} }

func (f folders) log() *Log { return New(f.segments, f.payloads) }

// life has both checkpoints and the sealed segment between them.
func (of *form) life(t testing.TB) (f folders, h Header, prev, next *verifier.Finding) {
	t.Helper()
	prev = checkpoint(t, verifier.Hash{}, 4, 1000, 1000)
	h = of.header(prev.ContentHash)
	f = newFolders()
	w := write(t, f, h, 5, of.ticks)
	next = checkpoint(t, prev.ContentHash, of.last, of.budget, 2000)
	if err := sealed(w, next, of.took, key); err != nil {
		t.Fatal(err)
	}
	return f, h, prev, next
}

// seal ends a segment, durably.
func seal(w *Writer, next *verifier.Finding, key ed25519.PrivateKey) error {
	return sealed(w, next, Metered{}, key)
}

func sealed(w *Writer, next *verifier.Finding, took Metered, key ed25519.PrivateKey) error {
	if err := w.Seal(next.ContentHash, took, key); err != nil {
		return err
	}
	return w.log.Sync(w)
}

func write(t testing.TB, f folders, h Header, first uint64, records []Record) *Writer {
	t.Helper()
	w, _, err := f.log().Continue(h, first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if err := w.Append(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// say writes down what a segment says.
func say(r *Reader) (lines []string, err error) {
	if _, err := r.Header(); err != nil {
		return nil, err
	}
	for {
		record, err := r.Next()
		if err != nil {
			return lines, err
		}
		lines = append(lines, line(record))
	}
}

func line(r Record) string {
	r.again = false
	for _, d := range []*Data{&r.Request, &r.Result} {
		if d.size > MaxInline {
			d.inline = nil
		}
	}
	return fmt.Sprintf("%v %+v %x %x", r.Kind, r, r.Request.inline, r.Result.inline)
}

func lines(records []Record) (all []string) {
	for _, r := range records {
		all = append(all, line(r))
	}
	return all
}

func TestSegment(t *testing.T) { each(t, testSegment) }

func testSegment(t *testing.T, of *form) {
	f, _, prev, next := of.life(t)
	s, err := f.log().Segment(5)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := say(s.Reader)
	if err != io.EOF {
		t.Fatal(err)
	}
	if want := lines(of.ticks); !slices.Equal(got, want) {
		t.Errorf("read\n%s\nwritten\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, sealed := s.Seal(); !sealed {
		t.Error("it has no seal")
	}
	totals, err := Verify(bytes.NewReader(f.segments.Get(FileName(5))), prev, next)
	if err != nil {
		t.Fatal(err)
	}
	if of.version == Version2 {
		if totals.Ticks != 4 || totals.Last != 8 || totals.Fuel != 6_800_000 || totals.Waited != 700_000 || totals.Elapsed != 7_500_000 ||
			totals.Added != 510 || totals.Cost != 1510-253-of.budget || totals.Spent != 253 || totals.Rest != of.took.Rest || totals.Header.Rest != rest {
			t.Errorf("totals %+v", totals)
		}
	} else if totals.Ticks != 2 || totals.Last != 6 || totals.Elapsed != 3_000_000 || totals.Added != 510 || totals.Cost != 3 || totals.Spent != 253 || totals.Price != 2000 {
		t.Errorf("totals %+v", totals)
	}
	if _, err := f.log().Segment(9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing segment: %v", err)
	}
}

func TestPayloads(t *testing.T) { each(t, testPayloads) }

func testPayloads(t *testing.T, of *form) {
	f, _, _, _ := of.life(t)
	names, err := f.payloads.Names()
	if err != nil || len(names) != 1 {
		t.Fatalf("%d files for one large payload that occurs twice, %v", len(names), err)
	}
	s, err := f.log().Segment(5)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found := 0
	for {
		r, err := s.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, d := range []Data{r.Request, r.Result} {
			if d.Size() != len(large) {
				continue
			}
			found++
			if b, err := f.log().Content(d); err != nil || !bytes.Equal(b, large) || !d.Is(large) || d.Is(append(large[1:], 'x')) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			for name, content := range map[string][]byte{"changed": append(bytes.Clone(large[1:]), 'x'), "cut": large[1:], "empty": nil} {
				bad := folders{f.segments, waltest.New()}
				bad.payloads.Put(d.hash.String(), content)
				if _, err := bad.log().Content(d); err == nil {
					t.Errorf("a payload that is %s is read", name)
				}
				// A payload that is needed again is written again.
				if err := bad.log().store(Bytes(large)); err != nil || !bytes.Equal(bad.payloads.Get(d.hash.String()), large) {
					t.Errorf("a payload that is %s stays so: %v", name, err)
				}
			}
			if _, err := New(f.segments, waltest.New()).Content(d); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a missing payload: %v", err)
			}
		}
	}
	if found != 2 {
		t.Fatalf("%d large payloads", found)
	}
}

func TestGenesis(t *testing.T) {
	f := newFolders()
	birth := []Record{
		{Kind: Account, Reason: Birth, Amount: 1000, Price: 7},
		{Kind: ClockNow, Return: 1},
		{Kind: TickEnd, Elapsed: 5},
	}
	w := write(t, f, Header{WASM: wasm}, 0, birth)
	genesis := checkpoint(t, verifier.Hash{}, 0, 1000, 7)
	if err := seal(w, genesis, key); err != nil {
		t.Fatal(err)
	}
	totals, err := Verify(bytes.NewReader(f.segments.Get(FileName(0))), nil, genesis)
	if err != nil || totals.Ticks != 0 || totals.Added != 1000 {
		t.Errorf("%+v, %v", totals, err)
	}
}

// TestVerifyRefuses has segments that are well-formed, and not what they should be.
func TestVerifyRefuses(t *testing.T) {
	_, h, prev, next := forms()[0].life(t)
	edit := func(change func([]Record) []Record) func() (folders, Header, []Record) {
		return func() (folders, Header, []Record) { return newFolders(), h, change(slices.Clone(ticks)) }
	}
	other := *next
	other.ContentHash[0] ^= 1
	refused := 0
	refuse := func(name string, b []byte, prev, next *verifier.Finding) {
		t.Helper()
		refused++
		if _, err := Verify(bytes.NewReader(b), prev, next); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, build := range map[string]func() (folders, Header, []Record){
		"a tick is missing at the end": edit(func(r []Record) []Record { return r[:10] }),
		"a record after the last tick": edit(func(r []Record) []Record { return append(r, Record{Kind: ClockNow, Tick: 7}) }),
		"the last tick has no end":     edit(func(r []Record) []Record { return r[:len(r)-1] }),
		"the first tick is missing":    edit(func(r []Record) []Record { return r[10:] }),
		"a cost is lower":              edit(func(r []Record) []Record { r[9].Cost = 1; return r }),
		"a top-up is higher":           edit(func(r []Record) []Record { r[0].Amount++; return r }),
		"more is spent than there is":  edit(func(r []Record) []Record { r[9].Cost = 1 << 60; return r }),
		"another price":                edit(func(r []Record) []Record { r[15].Price++; return r }),
		"a second birth":               edit(func(r []Record) []Record { r[0].Reason = Birth; return r }),
		"another program":              func() (folders, Header, []Record) { h := h; h.WASM[0]++; return newFolders(), h, ticks },
		"another checkpoint before":    func() (folders, Header, []Record) { h := h; h.Prev[0]++; return newFolders(), h, ticks },
		"nothing happened":             func() (folders, Header, []Record) { return newFolders(), h, nil },
	} {
		f, header, records := build()
		w := write(t, f, header, 5, records)
		if err := seal(w, next, key); err != nil {
			t.Fatal(err)
		}
		refuse(name, f.segments.Get(FileName(5)), prev, next)
	}
	f := newFolders()
	w := write(t, f, h, 5, ticks)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	refuse("an open segment", f.segments.Get(FileName(5)), prev, next)
	if err := seal(w, &other, key); err != nil {
		t.Fatal(err)
	}
	refuse("sealed for another checkpoint", f.segments.Get(FileName(5)), prev, next)
	f = newFolders()
	s := seed()
	s[0]++
	if err := seal(write(t, f, h, 5, ticks), next, ed25519.NewKeyFromSeed(s)); err != nil {
		t.Fatal(err)
	}
	refuse("sealed by another key", f.segments.Get(FileName(5)), prev, next)
	f, _, _, _ = forms()[0].life(t)
	good := f.segments.Get(FileName(5))
	refuse("no checkpoint before", good, nil, next)
	refuse("the checkpoints in the other order", good, next, prev)
	refuse("a checkpoint that is not authentic", good, prev, &verifier.Finding{})
	refuse("nothing", nil, prev, next)
	if refused < 19 {
		t.Fatalf("only %d cases", refused)
	}
}

func TestAppendRefuses(t *testing.T) {
	f := newFolders()
	w := write(t, f, Header{}, 5, ticks[:10])
	before := w.Size()
	for name, r := range map[string]Record{
		"an earlier tick":             {Kind: ClockNow, Tick: 4},
		"the same tick after its end": {Kind: ClockNow, Tick: 5},
		"a tick too far":              {Kind: ClockNow, Tick: 7},
		"an unknown kind":             {Kind: 77, Tick: 6},
		"a kind of version 2":         {Kind: NodeID, Tick: 6},
		"a failure in version 1":      {Kind: TickFailed, Tick: 6, Failure: Trap, Call: Tick},
		"fuel in version 1":           {Kind: TickEnd, Tick: 6, Fuel: 1},
		"a header":                    {Kind: header, Tick: 6},
		"a footer":                    {Kind: footer, Tick: 6},
		"a negative cost":             {Kind: TickEnd, Tick: 6, Cost: -1},
		"a negative spending":         {Kind: WalletPay, Tick: 6, Spent: -1},
		"a negative amount":           {Kind: Account, Tick: 6, Reason: TopUp, Amount: -1},
		"a negative price":            {Kind: Account, Tick: 6, Reason: NewPrice, Price: -1},
		"no reason":                   {Kind: Account, Tick: 6},
		"an unknown reason":           {Kind: Account, Tick: 6, Reason: 5},
		"a release of nothing":        {Kind: Account, Tick: 6, Reason: Release, Amount: 1},
		"a top-up of an effect":       {Kind: Account, Tick: 6, Reason: TopUp, Effect: verifier.Hash{1}},
		"an overflow":                 {Kind: Account, Tick: 6, Reason: TopUp, Amount: math.MaxInt64},
		"a payload over the limit":    {Kind: KVPut, Tick: 6, Request: Bytes(make([]byte, MaxPayload+1))},
	} {
		if err := w.Append(&r); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if w.Size() != before {
		t.Error("what was refused is written")
	}
	if err := w.Append(&Record{Kind: ClockNow, Tick: 6}); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// ends returns where each record of a segment ends, the header first.
func ends(t *testing.T, b []byte) (at []int) {
	t.Helper()
	s := wal.NewScanner(bytes.NewReader(b), maxRecord)
	for {
		if _, err := s.Next(); err == io.EOF {
			return at
		} else if err != nil {
			t.Fatal(err)
		}
		at = append(at, int(s.Offset()))
	}
}

// recover has a segment found after a crash, and returns what counts of it.
func recovered(t *testing.T, f folders, h Header) ([]string, Recovery, error) {
	t.Helper()
	w, r, err := f.log().Continue(h, 5)
	if err != nil {
		return nil, r, err
	}
	s, err := f.log().Segment(5)
	if err != nil {
		t.Fatal(err)
	}
	got, err := say(s.Reader)
	if err != io.EOF {
		t.Fatalf("what was recovered is not whole: %v", err)
	}
	if seal, _ := s.Seal(); seal.Next != r.Sealed {
		t.Fatalf("what was recovered is sealed for %s, not for %s", seal.Next, r.Sealed)
	}
	if w.Totals() != s.Totals() {
		t.Fatalf("totals %+v, read %+v", w.Totals(), s.Totals())
	}
	return got, r, nil
}

func TestEveryTruncation(t *testing.T) { each(t, testEveryTruncation) }

func testEveryTruncation(t *testing.T, of *form) {
	f, h, prev, next := of.life(t)
	b := f.segments.Get(FileName(5))
	at := ends(t, b)
	want := lines(of.ticks)
	for cut := range len(b) {
		if _, err := Verify(bytes.NewReader(b[:cut]), prev, next); err == nil {
			t.Fatalf("cut at %d it verifies", cut)
		}
		torn := folders{waltest.New(), f.payloads}
		torn.segments.Put(FileName(5), b[:cut])
		got, r, err := recovered(t, torn, h)
		if cut < at[0] {
			// The header never became durable, nor anything after it.
			if err != nil || r.Damage != "" || len(got) > 0 || !bytes.Equal(torn.segments.Get(FileName(5)), b[:at[0]]) {
				t.Fatalf("cut at %d, in the header, it does not begin anew: %d records, %+v, %v", cut, len(got), r, err)
			}
			continue
		}
		n := 0
		for n < len(of.ticks) && at[n+1] <= cut {
			n++
		}
		if err != nil || r.Damage != "" || !slices.Equal(got, want[:n]) {
			t.Fatalf("cut at %d: %d records, want %d, %+v, %v", cut, len(got), n, r, err)
		}
	}
}

// TestFirstSector has a segment whose first sector a loss of power left out: nothing of
// it was ever durable, and it begins anew.
func TestFirstSector(t *testing.T) { each(t, testFirstSector) }

func testFirstSector(t *testing.T, of *form) {
	f, h, _, _ := of.life(t)
	b := f.segments.Get(FileName(5))
	if len(b) < 2*wal.Sector {
		t.Fatalf("a segment of %d bytes", len(b))
	}
	begun := b[:ends(t, b)[0]]
	lost := bytes.Clone(b)
	clear(lost[:wal.Sector])
	for end := 0; end <= len(lost); end += wal.Sector / 2 {
		f := folders{waltest.New(), f.payloads}
		f.segments.Put(FileName(5), lost[:end])
		got, r, err := recovered(t, f, h)
		if err != nil || len(got) > 0 || !bytes.Equal(f.segments.Get(FileName(5)), begun) || r.Damage != "" && !bytes.Equal(f.segments.Get(r.Aside), lost[:end]) {
			t.Fatalf("%d bytes: %d records, %+v, %v", end, len(got), r, err)
		}
		if damaged := end > wal.Sector; damaged != (r.Damage != "") {
			t.Errorf("%d bytes: damage %q", end, r.Damage)
		}
	}
}

func TestEveryFlip(t *testing.T) { each(t, testEveryFlip) }

func testEveryFlip(t *testing.T, of *form) {
	f, h, prev, next := of.life(t)
	b := f.segments.Get(FileName(5))
	at := ends(t, b)
	want := lines(of.ticks)
	for bit := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(bytes.NewReader(bad), prev, next); err == nil {
			t.Fatalf("with bit %d flipped it verifies", bit)
		}
		damaged := folders{waltest.New(), f.payloads}
		damaged.segments.Put(FileName(5), bad)
		got, r, err := recovered(t, damaged, h)
		if bit/8 < at[0] {
			if err == nil || !bytes.Equal(damaged.segments.Get(FileName(5)), bad) {
				t.Fatalf("with bit %d of the header flipped it is continued", bit)
			}
			continue
		}
		n := 0
		for n < len(of.ticks) && at[n+1] <= bit/8 {
			n++
		}
		if err != nil || r.Damage == "" || !slices.Equal(got, want[:n]) {
			t.Fatalf("bit %d: %d records, want %d, %+v, %v", bit, len(got), n, r, err)
		}
		if !bytes.Equal(damaged.segments.Get(r.Aside), bad) {
			t.Fatalf("bit %d: what was damaged is not kept", bit)
		}
	}
}

// TestGoOn has a life go on after every crash, and its segment verify.
func TestGoOn(t *testing.T) { each(t, testGoOn) }

func testGoOn(t *testing.T, of *form) {
	f, h, prev, next := of.life(t)
	want := f.segments.Get(FileName(5))
	for _, cut := range ends(t, want) {
		for _, more := range []int{0, 1, 11} {
			crashed := folders{waltest.New(), waltest.New()}
			crashed.segments.Put(FileName(5), want[:min(cut+more, len(want))])
			w, _, err := crashed.log().Continue(h, 5)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range of.ticks[w.Totals().Records:] {
				if err := w.Append(&r); err != nil {
					t.Fatal(err)
				}
			}
			if err := sealed(w, next, of.took, key); err != nil {
				t.Fatal(err)
			}
			if w.Append(&Record{Kind: ClockNow, Tick: of.last + 1}) == nil || w.Flush() == nil || w.Sync() == nil || w.Seal(next.ContentHash, of.took, key) == nil {
				t.Fatal("a sealed segment takes more")
			}
			if got := crashed.segments.Get(FileName(5)); !bytes.Equal(got, want) {
				t.Fatalf("after a crash at %d+%d the segment is another", cut, more)
			}
		}
	}
	if _, err := Verify(bytes.NewReader(want), prev, next); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the process may end before it seals it again
		sealed, r, err := f.log().Continue(h, 5)
		if err != nil || r.Sealed != next.ContentHash || !bytes.Equal(f.segments.Get(FileName(5)), want) {
			t.Errorf("it was sealed for %s: %v", r.Sealed, err)
		}
		if err := sealed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if w, _, err := f.log().Continue(h, 5); err != nil || w.Append(&Record{Kind: ClockNow, Tick: of.last + 1}) == nil || w.Seal(next.ContentHash, of.took, key) == nil {
		t.Error("a segment that was sealed takes more")
	}
	h.Manifest[0]++
	if _, _, err := f.log().Continue(h, 5); err == nil {
		t.Error("a segment with another manifest is continued")
	}
}

// TestFaults has every step on the disk fail, and the process killed or the power
// lost then. What was synced is there afterwards, and nothing that is wrong.
func TestFaults(t *testing.T) { each(t, testFaults) }

func testFaults(t *testing.T, of *form) {
	_, h, _, next := of.life(t)
	want := lines(of.ticks)
	n := waltest.EachFault(func(d *waltest.Folder) (synced int) {
		w, _, err := New(d, d).Continue(h, 5)
		if err != nil {
			return 0
		}
		for i := range of.ticks {
			if w.Append(&of.ticks[i]) != nil || w.Sync() != nil {
				if w.Append(&of.ticks[i]) == nil || w.Seal(next.ContentHash, of.took, key) == nil {
					t.Error("it goes on after an error")
				}
				return i
			}
		}
		sealed(w, next, of.took, key)
		return len(of.ticks)
	}, func(when string, synced int, found *waltest.Folder) {
		if found.Get(FileName(5)) == nil && synced == 0 {
			return
		}
		got, r, err := recovered(t, folders{found, found}, h)
		if err != nil || r.Damage != "" {
			t.Errorf("%s: %+v, %v", when, r, err)
			return
		}
		if len(got) < synced || len(got) > synced+1 || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s: %d records of %d that were synced", when, len(got), synced)
		}
		for _, r := range of.ticks[:len(got)] {
			for _, d := range []Data{r.Request, r.Result} {
				if b, err := New(found, found).Content(Data{size: d.size, hash: d.hash}); d.size > MaxInline && (err != nil || !bytes.Equal(b, large)) {
					t.Errorf("%s: a payload: %v", when, err)
				}
			}
		}
	})
	if n < 200 {
		t.Fatalf("only %d folders were checked", n)
	}
}

// TestMemory reads a segment of many records: memory must not grow with it.
func TestMemory(t *testing.T) {
	f := newFolders()
	w := write(t, f, Header{}, 1, nil)
	for i := range 20_000 {
		if err := w.Append(&Record{Kind: ClockNow, Tick: 1, Return: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := f.segments.Get(FileName(1))
	if allocations := testing.AllocsPerRun(1, func() {
		if got := drain(NewReader(bytes.NewReader(b))); got != 20_000 {
			t.Errorf("%d records", got)
		}
	}); allocations > 100 {
		t.Errorf("%v allocations for 20000 records", allocations)
	}
}

func drain(r *Reader) (n int) {
	for {
		if _, err := r.Next(); err != nil {
			return n
		}
		n++
	}
}

// example is the segment of docs/spec/eventlog.md: the checkpoints are those of
// checkpoint.md and lineage.md.
func example(t *testing.T, version uint8) (f folders, prev, next *verifier.Finding) {
	t.Helper()
	a, b := verifier.Examine(testkit.SpecBytes(t, "../../../docs/spec", "checkpoint.md", "hex genesis")), verifier.Examine(testkit.SpecBytes(t, "../../../docs/spec", "lineage.md", "hex successor"))
	records := []Record{{Kind: ClockNow, Tick: 5, Return: 1_700_000_000_000_000_000}}
	for tick := uint64(5); tick <= 9; tick++ {
		end := Record{Kind: TickEnd, Tick: tick, Elapsed: 1_000_000, Cost: 1}
		if version != Version1 {
			end = Record{Kind: TickEnd, Tick: tick, Fuel: 1_000_000, Cost: 1}
		}
		records = append(records, end)
	}
	h, took := Header{Version: version, Prev: a.ContentHash, WASM: a.WASMHash, Manifest: sha256.Sum256([]byte("{}"))}, Metered{}
	if version != Version1 {
		h.Schedule, took = 1, Metered{Fuel: 20_000, Rest: 20_000_000}
	}
	f = newFolders()
	w := write(t, f, h, 5, records)
	if err := sealed(w, &b, took, key); err != nil {
		t.Fatal(err)
	}
	return f, &a, &b
}

// TestSpecExample holds the page to what the code does.
func TestSpecExample(t *testing.T) {
	for version, block := range map[uint8]string{Version1: "hex segment 1", Version2: "hex segment"} {
		f, prev, next := example(t, version)
		got := f.segments.Get(FileName(5))
		want := testkit.SpecBytes(t, "../../../docs/spec", "eventlog.md", block)
		if !bytes.Equal(got, want) {
			t.Errorf("the example of version %d is\n%x\neventlog.md has\n%x", version, got, want)
		}
		if _, err := Verify(bytes.NewReader(want), prev, next); err != nil {
			t.Error(err)
		}
		origin := Record{Kind: Origin, Tick: prev.TickNumber, Agent: prev.AgentPubKey, Checkpoint: prev.ContentHash}
		got = wal.AppendRecord(nil, origin.append(nil, version))
		block = strings.Replace(block, "segment", "origin", 1)
		if want := testkit.SpecBytes(t, "../../../docs/spec", "eventlog.md", block); !bytes.Equal(got, want) {
			t.Errorf("the origin of version %d is\n%x\neventlog.md has\n%x", version, got, want)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, of := range forms() {
		folders, _, _, _ := of.life(f)
		b := folders.segments.Get(FileName(5))
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		h, err := r.Header()
		if err != nil {
			return
		}
		again := wal.AppendRecord(nil, h.append(nil))
		for {
			record, err := r.Next()
			if err != nil {
				if !Bad(err) && err != io.EOF {
					t.Errorf("bytes in memory that cannot be read: %v", err)
				}
				break
			}
			again = wal.AppendRecord(again, record.append(nil, h.Version))
		}
		if seal, ok := r.Seal(); ok {
			again = wal.AppendRecord(again, seal.append(nil, h.Version))
			if len(again) != len(b) {
				t.Error("something comes after the seal")
			}
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("%x was read as %x", b, again)
		}
	})
}

// FuzzRecord has the bytes of one record of version 1, with right checksums.
func FuzzRecord(f *testing.F) { fuzzRecord(f, forms()[0]) }

// FuzzRecord2 has those of version 2.
func FuzzRecord2(f *testing.F) {
	for _, r := range []Record{{Kind: TickEnd, again: true}, {Kind: TickFailed, Failure: Trap, Call: Tick, Fuel: 1e9, Cost: 1000}, {Kind: Upgrade, WASM: wasm, Manifest: wasm}} {
		f.Add(r.append(nil, Version2))
	}
	fuzzRecord(f, forms()[1])
}

func fuzzRecord(f *testing.F, of *form) {
	for _, r := range append(slices.Clone(of.ticks), Record{Kind: Origin, Tick: 4, Agent: public, Checkpoint: wasm}) {
		f.Add(r.append(nil, of.version))
	}
	h := of.header(verifier.Hash{1})
	f.Add(h.append(nil))
	f.Add((&Seal{}).append(nil, of.version))
	f.Add((&Seal{Metered: Metered{Stored: 7, StoredPrice: 9}}).append(nil, Version2))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		if r, err := parse(b, of.version); err == nil {
			again = r.append(nil, of.version)
		} else if h, err := parseHeader(b); err == nil {
			again = h.append(nil)
		} else if s, err := parseSeal(b, of.version); err == nil && Kind(b[0]) >= footerStored {
			again = s.append(nil, of.version)
		} else {
			return
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x is written %x", b, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name   string
		record Record
	}{
		{"clock_now", Record{Kind: ClockNow, Tick: 1}},
		{"rand_bytes-32", Record{Kind: RandBytes, Tick: 1, Request: Bytes(make([]byte, 4)), Result: Bytes(make([]byte, 32))}},
		{"log_emit-100", Record{Kind: LogEmit, Tick: 1, Request: Bytes(make([]byte, 100))}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			root, err := os.OpenRoot(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer root.Close()
			folder := wal.Dir(root)
			w, _, err := New(folder, folder).Continue(Header{}, 1)
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			start := w.Size()
			for b.Loop() {
				if err := w.Append(&bench.record); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(w.Size()-start)/float64(b.N), "B/record")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	f := newFolders()
	w := write(b, f, Header{}, 1, nil)
	const n = 10_000
	for i := range n {
		if err := w.Append(&Record{Kind: ClockNow, Tick: 1, Return: int64(i)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	segment := f.segments.Get(FileName(1))
	for b.Loop() {
		drain(NewReader(bytes.NewReader(segment)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}

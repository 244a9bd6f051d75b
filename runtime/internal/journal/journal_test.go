package journal

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/runtime/internal/wal"
	"igor.dev/runtime/internal/wal/waltest"
	"igor.dev/verifier"
)

var (
	life    = Life{Agent: exampleKey(), Genesis: verifier.Hash{0: 0x0e, 31: 0x0d}}
	genesis = Base{Tick: 0, Hash: life.Genesis}
)

func exampleKey() (k verifier.PublicKey) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	copy(k[:], ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	return k
}

func create(t *testing.T) (*waltest.Folder, *Journal) {
	t.Helper()
	d := waltest.New()
	if err := Create(d, life, genesis); err != nil {
		t.Fatal(err)
	}
	return d, reopen(t, d, 0)
}

func reopen(t *testing.T, d wal.Folder, newest uint64) *Journal {
	t.Helper()
	j, err := Open(d, life, newest)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// step is one operation of a script, which gives the same journal every time.
type step func(*Journal) error

func begin(tick uint64, ordinal uint32, held int64, request string) step {
	return func(j *Journal) error {
		_, err := j.Begin(Begin{Tick: tick, Ordinal: ordinal, Kind: Payment, Epoch: Epoch{1, 2}, Held: held, Request: []byte(request)})
		return err
	}
}

func end(tick uint64, ordinal uint32, spent int64, result string) step {
	return func(j *Journal) error {
		return j.End(EffectID(life.Agent, life.Genesis, tick, ordinal), spent, []byte(result))
	}
}

func resolve(tick uint64, ordinal uint32, o Outcome, newest uint64) step {
	return func(j *Journal) error {
		return j.Resolve(EffectID(life.Agent, life.Genesis, tick, ordinal), o, newest, "asked the bank")
	}
}

func compact(tick uint64) step {
	return func(j *Journal) error { return j.Compact(Base{tick, verifier.Hash{1, byte(tick)}}, nil) }
}

func failed(tick uint64, ordinal uint32) step {
	return func(j *Journal) error { return j.NoteFailed(EffectID(life.Agent, life.Genesis, tick, ordinal)) }
}

func told(tick uint64, ordinal uint32, in uint64) step {
	return func(j *Journal) error { return j.NoteTold(EffectID(life.Agent, life.Genesis, tick, ordinal), in) }
}

var script = []step{
	begin(1, 0, 100, "pay 100"), end(1, 0, 90, "paid"),
	begin(1, 1, 5, strings.Repeat("r", 700)),
	begin(2, 0, 7, ""), end(2, 0, 0, ""),
	begin(3, 0, 1000, "three"), resolve(3, 0, Confirmed, 2),
	begin(3, 1, 2000, "four"), resolve(3, 1, Compensated, 3),
	begin(4, 0, 1, "five"),
	failed(1, 1), told(3, 1, 5), told(4, 0, 6),
}

// say writes down everything that a journal knows.
func say(t *testing.T, j *Journal) string {
	t.Helper()
	var b strings.Builder
	for _, e := range j.Effects() {
		request, err := j.Request(e.ID)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d.%d %v kind %d epoch %v held %d state %d spent %d at %d %q request %q", e.Tick, e.Ordinal, e.ID, e.Kind, e.Epoch, e.Held, e.State, e.Spent, e.ResolvedAt, e.Note, request)
		fmt.Fprintf(&b, " failed %t heard %+v", e.TickFailed(), e.Heard())
		if e.State == Ended {
			result, err := j.Result(e.ID)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " result %q", result)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "unresolved %d held %d\n", len(j.Unresolved()), j.Held())
	return b.String()
}

// run carries out the script and returns what the journal knew after each step.
func run(t *testing.T, j *Journal, script []step) (states []string) {
	t.Helper()
	states = []string{say(t, j)}
	for i, s := range script {
		if err := s(j); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		states = append(states, say(t, j))
	}
	return states
}

func TestJournal(t *testing.T) {
	d, j := create(t)
	states := run(t, j, script)
	want := states[len(states)-1]
	if !strings.HasSuffix(want, "unresolved 2 held 6\n") {
		t.Errorf("the journal knows\n%s", want)
	}
	again := reopen(t, d, 4)
	if got := say(t, again); got != want {
		t.Errorf("opened again it knows\n%s\nit knew\n%s", got, want)
	}
	if again.head != j.head {
		t.Error("opened again it has another head")
	}
}

func TestErrors(t *testing.T) {
	_, j := create(t)
	run(t, j, script)
	before := say(t, j)
	for name, s := range map[string]step{
		"begun twice":           begin(1, 0, 1, ""),
		"tick 0":                begin(0, 0, 1, ""),
		"negative hold":         begin(5, 0, -1, ""),
		"too much held":         begin(5, 0, math.MaxInt64, ""),
		"long request":          begin(5, 0, 1, strings.Repeat("x", MaxRequest+1)),
		"end without begin":     end(5, 0, 0, ""),
		"end twice":             end(1, 0, 0, ""),
		"end after resolve":     end(3, 0, 0, ""),
		"more spent than held":  end(4, 0, 2, ""),
		"negative spent":        end(4, 0, -1, ""),
		"long result":           end(4, 0, 0, strings.Repeat("x", MaxResult+1)),
		"resolve after end":     resolve(1, 0, Confirmed, 1),
		"resolve twice":         resolve(3, 0, Confirmed, 1),
		"resolve without begin": resolve(9, 0, Confirmed, 1),
		"unknown outcome":       resolve(4, 0, 3, 1),
		"failed without begin":  failed(9, 0),
		"told without begin":    told(9, 0, 10),
		"told before it began":  told(4, 0, 4),
		"unknown kind": func(j *Journal) error {
			_, err := j.Begin(Begin{Tick: 5, Kind: 1})
			return err
		},
		"long note": func(j *Journal) error {
			return j.Resolve(EffectID(life.Agent, life.Genesis, 4, 0), Confirmed, 1, strings.Repeat("x", MaxNote+1))
		},
	} {
		if err := s(j); err == nil {
			t.Errorf("%s is taken", name)
		}
		if say(t, j) != before {
			t.Errorf("%s changes the journal", name)
		}
	}
	if _, err := j.Result(EffectID(life.Agent, life.Genesis, 4, 0)); err == nil {
		t.Error("an effect that has not ended has a result")
	}
	if _, err := j.Request(ID{}); err == nil {
		t.Error("an effect that has not begun has a request")
	}
}

func TestCompact(t *testing.T) {
	d, j := create(t)
	run(t, j, script)
	// At tick 3: what ended by then goes, and what was resolved before it.
	if err := compact(3)(j); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range j.Effects() {
		left = append(left, fmt.Sprintf("%d.%d", e.Tick, e.Ordinal))
	}
	if want := []string{"1.1", "3.1", "4.0"}; !slices.Equal(left, want) {
		t.Errorf("%v is left, want %v", left, want)
	}
	if j.Base().Tick != 3 || j.Held() != 6 {
		t.Errorf("base %v, held %d", j.Base(), j.Held())
	}
	if err := begin(5, 0, 3, "after")(j); err != nil {
		t.Fatal(err)
	}
	want := say(t, j)
	if got := say(t, reopen(t, d, 3)); got != want {
		t.Errorf("opened again:\n%s\nwant\n%s", got, want)
	}
	if _, err := Open(d, life, 2); err == nil {
		t.Error("a history that ends before the journal begins is taken")
	}
	if err := begin(3, 9, 1, "")(j); err == nil {
		t.Error("an effect of a tick whose effects are forgotten begins")
	}
	if err := compact(2)(j); err == nil {
		t.Error("the base goes back")
	}
	size := len(d.Get(Name))
	if err := compact(3)(j); err != nil || len(d.Get(Name)) != size {
		t.Errorf("with nothing to drop: %v", err)
	}

	// What a compensated effect held has to be back in the base, whenever that is.
	id := EffectID(life.Agent, life.Genesis, 3, 1)
	knows := func() bool { _, ok := j.Effect(id); return ok }
	for _, tick := range []uint64{5, 6, 7} {
		if err := compact(tick)(j); err != nil || !knows() {
			t.Errorf("base %d: %v", tick, err)
		}
		if tick == 5 {
			j.Released(id, 8)
		}
	}
	if err := compact(8)(j); err != nil || knows() {
		t.Errorf("it is known after what it held went back: %v", err)
	}
}

// TestCompactKeepsHearing checks that what was told stays before what an operator found out
// later.
func TestCompactKeepsHearing(t *testing.T) {
	d, j := create(t)
	run(t, j, []step{begin(1, 0, 1, "one"), end(1, 0, 1, ""), begin(2, 0, 1, "two"), failed(2, 0), told(2, 0, 3), resolve(2, 0, Confirmed, 4),
		begin(4, 0, 1, "four"), resolve(4, 0, Confirmed, 4), failed(4, 0), told(4, 0, 5)})
	j.Untold(EffectID(life.Agent, life.Genesis, 2, 0))
	before := say(t, j)
	if err := compact(4)(j); err != nil {
		t.Fatal(err)
	}
	if after := say(t, j); len(j.Effects()) != 2 || !strings.Contains(before, after[:strings.Index(after, "unresolved")]) {
		t.Errorf("before it was\n%s\nit is\n%s", before, after)
	}
	j = reopen(t, d, 5)
	for tick, want := range map[uint64]Hearing{2: {3, false}, 4: {5, true}} {
		if e, ok := j.Effect(EffectID(life.Agent, life.Genesis, tick, 0)); !ok || !e.TickFailed() || e.Heard() != want {
			t.Errorf("of tick %d it knows %+v", tick, e)
		}
	}
}

func TestCreate(t *testing.T) {
	d := waltest.New()
	if err := Create(d, Life{Agent: life.Agent}, Base{}); err == nil {
		t.Error("a journal without a genesis")
	}
	if _, err := Open(d, life, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no journal: %v", err)
	}
	other := Life{Agent: life.Agent, Genesis: verifier.Hash{9}}
	if err := Create(d, other, Base{Hash: other.Genesis}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d, life, 0); err == nil {
		t.Error("the journal of another life is opened")
	}
	// The other genesis never became durable.
	if err := Create(d, life, genesis); err != nil {
		t.Fatal(err)
	}
	if err := begin(1, 0, 1, "")(reopen(t, d, 0)); err != nil {
		t.Fatal(err)
	}
	if err := Create(d, other, Base{Hash: other.Genesis}); err == nil {
		t.Error("a journal with an effect in it is replaced")
	}
	reopen(t, d, 0)
}

type conflicting struct{}

func (conflicting) Append(verifier.Hash, []byte) error { return ErrConflict }

// TestConflict has a second writer win: nothing may be carried out any more.
func TestConflict(t *testing.T) {
	_, j := create(t)
	file := j.log
	j.log = conflicting{}
	if err := begin(1, 0, 1, "")(j); !errors.Is(err, ErrConflict) {
		t.Errorf("%v", err)
	}
	j.log = file
	if err := begin(1, 0, 1, "")(j); err == nil {
		t.Error("it goes on after a conflict")
	}
	if err := file.Append(verifier.Hash{1}, nil); err != ErrConflict {
		t.Errorf("another head: %v", err)
	}
	if len(j.Effects()) != 0 {
		t.Error("an effect that was not written is known")
	}
}

// whole has a finished script's file, where each record ends, and what was known there.
func whole(t *testing.T) (b []byte, ends []int, states []string) {
	t.Helper()
	d, j := create(t)
	ends = []int{len(d.Get(Name))}
	states = []string{say(t, j)}
	for i, s := range script {
		if err := s(j); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		ends = append(ends, len(d.Get(Name)))
		states = append(states, say(t, j))
	}
	return d.Get(Name), ends, states
}

func TestEveryTruncation(t *testing.T) {
	b, ends, states := whole(t)
	for at := range len(b) + 1 {
		d := waltest.New()
		d.Put(Name, b[:at])
		j, err := Open(d, life, 4)
		if at < ends[0] {
			if _, ok := errors.AsType[*DamageError](err); !ok {
				t.Fatalf("cut at %d: %v", at, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		n := 0
		for n+1 < len(ends) && ends[n+1] <= at {
			n++
		}
		if got := say(t, j); got != states[n] {
			t.Fatalf("cut at %d it knows\n%s\nwant\n%s", at, got, states[n])
		}
		// What is appended next is not lost behind the torn record.
		if err := begin(7, 0, 1, "next")(j); err != nil {
			t.Fatal(err)
		}
		if want := say(t, j); say(t, reopen(t, d, 4)) != want {
			t.Fatalf("cut at %d, what was appended then is lost", at)
		}
	}
}

// TestEverySector has a last record of several sectors, of which a loss of power left
// some: it was never acknowledged. With a record after it, it was.
func TestEverySector(t *testing.T) {
	d, j := create(t)
	before := d.Get(Name)
	want := say(t, j)
	run(t, j, []step{begin(1, 0, 5, strings.Repeat("r", 1500))})
	last := d.Get(Name)
	run(t, j, []step{end(1, 0, 5, "paid")})
	after := d.Get(Name)
	sectors := (len(last)-1)/wal.Sector + 1
	for choice := range 1<<sectors - 1 {
		lose := func(b []byte) *waltest.Folder {
			b = bytes.Clone(b)
			for i := range sectors {
				if from := max(len(before), i*wal.Sector); choice>>i&1 == 0 {
					clear(b[from:min(len(last), (i+1)*wal.Sector)])
				}
			}
			d := waltest.New()
			d.Put(Name, b)
			return d
		}
		d := lose(last)
		got := say(t, reopen(t, d, 0))
		if got != want || !bytes.Equal(d.Get(Name), before) {
			t.Fatalf("sectors %b: it has %s, want %s", choice, got, want)
		}
		if _, err := Repair(lose(last), life, genesis, true); err == nil {
			t.Errorf("sectors %b: there is something to repair", choice)
		}
		if _, err := Open(lose(after), life, 0); !errors.As(err, new(*DamageError)) {
			t.Fatalf("sectors %b, and a record after them: %v", choice, err)
		}
	}
}

func TestEveryFlip(t *testing.T) {
	b, _, _ := whole(t)
	for bit := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		d := waltest.New()
		d.Put(Name, bad)
		_, err := Open(d, life, 4)
		if _, ok := errors.AsType[*DamageError](err); !ok {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if !bytes.Equal(d.Get(Name), bad) {
			t.Fatalf("bit %d: the file is changed", bit)
		}
	}
}

func TestRepair(t *testing.T) {
	b, ends, states := whole(t)
	d := waltest.New()
	repair := func(b []byte) (*Repaired, string) {
		t.Helper()
		d.Put(Name, b)
		dry, err := Repair(d, life, Base{9, verifier.Hash{9}}, true)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Get(Name), b) || dry.Aside != "" {
			t.Error("a dry repair changes something")
		}
		r, err := Repair(d, life, Base{9, verifier.Hash{9}}, false)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.Get(r.Aside), b) {
			t.Error("what was set aside is not the damaged journal")
		}
		if fmt.Sprint(dry.Lost, len(dry.Effects)) != fmt.Sprint(r.Lost, len(r.Effects)) {
			t.Errorf("a dry repair finds %v, and a repair %v", dry, r)
		}
		j := reopen(t, d, 9)
		if got, want := fmt.Sprint(r.Effects), fmt.Sprint(j.Effects()); len(r.Effects) != j.Len() {
			t.Errorf("it says that it has %s, and has %s", got, want)
		}
		return r, say(t, j)
	}
	d.Put(Name, b)
	if _, err := Repair(d, life, Base{9, verifier.Hash{9}}, false); err == nil {
		t.Error("a journal that is whole is repaired")
	}
	none := waltest.New()
	if r, err := Repair(none, life, Base{9, verifier.Hash{9}}, true); err != nil || len(r.Lost) != 1 || none.Get(Name) != nil {
		t.Errorf("a dry repair of a journal that is missing: %+v, %v", r, err)
	}
	if r, err := Repair(none, life, Base{9, verifier.Hash{9}}, false); err != nil || len(r.Lost) != 1 || len(r.Effects) != 0 {
		t.Errorf("a journal that is missing: %+v, %v", r, err)
	}
	if j := reopen(t, none, 9); j.Len() != 0 || j.Base().Tick != 9 {
		t.Errorf("the journal in its place has %d effects, from tick %d on", j.Len(), j.Base().Tick)
	}
	d.Put(Name, append(slices.Clone(b[:ends[0]+40]), b[ends[0]+41:]...))
	if _, err := Repair(d, Life{life.Agent, verifier.Hash{1}}, Base{9, verifier.Hash{9}}, false); err == nil {
		t.Error("another life's journal is repaired")
	}

	// Of every byte that is bumped, at most one record is lost and what follows from
	// it, unless it is of a length: then all that comes after it.
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1
		record, _ := slices.BinarySearch(ends, i+1) // 0 is the header
		start := 0
		if record > 0 {
			start = ends[record-1]
		}
		r, now := repair(bad)
		switch length := i-start < 8; {
		case record == 0:
			if now != states[len(states)-1] || len(r.Lost) != 1 {
				t.Fatalf("byte %d, in the header: %v lost, it knows\n%s", i, r.Lost, now)
			}
		case length:
			if now != states[record-1] || len(r.Lost) != 1 || r.Lost[0].Offset != int64(start) || r.Lost[0].Offset+r.Lost[0].Size != int64(len(b)) {
				t.Fatalf("byte %d, in the length of record %d: %v lost, it knows\n%s", i, record, r.Lost, now)
			}
		default:
			end := int64(ends[record])
			if l := r.Lost[0]; l.Offset != int64(start) || l.Offset+l.Size != end || len(r.Lost) > 3 {
				t.Fatalf("byte %d, in record %d: %v lost", i, record, r.Lost)
			}
			for _, l := range r.Lost[1:] {
				if !strings.Contains(l.What, "has not begun") {
					t.Fatalf("byte %d, in record %d: %v lost", i, record, r.Lost)
				}
			}
		}
	}
}

// TestRepairForged has a request that looks like records. Where the length of the
// record around it is damaged, they stay a request.
func TestRepairForged(t *testing.T) {
	id := EffectID(life.Agent, life.Genesis, 1, 0)
	forged := wal.AppendRecord(nil, appendEnd(nil, id, 0, nil))
	d, j := create(t)
	run(t, j, []step{begin(1, 0, 100, "pay"), begin(1, 1, 5, string(bytes.Repeat(forged, 3)))})
	b := d.Get(Name)
	b[bytes.Index(b, forged)-beginFixed-5] ^= 1 // in the length of the second
	d.Put(Name, b)
	r, err := Repair(d, life, genesis, false)
	if err != nil {
		t.Fatal(err)
	}
	if j := reopen(t, d, 9); j.Len() != 1 || j.Held() != 100 || len(r.Lost) != 1 {
		t.Errorf("the journal has %v, %v lost", j.Effects(), r.Lost)
	}
}

// TestFaults has every step of a life fail, and the process killed or the
// power lost then. What was acknowledged is known afterwards, and of what was
// not, at most the one operation that was under way.
func TestFaults(t *testing.T) {
	ops := slices.Concat(script[:5], []step{compact(1)}, script[5:], []step{compact(3)}, []step{end(4, 0, 1, "late")})
	_, j := create(t)
	states := run(t, j, ops)
	n := waltest.EachFault(func(d *waltest.Folder) int {
		if Create(d, life, genesis) != nil {
			return -1
		}
		j, err := Open(d, life, 0)
		if err != nil {
			return 0
		}
		for i, op := range ops {
			if op(j) != nil {
				if begin(99, 0, 1, "")(j) == nil {
					t.Error("it goes on after an error")
				}
				return i
			}
		}
		return len(ops)
	}, func(when string, done int, found *waltest.Folder) {
		j, err := Open(found, life, 99)
		if err != nil {
			if done >= 0 || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, after %d operations: %v", when, done, err)
			}
			return
		}
		got := say(t, j)
		if got != states[max(done, 0)] && (done < 0 || got != states[min(done+1, len(states)-1)]) {
			t.Errorf("%s, after %d operations, it knows\n%s", when, done, got)
		}
	})
	if n < 200 {
		t.Fatalf("only %d folders were checked", n)
	}
}

// TestSpecExample holds the page to what the code does.
func TestSpecExample(t *testing.T) {
	var example Life
	example.Agent = exampleKey()
	example.Genesis = verifier.Hash(testkit.SpecBytes(t, "../../../docs/spec", "journal.md", "hex genesis"))
	d := waltest.New()
	if err := Create(d, example, Base{4, example.Genesis}); err != nil {
		t.Fatal(err)
	}
	j, err := Open(d, example, 4)
	if err != nil {
		t.Fatal(err)
	}
	id, err := j.Begin(Begin{Tick: 5, Ordinal: 0, Kind: Payment, Held: 2500, Time: 1_700_000_000_000_000_001, Request: []byte("pay")})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.End(id, 2500, []byte("paid")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.NoteFailed(id), j.NoteTold(id, 6)); err != nil {
		t.Fatal(err)
	}
	if want := testkit.SpecBytes(t, "../../../docs/spec", "journal.md", "hex id"); !bytes.Equal(id[:], want) {
		t.Errorf("the example's id is %v, journal.md has %x", id, want)
	}
	if want, got := testkit.SpecBytes(t, "../../../docs/spec", "journal.md", "hex journal"), d.Get(Name); !bytes.Equal(got, want) {
		t.Errorf("the example's journal is\n%x\njournal.md has\n%x", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	d := waltest.New()
	if err := Create(d, life, genesis); err != nil {
		f.Fatal(err)
	}
	f.Add(d.Get(Name))
	j, err := Open(d, life, 0)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range script {
		if err := s(j); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(d.Get(Name))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := waltest.New()
		d.Put(Name, b)
		j, err := Open(d, life, math.MaxUint64)
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			r, err := Repair(d, life, genesis, false)
			if err == nil {
				j, err = Open(d, life, math.MaxUint64)
			}
			if errors.Is(err, errOtherLife) {
				return
			}
			if err != nil || j.Len() != len(r.Effects) || !bytes.Equal(d.Get(r.Aside), b) {
				t.Fatalf("after a repair: %v", err)
			}
			return
		}
		if err != nil {
			return
		}
		for _, e := range j.Effects() {
			if _, err := j.Request(e.ID); err != nil {
				t.Fatal(err)
			}
		}
		if kept := d.Get(Name); !bytes.HasPrefix(b, kept) {
			t.Fatal("opening writes")
		}
		if j.Held() < 0 {
			t.Fatal("a negative amount is held")
		}
	})
}

// FuzzRecord has the bytes of one record, with right checksums, which fuzzing the
// file would not find.
func FuzzRecord(f *testing.F) {
	id := EffectID(life.Agent, life.Genesis, 1, 0)
	f.Add(appendHeader(nil, life, genesis))
	f.Add(appendBegin(nil, id, &Begin{Tick: 1, Kind: HTTP, Request: []byte("GET")}))
	f.Add(appendBegin(nil, id, &Begin{Tick: 1, Kind: HTTP, Time: 5, Request: []byte("GET")}))
	f.Add(appendEnd(nil, id, 1, []byte("result")))
	f.Add(appendResolve(nil, id, Confirmed, 1, "note"))
	f.Add(appendRelease(nil, id, 1))
	f.Add(appendFailed(nil, id))
	f.Add(appendTold(nil, id, 2))
	f.Fuzz(func(t *testing.T, p []byte) {
		var again []byte
		if l, b, err := parseHeader(p); err == nil {
			again = appendHeader(nil, l, b)
		} else if len(p) == 0 {
			return
		} else if id, b, err := parseBegin(p); (p[0] == recordBegin || p[0] == recordBeginAt) && err == nil {
			again = appendBegin(nil, id, &b)
		} else if id, spent, result, err := parseEnd(p); p[0] == recordEnd && err == nil {
			again = appendEnd(nil, id, spent, result)
		} else if id, o, tick, note, err := parseResolve(p); p[0] == recordResolve && err == nil {
			again = appendResolve(nil, id, o, tick, note)
		} else if id, tick, err := parseRelease(p); p[0] == recordRelease && err == nil {
			again = appendRelease(nil, id, tick)
		} else if id, err := parseFailed(p); p[0] == recordFailed && err == nil {
			again = appendFailed(nil, id)
		} else if id, tick, err := parseTold(p); p[0] == recordTold && err == nil {
			again = appendTold(nil, id, tick)
		} else {
			return
		}
		if !bytes.Equal(again, p) {
			t.Errorf("%x is written %x", p, again)
		}
	})
}

package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"igor.dev/archive"
	"igor.dev/archive/archivetest"
	"igor.dev/segment"
	"igor.dev/verifier"
	"igor.dev/verifier/published"
)

const soon = time.Millisecond

func newArchiver(t *testing.T, c archive.Config, targets ...archive.Target) *archive.Archiver {
	t.Helper()
	c.Targets, c.Retry, c.Ask = targets, soon, soon
	if c.Parts == nil {
		c.Parts = archive.DefaultParts
	}
	a, err := archive.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// archiveAll archives a life up to its end, and stops.
func archiveAll(t *testing.T, a *archive.Archiver, l *archivetest.Life, dir string) {
	t.Helper()
	task := a.Begin(l.Archive(dir))
	task.Saved(l.Tick(l.Len() - 1))
	ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if err := task.End(ctx); err != nil {
		t.Fatal(err, task.Status())
	}
}

// check holds what a target has against the life.
func check(t *testing.T, objects map[string][]byte, l *archivetest.Life) {
	t.Helper()
	h, err := published.ParseHead(objects[published.HeadKey(l.Key())])
	if err != nil {
		t.Fatal(err, slices.Sorted(maps.Keys(objects)))
	}
	var hashes, bytesOf []byte
	n := uint64(0)
	for ; ; n++ {
		b, ok := objects[published.SegmentKey(l.Key(), n)]
		if !ok {
			break
		}
		_, err := segment.Read(bytes.NewReader(b), func(c []byte, f *verifier.Finding) error {
			hashes = append(hashes, f.ContentHash[:]...)
			bytesOf = append(bytesOf, c...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var want []byte
	for i := range l.Len() {
		want = append(want, l.Checkpoint(i)...)
	}
	if !bytes.Equal(bytesOf, want) {
		t.Fatalf("%d bytes of checkpoints are archived, and not %d", len(bytesOf), len(want))
	}
	if !bytes.Equal(objects[published.IndexKey(l.Key())], hashes) {
		t.Fatal("the index has other hashes")
	}
	last := verifier.Examine(l.Checkpoint(l.Len() - 1))
	if h.Checkpoints != uint64(l.Len()) || h.Segments != n || h.Tail != 0 || h.Checkpoint != last.ContentHash || h.Tick != last.TickNumber || h.Program != last.WASMHash {
		t.Fatalf("head: %+v", h)
	}
}

func TestArchive(t *testing.T) {
	l, dir := archivetest.NewLife("archived", 50), t.TempDir()
	one, two := archivetest.New("one", 1), archivetest.New("two", 2)
	a := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 8}}, one, two)
	archiveAll(t, a, l, dir)
	for _, target := range []*archivetest.Target{one, two} {
		check(t, target.Objects(), l)
	}
	f, err := archive.FinalOf(dir)
	if err != nil || f.Tick != l.Tick(49) || f.Targets != 2 || f.Segments != 7 || f.Head != sha256.Sum256(l.Checkpoint(49)) {
		t.Fatalf("%+v, %v", f, err)
	}
	names, err := archive.TargetAddresses(dir)
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"one", "two"}) {
		t.Fatal(names, err)
	}
	// Nothing is kept that all targets have.
	for _, left := range []string{"parts", "sealed"} {
		if entries, err := os.ReadDir(filepath.Join(dir, "archive", left)); err != nil || len(entries) != 0 {
			t.Errorf("%s: %v, %v", left, entries, err)
		}
	}
}

// An addressed target is opened by more than its name.
type addressed struct {
	*archivetest.Target
	at string
}

func (a *addressed) Address() string { return a.at }

// TestAddresses: records say how to open a target again, also those that were begun by a
// version that wrote only its name, and those of a target that is opened in another way now.
// What is archived stays so.
func TestAddresses(t *testing.T) {
	l, dir := archivetest.NewLife("addressed", 20), t.TempDir()
	target := archivetest.New("one", 1)
	for _, c := range []struct {
		target archive.Target
		want   string
	}{{target, "one"}, {&addressed{target, "one?region=eu"}, "one?region=eu"}, {&addressed{target, "one?region=us"}, "one?region=us"}, {target, "one"}} {
		archiveAll(t, newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 8}}, c.target), l, dir)
		check(t, target.Objects(), l)
		if all, err := archive.TargetAddresses(dir); err != nil || !slices.Equal(all, []string{c.want}) {
			t.Errorf("opened by %q, %v, and not %s", all, err, c.want)
		}
		if f, err := archive.FinalOf(dir); err != nil || f.Targets != 1 || f.Tick != l.Tick(19) {
			t.Errorf("%s: %+v, %v", c.want, f, err)
		}
		if all, err := archive.StatusOf(dir); err != nil || len(all) != 1 || all[0].Target != "one" {
			t.Errorf("%s: %+v, %v", c.want, all, err)
		}
	}
}

// TestRules archives by number, by time, and by bytes.
func TestRules(t *testing.T) {
	l := archivetest.NewLife("rules", 20)
	for _, c := range []struct {
		rule segment.Rule
		want int
	}{{segment.Rule{Checkpoints: 5}, 4}, {segment.Rule{Bytes: 2000}, 4}, {segment.Rule{Age: time.Nanosecond}, 1}} {
		target := archivetest.New("one", 1)
		task := newArchiver(t, archive.Config{Rule: c.rule}, target).Begin(l.Archive(t.TempDir()))
		task.Saved(l.Tick(19))
		for end := time.Now().Add(10 * time.Second); ; {
			tick, _ := task.Final()
			if tick >= l.Tick(14) {
				break
			}
			if time.Now().After(end) {
				t.Fatal(c, task.Status())
			}
			time.Sleep(soon)
		}
		if err := task.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, target.Objects(), l)
		if got := count(target.Objects(), ".car"); got < c.want || got > c.want+1 {
			t.Errorf("%+v: %d segments", c.rule, got)
		}
	}
}

func count(objects map[string][]byte, end string) (n int) {
	for k := range objects {
		if strings.HasSuffix(k, end) {
			n++
		}
	}
	return n
}

// TestOnlyDurable: what is not said to be durable is not archived.
func TestOnlyDurable(t *testing.T) {
	l, target := archivetest.NewLife("durable", 10), archivetest.New("one", 1)
	task := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 1}}, target).Begin(l.Archive(t.TempDir()))
	task.Saved(l.Tick(3))
	if err := task.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := count(target.Objects(), ".car"); got != 4 {
		t.Fatal(got, "segments")
	}
}

// TestLostRecords archives a life whose records are lost again: the same pieces.
func TestLostRecords(t *testing.T) {
	l := archivetest.NewLife("lost records", 30)
	one, two := archivetest.New("one", 1), archivetest.New("two", 2)
	archiveAll(t, newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 7}}, one), l, t.TempDir())
	before := one.Objects()
	dir := t.TempDir()
	archiveAll(t, newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 4}}, one, two), l, dir)
	after := one.Objects()
	for k, b := range before {
		if !bytes.Equal(after[k], b) {
			t.Errorf("%s changed", k)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%q", slices.Sorted(maps.Keys(after)))
	}
	check(t, two.Objects(), l)
	if got := count(two.Objects(), ".car"); got != 5 {
		t.Errorf("%d segments in the second target", got)
	}
}

// goneOn is the source of a life that went on: its journal is that of its end alone.
type goneOn struct{ *archivetest.Life }

func (l goneOn) Parts(tick uint64, want []archive.Part, read archive.Read) (map[archive.Part][]byte, archive.Read, error) {
	if slices.Contains(want, archive.Journal) && tick != l.Tick(l.Len()-1) {
		return nil, read, archive.ErrGoneOn
	}
	return l.Life.Parts(tick, want, read)
}

// TestTargetGone: the target that had the life is gone for good. Another one gets all of it, as
// far as anybody asks for that who makes the agent anew.
func TestTargetGone(t *testing.T) {
	l, dir := archivetest.NewLife("target gone", 40), t.TempDir()
	one, two := archivetest.New("one", 1), archivetest.New("two", 2)
	rule := archive.Config{Rule: segment.Rule{Checkpoints: 20}}
	for _, to := range []int{9, 19, 29} { // each end has a statement
		task := newArchiver(t, rule, one).Begin(l.Archive(dir))
		task.Saved(l.Tick(to))
		if err := task.End(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(one.Objects(), ".parts"); got != 3 {
		t.Fatalf("%d statements", got)
	}
	archived := l.Archive(dir)
	archived.Source = goneOn{l}
	task := newArchiver(t, rule, two).Begin(archived)
	task.Saved(l.Tick(39))
	ctx, done := context.WithTimeout(t.Context(), 20*time.Second)
	defer done()
	if err := task.End(ctx); err != nil {
		t.Fatal(err, task.Status())
	}
	check(t, two.Objects(), l)
	f := archive.Fetch{Targets: []archive.Target{two}, Agent: l.Key(), Segment: func(archive.Cut, []byte) error { return nil }}
	found, err := f.Life(t.Context())
	receipts := ""
	for _, to := range []int{9, 19, 29, 39} {
		receipts += fmt.Sprintf("receipts to %d\n", l.Tick(to))
	}
	if err != nil || !found.Whole() || string(found.Parts[archive.Journal]) != fmt.Sprintf("journal at %d", l.Tick(39)) || string(found.Parts[archive.Receipts]) != receipts {
		t.Fatalf("%+v, %v", found, err)
	}
	// The folder of who recovers it fills another one in the same way.
	anew, three := t.TempDir(), archivetest.New("three", 3)
	if err := found.Restore(anew, found.Last().Read); err != nil {
		t.Fatal(err)
	}
	archived.Dir = anew
	task = newArchiver(t, rule, three).Begin(archived)
	task.Saved(l.Tick(39))
	if err := task.End(ctx); err != nil {
		t.Fatal(err, task.Status())
	}
	check(t, three.Objects(), l)
	// And the records say so: nothing is asked for again.
	for _, s := range must(archive.StatusOf(dir))(t) {
		if s.Target == "two" && (s.Segments != 4 || s.Behind != 0) {
			t.Errorf("%+v", s)
		}
	}

	// What was encrypted can be had from a target alone, and the error says what to do.
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	rule.Recipients = []age.Recipient{identity.Recipient()}
	dir = t.TempDir()
	archiveAll(t, newArchiver(t, rule, archivetest.New("four", 4)), l, dir)
	task = newArchiver(t, rule, archivetest.New("five", 5)).Begin(l.Archive(dir))
	task.Saved(l.Tick(39))
	ctx, done = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer done()
	if err := task.End(ctx); err == nil || !strings.Contains(task.Status()[0].Error, "move "+filepath.Join(dir, "archive")+" elsewhere") {
		t.Fatal(err, task.Status())
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestKeptRots: what was kept until all targets have it rots meanwhile. It is not sent as it is,
// for it would stay under a name that does not change: another target has it.
func TestKeptRots(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]archive.Config{"parts": {}, "sealed": {Recipients: []age.Recipient{identity.Recipient()}}} {
		t.Run(name, func(t *testing.T) {
			l, dir := archivetest.NewLife("kept", 10), t.TempDir()
			good, late := archivetest.New("good", 1), archivetest.New("late", 2)
			late.Set(archivetest.Faults{Full: true})
			task := newArchiver(t, c, good, late).Begin(l.Archive(dir))
			task.Saved(l.Tick(9))
			ctx, done := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer done()
			task.End(ctx)
			kept, err := filepath.Glob(filepath.Join(dir, "archive", name, "*"))
			if err != nil || len(kept) == 0 {
				t.Fatal(kept, err)
			}
			for _, path := range kept {
				b := must(os.ReadFile(path))(t)
				b[len(b)/2] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			late.Set(archivetest.Faults{})
			archiveAll(t, newArchiver(t, c, good, late), l, dir)
			want, got := good.Objects(), late.Objects()
			for k, b := range want {
				if !bytes.Equal(got[k], b) {
					t.Errorf("%s is another one", k)
				}
			}
		})
	}
}

// TestOtherLife: a target that has another history of the agent is left as it is.
func TestOtherLife(t *testing.T) {
	l, dir := archivetest.NewLife("forked", 10), t.TempDir()
	target := archivetest.New("one", 1)
	key := published.SegmentKey(l.Key(), 0)
	target.Replace(key, []byte("something else"))
	task := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 4}}, target).Begin(l.Archive(dir))
	task.Saved(l.Tick(9))
	ctx, done := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer done()
	if err := task.End(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	s := task.Status()[0]
	if !strings.Contains(s.Error, "other bytes") || s.Segments != 0 || s.Behind != 10 || string(target.Objects()[key]) != "something else" {
		t.Fatalf("%+v", s)
	}
	if _, err := archive.FinalOf(dir); err != nil {
		t.Fatal(err)
	}
}

// TestFaults archives to targets that go wrong in every way. What is final is there, and
// nothing is there under another name.
func TestFaults(t *testing.T) {
	for name, f := range map[string]archivetest.Faults{
		"fails":   {Fail: 60},
		"unsaid":  {Unsaid: 60},
		"lies":    {Lie: 60},
		"rots":    {Rot: 60},
		"all":     {Fail: 20, Unsaid: 20, Lie: 20, Slow: 3 * soon},
		"slow":    {Slow: 20 * soon},
		"healthy": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, dir := archivetest.NewLife("faults "+name, 40), t.TempDir()
			bad, good := archivetest.New("bad", 3), archivetest.New("good", 4)
			bad.Set(f)
			a := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 10}}, bad, good)
			task := a.Begin(l.Archive(dir))
			task.Saved(l.Tick(39))
			ctx, done := context.WithTimeout(t.Context(), time.Second)
			task.End(ctx)
			done()
			check(t, good.Objects(), l)
			// What the records call final is there.
			for _, s := range task.Status() {
				objects := map[string]map[string][]byte{"bad": bad.Objects(), "good": good.Objects()}[s.Target]
				for n := range s.Segments {
					key := published.SegmentKey(l.Key(), uint64(n))
					if !bytes.Equal(objects[key], good.Objects()[key]) {
						t.Errorf("%s is final in %s, and not there", key, s.Target)
					}
				}
			}
			bad.Set(archivetest.Faults{})
			archiveAll(t, a, l, dir)
			check(t, bad.Objects(), l)
			if len(bad.Objects()) != len(good.Objects()) {
				t.Errorf("%q", slices.Sorted(maps.Keys(bad.Objects())))
			}
		})
	}
}

// TestSpoiled archives to a target that keeps other bytes than it was given: nothing there is
// final, which is said, and nothing there is replaced.
func TestSpoiled(t *testing.T) {
	l, dir := archivetest.NewLife("spoiled", 40), t.TempDir()
	bad, good := archivetest.New("bad", 3), archivetest.New("good", 4)
	bad.Set(archivetest.Faults{Spoil: true})
	task := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 10}}, bad, good).Begin(l.Archive(dir))
	task.Saved(l.Tick(39))
	ctx, done := context.WithTimeout(t.Context(), time.Second)
	defer done()
	task.End(ctx)
	check(t, good.Objects(), l)
	for _, s := range task.Status() {
		if s.Target == "bad" && (s.Segments != 0 || !strings.Contains(s.Error, "other bytes")) {
			t.Errorf("%+v", s)
		}
	}
}

// TestFetch fetches a life from archives that each have a part of it damaged.
func TestFetch(t *testing.T) {
	l := archivetest.NewLife("fetched", 30)
	one, two := archivetest.New("one", 1), archivetest.New("two", 2)
	a := newArchiver(t, archive.Config{Rule: segment.Rule{Checkpoints: 10}}, one, two)
	archiveAll(t, a, l, t.TempDir())
	fetch := func() (*archive.Found, error) {
		var got []byte
		f := archive.Fetch{Targets: []archive.Target{one, two}, Agent: l.Key(), Segment: func(c archive.Cut, b []byte) error {
			_, err := segment.Read(bytes.NewReader(b), func(c []byte, _ *verifier.Finding) error { got = append(got, c...); return nil })
			return err
		}}
		found, err := f.Life(t.Context())
		if err == nil && int(found.Last().N) != 2 {
			t.Errorf("%d segments", len(found.Cuts))
		}
		return found, err
	}
	whole := func() {
		t.Helper()
		found, err := fetch()
		if err != nil || !found.Whole() || string(found.Parts[archive.Program]) != "the program" || string(found.Parts[archive.Receipts]) != fmt.Sprintf("receipts to %d\n", l.Tick(29)) {
			t.Fatalf("%+v, %v", found, err)
		}
	}
	whole()
	second := published.SegmentKey(l.Key(), 1)
	good := one.Objects()[second]
	one.Replace(second, append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1))
	whole()
	two.Replace(second, nil)
	missing := new(archive.MissingError)
	if _, err := fetch(); !errors.As(err, &missing) || missing.Segment != 1 || missing.More != 1 {
		t.Fatal(err)
	}
	two.Replace(second, good)
	// A program that is another one is not taken.
	for k, b := range two.Objects() {
		if string(b) == "the program" {
			one.Replace(k, []byte("another one"))
			two.Replace(k, nil)
		}
	}
	found, err := fetch()
	if err != nil || found.Whole() || len(found.Lacks) != 1 || found.Parts[archive.Program] != nil {
		t.Fatalf("%+v, %v", found, err)
	}
	f := archive.Fetch{Targets: []archive.Target{one}, Agent: archivetest.NewLife("nobody", 1).Key()}
	if _, err := f.Life(t.Context()); !errors.Is(err, archive.ErrNotFound) {
		t.Fatal(err)
	}
}

// TestSealed archives a life that only who has the identity can read.
func TestSealed(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	l, target, dir := archivetest.NewLife("sealed", 20), archivetest.New("one", 1), t.TempDir()
	c := archive.Config{Rule: segment.Rule{Checkpoints: 6}, Recipients: []age.Recipient{identity.Recipient()}}
	half := newArchiver(t, c, target).Begin(l.Archive(dir))
	half.Saved(l.Tick(9))
	if err := half.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	archiveAll(t, newArchiver(t, c, target), l, dir)
	state := l.Checkpoint(5)[verifier.HeaderSize:]
	for k, b := range target.Objects() {
		if bytes.Contains(b, state[:16]) || bytes.Contains(b, []byte("the program")) {
			t.Errorf("%s can be read", k)
		}
	}
	n := 0
	f := archive.Fetch{Targets: []archive.Target{target}, Agent: l.Key(), Segment: func(archive.Cut, []byte) error { n++; return nil }}
	if _, err := f.Life(t.Context()); err == nil {
		t.Fatal("fetched without the identity")
	}
	f.Identities = []age.Identity{identity}
	found, err := f.Life(t.Context())
	if err != nil || !found.Whole() || found.Last().Root != sha256.Sum256(l.Checkpoint(19)) || string(found.Parts[archive.Program]) != "the program" {
		t.Fatalf("%+v, %v", found, err)
	}
	if h, err := published.ParseHead(target.Objects()[published.HeadKey(l.Key())]); err != nil || h.Checkpoints != 20 || h.Segments != uint64(n) {
		t.Fatal(h, err)
	}
	// The program was encrypted once.
	if got := len(target.Objects()); got != 2+2*3+3*2-0+1-0 && got > 20 {
		t.Errorf("%d objects: %q", got, slices.Sorted(maps.Keys(target.Objects())))
	}
}

func TestStatement(t *testing.T) {
	l := archivetest.NewLife("statement", 1)
	s := archive.Statement{Agent: l.Key(), Segment: 3, Tick: 4, Head: verifier.Hash{1}}
	s.Parts[archive.Manifest] = verifier.Hash{2}
	m := s.Append(nil)
	signature, _ := l.Archive("").Sign(m)
	b := append(m, signature...)
	if got, err := archive.ParseStatement(b); err != nil || got != s || len(b) != archive.MaxStatement {
		t.Fatal(got, err, len(b))
	}
	for i := range b {
		if _, err := archive.ParseStatement(b[:i]); err == nil {
			t.Fatal("cut at", i)
		}
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			if _, err := archive.ParseStatement(c); err == nil {
				t.Fatal("a bit flipped at", i, hex.EncodeToString(c))
			}
		}
	}
}

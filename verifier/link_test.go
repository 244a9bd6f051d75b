package verifier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// verify links checkpoints named by their tick and position.
func verify(t testing.TB, pins verifier.Pins, checkpoints ...[]byte) *verifier.Report {
	t.Helper()
	var pile verifier.Pile
	for i, b := range checkpoints {
		f := verifier.Examine(b)
		if err := pile.Add(&f, fmt.Sprintf("%d-%d.ckpt", f.TickNumber, i)); err != nil {
			t.Fatal(err)
		}
	}
	return verifier.Link(&pile, pins)
}

func codes(r *verifier.Report) (out []string) {
	for p := range r.Problems() {
		out = append(out, p.Code.String())
	}
	return out
}

func reportJSON(t testing.TB, r *verifier.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNothingIsNotVerified(t *testing.T) {
	if r := verify(t, verifier.Pins{}); r.Verdict() == verifier.Verified {
		t.Error("an empty pile is verified")
	}
	var v verifier.Verdict
	if v.ExitCode() != 2 || v.String() != "none" {
		t.Errorf("the zero verdict is %s, exit code %d", v, v.ExitCode())
	}
}

// TestOrderDoesNotMatter shuffles good and bad histories.
func TestOrderDoesNotMatter(t *testing.T) {
	alice, bob := testkit.NewAgent("alice"), testkit.NewAgent("bob")
	pile := alice.History(12, 10)
	pile = append(pile, bob.History(3, 10)...)
	pile = append(pile, pile[2], pile[5])                                                                                     // duplicates
	pile = append(pile, alice.After(pile[4], testkit.Fields{Tick: 5}), bob.After(pile[4], testkit.Fields{Tick: 9}), nil, nil) // forks, empty
	pile = append(pile, []byte{4, 1}, []byte{4, 2}, []byte{7}, pile[3][:80])
	flipped := bytes.Clone(pile[7])
	flipped[60] ^= 1
	pile = slices.Delete(append(pile, flipped), 8, 9)
	rng := rand.New(rand.NewPCG(1, 2))
	names := make([]string, len(pile))
	for i := range names {
		names[i] = fmt.Sprintf("%d.ckpt", rng.IntN(10)) // some alike
	}
	want := ""
	for range 200 {
		var p verifier.Pile
		for _, i := range rng.Perm(len(pile)) {
			f := verifier.Examine(pile[i])
			if err := p.Add(&f, names[i]); err != nil {
				t.Fatal(err)
			}
		}
		got := reportJSON(t, verifier.Link(&p, verifier.Pins{}))
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("another order, another report:\n%s\n%s", got, want)
		}
	}
}

// TestReportIsJSON holds the hand-written JSON against encoding/json, with the
// worst of names.
func TestReportIsJSON(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x180) {
		all.WriteRune(r)
	}
	for _, name := range []string{"", "a", all.String(), "\xff\xfe", "é\xe2\x82", "\u2028\u2029", "</script>", `"\`, "\U0001F600", strings.Repeat("x", 10_000)} {
		var p verifier.Pile
		f := verifier.Examine(nil)
		if err := p.Add(&f, name); err != nil {
			t.Fatal(err)
		}
		raw := reportJSON(t, verifier.Link(&p, verifier.Pins{}))
		var report struct{ Problems []struct{ Name string } }
		if err := json.Unmarshal([]byte(raw), &report); err != nil {
			t.Fatalf("%q: %v\n%s", name, err, raw)
		}
		want := strings.ToValidUTF8(name, "�")
		if len(name) > verifier.MaxName {
			want = name[:verifier.MaxName]
		}
		if name == "\xff\xfe" {
			want = "��"
		}
		if name == "é\xe2\x82" {
			want = "é��"
		}
		if name == "" {
			want = f.ContentHash.CID()
		}
		if got := report.Problems[0].Name; got != want {
			t.Errorf("name %q came back as %q", name, got)
		}
	}
}

// TestEverythingMatters is the exhaustive test that nothing but a whole, untouched
// history is verified, on a real life: every bit flipped, every truncation, every
// file left out, every two files' fields swapped.
func TestEverythingMatters(t *testing.T) {
	files, err := filepath.Glob("../testdata/histories/heartbeat-moved/*.ckpt")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d checkpoints, %v", len(files), err)
	}
	history := make([][]byte, len(files))
	findings := make([]verifier.Finding, len(files))
	for i, name := range files {
		if history[i], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		findings[i] = verifier.Examine(history[i])
	}
	// link links all but those replaced, by another finding or by none.
	link := func(replaced map[int]*verifier.Finding) *verifier.Report {
		var p verifier.Pile
		for i := range findings {
			f := &findings[i]
			if with, ok := replaced[i]; ok {
				f = with
			}
			if f == nil {
				continue
			}
			if err := p.Add(f, files[i]); err != nil {
				t.Fatal(err)
			}
		}
		return verifier.Link(&p, verifier.Pins{})
	}
	untouched := link(nil)
	if untouched.Verdict() != verifier.Verified {
		t.Fatalf("the untouched history is %s", untouched.Verdict())
	}
	var x verifier.Examiner
	last := len(history) - 1
	for i, b := range history {
		b = bytes.Clone(b)
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			f := x.Examine(b)
			r := link(map[int]*verifier.Finding{i: &f})
			if r.Verdict() != verifier.Invalid {
				t.Errorf("%s, bit %d flipped: %s", files[i], bit, r.Verdict())
			}
			for p := range r.Problems() { // the first cause is the flipped file itself
				if p.Name != files[i] {
					t.Errorf("%s, bit %d flipped: the first problem is %s at %s", files[i], bit, p.Code, p.Name)
				}
				break
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
		for n := range b {
			f := x.Examine(b[:n])
			if r := link(map[int]*verifier.Finding{i: &f}); r.Verdict() != verifier.Invalid {
				t.Errorf("%s cut to %d bytes: %s", files[i], n, r.Verdict())
			}
		}
		longer := x.Examine(append(b, 0))
		if r := link(map[int]*verifier.Finding{i: &longer}); r.Verdict() != verifier.Invalid {
			t.Errorf("%s with a byte more: %s", files[i], r.Verdict())
		}
		r := link(map[int]*verifier.Finding{i: nil})
		switch {
		case i < last && r.Verdict() != verifier.Incomplete:
			t.Errorf("without %s: %s", files[i], r.Verdict())
		case i == last && r.Verdict() != verifier.Verified:
			t.Errorf("cut at its end: %s", r.Verdict())
		case i == last && !strings.Contains(r.DoesNotProve(), "a history cut at its end also verifies"):
			t.Errorf("cut at its end, and the report does not say that it could be: %s", r.DoesNotProve())
		}
		for j := range i {
			// Names prove nothing: with two swapped, it is the same history.
			swapped := link(map[int]*verifier.Finding{i: &findings[j], j: &findings[i]})
			if reportJSON(t, swapped) != reportJSON(t, untouched) {
				t.Errorf("with the names of %s and %s swapped, the report is another", files[i], files[j])
			}
			// Any field swapped between two checkpoints, where they differ in it, is red.
			for _, field := range verifier.Fields(b) {
				one, two := bytes.Clone(history[i]), bytes.Clone(history[j])
				copy(one[field.Offset:], history[j][field.Offset:field.Offset+field.Size])
				copy(two[field.Offset:], history[i][field.Offset:field.Offset+field.Size])
				if bytes.Equal(one, history[i]) {
					continue
				}
				f, g := x.Examine(one), x.Examine(two)
				if r := link(map[int]*verifier.Finding{i: &f, j: &g}); r.Verdict() != verifier.Invalid {
					t.Errorf("with %s of %s and %s swapped: %s", field.Name, files[i], files[j], r.Verdict())
				}
			}
		}
	}
}

func TestPins(t *testing.T) {
	alice, bob := testkit.NewAgent("alice"), testkit.NewAgent("bob")
	history := alice.History(5, 10)
	pins := func(did, head string) verifier.Pins {
		p, err := verifier.ParsePins(did, head)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, test := range []struct {
		name    string
		pins    verifier.Pins
		history [][]byte
		want    verifier.Verdict
		codes   string
	}{
		{"right", pins(alice.DID(), testkit.CID(history[4])), history, verifier.Verified, "[]"},
		{"head on the path", pins("", testkit.CID(history[2])), history, verifier.Verified, "[]"},
		{"cut at the end", pins("", testkit.CID(history[4])), history[:4], verifier.Incomplete, "[head-not-found]"},
		{"another agent's", pins(bob.DID(), ""), history, verifier.Invalid, "[identity-mismatch]"},
		{"cut and another's", pins(bob.DID(), testkit.CID(history[4])), history[:4], verifier.Invalid, "[identity-mismatch head-not-found]"},
		{"one by another", pins(bob.DID(), ""), append(bob.History(2, 9), history[1]), verifier.Invalid, "[identity-mismatch gap]"},
	} {
		r := verify(t, test.pins, test.history...)
		if got := fmt.Sprint(codes(r)); r.Verdict() != test.want || got != test.codes {
			t.Errorf("%s: %s %s, want %s %s", test.name, r.Verdict(), got, test.want, test.codes)
		}
	}
	if _, err := verifier.ParsePins("did:key:z6Mk", ""); err == nil {
		t.Error("a malformed DID was pinned")
	}
	if _, err := verifier.ParsePins("", "bafkrei"); err == nil {
		t.Error("a malformed CID was pinned")
	}
}

// TestForgedCycle gives Link findings that no checkpoints have: a cycle, which takes
// a SHA-256 collision. Even so nothing is green that is not a path.
func TestForgedCycle(t *testing.T) {
	history := testkit.NewAgent("alice").History(4, 0)
	var findings []verifier.Finding
	for _, b := range history {
		findings = append(findings, verifier.Examine(b))
	}
	link := func() verifier.Verdict {
		var p verifier.Pile
		for i := range findings {
			if err := p.Add(&findings[i], ""); err != nil {
				t.Fatal(err)
			}
		}
		return verifier.Link(&p, verifier.Pins{}).Verdict()
	}
	findings[2].PrevHash = findings[3].ContentHash // a genesis, its successor, and a cycle of two
	findings[2].TickNumber, findings[3].TickNumber = 9, 9
	if v := link(); v == verifier.Verified {
		t.Error("a path and a cycle beside it are verified")
	}
	findings[0].PrevHash = findings[1].ContentHash
	if v := link(); v == verifier.Verified {
		t.Error("two cycles are verified")
	}
}

// FuzzLink makes piles out of a script: each byte picks a checkpoint and what to do
// with it.
func FuzzLink(f *testing.F) {
	alice, bob := testkit.NewAgent("alice"), testkit.NewAgent("bob")
	good := append(alice.History(6, 5), bob.History(3, 5)...)
	good = append(good, alice.After(good[2], testkit.Fields{Tick: 1}), bob.After(good[2], testkit.Fields{Tick: 90}))
	f.Add([]byte{0, 1, 2, 3, 4, 5})
	f.Add([]byte{5, 4, 3, 9, 10, 6, 7, 8})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 64 {
			script = script[:64]
		}
		var pile [][]byte
		intact := true
		for _, op := range script {
			b := good[int(op&15)%len(good)]
			if op >= 16 { // flip a bit, or cut
				b = bytes.Clone(b)
				if op < 128 {
					b[int(op)*3%len(b)] ^= 1 << (op % 8)
				} else {
					b = b[:int(op)-128]
				}
				intact = false
			}
			pile = append(pile, b)
		}
		link := func() *verifier.Report {
			var p verifier.Pile
			for _, b := range pile {
				f := verifier.Examine(b)
				if err := p.Add(&f, ""); err != nil {
					t.Fatal(err)
				}
			}
			return verifier.Link(&p, verifier.Pins{})
		}
		r := link()
		raw := reportJSON(t, r)
		if !json.Valid([]byte(raw)) {
			t.Errorf("not JSON: %s", raw)
		}
		slices.Reverse(pile)
		if again := reportJSON(t, link()); again != raw {
			t.Errorf("forwards\n%s\nbackwards\n%s", raw, again)
		}
		if r.Verdict() != verifier.Verified {
			return
		}
		// Green: by the key of all, a beginning of one of the two lives.
		n, _ := r.Checkpoints()
		for _, life := range [][][]byte{good[:6], good[6:9]} {
			whole := intact && n <= len(life)
			for i, b := range life {
				whole = whole && slices.ContainsFunc(pile, func(x []byte) bool { return bytes.Equal(x, b) }) == (i < n)
			}
			if whole {
				return
			}
		}
		// Or one with a fork taken instead of the rest.
		if n == 4 {
			return
		}
		t.Errorf("verified: %v", script)
	})
}

// The report of spec version 1 has the key of the first genesis, and no member that came
// later. The verdict is the same.
func TestReport1(t *testing.T) {
	alice, bob := testkit.NewAgent("alice"), testkit.NewAgent("bob")
	a := alice.History(4, 0)
	stranger := bob.Checkpoint(testkit.Fields{Tick: 1})
	branch := bob.After(a[1], testkit.Fields{Tick: 10})
	for _, test := range []struct {
		name       string
		files      [][]byte
		did1, did2 string
		fork1      string // the tick at which it is
		fork2      string
	}{
		{"a stranger's genesis is the first", append(slices.Clone(a), stranger), bob.DID(), alice.DID(), "4", "1"},
		{"a stranger's branch is the first", append(slices.Clone(a), branch), alice.DID(), alice.DID(), "14", "10"},
		{"one life", a, alice.DID(), alice.DID(), "", ""},
	} {
		var p verifier.Pile
		for _, b := range test.files {
			f := verifier.Examine(b)
			p.Add(&f, "")
		}
		p.LeaveOut(verifier.KindText, "notes.txt")
		one, two := verifier.LinkAs(1, &p, verifier.Pins{}), verifier.Link(&p, verifier.Pins{})
		if one.Verdict() != two.Verdict() {
			t.Errorf("%s: %s and %s", test.name, one.Verdict(), two.Verdict())
		}
		for _, r := range []struct {
			report    *verifier.Report
			did, fork string
			format    string
			later     bool
		}{{one, test.did1, test.fork1, "/1\"", false}, {two, test.did2, test.fork2, "/2\"", true}} {
			k, _ := r.report.Key()
			fork := ""
			for q := range r.report.Problems() {
				if q.Code == verifier.Fork {
					fork = q.Tick
				}
			}
			if k.DID() != r.did || fork != r.fork {
				t.Errorf("%s: version %s has %s, a fork at %q, want %s, %q", test.name, r.format, k.DID(), fork, r.did, r.fork)
			}
			var b strings.Builder
			if err := r.report.WriteJSON(&b); err != nil {
				t.Fatal(err)
			}
			if s := b.String(); !strings.Contains(s, "igor-lineage-report"+r.format) || strings.Contains(s, "notLookedAt") != r.later || strings.Contains(s, "\"lives\"") != (r.later && len(test.files) > 4) {
				t.Errorf("%s: %s", test.name, s)
			}
		}
	}
}

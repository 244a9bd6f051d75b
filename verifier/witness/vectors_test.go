package witness

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

type vector struct {
	Kind        string
	File        string
	Policy      string
	Checkpoints []string
	Proof       string
	Monitor     string
	Word        string
	Require     bool
	Succession  string
	Commitment  string
	Old         []string
	Expect      struct {
		Exit      int
		DID       string
		ForkKind  string
		Ticks     []string
		Witnessed []bool
		Problem   bool
		Tick      string
		Before    string
		Cosigners []string
		Latest    string
		Forks     string
		Life      string
	}
}

func loadVectors(t testing.TB) map[string]vector {
	files, err := filepath.Glob("../../testdata/witness/*.json")
	if err != nil || len(files) < 80 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	all := map[string]vector{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		var v vector
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var with struct {
			vector
			Description string
		}
		if err == nil {
			err = d.Decode(&with)
		}
		if v = with.vector; err != nil {
			t.Fatal(file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = v
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var examined = map[string]verifier.Finding{} // by their bytes in hex: they are linked thousands of times

func linked(t testing.TB, checkpoints []string) *verifier.Report {
	pile := new(verifier.Pile)
	for _, c := range checkpoints {
		f, ok := examined[c]
		if !ok {
			f = verifier.Examine(unhex(t, c))
			examined[c] = f
		}
		if err := pile.Add(&f, ""); err != nil {
			t.Fatal(err)
		}
	}
	return verifier.Link(pile, verifier.Pins{})
}

func (v *vector) beside(t testing.TB) *Beside {
	b := &Beside{Require: v.Require}
	var err error
	if b.Policy, err = ParsePolicy([]byte(v.Policy)); err != nil {
		t.Fatal(err)
	}
	if v.Proof != "" {
		b.Proof = []byte(v.Proof)
	}
	if v.Monitor != "" {
		if b.Monitor, err = ParseMonitorKey(v.Monitor); err != nil {
			t.Fatal(err)
		}
	}
	if v.Word != "" {
		b.Word = []byte(v.Word)
	}
	return b
}

func (v *vector) successor(t testing.TB) *Successor {
	b := &Successor{Statement: unhex(t, v.Succession), Policy: v.beside(t).Policy}
	if v.Commitment != "" {
		b.Commitment = []byte(v.Commitment)
	}
	if v.Old != nil {
		b.Old = linked(t, v.Old)
	}
	return b
}

func TestVectors(t *testing.T) {
	for name, v := range loadVectors(t) {
		t.Run(name, func(t *testing.T) {
			switch v.Kind {
			case "fork":
				v.fork(t)
			case "head":
				v.head(t)
			case "succession":
				v.succession(t)
			default:
				t.Fatal(v.Kind)
			}
		})
	}
}

func (v *vector) fork(t *testing.T) {
	policy, err := ParsePolicy([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	b := unhex(t, v.File)
	p, err := ParseForkProof(b)
	if (err != nil) != (v.Expect.Exit == 2) {
		t.Fatalf("reading it: %v, want exit code %d", err, v.Expect.Exit)
	}
	if err != nil {
		return
	}
	if !bytes.Equal(p.Append(nil), b) {
		t.Error("it is written otherwise than it was read")
	}
	f, err := p.Check(policy)
	if (err != nil) != (v.Expect.Exit == 1) {
		t.Fatalf("checking it: %v, want exit code %d", err, v.Expect.Exit)
	}
	if err != nil {
		return
	}
	ticks := []string{fmt.Sprint(f.Sides[0].Tick), fmt.Sprint(f.Sides[1].Tick)}
	witnessed := []bool{f.Sides[0].Witnessed != nil, f.Sides[1].Witnessed != nil}
	if f.Agent.DID() != v.Expect.DID || f.Kind.String() != v.Expect.ForkKind || !slices.Equal(ticks, v.Expect.Ticks) || !slices.Equal(witnessed, v.Expect.Witnessed) {
		t.Errorf("%s, %s, %v, %v", f.Agent.DID(), f.Kind, ticks, witnessed)
	}
}

func (v *vector) head(t *testing.T) {
	r := linked(t, v.Checkpoints)
	plain := r.DoesNotProve()
	v.beside(t).Report(r)
	w := r.Witnessed()
	if got := r.Verdict().ExitCode(); got != v.Expect.Exit {
		t.Errorf("exit code %d, want %d", got, v.Expect.Exit)
	}
	if !strings.Contains(r.DoesNotProve(), "that the holder never signed another history") || r.DoesNotProve() != plain {
		t.Errorf("it forgets: %s", r.DoesNotProve())
	}
	if w == nil || (w.Problem != "") != v.Expect.Problem {
		t.Fatalf("%+v", w)
	}
	if w.Problem != "" {
		return
	}
	var names []string
	for _, c := range w.Cosigners {
		names = append(names, c.Name)
	}
	latest, forks := "", ""
	if w.Monitor != nil {
		latest, forks = w.Monitor.Latest.CID(), fmt.Sprint(w.Monitor.Forks)
	}
	if fmt.Sprint(w.Tick) != v.Expect.Tick || verifier.FormatTime(w.Before) != v.Expect.Before || !slices.Equal(names, v.Expect.Cosigners) || latest != v.Expect.Latest || forks != v.Expect.Forks {
		t.Errorf("%+v, %q, %s, %s", w, names, latest, forks)
	}
}

func (v *vector) succession(t *testing.T) {
	r := linked(t, v.Checkpoints)
	v.successor(t).Report(r)
	s := r.Succeeds()
	if r.Verdict() != verifier.Verified || s == nil || (s.Problem != "") != v.Expect.Problem {
		t.Fatalf("%s, %+v", r.Verdict(), s)
	}
	if s.Problem != "" {
		return
	}
	before, life := "", ""
	if s.Before > 0 {
		before = verifier.FormatTime(s.Before)
	}
	if s.Life != 0 {
		life = s.Life.String()
	}
	if s.Of.DID() != v.Expect.DID || fmt.Sprint(s.Tick) != v.Expect.Tick || before != v.Expect.Before || life != v.Expect.Life {
		t.Errorf("%+v", s)
	}
}

// TestEveryBitOfABundle flips every bit of what lies beside a history, and cuts it
// everywhere: the report is green no more, or the policy is met without what changed.
func TestEveryBitOfABundle(t *testing.T) {
	all := loadVectors(t)
	for name, wantsLoss := range map[string]bool{"head-good-required": false, "head-all-three": true} {
		v := all[name]
		good := v.beside(t)
		whole := linked(t, v.Checkpoints)
		good.Report(whole)
		if whole.Verdict() != verifier.Verified {
			t.Fatal(name)
		}
		accepted := 0
		try := func(what string, proof []byte) {
			b := *good
			b.Proof = proof
			r := linked(t, v.Checkpoints)
			if b.Report(r); r.Verdict() != verifier.Verified {
				return
			}
			accepted++
			was, is := whole.Witnessed(), r.Witnessed()
			if len(is.Cosigners) != len(was.Cosigners)-1 || is.Checkpoint != was.Checkpoint || is.Index != was.Index || is.Size != was.Size || is.Tick != was.Tick {
				t.Errorf("%s, %s: %+v", name, what, is)
			}
		}
		for i := range len(good.Proof) * 8 {
			bad := bytes.Clone(good.Proof)
			bad[i/8] ^= 1 << (i % 8)
			try(fmt.Sprintf("bit %d", i), bad)
		}
		for n := range good.Proof {
			try(fmt.Sprintf("%d bytes", n), good.Proof[:n])
		}
		if accepted > 0 != wantsLoss {
			t.Errorf("%s: %d were accepted", name, accepted)
		}
	}
	v := all["head-monitor-good"]
	good := v.beside(t)
	for i := range len(good.Word) * 8 {
		b := *good
		b.Word = bytes.Clone(good.Word)
		b.Word[i/8] ^= 1 << (i % 8)
		r := linked(t, v.Checkpoints)
		if b.Report(r); r.Verdict() == verifier.Verified {
			t.Errorf("bit %d of a monitor's word does not count", i)
		}
	}
}

// TestEveryBitOfAForkProof does the same with fork proofs: nobody is accused, or it is the
// same fork.
func TestEveryBitOfAForkProof(t *testing.T) {
	all := loadVectors(t)
	for _, name := range []string{"fork-heads", "fork-heads-logged", "fork-checkpoints", "fork-off-chain"} {
		v := all[name]
		policy, _ := ParsePolicy([]byte(v.Policy))
		b := unhex(t, v.File)
		check := func(b []byte) *Fork {
			p, err := ParseForkProof(b)
			if err != nil {
				return nil
			}
			f, err := p.Check(policy)
			if err != nil {
				return nil
			}
			return f
		}
		want := check(b)
		accepted := 0
		for i := range len(b) * 8 {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			if got := check(bad); got != nil {
				accepted++
				// In the lines of signatures under a log's checkpoint: the fork is the same, and is seen by fewer.
				if got.Agent != want.Agent || got.Sides[0].Checkpoint != want.Sides[0].Checkpoint || got.Sides[1].Checkpoint != want.Sides[1].Checkpoint ||
					got.Sides[0].Witnessed != nil && got.Sides[1].Witnessed != nil {
					t.Errorf("%s: bit %d: %+v", name, i, got)
				}
			}
		}
		if (accepted > 0) != (name == "fork-heads-logged") {
			t.Errorf("%s: %d flips accepted", name, accepted)
		}
		for n := range b {
			if check(b[:n]) != nil {
				t.Errorf("%s: %d bytes are enough", name, n)
			}
		}
	}
}

func FuzzForkProof(f *testing.F) {
	var policy *Policy
	for _, v := range loadVectors(f) {
		if v.Kind == "fork" {
			f.Add(unhex(f, v.File))
			policy, _ = ParsePolicy([]byte(v.Policy))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseForkProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Append(nil), b) {
			t.Error("it is written otherwise than it was read")
		}
		p.Check(policy)
	})
}

func FuzzBeside(f *testing.F) {
	all := loadVectors(f)
	good := all["head-monitor-good"]
	f.Add([]byte(good.Proof), []byte(good.Word), []byte{}, []byte{})
	next := all["succession-committed"]
	f.Add([]byte{}, []byte{}, unhex(f, next.Succession), []byte(next.Commitment))
	stranger := testkit.NewAgent("stranger")
	var life []string
	for _, c := range stranger.History(2, 8) {
		life = append(life, hex.EncodeToString(c))
	}
	f.Fuzz(func(t *testing.T, proof, word, succession, commitment []byte) {
		b := good.beside(t)
		b.Proof, b.Word, b.Require = proof, word, true
		r := linked(t, life)
		(&Successor{Statement: succession, Commitment: commitment, Policy: b.Policy}).Report(r)
		if b.Report(r); r.Verdict() == verifier.Verified || r.Succeeds() != nil && r.Succeeds().Problem == "" {
			t.Fatal("green for what was not shown")
		}
	})
}

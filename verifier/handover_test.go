package verifier_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

type judgedHandOver struct {
	Number, From, To, Head, Tick, Problem string
}

type handOverVector struct {
	Description, DID string
	Checkpoints      []string
	HandOvers        string
	Expect           struct {
		Verdict, Error string
		HandOvers      []judgedHandOver
	}
}

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHandOverVectors gives every scenario of testdata/handovers its expected outcome.
func TestHandOverVectors(t *testing.T) {
	names, err := filepath.Glob("../testdata/handovers/*.json")
	if err != nil || len(names) < 30 {
		t.Fatalf("%d vectors, %v", len(names), err)
	}
	codes := map[string]bool{}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var v handOverVector
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			pins, err := verifier.ParsePins(v.DID, "")
			if err != nil {
				t.Fatal(err)
			}
			var pile verifier.Pile
			for _, c := range v.Checkpoints {
				f := verifier.Examine(unhexed(t, c))
				if err := pile.Add(&f, ""); err != nil {
					t.Fatal(err)
				}
			}
			raw := unhexed(t, v.HandOvers)
			records, err := verifier.ParseHandOvers(raw)
			if (err != nil) != (v.Expect.Error != "") {
				t.Errorf("error %v, want %q", err, v.Expect.Error)
			}
			if err == nil {
				var again []byte
				for _, r := range records {
					again = r.Append(again)
				}
				if !bytes.Equal(again, raw) {
					t.Error("what parses does not encode to the same bytes")
				}
			}
			if err := pile.AddHandOvers(records...); err != nil {
				t.Fatal(err)
			}
			report := verifier.Link(&pile, pins)
			var got struct {
				Verdict   string
				HandOvers []judgedHandOver
			}
			if err := json.Unmarshal([]byte(reportJSON(t, report)), &got); err != nil {
				t.Fatal(err)
			}
			if got.Verdict != v.Expect.Verdict || !slices.Equal(got.HandOvers, v.Expect.HandOvers) {
				t.Errorf("%s: %+v\nwant %s: %+v", got.Verdict, got.HandOvers, v.Expect.Verdict, v.Expect.HandOvers)
			}
			for _, h := range got.HandOvers {
				codes[h.Problem] = true
			}
		})
	}
	for c := verifier.HandOverCounts; c.String() != "" || c == verifier.HandOverCounts; c++ {
		if !codes[c.String()] {
			t.Errorf("no vector has %q", c)
		}
		if c == verifier.HandOverOrder {
			break
		}
	}
}

// TestHandOverBits changes every bit of a good record: none of them counts any more.
func TestHandOverBits(t *testing.T) {
	agent := testkit.AgentFromSeed([32]byte(testkit.SpecBytes(t, spec, "handover.md", "hex seed")))
	b := testkit.SpecBytes(t, spec, "handover.md", "hex handover")
	h, err := verifier.ParseHandOver(b)
	if err != nil {
		t.Fatal(err)
	}
	key := verifier.PublicKey(agent.Key)
	if c := h.Check(key); c != verifier.HandOverCounts {
		t.Fatalf("the page's example: %s", c)
	}
	if got := h.Hash(); !bytes.Equal(got[:], testkit.SpecBytes(t, spec, "handover.md", "hex hash")) {
		t.Errorf("its hash is %s", got)
	}
	for i := range len(b) * 8 {
		flipped := bytes.Clone(b)
		flipped[i/8] ^= 1 << (i % 8)
		if h, err := verifier.ParseHandOver(flipped); err == nil && h.Check(key) == verifier.HandOverCounts {
			t.Errorf("it counts with bit %d changed", i)
		}
	}
	for n := range len(b) {
		if _, err := verifier.ParseHandOver(b[:n]); err == nil {
			t.Errorf("%d bytes of it parse", n)
		}
	}
}

func FuzzHandOvers(f *testing.F) {
	f.Add(testkit.SpecBytes(f, spec, "handover.md", "hex handover"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := verifier.ParseHandOvers(b)
		if err != nil {
			return
		}
		var again []byte
		for _, h := range all {
			again = h.Append(again)
		}
		if !bytes.Equal(again, b) {
			t.Error("what parses does not encode to the same bytes")
		}
	})
}

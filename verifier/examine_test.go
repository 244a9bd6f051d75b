package verifier_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

// TestNoFalseRed verifies good histories with a fast check of signatures that refuses good
// ones, by any number of examiners: the report is that of a right one.
func TestNoFalseRed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	history := testkit.NewAgent("alice").History(1500, 10)
	unsigned := testkit.NewAgent("alice").History(200, 10)
	for i := range unsigned {
		unsigned[i][testkit.OffSignature] ^= 1
	}
	report := func(history [][]byte, examiners int, lie func([]bool)) *verifier.Report {
		var pile verifier.Pile
		xs := make([]verifier.Examiner, examiners)
		for i := range xs {
			if i%2 == 1 { // it had a bad history before
				xs[i].AppendFindings(nil, unsigned...)
				xs[i].Reset()
			}
			xs[i].Lie(lie)
		}
		for rest := history; len(rest) > 0; {
			some := rest[:min(1+rng.IntN(64), len(rest))]
			rest = rest[len(some):]
			findings := xs[rng.IntN(examiners)].AppendFindings(nil, some...)
			for i := range findings {
				if err := pile.Add(&findings[i], ""); err != nil {
					t.Fatal(err)
				}
			}
		}
		return verifier.Link(&pile, verifier.Pins{})
	}
	asked := 0
	for name, lie := range map[string]func(valid []bool){
		"all": func(valid []bool) { asked += len(valid); clear(valid) },
		"some": func(valid []bool) {
			for i := range valid {
				valid[i] = valid[i] && rng.IntN(50) > 0
			}
		},
	} {
		for _, n := range []int{1, 17, 100, len(history)} {
			for _, examiners := range []int{1, 2, 8} {
				shuffled := slices.Clone(history[:n])
				if n%2 == 0 {
					rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				}
				got, want := report(shuffled, examiners, lie), report(history[:n], 1, nil)
				if want.Verdict() != verifier.Verified {
					t.Fatal("the history is not good")
				}
				if reportJSON(t, got) != reportJSON(t, want) {
					t.Errorf("%s, %d checkpoints, %d examiners: %s, with %d problems", name, n, examiners, got.Verdict(), got.NumProblems())
				}
			}
		}
	}
	if asked == 0 {
		t.Error("the fast check was not asked")
	}
}

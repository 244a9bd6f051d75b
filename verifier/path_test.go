package verifier_test

import (
	"slices"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

func TestPath(t *testing.T) {
	life := testkit.NewAgent("path").History(5, 10)
	hashes := make([]verifier.Hash, len(life))
	for i, checkpoint := range life {
		hashes[i] = testkit.Hash(checkpoint)
	}
	changed := slices.Clone(life[2])
	changed[len(changed)-1]++
	missing := verifier.Hash{1}
	for _, c := range []struct {
		name     string
		supplied [][]byte
		pins     verifier.Pins
		want     []verifier.Hash // nil: not a path
	}{
		{"whole", life, verifier.Pins{}, hashes},
		{"with duplicates", append(life[3:], life...), verifier.Pins{}, hashes},
		{"beginning cut off", life[2:], verifier.Pins{}, hashes[2:]},
		{"end cut off", life[:3], verifier.Pins{Head: &missing}, hashes[:3]},
		{"gap", [][]byte{life[0], life[2]}, verifier.Pins{}, nil},
		{"gaps and no genesis", [][]byte{life[1], life[3]}, verifier.Pins{}, nil},
		{"changed", [][]byte{life[0], life[1], changed}, verifier.Pins{}, nil},
		{"nothing", nil, verifier.Pins{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pile verifier.Pile
			for _, checkpoint := range slices.Backward(c.supplied) {
				f := verifier.Examine(checkpoint)
				if err := pile.Add(&f, ""); err != nil {
					t.Fatal(err)
				}
			}
			path, ok := verifier.Link(&pile, c.pins).Path()
			if ok != (c.want != nil) {
				t.Fatalf("is a path: %v", ok)
			}
			if ok && !slices.Equal(slices.Collect(path), c.want) {
				t.Errorf("got %v, want %v", slices.Collect(path), c.want)
			}
		})
	}
}

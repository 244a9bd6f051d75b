package verifier_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"igor.dev/internal/testkit"
	"igor.dev/verifier"
)

const spec = "../docs/spec"

// TestSpecExamples holds the pages to what the code does.
func TestSpecExamples(t *testing.T) {
	genesis := testkit.SpecBytes(t, spec, "checkpoint.md", "hex genesis")
	successor := testkit.SpecBytes(t, spec, "lineage.md", "hex successor")
	page, err := os.ReadFile("../docs/spec/checkpoint.md")
	if err != nil {
		t.Fatal(err)
	}
	f := verifier.Examine(genesis)
	for _, want := range []string{f.ContentHash.String(), f.ContentHash.CID(), f.AgentPubKey.DID(), verifier.FormatMicrocents(f.Budget), verifier.FormatMicrocents(f.PricePerSecond)} {
		if !strings.Contains(string(page), want) {
			t.Errorf("checkpoint.md has not %s", want)
		}
	}
	for _, row := range verifier.Fields(genesis)[:11] {
		if !strings.Contains(string(page), "| "+row.Name+" | "+row.Type+" |") {
			t.Errorf("checkpoint.md has no row %s %s", row.Name, row.Type)
		}
	}

	var pile verifier.Pile
	for name, b := range map[string][]byte{"0000000004.ckpt": genesis, "0000000009.ckpt": successor} {
		f := verifier.Examine(b)
		if err := pile.Add(&f, name); err != nil {
			t.Fatal(err)
		}
	}
	got := reportJSON(t, verifier.Link(&pile, verifier.Pins{}))
	if want := testkit.SpecBlock(t, spec, "lineage.md", "json report"); got != want {
		t.Errorf("the example's report is\n%s\nlineage.md has\n%s", got, want)
	}

	car := testkit.CAR(successor, genesis, successor)
	if want := testkit.SpecBytes(t, spec, "car.md", "hex car"); !bytes.Equal(car, want) {
		t.Errorf("the example's CAR is\n%x\ncar.md has\n%x", car, want)
	}
	if blocks, err := readCAR(car, len(car)); err != nil || len(blocks) != 2 {
		t.Errorf("%d blocks, %v", len(blocks), err)
	}
}

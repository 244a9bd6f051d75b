package witness

import (
	"bytes"
	"testing"

	"igor.dev/internal/testkit"
)

// TestSpecExamples holds the pages to what the code does.
func TestSpecExamples(t *testing.T) {
	const spec = "../../docs/spec"
	b := testkit.SpecBytes(t, spec, "forkproof.md", "hex fork-proof")
	p, err := ParseForkProof(b)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := p.Check(nil); err != nil || f.Kind != TwoHeads || f.Sides[0].Tick != 19 || !bytes.Equal(p.Append(nil), b) {
		t.Errorf("%+v, %v", f, err)
	}
	b = testkit.SpecBytes(t, spec, "succession.md", "hex succession")
	if s, err := ParseSuccession(b); err != nil || !s.Authentic() || s.Tick != 14 || !bytes.Equal(s.Append(nil), b) || len(b) != 283 {
		t.Errorf("%+v, %v", s, err)
	}
	b = testkit.SpecBytes(t, spec, "succession.md", "hex commitment")
	if c, err := ParseCommitment(b); err != nil || !c.Authentic() || !bytes.Equal(c.Append(nil), b) || len(b) != 147 {
		t.Errorf("%+v, %v", c, err)
	}
	if MaxForkProof != 135266304 || HeadSize != 157 {
		t.Error(MaxForkProof, HeadSize)
	}
}

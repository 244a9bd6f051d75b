package reference_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestHandOvers holds the judgement of hand-overs, written from the page alone, against
// all vectors.
func TestHandOvers(t *testing.T) {
	vectors, err := filepath.Glob("../../../testdata/handovers/*.json")
	if err != nil || len(vectors) < 30 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	out, err := exec.Command("python3", append([]string{"-B", "handovers.py"}, vectors...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

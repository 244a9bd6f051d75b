package signature

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// A vector is a case of testdata/ed25519, with the decision that it wants.
type vector struct {
	id    string
	check Check
	want  Decision
}

func vectors(tb testing.TB) []vector {
	raw, err := os.ReadFile("../../../testdata/ed25519/edge_cases.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct {
		Vectors []struct{ ID, Key, Sig, Msg, Decision string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		tb.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	decisions := map[string]Decision{"accepted": Accepted, "weak-key": WeakKey, "bad-signature": Bad}
	var out []vector
	count := map[Decision]int{}
	for _, v := range file.Vectors {
		want, ok := decisions[v.Decision]
		if !ok {
			tb.Fatalf("%s: unknown decision %q", v.ID, v.Decision)
		}
		message := unhex(v.Msg)
		half := len(message) / 2
		count[want]++
		out = append(out, vector{v.ID, Check{(*[32]byte)(unhex(v.Key)), (*[64]byte)(unhex(v.Sig)), message[:half], message[half:]}, want})
	}
	if len(out) != 926 || count[Accepted] != 88 || count[WeakKey] != 530 {
		tb.Fatalf("the file has %d vectors, of these %v", len(out), count)
	}
	return out
}

// TestEdgeCases decides on every vector by package rfc8032 alone and, in a run of
// its key, by package onekey first.
func TestEdgeCases(t *testing.T) {
	for _, v := range vectors(t) {
		var c Checker
		for i := range prepareAfter {
			if got := c.Check(&v.check); got != v.want {
				t.Errorf("%s, after %d of its key: %v, want %v", v.id, i, got, v.want)
			}
		}
		if c.onekey == nil && v.want == Accepted {
			t.Errorf("%s: package onekey was not asked", v.id)
		}
	}
}

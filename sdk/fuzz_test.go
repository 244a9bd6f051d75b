package sdk

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// FuzzEffectLog loads hostile bytes: what is taken is written again as it was, but for
// intents in flight, and lives on.
func FuzzEffectLog(f *testing.F) {
	b, err := os.ReadFile("../testdata/sdk/effects.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] != "#" {
			log, _ := hex.DecodeString(strings.Trim(words[1], "-"))
			f.Add(log)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var log EffectLog
		if log.UnmarshalBinary(b) != nil {
			return
		}
		saved, _ := log.MarshalBinary()
		var again EffectLog
		if err := again.UnmarshalBinary(saved); err != nil || len(saved) != len(b) {
			t.Fatalf("%x became %x, %v", b, saved, err)
		}
		if twice, _ := again.MarshalBinary(); !bytes.Equal(twice, saved) {
			t.Fatalf("%x became %x", saved, twice)
		}
		for _, effect := range log.Kept() {
			log.Observe(Finding{Outcome: OutcomeCompensated, Effect: effect})
		}
		if n := len(log.Kept()); n > 0 {
			t.Fatalf("%d are kept", n)
		}
	})
}

// FuzzFinding tells hostile findings.
func FuzzFinding(f *testing.F) {
	f.Add(append([]byte{4, 9}, make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &logger{}
		if observe(a, b) != nil {
			return
		}
		saved := a.Marshal()
		if next := (&logger{}); next.Unmarshal(saved) != nil || !bytes.Equal(next.Marshal(), saved) {
			t.Fatalf("%x makes a log that cannot be loaded: %x", b, saved)
		}
	})
}

// TestFindingLimits tells more than a log can keep.
func TestFindingLimits(t *testing.T) {
	var log EffectLog
	tell := func(n, result int) {
		f := Finding{Outcome: OutcomeEnded, Kind: 9, Return: int64(result), Result: make([]byte, result)}
		f.Effect[0], f.Effect[1] = byte(n), byte(n>>8)
		log.Observe(f)
	}
	tell(0, maxResults)
	tell(1, 1) // has no room: it may have happened
	if log.kept[0].outcome != OutcomeEnded || log.kept[1].outcome != OutcomeUnresolved || log.kept[1].returned != 0 {
		t.Errorf("got %+v", log.kept[1])
	}
	for n := 2; n < maxFindings; n++ {
		tell(n, 0)
	}
	saved, _ := log.MarshalBinary()
	if err := new(EffectLog).UnmarshalBinary(saved); err != nil {
		t.Error(err)
	}
	tell(5, 0) // known
	func() {
		defer func() {
			if recover() == nil {
				t.Error("one too many was taken")
			}
		}()
		tell(maxFindings, 0)
	}()
	log.Forget(log.Kept()[0])
	tell(maxFindings, 0)
	if n := len(log.Kept()); n != maxFindings {
		t.Errorf("%d are kept", n)
	}
}

package keeper

import (
	"reflect"
	"testing"

	"igor.dev/verifier"
)

// FuzzPlan reads a desired state as an operator, or a member that lies, may send it: what
// is read says the same again.
func FuzzPlan(f *testing.F) {
	one, two := verifier.PublicKey{1}, verifier.PublicKey{2}
	for _, p := range []Plan{{Nodes: []verifier.PublicKey{one}}, {Nodes: []verifier.PublicKey{one, two}, Drain: []verifier.PublicKey{two}, Agents: []PlannedAgent{{Agent: one, Nodes: []verifier.PublicKey{two}, Group: "web"}}}} {
		f.Add(p.JSON())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePlan(raw)
		if err != nil {
			return
		}
		again, err := ParsePlan(p.JSON())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q is %+v, and again %+v, %v", raw, p, again, err)
		}
	})
}

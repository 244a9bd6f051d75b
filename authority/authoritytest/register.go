package authoritytest

import "github.com/anishathalye/porcupine"

// An Op is what came of a call to an authority: of a read, or of an append if Append is set.
// A position is a P, such as its hash.
type Op[P comparable] struct {
	Append     bool
	Prev, Next P      // of an append
	Result     string // ok, conflict; anything else: nobody knows, and it may come yet
	Have       P      // what was read, or in the way
	Blind      bool   // what was in the way was not said
}

// Register is what an authority is for one agent: a register that is compared and replaced,
// and begins with a position. The outputs of its operations are of type Op[P].
func Register[P comparable](start P) porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{start} },
		Step: func(state, _, output any) []any {
			at, o := state.(P), output.(Op[P])
			switch {
			case !o.Append:
				if o.Have == at {
					return []any{at}
				}
				return nil
			case o.Result == "ok":
				if o.Prev == at {
					return []any{o.Next}
				}
				return nil
			case o.Result == "conflict":
				if o.Prev != at && (o.Have == at || o.Blind) {
					return []any{at}
				}
				return nil
			case o.Prev == at:
				return []any{at, o.Next}
			}
			return []any{at}
		},
		Equal: func(a, b any) bool { return a == b },
	}).ToModel()
}

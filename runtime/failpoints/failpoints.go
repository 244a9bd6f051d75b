// Package failpoints has the moments of a hand-over at which a crash must not matter, for
// the package that makes hand-overs: see runtime/internal/failpoint.
package failpoints

import "igor.dev/runtime/internal/failpoint"

// The points that are reached outside of package runtime.
const (
	MoveTakenIn  = failpoint.MoveTakenIn
	MovePromised = failpoint.MovePromised
	MoveFetched  = failpoint.MoveFetched
	MoveArrived  = failpoint.MoveArrived
)

// Reach says that the process is at a point.
func Reach(p failpoint.Point) { failpoint.Reach(p) }

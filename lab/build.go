package lab

import (
	"context"
	"slices"

	"igor.dev/internal/nodebuild"
)

// skews reports whether a script has nodes whose clocks are wrong.
func (s *Script) skews() bool {
	return slices.ContainsFunc(s.Steps, func(s Step) bool { return s.verb == "skew" })
}

// Build builds the igor-node that a script needs, in a clone, into a folder: with clocks
// that can be wrong where it says so.
func Build(ctx context.Context, s *Script, dir string) (program string, err error) {
	return nodebuild.Build(ctx, dir, s.skews(), nil)
}

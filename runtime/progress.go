package runtime

import (
	"context"

	"igor.dev/runtime/internal/progress"
)

// Progress is a line of text about long work that is under way, such as verifying a
// history or running it again. Its method String may be called at any time.
type Progress = progress.Line

// WithProgress returns a context in which the functions of this package say on p
// how far they are.
func WithProgress(ctx context.Context, p *Progress) context.Context { return progress.With(ctx, p) }

package runtime

import (
	"context"

	"igor.dev/runtime/internal/progress"
)

// Progress is a line of text about long work that is under way, such as verifying a
// history or running it again. Its zero value is empty.
type Progress struct{ line progress.Line }

// String returns what there is to say, "" if nothing takes long. It may be called at
// any time.
func (p *Progress) String() string { return p.line.String() }

// WithProgress returns a context in which the functions of this package say on p
// how far they are.
func WithProgress(ctx context.Context, p *Progress) context.Context {
	return progress.With(ctx, &p.line)
}

package runtime

import (
	"context"
	"iter"

	"igor.dev/runtime/internal/store"
	"igor.dev/verifier"
)

// ExportHistory writes the checkpoints in dir and below, an agent's folder or
// any other, as one CAR. It refuses a history in which something is wrong, and
// replaces no file. The report is that of what was written.
func ExportHistory(ctx context.Context, dir, file string) (*verifier.Report, error) {
	return store.Export(ctx, dir, file)
}

// ImportHistory writes the checkpoints of a CAR into the folder history of dir,
// which has to be absent or empty. It refuses a history in which something is
// wrong. The report is that of what was written.
func ImportHistory(ctx context.Context, file, dir string) (*verifier.Report, error) {
	return store.Import(ctx, file, dir)
}

// CheckpointsAfter yields the checkpoints of the agent in dir that come after a tick, in
// order, or all of them, while it may be lived. It believes the folder. What it yields is
// valid until it yields the next.
func CheckpointsAfter(dir string, tick uint64, all bool) iter.Seq2[[]byte, error] {
	return store.After(dir, tick, all)
}

package member

import (
	"context"

	"igor.dev/authority"
	"igor.dev/verifier"
)

// Bring has a member bring at once what it does in the background.
func (m *Member) Bring(ctx context.Context, agent verifier.PublicKey, p authority.Position) (int, error) {
	return m.bring(ctx, agent, p)
}

// Counts returns of how many agents a member keeps count of what was put.
func (m *Member) Counts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(len(m.pending), len(m.unborn))
}

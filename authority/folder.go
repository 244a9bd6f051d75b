package authority

import (
	"context"
	"sync"

	"igor.dev/verifier"
)

// A Folder is the authority of an agent whose home is its own folder: whoever holds the
// folder's lock knows what is in it, so the append is the sync that came before. It keeps
// nothing; a new one has the position that the folder was found in.
type Folder struct {
	mu    sync.Mutex
	agent verifier.PublicKey
	at    Position
}

// NewFolder returns the authority of a folder that was found at a position.
func NewFolder(agent verifier.PublicKey, found Position) *Folder {
	return &Folder{agent: agent, at: found}
}

// Append implements [Authority].
func (f *Folder) Append(_ context.Context, agent verifier.PublicKey, prev, next Position) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if agent != f.agent || prev != f.at {
		return &Conflict{f.at}
	}
	f.at = next
	return nil
}

// Read implements [Authority].
func (f *Folder) Read(_ context.Context, agent verifier.PublicKey) (Position, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if agent != f.agent || f.at.IsZero() {
		return Position{}, ErrNone
	}
	return f.at, nil
}

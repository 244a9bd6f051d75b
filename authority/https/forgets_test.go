package https_test

import (
	"context"
	"errors"
	"testing"

	"igor.dev/authority"
	"igor.dev/authority/member"
)

// forgets says of each append that it was made, and makes none after the first; what it shows
// is that.
type forgets struct {
	*member.Memory
	n int
}

func (f *forgets) Swap(ctx context.Context, s member.Swap) error {
	if f.n++; f.n > 1 {
		return nil
	}
	return f.Memory.Swap(ctx, s)
}

// TestMemberThatForgets has a member do what the page says that it can: say that an append
// was made which was not, and show an old position, which the agent did sign. The agent's
// node knows better, and refuses to go on from there; one that never had the agent does not.
func TestMemberThatForgets(t *testing.T) {
	agent, owner := key(1), key(3)
	of, ctx := public(agent), t.Context()
	m := serve(t, key(2), member.Config{Engine: &forgets{Memory: member.NewMemory()}})
	c := signed(t, client(t, owner, m), agent)
	first := begin(owner, 1)
	second := first
	second.Sequence, second.Head = 2, hash("later")
	if err := c.Append(ctx, of, authority.Position{}, first); err != nil {
		t.Fatal(err)
	}
	if err := c.Append(ctx, of, first, second); err != nil {
		t.Fatalf("it does not say that it made the append: %v", err)
	}
	seen := authority.Seen{Newest: authority.Entry{Agent: of, Position: second}}
	have, err := c.Read(ctx, of)
	if err != nil || have != first {
		t.Fatalf("it shows append %d, %v", have.Sequence, err)
	}
	if err := seen.Check(have); !errors.As(err, new(*authority.LostError)) {
		t.Errorf("the agent's node goes on from append %d: %v", have.Sequence, err)
	}
	if err := (&authority.Seen{}).Check(have); err != nil {
		t.Errorf("a node that never had the agent cannot know: %v", err)
	}
}

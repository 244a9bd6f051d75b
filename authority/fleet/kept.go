package fleet

import (
	"context"
	"errors"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// Seal has the fleet keep an agent's sealed keys.
func (c *Client) Seal(ctx context.Context, sealed []byte) error {
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Seal, Value: sealed})
	if err == nil {
		err = a.Err()
	}
	return err
}

// Sealed returns an agent's sealed keys. Its error is [authority.ErrNone] if there are none.
func (c *Client) Sealed(ctx context.Context, agent verifier.PublicKey) (k authority.SealedKeys, err error) {
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Sealed, Agent: agent})
	if err == nil {
		err = a.Err()
	}
	if err == nil {
		k, err = authority.ParseSealedKeys(a.Value)
	}
	if err == nil && k.Agent != agent {
		err = errors.New("a member answers with another agent's sealed keys")
	}
	return k, err
}

// Plan has the fleet keep its desired state, of an operator.
func (c *Client) Plan(ctx context.Context, p *authority.Plan) error {
	if err := p.Check(); err != nil {
		return err
	}
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Plan, Value: p.Append(nil)})
	if err == nil {
		err = a.Err()
	}
	return err
}

// Planned returns the fleet's desired state, if it is another one than the one whose number
// is known; else a plan without a number. Its error is [authority.ErrNone] if there is none.
func (c *Client) Planned(ctx context.Context, known uint64) (p authority.Plan, err error) {
	a, err := c.any(ctx, &protocol.Request{Kind: protocol.Planned, Known: known})
	if err == nil {
		err = a.Err()
	}
	if err != nil || len(a.Value) == 0 && known > 0 {
		return p, err
	}
	return authority.ParsePlan(a.Value)
}

// ReadTerms returns the position of an agent with what is said of who else may go on with
// it, and how long the lease on it still runs, at most.
func (c *Client) ReadTerms(ctx context.Context, agent verifier.PublicKey) (p authority.Position, t authority.Terms, err error) {
	e, _, err := c.read(ctx, agent)
	if err == nil && len(e.Terms) > 0 {
		t, err = authority.ParseTerms(e.Terms)
	}
	return e.Position, t, err
}

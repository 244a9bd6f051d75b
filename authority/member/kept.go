package member

import (
	"context"
	"errors"
	"fmt"
	"math"

	"igor.dev/authority"
	"igor.dev/authority/protocol"
	"igor.dev/verifier"
)

// What a member keeps beside positions: agents' sealed keys (docs/spec/sealed-keys.md), and
// the fleet's desired state (docs/spec/desired-state.md).

const namePlan = "plan"

func nameSealed(agent verifier.PublicKey) string { return "sealed/" + string(agent[:]) }

// seal keeps an agent's sealed keys, of its owner.
func (m *Member) seal(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	k, err := authority.ParseSealedKeys(r.Value)
	if err != nil {
		return refuse(authority.NotSigned, err.Error())
	}
	held, err := m.Engine.Read(ctx, k.Agent)
	if err != nil {
		return of(err)
	}
	if held.Position.Owner != caller {
		return refuse(authority.NotOwner, fmt.Sprintf("%s is not the agent's owner", caller.DID()))
	}
	for _, s := range k.Keys {
		if s.Node != caller && !allowed(&held.Entry, s.Node) {
			return refuse(authority.NotAllowed, fmt.Sprintf("the agent's manifest does not allow the node %s", s.Node.DID()))
		}
	}
	var before authority.SealedKeys
	have, err := m.Engine.Value(ctx, nameSealed(k.Agent))
	if err == nil {
		before, err = authority.ParseSealedKeys(have.Bytes)
	}
	if err != nil && !errors.Is(err, authority.ErrNone) {
		return unavailable(err)
	}
	if err := k.Follows(&before); err != nil {
		return refuse(authority.InTheWay, err.Error())
	}
	return m.keep(ctx, nameSealed(k.Agent), Value{k.Number, r.Value})
}

func (m *Member) keep(ctx context.Context, name string, v Value) protocol.Answer {
	err := m.Engine.Keep(ctx, name, v)
	if errors.Is(err, ErrNotNext) {
		return refuse(authority.InTheWay, err.Error())
	}
	return of(err)
}

// sealed returns an agent's sealed keys, to those that may know of the agent.
func (m *Member) sealed(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	held, err := m.Engine.Read(ctx, r.Agent)
	if err != nil {
		return of(err)
	}
	if !m.mayRead(caller, &held.Entry) {
		return refuse(authority.NotAllowed, fmt.Sprintf("the agent's manifest does not allow the node %s", caller.DID()))
	}
	v, err := m.Engine.Value(ctx, nameSealed(r.Agent))
	a := of(err)
	a.Value = v.Bytes
	return a
}

// plan keeps the fleet's desired state, of an operator, who may be at any member.
func (m *Member) plan(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	if !m.isOperator(caller) && !m.isMember(caller) {
		return refuse(authority.NotOperator, "an operator says what the fleet is to be")
	}
	p, err := authority.ParsePlan(r.Value)
	if err != nil {
		return protocol.Answer{Status: protocol.Malformed, Reason: err.Error()}
	}
	a := m.keep(ctx, namePlan, Value{p.Number, r.Value})
	if a.Status == protocol.Done {
		m.Log.Info("the fleet's desired state is another one", "number", p.Number, "operator", caller.DID())
	}
	return a
}

// planned returns the fleet's desired state, to the nodes that it names, and to operators.
func (m *Member) planned(ctx context.Context, caller verifier.PublicKey, r *protocol.Request) protocol.Answer {
	v, err := m.Engine.Value(ctx, namePlan)
	if err != nil {
		return of(err)
	}
	p, err := authority.ParsePlan(v.Bytes)
	switch {
	case err != nil:
		return unavailable(err)
	case !p.Names(caller) && !m.isOperator(caller) && !m.isMember(caller):
		return refuse(authority.NotAllowed, fmt.Sprintf("the fleet's desired state does not name the node %s", caller.DID()))
	}
	a := protocol.Answer{Status: protocol.Done, Value: v.Bytes}
	if r.Known == p.Number && r.Known != math.MaxUint64 {
		a.Value = nil
	}
	return a
}

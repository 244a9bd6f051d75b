package authority

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"igor.dev/verifier"
)

// A Plan is a fleet's desired state as its members keep it: what an operator wrote, and
// which nodes may read it. See docs/spec/desired-state.md.
type Plan struct {
	Number uint64               // from 1, one more each time
	Nodes  []verifier.PublicKey // in ascending order, each once
	Text   []byte
}

const planContext = "igor/plan/v1\x00"

// Limits of plans.
const (
	MaxPlanText = 900_000
	MaxPlan     = len(planContext) + 8 + 2 + 32*MaxNodes + MaxPlanText
)

// Append appends the plan's bytes.
func (p *Plan) Append(dst []byte) []byte {
	dst = append(dst, planContext...)
	dst = le.AppendUint64(dst, p.Number)
	dst = le.AppendUint16(dst, uint16(len(p.Nodes)))
	for i := range p.Nodes {
		dst = append(dst, p.Nodes[i][:]...)
	}
	return append(dst, p.Text...)
}

// Check says what is wrong with a plan.
func (p *Plan) Check() error {
	if p.Number == 0 || len(p.Nodes) > MaxNodes || len(p.Text) > MaxPlanText {
		return fmt.Errorf("a plan of number %d, %d nodes and %d bytes", p.Number, len(p.Nodes), len(p.Text))
	}
	for i := range p.Nodes {
		if i > 0 && bytes.Compare(p.Nodes[i-1][:], p.Nodes[i][:]) >= 0 {
			return errors.New("a plan whose nodes are not in order, each once")
		}
	}
	return nil
}

// ParsePlan reads a plan. Its Text aliases b.
func ParsePlan(b []byte) (p Plan, err error) {
	head := len(planContext) + 8 + 2
	if len(b) < head || len(b) > MaxPlan || !bytes.HasPrefix(b, []byte(planContext)) {
		return p, errors.New("not a plan of version 1")
	}
	p.Number = le.Uint64(b[len(planContext):])
	count := int(le.Uint16(b[head-2:]))
	if count > MaxNodes || len(b) < head+32*count {
		return Plan{}, errors.New("a plan that is cut short, or names too many nodes")
	}
	for i := range count {
		p.Nodes = append(p.Nodes, verifier.PublicKey(b[head+32*i:][:32]))
	}
	p.Text = b[head+32*count:]
	if err := p.Check(); err != nil {
		return Plan{}, err
	}
	return p, nil
}

// Names reports whether a node may read the plan.
func (p *Plan) Names(node verifier.PublicKey) bool { return slices.Contains(p.Nodes, node) }

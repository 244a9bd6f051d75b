package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"igor.dev/authority"
	"igor.dev/node/price"
	"igor.dev/verifier"
)

// A Plan is a fleet's desired state: docs/spec/desired-state.md.
type Plan struct {
	Nodes  []verifier.PublicKey
	Agents []PlannedAgent
	Drain  []verifier.PublicKey // of Nodes, those that are to be empty
}

// A PlannedAgent is one that the fleet keeps alive.
type PlannedAgent struct {
	Agent verifier.PublicKey
	Nodes []verifier.PublicKey // of the plan's; none = all
	Group string
}

// MaxPlanned is how many agents a plan has.
const MaxPlanned = 16384

type planFile struct {
	Nodes  []string        `json:"nodes"`
	Drain  []string        `json:"drain,omitempty"`
	Agents []planFileAgent `json:"agents"`
}

type planFileAgent struct {
	Agent string   `json:"agent"`
	Nodes []string `json:"nodes,omitempty"`
	Group string   `json:"group,omitempty"`
}

// ParsePlan reads a plan's file.
func ParsePlan(b []byte) (p Plan, err error) {
	if len(b) > authority.MaxPlanText {
		return p, fmt.Errorf("it has %d bytes, and at most %d are read", len(b), authority.MaxPlanText)
	}
	var f planFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return p, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return p, errors.New("something comes after it")
	}
	within := func(what string, dids []string, of []verifier.PublicKey) (all []verifier.PublicKey, err error) {
		seen := map[verifier.PublicKey]bool{}
		for _, did := range dids {
			k, err := verifier.ParseDID(did)
			switch {
			case err != nil:
				return nil, fmt.Errorf("%s: %q is no node: nodes are named by their DIDs, such as did:key:z6Mk…", what, did)
			case seen[k]:
				return nil, fmt.Errorf("%s: %s is there twice", what, did)
			case of != nil && !slices.Contains(of, k):
				return nil, fmt.Errorf("%s: %s is not among the nodes", what, did)
			}
			seen[k] = true
			all = append(all, k)
		}
		return all, nil
	}
	if p.Nodes, err = within("nodes", f.Nodes, nil); err != nil {
		return Plan{}, err
	}
	if len(p.Nodes) == 0 || len(p.Nodes) > authority.MaxNodes {
		return Plan{}, fmt.Errorf("nodes: there are %d, and a fleet has 1 to %d", len(p.Nodes), authority.MaxNodes)
	}
	if p.Drain, err = within("drain", f.Drain, p.Nodes); err != nil {
		return Plan{}, err
	}
	if len(f.Agents) > MaxPlanned {
		return Plan{}, fmt.Errorf("agents: there are %d, and at most %d are read", len(f.Agents), MaxPlanned)
	}
	seen := map[verifier.PublicKey]bool{}
	for _, a := range f.Agents {
		k, err := verifier.ParseDID(a.Agent)
		if err != nil {
			return Plan{}, fmt.Errorf("agents: %q: %w", a.Agent, err)
		}
		if seen[k] {
			return Plan{}, fmt.Errorf("agents: %s is there twice", a.Agent)
		}
		seen[k] = true
		if a.Group != "" && !price.IsName(a.Group) {
			return Plan{}, fmt.Errorf("agents: %s: the group %q is no name of a-z, 0-9, dots, - and _", a.Agent, a.Group)
		}
		one := PlannedAgent{Agent: k, Group: a.Group}
		if one.Nodes, err = within("nodes of "+a.Agent, a.Nodes, p.Nodes); err != nil {
			return Plan{}, err
		}
		p.Agents = append(p.Agents, one)
	}
	return p, nil
}

// JSON returns the plan's file.
func (p *Plan) JSON() []byte {
	f := planFile{Nodes: dids(p.Nodes), Drain: dids(p.Drain), Agents: []planFileAgent{}}
	for _, a := range p.Agents {
		f.Agents = append(f.Agents, planFileAgent{a.Agent.DID(), dids(a.Nodes), a.Group})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // of strings alone
	}
	return append(b, '\n')
}

func dids(all []verifier.PublicKey) (names []string) {
	for _, k := range all {
		names = append(names, k.DID())
	}
	return names
}

// Find returns what the plan says of an agent.
func (p *Plan) Find(agent verifier.PublicKey) *PlannedAgent {
	if i := slices.IndexFunc(p.Agents, func(a PlannedAgent) bool { return a.Agent == agent }); i >= 0 {
		return &p.Agents[i]
	}
	return nil
}

// On are the nodes on which an agent may be.
func (p *Plan) On(a *PlannedAgent) []verifier.PublicKey {
	if len(a.Nodes) > 0 {
		return a.Nodes
	}
	return p.Nodes
}

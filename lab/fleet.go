package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/node/keeper"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

// A Fleet says that the nodes are one.
type Fleet struct {
	Members []string `yaml:"members"` // nodes
	Lease   string   `yaml:"lease"`   // for how long a node may be silent
}

const memberPort = 7450

// members are the laboratory's way to a fleet, as its operator.
type members struct {
	description *fleet.Description
	via         *https.Transport
	client      *fleet.Client
}

// describe makes the nodes' fleet.
func (l *lab) describe(dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	public, operator, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	d := &fleet.Description{Name: "lab", Version: 1, Operators: []verifier.PublicKey{verifier.PublicKey(public)}}
	for _, p := range l.nodes {
		s := p.at()
		n := fleet.Node{Key: s.public, Addresses: []string{fmt.Sprintf("/ip4/%s/tcp/%d", s.host, nodePort)}, Domain: "domain-" + fmt.Sprint(s.i)}
		if slices.Contains(l.Script.Fleet.Members, s.name) {
			n.Member = fmt.Sprintf("%s:%d", s.host, memberPort)
		}
		d.Nodes = append(d.Nodes, n)
	}
	if err := d.Check(); err != nil {
		return err
	}
	for _, p := range l.nodes {
		if err := d.Write(filepath.Join(p.at().dir, fleet.FileDescription)); err != nil {
			return err
		}
	}
	via := https.NewTransport(operator)
	via.Dial = dial
	client, err := fleet.New(fleet.Config{Members: d.Members(), Via: via, Attempt: time.Second})
	l.members = &members{d, via, client}
	return err
}

// enter waits until the fleet lives, adds the agents to their nodes, and has the fleet keep
// them alive.
func (l *lab) enter(ctx context.Context) error {
	m := l.members
	err := l.until(ctx, "the fleet lives", func() bool { _, err := m.client.List(ctx); return err == nil })
	if err != nil {
		return err
	}
	plan := keeper.Plan{}
	for _, p := range l.nodes {
		plan.Nodes = append(plan.Nodes, p.at().public)
	}
	for i := range l.Script.Agents {
		a := &l.Script.Agents[i]
		at := l.named(a.At)
		if err := at.add(ctx, filepath.Join(at.at().dir, dirBorn, a.Name)); err != nil {
			return fmt.Errorf("%s is not added to the fleet: %w", a.Name, err)
		}
		plan.Agents = append(plan.Agents, keeper.PlannedAgent{Agent: a.public, Group: "lab"})
	}
	to := authority.Plan{Number: 1, Nodes: slices.Clone(plan.Nodes), Text: plan.JSON()}
	slices.SortFunc(to.Nodes, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	if err := m.client.Plan(ctx, &to); err != nil {
		return fmt.Errorf("the fleet's desired state: %w", err)
	}
	return l.until(ctx, "the keys of all agents are sealed to all nodes", func() bool {
		return !slices.ContainsFunc(l.Script.Agents, func(a Agent) bool {
			if resurrects, _ := a.Policy["resurrect"].(bool); !resurrects {
				return false
			}
			s, err := m.client.Sealed(ctx, a.public)
			return err != nil || len(s.Keys) != len(plan.Nodes)
		})
	})
}

// dirBorn has agents before they are added to a fleet, in a node's folder.
const dirBorn = "born"

func (l *lab) until(ctx context.Context, what string, is func() bool) error {
	for began := time.Now(); !is(); time.Sleep(50 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(began) > l.patience() {
			return fmt.Errorf("it did not come to this within %v: %s", l.patience(), what)
		}
	}
	return nil
}

// read records where the fleet says that an agent is, each time that this is another position.
func (l *lab) read(ctx context.Context, a *Agent) {
	var last authority.Position
	for ctx.Err() == nil {
		e := Event{Began: l.r.now(), What: Position, Agent: a.Name}
		p, err := l.members.client.Read(ctx, a.public)
		e.Ended = l.r.now()
		if err == nil && ctx.Err() == nil && p.Sequence != last.Sequence {
			for _, n := range l.nodes {
				if n.at().public == p.Owner {
					e.Node = n.at().name
				}
			}
			e.Moves, e.Takeovers, e.Sequence, e.Head = p.Major, p.Generation, p.Sequence, hex.EncodeToString(p.Head[:])
			l.r.add(e)
			last = p
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.every() * 5):
		}
	}
}

// rest waits until each agent lives at one node, with its whole history, and everybody else
// knows that it does not live there.
func (l *lab) rest(ctx context.Context) error {
	for i := range l.Script.Agents {
		a := &l.Script.Agents[i]
		err := l.until(ctx, a.Name+" lives at one node, with its whole history", func() bool {
			position, err := l.members.client.Read(ctx, a.public)
			if err != nil {
				return false
			}
			for _, p := range l.nodes {
				lives, err := p.look(ctx)
				_, here := lives[a.Name]
				folder := folderOf(filepath.Join(p.at().dir, "agents"), a.public)
				switch owns := p.at().public == position.Owner; {
				case err != nil, owns != here, owns && !runtime.Whole(folder), !owns && folder != "" && present(filepath.Join(folder, "key")):
					return false
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// positions holds what the fleet said against the life: it never went back, and every head
// that it had is in the history.
func (j *judge) fleetPositions() {
	var before []Event
	for _, e := range j.events {
		if e.What != Position || e.Agent != j.Name {
			continue
		}
		j.Positions++
		if h, err := hex.DecodeString(e.Head); err != nil || len(h) != len(verifier.Hash{}) || !j.whole[verifier.Hash(h)] {
			j.wrong("the fleet acknowledged a checkpoint (position %d, at %s) that is not in its life", e.Sequence, e.Node)
		}
		for _, o := range before {
			switch {
			case o.Ended < e.Began && o.Sequence > e.Sequence:
				j.wrong("the fleet said position %d, and after that position %d", o.Sequence, e.Sequence)
			case o.Sequence == e.Sequence && (o.Head != e.Head || o.Node != e.Node):
				j.wrong("the fleet said two things of position %d", e.Sequence)
			case o.Sequence < e.Sequence && (o.Takeovers > e.Takeovers || o.Moves > e.Moves), o.Sequence < e.Sequence && o.Node != e.Node && o.Moves == e.Moves && o.Takeovers == e.Takeovers:
				j.wrong("between position %d and %d its owner changed, and nothing that changes it", o.Sequence, e.Sequence)
			}
		}
		before = append(before, e)
	}
	if j.Positions == 0 {
		j.wrong("the fleet never said where it is")
	}
}

// fleetOf reads what a script says of a fleet.
func (s *Script) fleetOf() error {
	f := s.Fleet
	if f == nil {
		return nil
	}
	if s.Simulated {
		return errors.New("a fleet needs nodes that are processes")
	}
	if f.Lease == "" {
		f.Lease = "8s"
	}
	if d, err := time.ParseDuration(f.Lease); err != nil || d <= 0 || d > time.Hour {
		return fmt.Errorf("the fleet's lease %q is no time such as 8s", f.Lease)
	}
	if n := len(f.Members); n == 0 || n > len(s.Nodes) {
		return errors.New("the fleet has one of the nodes as a member at least, and mostly three")
	}
	for i, m := range f.Members {
		if k := s.node(m); k < 0 || s.Nodes[k].Later {
			return fmt.Errorf("the fleet's member %q is no node that runs from the start", m)
		}
		if slices.Contains(f.Members[:i], m) {
			return fmt.Errorf("the fleet's member %q is there twice", m)
		}
	}
	for i := range s.Agents {
		a := &s.Agents[i]
		if a.Policy == nil {
			a.Policy = map[string]any{}
		}
		if _, said := a.Policy["resurrect"]; !said {
			a.Policy["resurrect"] = true
		}
	}
	return nil
}

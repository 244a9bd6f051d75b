package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/internal/verifycli"
	"igor.dev/node/keeper"
	"igor.dev/verifier"
)

// planOf returns a fleet's desired state, and its number; 0 = there is none.
func planOf(ctx context.Context, c *fleet.Client) (p keeper.Plan, number uint64, err error) {
	kept, err := c.Planned(ctx, 0)
	switch {
	case errors.Is(err, authority.ErrNone):
		return p, 0, nil
	case err != nil:
		if r, ok := errors.AsType[*authority.Refusal](err); ok && r.Code == authority.NotAllowed {
			err = &authority.Refusal{Code: authority.NotOperator, Reason: r.Reason}
		}
		return p, 0, onlyOperators(err)
	}
	if p, err = keeper.ParsePlan(kept.Text); err != nil {
		err = fmt.Errorf("the fleet's desired state cannot be read: %w", err)
	}
	return p, kept.Number, err
}

// keepPlan makes a plan the fleet's, after the one of a number.
func keepPlan(ctx context.Context, c *fleet.Client, p *keeper.Plan, after uint64) error {
	next := authority.Plan{Number: after + 1, Nodes: slices.Clone(p.Nodes), Text: p.JSON()}
	slices.SortFunc(next.Nodes, func(a, b verifier.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	err := c.Plan(ctx, &next)
	if err != nil {
		// A member that was asked and did not answer may have done it.
		if kept, readErr := c.Planned(ctx, 0); readErr == nil && kept.Number == next.Number && bytes.Equal(kept.Text, next.Text) {
			return nil
		}
	}
	if r, ok := errors.AsType[*authority.Refusal](err); ok && r.Code == authority.InTheWay {
		return &hinted{errors.New("somebody else changed the fleet's desired state just now"), "igor fleet plan shows it; then do it again"}
	}
	return onlyOperators(err)
}

func fleetApplyCommand() *cobra.Command {
	var nodeKey string
	var dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "apply FILE [FLEET]",
		Short: "Say which agents a fleet keeps alive, and on which nodes",
		Long: `Apply makes FILE the fleet's desired state: which agents it keeps alive, and which nodes
may live them. The nodes do the rest by themselves: an agent whose node is gone lives on
at another one, if its manifest says "resurrect" and allows that node; one that is
where it should not be moves. What FILE does not name any more the fleet leaves alone.

  {"nodes": ["did:key:z6MkiT…", "did:key:z6Mkf9…", "did:key:z6Mkv2…"],
   "agents": [{"agent": "did:key:z6Mkp7…", "group": "watchers"}]}

It is for the fleet's operators, such as its members. Nodes that drain go on doing so.`,
		Example: `  igor fleet apply fleet-agents.json
  igor fleet apply fleet-agents.json --dry-run`,
		Args: planArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readPlan(args[0], authority.MaxPlanText)
			if err != nil {
				return failed(err)
			}
			want, err := keeper.ParsePlan(b)
			if err != nil {
				return failed(&hinted{fmt.Errorf("%s: %w", args[0], err), "docs/spec/desired-state.md has what can stand there"})
			}
			c, err := asOperator(second(args), nodeKey)
			if err != nil {
				return failed(err)
			}
			ctx, done := context.WithTimeout(cmd.Context(), fleetLimit)
			defer done()
			have, number, err := planOf(ctx, c)
			if err != nil {
				return failed(err)
			}
			if want.Drain == nil {
				want.Drain = slices.DeleteFunc(slices.Clone(have.Drain), func(n verifier.PublicKey) bool { return !slices.Contains(want.Nodes, n) })
			}
			changes := changesOf(&have, &want)
			if bytes.Equal(have.JSON(), want.JSON()) {
				changes = nil
			}
			if !dry && changes != nil {
				if err := keepPlan(ctx, c, &want, number); err != nil {
					return failed(err)
				}
				number++
			}
			if !asJSON {
				for _, change := range changes {
					if _, err := fmt.Fprintln(cmd.OutOrStdout(), change); err != nil {
						return failed(err)
					}
				}
				if changes == nil {
					fmt.Fprintln(cmd.OutOrStdout(), "it is so already")
				} else if dry {
					fmt.Fprintln(cmd.OutOrStdout(), "nothing is changed: --dry-run")
				}
			}
			return failed(showPlan(ctx, cmd.OutOrStdout(), c, &want, number, asJSON))
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", operatorKeyUsage)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would change")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the desired state, and how it stands, as JSON")
	return cmd
}

const operatorKeyUsage = "`FILE` of an operator's key (default: that of this machine's node, or igor/node.key in the user's configuration folder)"

// planArgs are one operand, and a fleet's name that may be left out.
func planArgs(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 2 {
			return nil
		}
		return operands(name)(cmd, args)
	}
}

func second(args []string) string {
	if len(args) > 1 {
		return args[1]
	}
	return ""
}

func readPlan(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// changesOf says what differs between two desired states, for people.
func changesOf(have, want *keeper.Plan) (all []string) {
	for _, n := range want.Nodes {
		if !slices.Contains(have.Nodes, n) {
			all = append(all, "+ node   "+n.DID())
		}
	}
	for _, n := range have.Nodes {
		if !slices.Contains(want.Nodes, n) {
			all = append(all, "- node   "+n.DID())
		}
	}
	for _, n := range want.Drain {
		if !slices.Contains(have.Drain, n) {
			all = append(all, "+ drain  "+n.DID())
		}
	}
	for _, n := range have.Drain {
		if !slices.Contains(want.Drain, n) {
			all = append(all, "- drain  "+n.DID())
		}
	}
	before := map[verifier.PublicKey]keeper.PlannedAgent{}
	for _, a := range have.Agents {
		before[a.Agent] = a
	}
	for _, a := range want.Agents {
		old, had := before[a.Agent]
		delete(before, a.Agent)
		switch {
		case !had:
			all = append(all, "+ agent  "+a.Agent.DID())
		case old.Group != a.Group || !slices.Equal(old.Nodes, a.Nodes):
			all = append(all, "~ agent  "+a.Agent.DID())
		}
	}
	for _, a := range have.Agents {
		if _, gone := before[a.Agent]; gone {
			all = append(all, "- agent  "+a.Agent.DID())
		}
	}
	if all == nil {
		all = []string{"~ order"}
	}
	return all
}

// A plannedJSON is an agent of the desired state, and how it stands, as programs read it.
type plannedJSON struct {
	DID    string   `json:"did"`
	Nodes  []string `json:"nodes"`
	Group  string   `json:"group,omitempty"`
	State  string   `json:"state"` // as of igor fleet status; "absent"
	Owner  string   `json:"owner,omitempty"`
	Sealed []string `json:"sealed"`         // who has its key, sealed to them
	Had    []string `json:"had"`            // who had it, and may not have it any more
	Note   string   `json:"note,omitempty"` // why it is not, or could not be, resurrected
}

type planJSON struct {
	Number uint64        `json:"number,string"`
	Nodes  []string      `json:"nodes"`
	Drain  []string      `json:"drain"`
	Agents []plannedJSON `json:"agents"`
}

// showPlan shows a desired state, and how it stands.
func showPlan(ctx context.Context, out io.Writer, c *fleet.Client, p *keeper.Plan, number uint64, asJSON bool) error {
	list, err := c.List(ctx)
	if err != nil {
		return onlyOperators(err)
	}
	entries := map[verifier.PublicKey]*authority.Entry{}
	for i := range list {
		entries[list[i].Agent] = &list[i]
	}
	shown := planJSON{Number: number, Nodes: []string{}, Drain: []string{}, Agents: []plannedJSON{}}
	for _, n := range p.Nodes {
		shown.Nodes = append(shown.Nodes, n.DID())
	}
	for _, n := range p.Drain {
		shown.Drain = append(shown.Drain, n.DID())
	}
	for i := range p.Agents {
		a := &p.Agents[i]
		one := plannedJSON{DID: a.Agent.DID(), Group: a.Group, State: "absent", Nodes: []string{}, Sealed: []string{}, Had: []string{}}
		for _, n := range p.On(a) {
			one.Nodes = append(one.Nodes, n.DID())
		}
		e := entries[a.Agent]
		if e == nil {
			one.Note = "the fleet is not its home, or it did not begin yet"
			shown.Agents = append(shown.Agents, one)
			continue
		}
		one.State, one.Owner = e.Position.State.String(), e.Position.Owner.DID()
		sealed, err := c.Sealed(ctx, a.Agent)
		if err != nil && !errors.Is(err, authority.ErrNone) {
			return err
		}
		others := 0
		for _, s := range sealed.Keys {
			one.Sealed = append(one.Sealed, s.Node.DID())
			if s.Node != e.Position.Owner && slices.Contains(p.On(a), s.Node) {
				others++
			}
		}
		for _, n := range sealed.Had {
			one.Had = append(one.Had, n.DID())
		}
		switch terms, err := authority.ParseTerms(e.Terms); {
		case err != nil || !slices.ContainsFunc(terms.Nodes, func(n verifier.PublicKey) bool { return n != e.Position.Owner && slices.Contains(p.On(a), n) }):
			one.Note = `its manifest allows no other of these nodes: igor upgrade FOLDER --manifest FILE at its node gives it another`
		case others == 0:
			one.Note = `its key is sealed to no other node: its manifest has no "resurrect", or its node was not asked yet`
		}
		shown.Agents = append(shown.Agents, one)
	}
	if asJSON {
		return writeJSON(out, shown)
	}
	fmt.Fprintf(out, "desired state %d: %s on %s\n", number, verifycli.Plural(len(p.Agents), "agent"), verifycli.Plural(len(p.Nodes), "node"))
	for _, n := range shown.Drain {
		fmt.Fprintf(out, "drains  %s\n", n)
	}
	t := verifycli.NewTable("AGENT", "STATE", "KEYS", "OWNER")
	for _, a := range shown.Agents {
		t.Row(a.DID, a.State, fmt.Sprint(len(a.Sealed)), cmp.Or(a.Owner, "-"))
	}
	if len(shown.Agents) > 0 {
		if err := t.Write(out); err != nil {
			return err
		}
	}
	for _, a := range shown.Agents {
		for _, n := range a.Had {
			fmt.Fprintf(out, "had the key of %s, and may not any more: %s\n", a.DID, n)
		}
		if a.Note != "" {
			fmt.Fprintf(out, "%s cannot be resurrected: %s\n", a.DID, a.Note)
		}
	}
	return nil
}

func fleetPlanCommand() *cobra.Command {
	var nodeKey string
	var asJSON, asFile bool
	cmd := &cobra.Command{
		Use:   "plan [FLEET]",
		Short: "Show which agents a fleet keeps alive, and who has keys",
		Example: `  igor fleet plan
  igor fleet plan --file >fleet-agents.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return operands("FLEET")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			c, err := asOperator(name, nodeKey)
			if err != nil {
				return failed(err)
			}
			ctx, done := context.WithTimeout(cmd.Context(), fleetLimit)
			defer done()
			p, number, err := planOf(ctx, c)
			if err == nil && number == 0 {
				err = &hinted{errors.New("the fleet has no desired state: it keeps no agent alive"), "igor fleet apply FILE"}
			}
			if err != nil {
				return failed(err)
			}
			if asFile {
				_, err := cmd.OutOrStdout().Write(p.JSON())
				return failed(err)
			}
			return failed(showPlan(ctx, cmd.OutOrStdout(), c, &p, number, asJSON))
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", operatorKeyUsage)
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	cmd.Flags().BoolVar(&asFile, "file", false, "write it as igor fleet apply reads it")
	return cmd
}

func fleetDrainCommand() *cobra.Command {
	var nodeKey string
	var end, noWait, asJSON bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE [FLEET]",
		Short: "Have a node of a fleet be empty, such as before it is stopped",
		Long: `Drain has NODE hand its agents over to the other nodes of the fleet, one after the
other, and take none. It waits until the node owns none of them. The node stays so, also
when it is started again, until --end.

What nobody took by then lives on there. When the node is stopped, its leases end, and
agents that may be resurrected live on elsewhere all the same.`,
		Example: `  igor fleet drain did:key:z6MkiT…
  igor fleet drain did:key:z6MkiT… --end`,
		Args: planArgs("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			node, err := verifier.ParseDID(args[0])
			if err != nil {
				return &hinted{fmt.Errorf("%q is no node's DID: want did:key:z6Mk… with 56 characters in all", args[0]), "nodes are named by their DIDs: igor fleet plan lists them"}
			}
			c, err := asOperator(second(args), nodeKey)
			if err != nil {
				return failed(err)
			}
			ctx, done := context.WithTimeout(cmd.Context(), fleetLimit)
			defer done()
			p, number, err := planOf(ctx, c)
			switch {
			case err == nil && number == 0:
				err = &hinted{errors.New("the fleet has no desired state"), "igor fleet apply FILE; or, of one node alone, igor-node drain"}
			case err == nil && !slices.Contains(p.Nodes, node):
				err = &hinted{fmt.Errorf("%s is not among the nodes of the fleet's desired state", args[0]), "igor fleet plan lists them"}
			}
			if err != nil {
				return failed(err)
			}
			if drains := slices.Contains(p.Drain, node); drains == end {
				if p.Drain = append(p.Drain, node); end {
					p.Drain = slices.DeleteFunc(p.Drain, func(n verifier.PublicKey) bool { return n == node })
				}
				if err := keepPlan(ctx, c, &p, number); err != nil {
					return failed(err)
				}
			}
			if !end && !noWait {
				err = awaitEmpty(cmd, c, node, within, asJSON)
			} else if !asJSON {
				what := "takes agents"
				if !end {
					what = "drains"
				}
				err = writeRows(cmd.OutOrStdout(), "node", what)
			}
			if asJSON {
				left, listErr := ownedBy(cmd.Context(), c, node)
				err = errors.Join(err, listErr, writeJSON(cmd.OutOrStdout(), struct {
					Node   string   `json:"node"`
					Drains bool     `json:"drains"`
					Left   []string `json:"left"`
				}{args[0], !end, left}))
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", operatorKeyUsage)
	cmd.Flags().BoolVar(&end, "end", false, "have it take agents again")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is empty")
	cmd.Flags().DurationVar(&within, "within", time.Hour, "wait for so long at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write what is left there as JSON")
	return cmd
}

// ownedBy lists the agents that live at a node.
func ownedBy(ctx context.Context, c *fleet.Client, node verifier.PublicKey) ([]string, error) {
	ctx, done := context.WithTimeout(ctx, fleetLimit)
	defer done()
	list, err := c.List(ctx)
	left := []string{}
	for i := range list {
		if p := &list[i].Position; p.Owner == node && (p.State == authority.Active || p.State == authority.HandingOver) {
			left = append(left, list[i].Agent.DID())
		}
	}
	return left, onlyOperators(err)
}

// awaitEmpty waits until a node owns no agent any more, and tells how many are left.
func awaitEmpty(cmd *cobra.Command, c *fleet.Client, node verifier.PublicKey, within time.Duration, quiet bool) error {
	told := -1
	for began := time.Now(); ; {
		left, err := ownedBy(cmd.Context(), c, node)
		switch {
		case err != nil && cmd.Context().Err() != nil:
			return err
		case err == nil && len(left) == 0:
			if quiet {
				return nil
			}
			err := writeRows(cmd.OutOrStdout(), "node", "is empty", "next", "stop it; and when it is back:")
			fmt.Fprintf(cmd.OutOrStdout(), "igor fleet drain %s --end\n", node.DID()) // in one line, which somebody copies
			return err
		case err == nil && len(left) != told && !quiet:
			told = len(left)
			fmt.Fprintf(cmd.ErrOrStderr(), "igor: still there: %s\n", verifycli.Plural(told, "agent"))
		}
		if time.Since(began) > within {
			return &hinted{errors.Join(fmt.Errorf("%s still there after %v", verifycli.Plural(len(left), "agent"), within), err), "igor-node agents there shows them, and its log why nobody took them"}
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

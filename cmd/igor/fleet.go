package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"igor.dev/authority"
	"igor.dev/authority/fleet"
	"igor.dev/authority/https"
	"igor.dev/internal/verifycli"
	"igor.dev/node/api"
	"igor.dev/runtime"
	"igor.dev/verifier"
)

func fleetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Have several machines be the home of agents, look at it, recover it",
		Long: `A fleet is several machines that run agents, of which some, mostly three, are its
members: any majority of them says who lives an agent, and keeps what a successor needs.
A FLEET is named by its description's file, or as agents name it, fleet:DID@HOST:PORT,…;
without a name it is the one in which this machine's node takes part.`,
		Example: `  igor fleet init acme did:key:z6MkA…@192.0.2.1 \
    did:key:z6MkB…@192.0.2.2 did:key:z6MkC…@192.0.2.3
  igor fleet join acme.json
  igor fleet status`,
		Args: cobra.ArbitraryArgs,
		RunE: noCommand,
	}
	cmd.AddCommand(fleetInitCommand(), fleetJoinCommand(), fleetChangeCommand(), fleetStatusCommand(), fleetApplyCommand(), fleetPlanCommand(), fleetDrainCommand(), fleetRecoverCommand())
	return cmd
}

// fleetLimit is how long it may take to ask a fleet.
const fleetLimit = time.Minute

// fleetNamed finds a fleet by a description's file, or by what agents call it; "" is the one
// in which this machine's node takes part. There is a description where it was not the
// agents' name.
func fleetNamed(name string) ([]fleet.Member, *fleet.Description, error) {
	if members, ok := strings.CutPrefix(name, fleet.Prefix); ok {
		all, err := fleet.ParseMembers(members)
		return all, nil, err
	}
	if name == "" {
		dir, err := api.DefaultDir()
		if err != nil {
			return nil, nil, err
		}
		d, err := fleet.DescriptionIn(dir)
		if err == nil && d == nil {
			err = &hinted{fmt.Errorf("the node of %s is in no fleet", dir), "igor fleet join FILE, or name a fleet: a description's file, or fleet:DID@HOST:PORT,…"}
		}
		if err != nil {
			return nil, nil, err
		}
		return d.Members(), d, nil
	}
	d, err := fleet.ReadDescription(name)
	if err != nil {
		return nil, nil, &hinted{fmt.Errorf("%q is no fleet: %w", name, err), "name it by its description's file, or as agents do: fleet:DID@HOST:PORT,…"}
	}
	return d.Members(), d, nil
}

// asOperator returns a fleet as one of its operators asks it.
func asOperator(name, nodeKey string) (*fleet.Client, error) {
	all, _, err := fleetNamed(name)
	if err != nil {
		return nil, err
	}
	if here, err := readNodeFolder(""); nodeKey == "" && err == nil {
		nodeKey = here.file
	}
	node, err := userNodeKey(nodeKey)
	if err == nil && node == nil {
		err = errors.New("--node-key FILE is missing: the user has no configuration folder")
	}
	if err != nil {
		return nil, err
	}
	return fleet.New(fleet.Config{Members: all, Via: https.NewTransport(node)})
}

// onlyOperators says what to do about a member that does not know this operator.
func onlyOperators(err error) error {
	if r, ok := errors.AsType[*authority.Refusal](err); ok && r.Code == authority.NotOperator {
		return &hinted{err, "name this node's DID among the operators of the fleet's members, or another key with --node-key"}
	}
	return err
}

// A memberJSON is a member of a fleet as programs read it.
type memberJSON struct {
	DID     string `json:"did"`
	Address string `json:"address"`
	State   string `json:"state"` // leads, follows, no majority, refuses, not reached
	Error   string `json:"error,omitempty"`
	Version uint64 `json:"version,string,omitempty"` // of the description that it knows
	Bytes   uint64 `json:"bytes,string,omitempty"`
}

// A fleetJSON is a fleet as programs read it.
type fleetJSON struct {
	Name    string       `json:"fleet,omitempty"`
	Home    string       `json:"home"`
	Version uint64       `json:"version,string,omitempty"`
	Members []memberJSON `json:"members"`
	Agents  []agentJSON  `json:"agents"`
}

type agentJSON struct {
	positionJSON
	Lease string `json:"lease"` // what is left of it, at most; "none", "endless"
}

// membersOf asks each member how the fleet is.
func membersOf(ctx context.Context, c *fleet.Client) []memberJSON {
	list := make([]memberJSON, len(c.Members))
	var asked sync.WaitGroup
	for i, m := range c.Members {
		asked.Go(func() {
			one := memberJSON{DID: m.Key.DID(), Address: m.Address, State: "follows"}
			s, err := c.Standing(ctx, m)
			switch {
			case has[*authority.Refusal](err):
				one.State, one.Error = "refuses", err.Error()
			case err != nil:
				one.State, one.Error = "not reached", err.Error()
			case s.Leader == (verifier.PublicKey{}):
				one.State = "no majority"
			case s.Leader == m.Key:
				one.State = "leads"
			}
			one.Version, one.Bytes = s.Version, s.Bytes
			list[i] = one
		})
	}
	asked.Wait()
	return list
}

// leasesAtOnce is how many agents' leases are asked for at the same time.
const leasesAtOnce = 16

// leasesOf adds to each agent for how long its owner's lease runs.
func leasesOf(ctx context.Context, c *fleet.Client, all []authority.Entry) []agentJSON {
	list := make([]agentJSON, len(all))
	turn := make(chan struct{}, leasesAtOnce)
	var asked sync.WaitGroup
	for i := range all {
		list[i] = agentJSON{positionOf(&all[i]), "unknown"}
		turn <- struct{}{}
		asked.Go(func() {
			defer func() { <-turn }()
			p, left, err := c.ReadLease(ctx, all[i].Agent)
			if err != nil {
				return
			}
			if p != all[i].Position { // it went on meanwhile
				all[i].Position = p
				list[i].positionJSON = positionOf(&all[i])
			}
			switch {
			case left == 0:
				list[i].Lease = "none"
			case left == 1<<32*time.Millisecond-time.Millisecond:
				list[i].Lease = "endless"
			default:
				list[i].Lease = left.Round(time.Second / 10).String()
			}
		})
	}
	asked.Wait()
	return list
}

func fleetStatusCommand() *cobra.Command {
	var nodeKey string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [FLEET]",
		Short: "Show a fleet's members, its agents, and who owns them",
		Long: `Status shows a fleet's members and who of them leads; and its agents: how often
something was appended, how often they moved and were taken over, how long the lease of
their owner still runs, and who that is. It is for members and operators.`,
		Example: `  igor fleet status
  igor fleet status acme.json
  igor fleet status fleet:did:key:z6Mk…@node1.example:7450`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			members, d, err := fleetNamed(name)
			if err != nil {
				return failed(err)
			}
			if d == nil {
				d = &fleet.Description{}
				for _, m := range members {
					d.Nodes = append(d.Nodes, fleet.Node{Key: m.Key, Member: m.Address})
				}
			}
			c, err := asOperator(name, nodeKey)
			if err != nil {
				return failed(err)
			}
			ctx, done := context.WithTimeout(cmd.Context(), fleetLimit)
			defer done()
			f := fleetJSON{Name: d.Name, Version: d.Version, Home: d.Home(), Members: membersOf(ctx, c)}
			all, err := c.List(ctx)
			f.Agents = leasesOf(ctx, c, all)
			if asJSON {
				return failed(errors.Join(writeJSON(cmd.OutOrStdout(), f), onlyOperators(err)))
			}
			if errs := f.print(cmd); errs != nil {
				return failed(errs)
			}
			if err != nil && !has[*authority.Refusal](err) && !slices.ContainsFunc(f.Members, func(m memberJSON) bool { return m.State != "not reached" }) {
				return failed(&hinted{errors.New("no member of the fleet is reached"), "igor node start runs a member; igor fleet status --json says why each is not reached"})
			}
			return failed(onlyOperators(err))
		},
	}
	cmd.Flags().StringVar(&nodeKey, "node-key", "", "`FILE` of a member's or an operator's key (default: that of this machine's node)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write it as JSON")
	return cmd
}

func (f *fleetJSON) print(cmd *cobra.Command) error {
	if f.Name != "" {
		if err := writeRows(cmd.OutOrStdout(), "fleet", f.Name, "version", strconv.FormatUint(f.Version, 10)); err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	t := verifycli.NewTable("MEMBER", "ADDRESS", "STATE", "STORE")
	for _, m := range f.Members {
		state, store := m.State, "-"
		switch {
		case m.Bytes >= 1e6:
			store = fmt.Sprintf("%.1f MB", float64(m.Bytes)/1e6)
		case m.Bytes > 0:
			store = fmt.Sprintf("%d kB", m.Bytes/1000)
		}
		if f.Version > 0 && m.Version > 0 && m.Version != f.Version {
			state += fmt.Sprintf(", knows version %d", m.Version)
		}
		t.Row(m.DID, m.Address, state, store)
	}
	if err := t.Write(cmd.OutOrStdout()); err != nil || len(f.Agents) == 0 {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	t = verifycli.NewTable("AGENT", "STATE", "APPENDS", "MOVES", "TAKEOVERS", "LEASE", "OWNER")
	for _, a := range f.Agents {
		t.Row(a.DID, a.State, fmt.Sprint(a.Appends), fmt.Sprint(a.Moves), fmt.Sprint(a.Takeovers), a.Lease, a.Owner)
	}
	return t.Write(cmd.OutOrStdout())
}

// A positionJSON is a position as programs read it.
type positionJSON struct {
	DID       string `json:"did"`
	Position  string `json:"position"` // its hash
	State     string `json:"state"`
	Appends   uint64 `json:"appends,string"`
	Moves     uint64 `json:"moves,string"`
	Takeovers uint64 `json:"takeovers,string"`
	Owner     string `json:"owner"`
	Head      string `json:"head"`
}

func positionOf(e *authority.Entry) positionJSON {
	p := &e.Position
	return positionJSON{e.Agent.DID(), p.Hash(e.Agent).String(), p.State.String(), p.Sequence, p.Major, p.Generation, p.Owner.DID(), p.Head.CID()}
}

func fleetRecoverCommand() *cobra.Command {
	var nodeKey string
	var picks []string
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "recover FLEET [FOLDER...]",
		Short: "Put back what a fleet's store lost",
		Long: `Recover asks the fleet's members what their nodes know of agents, and reads what the
agents' folders in FOLDER know, or FOLDER itself if it is an agent's: copies of those of
all nodes. It holds that against what the fleet's store has, and shows what differs.

With --yes the newest position of each agent is put back, and its owner can go on.
Where nodes contradict each other, the agent waits in recovery, and nobody lives it,
until --pick names which position counts: what the others know then is a fork, and is
lost.`,
		Example: `  igor fleet recover fleet:did:key:z6Mk…@node1.example:7450 /var/lib/igor
  igor fleet recover fleet:did:key:z6Mk…@node1.example:7450 /var/lib/igor --yes`,
		Args: func(cmd *cobra.Command, args []string) error { return operands("FLEET")(cmd, args[:min(1, len(args))]) },
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := asOperator(args[0], nodeKey)
			if err != nil {
				return failed(err)
			}
			ctx, done := context.WithTimeout(cmd.Context(), fleetLimit)
			defer done()
			store, err := c.List(ctx)
			if err != nil {
				return failed(onlyOperators(err))
			}
			nodes := map[string][]authority.Seen{}
			for _, m := range c.Members {
				seen, err := c.Seen(ctx, m)
				if err != nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "igor: what the member at %s knows is left out: %s\n", verifycli.Printable(m.Address), verifycli.Printable(err.Error()))
				}
				nodes[m.Key.DID()] = seen
			}
			for _, dir := range args[1:] {
				if err := readSeen(dir, nodes); err != nil {
					return failed(err)
				}
			}
			r := recovery{cmd: cmd, client: c, yes: yes, picks: map[string]string{}}
			for _, pick := range picks {
				did, position, ok := strings.Cut(pick, "=")
				if _, err := verifier.ParseDID(did); err != nil || !ok || len(position) < 8 {
					return fmt.Errorf("--pick %s: want DID=POSITION, of which the first 8 digits are enough", pick)
				}
				r.picks[did] = position
			}
			return failed(r.run(ctx, fleet.Compare(store, nodes), asJSON))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&nodeKey, "node-key", "", "`FILE` of an operator's key (default: igor/node.key in the user's configuration folder)")
	flags.BoolVar(&yes, "yes", false, "put back what is lost")
	flags.StringArrayVar(&picks, "pick", nil, "`DID=POSITION` that counts for an agent, where nodes contradict each other")
	flags.BoolVar(&asJSON, "json", false, "write what was found as JSON")
	return cmd
}

// readSeen reads what an agent's folder knows, or those of all agents in a folder.
func readSeen(dir string, nodes map[string][]authority.Seen) error {
	dirs := []string{dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	n := 0
	for _, d := range dirs {
		s, ok, err := runtime.ReadSeen(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &hinted{err, "move that file away, and another node's may do"}
		}
		if ok {
			nodes[d] = append(nodes[d], s)
			n++
		}
	}
	if n == 0 {
		return &hinted{fmt.Errorf("%s has no agent whose home is a fleet", dir), "name a folder of agents, such as /var/lib/igor, or a copy of one"}
	}
	return nil
}

// recovery is what igor fleet recover does.
type recovery struct {
	cmd    *cobra.Command
	client *fleet.Client
	yes    bool
	picks  map[string]string
}

// A candidateJSON is a position that may count.
type candidateJSON struct {
	positionJSON
	KnownTo []string `json:"knownTo"`
}

type findingJSON struct {
	DID        string          `json:"did"`
	Store      *positionJSON   `json:"store,omitempty"`
	Verdict    string          `json:"verdict"` // fine, lost, divided
	Candidates []candidateJSON `json:"candidates"`
	Done       string          `json:"done,omitempty"` // restored, in recovery
}

var verdictNames = map[fleet.Verdict]string{fleet.Fine: "fine", fleet.Lost: "lost", fleet.Divided: "divided"}

func (r *recovery) run(ctx context.Context, all []fleet.Finding, asJSON bool) error {
	found, fine, open := []findingJSON{}, 0, 0
	var errs []error
	for i := range all {
		f := &all[i]
		one := findingJSON{DID: f.Agent.DID(), Verdict: verdictNames[f.Verdict()], Candidates: []candidateJSON{}}
		if f.Store != nil {
			p := positionOf(f.Store)
			one.Store = &p
		}
		for _, c := range f.Candidates {
			one.Candidates = append(one.Candidates, candidateJSON{positionOf(&c.Entry), c.Nodes})
		}
		done, err := r.mend(ctx, f)
		if one.Done = done; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", one.DID, err))
		}
		switch {
		case f.Verdict() == fleet.Fine && done == "":
			fine++
		case done != "restored":
			open++
		}
		found = append(found, one)
	}
	if asJSON {
		errs = append(errs, writeJSON(r.cmd.OutOrStdout(), found))
	} else {
		for i := range found {
			if found[i].Verdict != "fine" || found[i].Done != "" {
				errs = append(errs, found[i].print(r.cmd))
			}
		}
		_, err := fmt.Fprintf(r.cmd.OutOrStdout(), "%d of %d agents are as nodes know them\n", fine, len(found))
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if err == nil && open > 0 && !r.yes {
		err = &hinted{fmt.Errorf("nothing is put back for %d agents", open), "igor fleet recover … --yes does"}
	} else if err == nil && open > 0 {
		err = &hinted{fmt.Errorf("%d agents wait in recovery", open), "--pick DID=POSITION says which position counts"}
	}
	return err
}

// mend does what there is to do about an agent, if it was asked to.
func (r *recovery) mend(ctx context.Context, f *fleet.Finding) (done string, err error) {
	if pick, ok := r.picks[f.Agent.DID()]; ok && r.yes {
		for _, c := range f.Candidates {
			if strings.HasPrefix(c.Position.Hash(f.Agent).String(), pick) {
				return "restored", r.client.Settle(ctx, f, c.Entry)
			}
		}
		return "", errors.New("nobody knows the position " + pick)
	}
	switch v := f.Verdict(); {
	case !r.yes || v == fleet.Fine:
		return "", nil
	case v == fleet.Lost:
		return "restored", r.client.Settle(ctx, f, f.Newest.Entry)
	case f.Store != nil && f.Store.Held():
		return "in recovery", nil
	}
	return "in recovery", r.client.Hold(ctx, f)
}

func (f *findingJSON) print(cmd *cobra.Command) error {
	rows := []string{"agent", f.DID}
	if f.Store == nil {
		rows = append(rows, "store", "does not know it")
	} else {
		rows = append(rows, "store", fmt.Sprintf("append %d, %s", f.Store.Appends, f.Store.State))
	}
	for _, c := range slices.Backward(f.Candidates) {
		rows = append(rows, "position", fmt.Sprintf("%s append %d, %s, of %s", c.Position, c.Appends, c.State, c.Owner))
		for _, n := range c.KnownTo {
			rows = append(rows, "  known to", n)
		}
	}
	verdict := map[string]string{"lost": "the store lost the newest position", "divided": "nodes contradict each other: somebody went on without what was lost", "fine": "the store has the newest position"}[f.Verdict]
	rows = append(rows, "found", verdict)
	if f.Done != "" {
		rows = append(rows, "now", f.Done)
	}
	if err := writeRows(cmd.OutOrStdout(), rows...); err != nil {
		return err
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout())
	return err
}

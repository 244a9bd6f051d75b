package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"igor.dev/internal/verifycli"
	"igor.dev/runtime"
	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/receipt"
	"igor.dev/x402/evm"
	"igor.dev/x402/wallet"
)

// A Result is what came of a run.
type Result struct {
	Dir    string
	Length time.Duration
	Agents []AgentResult
	Market *MarketResult // nil: there was no chain
	Text   string        // the timeline, in 80 columns
}

// A MarketResult is what the chain and the seller say at the end.
type MarketResult struct {
	Seller   int64            // what the seller has
	Left     map[string]int64 // in the wallet of each node
	Settled  int              // by the facilitator
	Problems []string
}

// Problems returns all that is wrong.
func (r *Result) Problems() (all []string) {
	for _, a := range r.Agents {
		for _, p := range a.Problems {
			all = append(all, a.Name+": "+p)
		}
	}
	if r.Market != nil {
		all = append(all, r.Market.Problems...)
	}
	return all
}

// An AgentResult is what became of an agent.
type AgentResult struct {
	Name, DID string
	At        string // the node at which it lives
	Tick      uint64
	Moves     int
	Nodes     int      // that have a history of it
	Path      []string // nodes, in the order in which it lived there
	Looks     int      // at nodes that had it alive
	Positions int      // that its fleet said
	Takeovers uint64
	Lost      int // intervals whose event log was lost with the node that was taken over
	Calls     int // requests that its event log has
	Sent      int // what its shop got that sends something
	Asked     int // and what only asks
	Payments  int // that the bank settled
	Paid      int64
	Bought    int   // by receipts of payments on the chain
	Spent     int64 // on them
	Costs     []NodeCost
	Born      int64 // its budget at its birth, and what is left of it
	Took      int64 // for its time, and what it paid at the pay endpoint, by receipts
	Left      int64
	Whole     bool  // there is a receipt for each checkpoint
	Held      int64 // for payments of which it is not known whether they were made
	Problems  []string
}

// A NodeCost is what an agent paid at a node: for its time, by that node's receipts, and for
// what it bought, by its own receipts of payments from that node's wallet.
type NodeCost struct {
	Node     string
	Receipts int
	Took     int64
	Bought   int
	Spent    int64
}

// A judge looks at an agent.
type judge struct {
	dir    string
	nodes  []string
	dids   map[string]string // of nodes, to their names
	events []Event
	wallet map[evm.Address]string // of nodes, to their names
	fleet  bool                   // they are one
	whole  map[verifier.Hash]bool // checkpoints of its life
	AgentResult
	agent verifier.PublicKey
}

func (j *judge) wrong(format string, args ...any) {
	j.Problems = append(j.Problems, fmt.Sprintf(format, args...))
}

func (j *judge) folder(node string) string {
	return folderOf(filepath.Join(j.dir, dirNodes, node, "agents"), j.agent)
}

// folderOf returns the folder of an agent among others, "" if it is not there: first of all
// one that was not given away.
func folderOf(dir string, agent verifier.PublicKey) (found string) {
	all, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, one := range all {
		life, err := runtime.ReadLife(one)
		if err != nil || life.Agent != agent {
			continue
		}
		if _, moved, err := runtime.ReadMoved(one); err == nil && !moved {
			return one
		}
		found = one
	}
	return found
}

// known finds out which agent it is, by a folder of its name.
func (j *judge) known() error {
	all, _ := filepath.Glob(filepath.Join(j.dir, dirNodes, "*", "*", j.Name))
	for _, dir := range all {
		if life, err := runtime.ReadLife(dir); err == nil {
			j.agent, j.DID = life.Agent, life.Agent.DID()
			return nil
		}
	}
	return errors.New("no node has it, or had it")
}

func present(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// look looks at everything that there is of an agent.
func (j *judge) look(ctx context.Context) error {
	if err := j.known(); err != nil {
		return err
	}
	for _, node := range j.nodes {
		dir := j.folder(node)
		if dir == "" {
			continue
		}
		j.Nodes++
		_, moved, err := runtime.ReadMoved(dir)
		if err != nil {
			return err
		}
		key := present(filepath.Join(dir, "key"))
		switch {
		case !moved && j.At != "":
			j.wrong("%s and %s both have it", j.At, node)
		case !moved:
			j.At = node
		case key:
			j.wrong("%s gave it away, and has its key", node)
		}
	}
	if j.At == "" {
		j.wrong("no node has it")
		return nil
	}
	life, err := runtime.ReadLife(j.folder(j.At))
	if err != nil {
		return err
	}
	j.Tick = life.Tick
	for _, e := range j.events {
		if e.What == Position && e.Agent == j.Name {
			j.Takeovers = max(j.Takeovers, e.Takeovers)
		}
	}
	if err := j.histories(ctx); err != nil {
		return err
	}
	if err := j.receipts(ctx); err != nil {
		return err
	}
	records, err := j.handOvers()
	if err != nil {
		return err
	}
	if !j.fleet { // a node of a fleet says what it believes, and finds out: the fleet knows
		j.positions(records)
	}
	return nil
}

// folders are all that nodes have of the agent, or had.
func (j *judge) folders() (all [][2]string) {
	for _, node := range j.nodes {
		if dir := j.folder(node); dir != "" {
			all = append(all, [2]string{node, dir})
		}
		left, _ := filepath.Glob(filepath.Join(j.dir, dirNodes, node, "left", "*"))
		for _, dir := range left {
			if life, err := runtime.ReadLife(dir); err == nil && life.Agent == j.agent {
				all = append(all, [2]string{node, dir})
			}
		}
	}
	return all
}

// histories verifies every node's history, wants those of earlier nodes to be the beginning
// of the newest, and runs that life again.
func (j *judge) histories(ctx context.Context) error {
	j.whole = map[verifier.Hash]bool{}
	for b, err := range runtime.Blocks(j.folder(j.At)) {
		if err != nil {
			return err
		}
		j.whole[sha256.Sum256(b)] = true
	}
	for _, f := range j.folders() {
		node, dir := f[0], f[1]
		source, err := history.Path(filepath.Join(dir, "history"))
		if err != nil {
			return err
		}
		v := history.Verification{Pins: verifier.Pins{DID: &j.agent}}
		report, err := v.Run(ctx, source)
		if err != nil {
			return err
		}
		// Of one that was taken over, the owner has fetched what only that had.
		if v := report.Verdict(); v != verifier.Verified && (v != verifier.Incomplete || dir == j.folder(j.At) || !j.fleet) {
			j.wrong("the history at %s does not verify", node)
		}
		other := 0
		for b, err := range runtime.Blocks(dir) {
			if err != nil {
				return err
			}
			if !j.whole[sha256.Sum256(b)] {
				other++
			}
		}
		if other > 1 || other > 0 && (j.Takeovers == 0 || dir == j.folder(node)) { // the one of which its fleet never heard
			j.wrong("%s has %d checkpoints that are not in its life: a fork", node, other)
		}
	}
	if j.fleet {
		j.fleetPositions()
	}
	dir := j.folder(j.At)
	wasm, err := os.ReadFile(filepath.Join(dir, "agent.wasm"))
	if err != nil {
		return err
	}
	man, err := os.ReadFile(filepath.Join(dir, "agent.manifest.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r, err := runtime.Replay(ctx, filepath.Join(dir, "history"), runtime.ReplayConfig{WASM: wasm, Manifest: man, Events: filepath.Join(dir, "events"), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	// A node that is killed while it writes down an interval's end may lose its event log.
	if j.Lost = r.Intervals - r.Replayed; r.Verdict != runtime.Replayed && (r.Verdict == runtime.Diverged || uint64(j.Lost) > j.Takeovers) {
		j.wrong("run again, it comes to something else: %s", r.Verdict)
	}
	return nil
}

// receipts holds the receipts of all nodes against the life, to the unit.
func (j *judge) receipts(ctx context.Context) error {
	var c receipt.Checker
	of := func(node string) *NodeCost {
		i := slices.IndexFunc(j.Costs, func(c NodeCost) bool { return c.Node == node })
		if i < 0 {
			i = len(j.Costs)
			j.Costs = append(j.Costs, NodeCost{Node: node})
		}
		return &j.Costs[i]
	}
	seen := map[[32]byte]bool{}
	dirs := []string{j.folder(j.At)}
	if j.Takeovers > 0 { // what a node gave before its agent was taken over from it is there alone
		for _, f := range j.folders() {
			dirs = append(dirs, f[1])
		}
	}
	var files []string
	for _, dir := range dirs {
		files = append(files, filepath.Join(dir, "receipts"), filepath.Join(dir, "receipts.x402"))
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for r := receipt.NewReader(bytes.NewReader(b)); ; {
			got, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if h := sha256.Sum256(got.Append(nil)); seen[h] {
				continue
			} else {
				seen[h] = true
			}
			if e, is := got.(*receipt.Execution); is && j.Takeovers > 0 {
				if !j.whole[e.Checkpoint] {
					continue // its fleet never got it
				}
			}
			c.Add(got)
			switch g := got.(type) {
			case *receipt.Execution:
				n := of(j.dids[g.Node.DID()])
				n.Receipts++
				n.Took += g.Cost
				j.Took += g.Cost
			case *receipt.Payment:
				j.Took += g.Amount
			case *receipt.Onchain:
				j.Bought++
				j.Spent += g.Amount
				if node, is := j.wallet[g.From]; is {
					n := of(node)
					n.Bought++
					n.Spent += g.Amount
				} else {
					j.wrong("a payment is from the wallet %s, which is no node's", evm.Address(g.From))
				}
			}
		}
	}
	newest := true
	for b, err := range runtime.Blocks(j.folder(j.At)) {
		if err != nil {
			return err
		}
		f := verifier.Examine(b)
		if c.AddCheckpoint(&f); newest {
			j.Left, newest = f.Budget, false
		}
	}
	r, err := c.Check()
	if err != nil {
		return err
	}
	all, err := runtime.Effects(ctx, j.folder(j.At))
	if err != nil {
		return err
	}
	for _, e := range all {
		if !e.Over() {
			j.Held += e.Held
		}
	}
	if j.Whole = r.Verdict == verifier.Verified; j.Takeovers > 0 && r.Verdict == verifier.Incomplete {
		return nil // a receipt of its last moment died with a node
	}
	if !j.Whole || j.Born-j.Took-j.Spent-j.Held != j.Left {
		for _, p := range r.Problems[:min(3, len(r.Problems))] {
			j.wrong("its receipts: %s at tick %d: %s", p.Code, p.Tick, p.Message)
		}
		j.wrong("the receipts do not account for what it paid: of %d microcents %d are left, and the receipts say %d and %d", j.Born, j.Left, j.Took, j.Spent)
	}
	return nil
}

// handOvers checks the records: one chain, in which everything is that a node confirmed.
func (j *judge) handOvers() ([]*verifier.HandOver, error) {
	b, err := os.ReadFile(filepath.Join(j.folder(j.At), "handovers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	records, err := verifier.ParseHandOvers(b)
	if err != nil {
		return nil, err
	}
	j.Moves = len(records)
	for i, h := range records {
		if i == 0 {
			j.Path = []string{j.dids[h.From.DID()]}
		}
		j.Path = append(j.Path, j.dids[h.To.DID()])
		if code := h.Check(j.agent); code != verifier.HandOverCounts {
			j.wrong("hand-over %d: %s", i+1, code.What())
		}
		if h.Number != uint64(i+1) || i > 0 && h.From != records[i-1].To && j.Takeovers == 0 {
			j.wrong("hand-over %d does not follow the one before it", i+1)
		}
	}
	if n := len(records); n > 0 && j.Takeovers == 0 && j.dids[records[n-1].To.DID()] != j.At {
		j.wrong("it lives at %s, and the last hand-over is to %s", j.At, j.dids[records[n-1].To.DID()])
	}
	for _, e := range j.events {
		if e.What != Moved || e.Agent != j.Name || e.Error != "" {
			continue
		}
		if e.Moves == 0 || e.Moves > uint64(len(records)) || j.dids[records[e.Moves-1].From.DID()] != e.Node || j.dids[records[e.Moves-1].To.DID()] != e.To {
			j.wrong("the hand-over from %s to %s was confirmed, and is not there", e.Node, e.To)
		}
	}
	return records, nil
}

// A place is where an agent is, after so many hand-overs.
type place struct {
	node  string
	moves uint64
}

// A step from one place to the next, of the model; a look has only to.
type passage struct {
	from, to place
	look     bool
}

// where models an agent that is at one place at any time.
func whereModel(start string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return place{node: start} },
		Step: func(state, input, _ any) (bool, any) {
			p := input.(passage)
			if p.look {
				return state == p.to, state
			}
			return state == p.from, p.to
		},
		Equal: func(a, b any) bool { return a == b },
	}
}

// positions wants all that nodes said about where it lives to be what one place at a time,
// changed by hand-overs alone, could have given.
func (j *judge) positions(records []*verifier.HandOver) {
	start := j.At
	if len(records) > 0 {
		start = j.dids[records[0].From.DID()]
	}
	var all []porcupine.Operation
	for i, h := range records {
		// It was committed while it was asked for, where that was confirmed; else at some
		// time: by a move that was cut off, or by the agent's own wish.
		began, ended := time.Duration(0), time.Duration(math.MaxInt64)
		for _, e := range j.events {
			if e.What == Moved && e.Agent == j.Name && e.Error == "" && e.Moves == uint64(i+1) {
				began, ended = e.Began, e.Ended
			}
		}
		p := passage{from: place{j.dids[h.From.DID()], uint64(i)}, to: place{j.dids[h.To.DID()], uint64(i + 1)}}
		all = append(all, porcupine.Operation{Input: p, Call: int64(began), Return: int64(ended)})
	}
	for _, e := range j.events {
		if l, here := e.Lives[j.Name]; here {
			j.Looks++
			all = append(all, porcupine.Operation{Input: passage{to: place{e.Node, l.Moves}, look: true}, Call: int64(e.Began), Return: int64(e.Ended)})
		}
	}
	for i := range all {
		all[i].ClientId = i
	}
	switch porcupine.CheckOperationsTimeout(whereModel(start), all, time.Minute) {
	case porcupine.Illegal:
		j.wrong("where nodes said that it lives is not linearizable")
	case porcupine.Unknown:
		j.wrong("whether its positions are linearizable could not be found out in a minute")
	}
}

// outside is what agents reached, nil if nothing of it is there any more.
type outside struct {
	shops  []*shop
	bank   *bank
	market *market
}

// effects holds what the shop and the bank got against what the life did.
func (j *judge) effects(ctx context.Context, s *shop, b *bank) error {
	var twice []string
	j.Sent, j.Asked, twice = s.sent()
	if len(twice) > 0 {
		j.wrong("%d requests were sent more than once", len(twice))
	}
	for _, bad := range b.bad {
		j.wrong("%s", bad)
	}
	if j.At == "" {
		return nil
	}
	j.Payments, j.Paid = b.of(j.agent)
	open := map[string]int{} // of which nobody knows whether they came
	all, err := runtime.Effects(ctx, j.folder(j.At))
	if err != nil {
		return err
	}
	for _, e := range all {
		if !e.Over() {
			open[e.Kind]++
		}
	}
	newest, err := runtime.NewestCheckpoint(j.folder(j.At))
	if err != nil {
		return err
	}
	_, life, err := runtime.CostsOf(ctx, newest)
	if err != nil {
		return err
	}
	for _, c := range life.Hostcalls {
		calls := int(c.Calls)
		switch c.Capability {
		case "http":
			j.Calls = calls
			got := j.Sent + j.Asked
			again := 0
			if j.Asked > 0 { // one that only asks is sent again, where the node died in the tick
				again = j.deaths()
			}
			if got < calls-open["http"] || got > calls+again {
				j.wrong("it made %d requests, of %d nobody knows whether they were sent, and its shop got %d", calls, open["http"], got)
			}
		case "x402":
			if j.Payments < calls-open["payment"] || j.Payments > calls {
				j.wrong("it began %d payments, of %d nobody knows whether they were made, and the bank settled %d", calls, open["payment"], j.Payments)
			}
			if open["payment"] == 0 && j.Paid != c.Spent {
				j.wrong("it spent %d microcents on payments, and the bank settled %d", c.Spent, j.Paid)
			}
		}
	}
	return nil
}

// deaths is how often nodes were killed.
func (j *judge) deaths() (n int) {
	for _, e := range j.events {
		if e.What == Did && strings.HasPrefix(e.Step, "kill ") {
			n++
		}
	}
	return n
}

// judge holds what was paid on the chain against the receipts of all agents.
func (m *market) judge(ctx context.Context, agents []AgentResult) (r *MarketResult, err error) {
	r = &MarketResult{Left: map[string]int64{}}
	wrong := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	if r.Seller, err = m.balance(ctx, seller); err != nil {
		return nil, err
	}
	spent, from := int64(0), map[string]int64{}
	for _, a := range agents {
		spent += a.Spent
		for _, c := range a.Costs {
			from[c.Node] += c.Spent
		}
	}
	if spent != r.Seller {
		wrong("the seller got %d on the chain, and the receipts of agents say %d", r.Seller, spent)
	}
	for node, address := range m.wallets {
		if r.Left[node], err = m.balance(ctx, address); err != nil {
			return nil, err
		}
		if paid := walletFunds - r.Left[node]; paid != from[node] {
			wrong("the wallet of %s paid %d on the chain, and the receipts of agents say %d", node, paid, from[node])
		}
	}
	if err := m.parts.try(func() { r.Settled = m.facilitator.Seen("settle done") }); err != nil {
		return nil, err
	}
	if int64(r.Settled)*reportPrice != spent {
		wrong("the facilitator settled %d payments of %d, and the receipts of agents say %d", r.Settled, reportPrice, spent)
	}
	return r, nil
}

// judgeAll looks at all agents of a recording.
func judgeAll(ctx context.Context, dir string, s *Script, dids map[string]string, events []Event, reached *outside) (*Result, error) {
	r := &Result{Dir: dir}
	for _, e := range events {
		r.Length = max(r.Length, e.Ended)
	}
	var nodes []string
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Name)
	}
	wallets, err := walletsOf(dir, nodes)
	if err != nil {
		return nil, err
	}
	for i, a := range s.Agents {
		j := &judge{dir: dir, nodes: nodes, fleet: s.Fleet != nil, dids: dids, events: events, wallet: wallets, AgentResult: AgentResult{Name: a.Name, Born: a.Budget}}
		if err := j.look(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		if reached.shops != nil {
			if err := j.effects(ctx, reached.shops[i], reached.bank); err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
		}
		r.Agents = append(r.Agents, j.AgentResult)
	}
	if reached.market != nil {
		var err error
		if r.Market, err = reached.market.judge(ctx, r.Agents); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// walletsOf returns those of a recording's nodes, none if there was no chain.
func walletsOf(dir string, nodes []string) (map[evm.Address]string, error) {
	all := map[evm.Address]string{}
	for _, node := range nodes {
		w, err := wallet.Open(filepath.Join(dir, dirNodes, node, fileWallet), wallet.Unlock{})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[w.Address()] = node
	}
	return all, nil
}

// Summary writes what came of a run, for a terminal.
func (r *Result) Summary() string {
	var b strings.Builder
	b.WriteString(r.Text + "\n")
	for i := range r.Agents {
		r.Agents[i].summary(&b)
	}
	if m := r.Market; m != nil {
		bought := 0
		for _, a := range r.Agents {
			bought += a.Bought
		}
		fmt.Fprintf(&b, "the chain\n  the seller has %s, by %s\n", verifier.FormatMicrocents(m.Seller), verifycli.Plural(m.Settled, "payment"))
		for _, node := range slices.Sorted(maps.Keys(m.Left)) {
			fmt.Fprintf(&b, "  the wallet of %s had %s, and has %s\n", node, verifier.FormatMicrocents(walletFunds), verifier.FormatMicrocents(m.Left[node]))
		}
		for _, p := range m.Problems {
			fmt.Fprintf(&b, "  WRONG: %s\n", p)
		}
		if len(m.Problems) == 0 {
			fmt.Fprintf(&b, "  right: to the unit what the agents' receipts say\n")
		}
	}
	return b.String()
}

func (a *AgentResult) summary(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s\n", a.Name, a.DID)
	fmt.Fprintf(b, "  lives at %s, tick %d, after %s", a.At, a.Tick, verifycli.Plural(a.Moves, "hand-over"))
	if a.Takeovers > 0 {
		fmt.Fprintf(b, " and %s", verifycli.Plural(int(a.Takeovers), "takeover"))
	}
	if a.Takeovers == 0 && len(a.Path) > 0 && len(a.Path) <= 10 {
		fmt.Fprintf(b, ": %s", strings.Join(a.Path, " > "))
	}
	b.WriteString("\n")
	if len(a.Problems) == 0 {
		fmt.Fprintf(b, "  one history from one genesis, verified; %s have it, or its beginning\n", verifycli.Plural(a.Nodes, "node"))
		if a.Lost == 0 {
			b.WriteString("  run again from its event log it comes to the same states\n")
		} else {
			fmt.Fprintf(b, "  run again it comes to the same states; the events of %s died with a node\n", verifycli.Plural(a.Lost, "interval"))
		}
		if a.Positions > 0 {
			fmt.Fprintf(b, "  %s of its fleet, none taken back, and each head is in its life\n", verifycli.Plural(a.Positions, "position"))
		} else {
			fmt.Fprintf(b, "  at one node at a time, in %s (linearizable)\n", verifycli.Plural(a.Looks, "look"))
		}
	}
	if a.Calls > 0 {
		fmt.Fprintf(b, "  %s in its event log; %d came to its shop, of them %d that send\n", verifycli.Plural(a.Calls, "request"), a.Sent+a.Asked, a.Sent)
	}
	if a.Payments > 0 {
		fmt.Fprintf(b, "  %s of %s at the pay endpoint\n", verifycli.Plural(a.Payments, "payment"), verifier.FormatMicrocents(a.Paid))
	}
	for _, c := range a.Costs {
		fmt.Fprintf(b, "  %-6s %s for %s of time", c.Node, verifycli.Plural(c.Receipts, "receipt"), verifier.FormatMicrocents(c.Took))
		if a.Bought > 0 {
			fmt.Fprintf(b, "; its wallet bought %d for %s", c.Bought, verifier.FormatMicrocents(c.Spent))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "  budget %s - %s", verifier.FormatMicrocents(a.Born), verifier.FormatMicrocents(a.Took))
	if a.Bought > 0 {
		fmt.Fprintf(b, " - %s", verifier.FormatMicrocents(a.Spent))
	}
	if a.Held > 0 {
		fmt.Fprintf(b, " - %s (held)", verifier.FormatMicrocents(a.Held))
	}
	if a.Whole {
		fmt.Fprintf(b, " = %s, to the unit\n", verifier.FormatMicrocents(a.Left))
	} else {
		fmt.Fprintf(b, " - ? = %s: some receipts died with a node\n", verifier.FormatMicrocents(a.Left))
	}
	for _, p := range a.Problems {
		for i, line := range verifycli.Wrap(p, width-9) {
			fmt.Fprintf(b, "  %6s %s\n", map[bool]string{true: "WRONG:"}[i == 0], line)
		}
	}
}

// draw writes the timelines into a recording.
func (r *Result) draw(s *Script, events []Event) error {
	t := newTrack(s, events)
	r.Text = t.text()
	if err := os.WriteFile(filepath.Join(r.Dir, fileTimeline), []byte(r.Text), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, fileDrawing), []byte(t.svg()), 0o600)
}

// Check looks again at a recording: all but what was sent to shops, which are gone.
func Check(ctx context.Context, dir string) (*Result, error) {
	s, err := ReadScript(dir)
	if err != nil {
		return nil, err
	}
	events, err := readEvents(dir)
	if err != nil {
		return nil, err
	}
	dids := map[string]string{}
	for _, n := range s.Nodes {
		path := filepath.Join(dir, dirNodes, n.Name, "node.key")
		if !present(path) {
			return nil, fmt.Errorf("%s is no recording: it has no node %s", dir, n.Name)
		}
		key, err := runtime.NodeKey(path)
		if err != nil {
			return nil, err
		}
		dids[verifier.PublicKey(key.Public().(ed25519.PublicKey)).DID()] = n.Name
	}
	r, err := judgeAll(ctx, dir, s, dids, events, &outside{})
	if err != nil {
		return nil, err
	}
	return r, r.draw(s, events)
}

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
)

// A Result is what came of a run.
type Result struct {
	Dir    string
	Length time.Duration
	Agents []AgentResult
	Text   string // the timeline, in 80 columns
}

// Problems returns all that is wrong.
func (r *Result) Problems() (all []string) {
	for _, a := range r.Agents {
		for _, p := range a.Problems {
			all = append(all, a.Name+": "+p)
		}
	}
	return all
}

// An AgentResult is what became of an agent.
type AgentResult struct {
	Name, DID string
	At        string // the node at which it lives
	Tick      uint64
	Moves     int
	Nodes     int // that have a history of it
	Looks     int // at nodes that had it alive
	Sent      int // what its shop got
	Payments  int // that the bank settled
	Paid      int64
	Costs     []NodeCost // by the receipts of each node
	Problems  []string
}

// A NodeCost is what an agent paid to a node for its time, by that node's receipts.
type NodeCost struct {
	Node     string
	Receipts int
	Took     int64
}

// A judge looks at an agent.
type judge struct {
	dir    string
	nodes  []string
	dids   map[string]string // of nodes, to their names
	events []Event
	AgentResult
	agent verifier.PublicKey
}

func (j *judge) wrong(format string, args ...any) {
	j.Problems = append(j.Problems, fmt.Sprintf(format, args...))
}

func (j *judge) folder(node string) string {
	return filepath.Join(j.dir, dirNodes, node, "agents", j.Name)
}

func present(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// look looks at everything that there is of an agent.
func (j *judge) look(ctx context.Context) error {
	for _, node := range j.nodes {
		dir := j.folder(node)
		if !present(filepath.Join(dir, "history")) {
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
	j.agent, j.DID, j.Tick = life.Agent, life.Agent.DID(), life.Tick
	if err := j.histories(ctx); err != nil {
		return err
	}
	if err := j.receipts(); err != nil {
		return err
	}
	records, err := j.handOvers()
	if err != nil {
		return err
	}
	j.positions(records)
	return nil
}

// histories verifies every node's history, wants those of earlier nodes to be the beginning
// of the newest, and runs that life again.
func (j *judge) histories(ctx context.Context) error {
	whole := map[verifier.Hash]bool{}
	for b, err := range runtime.Blocks(j.folder(j.At)) {
		if err != nil {
			return err
		}
		whole[sha256.Sum256(b)] = true
	}
	for _, node := range j.nodes {
		dir := j.folder(node)
		if !present(filepath.Join(dir, "history")) {
			continue
		}
		source, err := history.Path(filepath.Join(dir, "history"))
		if err != nil {
			return err
		}
		v := history.Verification{Pins: verifier.Pins{DID: &j.agent}}
		report, err := v.Run(ctx, source)
		if err != nil {
			return err
		}
		if report.Verdict() != verifier.Verified {
			j.wrong("the history at %s does not verify", node)
		}
		other := 0
		for b, err := range runtime.Blocks(dir) {
			if err != nil {
				return err
			}
			if !whole[sha256.Sum256(b)] {
				other++
			}
		}
		if other > 0 {
			j.wrong("%s has %d checkpoints that are not in its life: a fork", node, other)
		}
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
	if r.Verdict != runtime.Replayed {
		j.wrong("run again, it comes to something else: %s", r.Verdict)
	}
	return nil
}

// receipts holds the receipts of all nodes against the life, to the unit.
func (j *judge) receipts() error {
	var c receipt.Checker
	b, err := os.ReadFile(filepath.Join(j.folder(j.At), "receipts"))
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
		c.Add(got)
		if e, is := got.(*receipt.Execution); is {
			node := j.dids[e.Node.DID()]
			i := slices.IndexFunc(j.Costs, func(c NodeCost) bool { return c.Node == node })
			if i < 0 {
				i = len(j.Costs)
				j.Costs = append(j.Costs, NodeCost{Node: node})
			}
			j.Costs[i].Receipts++
			j.Costs[i].Took += e.Cost
		}
	}
	for b, err := range runtime.Blocks(j.folder(j.At)) {
		if err != nil {
			return err
		}
		f := verifier.Examine(b)
		c.AddCheckpoint(&f)
	}
	r, err := c.Check()
	if err != nil {
		return err
	}
	if r.Verdict != verifier.Verified {
		j.wrong("the receipts do not account for what it paid")
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
		if code := h.Check(j.agent); code != verifier.HandOverCounts {
			j.wrong("hand-over %d: %s", i+1, code.What())
		}
		if h.Number != uint64(i+1) || i > 0 && h.From != records[i-1].To {
			j.wrong("hand-over %d does not follow the one before it", i+1)
		}
	}
	if n := len(records); n > 0 && j.dids[records[n-1].To.DID()] != j.At {
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

// effects holds what the shop and the bank got against what the life did.
func (j *judge) effects(ctx context.Context, s *shop, b *bank) error {
	sent, asked, twice := s.sent()
	j.Sent = sent + asked
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
			if asked == 0 && (j.Sent < calls-open["http"] || j.Sent > calls) { // one that only asks may be sent again
				j.wrong("it began %d requests, of %d nobody knows whether they were sent, and its shop got %d", calls, open["http"], j.Sent)
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

// judgeAll looks at all agents of a recording.
func judgeAll(ctx context.Context, dir string, s *Script, dids map[string]string, events []Event, shops []*shop, b *bank) (*Result, error) {
	r := &Result{Dir: dir}
	for _, e := range events {
		r.Length = max(r.Length, e.Ended)
	}
	var nodes []string
	for _, n := range s.Nodes {
		nodes = append(nodes, n.Name)
	}
	for i, a := range s.Agents {
		j := &judge{dir: dir, nodes: nodes, dids: dids, events: events, AgentResult: AgentResult{Name: a.Name}}
		if err := j.look(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		if shops != nil {
			if err := j.effects(ctx, shops[i], b); err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
		}
		r.Agents = append(r.Agents, j.AgentResult)
	}
	return r, nil
}

// Summary writes what came of a run, for a terminal.
func (r *Result) Summary() string {
	var b strings.Builder
	b.WriteString(r.Text + "\n")
	for _, a := range r.Agents {
		fmt.Fprintf(&b, "%s  %s\n", a.Name, a.DID)
		fmt.Fprintf(&b, "  at %s, tick %d, %s, histories at %s, %s\n", a.At, a.Tick, verifycli.Plural(a.Moves, "hand-over"), verifycli.Plural(a.Nodes, "node"), verifycli.Plural(a.Looks, "look"))
		if a.Sent > 0 {
			fmt.Fprintf(&b, "  sent %s, and made %s of %s\n", verifycli.Plural(a.Sent, "request"), verifycli.Plural(a.Payments, "payment"), verifier.FormatMicrocents(a.Paid))
		}
		for _, c := range a.Costs {
			fmt.Fprintf(&b, "  %s of %s for %s\n", verifycli.Plural(c.Receipts, "receipt"), c.Node, verifier.FormatMicrocents(c.Took))
		}
		for _, p := range a.Problems {
			fmt.Fprintf(&b, "  WRONG: %s\n", p)
		}
		if len(a.Problems) == 0 {
			b.WriteString("  one life: verified, run again, receipts to the unit, everything once, linearizable\n")
		}
	}
	return b.String()
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
	r, err := judgeAll(ctx, dir, s, dids, events, nil, nil)
	if err != nil {
		return nil, err
	}
	return r, r.draw(s, events)
}

package verifycli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/receipt"
)

// The files of receipts in an agent's folder.
const (
	receiptsName = "receipts"
	onchainName  = "receipts.x402"
)

const receiptsFormat = "igor-receipts-report/1"

// receipts checks files of receipts, against checkpoints where they are given.
func (in *invocation) receipts(args []string, out *bufio.Writer) (code int, err error) {
	if err := in.parse(args, []string{"text", "json"}); err != nil {
		return 0, err
	}
	if in.pins.Head != nil {
		return 0, in.usageError("receipts has no flag --head")
	}
	if in.spec != 0 {
		return 0, in.usageError("receipts has no flag --report")
	}
	c := &receipt.Checker{Agent: in.pins.DID}
	for _, path := range in.paths {
		if err := in.addReceipts(c, path); err != nil {
			return 0, err
		}
	}
	r, err := c.Check()
	if err != nil {
		return 0, &failure{err.Error(), "name the file " + receiptsName + " of an agent's folder, or the folder"}
	}
	if in.format == "json" {
		err = outputError(writeReceiptsJSON(out, r))
	} else {
		writeReceipts(out, r, PaletteOf(in.stdout))
	}
	return r.Verdict.ExitCode(), err
}

// ReadReceipts checks the receipts that paths name, as igor-verify receipts does, for who wants
// to do more with them. agent is pinned, if it is not nil.
func ReadReceipts(paths []string, agent *verifier.PublicKey, stdin io.Reader) (*receipt.Report, error) {
	in := &invocation{stdin: stdin}
	c := &receipt.Checker{Agent: agent}
	for _, path := range paths {
		if err := in.addReceipts(c, path); err != nil {
			return nil, err
		}
	}
	return c.Check()
}

// addReceipts adds what a path names: an agent's folder, checkpoints, a CAR, or a
// file of receipts.
func (in *invocation) addReceipts(c *receipt.Checker, path string) error {
	if path == "-" {
		return addReceiptFile(c, "standard input", in.stdin)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return history.Walk(path, func(e history.Entry) error {
			if e.Kind != verifier.KindCheckpoint && e.Kind != verifier.KindReceipts && !e.Segment {
				return nil
			}
			return in.addReceipts(c, e.Path)
		}, verifier.KindCheckpoint, verifier.KindReceipts)
	}
	f, err := history.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	name := filepath.Base(path)
	kind, err := history.KindOf(name, f)
	if err != nil {
		return &failure{path + ": " + cause(err), "check the path"}
	}
	switch {
	case name == receiptsName, name == onchainName: // whatever is in it
	case kind == verifier.KindCheckpoint:
		b, err := readCheckpoint(path, f)
		if err != nil {
			return err
		}
		f := verifier.Examine(b)
		c.AddCheckpoint(&f)
		return nil
	case kind == verifier.KindCAR || kind == verifier.KindCARv2:
		return addReceiptCAR(c, path, f)
	case kind.Use() == verifier.Refuse || kind == verifier.KindMacOS:
		return &failure{path + ": this is " + kind.What(), kind.Next()}
	}
	return addReceiptFile(c, path, f)
}

func addReceiptFile(c *receipt.Checker, name string, r io.Reader) error {
	for rs := receipt.NewReader(r); ; {
		got, err := rs.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = c.Add(got)
		}
		if err != nil {
			return &failure{name + ": " + cause(err), "there is no verdict on a file that is not whole; get it again"}
		}
	}
}

func addReceiptCAR(c *receipt.Checker, name string, r io.Reader) error {
	refuse := func(err error) error {
		return &failure{name + ": " + cause(err), "igor-verify " + name + " says more"}
	}
	err := history.EachBlock(r, func(_ []byte, f *verifier.Finding) error {
		c.AddCheckpoint(f)
		return nil
	})
	if err != nil { // a cut CAR would hide what is missing
		return refuse(err)
	}
	return nil
}

func writeReceipts(w io.Writer, r *receipt.Report, p Palette) {
	row := func(label, text string) {
		for _, line := range Wrap(text, columns-labelWidth) {
			fmt.Fprintf(w, "%s%s\n", p.Paint(Dim, fmt.Sprintf("%-*s", labelWidth, label)), line)
			label = ""
		}
	}
	several := len(r.Lives) > 1
	if r.Agent != nil && (r.Pinned || !several) {
		row("agent", r.Agent.DID()+" ("+identity(r)+")")
	}
	if several {
		label := choose(r.Pinned, "also", "keys")
		for _, text := range receiptLives(r) {
			row(label, text)
			label = ""
		}
	}
	row("found", Plural(r.Executions, "execution")+", "+Plural(r.Payments, "payment"))
	if r.Verdict != verifier.Invalid {
		money := fmt.Sprintf("added %s, cost %s, paid %s", r.Added, r.Cost, r.Paid)
		if r.Verdict == verifier.Verified { // else what was added may be in a receipt that is missing
			money += fmt.Sprintf(", left %s", r.Added.Less(r.Cost).Less(r.Paid))
		}
		row("money", money)
	}
	for _, l := range listReceipts(r) {
		for i, text := range l.rows {
			if i == mostListed {
				text = fmt.Sprintf("and %d more (--format json lists all)", len(l.rows)-mostListed)
			}
			row(choose(i == 0, l.label, ""), text)
			if i == mostListed {
				break
			}
		}
	}
	fmt.Fprintln(w)
	const most = 12
	for i, q := range r.Problems {
		if i == most {
			fmt.Fprintf(w, "and %d more (--format json lists all)\n", len(r.Problems)-most)
			break
		}
		style := Red
		if q.Code.Incomplete() {
			style = Yellow
		}
		title := p.Paint(style, string(q.Code))
		if q.Index >= 0 {
			title += "  receipt " + strconv.Itoa(q.Index)
		}
		fmt.Fprintf(w, "%s  tick %d\n", title, q.Tick)
		for _, line := range Wrap(Printable(q.Message), columns-2) {
			fmt.Fprintln(w, "  "+line)
		}
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range p.Proves(receiptsProve(r)) {
		fmt.Fprintln(w, line)
	}
	verdict := r.Verdict.String()
	fmt.Fprintf(w, "\n%s: %s\n", p.Paint(verdictStyle(r.Verdict), verdict), receiptsVerdict(r))
}

// quoted writes what the agent chose: in quotes, without anything that does harm in a
// line, also where that is broken, and no longer than one.
func quoted(s string) string { return Clip(Printable(strconv.Quote(s)), columns) }

// mostListed is how many rows of a kind people are shown.
const mostListed = 12

type receiptRows struct {
	label string
	rows  []string
}

// listReceipts says who gave how much for what: the nodes that the agent lived on, what
// came into its budget, and what it paid.
func listReceipts(r *receipt.Report) []receiptRows {
	var lived, added, paid, moved, rented []string
	for _, n := range receiptNodes(r) {
		lived = append(lived, fmt.Sprintf("%s: %s, ticks %d to %d, cost %s", n.DID, Plural(n.Executions, "execution"), n.FirstTick, n.LastTick, n.cost))
	}
	for _, e := range r.Lived {
		if e.Added > 0 {
			added = append(added, fmt.Sprintf("%s, %s", verifier.FormatMicrocents(e.Added), choose(e.Prev.IsZero(), "at its birth", fmt.Sprintf("in the ticks up to %d", e.Tick))))
		}
	}
	for _, p := range r.Bought {
		text := verifier.FormatMicrocents(p.Amount) + " to " + quoted(p.Recipient)
		if p.Memo != "" {
			text += " for " + quoted(p.Memo)
		}
		paid = append(paid, text+", "+receiptTime(p.Time))
	}
	for _, o := range r.Moved {
		moved = append(moved, fmt.Sprintf("%s to 0x%x on eip155:%d, %s; asset 0x%x, transaction 0x%x in block %d, by the word of %d of %d nodes of the chain",
			verifier.FormatMicrocents(o.Amount), o.To, o.Chain, receiptTime(o.Time), o.Asset, o.Transaction, o.Block, o.Agreed, o.Asked))
	}
	for _, e := range r.Rented {
		rented = append(rented, fmt.Sprintf("%s to %s for %s, %s; from 0x%x on eip155:%d, asset 0x%x, transaction 0x%x",
			verifier.FormatMicrocents(e.Amount), e.Node.DID(), rentedFor(e), receiptTime(e.Time), e.From, e.Chain, e.Asset, e.Transaction))
	}
	return []receiptRows{{"node", lived}, {"added", added}, {"paid", paid}, {"chain", moved}, {"rent", rented}}
}

func rentedFor(r *receipt.Rent) string {
	if r.Lease() {
		return "a lease from " + receiptTime(r.Begins) + " to " + receiptTime(r.Ends)
	}
	return Plural(int(min(r.Receipts, 1<<31)), "execution") + " up to " + r.Checkpoint.CID()
}

// receiptLives says how much is authentic of which agents, but for a pinned one.
func receiptLives(r *receipt.Report) []string {
	const most = 4
	var rows []string
	others := len(r.Lives)
	for _, l := range r.Lives {
		if len(rows) == most {
			break
		}
		if others--; r.Pinned && l.Agent == *r.Agent {
			continue
		}
		var has []string
		if l.Checkpoints > 0 {
			has = append(has, Plural(l.Checkpoints, "checkpoint"))
		}
		if l.Receipts > 0 {
			has = append(has, Plural(l.Receipts, "receipt"))
		}
		rows = append(rows, l.Agent.DID()+" ("+strings.Join(has, ", ")+")")
	}
	if others > 0 {
		rows = append(rows, "and "+Plural(others, "other key"))
	}
	return rows
}

func receiptTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339) }

// A receiptNode is a node that signed executions.
type receiptNode struct {
	DID        string `json:"did"`
	Executions int    `json:"executions"`
	FirstTick  uint64 `json:"firstTick,string"`
	LastTick   uint64 `json:"lastTick,string"`
	Cost       string `json:"costMicrocents"`

	cost receipt.Sum
}

// receiptNodes are the nodes in the order in which the agent came to them.
func receiptNodes(r *receipt.Report) []*receiptNode {
	nodes := []*receiptNode{}
	by := make(map[verifier.PublicKey]*receiptNode)
	for _, e := range r.Lived {
		n := by[e.Node]
		if n == nil {
			n = &receiptNode{DID: e.Node.DID(), FirstTick: e.Tick - min(e.Tick, e.Ticks)}
			by[e.Node], nodes = n, append(nodes, n)
		}
		n.Executions, n.LastTick = n.Executions+1, e.Tick
		n.cost.Add(max(0, e.Cost))
	}
	for _, n := range nodes {
		n.Cost = n.cost.Microcents()
	}
	return nodes
}

func identity(r *receipt.Report) string { return choose(r.Pinned, "pinned", "self-asserted") }

func receiptsVerdict(r *receipt.Report) string {
	receipts := Plural(r.Receipts, "receipt")
	switch r.Verdict {
	case verifier.Verified:
		return receipts + ", every microcent accounted for; identity " + identity(r)
	case verifier.Incomplete:
		return Plural(len(r.Problems), "problem") + " in " + receipts + "; not a whole account"
	}
	return Plural(len(r.Problems), "problem") + " in " + receipts + "; do not rely on them"
}

func receiptsProve(r *receipt.Report) (proves, doesNot string) {
	if r.Verdict != verifier.Verified {
		return "Only that the authentic ones of these receipts were signed by the keys that they name.", ""
	}
	return "The nodes signed these receipts, and they account for every microcent of the budgets that they name.",
		"It does not prove that the time was spent, that the price was fair, who the nodes are, or that there are no later receipts." +
			choose(len(r.Moved) > 0, " What is said of chains is the agent's word: no chain was asked.", "") +
			choose(len(r.Rented) > 0, " That rent was paid is the node's word: no chain was asked.", "")
}

func hex0x(b []byte) string { return fmt.Sprintf("0x%x", b) }

// A receiptLife is how much is authentic of an agent, or of the others.
type receiptLife struct {
	DID         string `json:"did,omitempty"`
	Others      int    `json:"others,omitempty"`
	Checkpoints int    `json:"checkpoints"`
	Receipts    int    `json:"receipts"`
}

// listLives lists as many as the report of a lineage does.
func listLives(lives []receipt.Life) []receiptLife {
	const most = 100
	var all []receiptLife
	for i, l := range lives {
		if i < most {
			all = append(all, receiptLife{l.Agent.DID(), 0, l.Checkpoints, l.Receipts})
			continue
		}
		if i == most {
			all = append(all, receiptLife{})
		}
		others := &all[most]
		others.Others++
		others.Checkpoints += l.Checkpoints
		others.Receipts += l.Receipts
	}
	return all
}

func writeReceiptsJSON(w io.Writer, r *receipt.Report) error {
	type problem struct {
		Code    receipt.Code `json:"code"`
		Index   int          `json:"index"`
		Tick    uint64       `json:"tick,string"`
		Message string       `json:"message"`
	}
	type added struct {
		Node   string `json:"node"`
		Tick   uint64 `json:"tick,string"` // the last that it came before
		Amount int64  `json:"amountMicrocents,string"`
	}
	type payment struct {
		Recipient string `json:"recipient"`
		Memo      string `json:"memo"`
		Amount    int64  `json:"amountMicrocents,string"`
		Time      string `json:"time"`
	}
	type onchain struct {
		Network     string `json:"network"` // as CAIP-2 writes it
		Asset       string `json:"asset"`
		From        string `json:"from"`
		To          string `json:"to"`
		Amount      int64  `json:"amountMicrocents,string"`
		Transaction string `json:"transaction"`
		Block       uint64 `json:"block,string"`
		BlockHash   string `json:"blockHash"`
		Agreed      uint8  `json:"nodesAgreed"`
		Asked       uint8  `json:"nodesAsked"`
		Nonce       string `json:"nonce"`
		Time        string `json:"time"`
	}
	type rent struct {
		Node        string `json:"node"`
		Network     string `json:"network"`
		Asset       string `json:"asset"`
		From        string `json:"from"`
		To          string `json:"to"`
		Amount      int64  `json:"amountMicrocents,string"`
		Transaction string `json:"transaction"`
		Nonce       string `json:"nonce"`
		Receipts    uint64 `json:"receipts,string,omitempty"`
		Prev        string `json:"prev,omitempty"`
		Checkpoint  string `json:"checkpoint,omitempty"`
		Begins      string `json:"begins,omitempty"`
		Ends        string `json:"ends,omitempty"`
		Time        string `json:"time"`
	}
	report := struct {
		Format       string         `json:"format"`
		Verdict      string         `json:"verdict"`
		DID          string         `json:"did,omitempty"`
		Identity     string         `json:"identity"`
		Receipts     int            `json:"receipts"`
		Executions   int            `json:"executions"`
		Payments     int            `json:"payments"`
		Duplicates   int            `json:"duplicates"`
		Added        string         `json:"addedMicrocents"`
		Cost         string         `json:"costMicrocents"`
		Paid         string         `json:"paidMicrocents"`
		Nodes        []*receiptNode `json:"nodes"`
		AddedAt      []added        `json:"added"`
		Bought       []payment      `json:"paid"`
		Problems     []problem      `json:"problems"`
		Proves       string         `json:"proves"`
		DoesNotProve string         `json:"doesNotProve"`
		Lives        []receiptLife  `json:"lives,omitempty"`
		Moved        []onchain      `json:"onChains,omitempty"`
		Rented       []rent         `json:"rent,omitempty"`
	}{Format: receiptsFormat, Verdict: r.Verdict.String(), Identity: identity(r), Receipts: r.Receipts, Executions: r.Executions, Payments: r.Payments,
		Duplicates: r.Duplicates, Added: r.Added.Microcents(), Cost: r.Cost.Microcents(), Paid: r.Paid.Microcents(), Nodes: receiptNodes(r), AddedAt: []added{}, Bought: []payment{}, Problems: []problem{}}
	if r.Agent != nil {
		report.DID = r.Agent.DID()
	}
	for _, e := range r.Lived {
		if e.Added > 0 {
			report.AddedAt = append(report.AddedAt, added{e.Node.DID(), e.Tick, e.Added})
		}
	}
	for _, p := range r.Bought {
		report.Bought = append(report.Bought, payment{p.Recipient, p.Memo, p.Amount, receiptTime(p.Time)})
	}
	for _, o := range r.Moved {
		report.Moved = append(report.Moved, onchain{fmt.Sprintf("eip155:%d", o.Chain), hex0x(o.Asset[:]), hex0x(o.From[:]), hex0x(o.To[:]), o.Amount,
			hex0x(o.Transaction[:]), o.Block, hex0x(o.BlockHash[:]), o.Agreed, o.Asked, hex0x(o.Nonce[:]), receiptTime(o.Time)})
	}
	for _, e := range r.Rented {
		one := rent{Node: e.Node.DID(), Network: fmt.Sprintf("eip155:%d", e.Chain), Asset: hex0x(e.Asset[:]), From: hex0x(e.From[:]), To: hex0x(e.To[:]), Amount: e.Amount,
			Transaction: hex0x(e.Transaction[:]), Nonce: hex0x(e.Nonce[:]), Time: receiptTime(e.Time)}
		if e.Lease() {
			one.Begins, one.Ends = receiptTime(e.Begins), receiptTime(e.Ends)
		} else if one.Receipts, one.Checkpoint = e.Receipts, e.Checkpoint.CID(); !e.Prev.IsZero() {
			one.Prev = e.Prev.CID()
		}
		report.Rented = append(report.Rented, one)
	}
	report.Proves, report.DoesNotProve = receiptsProve(r)
	if len(r.Lives) > 1 {
		report.Lives = listLives(r.Lives)
	}
	for _, p := range r.Problems {
		report.Problems = append(report.Problems, problem{p.Code, p.Index, p.Tick, p.Message})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(report); err != nil {
		return err
	}
	_, err := w.Write(SafeJSON(b.Bytes()))
	return err
}

package verifycli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/receipt"
)

// receiptsName is the file of receipts in an agent's folder.
const receiptsName = "receipts"

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

// addReceipts adds what a path names: an agent's folder, checkpoints, a CAR, or a
// file of receipts.
func (in *invocation) addReceipts(c *receipt.Checker, path string) error {
	if path == "-" {
		return addReceiptFile(c, "standard input", in.stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return &failure{path + ": " + cause(err), "check the path"}
	}
	switch {
	case info.IsDir():
		return history.Walk(path, func(e history.Entry) error {
			if e.Kind != verifier.KindCheckpoint && e.Kind != verifier.KindReceipts {
				return nil
			}
			return in.addReceipts(c, e.Path)
		}, verifier.KindCheckpoint, verifier.KindReceipts)
	case !info.Mode().IsRegular():
		return &failure{path + ": not a regular file", "receipts can be piped in with the path -"}
	}
	f, err := os.Open(path)
	if err != nil {
		return &failure{path + ": " + cause(err), "check the path"}
	}
	defer f.Close()
	kind, err := history.KindOf(info.Name(), f)
	if err != nil {
		return &failure{path + ": " + cause(err), "check the path"}
	}
	switch {
	case info.Name() == receiptsName: // whatever is in it
	case kind == verifier.KindCheckpoint:
		b, err := in.readCheckpoint(path)
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
	if r.Agent != nil {
		row("agent", r.Agent.DID()+" ("+identity(r)+")")
	}
	row("found", Plural(r.Executions, "execution")+", "+Plural(r.Payments, "payment"))
	if r.Verdict != verifier.Invalid {
		money := verifier.FormatMicrocents
		row("money", fmt.Sprintf("added %s, cost %s, paid %s, left %s", money(r.Added), money(r.Cost), money(r.Paid), money(r.Added-r.Cost-r.Paid)))
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
		"It does not prove that the time was spent, that the price was fair, who the nodes are, or that there are no later receipts."
}

func writeReceiptsJSON(w io.Writer, r *receipt.Report) error {
	type problem struct {
		Code    receipt.Code `json:"code"`
		Index   int          `json:"index"`
		Tick    uint64       `json:"tick,string"`
		Message string       `json:"message"`
	}
	report := struct {
		Format       string    `json:"format"`
		Verdict      string    `json:"verdict"`
		DID          string    `json:"did,omitempty"`
		Identity     string    `json:"identity"`
		Receipts     int       `json:"receipts"`
		Executions   int       `json:"executions"`
		Payments     int       `json:"payments"`
		Duplicates   int       `json:"duplicates"`
		Added        int64     `json:"addedMicrocents,string"`
		Cost         int64     `json:"costMicrocents,string"`
		Paid         int64     `json:"paidMicrocents,string"`
		Problems     []problem `json:"problems"`
		Proves       string    `json:"proves"`
		DoesNotProve string    `json:"doesNotProve"`
	}{Format: receiptsFormat, Verdict: r.Verdict.String(), Identity: identity(r), Receipts: r.Receipts, Executions: r.Executions, Payments: r.Payments,
		Duplicates: r.Duplicates, Added: r.Added, Cost: r.Cost, Paid: r.Paid, Problems: []problem{}}
	if r.Agent != nil {
		report.DID = r.Agent.DID()
	}
	report.Proves, report.DoesNotProve = receiptsProve(r)
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

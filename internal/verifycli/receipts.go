package verifycli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"igor.dev/verifier"
	"igor.dev/verifier/history"
	"igor.dev/verifier/receipt"
)

// receiptsName is the file of receipts in an agent's folder.
const receiptsName = "receipts"

const receiptsFormat = "igor-receipts-report/1"

// receipts checks files of receipts, against checkpoints where they are given.
func (in *invocation) receipts(args []string, out *bufio.Writer) (code int, err error) {
	if err := in.parse(args); err != nil {
		return 0, err
	}
	switch {
	case in.pins.Head != nil:
		return 0, in.usageError("receipts has no flag --head")
	case in.format != "text" && in.format != "json":
		return 0, &failure{"receipts cannot be written as " + in.format, "the formats are text, json"}
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
		writeReceipts(out, r, palette(colourful(in.stdout)))
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
		return in.addReceiptFolder(c, path)
	case strings.HasSuffix(path, history.Ext):
		b, err := in.readCheckpoint(path)
		if err != nil {
			return err
		}
		f := verifier.Examine(b)
		c.AddCheckpoint(&f)
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return &failure{path + ": " + cause(err), "check the path"}
	}
	defer f.Close()
	if strings.HasSuffix(path, ".car") {
		return addReceiptCAR(c, path, f)
	}
	return addReceiptFile(c, path, f)
}

func (in *invocation) addReceiptFolder(c *receipt.Checker, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return &failure{path + ": " + cause(err), "check the path"}
		case d.Type().IsRegular() && (strings.HasSuffix(path, history.Ext) || d.Name() == receiptsName):
			return in.addReceipts(c, path)
		}
		return nil
	})
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

func writeReceipts(w io.Writer, r *receipt.Report, p palette) {
	const most = 12
	for i, q := range r.Problems {
		if i == most {
			fmt.Fprintf(w, "and %d more (--format json lists all)\n", len(r.Problems)-most)
			break
		}
		style := red
		if q.Code.Incomplete() {
			style = yellow
		}
		title := p.paint(style, string(q.Code))
		if q.Index >= 0 {
			title += "  receipt " + strconv.Itoa(q.Index)
		}
		fmt.Fprintf(w, "%s  tick %d\n", title, q.Tick)
		for _, line := range Wrap(escape(q.Message), columns-2) {
			fmt.Fprintln(w, "  "+line)
		}
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(w)
	}
	if r.Verdict != verifier.Invalid {
		money := verifier.FormatMicrocents
		fmt.Fprintf(w, "%s, %s; added %s, cost %s, paid %s, left %s\n\n", plural(r.Executions, "execution"), plural(r.Payments, "payment"),
			money(r.Added), money(r.Cost), money(r.Paid), money(r.Added-r.Cost-r.Paid))
	}
	for _, line := range Wrap(receiptsProve(r), columns) {
		fmt.Fprintln(w, line)
	}
	verdict := r.Verdict.String()
	fmt.Fprintf(w, "\n%s: %s in %s\n", p.paint(verdictStyle(r.Verdict), verdict), plural(len(r.Problems), "problem"), plural(r.Executions+r.Payments, "receipt"))
}

func receiptsProve(r *receipt.Report) string {
	if r.Verdict != verifier.Verified {
		return "Proves: Only that the authentic ones of these receipts were signed by the keys that they name."
	}
	return "Proves: The nodes signed these receipts, and they account for every microcent of the budgets that they name. It does not prove that the time was spent, that the price was fair, who the nodes are, or that there are no later receipts."
}

func writeReceiptsJSON(w io.Writer, r *receipt.Report) error {
	type problem struct {
		Code    receipt.Code `json:"code"`
		Index   int          `json:"index"`
		Tick    uint64       `json:"tick,string"`
		Message string       `json:"message"`
	}
	report := struct {
		Format     string    `json:"format"`
		Verdict    string    `json:"verdict"`
		Executions int       `json:"executions"`
		Payments   int       `json:"payments"`
		Duplicates int       `json:"duplicates"`
		Added      int64     `json:"addedMicrocents,string"`
		Cost       int64     `json:"costMicrocents,string"`
		Paid       int64     `json:"paidMicrocents,string"`
		Problems   []problem `json:"problems"`
		Proves     string    `json:"proves"`
	}{receiptsFormat, r.Verdict.String(), r.Executions, r.Payments, r.Duplicates, r.Added, r.Cost, r.Paid, []problem{},
		strings.TrimPrefix(receiptsProve(r), "Proves: ")}
	for _, p := range r.Problems {
		report.Problems = append(report.Problems, problem{p.Code, p.Index, p.Tick, p.Message})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(report)
}
